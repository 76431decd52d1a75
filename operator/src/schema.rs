//! Whether the CRDs in the cluster know every field that this operator writes and reads. Helm never updates a CRD, so an
//! operator may be newer: then the API server refuses its statuses, and drops fields of specs without a word.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::EventType;
use kube::{Client, CustomResourceExt, Resource};
use sconce_crds::{AcceleratorProfile, ModelDeployment, ModelTraining};
use serde::Deserialize;
use tracing::{debug, error, info};

use crate::context::Context;
use crate::error::{Doing, Error};
use crate::reason::Reason;

/// How often the CRDs are looked at again while they lack something.
const AGAIN: Duration = Duration::from_secs(10);
/// Fields that are named; the rest are counted.
const MOST: usize = 8;

/// What a schema allows, without all that it says of it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Schema {
    properties: BTreeMap<String, Schema>,
    items: Option<Box<Schema>>,
    additional_properties: Option<Additional>,
    #[serde(rename = "x-kubernetes-preserve-unknown-fields")]
    open: bool,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Additional {
    /// Any, or none.
    Allowed(bool),
    /// Of this shape.
    Of(Box<Schema>),
}

#[derive(Deserialize)]
struct Published {
    #[serde(default)]
    components: Components,
}

#[derive(Default, Deserialize)]
struct Components {
    #[serde(default)]
    schemas: BTreeMap<String, Schema>,
}

/// A CRD that is older than the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outdated {
    /// Its name.
    pub name: String,
    /// Fields that it lacks, such as `status.coldStart`.
    pub fields: Vec<String>,
}

impl Outdated {
    /// What is wrong, and the remedy.
    pub fn sentence(&self) -> String {
        let named = self.fields.iter().take(MOST).cloned().collect::<Vec<_>>();
        let more = match self.fields.len().saturating_sub(MOST) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        format!(
            "the CRD {} in the cluster is older than this operator and lacks {}{more}: specs lose these fields and statuses \
             that have them are refused; run `kubectl apply --server-side --force-conflicts -f charts/sconce/crds` with the \
             chart of this operator's version",
            self.name,
            named.join(", "),
        )
    }
}

/// Fields that `ours` has and `theirs` does not know. Of a field that is missing, those below it are not named.
pub fn missing(ours: &Schema, theirs: &Schema) -> Vec<String> {
    let mut found = Vec::new();
    compare(ours, theirs, "", &mut found);
    found
}

fn compare(ours: &Schema, theirs: &Schema, path: &str, found: &mut Vec<String>) {
    let any = matches!(theirs.additional_properties, Some(Additional::Allowed(true)));
    if theirs.open || any {
        return;
    }
    for (name, field) in &ours.properties {
        let path = if path.is_empty() {
            name.clone()
        } else {
            format!("{path}.{name}")
        };
        match theirs.properties.get(name) {
            Some(known) => compare(field, known, &path, found),
            None => found.push(path),
        }
    }
    if let (Some(field), Some(known)) = (&ours.items, &theirs.items) {
        compare(field, known, &format!("{path}[]"), found);
    }
    if let (Some(Additional::Of(field)), Some(Additional::Of(known))) =
        (&ours.additional_properties, &theirs.additional_properties)
    {
        compare(field, known, &format!("{path}.*"), found);
    }
}

/// Compares until nothing is missing, and tells of each difference once: in the log, by a metric, and by an event on the CRD
/// where the operator may write one.
pub async fn watch(context: Arc<Context>, may_tell: bool) {
    let mut told: Option<Vec<Outdated>> = None;
    loop {
        match look(&context.client).await {
            Ok(found) => {
                let before = told.replace(found.clone()).unwrap_or_default();
                for name in before.iter().map(|outdated| &outdated.name) {
                    context.metrics.crd_lacks(name, 0);
                }
                for outdated in &found {
                    context.metrics.crd_lacks(&outdated.name, outdated.fields.len());
                    if !before.contains(outdated) {
                        tell(&context, outdated, may_tell);
                    }
                }
                if found.is_empty() {
                    return info!("the CRDs in the cluster have every field of this operator");
                }
            }
            Err(error) => debug!(%error, "the schemas of the CRDs cannot be read; trying again"),
        }
        tokio::time::sleep(AGAIN).await;
    }
}

