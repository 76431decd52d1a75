//! Each right that the chart gives for Kueue is one that the operator needs: without it, a training in a queue is not
//! told what it waits for, and the operator's log says which right is missing.

use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::Api;
use kube::api::{Patch, PatchParams};
use sconce_crds::training::Phase;
use sconce_tests::room::Room;
use sconce_tests::wait::until;
use sconce_tests::{kueue, room};
use serde_json::json;

type Outcome = Result<(), Box<dyn std::error::Error>>;

#[tokio::test(flavor = "multi_thread")]
async fn without_one_of_its_rights_of_kueue_the_operator_is_forbidden_what_it_does() -> Outcome {
    let room = Room::open().await?;
    kueue::queue_in(&room, "team-a").await?;
    let queued = |name: &str| kueue::queued(name, "team-a");
    room.apply(queued("whole")).await?;
    let seen = room.phase("whole", Phase::Queued).await?;
    let said = room::told(room::conditions(&seen), "Ready");
    assert!(said.contains("AwaitingKueue"), "{said}");
    assert!(room.world.forbidden().is_empty());

    let roles: Api<ClusterRole> = Api::all(room.client.clone());
    let rules = roles.get("sconce").await?.rules.unwrap_or_default();
    let of_kueue = |rule: &&k8s_openapi::api::rbac::v1::PolicyRule| {
        let groups = rule.api_groups.as_deref().unwrap_or_default();
        groups.iter().any(|group| group == "kueue.x-k8s.io")
    };
    assert_eq!(rules.iter().filter(of_kueue).count(), 2, "a rule without a test");
    for rule in rules.iter().filter(of_kueue) {
        let resource = rule
            .resources
            .as_deref()
            .unwrap_or_default()
            .first()
            .ok_or("a rule of nothing")?;
        let rest: Vec<_> = rules.iter().filter(|other| *other != rule).collect();
        let change = |rules: serde_json::Value| Patch::Merge(json!({ "rules": rules }));
        roles
            .patch("sconce", &PatchParams::default(), &change(json!(rest)))
            .await?;
        room.apply(queued(&format!("without-{resource}"))).await?;
        until(&format!("{resource} are forbidden"), async || {
            let said = room.world.forbidden();
            said.iter().any(|line| line.contains(resource)).then_some(())
        })
        .await?;
        roles
            .patch("sconce", &PatchParams::default(), &change(json!(rules)))
            .await?;
        room.phase(&format!("without-{resource}"), Phase::Queued).await?;
    }
    Ok(())
}
