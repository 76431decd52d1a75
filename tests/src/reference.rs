//! What is left in a namespace in the end, so that a disturbed run can be compared with an undisturbed one.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Service};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::ResourceExt;
use kube::api::ListParams;
use sconce_crds::{ModelDeployment, ModelTraining};
use serde_json::{Value, json};

use crate::room::Room;
use crate::{Error, Result};

/// Objects by kind and name, less what differs between two runs of the same: identities, times, and how often it was
/// tried.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State(BTreeMap<String, Value>);

impl State {
    /// All objects of ours in the room. Of pods, whose names are made up, how many there are of what.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub async fn of(room: &Room) -> Result<Self> {
        let mut all = BTreeMap::new();
        let mut uids = Vec::new();
        macro_rules! look {
            ($label:literal, $($kind:ident)*) => {$(
                let list = room.api::<$kind>().list(&ListParams::default().labels($label)).await;
                for object in list.map_err(Error::api(concat!("list ", stringify!($kind))))?.items {
                    uids.push(object.uid().unwrap_or_default());
                    let value = serde_json::to_value(&object).unwrap_or_default();
                    all.insert(format!("{}/{}", stringify!($kind), object.name_any()), value);
                }
            )*};
        }
        look!("", ModelTraining ModelDeployment);
        look!(
            "app.kubernetes.io/managed-by=sconce",
            Job Deployment Service ConfigMap PersistentVolumeClaim PodDisruptionBudget NetworkPolicy
        );
        for (name, object) in &mut all {
            // What Kubernetes' own controllers say of a child, in which order, is theirs.
            if !name.starts_with("Model")
                && let Some(fields) = object.as_object_mut()
            {
                fields.remove("status");
            }
            blank(object, &uids, &room.namespace);
        }
        let ours = ListParams::default().labels("app.kubernetes.io/managed-by=sconce");
        let pods = room.api::<Pod>().list(&ours).await;
        for pod in pods.map_err(Error::api("list Pod"))?.items {
            let count = all.entry(of(&pod)).or_insert(json!(0));
            *count = json!(count.as_u64().unwrap_or(0) + 1);
        }
        Ok(Self(all))
    }

    /// How many objects, and kinds of pods.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Where the other differs, as a sentence; nothing where it does not.
    #[must_use]
    pub fn difference(&self, other: &State) -> Option<String> {
        let names = |state: &State| state.0.keys().cloned().collect::<Vec<_>>();
        if names(self) != names(other) {
            return Some(format!("{:?} instead of {:?}", names(other), names(self)));
        }
        let differs = |(name, object): (&String, &Value)| {
            let found = other.0.get(name)?;
            let at = first("", object, found)?;
            Some(format!("{name}{at}"))
        };
        self.0.iter().find_map(differs)
    }
}

/// What a pod is of and whether it goes, so that those of two runs can be told from one another.
fn of(pod: &Pod) -> String {
    let labels = pod.labels();
    let of = ["batch.kubernetes.io/job-name", "sconce.dev/revision"]
        .into_iter()
        .find_map(|label| labels.get(label));
    let phase = pod.status.as_ref().and_then(|status| status.phase.clone());
    let goes = if pod.metadata.deletion_timestamp.is_some() {
        ", on its way out"
    } else {
        ""
    };
    format!(
        "Pods/{} {}{goes}",
        of.cloned().unwrap_or_default(),
        phase.unwrap_or_default()
    )
}

fn first(at: &str, one: &Value, other: &Value) -> Option<String> {
    match (one, other) {
        (Value::Object(left), Value::Object(right)) => left
            .keys()
            .chain(right.keys())
            .find_map(|key| first(&format!("{at}.{key}"), &one[key], &other[key])),
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => left
            .iter()
            .zip(right)
            .enumerate()
            .find_map(|(index, (left, right))| first(&format!("{at}[{index}]"), left, right)),
        _ => (one != other).then(|| format!("{at} is {other} instead of {one}")),
    }
}

const VARY: [&str; 24] = [
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "managedFields",
    "generation",
    "observedGeneration",
    "lastTransitionTime",
    "lastUpdateTime",
    "startTime",
    "completed",
    "completionTime",
    "lastReported",
    "clusterIP",
    "clusterIPs",
    "deployment.kubernetes.io/revision",
    "time",
    "since",
    "acceleratorSeconds",
    "coldStart",
    "lastProbeTime",
    "sconce.dev/wanted-since",
    "sconce.dev/fewer-since",
    "sconce.dev/more-since",
    "sconce.dev/training-uid",
];

fn blank(value: &mut Value, uids: &[String], namespace: &str) {
    match value {
        Value::Object(fields) => {
            fields.retain(|key, _| !VARY.contains(&key.as_str()));
            fields
                .values_mut()
                .for_each(|value| blank(value, uids, namespace));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| blank(item, uids, namespace)),
        Value::String(text) => {
            for uid in uids {
                *text = text.replace(uid, "UID");
            }
            *text = text.replace(namespace, "NAMESPACE");
            // How many nodes a cluster has, and which of them cannot take a pod, changes with every room.
            if let Some(at) = text.find(": 0/") {
                text.truncate(at);
            }
            // Who took a pod's place is to be seen only for as long as that pod stops; whoever misses it says "a pod".
            if let Some(at) = text.find(" of a higher priority took its place") {
                text.replace_range(..at, "SOMEBODY");
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_difference_is_named_with_both_values() {
        let state = |seed: u8| {
            let object = json!({"spec": {"a": [1, {"seed": seed}]}, "metadata": {"name": "iris"}});
            State(BTreeMap::from([("ModelTraining/iris".to_owned(), object)]))
        };
        assert_eq!(state(1).difference(&state(1)), None);
        let said = state(1).difference(&state(2));
        assert_eq!(
            said.as_deref(),
            Some("ModelTraining/iris.spec.a[1].seed is 2 instead of 1")
        );
        let nothing = State::default().difference(&state(1));
        assert!(nothing.is_some_and(|said| said.contains("instead of []")));
    }

    #[test]
    fn what_two_runs_differ_in_is_left_out() {
        let mut object =
            json!({"metadata": {"uid": "u", "name": "iris"}, "text": "of u in room-1: 0/7 nodes"});
        blank(&mut object, &["u".to_owned()], "room-1");
        assert_eq!(
            object,
            json!({"metadata": {"name": "iris"}, "text": "of UID in NAMESPACE"})
        );
    }
}
