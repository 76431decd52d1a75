//! What was counted, to the status of a profile. Pure: time is passed in.

use jiff::Timestamp;
use kube::Resource;
use sconce_crds::condition::NODES_FOUND;
use sconce_crds::{AcceleratorProfile, AcceleratorProfileSpec, AcceleratorProfileStatus};

use super::ledger::Count;
use crate::conditions::{self, Verdict, no, unknown, yes};
use crate::reason::Reason;

/// The status of a profile whose nodes have so much.
///
/// There is no condition Ready: a profile without nodes is well (a node pool may have none until it is needed, and
/// the chart brings profiles for more devices than any cluster has), and tools that wait for Ready would wait for it.
pub fn of(profile: &AcceleratorProfile, count: &Count, now: Timestamp) -> AcceleratorProfileStatus {
    let before = profile.status.clone().unwrap_or_default();
    let generation = profile.meta().generation.unwrap_or_default();
    let by_class = profile.spec.device_class_name.is_some();
    let verdicts = vec![nodes_found(&profile.spec, count)];
    AcceleratorProfileStatus {
        observed_generation: Some(generation),
        conditions: conditions::settle(&before.conditions, verdicts, generation, now),
        nodes: (!by_class).then_some(count.nodes),
        units: count.units,
    }
}

fn nodes_found(spec: &AcceleratorProfileSpec, count: &Count) -> Verdict {
    if let Some(class) = &spec.device_class_name {
        let message = format!(
            "devices of a DeviceClass are not counted; `kubectl get resourceslices` lists devices, and `kubectl get \
             resourceclaims --all-namespaces` who holds those of {class}"
        );
        return unknown(NODES_FOUND, Reason::NotCounted, message);
    }
    let resources = spec
        .resources
        .keys()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(" and ");
    if count.nodes > 0 {
        let offered = if resources.is_empty() {
            "there are nodes that take its pods".to_owned()
        } else {
            format!("there are nodes that take its pods and offer {resources}")
        };
        return yes(NODES_FOUND, Reason::Found, offered);
    }
    let message = if count.labelled == 0 {
        "no node carries the labels of spec.nodeSelector and spec.nodeSelectors; correct them (`kubectl get nodes \
         --show-labels` shows what nodes carry), or add a node"
            .to_owned()
    } else if count.offering == 0 {
        format!(
            "of the nodes that carry the labels which the spec asks for, none offers {resources}; install its device plugin, \
             correct spec.resources, or add a node"
        )
    } else {
        "the nodes are cordoned, not ready, or have a taint that spec.tolerations does not name; `kubectl describe node` \
         shows which"
            .to_owned()
    };
    no(NODES_FOUND, Reason::NoNodes, message)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn devices_of_a_class_are_said_not_to_be_counted() {
        let profile = profile(&json!({"device": "CUDA", "deviceClassName": "gpu.nvidia.com"}));
        let status = of(
            &profile,
            &Count {
                nodes: 3,
                ..Count::default()
            },
            Timestamp::UNIX_EPOCH,
        );
        assert_eq!((status.nodes, status.units), (None, None));
        assert_eq!(status.conditions[0].status, "Unknown");
        assert_eq!(status.conditions[0].reason, "NotCounted");
    }

    fn profile(spec: &Value) -> AcceleratorProfile {
        serde_json::from_value(json!({
            "apiVersion": "sconce.dev/v1alpha1", "kind": "AcceleratorProfile",
            "metadata": {"name": "l4", "generation": 3}, "spec": spec,
        }))
        .unwrap()
    }

    #[test]
    fn a_profile_without_nodes_says_what_is_in_the_way() {
        let gpu = profile(
            &json!({"device": "CUDA", "resources": {"nvidia.com/gpu": "1"}, "nodeSelector": {"a": "b"}}),
        );
        for (labelled, offering, nodes, words) in [
            (0, 0, 0, "no node carries the labels"),
            (2, 0, 0, "none offers nvidia.com/gpu"),
            (2, 2, 0, "cordoned, not ready, or have a taint"),
            (
                2,
                2,
                1,
                "there are nodes that take its pods and offer nvidia.com/gpu",
            ),
        ] {
            let count = Count {
                labelled,
                offering,
                nodes,
                ..Count::default()
            };
            let status = of(&gpu, &count, Timestamp::UNIX_EPOCH);
            let condition = &status.conditions[0];
            assert!(condition.message.contains(words), "{}", condition.message);
            assert_eq!(condition.status == "True", nodes > 0);
            assert_eq!(
                (status.observed_generation, condition.observed_generation),
                (Some(3), Some(3))
            );
        }
    }
}
