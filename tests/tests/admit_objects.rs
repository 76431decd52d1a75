//! The API server itself refuses what cannot be carried out, with a sentence, and stores what it admits with its
//! defaults written out. No webhook is involved, and nothing here but etcd and the API server runs.

use kube::Api;
use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use kube::client::Body;
use kube::core::{ApiResource, GroupVersionKind};
use sconce_crds::ModelDeployment;
use sconce_tests::objects::{deployment, gpu_profile, merge, training, with};
use sconce_tests::room::Room;
use sconce_tests::world::Extent;
use serde_json::{Value, json};

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

const REFUSALS: &str = include_str!("../../crds/tests/refusals.yaml");
const VALID: &str = include_str!("../../crds/tests/valid.yaml");

fn api(room: &Room, kind: &str) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("sconce.dev", "v1alpha1", kind));
    match kind {
        "AcceleratorProfile" => Api::all_with(room.client.clone(), &resource),
        _ => Api::namespaced_with(room.client.clone(), &room.namespace, &resource),
    }
}

async fn create(room: &Room, object: Value) -> Outcome<Result<DynamicObject, kube::core::Status>> {
    let kind = object["kind"].as_str().unwrap_or_default().to_owned();
    let created = api(room, &kind)
        .create(&PostParams::default(), &serde_json::from_value(object)?)
        .await;
    status(created)
}

