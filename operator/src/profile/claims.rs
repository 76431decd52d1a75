//! What drivers publish and claims hold of devices (resource.k8s.io/v1), with nothing but what counting them needs.

use std::borrow::Cow;
use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::core::{ClusterResourceScope, NamespaceResourceScope};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::digest::slim_metadata;
use super::selector::{self, Term, Value};

/// Where the API of devices lives.
pub const API: &str = "resource.k8s.io/v1";

/// Driver, pool and name: a device's identity in the cluster.
pub type DeviceId = (String, String, String);

/// Devices that a driver publishes together.
#[derive(Clone, Debug, PartialEq)]
pub struct SliceFacts {
    /// Who publishes them.
    pub driver: String,
    /// What they are published as a part of; of a pool, only the newest generation counts.
    pub pool: (String, i64),
    /// Their node; nothing where they belong to several.
    pub node: Option<String>,
    /// The devices that may be claimed.
    pub devices: Vec<Device>,
    /// Whether a device may be claimed twice, or takes away from another: then a number of them says nothing.
    pub shared: bool,
}

/// A device that is published.
#[derive(Clone, Debug, PartialEq)]
pub struct Device {
    /// Its name in the pool.
    pub name: String,
    /// By name, with its domain where that is not the driver's.
    pub attributes: BTreeMap<String, Value>,
}

/// A claim that has been allocated devices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimFacts {
    /// The devices, each with the DeviceClass that it was asked for by.
    pub devices: Vec<(DeviceId, String)>,
}

