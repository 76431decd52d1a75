//! Many teams in one cluster: what one has is out of reach of the other's operator, and of its objects.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{DynamicObject, EvictParams};
use kube::{Api, Client, ResourceExt};
use sconce_crds::{ModelDeployment, ModelTraining};
use sconce_tests::objects::{deployment_of_uri, training, with};
use sconce_tests::operator::{Operator, Options, SERVER_IMAGE};
use sconce_tests::room::{Room, conditions, served, told};
use sconce_tests::tools::HELM;
use sconce_tests::wait::until;
use sconce_tests::world::{apply, install};
use sconce_tests::{ControlPlane, node::FakeNode};
use serde::Deserialize;
use serde_json::{Value, json};

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// The chart's objects for an operator of that namespace.
fn chart(namespace: &str) -> Outcome<Vec<Value>> {
    let output = Command::new(HELM.path()?)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .args(["template", &format!("sconce-{namespace}"), "charts/sconce"])
        .args(["--namespace", "sconce-system", "--kube-version", "1.34.0"])
        .args(["--set", &format!("watchNamespace={namespace}")])
        .output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    let documents = serde_norway::Deserializer::from_slice(&output.stdout).map(Value::deserialize);
    let objects: Vec<Value> = documents.collect::<Result<_, _>>()?;
    Ok(objects.into_iter().filter(Value::is_object).collect())
}

async fn namespace(client: &Client, name: &str) -> Outcome {
    apply(
        client,
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}),
    )
    .await?;
    Ok(())
}

