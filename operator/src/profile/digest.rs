//! Nodes and pods with nothing but what counting units needs: everything else in them is skipped while it is read,
//! so that a cluster of thousands of pods costs neither time nor memory.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Node, Pod, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::Resource;
use serde::{Deserialize, Deserializer};

/// Whole amounts of extended resources, by name.
pub type Amounts = BTreeMap<String, i64>;

/// A node, for counting.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NodeFacts {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its taints that keep pods away.
    pub taints: Vec<Taint>,
    /// Whether it is ready and not cordoned.
    pub takes_pods: bool,
    /// What of extended resources it has for pods (`status.allocatable`).
    pub offers: Amounts,
}

/// A pod that has a node and has not ended, for counting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodFacts {
    /// Name of the node.
    pub node: String,
    /// What of extended resources it holds there.
    pub holds: Amounts,
}

/// Whether a resource is a device plugin's. Kubernetes' own have no domain, or its own
/// (k8s.io/kubernetes/pkg/apis/core/v1/helper, `IsExtendedResourceName`).
pub fn is_extended(resource: &str) -> bool {
    resource.contains('/') && !resource.contains("kubernetes.io/") && !resource.starts_with("requests.")
}

/// A [`Node`] as it is read for [`NodeFacts`].
#[derive(Clone, Debug, Deserialize, Resource)]
#[resource(inherit = Node)]
pub struct SlimNode {
    #[serde(deserialize_with = "slim_metadata")]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: SlimNodeSpec,
    #[serde(default)]
    status: SlimNodeStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct SlimNodeSpec {
    taints: Vec<Taint>,
    unschedulable: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct SlimNodeStatus {
    allocatable: BTreeMap<String, String>,
    conditions: Vec<SlimCondition>,
}

#[derive(Clone, Debug, Deserialize)]
struct SlimCondition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
}

impl SlimNode {
    /// Its name, and what counts.
    pub fn facts(self) -> (String, NodeFacts) {
        let ready = self
            .status
            .conditions
            .iter()
            .any(|condition| condition.kind == "Ready" && condition.status == "True");
        let facts = NodeFacts {
            labels: self.metadata.labels.unwrap_or_default(),
            taints: self
                .spec
                .taints
                .into_iter()
                .filter(|taint| taint.effect != "PreferNoSchedule")
                .collect(),
            takes_pods: ready && !self.spec.unschedulable,
            offers: extended(&self.status.allocatable),
        };
        (self.metadata.name.unwrap_or_default(), facts)
    }
}

/// A [`Pod`] as it is read for [`PodFacts`].
#[derive(Clone, Debug, Deserialize, Resource)]
#[resource(inherit = Pod)]
pub struct SlimPod {
    #[serde(deserialize_with = "slim_metadata")]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: SlimPodSpec,
    #[serde(default)]
    status: SlimPodStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct SlimPodSpec {
    node_name: String,
    containers: Vec<SlimContainer>,
    init_containers: Vec<SlimContainer>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct SlimContainer {
    restart_policy: String,
    resources: SlimResources,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct SlimResources {
    // The API server completes the requests of extended resources from their limits.
    requests: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct SlimPodStatus {
    phase: String,
}

impl SlimPod {
    /// Its UID, and what counts; nothing where it holds no extended resource of a node.
    pub fn facts(self) -> (String, Option<PodFacts>) {
        let uid = self.metadata.uid.clone().unwrap_or_default();
        let ended = matches!(self.status.phase.as_str(), "Succeeded" | "Failed");
        let holds = self.holds();
        let holding = !ended && !self.spec.node_name.is_empty() && !holds.is_empty();
        let facts = holding.then_some(PodFacts {
            node: self.spec.node_name,
            holds,
        });
        (uid, facts)
    }

    /// As the scheduler counts: containers and sidecars run at the same time, and an init container runs beside the
    /// sidecars that were started before it (k8s.io/component-helpers/resource, `AggregateContainerRequests`).
    fn holds(&self) -> Amounts {
        let mut together = Amounts::new();
        let mut most = Amounts::new();
        for init in &self.spec.init_containers {
            let asked = extended(&init.resources.requests);
            if init.restart_policy == "Always" {
                add(&mut together, &asked);
            } else {
                let mut at_once = together.clone();
                add(&mut at_once, &asked);
                raise(&mut most, &at_once);
            }
        }
        for container in &self.spec.containers {
            add(&mut together, &extended(&container.resources.requests));
        }
        raise(&mut most, &together);
        most.retain(|_, amount| *amount > 0);
        most
    }
}

fn add(to: &mut Amounts, amounts: &Amounts) {
    for (name, amount) in amounts {
        *to.entry(name.clone()).or_default() += amount;
    }
}

fn raise(to: &mut Amounts, amounts: &Amounts) {
    for (name, amount) in amounts {
        let highest = to.entry(name.clone()).or_default();
        *highest = (*highest).max(*amount);
    }
}

/// Amounts of extended resources. They are whole numbers; one that is not is none.
fn extended(amounts: &BTreeMap<String, String>) -> Amounts {
    amounts
        .iter()
        .filter(|(name, _)| is_extended(name))
        .filter_map(|(name, amount)| {
            let whole = sconce_crds::Quantity::new(amount).whole()?;
            Some((name.clone(), i64::try_from(whole).ok()?))
        })
        .collect()
}

/// Reads of the metadata what is needed, and skips the rest, of which the record of managed fields is the largest.
pub(super) fn slim_metadata<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ObjectMeta, D::Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Slim {
        name: Option<String>,
        namespace: Option<String>,
        uid: Option<String>,
        resource_version: Option<String>,
        deletion_timestamp: Option<Time>,
        labels: Option<BTreeMap<String, String>>,
    }
    let slim = Slim::deserialize(deserializer)?;
    Ok(ObjectMeta {
        name: slim.name,
        namespace: slim.namespace,
        uid: slim.uid,
        resource_version: slim.resource_version,
        deletion_timestamp: slim.deletion_timestamp,
        labels: slim.labels,
        ..ObjectMeta::default()
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(spec: &Value, phase: &str) -> Option<PodFacts> {
        let pod = json!({"metadata": {"name": "p", "uid": "u", "managedFields": [{"manager": "x"}]}, "spec": spec, "status": {"phase": phase}});
        let slim: SlimPod = serde_json::from_value(pod).unwrap();
        let (uid, facts) = slim.facts();
        assert_eq!(uid, "u");
        facts
    }

    fn asks(amounts: &Value) -> Value {
        json!({"resources": {"requests": amounts, "limits": amounts}})
    }

    #[test]
    fn a_pod_holds_what_it_needs_at_once() {
        let sidecar = json!({"restartPolicy": "Always", "resources": {"requests": {"nvidia.com/gpu": "1"}}});
        let first = asks(&json!({"nvidia.com/gpu": "2", "cpu": "1"}));
        let second = asks(&json!({"nvidia.com/gpu": "1", "cpu": "1"}));
        let spec = json!({
            "nodeName": "n", "initContainers": [sidecar, asks(&json!({"nvidia.com/gpu": "4"}))],
            "containers": [first, second],
        });
        let facts = pod(&spec, "Running").unwrap();
        assert_eq!(
            (facts.node.as_str(), facts.holds),
            ("n", [("nvidia.com/gpu".to_owned(), 5)].into())
        );
    }

    #[test]
    fn a_pod_without_a_node_or_a_device_or_that_has_ended_holds_nothing() {
        let gpu = asks(&json!({"nvidia.com/gpu": "1"}));
        assert!(pod(&json!({"nodeName": "n", "containers": [gpu]}), "Running").is_some());
        assert_eq!(pod(&json!({"containers": [gpu]}), "Pending"), None);
        assert_eq!(
            pod(&json!({"nodeName": "n", "containers": [gpu]}), "Failed"),
            None
        );
        let processor = asks(&json!({"cpu": "1", "hugepages-2Mi": "4Mi"}));
        assert_eq!(
            pod(&json!({"nodeName": "n", "containers": [processor]}), "Running"),
            None
        );
    }

    #[test]
    fn a_node_that_is_cordoned_or_not_ready_takes_no_pods() {
        let node = |spec: Value, ready: &str| {
            let node = json!({
                "metadata": {"name": "n", "labels": {"a": "b"}}, "spec": spec,
                "status": {"allocatable": {"nvidia.com/gpu": "8", "cpu": "16"}, "conditions": [{"type": "Ready", "status": ready}]}
            });
            serde_json::from_value::<SlimNode>(node).unwrap().facts().1
        };
        let well = node(json!({}), "True");
        assert_eq!((well.takes_pods, well.offers["nvidia.com/gpu"]), (true, 8));
        assert_eq!(well.offers.len(), 1);
        assert!(!node(json!({"unschedulable": true}), "True").takes_pods);
        assert!(!node(json!({}), "Unknown").takes_pods);
    }
}
