//! An object of which nothing is read: what is stored is held against what should be.

use std::borrow::Cow;
use std::marker::PhantomData;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::{Deserialize, Serialize};

use super::{Map, Metadata, Seen};

/// An object of the kind `K`: its metadata, and its spec as text.
///
/// All of the spec, since whatever is written has to be found in it: with a field that is written and not kept, it
/// would be written forever.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(bound = "")]
pub struct Compared<K> {
    metadata: Metadata<Map>,
    #[serde(default, with = "text")]
    spec: Box<str>,
    #[serde(skip)]
    kind: PhantomData<fn() -> K>,
}

impl<K: Resource> Seen<K> for Compared<K> {}

impl<K: Resource<DynamicType = ()>> Resource for Compared<K> {
    type DynamicType = ();
    type Scope = K::Scope;

    fn kind(kind: &()) -> Cow<'_, str> {
        K::kind(kind)
    }

    fn group(kind: &()) -> Cow<'_, str> {
        K::group(kind)
    }

    fn version(kind: &()) -> Cow<'_, str> {
        K::version(kind)
    }

    fn plural(kind: &()) -> Cow<'_, str> {
        K::plural(kind)
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// JSON that is kept as text.
mod text {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, ser};
    use serde_json::Value;

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Box<str>, D::Error> {
        Value::deserialize(deserializer).map(|value| value.to_string().into())
    }

    pub fn serialize<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
        let text = if text.is_empty() { "null" } else { text };
        let value: Value = serde_json::from_str(text).map_err(ser::Error::custom)?;
        value.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Service;
    use serde_json::json;

    use super::*;
    use crate::difference;

    #[test]
    fn what_is_compared_is_kept_whole_but_for_its_status() {
        let spec = json!({
            "selector": {"a": "b"}, "ports": [{"port": 80, "targetPort": "http"}], "clusterIP": "10.0.0.1",
        });
        let stored = json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "a", "namespace": "ml", "labels": {"app.kubernetes.io/part-of": "shop"}},
            "spec": spec, "status": {"loadBalancer": {}},
        });
        let seen: Compared<Service> = serde_json::from_value(stored.clone()).unwrap();
        let told = serde_json::to_value(&seen).unwrap();
        assert_eq!((&told["spec"], told.get("status")), (&spec, None));
        assert_eq!(difference::first(&stored["metadata"], &told["metadata"]), None);
        assert_eq!(Compared::<Service>::api_version(&()), "v1");
        assert_eq!(
            Compared::<Service>::url_path(&(), Some("ml")),
            Service::url_path(&(), Some("ml"))
        );
    }

    #[test]
    fn one_without_a_spec_is_as_one_that_says_nothing() {
        let seen: Compared<Service> = serde_json::from_value(json!({"metadata": {"name": "a"}})).unwrap();
        assert_eq!(serde_json::to_value(&seen).unwrap()["spec"], json!(null));
    }
}