/// A ResourceSlice as it is read.
#[derive(Clone, Debug, Deserialize)]
pub struct SlimSlice {
    #[serde(deserialize_with = "slim_metadata")]
    metadata: ObjectMeta,
    spec: SlimSliceSpec,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct SlimSliceSpec {
    driver: String,
    node_name: Option<String>,
    pool: SlimPool,
    devices: Vec<SlimDevice>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct SlimPool {
    name: String,
    generation: i64,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct SlimDevice {
    name: String,
    attributes: BTreeMap<String, serde_json::Value>,
    taints: Vec<SlimTaint>,
    consumes_counters: Vec<IgnoredAny>,
    allow_multiple_allocations: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct SlimTaint {
    effect: String,
}

/// A ResourceClaim as it is read.
#[derive(Clone, Debug, Deserialize)]
pub struct SlimClaim {
    #[serde(deserialize_with = "slim_metadata")]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: SlimClaimSpec,
    #[serde(default)]
    status: SlimClaimStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct SlimClaimSpec {
    devices: SlimRequests,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct SlimRequests {
    requests: Vec<SlimRequest>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct SlimRequest {
    name: String,
    exactly: SlimAsked,
    first_available: Vec<SlimAsked>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct SlimAsked {
    name: String,
    device_class_name: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct SlimClaimStatus {
    allocation: SlimAllocation,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct SlimAllocation {
    devices: SlimResults,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct SlimResults {
    results: Vec<SlimResult>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct SlimResult {
    request: String,
    driver: String,
    pool: String,
    device: String,
    admin_access: bool,
}

/// A DeviceClass as it is read.
#[derive(Clone, Debug, Deserialize)]
pub struct SlimClass {
    #[serde(deserialize_with = "slim_metadata")]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: SlimClassSpec,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct SlimClassSpec {
    selectors: Vec<SlimSelector>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct SlimSelector {
    cel: SlimCel,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct SlimCel {
    expression: String,
}

impl SlimSlice {
    /// Its name, and what counts.
    pub fn facts(self) -> (String, SliceFacts) {
        let shared =
            |device: &SlimDevice| device.allow_multiple_allocations || !device.consumes_counters.is_empty();
        // An effect that is not known is to be taken for None, which keeps nobody away.
        let keeps_away = |effect: &str| matches!(effect, "NoSchedule" | "NoExecute");
        let free = |device: &SlimDevice| !device.taints.iter().any(|taint| keeps_away(&taint.effect));
        let facts = SliceFacts {
            shared: self.spec.devices.iter().any(shared),
            driver: self.spec.driver,
            pool: (self.spec.pool.name, self.spec.pool.generation),
            node: self.spec.node_name.filter(|node| !node.is_empty()),
            devices: self
                .spec
                .devices
                .into_iter()
                .filter(free)
                .map(|device| Device {
                    name: device.name,
                    attributes: readable(device.attributes),
                })
                .collect(),
        };
        (self.metadata.name.unwrap_or_default(), facts)
    }
}

/// Those that are of a kind that is known: one of another kind says nothing of the others, and no selector that is read
/// here asks for it.
fn readable(attributes: BTreeMap<String, serde_json::Value>) -> BTreeMap<String, Value> {
    let read = |(name, value)| Some((name, serde_json::from_value(value).ok()?));
    attributes.into_iter().filter_map(read).collect()
}

impl SlimClaim {
    /// Its UID, and what counts; nothing where it holds no device. Whoever has an administrator's access holds none.
    pub fn facts(self) -> (String, Option<ClaimFacts>) {
        let requests = &self.spec.devices.requests;
        let class = |asked: &str| {
            let (name, sub) = asked.split_once('/').unwrap_or((asked, ""));
            let request = requests.iter().find(|request| request.name == name);
            let chosen = request.map(|request| {
                let first = request.first_available.iter().find(|first| first.name == sub);
                first.unwrap_or(&request.exactly).device_class_name.clone()
            });
            chosen.unwrap_or_default()
        };
        let results = self.status.allocation.devices.results.into_iter();
        let devices: Vec<_> = results
            .filter(|result| !result.admin_access)
            .map(|result| {
                let class = class(&result.request);
                ((result.driver, result.pool, result.device), class)
            })
            .collect();
        let facts = (!devices.is_empty()).then_some(ClaimFacts { devices });
        (self.metadata.uid.unwrap_or_default(), facts)
    }
}

impl SlimClass {
    /// Its name, and which devices it selects; nothing where its selectors are not read.
    pub fn facts(self) -> (String, Option<Vec<Term>>) {
        let expressions = self
            .spec
            .selectors
            .iter()
            .map(|selector| selector.cel.expression.as_str());
        let terms = selector::read(expressions);
        (self.metadata.name.unwrap_or_default(), terms)
    }
}

/// The types of k8s-openapi are those of the oldest Kubernetes that is supported, which does not serve these kinds.
macro_rules! resource {
    ($slim:ty, $scope:ty, $kind:literal, $plural:literal) => {
        impl Resource for $slim {
            type DynamicType = ();
            type Scope = $scope;

            fn kind((): &()) -> Cow<'_, str> {
                $kind.into()
            }

            fn group((): &()) -> Cow<'_, str> {
                "resource.k8s.io".into()
            }

            fn version((): &()) -> Cow<'_, str> {
                "v1".into()
            }

            fn plural((): &()) -> Cow<'_, str> {
                $plural.into()
            }

            fn meta(&self) -> &ObjectMeta {
                &self.metadata
            }

            fn meta_mut(&mut self) -> &mut ObjectMeta {
                &mut self.metadata
            }
        }
    };
}

resource!(SlimSlice, ClusterResourceScope, "ResourceSlice", "resourceslices");
resource!(
    SlimClaim,
    NamespaceResourceScope,
    "ResourceClaim",
    "resourceclaims"
);
resource!(SlimClass, ClusterResourceScope, "DeviceClass", "deviceclasses");

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_claim_holds_what_it_was_allocated_by_the_class_that_it_asked_by() {
        let claim: SlimClaim = serde_json::from_value(json!({
            "metadata": {"name": "c", "uid": "u"},
            "spec": {"devices": {"requests": [
                {"name": "one", "exactly": {"deviceClassName": "large", "count": 1}},
                {"name": "any", "firstAvailable": [
                    {"name": "big", "deviceClassName": "large"}, {"name": "small", "deviceClassName": "small"}]},
                {"name": "look", "exactly": {"deviceClassName": "large", "adminAccess": true}},
            ]}},
            "status": {"allocation": {"devices": {"results": [
                {"request": "one", "driver": "d", "pool": "p", "device": "0"},
                {"request": "any/small", "driver": "d", "pool": "p", "device": "1"},
                {"request": "look", "driver": "d", "pool": "p", "device": "2", "adminAccess": true},
            ]}}},
        }))
        .unwrap();
        let (uid, facts) = claim.facts();
        let held: Vec<_> = facts
            .unwrap()
            .devices
            .into_iter()
            .map(|((_, _, device), class)| format!("{device} by {class}"))
            .collect();
        assert_eq!(
            (uid.as_str(), held),
            ("u", vec!["0 by large".to_owned(), "1 by small".to_owned()])
        );
        let waits: SlimClaim =
            serde_json::from_value(json!({"metadata": {"name": "c", "uid": "u"}})).unwrap();
        assert_eq!(waits.facts().1, None);
    }

    #[test]
    fn a_device_with_a_taint_cannot_be_claimed_and_one_of_counters_is_not_counted() {
        let slice = |device: serde_json::Value| {
            let slice: SlimSlice = serde_json::from_value(json!({
                "metadata": {"name": "s"},
                "spec": {"driver": "d", "nodeName": "n", "pool": {"name": "p", "generation": 2}, "devices": [device]},
            }))
            .unwrap();
            slice.facts().1
        };
        let plain =
            slice(json!({"name": "0", "attributes": {"type": {"string": "gpu"}, "v": {"version": "1.2.3"}}}));
        assert_eq!(
            (plain.devices.len(), plain.shared, plain.pool),
            (1, false, ("p".to_owned(), 2))
        );
        let tainted = slice(json!({"name": "0", "taints": [{"key": "k", "effect": "NoSchedule"}]}));
        assert!(tainted.devices.is_empty());
        let told = slice(json!({
            "name": "0", "taints": [{"key": "k", "effect": "None"}],
            "attributes": {"type": {"string": "gpu"}, "later": {"strings": ["a"]}},
        }));
        let names: Vec<_> = told.devices[0].attributes.keys().collect();
        assert_eq!(names, ["type"], "what a later version adds is left out");
        assert!(slice(json!({"name": "0", "consumesCounters": [{"counterSet": "c"}]})).shared);
    }
}
