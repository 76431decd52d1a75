//! Whether a pod fits in another's place.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::seen::TemplateSpec;

/// What a node must have for a pod.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Needs {
    /// Amounts of resources.
    pub requests: BTreeMap<String, Quantity>,
    /// Labels.
    pub node_selector: BTreeMap<String, String>,
}

impl Needs {
    /// Of a pod with one container that asks for resources, as ours have.
    pub fn of(pod: &TemplateSpec) -> Self {
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
        }
    }

    /// Whether the node that has had `other` can take this one when `other` is gone: it asks for no other node, and for
    /// no more of anything. Where it has been said what is lacking, more may be asked of what is not: the words are the
    /// scheduler's (`Insufficient nvidia.com/gpu`) or a quota's (`requests.nvidia.com/gpu=1`).
    pub fn fit_in_place_of(&self, other: &Needs, lacking: Option<&str>) -> bool {
        self.node_selector == other.node_selector
            && self.requests.iter().all(|(name, asked)| {
                let given = other.requests.get(name);
                given.is_some_and(|given| asked == given || is_at_most(asked, given))
                    || lacking.is_some_and(|lacking| !lacking.contains(name.as_str()))
            })
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
