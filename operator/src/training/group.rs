//! What several pods that learn together, or take the trials of a search, need beside their Job: an address for each, and
//! nobody else on their port.
//!
//! ```text
//!   Job (Indexed) ──► pod 0, pod 1, …         the Job is done when pod 0 is
//!   Service (headless) ──► JOB-0.JOB, where pod 0 takes the others in
//!   NetworkPolicy ──► every port for pods of the training, the port of progress for all
//! ```
//!
//! Both have the Job's name, belong to it and go with it.

use k8s_openapi::api::batch::v1::{Job, SuccessPolicy, SuccessPolicyRule};
use k8s_openapi::api::core::v1::{
    EnvVar, EnvVarSource, ObjectFieldSelector, Service, ServicePort, ServiceSpec,
};
use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use sconce_contract::nodes::GROUP_PORT;
use sconce_contract::progress::OBSERVABILITY_PORT;

use super::validate::Run;
use crate::labels;
use crate::pod::variable;

/// Lets a Job have as many pods as the spec says, each with a number and a name.
pub(super) fn divide(run: &Run<'_>, job: &mut Job) {
    let count = i32::try_from(run.spec.nodes.count).unwrap_or(i32::MAX);
    let Some(spec) = job.spec.as_mut().filter(|_| run.spec.nodes.is_group()) else {
        return;
    };
    spec.completion_mode = Some("Indexed".to_owned());
    spec.completions = Some(count);
    spec.parallelism = Some(count);
    // All leave when one does. Counted together, a loss would be as many failures as there are pods, and the pause before
    // the next attempt twice as long for each (Kubernetes, `pkg/controller/job/backoff_utils.go`).
    spec.backoff_limit_per_index = spec.backoff_limit.take();
    spec.max_failed_indexes = Some(spare(run));
    // The first pod saves, measures and reports: what becomes of the others then is of no interest.
    spec.success_policy = Some(SuccessPolicy {
        rules: vec![SuccessPolicyRule {
            succeeded_indexes: Some("0".to_owned()),
            succeeded_count: None,
        }],
    });
    if let Some(pod) = &mut spec.template.spec {
        pod.subdomain = Some(run.identity.job.clone());
    }
}

/// Pods that the run can do without, should they fail for good. That the first one is none of them is no word of a Job's:
/// [`super::situation`] ends what it failed.
fn spare(run: &Run<'_>) -> i32 {
    let (nodes, search) = (&run.spec.nodes, run.spec.search.as_ref());
    i32::try_from(nodes.count.saturating_sub(nodes.needed(search))).unwrap_or(0)
}

/// What a pod is told of its place. A trainer of the user's own gets what `torchrun` gives (docs/custom.md).
pub(super) fn environment(run: &Run<'_>) -> Vec<EnvVar> {
    if !run.spec.nodes.is_group() {
        return Vec::new();
    }
    let job = &run.identity.job;
    let host = format!("{job}-0.{job}.{}.svc", run.namespace);
    let number = |name: &str| from_label(name, labels::WORKER);
    if run.spec.model.custom.is_some() {
        return vec![
            variable("MASTER_ADDR", host),
            variable("MASTER_PORT", GROUP_PORT.to_string()),
            variable("WORLD_SIZE", run.spec.nodes.count.to_string()),
            number("RANK"),
        ];
    }
    vec![
        number("SCONCE_GROUP_WORKER"),
        variable("SCONCE_GROUP_LEADER", format!("{host}:{GROUP_PORT}")),
        variable("SCONCE_GROUP_LISTEN", format!("0.0.0.0:{GROUP_PORT}")),
        // Pods of one Job know it, and nobody who may not look at them.
        from_label("SCONCE_GROUP_TOKEN", labels::JOB_UID),
    ]
}

fn from_label(name: &str, label: &str) -> EnvVar {
    EnvVar {
        name: name.to_owned(),
        value: None,
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector {
                field_path: format!("metadata.labels['{label}']"),
                api_version: None,
            }),
            ..EnvVarSource::default()
        }),
    }
}

/// Names for the pods, also for those that are not ready: none of them ever says that it is.
pub(super) fn service(run: &Run<'_>, metadata: ObjectMeta) -> Option<Service> {
    run.spec.nodes.is_group().then(|| Service {
        spec: Some(ServiceSpec {
            cluster_ip: Some("None".to_owned()),
            publish_not_ready_addresses: Some(true),
            selector: metadata.labels.clone(),
            ports: Some(vec![ServicePort {
                name: Some("group".to_owned()),
                port: i32::from(GROUP_PORT),
                target_port: Some(IntOrString::Int(i32::from(GROUP_PORT))),
                protocol: Some("TCP".to_owned()),
                ..ServicePort::default()
            }]),
            ..ServiceSpec::default()
        }),
        metadata,
        status: None,
    })
}

