//! What the pods of a revision are to do, as they mount it.

use k8s_openapi::api::core::v1::ConfigMap;

use super::metadata;
use crate::deployment::revision::plan_name;
use crate::deployment::validate::{Pods, Serving};
use crate::pod::PLAN_KEY;

/// The plan of the wanted revision. Immutable: its name carries the revision.
pub(super) fn plan(serving: &Serving<'_>, pods: &Pods) -> ConfigMap {
    // A plan is structs and maps with string keys, which always serialise; the server refuses an empty plan.
    let json = serde_json::to_string_pretty(&pods.plan).unwrap_or_default();
    ConfigMap {
        metadata: metadata(serving, plan_name(&serving.name, &serving.wanted.revision)),
        data: Some([(PLAN_KEY.to_owned(), json)].into()),
        immutable: Some(true),
        ..ConfigMap::default()
    }
}
