//! Devices that drivers publish, and who holds them: what there is of a DeviceClass on each node. Pure.

use std::collections::{HashMap, HashSet};

use super::claims::{ClaimFacts, DeviceId, SliceFacts};
use super::selector::{Term, selects};

/// What is known of devices.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    slices: HashMap<String, SliceFacts>,
    /// By UID.
    claims: HashMap<String, ClaimFacts>,
    /// Which devices a class selects; nothing where its selectors are not read.
    classes: HashMap<String, Option<Vec<Term>>>,
}

/// Devices of a class on one node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OnNode {
    /// That are published.
    pub offered: i64,
    /// That a claim holds.
    pub held: i64,
}

/// Why the devices of a class are not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Uncounted {
    /// The cluster does not serve their API.
    Unserved,
    /// There is no such class.
    NoClass,
    /// Its selectors are in words that are not read.
    Selectors {
        /// Devices that were allocated by the class all the same.
        allocated: i64,
    },
    /// Its devices are shared, or belong to no one node.
    Shared {
        /// Devices that were allocated by the class all the same.
        allocated: i64,
    },
}

impl Inventory {
    /// The slice of that name is so, or gone. Whether that is news.
    pub fn slice(&mut self, name: String, facts: Option<SliceFacts>) -> bool {
        set(&mut self.slices, name, facts)
    }

    /// The claim with this UID holds so. Whether that is news.
    pub fn claim(&mut self, uid: String, facts: Option<ClaimFacts>) -> bool {
        set(&mut self.claims, uid, facts)
    }

    /// The class of that name selects so, or is gone. Whether that is news.
    pub fn class(&mut self, name: String, terms: Option<Option<Vec<Term>>>) -> bool {
        set(&mut self.classes, name, terms)
    }

    /// Takes over all slices of another inventory.
    pub fn replace_slices(&mut self, fresh: Inventory) {
        self.slices = fresh.slices;
    }

    /// Takes over all claims of another inventory.
    pub fn replace_claims(&mut self, fresh: Inventory) {
        self.claims = fresh.claims;
    }

    /// Takes over all classes of another inventory.
    pub fn replace_classes(&mut self, fresh: Inventory) {
        self.classes = fresh.classes;
    }

    /// Devices of a class, by node. A device counts as held whichever class it was claimed by.
    ///
    /// # Errors
    /// Why they are not counted.
    pub fn of(&self, class: &str) -> Result<HashMap<&str, OnNode>, Uncounted> {
        let allocated = || self.allocated(class);
        let terms = self.classes.get(class).ok_or(Uncounted::NoClass)?;
        let terms = terms.as_ref().ok_or_else(|| Uncounted::Selectors {
            allocated: allocated(),
        })?;
        let newest = self.newest();
        let held: HashSet<&DeviceId> = self
            .claims
            .values()
            .flat_map(|claim| &claim.devices)
            .map(|(device, _)| device)
            .collect();
        let mut found: HashMap<&str, OnNode> = HashMap::new();
        for slice in self.slices.values() {
            let (pool, generation) = &slice.pool;
            if newest.get(&(slice.driver.as_str(), pool.as_str())) != Some(generation) {
                continue;
            }
            let mut ours = slice
                .devices
                .iter()
                .filter(|device| selects(terms, &slice.driver, &device.attributes))
                .peekable();
            if ours.peek().is_none() {
                continue;
            }
            let node = slice.node.as_deref().filter(|_| !slice.shared);
            let node = node.ok_or_else(|| Uncounted::Shared {
                allocated: allocated(),
            })?;
            let on_node = found.entry(node).or_default();
            for device in ours {
                let id = (slice.driver.clone(), pool.clone(), device.name.clone());
                on_node.offered += 1;
                on_node.held += i64::from(held.contains(&id));
            }
        }
        Ok(found)
    }

