//! Workers that learn one model together.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::network::{Misfit, Network, layer_field};
use crate::validation::rules;
use crate::{Device, Search};

/// Port on which the workers of a training speak to each other.
pub const GROUP_PORT: u16 = 9091;
/// Most workers.
pub const MOST_WORKERS: u32 = 64;

/// How many pods learn together. Each takes its rows of every batch, and the result is that of one pod but for rounding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = rules(&[
    ("!has(self.minCount) || self.minCount <= self.count", "nodes.minCount must not be above nodes.count"),
])))]
pub struct Nodes {
    /// Pods that learn together (1 to 64); `batchSize` stays that of all of them.
    #[schemars(range(min = 1, max = 64))]
    pub count: u32,
    /// Pods with which it begins or goes on where the others have no place after a minute; those that come later are
    /// taken in at a checkpoint. Absent: as many as count.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 64))]
    pub min_count: Option<u32>,
}

impl Default for Nodes {
    fn default() -> Self {
        Nodes {
            count: 1,
            min_count: None,
        }
    }
}

impl Nodes {
    /// Pods that are needed.
    pub fn least(&self) -> u32 {
        self.min_count.unwrap_or(self.count)
    }

    /// Whether several pods learn together.
    pub fn is_group(&self) -> bool {
        self.count > 1
    }

    /// Whether a training of ours can be divided.
    ///
    /// # Errors
    /// Why not, by field.
    pub fn fits(&self, network: &Network, search: Option<&Search>, device: Device) -> Result<(), Misfit> {
        if !(1..=MOST_WORKERS).contains(&self.count) {
            return Err(Misfit::new(
                "nodes.count",
                format!("it is {}, but must be between 1 and {MOST_WORKERS}", self.count),
            ));
        }
        if !(1..=self.count).contains(&self.least()) {
            return Err(Misfit::new(
                "nodes.minCount",
                format!("it is {}, but must be between 1 and nodes.count", self.least()),
            ));
        }
        if !self.is_group() {
            return Ok(());
        }
        let refused = |problem: &str| Err(Misfit::new("nodes.count", problem));
        if search.is_some() {
            return refused("a search runs its trials in one pod: set it to 1, or take search out");
        }
        if device != Device::Cpu {
            return refused(
                "pods add up gradients on the CPU only: set it to 1 with this accelerator, or leave accelerator out",
            );
        }
        let normed = network.layers.iter().position(|layer| layer.batch_norm.is_some());
        match normed {
            Some(index) => Err(Misfit::new(
                "nodes.count",
                format!(
                    "{}.batchNorm measures whole batches, of which each pod sees a part: set it to 1, or use layerNorm",
                    layer_field(index)
                ),
            )),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_cannot_be_divided_is_refused_by_its_field() {
        let network = |layers| Network {
            input: None,
            layers: serde_json::from_value(layers).unwrap(),
        };
        let plain = network(json!([{"dense": {"units": 1}}]));
        let normed = network(json!([{"dense": {"units": 4}}, {"batchNorm": {}}, {"dense": {"units": 1}}]));
        let nodes = |count, min_count| Nodes { count, min_count };
        for (nodes, network, device, field, says) in [
            (
                nodes(0, None),
                &plain,
                Device::Cpu,
                "nodes.count",
                "between 1 and 64",
            ),
            (
                nodes(65, None),
                &plain,
                Device::Cpu,
                "nodes.count",
                "between 1 and 64",
            ),
            (
                nodes(2, Some(3)),
                &plain,
                Device::Cpu,
                "nodes.minCount",
                "between 1 and nodes.count",
            ),
            (
                nodes(2, Some(0)),
                &plain,
                Device::Cpu,
                "nodes.minCount",
                "between 1 and nodes.count",
            ),
            (
                nodes(2, None),
                &plain,
                Device::Cuda,
                "nodes.count",
                "on the CPU only",
            ),
            (
                nodes(2, None),
                &normed,
                Device::Cpu,
                "nodes.count",
                "layers[1].batchNorm",
            ),
        ] {
            let misfit = nodes.fits(network, None, device).unwrap_err();
            assert_eq!(misfit.field, field);
            assert!(misfit.problem.contains(says), "{}", misfit.problem);
        }
        assert!(nodes(1, None).fits(&normed, None, Device::Cuda).is_ok());
        assert!(nodes(3, Some(1)).fits(&plain, None, Device::Cpu).is_ok());
        assert_eq!((nodes(3, None).least(), nodes(3, Some(2)).least()), (3, 2));
    }
}