async fn train(client: &Client, namespace: &str) -> Outcome<Api<ModelTraining>> {
    let mut object = training("iris");
    object["metadata"]["namespace"] = namespace.into();
    apply(client, object).await?;
    Ok(Api::namespaced(client.clone(), namespace))
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_an_operator_of_one_namespace_has_no_rights_in_another_and_works_in_its_own() -> Outcome {
    let control_plane = ControlPlane::builder().start().await?;
    let client = control_plane.client();
    install(&client, &["dist/sconce.yaml"]).await?;
    FakeNode::named("worker").create(&client).await?;
    for name in ["team-a", "team-b"] {
        namespace(&client, name).await?;
    }
    for object in chart("team-a")? {
        assert_ne!(object["kind"], "AcceleratorProfile", "profiles are the cluster's");
        if object["kind"] != "Deployment" {
            apply(&client, object).await?;
        }
    }
    let account = ("sconce-system", "sconce-team-a");
    let options = Options {
        kubeconfig: control_plane
            .kubeconfig_of_service_account(account.0, account.1)
            .await?,
        log: control_plane.folder().join("team-a.log"),
        identity: "sconce-team-a-0".to_owned(),
        server_image: SERVER_IMAGE.to_owned(),
        node_cache: None,
        namespace: Some("team-a".to_owned()),
        program: None,
    };
    let _operator = Operator::start(&options)?;
    let theirs = train(&client, "team-b").await?;
    let ours = train(&client, "team-a").await?;
    until("the training of its own namespace is accepted", async || {
        let seen = ours.get("iris").await.ok()?;
        sconce_crds::condition::is_true(conditions(&seen), "Accepted").then_some(())
    })
    .await?;
    assert!(
        theirs.get("iris").await?.status.is_none(),
        "it is another operator's"
    );

    let as_operator = control_plane
        .client_of_service_account(account.0, account.1)
        .await?;
    for refused in [
        Api::<ConfigMap>::namespaced(as_operator.clone(), "team-b")
            .get("any")
            .await
            .err(),
        Api::<PersistentVolumeClaim>::namespaced(as_operator.clone(), "team-b")
            .get("any")
            .await
            .err(),
    ] {
        let refused = refused.ok_or("it was answered")?.to_string();
        assert!(refused.contains("cannot get resource"), "{refused}");
    }
    let log = std::fs::read_to_string(&options.log)?;
    assert!(!log.contains("is forbidden"), "{log}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_operators_of_two_namespaces_do_not_wait_for_one_another() -> Outcome {
    let names: Vec<Vec<String>> = ["team-a", "team-b"]
        .iter()
        .map(|namespace| {
            let objects = chart(namespace)?;
            let role = objects.iter().filter(|object| object["kind"] == "Role");
            let rules = role.flat_map(|role| role["rules"].as_array().into_iter().flatten());
            let names = rules.flat_map(|rule| rule["resourceNames"].as_array().into_iter().flatten());
            Ok(names.filter_map(Value::as_str).map(str::to_owned).collect())
        })
        .collect::<Outcome<_>>()?;
    assert_eq!(names, [["sconce-operator-team-a"], ["sconce-operator-team-b"]]);
    Ok(())
}

const URI: &str = "https://models.example/iris";

#[tokio::test(flavor = "multi_thread")]
async fn tenants_only_who_is_named_reaches_a_model_and_the_policy_comes_back_when_it_is_deleted() -> Outcome {
    let room = Room::open().await?;
    let peers = json!([{"podLabels": {"app": "shop"}}, {"cidr": "10.20.0.0/16"}]);
    let asks = json!({"spec": {"network": {"allowFrom": peers}}});
    room.apply(with(deployment_of_uri("iris", URI), &asks)).await?;
    let lets_in = |count: usize| {
        move |policy: &NetworkPolicy| {
            let rules = policy.spec.as_ref().and_then(|spec| spec.ingress.as_ref());
            let named = rules.into_iter().flatten().filter_map(|rule| rule.from.as_ref());
            named.map(Vec::len).sum::<usize>() == count
        }
    };
    let policy = room.see("iris", "two are let in", lets_in(2)).await?;
    let pods = policy
        .spec
        .and_then(|spec| spec.pod_selector)
        .and_then(|pods| pods.match_labels);
    assert_eq!(
        pods,
        Some([("sconce.dev/deployment".to_owned(), "iris".to_owned())].into())
    );
    let revision = room.revision("iris", None).await?;

    room.delete::<NetworkPolicy>("iris").await?;
    room.see("iris", "the policy is back", lets_in(2)).await?;

    // What is taken back is taken back, and not merely no longer asked for.
    let from_anywhere = |yes: bool| {
        move |policy: &NetworkPolicy| {
            let text = serde_json::to_string(&policy.spec).unwrap_or_default();
            text.contains("namespaceSelector") == yes && text.contains("shop")
        }
    };
    let peer = |peer: Value| json!({"spec": {"network": {"allowFrom": [peer]}}});
    let (anywhere, here) = (
        peer(json!({"podLabels": {"app": "shop"}, "namespaceLabels": {}})),
        peer(json!({"podLabels": {"app": "shop"}})),
    );
    room.change::<ModelDeployment>("iris", anywhere).await?;
    room.see(
        "iris",
        "the shops of all namespaces are let in",
        from_anywhere(true),
    )
    .await?;
    room.still::<NetworkPolicy>("iris", Duration::from_secs(2))
        .await?;
    room.change::<ModelDeployment>("iris", here).await?;
    room.see(
        "iris",
        "the shop of this namespace alone is let in",
        from_anywhere(false),
    )
    .await?;

    room.change::<ModelDeployment>("iris", json!({"spec": {"network": {"allowFrom": []}}}))
        .await?;
    room.see("iris", "nobody is let in", lets_in(0)).await?;
    room.change::<ModelDeployment>("iris", json!({"spec": {"network": null}}))
        .await?;
    room.gone::<NetworkPolicy>("iris").await?;
    assert_eq!(
        room.revision("iris", None).await?,
        revision,
        "no pod was replaced for it"
    );

    let foreign = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "taken"},
        "spec": {"podSelector": {}},
    });
    room.apply(foreign).await?;
    room.apply(with(deployment_of_uri("taken", URI), &asks)).await?;
    let seen = room.deployment_says("taken", "NameTaken").await?;
    assert!(
        told(served(&seen), "Ready").contains("NetworkPolicy"),
        "{}",
        told(served(&seen), "Ready")
    );
    Ok(room.close()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_a_drain_takes_one_replica_at_a_time() -> Outcome {
    let room = Room::open().await?;
    room.apply(with(
        deployment_of_uri("iris", URI),
        &json!({"spec": {"replicas": 3}}),
    ))
    .await?;
    let revision = room.revision("iris", None).await?;
    room.answer("iris", &revision, 3).await?;
    room.deployment_says("iris", "Serving").await?;
    let allows = |budget: &PodDisruptionBudget| {
        budget
            .status
            .as_ref()
            .is_some_and(|status| status.disruptions_allowed == 1)
    };
    room.see("iris", "one pod may be taken", allows).await?;
    room.delete::<PodDisruptionBudget>("iris").await?;
    room.see("iris", "it is back", allows).await?;
    let pods = room.kubelet.active("sconce.dev/deployment=iris", 3).await?;
    let evict = async |pod: &Pod| {
        room.api::<Pod>()
            .evict(&pod.name_any(), &EvictParams::default())
            .await
    };
    evict(&pods[0]).await?;
    // The client asks again for minutes while it is told to wait (429), as `kubectl drain` does.
    let second = tokio::time::timeout(Duration::from_secs(3), evict(&pods[1])).await;
    assert!(second.is_err(), "two pods were taken at once: {second:?}");
    let still: Pod = room.get(&pods[1].name_any()).await?;
    assert_eq!(still.metadata.deletion_timestamp, None);
    room.change::<ModelDeployment>("iris", json!({"spec": {"replicas": 1}}))
        .await?;
    room.gone::<PodDisruptionBudget>("iris").await?;
    Ok(room.close()?)
}

/// References name no namespace, so that none can cross: every property of a spec that holds a name of something
/// else has no `namespace` beside it.
#[test]
fn tenants_no_reference_names_a_namespace() -> Outcome {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crds/yaml");
    let mut kinds = 0;
    for file in std::fs::read_dir(folder)? {
        let definition: DynamicObject = serde_norway::from_str(&std::fs::read_to_string(file?.path())?)?;
        let schema =
            &definition.data["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
        assert!(schema.is_object());
        let found = paths_to(schema, "namespace", "spec");
        assert!(found.is_empty(), "{found:?}");
        kinds += 1;
    }
    assert_eq!(kinds, 3);
    Ok(())
}

/// Where a schema has a property of that name.
fn paths_to(schema: &Value, property: &str, at: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{at}.{name}");
        if name == property {
            found.push(path.clone());
        }
        found.extend(paths_to(inner, property, &path));
    }
    for part in ["items", "additionalProperties"]
        .into_iter()
        .filter(|part| schema[part].is_object())
    {
        found.extend(paths_to(&schema[part], property, at));
    }
    found
}
