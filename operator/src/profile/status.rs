//! What was counted, to the status of a profile. Pure: time is passed in.

use jiff::Timestamp;
use kube::Resource;
use sconce_crds::condition::NODES_FOUND;
use sconce_crds::{AcceleratorProfile, AcceleratorProfileSpec, AcceleratorProfileStatus};

use super::claims::API;
use super::inventory::Uncounted;
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
    let verdicts = vec![nodes_found(&profile.spec, count)];
    AcceleratorProfileStatus {
        observed_generation: Some(generation),
        conditions: conditions::settle(&before.conditions, verdicts, generation, now),
        nodes: count.uncounted.is_none().then_some(count.nodes),
        units: count.units,
    }
}

fn nodes_found(spec: &AcceleratorProfileSpec, count: &Count) -> Verdict {
    if let Some(uncounted) = count.uncounted {
        let class = spec.device_class_name.as_deref().unwrap_or_default();
        return unknown(NODES_FOUND, Reason::NotCounted, not_counted(class, uncounted));
    }
    let resources = match &spec.device_class_name {
        Some(class) => format!("devices of the DeviceClass {class}"),
        None => spec
            .resources
            .keys()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join(" and "),
    };
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

fn not_counted(class: &str, uncounted: Uncounted) -> String {
    let see = |allocated: i64| {
        format!(
            "{allocated} are allocated, and how many there are is not known: `kubectl get resourceslices` lists devices, and \
             `kubectl get resourceclaims --all-namespaces` who holds them"
        )
    };
    match uncounted {
        Uncounted::Unserved => {
            format!("the cluster does not serve {API}, by which devices are published and claimed")
        }
        Uncounted::NoClass => format!(
            "there is no DeviceClass {class:?}; `kubectl get deviceclasses` lists those that there are"
        ),
        Uncounted::Selectors { allocated } => format!(
            "the selectors of the DeviceClass {class:?} say more than a driver and equalities of attributes, and are not \
             evaluated here; {}",
            see(allocated)
        ),
        Uncounted::Shared { allocated } => format!(
            "devices of the DeviceClass {class:?} are shared, are parts of others, or belong to no one node; {}",
            see(allocated)
        ),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn devices_of_a_class_that_cannot_be_counted_are_said_not_to_be() {
        let profile = profile(&json!({"device": "CUDA", "deviceClassName": "gpu.nvidia.com"}));
        let status = of(
            &profile,
            &Count {
                nodes: 3,
                uncounted: Some(Uncounted::Selectors { allocated: 2 }),
                ..Count::default()
            },
            Timestamp::UNIX_EPOCH,
        );
        assert_eq!((status.nodes, status.units), (None, None));
        assert_eq!(status.conditions[0].status, "Unknown");
        assert_eq!(status.conditions[0].reason, "NotCounted");
        let said = &status.conditions[0].message;
        assert!(
            said.contains("\"gpu.nvidia.com\"") && said.contains("2 are allocated"),
            "{said}"
        );
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
