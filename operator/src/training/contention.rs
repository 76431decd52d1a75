//! What a training that yields to serving has to know, from what the watches have shown: which servers find no unit,
//! and which trainings could make way for them.

use jiff::Timestamp;
use kube::ResourceExt;
use kube::runtime::reflector::{ObjectRef, Store};
use sconce_crds::{AcceleratorProfile, ModelTraining};

use super::identity::{Identity, Stage, stage};
use super::yielding::{Contention, Decision, Free, Need, Peer, Yielding, decide};
use crate::context::Context;
use crate::seen::Pod;
use crate::watches::Stores;
use crate::{labels, observed};

/// Whether the training makes way for a server now.
pub fn decision(training: &ModelTraining, context: &Context, now: Timestamp) -> Decision {
    let stores = &context.stores;
    let Some(profile) = shared(training) else {
        return Decision::default();
    };
    let namespace = training.namespace().unwrap_or_default();
    let found = stores.profiles.get(&ObjectRef::new(profile));
    let count = context.count(profile);
    let facts = Contention {
        needs: needs(stores, &namespace, profile, found.as_deref(), now),
        peers: peers(stores, &namespace, profile),
        free: count.as_ref().and_then(|count| {
            Some(Free {
                on_one_node: count.spare()?,
                in_all: count.free()?,
            })
        }),
    };
    decide(&training.name_any(), &facts, now)
}

/// Trainings whose decision a pod of a server may change.
pub fn concerned(trainings: &Store<ModelTraining>, pod: &Pod) -> Vec<ObjectRef<ModelTraining>> {
    if !pod.labels().contains_key(labels::DEPLOYMENT) {
        return Vec::new();
    }
    let namespace = pod.namespace();
    let concerned =
        trainings.state_filter(|training| training.namespace() == namespace && shared(training).is_some());
    concerned
        .iter()
        .map(|training| ObjectRef::from_obj(&**training))
        .collect()
}

/// The profile whose units a training gives up, where it does.
pub(super) fn shared(training: &ModelTraining) -> Option<&str> {
    let spec = &training.spec;
    let asked = spec.accelerator.as_ref().filter(|_| !spec.suspend)?;
    spec.scheduling.yield_to.map(|_| asked.profile.as_str())
}

fn needs(
    stores: &Stores,
    namespace: &str,
    profile: &str,
    found: Option<&AcceleratorProfile>,
    now: Timestamp,
) -> Vec<Need> {
    let waiting = stores.pods.state_filter(|pod| {
        pod.namespace().as_deref() == Some(namespace)
            && pod.labels().contains_key(labels::DEPLOYMENT)
            && pod.metadata.deletion_timestamp.is_none()
            && !observed::is_scheduled(pod)
    });
    let mut needs: Vec<Need> = waiting
        .iter()
        .filter(|pod| observed::no_node(pod).is_some_and(|said| lacks_units(said, found)))
        .filter_map(|pod| {
            let deployment = pod.labels().get(labels::DEPLOYMENT)?;
            let served = stores
                .deployments
                .get(&ObjectRef::new(deployment).within(namespace))?;
            let asked = served.spec.accelerator.as_ref()?;
            let since = observed::condition(pod, "PodScheduled")?
                .last_transition_time
                .as_ref();
            (asked.profile == profile).then(|| Need {
                deployment: deployment.clone(),
                units: asked.count,
                since: since.map_or(now, |time| time.0),
            })
        })
        .collect();
    needs.sort_by(|one, other| (one.since, &one.deployment).cmp(&(other.since, &other.deployment)));
    needs
}

/// Whether the scheduler's plugin NodeResourcesFit says that units are what is missing; where they are devices that
/// are claimed, the plugin DynamicResources.
fn lacks_units(said: &str, profile: Option<&AcceleratorProfile>) -> bool {
    let resources = profile.map(|profile| &profile.spec.resources);
    resources.is_some_and(|resources| {
        let mut names = resources.keys();
        names.any(|name| said.contains(&format!("Insufficient {name}")))
    }) || said.contains("cannot allocate all claims")
}

fn peers(stores: &Stores, namespace: &str, profile: &str) -> Vec<Peer> {
    let trainings = stores.trainings.state_filter(|training| {
        training.namespace().as_deref() == Some(namespace)
            && training.metadata.deletion_timestamp.is_none()
            && shared(training) == Some(profile)
    });
    trainings
        .iter()
        .filter_map(|training| peer(stores, namespace, training))
        .collect()
}

fn peer(stores: &Stores, namespace: &str, training: &ModelTraining) -> Option<Peer> {
    let identity = Identity::of(training);
    let status = training.status.clone().unwrap_or_default();
    if stage(&status, &identity) != Stage::Due {
        return None;
    }
    let name = training.name_any();
    let job = stores.jobs.get(&ObjectRef::new(&identity.job).within(namespace));
    let annotation = job
        .as_ref()
        .and_then(|job| job.annotations().get(labels::YIELDING));
    let pods = stores.pods_of(namespace, labels::TRAINING, &name);
    let holding = pods.iter().find(|pod| {
        observed::is_scheduled(pod)
            && !observed::is_finished(pod)
            && pod.metadata.deletion_timestamp.is_none()
    });
    let (nodes, search) = (&training.spec.nodes, training.spec.search.as_ref());
    Some(Peer {
        of_a_pod: training.spec.accelerator.as_ref()?.count,
        pods: nodes.count,
        least: nodes.needed(search),
        holds_since: holding
            .and_then(|pod| pod.creation_timestamp())
            .map(|time| time.0),
        yielding: annotation.and_then(|annotation| Yielding::read(annotation)),
        name,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_lacks_something_else_stops_no_training() {
        let profile: AcceleratorProfile = serde_json::from_value(serde_json::json!({
            "apiVersion": "sconce.dev/v1alpha1", "kind": "AcceleratorProfile", "metadata": {"name": "l4"},
            "spec": {"device": "CUDA", "resources": {"nvidia.com/gpu": "1"}}
        }))
        .unwrap();
        let lacks = |said: &str| lacks_units(said, Some(&profile));
        assert!(lacks(
            "0/2 nodes are available: 1 Insufficient cpu, 2 Insufficient nvidia.com/gpu"
        ));
        assert!(!lacks("0/2 nodes are available: 2 Insufficient memory"));
        assert!(!lacks(
            "0/2 nodes are available: 2 node(s) had untolerated taint(s)"
        ));
        assert!(!lacks_units(
            "0/2 nodes are available: 2 Insufficient nvidia.com/gpu",
            None
        ));
    }
}
