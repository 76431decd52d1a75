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

    /// Units that nobody holds, on all nodes together. Nothing where nobody counts.
    pub fn free(&self) -> Option<i64> {
        self.units.map(|units| units.capacity - units.allocated)
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
#[path = "ledger_tests.rs"]
mod tests;
