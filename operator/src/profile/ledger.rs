//! Which nodes there are and what pods hold of them, and what that is in units of a profile. Pure.

use std::collections::{BTreeMap, HashMap};

use k8s_openapi::api::core::v1::{Taint, Toleration};
use sconce_crds::AcceleratorProfileSpec;
use sconce_crds::accelerator::Units;

use super::digest::{Amounts, NodeFacts, PodFacts};
use super::inventory::{Inventory, OnNode, Uncounted};

/// What a profile's nodes have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Nodes that carry the profile's labels.
    pub labelled: i64,
    /// Those of them that offer at least one unit.
    pub offering: i64,
    /// Those of them that take pods of the profile.
    pub nodes: i64,
    /// Units on the last. Nothing where the profile has no resource to count, or its devices are not.
    pub units: Option<Units>,
    /// Why the devices of the profile's DeviceClass are not counted.
    pub uncounted: Option<Uncounted>,
    /// Most units that are free on one node: a pod's units are all on the same.
    pub most_free_on_one_node: i64,
}

impl Count {
    /// Most units that a new pod would find now. Nothing where nobody counts.
    pub fn spare(&self) -> Option<i64> {
        self.units.map(|_| self.most_free_on_one_node)
    }
}

/// Nodes, and pods that hold devices on them.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    nodes: HashMap<String, NodeFacts>,
    /// By UID.
    pods: HashMap<String, PodFacts>,
    /// Sum of what the pods hold, by node.
    held: HashMap<String, Amounts>,
    /// Devices that are claimed by class.
    pub(super) devices: Inventory,
}

impl Ledger {
    /// The node is there, and so. Whether that is news.
    pub fn node(&mut self, name: String, facts: NodeFacts) -> bool {
        if self.nodes.get(&name) == Some(&facts) {
            return false;
        }
        self.nodes.insert(name, facts);
        true
    }

    /// The node is gone. Whether that is news.
    pub fn no_node(&mut self, name: &str) -> bool {
        self.nodes.remove(name).is_some()
    }

    /// What the pod with this UID holds. Whether that is news.
    pub fn pod(&mut self, uid: String, facts: Option<PodFacts>) -> bool {
        if self.pods.get(&uid) == facts.as_ref() {
            return false;
        }
        if let Some(before) = self.pods.remove(&uid)
            && let Some(held) = self.held.get_mut(&before.node)
        {
            for (name, amount) in &before.holds {
                *held.entry(name.clone()).or_default() -= amount;
            }
            held.retain(|_, amount| *amount != 0);
            if held.is_empty() {
                self.held.remove(&before.node);
            }
        }
        if let Some(facts) = facts {
            let held = self.held.entry(facts.node.clone()).or_default();
            for (name, amount) in &facts.holds {
                *held.entry(name.clone()).or_default() += amount;
            }
            self.pods.insert(uid, facts);
        }
        true
    }

    /// Takes over all nodes of another ledger.
    pub fn replace_nodes(&mut self, fresh: Ledger) {
        self.nodes = fresh.nodes;
    }

    /// Takes over all pods of another ledger.
    pub fn replace_pods(&mut self, fresh: Ledger) {
        self.pods = fresh.pods;
        self.held = fresh.held;
    }

    /// What the profile's nodes have.
    pub fn count(&self, profile: &AcceleratorProfileSpec) -> Count {
        let nothing = Amounts::new();
        let mut count = Count::default();
        let (mut capacity, mut free) = (0, 0);
        let claimed = match profile
            .device_class_name
            .as_deref()
            .map(|class| self.devices.of(class))
        {
            Some(Ok(found)) => Some(found),
            Some(Err(uncounted)) => {
                count.uncounted = Some(uncounted);
                None
            }
            None => None,
        };
        let is_counted = !profile.resources.is_empty() || claimed.is_some();
        for (name, node) in self.nodes.iter().filter(|(_, node)| is_selected(profile, node)) {
            count.labelled += 1;
            let (offered, left) = match &claimed {
                Some(found) => {
                    let OnNode { offered, held } = found.get(name.as_str()).copied().unwrap_or_default();
                    (offered, offered - held)
                }
                None => units(profile, &node.offers, self.held.get(name).unwrap_or(&nothing)),
            };
            if offered == 0 && is_counted {
                continue;
            }
            count.offering += 1;
            if !node.takes_pods || !tolerates_all(&profile.tolerations, &node.taints) {
                continue;
            }
            count.nodes += 1;
            capacity += offered;
            free += left;
            count.most_free_on_one_node = count.most_free_on_one_node.max(left);
        }
        count.units = is_counted.then_some(Units {
            capacity,
            allocated: capacity - free,
        });
        count
    }
}

/// Units that a node offers, and those of them that nobody holds. A part of a unit is none.
fn units(profile: &AcceleratorProfileSpec, offers: &Amounts, held: &Amounts) -> (i64, i64) {
    let of = |amount: &dyn Fn(&str) -> i64| {
        let whole = profile
            .resources
            .iter()
            .map(|(name, unit)| amount(name).max(0) / i64::from(unit.0.max(1)));
        whole.min().unwrap_or(0)
    };
    let offered = |name: &str| offers.get(name).copied().unwrap_or(0);
    let used = |name: &str| held.get(name).copied().unwrap_or(0);
    (of(&offered), of(&|name| offered(name) - used(name)))
}

