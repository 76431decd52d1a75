//! The objects as they are written.

use super::*;
use crate::deployment::fixtures::{artifact, found, live, model, of_training, training, with_replicas};
use crate::deployment::revision::Served;
use crate::deployment::revision::plan_name;
use crate::deployment::validate::validate;
use serde_json::json;

fn images() -> Images {
    Images {
        trainer: "trainer:1".to_owned(),
        server: "server:1".to_owned(),
        pull_policy: "IfNotPresent".to_owned(),
    }
}

fn built(deployment: &ModelDeployment, live: Option<Deployment>, images: &Images) -> Children {
    let trained = training(&json!({"artifact": artifact("aa")}));
    let found = found(deployment, Some(&trained), live, vec![]);
    build(&validate(deployment, &found).unwrap(), images)
}

#[test]
fn a_new_revision_is_written_whole() {
    let children = built(&with_replicas(2), None, &images());
    let Workload::Whole(deployment) = &children.workload else {
        panic!()
    };
    insta::assert_json_snapshot!("deployment", deployment);
    insta::assert_json_snapshot!("service", children.service);
    insta::assert_json_snapshot!("plan", children.plan);
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
    assert!(children.plan.is_some());
}

#[test]
fn no_selector_knows_the_revision() {
    let children = built(&of_training(), None, &images());
    let Workload::Whole(deployment) = children.workload else {
        panic!()
    };
    let spec = deployment.spec.unwrap();
    let selector = spec.selector.match_labels.unwrap();
    assert_eq!(selector, children.service.spec.unwrap().selector.unwrap());
    assert!(!selector.contains_key(labels::REVISION));
    let pod = spec.template.metadata.unwrap();
    assert!(
        selector
            .iter()
            .all(|(key, value)| pod.labels.as_ref().unwrap().get(key) == Some(value))
    );
    assert!(pod.labels.unwrap().contains_key(labels::REVISION));
}

#[test]
fn the_longest_name_is_a_dns_label_with_a_revision() {
    let name = plan_name(&"a".repeat(sconce_crds::training::NAME_LIMIT), "0123456789");
    assert_eq!(name.len(), 63);
}