    fn newest(&self) -> HashMap<(&str, &str), i64> {
        let mut newest = HashMap::new();
        for slice in self.slices.values() {
            let (pool, generation) = &slice.pool;
            let known = newest
                .entry((slice.driver.as_str(), pool.as_str()))
                .or_insert(*generation);
            *known = (*known).max(*generation);
        }
        newest
    }

    fn allocated(&self, class: &str) -> i64 {
        let held = self.claims.values().flat_map(|claim| &claim.devices);
        let count = held.filter(|(_, by)| by == class).count();
        i64::try_from(count).unwrap_or(i64::MAX)
    }
}

fn set<T: PartialEq>(all: &mut HashMap<String, T>, name: String, facts: Option<T>) -> bool {
    if all.get(&name) == facts.as_ref() {
        return false;
    }
    match facts {
        Some(facts) => all.insert(name, facts),
        None => all.remove(&name),
    };
    true
}

#[cfg(test)]
mod tests {
    use super::super::claims::Device;
    use super::super::selector::read;
    use super::*;

    fn slice(node: Option<&str>, generation: i64, devices: &[&str]) -> SliceFacts {
        SliceFacts {
            driver: "d".to_owned(),
            pool: ("p".to_owned(), generation),
            node: node.map(str::to_owned),
            devices: devices
                .iter()
                .map(|name| Device {
                    name: (*name).to_owned(),
                    attributes: std::collections::BTreeMap::new(),
                })
                .collect(),
            shared: false,
        }
    }

    fn claim(device: &str, class: &str) -> ClaimFacts {
        let id = ("d".to_owned(), "p".to_owned(), device.to_owned());
        ClaimFacts {
            devices: vec![(id, class.to_owned())],
        }
    }

    fn known() -> Inventory {
        let mut known = Inventory::default();
        known.class("c".to_owned(), Some(read(["device.driver == 'd'"])));
        known.class("odd".to_owned(), Some(read(["device.driver != 'x'"])));
        known
    }

    #[test]
    fn devices_are_counted_on_their_node_and_are_held_by_whichever_class() {
        let mut known = known();
        assert!(known.slice("s".to_owned(), Some(slice(Some("n"), 1, &["0", "1", "2"]))));
        assert!(
            !known.slice("s".to_owned(), Some(slice(Some("n"), 1, &["0", "1", "2"]))),
            "no news"
        );
        known.claim("a".to_owned(), Some(claim("0", "c")));
        known.claim("b".to_owned(), Some(claim("1", "odd")));
        let on = |known: &Inventory| {
            known
                .of("c")
                .map(|found| found.get("n").copied().unwrap_or_default())
        };
        assert_eq!(on(&known), Ok(OnNode { offered: 3, held: 2 }));
        known.claim("b".to_owned(), None);
        assert_eq!(on(&known), Ok(OnNode { offered: 3, held: 1 }));
        // The pool is published anew: what the older generation says is over.
        known.slice("t".to_owned(), Some(slice(Some("n"), 2, &["0"])));
        assert_eq!(on(&known), Ok(OnNode { offered: 1, held: 1 }));
        known.replace_slices(Inventory::default());
        assert_eq!(on(&known), Ok(OnNode::default()));
    }

    #[test]
    fn what_cannot_be_attributed_is_not_counted_and_what_was_allocated_is_told() {
        let mut known = known();
        known.claim("a".to_owned(), Some(claim("0", "odd")));
        assert_eq!(known.of("none"), Err(Uncounted::NoClass));
        assert_eq!(known.of("odd"), Err(Uncounted::Selectors { allocated: 1 }));
        known.slice("s".to_owned(), Some(slice(None, 1, &["0"])));
        assert_eq!(known.of("c"), Err(Uncounted::Shared { allocated: 0 }));
        let mut parts = slice(Some("n"), 2, &["0"]);
        parts.shared = true;
        known.slice("s".to_owned(), Some(parts));
        assert_eq!(known.of("c"), Err(Uncounted::Shared { allocated: 0 }));
    }
}