/// Pods of the training reach each other; whoever else may ask for progress and metrics.
pub(super) fn policy(run: &Run<'_>, metadata: ObjectMeta) -> Option<NetworkPolicy> {
    let pods = LabelSelector {
        match_labels: metadata.labels.clone(),
        match_expressions: None,
    };
    run.spec.nodes.is_group().then(|| NetworkPolicy {
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(pods.clone()),
            policy_types: Some(vec!["Ingress".to_owned()]),
            ingress: Some(vec![
                NetworkPolicyIngressRule {
                    from: Some(vec![NetworkPolicyPeer {
                        pod_selector: Some(pods),
                        ..NetworkPolicyPeer::default()
                    }]),
                    ports: None,
                },
                NetworkPolicyIngressRule {
                    from: None,
                    ports: Some(vec![NetworkPolicyPort {
                        port: Some(IntOrString::Int(i32::from(OBSERVABILITY_PORT))),
                        protocol: Some("TCP".to_owned()),
                        end_port: None,
                    }]),
                },
            ]),
            egress: None,
        }),
        metadata,
    })
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::batch::v1::Job;
    use sconce_contract::TrainingPlan;
    use sconce_crds::ModelTraining;
    use serde_json::{Value, json};

    use crate::context::Images;
    use crate::training::build::{Children, build};
    use crate::training::dereference::Found;
    use crate::training::identity::Identity;
    use crate::training::validate::validate;

    fn children(model: &Value, count: u32) -> Children {
        children_of(model, count, &Value::Null)
    }

    fn children_of(model: &Value, count: u32, search: &Value) -> Children {
        let training: ModelTraining = serde_json::from_value(json!({
            "metadata": {"name": "iris", "namespace": "ml", "uid": "t1"},
            "spec": {
                "model": model, "dataset": {"uri": "https://data.example/iris.csv", "target": "y"},
                "output": {"uri": "s3://models/iris"}, "nodes": {"count": count}, "search": search,
            },
        }))
        .unwrap();
        let found = Found::default();
        let run = validate(&training, &Identity::of(&training), &found).unwrap();
        build(
            &run,
            &Images {
                trainer: "t".to_owned(),
                server: "s".to_owned(),
                pull_policy: "Always".to_owned(),
            },
        )
    }

    fn network() -> Value {
        json!({"network": {"layers": [{"dense": {"units": 1}}]}})
    }

    fn told(job: &Job) -> Value {
        let job = serde_json::to_value(job).unwrap();
        let all = job["spec"]["template"]["spec"]["containers"][0]["env"]
            .as_array()
            .unwrap()
            .clone();
        let pairs = all.into_iter().map(|variable| {
            let from = &variable["valueFrom"]["fieldRef"]["fieldPath"];
            let value = if from.is_null() { &variable["value"] } else { from };
            (variable["name"].as_str().unwrap().to_owned(), value.clone())
        });
        Value::Object(pairs.collect())
    }

    #[test]
    fn each_pod_of_several_has_a_number_a_name_and_the_address_of_the_first() {
        let made = children(&network(), 3);
        let job = serde_json::to_value(&made.job).unwrap();
        let name = job["metadata"]["name"].as_str().unwrap();
        assert_eq!(job["spec"]["completionMode"], "Indexed");
        assert_eq!(
            (&job["spec"]["completions"], &job["spec"]["parallelism"]),
            (&json!(3), &json!(3))
        );
        assert_eq!(
            job["spec"]["successPolicy"],
            json!({"rules": [{"succeededIndexes": "0"}]})
        );
        assert_eq!(
            ["backoffLimit", "backoffLimitPerIndex", "maxFailedIndexes"].map(|field| &job["spec"][field]),
            [&Value::Null, &json!(3), &json!(0)]
        );
        let service = serde_json::to_value(made.service.unwrap()).unwrap();
        assert_eq!(
            service["metadata"]["name"],
            job["spec"]["template"]["spec"]["subdomain"]
        );
        assert_eq!(service["spec"]["clusterIP"], "None");
        assert_eq!(service["spec"]["publishNotReadyAddresses"], true);
        let labels = &job["spec"]["template"]["metadata"]["labels"];
        for (key, value) in service["spec"]["selector"].as_object().unwrap() {
            assert_eq!(&labels[key], value, "{key}");
        }
        let told = told(&made.job);
        let number = "metadata.labels['batch.kubernetes.io/job-completion-index']";
        assert_eq!(told["SCONCE_GROUP_WORKER"], number);
        assert_eq!(
            told["SCONCE_GROUP_LEADER"],
            format!("{name}-0.{name}.ml.svc:9091")
        );
        let uid = "metadata.labels['batch.kubernetes.io/controller-uid']";
        assert_eq!(told["SCONCE_GROUP_TOKEN"], uid);
        let plan = &job["spec"]["template"]["metadata"]["annotations"]["sconce.dev/plan"];
        assert!(
            plan.as_str().unwrap().contains(r#""nodes":{"count":3}"#),
            "{plan}"
        );
    }

    #[test]
    fn pods_that_take_the_trials_of_a_search_are_those_of_a_group() {
        let path = "hyperparameters.batchSize";
        let search = json!({
            "objective": {"metric": "loss"}, "parallelTrials": 6, "space": [{"path": path, "choice": [8, 16]}],
        });
        // Nothing is added up, so a layer that measures whole batches is no hindrance.
        let normed = json!({"network": {"layers": [{"batchNorm": {}}, {"dense": {"units": 1}}]}});
        let made = children_of(&normed, 3, &search);
        let job = serde_json::to_value(&made.job).unwrap();
        assert_eq!(
            (&job["spec"]["completions"], &job["spec"]["successPolicy"]),
            (&json!(3), &json!({"rules": [{"succeededIndexes": "0"}]}))
        );
        assert_eq!(job["spec"]["maxFailedIndexes"], 2, "any but the first may fail");
        assert!(made.service.is_some() && made.policy.is_some());
        let told = told(&made.job);
        assert!(told["SCONCE_GROUP_LEADER"].as_str().unwrap().ends_with(":9091"));
        let plan = &job["spec"]["template"]["metadata"]["annotations"]["sconce.dev/plan"];
        let plan: TrainingPlan = serde_json::from_str(plan.as_str().unwrap()).unwrap();
        assert_eq!(plan.nodes.map(|nodes| nodes.count), Some(3));
        assert_eq!(plan.search.map(|search| search.parallel_trials), Some(6));
    }

    #[test]
    fn a_policy_lets_in_the_other_workers_and_who_asks_for_progress() {
        let policy = serde_json::to_value(children(&network(), 2).policy.unwrap()).unwrap();
        let rules = policy["spec"]["ingress"].as_array().unwrap();
        assert_eq!(
            rules[0]["from"],
            json!([{"podSelector": policy["spec"]["podSelector"]}])
        );
        assert_eq!(rules[1], json!({"ports": [{"port": 9090, "protocol": "TCP"}]}));
    }

    #[test]
    fn a_trainer_of_ones_own_is_told_what_torchrun_would_tell_it() {
        let made = children(&json!({"custom": {"image": "i:1"}}), 4);
        let told = told(&made.job);
        assert!(told["MASTER_ADDR"].as_str().unwrap().ends_with(".ml.svc"));
        assert_eq!(
            (&told["MASTER_PORT"], &told["WORLD_SIZE"]),
            (&json!("9091"), &json!("4"))
        );
        assert_eq!(
            told["RANK"],
            "metadata.labels['batch.kubernetes.io/job-completion-index']"
        );
        assert_eq!(told["SCONCE_GROUP_WORKER"], Value::Null);
    }

    #[test]
    fn one_pod_is_made_as_ever() {
        let made = children(&network(), 1);
        let job = serde_json::to_value(&made.job).unwrap();
        assert!(made.service.is_none() && made.policy.is_none());
        for field in [
            "completionMode",
            "completions",
            "parallelism",
            "successPolicy",
            "backoffLimitPerIndex",
        ] {
            assert_eq!(job["spec"][field], Value::Null, "{field}");
        }
        assert_eq!(job["spec"]["template"]["spec"]["subdomain"], Value::Null);
        assert_eq!(told(&made.job)["SCONCE_GROUP_LEADER"], Value::Null);
        let plan = job["spec"]["template"]["metadata"]["annotations"]["sconce.dev/plan"].to_string();
        assert!(!plan.contains("nodes"), "{plan}");
    }
}