fn tell(context: &Context, outdated: &Outdated, may_tell: bool) {
    let sentence = outdated.sentence();
    error!(crd = outdated.name, "{sentence}");
    if may_tell {
        let about = ObjectReference {
            api_version: Some("apiextensions.k8s.io/v1".to_owned()),
            kind: Some("CustomResourceDefinition".to_owned()),
            name: Some(outdated.name.clone()),
            ..ObjectReference::default()
        };
        context.event(&about, EventType::Warning, &Reason::CrdOutdated, &sentence);
    }
}

/// The CRDs that lack something. What the API server publishes needs no right of its own.
async fn look(client: &Client) -> Result<Vec<Outdated>, Error> {
    let path = format!(
        "/openapi/v3/apis/{}/{}",
        ModelTraining::group(&()),
        ModelTraining::version(&())
    );
    let request = hyper::Request::get(&path).body(Vec::new());
    let published: Published = match request.map_err(kube::Error::HttpError) {
        Ok(request) => client.request(request).await,
        Err(error) => Err(error),
    }
    .doing(|| format!("get {path}"))?;
    Ok([
        of::<AcceleratorProfile>(&published),
        of::<ModelTraining>(&published),
        of::<ModelDeployment>(&published),
    ]
    .into_iter()
    .flatten()
    .collect())
}

/// Nothing where it is not published (yet), or lacks nothing.
fn of<K: CustomResourceExt + Resource<DynamicType = ()>>(published: &Published) -> Option<Outdated> {
    let group: Vec<String> = K::group(&()).rsplit('.').map(str::to_owned).collect();
    let key = format!("{}.{}.{}", group.join("."), K::version(&()), K::kind(&()));
    let theirs = published.components.schemas.get(&key)?;
    let fields = missing(&ours::<K>(), theirs);
    (!fields.is_empty()).then(|| Outdated {
        name: K::crd_name().to_owned(),
        fields,
    })
}

fn ours<K: CustomResourceExt>() -> Schema {
    let definition = K::crd();
    let schema = definition.spec.versions.into_iter().next();
    let schema = schema.and_then(|version| version.schema?.open_api_v3_schema);
    // What was made from our own types is what they say.
    let whole = serde_json::to_value(schema).and_then(serde_json::from_value::<Schema>);
    whole.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema(value: serde_json::Value) -> Schema {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_field_that_is_missing_is_named_by_its_path_and_an_open_schema_lacks_nothing() {
        let ours = schema(json!({"properties": {
            "spec": {"properties": {"a": {"type": "string"}}},
            "status": {"properties": {
                "list": {"items": {"properties": {"name": {}, "took": {}}}},
                "map": {"additionalProperties": {"properties": {"x": {}}}},
                "free": {"properties": {"anything": {}}},
            }},
        }}));
        assert_eq!(missing(&ours, &ours), Vec::<String>::new());
        let theirs = schema(json!({"properties": {
            "spec": {"properties": {"a": {}, "b": {}}},
            "status": {"properties": {
                "list": {"items": {"properties": {"name": {}}}},
                "map": {"additionalProperties": {"properties": {}}},
                "free": {"x-kubernetes-preserve-unknown-fields": true},
            }},
        }}));
        assert_eq!(missing(&ours, &theirs), ["status.list[].took", "status.map.*.x"]);
        let bare = schema(json!({"properties": {"spec": {}}}));
        assert_eq!(missing(&ours, &bare), ["spec.a", "status"]);
    }

    #[test]
    fn our_own_definitions_are_read_whole() {
        let ours = ours::<ModelDeployment>();
        let status = &ours.properties["status"];
        assert!(status.properties.contains_key("settledReplicas"));
        let revision = status.properties["revisions"].items.as_ref().unwrap();
        assert!(revision.properties.contains_key("digest"));
    }

    #[test]
    fn the_sentence_names_the_fields_and_the_remedy() {
        let outdated = Outdated {
            name: "modeltrainings.sconce.dev".to_owned(),
            fields: (0..10).map(|at| format!("status.f{at}")).collect(),
        };
        let said = outdated.sentence();
        assert!(
            said.contains("status.f0, status.f1") && said.contains("status.f7 and 2 more"),
            "{said}"
        );
        assert!(said.contains("kubectl apply"), "{said}");
    }
}
