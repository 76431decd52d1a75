//! What protects the pods of a deployment: a NetworkPolicy from who is not named, a PodDisruptionBudget from a drain
//! that takes all of them at once. Neither is part of a revision: they change without a new pod.

use k8s_openapi::api::networking::v1::{
    IPBlock, NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;
use kube::runtime::reflector::{ObjectRef, Store};
use sconce_crds::ModelDeployment;
use sconce_crds::deployment::NetworkPeer;

use super::replicas;
use crate::apply::{Child, Refusal, is_owned_by};
use crate::context::Context;
use crate::seen::Compared;
use crate::{labels, owner};

/// Makes the cluster hold what protects the pods, and nothing that is no longer asked for.
///
/// # Errors
/// As [`crate::apply::Writer::ensure`].
pub async fn protect(deployment: &ModelDeployment, context: &Context) -> Result<(), Refusal> {
    keep(deployment, context, policy(deployment), &context.stores.policies).await?;
    keep(deployment, context, budget(deployment), &context.stores.budgets).await
}

async fn keep<K: Child>(
    deployment: &ModelDeployment,
    context: &Context,
    desired: Option<K>,
    store: &Store<Compared<K>>,
) -> Result<(), Refusal> {
    let (name, namespace) = (deployment.name_any(), deployment.namespace().unwrap_or_default());
    let uid = deployment.uid().unwrap_or_default();
    let found = store
        .get(&ObjectRef::new(&name).within(&namespace))
        .filter(|found| is_owned_by(&**found, &uid));
    match desired {
        Some(desired) => context
            .writer
            .ensure(&uid, desired, found.as_deref())
            .await
            .map(drop),
        None if found.is_some() => {
            replicas::confirm(&context.client, deployment).await?;
            Ok(context.writer.delete::<K>(&namespace, &name, &uid).await?)
        }
        None => Ok(()),
    }
}

fn metadata(deployment: &ModelDeployment) -> ObjectMeta {
    let (name, uid) = (deployment.name_any(), deployment.uid().unwrap_or_default());
    ObjectMeta {
        labels: Some(labels::child(labels::DEPLOYMENT, &name, labels::SERVER)),
        owner_references: Some(vec![owner::reference::<ModelDeployment>(&name, &uid)]),
        namespace: deployment.namespace(),
        name: Some(name),
        ..ObjectMeta::default()
    }
}

/// The pods of every revision.
fn pods(deployment: &ModelDeployment) -> LabelSelector {
    LabelSelector {
        match_labels: Some([(labels::DEPLOYMENT.to_owned(), deployment.name_any())].into()),
        match_expressions: None,
    }
}

/// With one replica there is nothing to keep: a drain could never take it. It counts from how many have answered at once:
/// where an autoscaler wants more than there is room for, those that find none would hold up every drain.
pub(super) fn budget(deployment: &ModelDeployment) -> Option<PodDisruptionBudget> {
    let wanted = replicas::wanted(deployment);
    let status = deployment.status.as_ref();
    let settled = status
        .and_then(|status| status.settled_replicas)
        .filter(|_| deployment.spec.is_autoscaled())
        .unwrap_or(wanted);
    (wanted > 1).then(|| PodDisruptionBudget {
        metadata: metadata(deployment),
        spec: Some(PodDisruptionBudgetSpec {
            selector: Some(pods(deployment)),
            max_unavailable: Some(IntOrString::Int(1 + (wanted - settled).max(0))),
            // A pod that does not answer holds up no drain.
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
            ..PodDisruptionBudgetSpec::default()
        }),
        status: None,
    })
}

pub(super) fn policy(deployment: &ModelDeployment) -> Option<NetworkPolicy> {
    let network = deployment.spec.network.as_ref()?;
    let port = |name: &str| NetworkPolicyPort {
        port: Some(IntOrString::String(name.to_owned())),
        protocol: Some("TCP".to_owned()),
        end_port: None,
    };
    let predictions = NetworkPolicyIngressRule {
        from: Some(network.allow_from.iter().map(peer).collect()),
        ports: Some(vec![port("http")]),
    };
    let observation = NetworkPolicyIngressRule {
        from: None,
        ports: Some(vec![port("observe")]),
    };
    // A rule that names nobody lets everybody in: without peers there is none.
    let rules = (!network.allow_from.is_empty()).then_some(predictions);
    Some(NetworkPolicy {
        metadata: metadata(deployment),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(pods(deployment)),
            policy_types: Some(vec!["Ingress".to_owned()]),
            ingress: Some(rules.into_iter().chain([observation]).collect()),
            egress: None,
        }),
    })
}

