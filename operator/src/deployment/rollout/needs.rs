//! Whether a pod fits in another's place.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::accelerator::is_within;
use crate::labels;
use crate::seen::Deployment;

/// Words of the scheduler and of quotas by which a pod that goes leaves what another lacks, and no resource is named.
const GIVEN_BACK: [&str; 8] = [
    "Too many pods",
    "pods=",
    "cannot allocate all claims",
    "ReadWriteOncePod",
    "max volume count",
    "anti-affinity",
    "topology spread",
    "ephemeral-storage",
];

/// What a node must have for a pod.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Needs {
    /// Amounts of resources.
    pub requests: BTreeMap<String, Quantity>,
    /// Labels.
    pub node_selector: BTreeMap<String, String>,
    /// Stands for all else, empty where any node will do ([`crate::accelerator::Resolved::placement`]); nothing where an
    /// operator of the version before did not tell.
    pub placement: Option<String>,
}

impl Needs {
    /// Of the pods of a Deployment. They have one container that asks for resources.
    pub fn of(live: &Deployment) -> Self {
        let Some(pod) = live.template() else {
            return Needs::default();
        };
        let first = pod.containers.iter().flatten().next();
        let requests = first.map(|container| container.resources.requests.iter());
        let amounts = requests.into_iter().flatten();
        let labels = pod.node_selector.iter();
        Needs {
            requests: amounts
                .map(|(name, amount)| (name.to_owned(), Quantity(amount.to_owned())))
                .collect(),
            node_selector: labels
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect(),
            placement: live.annotations().get(labels::PLACEMENT).cloned(),
        }
    }

    /// Whether the node that has had `other` can take this one when `other` is gone: it asks for no other node, and for
    /// no more of anything. Where it has been said what is lacking, that is what `other` gives back, and more may be asked
    /// of what is not: the words are the scheduler's (`Insufficient nvidia.com/gpu`) or a quota's
    /// (`requests.nvidia.com/gpu=1`).
    pub fn fit_in_place_of(&self, other: &Needs, lacking: Option<&str>) -> bool {
        let placements = self.placement.as_ref().zip(other.placement.as_ref());
        self.node_selector == other.node_selector
            && placements.is_none_or(|(ours, theirs)| ours.is_empty() || is_within(ours, theirs))
            && lacking.is_none_or(|lacking| other.gives_back(lacking))
            && self.requests.iter().all(|(name, asked)| {
                let given = other.requests.get(name);
                given.is_some_and(|given| asked == given || is_at_most(asked, given))
                    || lacking.is_some_and(|lacking| !lacking.contains(name.as_str()))
            })
    }

    fn gives_back(&self, lacking: &str) -> bool {
        let mut names = self.requests.keys().map(String::as_str).chain(GIVEN_BACK);
        names.any(|name| lacking.contains(name))
    }
}

fn is_at_most(asked: &Quantity, given: &Quantity) -> bool {
    let amount = |quantity: &Quantity| sconce_crds::Quantity::new(&quantity.0);
    amount(asked).compare(&amount(given)).is_some_and(Ordering::is_le)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needs(requests: &[(&str, &str)], label: Option<(&str, &str)>) -> Needs {
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        Needs {
            requests: requests
                .iter()
                .map(owned)
                .map(|(key, value)| (key, Quantity(value)))
                .collect(),
            node_selector: label.iter().map(owned).collect(),
            placement: None,
        }
    }

    #[test]
    fn a_pod_for_other_nodes_does_not_fit_whatever_it_asks_for() {
        let asked = |placement: Option<&str>| Needs {
            placement: placement.map(str::to_owned),
            ..needs(&[("nvidia.com/gpu", "1")], None)
        };
        for (new, old, fits) in [
            (Some("l4"), Some("l4"), true),
            (Some("h100"), Some("l4"), false),
            (Some("h100"), Some(""), false),
            (Some(""), Some("l4"), true),
            (Some("h100"), None, true),
        ] {
            assert_eq!(
                asked(new).fit_in_place_of(&asked(old), None),
                fits,
                "{new:?} {old:?}"
            );
        }
    }

    #[test]
    fn no_pod_goes_for_one_that_lacks_what_it_does_not_give_back() {
        let old = needs(&[("cpu", "1"), ("memory", "1Gi")], None);
        let new = needs(&[("cpu", "1"), ("memory", "1Gi"), ("nvidia.com/gpu", "1")], None);
        for (lacking, fits) in [
            (
                "0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector.",
                false,
            ),
            (
                "0/1 nodes are available: 1 node(s) had untolerated taint(s).",
                false,
            ),
            ("0/1 nodes are available: 1 Insufficient nvidia.com/gpu.", false),
            ("0/1 nodes are available: 1 Insufficient cpu.", true),
            ("0/1 nodes are available: 1 Too many pods.", true),
            (
                "0/1 nodes are available: 1 node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode.",
                true,
            ),
        ] {
            assert_eq!(new.fit_in_place_of(&old, Some(lacking)), fits, "{lacking}");
        }
    }

    #[test]
    fn a_pod_fits_where_one_was_that_asked_for_as_much() {
        let old = needs(
            &[("cpu", "1"), ("memory", "1Gi"), ("nvidia.com/gpu", "1")],
            Some(("gpu", "l4")),
        );
        for (requests, label, fits) in [
            (
                vec![("cpu", "1000m"), ("memory", "512Mi"), ("nvidia.com/gpu", "1")],
                "l4",
                true,
            ),
            (vec![("cpu", "1")], "l4", true),
            (vec![("cpu", "1001m")], "l4", false),
            (vec![("nvidia.com/gpu", "2")], "l4", false),
            (vec![("amd.com/gpu", "1")], "l4", false),
            (vec![("cpu", "1")], "h100", false),
        ] {
            let new = needs(&requests, Some(("gpu", label)));
            assert_eq!(new.fit_in_place_of(&old, None), fits, "{requests:?} {label}");
        }
    }

    #[test]
    fn more_of_what_is_not_lacking_is_no_hindrance() {
        let old = needs(&[("memory", "256Mi"), ("nvidia.com/gpu", "1")], None);
        let new = needs(&[("memory", "300Mi"), ("nvidia.com/gpu", "1")], None);
        for (lacking, fits) in [
            ("0/1 nodes are available: 1 Insufficient nvidia.com/gpu.", true),
            (
                "0/2 nodes are available: 1 Insufficient memory, 2 Insufficient nvidia.com/gpu.",
                false,
            ),
            (
                "pods \"a\" is forbidden: exceeded quota: q, requested: requests.nvidia.com/gpu=1, used: requests.nvidia.com/gpu=1, limited: requests.nvidia.com/gpu=1",
                true,
            ),
        ] {
            assert_eq!(new.fit_in_place_of(&old, Some(lacking)), fits, "{lacking}");
        }
    }
}
