//! Workers that learn one model together, or try the trials of a search.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Search;
use crate::network::{Misfit, Network, layer_field};
use crate::validation::rules;

/// Port on which the workers of a training speak to each other.
pub const GROUP_PORT: u16 = 9091;
/// Most workers.
pub const MOST_WORKERS: u32 = 64;

/// How many pods learn together. Each takes its rows of every batch, and the result is that of one pod but for rounding. Of a
/// search, each takes trials, and the result is that of one pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = rules(&[
    ("!has(self.minCount) || self.minCount <= self.count", "nodes.minCount must not be above nodes.count"),
])))]
pub struct Nodes {
    /// Pods that learn together (1 to 64); `batchSize` stays that of all of them. With `search`, pods that take trials, at
    /// most `parallelTrials`.
    #[schemars(range(min = 1, max = 64))]
    pub count: u32,
    /// Pods with which it begins or goes on where the others have no place after a minute; those that come later are
    /// taken in at a checkpoint. Absent: as many as count. Not with `search`, which is at work with any of its pods.
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

    /// Pods that are needed where they take the trials of this search, or learn together. A search goes on with any one:
    /// the others only help.
    pub fn needed(&self, search: Option<&Search>) -> u32 {
        search.map_or_else(|| self.least(), |_| 1)
    }

    /// Whether several pods work together.
    pub fn is_group(&self) -> bool {
        self.count > 1
    }

    /// Whether a training of ours can be divided.
    ///
    /// # Errors
    /// Why not, by field.
    pub fn fits(&self, network: &Network, search: Option<&Search>) -> Result<(), Misfit> {
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
        if let Some(search) = search {
            return self.fit_search(search);
        }
        if !self.is_group() {
            return Ok(());
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

    /// Nothing is added up: what each trial learns is a matter of its own.
    fn fit_search(&self, search: &Search) -> Result<(), Misfit> {
        if self.min_count.is_some() {
            return Err(Misfit::new(
                "nodes.minCount",
                "the trials of search are taken by whatever pods are there: leave it out",
            ));
        }
        match self.count <= search.parallel_trials.max(1) {
            true => Ok(()),
            false => Err(Misfit::new(
                "nodes.count",
                format!(
                    "it is {}, but search.parallelTrials says that {} trial(s) are at work at a time: lower it, or raise \
                     search.parallelTrials",
                    self.count, search.parallel_trials
                ),
            )),
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
        for (nodes, network, field, says) in [
            (nodes(0, None), &plain, "nodes.count", "between 1 and 64"),
            (nodes(65, None), &plain, "nodes.count", "between 1 and 64"),
            (
                nodes(2, Some(3)),
                &plain,
                "nodes.minCount",
                "between 1 and nodes.count",
            ),
            (
                nodes(2, Some(0)),
                &plain,
                "nodes.minCount",
                "between 1 and nodes.count",
            ),
            (nodes(2, None), &normed, "nodes.count", "layers[1].batchNorm"),
        ] {
            let misfit = nodes.fits(network, None).unwrap_err();
            assert_eq!(misfit.field, field);
            assert!(misfit.problem.contains(says), "{}", misfit.problem);
        }
        assert!(nodes(1, None).fits(&normed, None).is_ok());
        assert!(nodes(3, Some(1)).fits(&plain, None).is_ok());
        assert_eq!((nodes(3, None).least(), nodes(3, Some(2)).least()), (3, 2));
    }

    #[test]
    fn a_search_is_divided_into_as_many_pods_as_have_a_trial_at_a_time() {
        // What one pod cannot add up of another one does not matter.
        let normed = Network {
            input: None,
            layers: serde_json::from_value(json!([{"batchNorm": {}}, {"dense": {"units": 1}}])).unwrap(),
        };
        let search = |parallel: u32| -> Search {
            serde_json::from_value(json!({
                "objective": {"metric": "loss"}, "parallelTrials": parallel,
                "space": [{"path": "hyperparameters.batchSize", "choice": [1, 2]}],
            }))
            .unwrap()
        };
        let fits = |count, min_count, parallel| {
            let nodes = Nodes { count, min_count };
            nodes.fits(&normed, Some(&search(parallel)))
        };
        for (count, parallel) in [(1, 1), (1, 4), (4, 4), (3, 64)] {
            assert_eq!(fits(count, None, parallel), Ok(()), "{count} of {parallel}");
        }
        for (count, min_count, parallel, field, says) in [
            (
                4,
                None,
                3,
                "nodes.count",
                "it is 4, but search.parallelTrials says that 3",
            ),
            (2, None, 1, "nodes.count", "raise search.parallelTrials"),
            (
                2,
                Some(1),
                4,
                "nodes.minCount",
                "taken by whatever pods are there",
            ),
            (65, None, 64, "nodes.count", "between 1 and 64"),
        ] {
            let misfit = fits(count, min_count, parallel).unwrap_err();
            assert_eq!(misfit.field, field);
            assert!(misfit.problem.contains(says), "{}", misfit.problem);
        }
        let per_pod = [(1, 5), (2, 3), (3, 2), (5, 1), (9, 1), (0, 5)];
        for (pods, expected) in per_pod {
            assert_eq!(search(5).trials_per_pod(pods), expected, "{pods} pods");
        }
    }
}
