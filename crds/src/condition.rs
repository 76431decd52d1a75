//! The types of the conditions on an object's status.
//!
//! Each is told with `observedGeneration` of the object itself. `Ready`, `Progressing`, `Degraded` and `Stalled` mean
//! the same on every kind and are enough for kstatus and Argo CD; the others say which step is at work.

pub use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::{Schema, SchemaGenerator, json_schema};

use crate::upstream;

/// The spec can be carried out as it stands and everything that it names exists.
pub const ACCEPTED: &str = "Accepted";
/// The pod has found a node.
pub const SCHEDULED: &str = "Scheduled";
/// The pod runs.
pub const RUNNING: &str = "Running";
/// The training is held by `spec.suspend`.
pub const SUSPENDED: &str = "Suspended";
/// Every gate holds.
pub const GATES_PASSED: &str = "GatesPassed";
/// The training ended with an artifact that may be served.
pub const COMPLETE: &str = "Complete";
/// The training ended without one, and will not be tried again as it stands.
pub const FAILED: &str = "Failed";
/// What a pod computes fits the memory of its accelerator.
pub const FITS_ACCELERATOR: &str = "FitsAccelerator";
/// The artifact to serve is known.
pub const MODEL_RESOLVED: &str = "ModelResolved";
/// The newest pod's model came from the cache, or is in it now.
pub const CACHED: &str = "Cached";
/// At least one pod answers, of whichever revision.
pub const AVAILABLE: &str = "Available";
/// Every replica is of the current revision.
pub const ROLLOUT_COMPLETE: &str = "RolloutComplete";
/// There are nodes that offer the accelerator.
pub const NODES_FOUND: &str = "NodesFound";
/// The load is known, and the number of pods follows it.
pub const SCALING_ACTIVE: &str = "ScalingActive";
/// The load asks for more pods than there may or can be.
pub const SCALING_LIMITED: &str = "ScalingLimited";
/// The object is what its newest spec asks for.
pub const READY: &str = "Ready";
/// Work towards the newest spec goes on.
pub const PROGRESSING: &str = "Progressing";
/// Something needs a person.
pub const DEGRADED: &str = "Degraded";
/// Something needs a person and nothing goes on until then: what kstatus calls Failed, upon which Flux and kpt stop
/// waiting (sigs.k8s.io/cli-utils, pkg/kstatus).
pub const STALLED: &str = "Stalled";

/// Conditions as a list keyed by type, so that two managers never overwrite one another's.
pub(crate) fn schema(generator: &mut SchemaGenerator) -> Schema {
    let mut items = upstream::schema::<Condition>(generator);
    if let Some(items) = items.as_object_mut() {
        items.remove("description");
    }
    // Everybody knows them, and a definition has little room.
    for field in items["properties"]
        .as_object_mut()
        .into_iter()
        .flat_map(|fields| fields.values_mut())
    {
        if let Some(field) = field.as_object_mut() {
            field.remove("description");
        }
    }
    json_schema!({
        "type": "array", "items": items,
        "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"],
    })
}

/// The condition of a type.
pub fn find<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == kind)
}

/// Whether the condition of a type is True.
pub fn is_true(conditions: &[Condition], kind: &str) -> bool {
    find(conditions, kind).is_some_and(|condition| condition.status == "True")
}