/// As the pod's node affinity says it ([`crate::accelerator::Resolved`]).
fn is_selected(profile: &AcceleratorProfileSpec, node: &NodeFacts) -> bool {
    let carries = |labels: &BTreeMap<String, String>| {
        labels
            .iter()
            .all(|(key, value)| node.labels.get(key) == Some(value))
    };
    let alternatives = &profile.node_selectors;
    carries(&profile.node_selector)
        && (alternatives.is_empty() || alternatives.iter().any(carries))
        && !profile
            .without_node_labels
            .iter()
            .any(|label| node.labels.contains_key(label))
}

fn tolerates_all(tolerations: &[Toleration], taints: &[Taint]) -> bool {
    taints
        .iter()
        .all(|taint| tolerations.iter().any(|toleration| tolerates(toleration, taint)))
}

/// As k8s.io/api/core/v1, `Toleration.ToleratesTaint`.
fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let none_or = |asked: &Option<String>, found: &str| {
        asked
            .as_deref()
            .is_none_or(|asked| asked.is_empty() || asked == found)
    };
    none_or(&toleration.effect, &taint.effect)
        && none_or(&toleration.key, &taint.key)
        && match toleration.operator.as_deref().unwrap_or_default() {
            "Exists" => true,
            _ => {
                toleration.value.as_deref().unwrap_or_default() == taint.value.as_deref().unwrap_or_default()
            }
        }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const GPU: &str = "nvidia.com/gpu";

    fn profile(change: &Value) -> AcceleratorProfileSpec {
        let mut spec =
            json!({"device": "CUDA", "resources": {"nvidia.com/gpu": "1"}, "nodeSelector": {"gpu": "l4"}});
        for (key, value) in change.as_object().unwrap() {
            spec[key] = value.clone();
        }
        serde_json::from_value(spec).unwrap()
    }

    fn node(gpus: i64) -> NodeFacts {
        NodeFacts {
            labels: [("gpu".to_owned(), "l4".to_owned())].into(),
            takes_pods: true,
            offers: [(GPU.to_owned(), gpus)].into(),
            ..NodeFacts::default()
        }
    }

    fn holds(node: &str, gpus: i64) -> Option<PodFacts> {
        Some(PodFacts {
            node: node.to_owned(),
            holds: [(GPU.to_owned(), gpus)].into(),
        })
    }

    fn units_of(ledger: &Ledger, change: &Value) -> (i64, i64, i64) {
        let count = ledger.count(&profile(change));
        let units = count.units.unwrap();
        (units.capacity, units.allocated, count.most_free_on_one_node)
    }

    #[test]
    fn units_are_of_the_profiles_nodes_that_take_pods() {
        let mut ledger = Ledger::default();
        ledger.node("a".into(), node(8));
        ledger.node("b".into(), node(4));
        ledger.node(
            "cordoned".into(),
            NodeFacts {
                takes_pods: false,
                ..node(8)
            },
        );
        ledger.node(
            "other".into(),
            NodeFacts {
                labels: Default::default(),
                ..node(8)
            },
        );
        ledger.node(
            "bare".into(),
            NodeFacts {
                offers: Amounts::new(),
                ..node(0)
            },
        );
        ledger.pod("1".into(), holds("a", 5));
        ledger.pod("2".into(), holds("b", 1));
        ledger.pod("3".into(), holds("cordoned", 8));
        assert_eq!(units_of(&ledger, &json!({})), (12, 6, 3));
        let count = ledger.count(&profile(&json!({})));
        assert_eq!((count.labelled, count.offering, count.nodes), (4, 3, 2));
        assert_eq!(count.spare(), Some(3));
    }

    #[test]
    fn a_unit_of_two_needs_both() {
        let mut ledger = Ledger::default();
        ledger.node("a".into(), node(8));
        let pair = json!({"resources": {"nvidia.com/gpu": "2"}});
        ledger.pod("1".into(), holds("a", 1));
        assert_eq!(units_of(&ledger, &pair), (4, 1, 3));
        ledger.pod("2".into(), holds("a", 1));
        assert_eq!(units_of(&ledger, &pair), (4, 1, 3));
        let network = json!({"resources": {"nvidia.com/gpu": "1", "rdma/hca": "1"}});
        assert_eq!(units_of(&ledger, &network), (0, 0, 0));
    }

    #[test]
    fn a_pod_that_goes_or_ends_gives_back_what_it_held() {
        let mut ledger = Ledger::default();
        ledger.node("a".into(), node(2));
        assert!(ledger.pod("1".into(), holds("a", 2)));
        assert!(!ledger.pod("1".into(), holds("a", 2)), "no news");
        assert_eq!(units_of(&ledger, &json!({})), (2, 2, 0));
        assert!(ledger.pod("1".into(), None));
        assert!(!ledger.pod("1".into(), None));
        assert_eq!(units_of(&ledger, &json!({})), (2, 0, 2));
        assert!(ledger.held.is_empty() && ledger.pods.is_empty());
    }

    #[test]
    fn a_taint_keeps_away_whoever_does_not_tolerate_it() {
        let taint = |effect: &str| Taint {
            key: GPU.to_owned(),
            value: Some("present".to_owned()),
            effect: effect.to_owned(),
            ..Taint::default()
        };
        let mut ledger = Ledger::default();
        ledger.node(
            "a".into(),
            NodeFacts {
                taints: vec![taint("NoSchedule")],
                ..node(2)
            },
        );
        for (tolerations, capacity) in [
            (json!([]), 0),
            (
                json!([{"key": GPU, "operator": "Exists", "effect": "NoSchedule"}]),
                2,
            ),
            (
                json!([{"key": GPU, "operator": "Exists", "effect": "NoExecute"}]),
                0,
            ),
            (json!([{"key": GPU, "value": "present"}]), 2),
            (json!([{"key": GPU, "value": "absent"}]), 0),
            (json!([{"operator": "Exists"}]), 2),
        ] {
            let change = json!({ "tolerations": tolerations });
            assert_eq!(units_of(&ledger, &change).0, capacity, "{change}");
        }
    }

    #[test]
    fn one_alternative_of_labels_is_enough_and_a_forbidden_one_too_much() {
        let labelled = |labels: &[(&str, &str)]| NodeFacts {
            labels: labels
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
            ..node(1)
        };
        let mut ledger = Ledger::default();
        ledger.node("x".into(), labelled(&[("gpu", "l4"), ("x", "1")]));
        ledger.node("yz".into(), labelled(&[("gpu", "l4"), ("y", "1"), ("z", "1")]));
        ledger.node("y".into(), labelled(&[("gpu", "l4"), ("y", "1")]));
        ledger.node("other".into(), labelled(&[("x", "1")]));
        ledger.node(
            "shared".into(),
            labelled(&[("gpu", "l4"), ("x", "1"), ("shared", "")]),
        );
        let change =
            json!({"nodeSelectors": [{"x": "1"}, {"y": "1", "z": "1"}], "withoutNodeLabels": ["shared"]});
        assert_eq!(units_of(&ledger, &change).0, 2);
    }

    #[test]
    fn a_profile_of_the_processor_has_nodes_and_no_units() {
        let mut ledger = Ledger::default();
        ledger.node("a".into(), node(2));
        ledger.node(
            "b".into(),
            NodeFacts {
                labels: Default::default(),
                ..node(0)
            },
        );
        let count = ledger.count(&profile(
            &json!({"device": "CPU", "resources": {}, "nodeSelector": {}}),
        ));
        assert_eq!((count.nodes, count.units, count.spare()), (2, None, None));
    }

    #[test]
    fn devices_of_a_class_are_units_of_the_profiles_nodes() {
        use super::super::claims::{ClaimFacts, Device, SliceFacts};
        use super::super::selector::read;

        let mut ledger = Ledger::default();
        for (name, pool) in [("a", "gpu"), ("b", "gpu"), ("c", "other")] {
            let facts = NodeFacts {
                labels: BTreeMap::from([("pool".to_owned(), pool.to_owned())]),
                takes_pods: true,
                ..NodeFacts::default()
            };
            ledger.node(name.to_owned(), facts);
            let devices = (0..2).map(|at| Device {
                name: format!("gpu-{at}"),
                attributes: BTreeMap::new(),
            });
            let slice = SliceFacts {
                driver: "d".to_owned(),
                pool: (name.to_owned(), 1),
                node: Some(name.to_owned()),
                devices: devices.collect(),
                shared: false,
            };
            ledger.devices.slice(name.to_owned(), Some(slice));
        }
        let spec: AcceleratorProfileSpec = serde_json::from_value(
            json!({"device": "CUDA", "deviceClassName": "c", "nodeSelector": {"pool": "gpu"}}),
        )
        .unwrap();
        assert_eq!(
            (ledger.count(&spec).units, ledger.count(&spec).uncounted),
            (None, Some(Uncounted::NoClass))
        );
        ledger
            .devices
            .class("c".to_owned(), Some(read(["device.driver == 'd'"])));
        for (pool, device) in [("a", "gpu-0"), ("a", "gpu-1"), ("c", "gpu-0")] {
            let id = ("d".to_owned(), pool.to_owned(), device.to_owned());
            let facts = ClaimFacts {
                devices: vec![(id, "c".to_owned())],
            };
            ledger.devices.claim(format!("{pool}/{device}"), Some(facts));
        }
        let count = ledger.count(&spec);
        let units = Units {
            capacity: 4,
            allocated: 2,
        };
        assert_eq!(
            (count.nodes, count.units, count.most_free_on_one_node),
            (2, Some(units), 2)
        );
        assert_eq!(count.spare(), Some(2));
    }
}