fn status<T>(answer: kube::Result<T>) -> Outcome<Result<T, kube::core::Status>> {
    match answer {
        Ok(stored) => Ok(Ok(stored)),
        Err(kube::Error::Api(status)) => Ok(Err(*status)),
        Err(error) => Err(error.into()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_rule_refuses_its_rows_with_its_sentence() -> Outcome {
    let room = Room::within(Extent::Admission).await?;
    let rows: Vec<Value> = serde_norway::from_str(REFUSALS)?;
    let valid: Value = serde_norway::from_str(VALID)?;
    assert!(rows.len() > 20, "{} rows", rows.len());
    for (index, row) in rows.iter().enumerate() {
        let (kind, case) = (row["kind"].as_str().unwrap_or_default(), &row["case"]);
        let mut object = valid[kind].clone();
        object["metadata"]["name"] = format!("row-{index}").into();
        let refused = if let Some(before) = row.get("before") {
            // An update of what is stored, in a state that the operator would have written.
            create(&room, object.clone())
                .await?
                .map_err(|status| format!("{case}: {}", status.message))?;
            let api = api(&room, kind);
            let name = format!("row-{index}");
            // `conditions` is what a status cannot be without.
            let state = with(json!({"status": {"conditions": []}}), before);
            api.patch_status(&name, &PatchParams::default(), &Patch::Merge(state))
                .await?;
            status(
                api.patch(&name, &PatchParams::default(), &Patch::Merge(&row["change"]))
                    .await,
            )?
        } else {
            merge(&mut object, &row["change"]);
            create(&room, object).await?
        };
        let refused = refused.err().ok_or_else(|| format!("{case} was admitted"))?;
        assert_eq!(refused.code, 422, "{case}: {}", refused.message);
        let sentence = row["message"].as_str().unwrap_or_default();
        assert!(refused.message.contains(sentence), "{case}: {}", refused.message);
    }
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_types_values_and_amounts_are_refused_with_the_fields_name() -> Outcome {
    let room = Room::within(Extent::Admission).await?;
    let train = |spec: Value| with(training("wrong"), &json!({ "spec": spec }));
    let serve = |spec: Value| with(deployment("wrong", "iris"), &json!({ "spec": spec }));
    let accel = |spec: Value| with(gpu_profile("wrong"), &json!({ "spec": spec }));
    let layers = |layer: Value| train(json!({"model": {"network": {"layers": [layer]}}}));
    let cases = [
        (
            train(json!({"hyperparameters": {"epochs": "ten"}})),
            "spec.hyperparameters.epochs",
        ),
        (
            train(json!({"hyperparameters": {"epochs": 0}})),
            "spec.hyperparameters.epochs",
        ),
        (
            train(json!({"hyperparameters": {"epochs": 1.5}})),
            "spec.hyperparameters.epochs",
        ),
        (
            train(json!({"hyperparameters": {"batchSize": 2_000_000}})),
            "spec.hyperparameters.batchSize",
        ),
        (
            train(json!({"hyperparameters": {"optimizer": {"type": "LBFGS"}}})),
            "spec.hyperparameters.optimizer.type",
        ),
        (
            train(json!({"hyperparameters": {"loss": "Hinge"}})),
            "spec.hyperparameters.loss",
        ),
        (
            train(json!({"dataset": {"uri": "ftp://host/iris.csv"}})),
            "spec.dataset.uri",
        ),
        (
            train(json!({"dataset": {"uri": "configmap://Flowers/iris.csv"}})),
            "spec.dataset.uri",
        ),
        (train(json!({"dataset": {"target": null}})), "spec.dataset.target"),
        (
            train(json!({"model": {"network": null, "custom": {"image": ""}}})),
            "spec.model.custom.image",
        ),
        (
            train(json!({"model": {"network": null, "custom": {"command": ["a"]}}})),
            "spec.model.custom.image",
        ),
        (
            train(json!({"model": {"network": null, "custom": {"image": "a", "args": "b"}}})),
            "spec.model.custom.args",
        ),
        (
            train(json!({"dataset": {"uri": "https://host/a.csv", "credentialsRef": {}}})),
            "spec.dataset.credentialsRef.name",
        ),
        (train(json!({"output": {"size": "many"}})), "spec.output.size"),
        (
            train(json!({"output": {"accessMode": "ReadOnlyMany"}})),
            "spec.output.accessMode",
        ),
        (
            train(json!({"output": {"storageClassName": ""}})),
            "spec.output.storageClassName",
        ),
        (
            train(json!({"failurePolicy": {"stallTimeout": "soon"}})),
            "spec.failurePolicy.stallTimeout",
        ),
        (
            train(json!({"failurePolicy": {"stallTimeout": 15}})),
            "spec.failurePolicy.stallTimeout",
        ),
        (
            train(json!({"podOverrides": {"labels": ["a"]}})),
            "spec.podOverrides.labels",
        ),
        (
            train(json!({"podOverrides": {"env": [{"name": "1A", "value": ""}]}})),
            "spec.podOverrides.env[0].name",
        ),
        (
            train(
                json!({"podOverrides": {"env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]}}),
            ),
            "spec.podOverrides.env",
        ),
        (
            train(json!({"podOverrides": {"envFrom": [{"secretRef": {}}]}})),
            "spec.podOverrides.envFrom[0].secretRef.name",
        ),
        (
            train(json!({"podOverrides": {"serviceAccountName": ""}})),
            "spec.podOverrides.serviceAccountName",
        ),
        (
            train(
                json!({"podOverrides": {"volumes": [{"name": "a", "mountPath": "relative", "emptyDir": {}}]}}),
            ),
            "spec.podOverrides.volumes[0].mountPath",
        ),
        (
            train(
                json!({"podOverrides": {"volumes": [{"name": "a", "mountPath": "/a/../etc/sconce", "emptyDir": {}}]}}),
            ),
            "spec.podOverrides.volumes[0].mountPath",
        ),
        (
            train(
                json!({"podOverrides": {"volumes": [{"name": "a", "mountPath": "/a", "emptyDir": {"sizeLimit": "big"}}]}}),
            ),
            "spec.podOverrides.volumes[0].emptyDir.sizeLimit",
        ),
        (
            train(json!({"podOverrides": {"volumes": [{"name": "A", "mountPath": "/a", "emptyDir": {}}]}})),
            "spec.podOverrides.volumes[0].name",
        ),
        (train(json!({"dataset": {"target": ""}})), "spec.dataset.target"),
        (
            train(json!({"dataset": {"format": "XLSX"}})),
            "spec.dataset.format",
        ),
        (train(json!({"dataset": null})), "spec.dataset"),
        (
            train(json!({"model": {"network": {"layers": []}}})),
            "spec.model.network.layers",
        ),
        (
            layers(json!({"dense": {"units": 0}})),
            "spec.model.network.layers[0].dense.units",
        ),
        (
            layers(json!({"dense": {"units": 1, "activation": "Swish"}})),
            "spec.model.network.layers[0].dense.activation",
        ),
        (
            accel(json!({"resources": {"nvidia.com/gpu": 0}})),
            "spec.resources.nvidia.com/gpu",
        ),
        (
            accel(json!({"resources": {"nvidia.com/gpu": "1.5"}})),
            "spec.resources.nvidia.com/gpu",
        ),
        (
            accel(json!({"nodeSelector": {"gpu": "no spaces"}})),
            "spec.nodeSelector.gpu",
        ),
        (accel(json!({"nodeSelectors": [{}]})), "spec.nodeSelectors[0]"),
        (
            accel(json!({"nodeSelectors": [{"gpu": "a/b"}]})),
            "spec.nodeSelectors[0].gpu",
        ),
        (
            accel(json!({"runtimeClassName": "No Such Name"})),
            "spec.runtimeClassName",
        ),
        (accel(json!({"images": {"server": ""}})), "spec.images.server"),
        (accel(json!({"env": [{"name": "A"}]})), "spec.env[0].value"),
        (accel(json!({"device": null})), "spec.device"),
        (
            train(json!({"resources": {"memory": "lots"}})),
            "spec.resources.memory",
        ),
        (train(json!({"resources": {"cpu": "-1"}})), "spec.resources.cpu"),
        (train(json!({"resources": {"cpu": -1}})), "spec.resources.cpu"),
        (
            train(json!({"output": {"uri": "https://host/models"}})),
            "spec.output.uri",
        ),
        (
            train(json!({"accelerator": {"profile": "l4", "count": 65}})),
            "spec.accelerator.count",
        ),
        (
            train(json!({"accelerator": {"count": 1}})),
            "spec.accelerator.profile",
        ),
        (
            train(json!({"activeDeadlineSeconds": 0})),
            "spec.activeDeadlineSeconds",
        ),
        (
            train(json!({"ttlSecondsAfterFinished": -1})),
            "spec.ttlSecondsAfterFinished",
        ),
        (
            train(json!({"failurePolicy": {"backoffLimit": 101}})),
            "spec.failurePolicy.backoffLimit",
        ),
        (train(json!({"suspend": "yes"})), "spec.suspend"),
        (serve(json!({"network": {}})), "spec.network.allowFrom"),
        (
            serve(json!({"network": {"allowFrom": [{"cidr": "10.0.0.0/33"}]}})),
            "spec.network.allowFrom[0].cidr",
        ),
        (
            serve(json!({"network": {"allowFrom": [{"podLabels": ["app"]}]}})),
            "spec.network.allowFrom[0].podLabels",
        ),
        (
            train(json!({"evaluation": {"metrics": ["speed"]}})),
            "spec.evaluation.metrics",
        ),
        (
            train(json!({"evaluation": {"metrics": ["loss", "loss"]}})),
            "spec.evaluation.metrics",
        ),
        (
            train(
                json!({"evaluation": {"gates": [{"metric": "loss", "max": 1}, {"metric": "loss", "max": 2}]}}),
            ),
            "spec.evaluation.gates",
        ),
        (serve(json!({"replicas": 1001})), "spec.replicas"),
        (serve(json!({"replicas": -1})), "spec.replicas"),
        (serve(json!({"replicas": "many"})), "spec.replicas"),
        (
            serve(json!({"model": {"trainingRef": null, "uri": "file:///models/iris"}})),
            "spec.model.uri",
        ),
        (
            serve(json!({"model": {"trainingRef": null, "uri": "pvc://m/i", "digest": "sha256:abc"}})),
            "spec.model.digest",
        ),
        (
            serve(json!({"model": {"trainingRef": {"promotion": "Always"}}})),
            "spec.model.trainingRef.promotion",
        ),
        (serve(json!({"warmup": {"rows": []}})), "spec.warmup.rows"),
        (
            serve(json!({"server": {"custom": {"image": "a"}}})),
            "spec.server.custom.readinessPath",
        ),
        (
            serve(json!({"server": {"custom": {"image": "a", "readinessPath": "healthz"}}})),
            "spec.server.custom.readinessPath",
        ),
        (
            serve(json!({"server": {"custom": {"image": "a", "readinessPath": "/", "port": 0}}})),
            "spec.server.custom.port",
        ),
        (
            serve(json!({"server": {"custom": {"image": "a", "readinessPath": "/", "port": 65536}}})),
            "spec.server.custom.port",
        ),
        (
            serve(json!({"server": {"custom": {"readinessPath": "/"}}})),
            "spec.server.custom.image",
        ),
        (
            serve(json!({"podOverrides": {"tolerations": "all"}})),
            "spec.podOverrides.tolerations",
        ),
        (accel(json!({"device": "GPU"})), "spec.device"),
        (accel(json!({"device": null})), "spec.device"),
        (
            accel(json!({"resources": {"nvidia.com/gpu": "0.5"}})),
            "spec.resources.nvidia.com/gpu",
        ),
        (accel(json!({"memory": "much"})), "spec.memory"),
        (accel(json!({"costPerHour": -1.0})), "spec.costPerHour"),
    ];
    for (object, field) in cases {
        let said = create(&room, object.clone()).await?;
        let refused = said
            .err()
            .ok_or_else(|| format!("{field}: admitted: {}", object["spec"]))?;
        assert_eq!(refused.code, 422, "{field}: {}", refused.message);
        assert!(refused.message.contains(field), "{field}: {}", refused.message);
    }
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_admitted_comes_back_with_its_defaults_and_a_null_counts_as_absent() -> Outcome {
    let room = Room::within(Extent::Admission).await?;
    let valid: Value = serde_norway::from_str(VALID)?;
    let nulls =
        json!({"spec": {"hyperparameters": Value::Null, "accelerator": Value::Null, "suspend": Value::Null}});
    let mut object = valid["ModelTraining"].clone();
    for (field, null) in nulls["spec"].as_object().into_iter().flatten() {
        object["spec"][field] = null.clone();
    }
    let stored = create(&room, object).await?.map_err(|status| status.message)?;
    let spec = &stored.data["spec"];
    let optimizer = json!({"type": "Adam", "learningRate": 0.001});
    let learns = json!({"epochs": 10, "batchSize": 32, "seed": 42, "optimizer": optimizer, "schedule": {"type": "Constant"}});
    assert_eq!(spec["hyperparameters"], learns);
    assert_eq!(
        spec["dataset"]["split"],
        json!({"validation": 0.1, "test": 0.1, "seed": 7})
    );
    assert_eq!(
        (&spec["dataset"]["standardize"], &spec["suspend"]),
        (&json!(true), &json!(false))
    );
    assert_eq!(spec["resources"], json!({"cpu": "1", "memory": "1Gi"}));
    assert_eq!(spec["failurePolicy"], json!({"backoffLimit": 3}));
    assert_eq!(spec.get("accelerator"), None);

    let stored = create(&room, valid["ModelDeployment"].clone())
        .await?
        .map_err(|status| status.message)?;
    let spec = &stored.data["spec"];
    assert_eq!(
        spec["model"]["trainingRef"],
        json!({"name": "iris", "promotion": "OnGatesPassed"})
    );
    assert_eq!(
        (&spec["replicas"], &spec["resources"]),
        (&json!(1), &json!({"cpu": "500m", "memory": "256Mi"}))
    );
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn applying_the_same_manifest_again_changes_nothing() -> Outcome {
    let room = Room::within(Extent::Admission).await?;
    for object in [training("again"), deployment("again", "again")] {
        let first = room.apply(object.clone()).await?.metadata;
        let second = room.apply(object).await?.metadata;
        assert_eq!(
            (first.resource_version, first.generation),
            (second.resource_version, second.generation)
        );
    }
    let first = room.apply_cluster(gpu_profile("again")).await?.metadata;
    let second = room.apply_cluster(gpu_profile("again")).await?.metadata;
    assert_eq!(first.resource_version, second.resource_version);
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn scale_reads_and_writes_replicas_within_bounds() -> Outcome {
    let room = Room::within(Extent::Admission).await?;
    room.apply(deployment("scaled", "iris")).await?;
    let api = room.api::<ModelDeployment>();
    let scaled = api
        .patch_scale(
            "scaled",
            &PatchParams::default(),
            &Patch::Merge(json!({"spec": {"replicas": 4}})),
        )
        .await?;
    assert_eq!(scaled.spec.and_then(|spec| spec.replicas), Some(4));
    assert_eq!(api.get("scaled").await?.spec.replicas, 4);
    let beyond = api
        .patch_scale(
            "scaled",
            &PatchParams::default(),
            &Patch::Merge(json!({"spec": {"replicas": 4000}})),
        )
        .await;
    assert!(status(beyond)?.is_err_and(|status| status.message.contains("spec.replicas")));
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_get_shows_the_columns_that_people_read() -> Outcome {
    let room = Room::within(Extent::Admission).await?;
    room.apply(training("shown")).await?;
    room.apply(deployment("shown", "shown")).await?;
    room.apply_cluster(gpu_profile("shown")).await?;
    let state = json!({"status": {"conditions": [], "phase": "Training", "progress": {"summary": "45% (epoch 4/10)", "loss": 0.21}}});
    api(&room, "ModelTraining")
        .patch_status("shown", &PatchParams::default(), &Patch::Merge(state))
        .await?;
    let namespace = format!("namespaces/{}/", room.namespace);
    let wanted: [(String, &[&str]); 3] = [
        (
            format!("{namespace}modeltrainings"),
            &[
                "Name", "PHASE", "PROGRESS", "ETA", "LOSS", "GATES", "AGE", "ACCEL", "NODES", "ARTIFACT",
                "REASON",
            ],
        ),
        (
            format!("{namespace}modeldeployments"),
            &[
                "Name",
                "READY",
                "REPLICAS",
                "MODEL",
                "URL",
                "AGE",
                "ACCEL",
                "COLDSTART",
                "REASON",
            ],
        ),
        (
            "acceleratorprofiles".to_owned(),
            &[
                "Name",
                "DEVICE",
                "MEMORY",
                "CAPACITY",
                "ALLOCATED",
                "AGE",
                "NODES",
                "RUNTIMECLASS",
                "COST/H",
            ],
        ),
    ];
    for (path, columns) in wanted {
        let request = http::Request::get(format!("/apis/sconce.dev/v1alpha1/{path}"))
            .header("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io")
            .body(Vec::new())?;
        let table: Value = serde_json::from_str(&room.client.request_text(request).await?)?;
        let names: Vec<&str> = table["columnDefinitions"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|column| column["name"].as_str())
            .collect();
        assert_eq!(names, columns, "{path}");
        if path.ends_with("modeltrainings") {
            let cells = &table["rows"][0]["cells"];
            assert_eq!(
                (&cells[1], &cells[2], &cells[4]),
                (&json!("Training"), &json!("45% (epoch 4/10)"), &json!(0.21))
            );
        }
    }
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_definitions_are_created_without_a_warning_and_fit_a_client_side_apply() -> Outcome {
    let room = Room::within(Extent::Admission).await?;
    for name in ["modeltrainings", "modeldeployments", "acceleratorprofiles"] {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../crds/yaml")
            .join(format!("{name}.yaml"));
        // Under another group: ours is there already, and only a create shows every warning.
        let text = std::fs::read_to_string(path)?.replace("sconce.dev", "warnings.example");
        let mut definition: Value = serde_norway::from_str(&text)?;
        let json = definition.to_string();
        // What `kubectl apply` writes beside the object; all annotations of an object end at 256 KiB.
        assert!(json.len() < 200 * 1024, "{name}: {} bytes", json.len());
        definition["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"] =
            json.into();
        let request = http::Request::post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions")
            .header("Content-Type", "application/json")
            .body(Body::from(definition.to_string().into_bytes()))?;
        let response = room.client.send(request).await?;
        let warnings: Vec<_> = response.headers().get_all("warning").iter().collect();
        assert_eq!((response.status().as_u16(), warnings), (201, vec![]), "{name}");
    }
    Ok(room.close()?)
}
