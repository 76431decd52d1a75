//! The objects as they are written.

use super::*;
use crate::apply::Writer;
use crate::deployment::fixtures::{
    artifact, found, live, model, of_training, rollout, training, with_replicas,
};
use crate::deployment::revision::Served;
use crate::deployment::revision::workload_name;
use crate::deployment::rollout::Back;
use crate::deployment::validate::validate;
use crate::deployment::workload::Failed;
use crate::seen;
use serde_json::json;
use std::sync::Arc;

fn images() -> Images {
    Images {
        trainer: "trainer:1".to_owned(),
        server: "server:1".to_owned(),
        pull_policy: "IfNotPresent".to_owned(),
    }
}

fn built(deployment: &ModelDeployment, live: Option<seen::Deployment>, images: &Images) -> Children {
    let trained = training(&json!({"artifact": artifact("aa")}));
    let found = found(deployment, Some(&trained), live, vec![]);
    build(
        &validate(deployment, &found).unwrap(),
        &rollout(deployment.spec.replicas),
        images,
    )
}

#[test]
fn a_new_revision_is_written_whole() {
    let children = built(&with_replicas(2), None, &images());
    let Workload::Whole(deployment) = &children.workload else {
        panic!()
    };
    insta::assert_json_snapshot!("deployment", deployment);
    insta::assert_json_snapshot!("service", children.service);
}

#[test]
fn the_same_revision_changes_nothing_about_pods() {
    let served = Served::of(model("aa"), &of_training().spec);
    let newer = Images {
        server: "server:2".to_owned(),
        ..images()
    };
    let children = built(&with_replicas(5), Some(live(&served)), &newer);
    let Workload::Patch(patch) = children.workload else {
        panic!()
    };
    assert_eq!(patch["spec"], json!({"replicas": 5}));
    assert_eq!(patch["metadata"]["annotations"]["sconce.dev/training-uid"], "t1");
}

#[test]
fn a_deployment_is_seen_with_all_that_may_change_of_it() {
    let Workload::Whole(made) = built(&with_replicas(2), None, &images()).workload else {
        panic!()
    };
    let live: seen::Deployment = seen::of(&made);
    let changes = |replicas: i32, live: &seen::Deployment| {
        let Workload::Patch(patch) = built(&with_replicas(replicas), Some(live.clone()), &images()).workload
        else {
            panic!()
        };
        Writer::changes(live, &patch)
    };
    assert!(!changes(2, &live), "it is as it was made");
    assert!(changes(3, &live));
    let mut other = live;
    other
        .metadata
        .annotations
        .insert(labels::TRAINING_UID, "another".to_owned());
    assert!(changes(2, &other));
}

#[test]
fn requests_go_to_every_revision_and_a_deployment_knows_its_own_pods() {
    let children = built(&of_training(), None, &images());
    let Workload::Whole(deployment) = children.workload else {
        panic!()
    };
    let spec = deployment.spec.unwrap();
    let own = spec.selector.match_labels.unwrap();
    let service = children.service.spec.unwrap().selector.unwrap();
    assert!(own.contains_key(labels::REVISION) && !service.contains_key(labels::REVISION));
    let pod = spec.template.metadata.unwrap().labels.unwrap();
    for (key, value) in own.iter().chain(&service) {
        assert_eq!(pod.get(key), Some(value));
    }
}

#[test]
fn what_becomes_of_a_rollout_is_kept_on_its_deployment() {
    let served = Served::of(model("aa"), &of_training().spec);
    let trained = training(&json!({"artifact": artifact("aa")}));
    let found = found(&of_training(), Some(&trained), Some(live(&served)), vec![]);
    let asked = of_training();
    let serving = validate(&asked, &found).unwrap();
    let annotations = |rollout: &Rollout| {
        let Workload::Patch(patch) = build(&serving, rollout, &images()).workload else {
            panic!()
        };
        patch["metadata"]["annotations"].clone()
    };
    assert_eq!(annotations(&rollout(1))[labels::WANTED_SINCE], json!(null));
    assert!(annotations(&rollout(1)).get(labels::MORE_SINCE).is_none());
    let more = Rollout {
        more: true,
        ..rollout(2)
    };
    assert!(annotations(&more)[labels::MORE_SINCE].is_string());
    assert!(annotations(&rollout(1)).get(labels::ROLLED_BACK).is_none());
    let begins = Rollout {
        begins: Some("2026-01-01T00:00:00Z".parse().unwrap()),
        ..rollout(1)
    };
    assert_eq!(annotations(&begins)[labels::WANTED_SINCE], "2026-01-01T00:00:00Z");
    assert_eq!(annotations(&begins).get(labels::ROLLED_BACK), Some(&json!(null)));
    let failed = Failed {
        time: "2026-01-01T00:00:00Z".parse().unwrap(),
        reason: crate::reason::Reason::BadInput,
        message: "damaged".to_owned(),
    };
    let back = Rollout {
        back: Some(Back {
            failed: failed.clone(),
            new: true,
            to: served.clone(),
        }),
        ..rollout(0)
    };
    let kept = annotations(&back);
    let mut marked = live(&served);
    let text = kept[labels::ROLLED_BACK].as_str().unwrap().to_owned();
    marked.metadata.annotations.insert(labels::ROLLED_BACK, text);
    let read =
        crate::deployment::workload::Workload::read(Arc::new(marked), None, jiff::Timestamp::MAX).unwrap();
    assert_eq!(read.failed, Some(failed));
}

#[test]
fn the_longest_name_is_a_dns_label_with_a_revision() {
    let name = workload_name(&"a".repeat(sconce_crds::training::NAME_LIMIT), "0123456789");
    assert_eq!(name.len(), 63);
}
