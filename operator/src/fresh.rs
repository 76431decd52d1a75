//! Whether what a watch has shown of an object is still what people ask for.
//!
//! Watches of different kinds are not equally late. Just after a start, the one may show a Job that the other does not
//! yet know to be asked for; what is then taken away, or begun once more, is work lost. So the API server itself is
//! asked before that: one read for each thing that goes or is decided for the first time, and none otherwise.

use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Resource, ResourceExt};
use sconce_crds::rollout::RETRY_ANNOTATION;

use crate::error::{Doing, Error};
use crate::labels;
use crate::seen::{Own, OwnKind};

/// Annotations by which people ask for something, as they do by the spec.
const ASKING: [&str; 3] = [labels::RERUN, labels::RESUME, RETRY_ANNOTATION];

/// Makes sure that `seen` is what is asked for now, and that the live object `agrees`.
///
/// # Errors
/// [`Error::Behind`] where it is not: the watch will show it, and then it is looked at again.
pub async fn confirm<K>(client: &Client, seen: &K, agrees: impl Fn(&K) -> bool) -> Result<(), Error>
where
    K: OwnKind + Resource<Scope = NamespaceResourceScope>,
{
    let (namespace, name) = (seen.namespace().unwrap_or_default(), seen.name_any());
    let what = || format!("{} {namespace}/{name}", K::kind(&()));
    let api: Api<Own<K>> = Api::namespaced(client.clone(), &namespace);
    let live = api.get_opt(&name).await.doing(|| format!("get {}", what()))?;
    match live {
        Some(Own(live)) if asks_the_same(seen, &live) && agrees(&live) => Ok(()),
        _ => Err(Error::Behind(what())),
    }
}

fn asks_the_same<K: Resource>(seen: &K, live: &K) -> bool {
    let asked = |object: &K| ASKING.map(|key| object.annotations().get(key).cloned());
    seen.uid() == live.uid()
        && seen.meta().generation == live.meta().generation
        && seen.meta().deletion_timestamp.is_some() == live.meta().deletion_timestamp.is_some()
        && asked(seen) == asked(live)
}

#[cfg(test)]
#[allow(clippy::needless_pass_by_value)] // What a json! makes is nobody else's.
mod tests {
    use sconce_crds::ModelTraining;
    use serde_json::{Value, json};

    use super::*;

    fn training(change: Value) -> ModelTraining {
        let mut metadata = json!({"name": "iris", "namespace": "ml", "uid": "1", "generation": 2});
        for (key, value) in change.as_object().unwrap() {
            metadata[key] = value.clone();
        }
        let spec = json!({
            "model": {"network": {"layers": [{"dense": {"units": 1}}]}},
            "dataset": {"uri": "configmap://a/b.csv", "target": "y"},
        });
        serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap()
    }

    #[test]
    fn what_people_ask_by_is_told_from_what_is_only_said() {
        let seen = training(json!({}));
        let said = json!({"resourceVersion": "9", "annotations": {"team": "a"}});
        assert!(asks_the_same(&seen, &training(said)));
        for change in [
            json!({"generation": 3}),
            json!({"uid": "2"}),
            json!({"annotations": {"sconce.dev/rerun": "2"}}),
            json!({"annotations": {"sconce.dev/retry": "2"}}),
            json!({"deletionTimestamp": "2026-01-01T00:00:00Z"}),
        ] {
            assert!(!asks_the_same(&seen, &training(change.clone())), "{change}");
        }
    }
}
