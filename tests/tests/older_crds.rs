//! An operator that is newer than the CRDs in the cluster says so, with the remedy, and goes on once they are brought up.

use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use sconce_crds::ModelDeployment;
use sconce_tests::objects::deployment_of_uri;
use sconce_tests::room::Room;
use sconce_tests::wait::until;
use serde_json::json;

type Outcome = Result<(), Box<dyn std::error::Error>>;

const CRD: &str = "modeldeployments.sconce.dev";
const URL: &str = "/spec/versions/0/schema/openAPIV3Schema/properties/status/properties/url";

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_that_is_newer_than_the_crds_names_what_they_lack_until_they_are_applied() -> Outcome {
    let room = Room::open().await?;
    let crds: Api<CustomResourceDefinition> = Api::all(room.client.clone());
    room.world.crash_operator();
    let whole = serde_json::to_value(crds.get(CRD).await?)?;
    let url = whole.pointer(URL).cloned().ok_or("no status.url")?;
    let change = async |patch: serde_json::Value| {
        let patch: Patch<()> = Patch::Json(serde_json::from_value(patch)?);
        crds.patch(CRD, &PatchParams::default(), &patch).await?;
        Ok::<(), Box<dyn std::error::Error>>(())
    };
    change(json!([{"op": "remove", "path": URL}])).await?;
    let published = async |has: bool| {
        let what = format!("the API server publishes the field: {has}");
        until(&what, async || {
            let request = http::Request::get("/openapi/v3/apis/sconce.dev/v1alpha1").body(Vec::new());
            let text = room.client.request_text(request.ok()?).await.ok()?;
            let told: serde_json::Value = serde_json::from_str(&text).ok()?;
            let kind = &told["components"]["schemas"]["dev.sconce.v1alpha1.ModelDeployment"];
            let field = kind.pointer("/properties/status/properties/url");
            (kind.is_object() && field.is_some() == has).then_some(())
        })
        .await
    };
    published(false).await?;

    room.world.restart_operator(&room.world.options())?;
    let lacks = |count: u32| format!("sconce_operator_crd_fields_missing{{crd=\"{CRD}\"}} {count}");
    let tells = async |count: u32| {
        let line = lacks(count);
        until(&format!("the operator counts {count}"), async || {
            let metrics = room.world.ask_operator("/metrics").ok()?;
            metrics.lines().any(|told| told == line).then_some(())
        })
        .await
    };
    tells(1).await?;
    let events: Api<Event> = Api::namespaced(room.client.clone(), "default");
    let event = until("an event is on the CRD", async || {
        let all = events.list(&ListParams::default()).await.ok()?;
        all.items.into_iter().find(|event| {
            let about = event.regarding.as_ref().and_then(|about| about.name.as_deref());
            event.reason.as_deref() == Some("CrdOutdated") && about == Some(CRD)
        })
    })
    .await?;
    let note = event.note.unwrap_or_default();
    assert!(
        note.contains("lacks status.url:") && note.contains("kubectl apply"),
        "{note}"
    );
    let said = || room.world.log().matches("is older than this operator").count();
    let first = said();
    assert!(first > 0);

    room.apply(deployment_of_uri("iris", "https://models.example/iris/1"))
        .await?;
    until("the status that it refuses is in the log", async || {
        room.world
            .log()
            .contains("field not declared in schema")
            .then_some(())
    })
    .await?;
    assert_eq!(said(), first, "it is told once, not with each status");

    change(json!([{"op": "add", "path": URL, "value": url}])).await?;
    published(true).await?;
    tells(0).await?;
    room.see("iris", "its status is written", |seen: &ModelDeployment| {
        seen.status.as_ref().is_some_and(|status| status.url.is_some())
    })
    .await?;
    Ok(room.close()?)
}
