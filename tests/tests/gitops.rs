//! What tools that keep a cluster as Git has it see of our objects: no drift, and the health that people would tell.

use std::path::Path;
use std::process::Command;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind};
use sconce_contract::{FailureClass, Progress, TrainingPhase};
use sconce_crds::training::Phase;
use sconce_crds::{ModelDeployment, ModelTraining};
use sconce_tests::objects::{deployment, failed, trained, training, with};
use sconce_tests::room::{Kind, Room};
use sconce_tests::trainer::FakeTrainer;
use sconce_tests::wait::until;
use sconce_tests::{judges, tools};
use serde::Deserialize;
use serde_json::{Value, json};

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// An object with what Argo CD and kstatus must say of it, and when that was.
struct Expected {
    when: String,
    object: Value,
    argo_cd: &'static str,
    kstatus: &'static str,
}

#[derive(Default)]
struct Album(Vec<Expected>);

impl Album {
    async fn add<K: Kind>(
        &mut self,
        room: &Room,
        name: &str,
        when: &str,
        says: [&'static str; 2],
    ) -> Outcome<Value> {
        let mut object = serde_json::to_value(room.get::<K>(name).await?)?;
        // A client that lists leaves both out; a tool reads them of the object.
        object["apiVersion"] = K::api_version(&()).into();
        object["kind"] = K::kind(&()).into();
        self.keep(object.clone(), &format!("{} {when}", K::kind(&())), says);
        Ok(object)
    }

    fn keep(&mut self, object: Value, when: &str, [argo_cd, kstatus]: [&'static str; 2]) {
        self.0.push(Expected {
            when: when.to_owned(),
            object,
            argo_cd,
            kstatus,
        });
    }

    /// What is true of an object stops being so when its spec changes, until that is seen.
    fn check(mut self) -> Outcome {
        for at in 0..self.0.len() {
            if self.0[at].object["status"].is_null() {
                continue;
            }
            let (mut stale, when) = (self.0[at].object.clone(), self.0[at].when.clone());
            let generation = stale["metadata"]["generation"].as_i64().unwrap_or_default();
            stale["metadata"]["generation"] = (generation + 1).into();
            self.keep(
                stale,
                &format!("{when}, and then changed"),
                ["Progressing", "InProgress"],
            );
        }
        let objects: Vec<Value> = self.0.iter().map(|expected| expected.object.clone()).collect();
        let (argo_cd, kstatus) = (judges::argo_cd(&objects)?, judges::kstatus(&objects)?);
        for ((expected, argo_cd), kstatus) in self.0.iter().zip(&argo_cd).zip(&kstatus) {
            let told = format!("{}: {}", expected.when, expected.object["status"]);
            assert_eq!(argo_cd.status, expected.argo_cd, "Argo CD of a {told}");
            assert_eq!(kstatus.status, expected.kstatus, "kstatus of a {told}");
            assert!(!argo_cd.message.is_empty(), "{told}");
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn gitops_health_of_a_training_in_every_state() -> Outcome {
    let room = Room::open().await?;
    let mut album = Album::default();
    let unseen = training("unseen");
    album.keep(
        with(unseen, &json!({"metadata": {"generation": 1}})),
        "ModelTraining nobody has seen",
        ["Progressing", "Current"],
    );

    let missing = json!({"spec": {"dataset": {"uri": "configmap://nothing/iris.csv"}}});
    room.apply(with(training("refused"), &missing)).await?;
    room.training_says("refused", "ConfigMapNotFound").await?;
    album
        .add::<ModelTraining>(&room, "refused", "refused", ["Degraded", "Failed"])
        .await?;

    room.apply(training("iris")).await?;
    let pod = room.kubelet.trainer("iris").await?;
    room.training_says("iris", "Pending").await?;
    album
        .add::<ModelTraining>(&room, "iris", "without a node", ["Progressing", "InProgress"])
        .await?;
    room.kubelet.takes(&pod).await?;
    room.kubelet
        .waits(&pod, "ErrImagePull", Some("no such host"))
        .await?;
    room.training_says("iris", "ImagePullFailed").await?;
    album
        .add::<ModelTraining>(
            &room,
            "iris",
            "whose image is not there",
            ["Degraded", "InProgress"],
        )
        .await?;
    let progress = Progress {
        phase: TrainingPhase::Training,
        epochs: 10,
        total_steps: 40,
        ..Progress::default()
    };
    let trainer = FakeTrainer::start(progress).await?;
    room.kubelet.runs(&pod, trainer.address(), true).await?;
    room.phase("iris", Phase::Training).await?;
    album
        .add::<ModelTraining>(&room, "iris", "at work", ["Progressing", "InProgress"])
        .await?;
    room.kubelet.ends(&pod, &trained("models", 'a', 0.9)).await?;
    room.phase("iris", Phase::Succeeded).await?;
    album
        .add::<ModelTraining>(&room, "iris", "that succeeded", ["Healthy", "Current"])
        .await?;
    let gate = json!({"spec": {"evaluation": {"gates": [{"metric": "accuracy", "min": 0.95}]}}});
    room.change::<ModelTraining>("iris", gate).await?;
    room.phase("iris", Phase::Rejected).await?;
    album
        .add::<ModelTraining>(&room, "iris", "that was rejected", ["Degraded", "Failed"])
        .await?;

    room.apply(training("bad")).await?;
    room.run_to(
        "bad",
        &failed(FailureClass::BadInput, Some("dataset.target"), "no such column"),
    )
    .await?;
    room.phase("bad", Phase::Failed).await?;
    album
        .add::<ModelTraining>(&room, "bad", "that failed", ["Degraded", "Failed"])
        .await?;

    room.apply(with(training("held"), &json!({"spec": {"suspend": true}})))
        .await?;
    room.phase("held", Phase::Suspended).await?;
    album
        .add::<ModelTraining>(&room, "held", "that is suspended", ["Suspended", "InProgress"])
        .await?;
    album.check()?;
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn gitops_health_of_a_deployment_in_every_state() -> Outcome {
    let room = Room::open().await?;
    let mut album = Album::default();
    let manual = json!({"spec": {"model": {"trainingRef": {"promotion": "Manual"}}}});
    room.apply(deployment("iris", "iris")).await?;
    room.apply(with(deployment("chosen", "iris"), &manual)).await?;
    room.deployment_says("iris", "TrainingNotFound").await?;
    album
        .add::<ModelDeployment>(
            &room,
            "iris",
            "before its training",
            ["Progressing", "InProgress"],
        )
        .await?;
    room.apply(training("iris")).await?;
    room.deployment_says("iris", "NoArtifactYet").await?;
    album
        .add::<ModelDeployment>(
            &room,
            "iris",
            "that waits for its training",
            ["Progressing", "InProgress"],
        )
        .await?;
    room.run_to("iris", &trained("models", 'a', 0.9)).await?;
    room.deployment_says("chosen", "AwaitingPromotion").await?;
    album
        .add::<ModelDeployment>(
            &room,
            "chosen",
            "that waits for a person",
            ["Suspended", "InProgress"],
        )
        .await?;

    let claim = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "models"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    });
    room.deployment_says("iris", "ClaimNotFound").await?;
    album
        .add::<ModelDeployment>(&room, "iris", "whose claim is not there", ["Degraded", "Failed"])
        .await?;
    room.apply(claim).await?;
    let revision = room.revision("iris", None).await?;
    let pods = room.kubelet.active("sconce.dev/deployment=iris", 1).await?;
    room.see("iris", "the rollout is told", |seen: &ModelDeployment| {
        sconce_crds::condition::is_true(sconce_tests::room::served(seen), "Progressing")
    })
    .await?;
    album
        .add::<ModelDeployment>(&room, "iris", "that rolls out", ["Progressing", "InProgress"])
        .await?;
    let pod = kube::ResourceExt::name_any(&pods[0]);
    room.kubelet.takes(&pod).await?;
    room.kubelet
        .waits(&pod, "ErrImagePull", Some("no such host"))
        .await?;
    room.deployment_says("iris", "ImagePullFailed").await?;
    album
        .add::<ModelDeployment>(
            &room,
            "iris",
            "whose image is not there",
            ["Degraded", "InProgress"],
        )
        .await?;
    room.answer("iris", &revision, 1).await?;
    room.deployment_says("iris", "Serving").await?;
    album
        .add::<ModelDeployment>(&room, "iris", "that serves", ["Healthy", "Current"])
        .await?;
    let more = json!({"spec": {"autoscaling": {"mode": "External"}, "replicas": 2}});
    room.change::<ModelDeployment>("iris", more).await?;
    room.deployment_says("iris", "ScalingUp").await?;
    album
        .add::<ModelDeployment>(
            &room,
            "iris",
            "that an autoscaler gives another pod",
            ["Healthy", "Current"],
        )
        .await?;
    room.answer("iris", &revision, 2).await?;
    room.deployment_says("iris", "Serving").await?;
    room.change::<ModelDeployment>("iris", json!({"spec": {"replicas": 0}}))
        .await?;
    room.deployment_says("iris", "ScaledToZero").await?;
    album
        .add::<ModelDeployment>(&room, "iris", "scaled to zero", ["Suspended", "InProgress"])
        .await?;

    room.apply(training("bad")).await?;
    room.apply(deployment("bad", "bad")).await?;
    room.run_to(
        "bad",
        &failed(FailureClass::BadInput, Some("dataset.target"), "no such column"),
    )
    .await?;
    room.deployment_says("bad", "TrainingFailed").await?;
    album
        .add::<ModelDeployment>(&room, "bad", "whose training failed", ["Degraded", "Failed"])
        .await?;
    album.check()?;
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn gitops_no_drift_after_the_same_manifest_is_applied_twice() -> Outcome {
    let room = Room::open().await?;
    let manifests = manifests()?;
    let ours = |manifest: &&Value| manifest["apiVersion"] == "sconce.dev/v1alpha1";
    assert!(
        manifests.iter().filter(ours).count() >= 12,
        "{} manifests",
        manifests.len()
    );
    for (at, manifest) in manifests.iter().enumerate() {
        let mut manifest = manifest.clone();
        // Manifests of several files have the same names.
        if ours(&&manifest) {
            let name = manifest["metadata"]["name"].as_str().unwrap_or_default();
            manifest["metadata"]["name"] = format!("{name}-{at}").into();
        }
        no_drift(&room, manifest).await?;
    }
    Ok(room.close()?)
}

async fn no_drift(room: &Room, manifest: Value) -> Outcome {
    let kind = manifest["kind"].as_str().unwrap_or_default().to_owned();
    let name = manifest["metadata"]["name"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    room.apply(manifest.clone())
        .await
        .map_err(|error| format!("{error}: {manifest}"))?;
    if kind != "ModelTraining" && kind != "ModelDeployment" {
        return Ok(());
    }
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("sconce.dev", "v1alpha1", &kind));
    let api: Api<DynamicObject> = Api::namespaced_with(room.client.clone(), &room.namespace, &resource);
    let read = async || -> Outcome<Value> { Ok(serde_json::to_value(api.get(&name).await?)?) };
    until(&format!("the operator has seen {kind} {name}"), async || {
        let seen = read().await.ok()?;
        (seen["status"]["observedGeneration"] == seen["metadata"]["generation"]).then_some(())
    })
    .await?;
    // The operator may write a status in between: then it is tried again.
    let after = until(
        &format!("a second apply of {kind} {name} changes nothing"),
        async || {
            let before = read().await.ok()?;
            room.apply(manifest.clone()).await.ok()?;
            let after = read().await.ok()?;
            (before == after).then_some(after)
        },
    )
    .await?;
    assert_eq!(after["metadata"]["generation"], 1, "{kind} {name}");

    let definitions: Api<CustomResourceDefinition> = Api::all(room.client.clone());
    let definition = definitions
        .get(&format!("{}s.sconce.dev", kind.to_lowercase()))
        .await?;
    let version = &serde_json::to_value(&definition.spec.versions)?[0];
    let schema = &version["schema"]["openAPIV3Schema"];
    let mut expected = manifest.clone();
    defaults(&mut expected, schema);
    assert_eq!(
        after["spec"], expected["spec"],
        "{kind} {name} is not what was applied, with its defaults"
    );
    for of in ["labels", "annotations"] {
        assert_eq!(after["metadata"][of], manifest["metadata"][of], "{kind} {name}");
    }
    assert!(
        after["metadata"]["finalizers"].is_null() && after["metadata"]["ownerReferences"].is_null(),
        "{after}"
    );
    let managers = after["metadata"]["managedFields"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let of_operator: Vec<&Value> = managers
        .iter()
        .filter(|entry| entry["manager"] != "person")
        .collect();
    assert!(
        !of_operator.is_empty(),
        "nobody has written a status: {managers:?}"
    );
    for entry in of_operator {
        let fields: Vec<&String> = entry["fieldsV1"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(field, _)| field)
            .collect();
        assert_eq!(
            fields,
            ["f:status"],
            "{} owns more than the status",
            entry["manager"]
        );
        assert_eq!(entry["subresource"], "status");
    }
    Ok(())
}

/// What the API server adds to an object: the schema's defaults, below what is there (Kubernetes documentation, "Extend
/// the Kubernetes API with CustomResourceDefinitions", Defaulting).
fn defaults(value: &mut Value, schema: &Value) {
    match value {
        Value::Object(fields) => {
            for (name, property) in schema["properties"].as_object().into_iter().flatten() {
                if !fields.contains_key(name) && !property["default"].is_null() {
                    fields.insert(name.clone(), property["default"].clone());
                }
                if let Some(field) = fields.get_mut(name) {
                    defaults(field, property);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| defaults(item, &schema["items"])),
        _ => {}
    }
}

/// The examples, the YAML of the documents, and the objects of the API's own tests.
fn manifests() -> Outcome<Vec<Value>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut texts = Vec::new();
    for entry in std::fs::read_dir(root.join("examples"))? {
        let folder = entry?.path();
        if folder.join("kustomization.yaml").is_file() {
            let kubectl = tools::kubernetes()?.join("kubectl");
            let output = Command::new(kubectl).arg("kustomize").arg(&folder).output()?;
            assert!(
                output.status.success(),
                "{}",
                String::from_utf8_lossy(&output.stderr)
            );
            texts.push(String::from_utf8(output.stdout)?);
        }
    }
    let pages = std::fs::read_dir(root.join("docs"))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Outcome<Vec<_>>>()?;
    let pages = pages
        .into_iter()
        .filter(|page| page.extension().is_some_and(|extension| extension == "md"));
    for page in pages.chain([root.join("README.md")]) {
        let text = std::fs::read_to_string(page)?;
        let snippets = text
            .split("```yaml\n")
            .skip(1)
            .filter_map(|rest| rest.split("```").next());
        texts.extend(snippets.map(str::to_owned));
    }
    let mut all = Vec::new();
    for text in texts {
        for document in serde_norway::Deserializer::from_str(&text) {
            all.push(Value::deserialize(document)?);
        }
    }
    let maximal: Vec<Value> = serde_norway::from_str(include_str!("../../crds/tests/maximal.yaml"))?;
    let valid: Value = serde_norway::from_str(include_str!("../../crds/tests/valid.yaml"))?;
    all.extend(maximal);
    all.extend(
        valid
            .as_object()
            .into_iter()
            .flatten()
            .map(|(_, object)| object.clone()),
    );
    // What else a page shows (a quota, a profile) is not ours to keep still.
    let kept = |object: &Value| {
        ["ModelTraining", "ModelDeployment", "ConfigMap"]
            .iter()
            .any(|kind| object["kind"] == *kind)
    };
    all.retain(kept);
    Ok(all)
}