fn peer(peer: &NetworkPeer) -> NetworkPolicyPeer {
    let selector = |labels: &std::collections::BTreeMap<String, String>| LabelSelector {
        match_labels: Some(labels.clone()),
        match_expressions: None,
    };
    NetworkPolicyPeer {
        ip_block: peer.cidr.clone().map(|cidr| IPBlock { cidr, except: None }),
        namespace_selector: peer.namespace_labels.as_ref().map(selector),
        pod_selector: peer.pod_labels.as_ref().map(selector),
    }
}

#[cfg(test)]
#[allow(clippy::needless_pass_by_value)] // What a json! makes is nobody else's.
mod tests {
    use serde_json::json;

    use super::*;

    fn deployment(spec: serde_json::Value) -> ModelDeployment {
        serde_json::from_value(json!({
            "apiVersion": "sconce.dev/v1alpha1", "kind": "ModelDeployment",
            "metadata": {"name": "iris", "namespace": "ml", "uid": "1"}, "spec": spec,
        }))
        .unwrap()
    }

    fn ingress(allow_from: serde_json::Value) -> serde_json::Value {
        let spec =
            json!({"model": {"uri": "https://models.example/iris"}, "network": {"allowFrom": allow_from}});
        let policy = policy(&deployment(spec)).unwrap();
        serde_json::to_value(policy).unwrap()["spec"]["ingress"].clone()
    }

    #[test]
    fn nobody_named_is_nobody_let_in() {
        let rules = ingress(json!([]));
        assert_eq!(
            rules,
            json!([{"ports": [{"port": "observe", "protocol": "TCP"}]}])
        );
    }

    #[test]
    fn an_entry_is_a_peer_and_labels_of_both_kinds_hold_together() {
        let rules =
            ingress(json!([{"namespaceLabels": {}, "podLabels": {"app": "shop"}}, {"cidr": "10.0.0.0/8"}]));
        assert_eq!(
            rules[0]["from"],
            json!([
                {"namespaceSelector": {"matchLabels": {}}, "podSelector": {"matchLabels": {"app": "shop"}}},
                {"ipBlock": {"cidr": "10.0.0.0/8"}},
            ])
        );
    }

    #[test]
    fn one_replica_may_be_drained() {
        let of = |replicas: i32| {
            budget(&deployment(
                json!({"model": {"uri": "https://m"}, "replicas": replicas}),
            ))
        };
        assert_eq!((of(1), of(2).is_some()), (None, true));
    }

    #[test]
    fn a_drain_takes_one_at_a_time_of_those_that_answer_and_does_not_wait_for_room() {
        let scaling = json!({"mode": "Managed", "minReplicas": 1, "maxReplicas": 4});
        let spec = json!({"model": {"uri": "https://m"}, "autoscaling": scaling});
        for (desired, settled, may_go) in [(3, 3, 1), (3, 2, 2), (2, 3, 1), (4, 2, 3)] {
            let mut scaled = deployment(spec.clone());
            let status = json!({"desiredReplicas": desired, "settledReplicas": settled});
            scaled.status = Some(serde_json::from_value(status).unwrap());
            let budget = budget(&scaled).unwrap().spec.unwrap();
            assert_eq!(
                budget.max_unavailable,
                Some(IntOrString::Int(may_go)),
                "{desired} {settled}"
            );
        }
        let mut fixed = deployment(json!({"model": {"uri": "https://m"}, "replicas": 10}));
        fixed.status = Some(serde_json::from_value(json!({"settledReplicas": 2})).unwrap());
        let budget = budget(&fixed).unwrap().spec.unwrap();
        assert_eq!(budget.max_unavailable, Some(IntOrString::Int(1)), "all have room");
    }
}
