//! The chart installs on a real API server, with Helm and without, and asks for no more than it needs.

mod chart;

use std::path::Path;
use std::process::Command;

use k8s_openapi::api::core::v1::{Namespace, Pod, Secret};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use sconce_tests::ControlPlane;
use sconce_tests::tools::{self, HELM};
use sconce_tests::wait::until;
use serde_json::{Value, json};

use chart::{Outcome, file, objects, of_kind, rendered, run};

#[tokio::test(flavor = "multi_thread")]
async fn without_helm_by_kubectl_apply_and_again_changes_nothing() -> Outcome {
    let mut control_plane = ControlPlane::builder().start().await?;
    control_plane.openapi_ready().await?;
    for manifest in ["dist/sconce.yaml", "dist/accelerator-profiles.yaml"] {
        kubectl(&control_plane, &["apply", "--filename", manifest])?;
        let again = kubectl(&control_plane, &["apply", "--filename", manifest])?;
        assert!(again.lines().all(|line| line.ends_with(" unchanged")), "{again}");
        kubectl(
            &control_plane,
            &[
                "apply",
                "--server-side",
                "--force-conflicts",
                "--dry-run=server",
                "--filename",
                manifest,
            ],
        )?;
    }
    let profiles = profiles(&control_plane.client()).await?;
    for name in [
        "cpu",
        "nvidia-l4",
        "nvidia-a10",
        "nvidia-a100-40gb",
        "nvidia-a100-80gb",
        "nvidia-h100",
        "nvidia-h200",
        "nvidia-a100-1g-5gb",
    ] {
        assert!(
            profiles.contains(&name.to_owned()),
            "{name} is not among {profiles:?}"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operators_pod_passes_pod_security_restricted() -> Outcome {
    let control_plane = ControlPlane::builder().start().await?;
    let client = control_plane.client();
    let rendered = objects(&rendered(&["--set", "namespace.create=true"])?)?;
    let namespace: Namespace = serde_json::from_value(of_kind(&rendered, "Namespace")[0].clone())?;
    Api::<Namespace>::all(client.clone())
        .create(&PostParams::default(), &namespace)
        .await?;

    let template = &of_kind(&rendered, "Deployment")[0]["spec"]["template"];
    let mut pod = json!({ "metadata": { "name": "operator" }, "spec": template["spec"] });
    let pods: Api<Pod> = Api::namespaced(client, "sconce-system");
    let dry_run = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    pods.create(&dry_run, &serde_json::from_value(pod.clone())?)
        .await?;

    // The same pod with one thing less is refused: the namespace does enforce it.
    pod["spec"]["containers"][0]["securityContext"]["capabilities"] = Value::Null;
    let refused = pods
        .create(&dry_run, &serde_json::from_value(pod)?)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("restricted") && refused.contains("capabilities"),
        "{refused}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn with_helm_and_an_upgrade_never_leaves_old_crds_behind() -> Outcome {
    let mut control_plane = ControlPlane::builder().start().await?;
    control_plane.openapi_ready().await?;
    let client = control_plane.client();
    let upgrade = [
        "upgrade",
        "--install",
        "sconce",
        "charts/sconce",
        "--namespace",
        "sconce-system",
        "--create-namespace",
    ];
    helm(&control_plane, &upgrade)?;
    assert_eq!(profiles(&client).await?.len(), 15);
    helm(&control_plane, &upgrade)?;

    // The CRD of an earlier version, which lacks a field.
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let name = "modeltrainings.sconce.dev";
    let path = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/ttlSecondsAfterFinished";
    let older = serde_json::from_value(json!([{ "op": "remove", "path": path }]))?;
    definitions
        .patch(name, &PatchParams::default(), &Patch::<()>::Json(older))
        .await?;
    let refused = helm(&control_plane, &upgrade)
        .err()
        .ok_or("an upgrade over old CRDs went through")?
        .to_string();
    assert!(
        refused.contains(name) && refused.contains("kubectl apply --server-side"),
        "{refused}"
    );
    assert!(!refused.contains("modeldeployments.sconce.dev"), "{refused}");

    // What the sentence says to do.
    let shown = chart::helm(&["show", "crds", "charts/sconce"])?;
    let saved = control_plane.folder().join("crds.yaml");
    std::fs::write(&saved, shown)?;
    let saved = saved.display().to_string();
    kubectl(
        &control_plane,
        &[
            "apply",
            "--server-side",
            "--force-conflicts",
            "--filename",
            &saved,
        ],
    )?;
    helm(&control_plane, &upgrade)?;

    // People's trainings outlive the operator.
    helm(
        &control_plane,
        &["uninstall", "sconce", "--namespace", "sconce-system"],
    )?;
    definitions.get(name).await?;
    assert!(profiles(&client).await?.is_empty());
    Ok(())
}

/// kubectl is strict: a field that does not exist is an error.
#[tokio::test(flavor = "multi_thread")]
async fn the_examples_and_the_yaml_of_the_documents_are_admitted() -> Outcome {
    let mut control_plane = ControlPlane::builder().start().await?;
    control_plane.openapi_ready().await?;
    kubectl(&control_plane, &["apply", "--filename", "dist/sconce.yaml"])?;
    let mut examples = 0;
    for entry in std::fs::read_dir(file("examples"))? {
        let folder = entry?.path();
        if folder.join("kustomization.yaml").is_file() {
            kubectl(
                &control_plane,
                &["apply", "--kustomize", &folder.display().to_string()],
            )?;
            examples += 1;
        }
    }
    assert!(examples >= 3, "{examples} examples");

    let pages = std::fs::read_dir(file("docs"))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Outcome<Vec<_>>>()?;
    let pages = pages
        .into_iter()
        .filter(|page| page.extension().is_some_and(|extension| extension == "md"));
    let mut snippets = 0;
    for page in pages.chain([file("README.md")]) {
        let text = std::fs::read_to_string(&page)?;
        for snippet in text
            .split("```yaml\n")
            .skip(1)
            .filter_map(|rest| rest.split("```").next())
        {
            let saved = control_plane.folder().join("snippet.yaml");
            std::fs::write(&saved, snippet)?;
            let saved = saved.display().to_string();
            let applied = kubectl(
                &control_plane,
                &["apply", "--dry-run=server", "--filename", &saved],
            );
            applied.map_err(|error| format!("{}: {error}\n{snippet}", page.display()))?;
            snippets += 1;
        }
    }
    assert!(snippets >= 4, "{snippets} snippets");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_reads_its_kinds_everywhere_and_no_secret_anywhere() -> Outcome {
    let mut control_plane = ControlPlane::builder().start().await?;
    control_plane.openapi_ready().await?;
    kubectl(&control_plane, &["apply", "--filename", "dist/sconce.yaml"])?;
    let operator = control_plane
        .client_of_service_account("sconce-system", "sconce")
        .await?;
    let list = ListParams::default();
    for kind in ["ModelTraining", "ModelDeployment", "AcceleratorProfile"] {
        Api::<DynamicObject>::all_with(operator.clone(), &resource(kind))
            .list(&list)
            .await?;
    }
    for namespace in ["sconce-system", "default", "kube-system"] {
        let secrets: Api<Secret> = Api::namespaced(operator.clone(), namespace);
        assert!(
            secrets
                .list(&list)
                .await
                .unwrap_err()
                .to_string()
                .contains("cannot list")
        );
        assert!(
            secrets
                .get("any")
                .await
                .unwrap_err()
                .to_string()
                .contains("cannot get")
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_edit_a_namespace_may_train_and_scale_in_it_and_who_may_view_may_look() -> Outcome {
    let mut control_plane = ControlPlane::builder().controller_manager().start().await?;
    control_plane.openapi_ready().await?;
    kubectl(&control_plane, &["apply", "--filename", "dist/sconce.yaml"])?;
    for (user, role) in [("ed", "edit"), ("vi", "view")] {
        let user = format!("--user={user}");
        let role = format!("--clusterrole={role}");
        kubectl(
            &control_plane,
            &[
                "create",
                "rolebinding",
                &user[7..],
                &role,
                &user,
                "--namespace",
                "default",
            ],
        )?;
    }
    let of = async |user: &str, kind: &str| -> Outcome<Api<DynamicObject>> {
        Ok(Api::default_namespaced_with(
            control_plane.client_as(user, &[]).await?,
            &resource(kind),
        ))
    };
    let deployment = DynamicObject::new("tumour", &resource("ModelDeployment"))
        .data(json!({ "spec": { "model": { "trainingRef": { "name": "tumour" } } } }));
    let (editor, viewer) = (
        of("ed", "ModelDeployment").await?,
        of("vi", "ModelDeployment").await?,
    );
    // A controller adds the rules to the cluster's roles a moment after they appear.
    let create = async || editor.create(&PostParams::default(), &deployment).await.ok();
    until("the editor may create a ModelDeployment", create).await?;
    let three = Patch::Merge(json!({ "spec": { "replicas": 3 } }));
    editor
        .patch_scale("tumour", &PatchParams::default(), &three)
        .await?;
    let look = async || viewer.get("tumour").await.ok();
    let seen = until("the viewer may look", look).await?;
    assert_eq!(seen.data["spec"]["replicas"], 3);
    let refused = viewer
        .delete("tumour", &Default::default())
        .await
        .unwrap_err()
        .to_string();
    assert!(refused.contains("cannot delete"), "{refused}");
    of("ed", "ModelTraining")
        .await?
        .list(&ListParams::default())
        .await?;
    Ok(())
}

fn resource(kind: &str) -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk("sconce.dev", "v1alpha1", kind))
}

async fn profiles(client: &Client) -> Outcome<Vec<String>> {
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource("AcceleratorProfile"));
    Ok(api
        .list(&ListParams::default())
        .await?
        .items
        .into_iter()
        .filter_map(|profile| profile.metadata.name)
        .collect())
}

fn kubectl(control_plane: &ControlPlane, arguments: &[&str]) -> Outcome<String> {
    against(control_plane, &tools::kubernetes()?.join("kubectl"), arguments)
}

fn helm(control_plane: &ControlPlane, arguments: &[&str]) -> Outcome<String> {
    against(control_plane, &HELM.path()?, arguments)
}

/// Runs a program against the control plane, with its caches in the control plane's own folder: another run
/// would find another cluster at the same address.
fn against(control_plane: &ControlPlane, program: &Path, arguments: &[&str]) -> Outcome<String> {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .current_dir(file(""))
        .env("KUBECONFIG", control_plane.kubeconfig());
    run(command
        .env("HOME", control_plane.folder())
        .env("KUBECACHEDIR", control_plane.folder().join("cache")))
}
