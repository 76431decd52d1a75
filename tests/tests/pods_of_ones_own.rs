//! What a spec adds to its pods, and images that know nothing of Sconce: each reaches the pod as it was said, keeps
//! the restricted Pod Security Standard, and what cannot be honoured is refused by its field.
#![allow(clippy::needless_pass_by_value)] // What a json! makes is nobody else's.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::ResourceExt;
use sconce_contract::TrainingPlan;
use sconce_crds::training::Phase;
use sconce_crds::{ModelTraining, ModelTrainingStatus};
use sconce_tests::objects::{plan, trained, training, with};
use sconce_tests::room::{Room, conditions, told};
use serde_json::{Value, json};

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn spec(change: Value) -> Value {
    json!({ "spec": change })
}

/// A training by an image of the user's own.
fn custom(name: &str) -> Value {
    let trainer = json!({"image": "registry.example/forest:1", "command": ["/forest"], "args": ["--out", "$(SCONCE_OUTPUT_PATH)"]});
    with(
        training(name),
        &spec(json!({"model": {"network": null, "custom": trainer}})),
    )
}

/// The status, once it tells which Job is at work.
async fn at_work(room: &Room, name: &str) -> sconce_tests::Result<ModelTrainingStatus> {
    let told = |seen: &ModelTraining| seen.status.as_ref().is_some_and(|status| status.job.is_some());
    let seen = room.see(name, "a Job is at work", told).await?;
    Ok(seen.status.unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn pod_overrides_reach_the_pod_beside_what_the_profile_and_the_operator_say() -> Outcome {
    let room = Room::open().await?;
    room.apply_cluster(json!({
        "apiVersion": "sconce.dev/v1alpha1", "kind": "AcceleratorProfile", "metadata": {"name": "overrides-zone"},
        "spec": {
            "device": "CPU", "nodeSelector": {"zone": "a"}, "env": [{"name": "DEBUG", "value": "0"}],
            "tolerations": [{"key": "gpu", "operator": "Exists"}],
        },
    }))
    .await?;
    room.apply(json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "reader"}}))
        .await?;
    let added = json!({
        "labels": {"team": "a"}, "annotations": {"note": "x"},
        "env": [{"name": "A", "value": "1"}], "envFrom": [{"secretRef": {"name": "keys"}, "prefix": "K_"}],
        "serviceAccountName": "reader", "imagePullSecrets": [{"name": "pull"}],
        "tolerations": [{"key": "spot", "operator": "Exists"}], "nodeSelector": {"disk": "ssd"},
        "volumes": [
            {"name": "keys", "mountPath": "/keys", "secret": {"secretName": "keys"}},
            {"name": "scratch", "mountPath": "/scratch", "emptyDir": {"sizeLimit": "1Gi"}},
        ],
    });
    room.apply(with(
        training("iris"),
        &spec(json!({"podOverrides": added, "accelerator": {"profile": "overrides-zone"}})),
    ))
    .await?;
    let pod: Pod = room.get(&room.kubelet.trainer("iris").await?).await?;
    assert_eq!(pod.labels().get("team").map(String::as_str), Some("a"));
    assert_eq!(
        pod.labels().get("sconce.dev/training").map(String::as_str),
        Some("iris")
    );
    assert_eq!(pod.annotations().get("note").map(String::as_str), Some("x"));
    let live = serde_json::to_value(pod.spec)?;
    assert_eq!(live["serviceAccountName"], "reader");
    assert_eq!(live["automountServiceAccountToken"], false);
    let volumes = live["volumes"].as_array().cloned().unwrap_or_default();
    assert!(
        volumes.iter().all(|volume| volume["projected"].is_null()),
        "no token is mounted: {volumes:?}"
    );
    assert_eq!(live["imagePullSecrets"], json!([{"name": "pull"}]));
    assert_eq!(live["nodeSelector"], json!({"zone": "a", "disk": "ssd"}));
    let keys: Vec<&Value> = live["tolerations"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|toleration| &toleration["key"])
        .collect();
    assert_eq!(keys[..2], ["gpu", "spot"]);
    let container = &live["containers"][0];
    assert_eq!(
        container["envFrom"],
        json!([{"prefix": "K_", "secretRef": {"name": "keys"}}])
    );
    let places: Vec<&Value> = container["volumeMounts"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|mount| &mount["mountPath"])
        .collect();
    assert!(
        places.contains(&&json!("/keys")) && places.contains(&&json!("/scratch")),
        "{places:?}"
    );
    assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);

    // Another addition is another Job of the same run.
    let has_run = |seen: &ModelTraining| seen.status.as_ref().is_some_and(|status| status.run.is_some());
    let seen = room.see("iris", "its run is told", has_run).await?;
    let before = seen.status.unwrap_or_default();
    room.change::<ModelTraining>("iris", spec(json!({"podOverrides": {"labels": {"team": "b"}}})))
        .await?;
    let after = room
        .see("iris", "another Job takes over", |seen: &ModelTraining| {
            seen.status
                .as_ref()
                .is_some_and(|status| status.job != before.job)
        })
        .await?;
    assert_eq!(after.status.and_then(|status| status.run), before.run);
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn pod_overrides_that_contradict_the_profile_or_name_what_is_missing_are_told_by_their_field() -> Outcome
{
    let room = Room::open().await?;
    room.apply_cluster(json!({
        "apiVersion": "sconce.dev/v1alpha1", "kind": "AcceleratorProfile", "metadata": {"name": "overrides-conflict"},
        "spec": {"device": "CPU", "nodeSelector": {"zone": "a"}},
    }))
    .await?;
    let of = |name: &str, added: Value| with(training(name), &spec(json!({"podOverrides": added})));
    room.apply(with(
        of("zone", json!({"nodeSelector": {"zone": "b"}})),
        &spec(json!({"accelerator": {"profile": "overrides-conflict"}})),
    ))
    .await?;
    room.apply(of("claim", json!({"volumes": [{"name": "data", "mountPath": "/data", "persistentVolumeClaim": {"claimName": "tables"}}]})))
        .await?;
    room.apply(of(
        "map",
        json!({"volumes": [{"name": "data", "mountPath": "/data", "configMap": {"name": "tables"}}]}),
    ))
    .await?;
    room.apply(of("label", json!({"labels": {"not a key": "x"}})))
        .await?;
    for (name, reason, parts) in [
        (
            "zone",
            "OverrideConflict",
            vec![
                "spec.podOverrides.nodeSelector: ",
                "\"zone\" is \"b\" here",
                "AcceleratorProfile \"overrides-conflict\"",
            ],
        ),
        (
            "claim",
            "ClaimNotFound",
            vec!["spec.podOverrides.volumes[data]: there is no PersistentVolumeClaim named \"tables\""],
        ),
        (
            "map",
            "ConfigMapNotFound",
            vec!["spec.podOverrides.volumes[data]: there is no ConfigMap named \"tables\""],
        ),
        ("label", "ChildRefused", vec!["not a key"]),
    ] {
        let seen = room.training_says(name, reason).await?;
        let says = told(conditions(&seen), "Ready");
        assert!(parts.iter().all(|part| says.contains(part)), "{name}: {says}");
    }
    room.apply(of("account", json!({"serviceAccountName": "nobody"})))
        .await?;
    let seen = room.training_says("account", "PodRefused").await?;
    let says = told(conditions(&seen), "Ready");
    assert!(
        says.contains("serviceaccount \"nobody\" not found")
            && says.contains("spec.podOverrides.serviceAccountName"),
        "{says}"
    );
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_is_not_there_is_told_by_the_field_that_names_it_and_the_operator_never_looks_for_it()
-> Outcome {
    let room = Room::open().await?;
    room.apply(with(
        training("web"),
        &spec(json!({"dataset": {"credentialsRef": {"name": "web-keys"}}})),
    ))
    .await?;
    room.apply(with(
        training("more"),
        &spec(json!({"podOverrides": {"envFrom": [{"secretRef": {"name": "more-keys"}}]}})),
    ))
    .await?;
    for (name, secret, field) in [
        ("web", "web-keys", "spec.dataset.credentialsRef"),
        ("more", "more-keys", "spec.podOverrides.envFrom"),
    ] {
        let pod = room.kubelet.trainer(name).await?;
        let live: Pod = room.get(&pod).await?;
        let container = &serde_json::to_value(live.spec)?["containers"][0];
        assert_eq!(container["envFrom"][0]["secretRef"]["name"], secret);
        room.kubelet.takes(&pod).await?;
        room.kubelet
            .waits(
                &pod,
                "CreateContainerConfigError",
                Some(&format!("secret \"{secret}\" not found")),
            )
            .await?;
        let seen = room.training_says(name, "SecretNotFound").await?;
        let says = told(conditions(&seen), "Degraded");
        assert!(
            says.starts_with("True")
                && says.contains(&format!(
                    "{field}: there is no Secret named {secret:?} in this namespace"
                )),
            "{says}"
        );
    }
    // Another Secret is another pod, and no reason to learn again.
    let before = at_work(&room, "web").await?;
    room.change::<ModelTraining>(
        "web",
        spec(json!({"dataset": {"credentialsRef": {"name": "new-keys"}}})),
    )
    .await?;
    let after = room
        .see("web", "another Job takes over", |seen: &ModelTraining| {
            let job = seen.status.as_ref().and_then(|status| status.job.as_ref());
            job.is_some_and(|job| Some(job) != before.job.as_ref())
        })
        .await?;
    assert_eq!(after.status.and_then(|status| status.run), before.run);
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_owned_claim_is_made_as_large_and_where_the_spec_says() -> Outcome {
    let room = Room::open().await?;
    let output = json!({"size": "20Gi", "storageClassName": "fast", "accessMode": "ReadWriteMany"});
    room.apply(with(training("large"), &spec(json!({"output": output}))))
        .await?;
    room.apply(training("small")).await?;
    for (name, size, class, mode) in [
        ("large", "20Gi", Some("fast"), "ReadWriteMany"),
        ("small", "1Gi", None, "ReadWriteOnce"),
    ] {
        room.kubelet.trainer(name).await?;
        let claim: PersistentVolumeClaim = room.get(&format!("{name}-artifacts")).await?;
        let live = serde_json::to_value(claim.spec)?;
        assert_eq!(live["resources"]["requests"]["storage"], size);
        assert_eq!(live["storageClassName"].as_str(), class);
        assert_eq!(live["accessModes"], json!([mode]));
    }
    // A claim that somebody has grown is no obstacle for the next run.
    let grown = json!({"spec": {"resources": {"requests": {"storage": "5Gi"}}}});
    let refused = room
        .change::<PersistentVolumeClaim>("small-artifacts", grown)
        .await;
    assert!(
        refused.is_err(),
        "a claim without a volume cannot grow: what follows would test nothing else"
    );
    // Where is decided when it is made; that the API server refuses another place is told.
    room.run_to("large", &trained("large-artifacts", 'a', 0.9))
        .await?;
    room.phase("large", Phase::Succeeded).await?;
    room.change::<ModelTraining>("large", json!({
        "metadata": {"annotations": {"sconce.dev/rerun": "2"}}, "spec": {"output": {"storageClassName": "slow"}},
    }))
    .await?;
    let seen = room.training_says("large", "ChildRefused").await?;
    let says = told(conditions(&seen), "Ready");
    assert!(
        says.contains("large-artifacts") && says.contains("immutable"),
        "{says}"
    );
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_custom_trainer_gets_the_plan_and_its_report_is_judged_like_any_other() -> Outcome {
    let room = Room::open().await?;
    room.apply_cluster(json!({
        "apiVersion": "sconce.dev/v1alpha1", "kind": "AcceleratorProfile", "metadata": {"name": "custom-tpu"},
        "spec": {"device": "TPU", "resources": {"google.com/tpu": "4"}},
    }))
    .await?;
    let gate = json!({"evaluation": {"gates": [{"metric": "accuracy", "min": 0.8}]}, "accelerator": {"profile": "custom-tpu"}});
    room.apply(with(custom("forest"), &spec(gate))).await?;
    let name = room.kubelet.trainer("forest").await?;
    let pod: Pod = room.get(&name).await?;
    let live = serde_json::to_value(&pod.spec)?;
    let container = &live["containers"][0];
    assert_eq!(container["image"], "registry.example/forest:1");
    assert_eq!(container["command"], json!(["/forest"]));
    assert_eq!(container["args"], json!(["--out", "$(SCONCE_OUTPUT_PATH)"]));
    assert_eq!(
        container["imagePullPolicy"], "IfNotPresent",
        "as Kubernetes has it for a tag"
    );
    assert_eq!(container["resources"]["limits"]["google.com/tpu"], "4");
    assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], false);
    let variable = |name: &str| {
        let all = container["env"].as_array().into_iter().flatten();
        let found = all.clone().find(|variable| variable["name"] == name);
        found
            .and_then(|variable| variable["value"].as_str())
            .map(str::to_owned)
    };
    assert_eq!(variable("SCONCE_PLAN").as_deref(), Some("/etc/sconce/plan.json"));
    assert_eq!(variable("SCONCE_REPORT").as_deref(), Some("/dev/termination-log"));
    assert_eq!(
        variable("SCONCE_OUTPUT_URI").as_deref(),
        Some("pvc://forest-artifacts")
    );
    assert_eq!(
        variable("SCONCE_OUTPUT_PATH").as_deref(),
        Some("/mnt/sconce/pvc/forest-artifacts")
    );
    assert_eq!(variable("SCONCE_DATASET_PATH"), None, "the web is no volume");
    let status = at_work(&room, "forest").await?;
    assert_eq!(variable("SCONCE_RUN"), status.run);

    let job = status.job.clone().ok_or("no Job")?;
    let job: Job = room.get(&job).await?;
    let plan: TrainingPlan = plan(job.spec.as_ref().map(|spec| &spec.template))?;
    assert_eq!(
        (plan.network, plan.output.as_str()),
        (None, "pvc://forest-artifacts")
    );

    room.run_to("forest", &trained("forest-artifacts", 'a', 0.7))
        .await?;
    let seen = room.phase("forest", Phase::Rejected).await?;
    assert!(told(conditions(&seen), "GatesPassed").contains("0.1 below the required 0.8"));

    // Another image is another run.
    room.change::<ModelTraining>(
        "forest",
        spec(json!({"model": {"custom": {"image": "registry.example/forest:2"}}})),
    )
    .await?;
    room.run_to("forest", &trained("forest-artifacts", 'b', 0.9))
        .await?;
    let seen = room.phase("forest", Phase::Succeeded).await?;
    assert_ne!(seen.status.and_then(|status| status.run), status.run);
    assert_eq!(room.ours::<Job>().await?.len(), 1);
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_custom_trainer_that_leaves_no_report_is_told_what_is_missing() -> Outcome {
    let room = Room::open().await?;
    for (name, message) in [("silent", None), ("garbled", Some("all is well"))] {
        room.apply(custom(name)).await?;
        let pod = room.kubelet.trainer(name).await?;
        room.kubelet.takes(&pod).await?;
        room.kubelet.runs(&pod, "10.244.0.9", true).await?;
        room.kubelet.dies(&pod, 0, "Completed", message).await?;
        let seen = room.training_says(name, "NoReport").await?;
        let says = told(conditions(&seen), "Failed");
        assert!(
            says.starts_with("True")
                && says.contains("/dev/termination-log")
                && says.contains(r#""outcome": "trained""#)
                && says.contains("spec.model.custom"),
            "{name}: {says}"
        );
    }
    Ok(room.close()?)
}
