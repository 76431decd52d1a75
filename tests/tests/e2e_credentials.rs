//! Tables and models behind a web server that asks who is there: nginx, in a pod of the cluster.

use k8s_openapi::api::core::v1::Pod;
use sconce_crds::ModelDeployment;
use sconce_crds::training::Phase;
use sconce_tests::borrowed::NGINX;
use sconce_tests::objects::with;
use sconce_tests::room::{conditions, served, told};
use sconce_tests::site::{Outcome, Site, in_a_namespace};
use sconce_tests::workload::{FLOWERS, claim, training};
use serde_json::{Value, json};

/// `/basic` is for iris with the password sesame (RFC 7617), `/bearer` for the token abc (RFC 6750); the claim
/// `models` is below both.
const CONFIG: &str = r#"
daemon off; pid /tmp/nginx.pid; error_log stderr; worker_processes 1;
events {}
http {
  access_log off;
  client_body_temp_path /tmp/a; proxy_temp_path /tmp/b; fastcgi_temp_path /tmp/c; uwsgi_temp_path /tmp/d; scgi_temp_path /tmp/e;
  server {
    listen 8000;
    location /basic/ { auth_basic "tables"; auth_basic_user_file /config/users; alias /files/; }
    location /bearer/ { if ($http_authorization != "Bearer abc") { return 401; } alias /files/; }
  }
}
"#;

fn secret(name: &str, data: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data})
}

/// The web server, at `http://guard`.
async fn guard(site: &Site) -> Outcome {
    let image = NGINX.reference()?;
    site.apply_all([
        claim("models"),
        json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "guard"},
            "data": {"nginx.conf": CONFIG, "users": "iris:{PLAIN}sesame\n", "table.csv": FLOWERS},
        }),
        json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "guard", "labels": {"app": "guard"}},
            "spec": {
                "automountServiceAccountToken": false, "terminationGracePeriodSeconds": 1,
                "securityContext": {
                    "runAsNonRoot": true, "runAsUser": 65532, "fsGroup": 65532, "seccompProfile": {"type": "RuntimeDefault"},
                },
                "containers": [{
                    "name": "nginx", "image": image, "command": ["nginx", "-e", "stderr", "-c", "/config/nginx.conf"],
                    "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
                    "readinessProbe": {"tcpSocket": {"port": 8000}, "periodSeconds": 1},
                    "volumeMounts": [
                        {"name": "config", "mountPath": "/config"}, {"name": "models", "mountPath": "/files/models"},
                        {"name": "config", "mountPath": "/files/tables"},
                    ],
                }],
                "volumes": [
                    {"name": "config", "configMap": {"name": "guard"}},
                    {"name": "models", "persistentVolumeClaim": {"claimName": "models"}},
                ],
            },
        }),
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "guard"},
            "spec": {"selector": {"app": "guard"}, "ports": [{"port": 80, "targetPort": 8000}]},
        }),
    ])
    .await?;
    site.see("guard", "the web server answers", |pod: &Pod| {
        let status = pod.status.as_ref();
        let all = status.and_then(|status| status.conditions.as_ref());
        all.is_some_and(|all| {
            all.iter()
                .any(|found| found.type_ == "Ready" && found.status == "True")
        })
    })
    .await?;
    Ok(())
}

fn shows(secret: &str, source: &str) -> Value {
    json!({"spec": {source: {"credentialsRef": {"name": secret}}}})
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_open_a_table_and_a_model_and_wrong_or_absent_ones_are_told_by_their_field() -> Outcome {
    in_a_namespace("credentials", async |site| {
        guard(site).await?;
        site.apply_all([
            secret("password", &json!({"username": "iris\n", "password": "sesame\n"})),
            secret("token", &json!({"token": "abc"})),
            secret("stale", &json!({"token": "old"})),
            secret("other", &json!({"user": "iris"})),
        ])
        .await?;
        let table = |way: &str| format!("http://guard.{}.svc/{way}/tables/table.csv", site.namespace);
        let kept = json!({"spec": {"output": {"uri": "pvc://models/iris"}}});
        site.apply_all([
            with(with(training("password", &table("basic")), &shows("password", "dataset")), &kept),
            with(training("token", &table("bearer")), &shows("token", "dataset")),
            with(training("stale", &table("bearer")), &shows("stale", "dataset")),
            with(training("other", &table("basic")), &shows("other", "dataset")),
            with(training("absent", &table("bearer")), &shows("later", "dataset")),
            training("nobody", &table("basic")),
        ])
        .await?;
        let learned = site.phase("password", Phase::Succeeded).await?;
        site.phase("token", Phase::Succeeded).await?;
        for (name, parts) in [
            ("stale", vec!["spec.dataset.credentialsRef: ", "401 Unauthorized"]),
            ("other", vec!["spec.dataset.credentialsRef: the Secret has neither the key token nor the keys username and password"]),
            ("nobody", vec!["spec.dataset.uri: ", "401 Unauthorized", "credentialsRef"]),
        ] {
            let failed = site.phase(name, Phase::Failed).await?;
            let says = told(conditions(&failed), "Failed");
            eprintln!("{name}: {says}");
            assert!(says.starts_with("True: BadInput: "), "{name}: {says}");
            assert!(parts.iter().all(|part| says.contains(part)), "{name}: {says}");
        }
        let waits = site.training_says("absent", "SecretNotFound").await?;
        let says = told(conditions(&waits), "Ready");
        assert!(says.contains("spec.dataset.credentialsRef: there is no Secret named \"later\""), "{says}");

        // The same of a model that lies behind the same door.
        let artifact = learned.status.and_then(|status| status.artifact).ok_or("no artifact")?;
        let folder = artifact.digest.trim_start_matches("sha256:");
        let model = format!("http://guard.{}.svc/bearer/models/iris/{folder}", site.namespace);
        let deployment = |name: &str, secret: &str| {
            let object = json!({
                "apiVersion": "sconce.dev/v1alpha1", "kind": "ModelDeployment", "metadata": {"name": name},
                "spec": {
                    "model": {"uri": model, "digest": artifact.digest}, "resources": {"cpu": "100m", "memory": "64Mi"},
                },
            });
            with(object, &shows(secret, "model"))
        };
        site.apply_all([
            deployment("open", "token"), deployment("closed", "stale"), deployment("unknown", "later"),
        ])
        .await?;
        site.deployment_says("open", "Serving").await?;
        let closed = site
            .see("closed", "the field is told", |seen: &ModelDeployment| {
                told(served(seen), "Ready").contains("spec.model.credentialsRef: ")
            })
            .await?;
        let says = told(served(&closed), "Ready");
        eprintln!("closed: {says}");
        assert!(says.starts_with("False: BadInput: ") && says.contains("401 Unauthorized"), "{says}");
        let waits = site.deployment_says("unknown", "SecretNotFound").await?;
        let says = told(served(&waits), "Ready");
        assert!(says.contains("spec.model.credentialsRef: there is no Secret named \"later\""), "{says}");

        // Once it is there, the pods that wait for it start by themselves.
        site.apply(secret("later", &json!({"token": "abc"}))).await?;
        site.phase("absent", Phase::Succeeded).await?;
        site.deployment_says("unknown", "Serving").await?;
        Ok(())
    })
    .await
}
