//! Labels and annotations on what the operator makes.

use std::collections::BTreeMap;

/// Who made the object: always [`MANAGER`].
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Name of the workload, as dashboards group by it.
pub const APP_NAME: &str = "app.kubernetes.io/name";
/// Part that the pod plays: [`TRAINER`] or [`SERVER`].
pub const COMPONENT: &str = "app.kubernetes.io/component";
/// Name of the ModelTraining that a child belongs to.
pub const TRAINING: &str = "sconce.dev/training";
/// Name of the ModelDeployment that a child belongs to.
pub const DEPLOYMENT: &str = "sconce.dev/deployment";
/// Revision of the ModelDeployment that a pod is of.
pub const REVISION: &str = "sconce.dev/revision";

/// Annotation on a ModelTraining: any new value makes it run again, with the same spec.
pub const RERUN: &str = "sconce.dev/rerun";

/// Annotation on a ModelTraining: any new value has another Job go on with the same run, from its last checkpoint.
pub const RESUME: &str = "sconce.dev/resume";

/// Annotation on a Job: that its training makes way for serving, as JSON ([`crate::training::yielding::Yielding`]).
pub const YIELDING: &str = "sconce.dev/yielding";

/// Annotation on a Deployment: URI of the artifact that its pods serve.
pub const MODEL_URI: &str = "sconce.dev/model-uri";
/// Annotation on a Deployment: digest of that artifact, where it is known.
pub const MODEL_DIGEST: &str = "sconce.dev/model-digest";
/// Annotation on a Deployment: UID of the training that the artifact came from; its name is under [`TRAINING`].
pub const TRAINING_UID: &str = "sconce.dev/training-uid";
/// Annotation on a Deployment: which nodes its pods are for, beside their labels, as a digest
/// ([`crate::accelerator::Resolved::placement`]).
pub const PLACEMENT: &str = "sconce.dev/placement";
/// Annotation on a Deployment: since when its revision is asked for. The latest is the current one.
pub const WANTED_SINCE: &str = "sconce.dev/wanted-since";
/// Annotation on a Deployment: when a pod of its that answered was last told to make way for another revision's.
pub const FEWER_SINCE: &str = "sconce.dev/fewer-since";
/// Annotation on a Deployment: when a pod more of its was last asked for, as all before answered.
pub const MORE_SINCE: &str = "sconce.dev/more-since";
/// Annotation on a Deployment: its revision did not come up in time; when that was found, and why it is, as JSON.
pub const ROLLED_BACK: &str = "sconce.dev/rolled-back";
/// Annotation on a Deployment: the value of the ModelDeployment's annotation for which it was last tried again.
pub const RETRIED: &str = "sconce.dev/retried";
/// Annotation on every pod: its plan, as JSON.
pub const PLAN: &str = "sconce.dev/plan";
/// Annotation on a server's pod: UID of the ModelDeployment. Pods of a deleted one of the same name linger.
pub const DEPLOYMENT_UID: &str = "sconce.dev/deployment-uid";

/// Annotation by which a ReplicaSet chooses: pods of a lower cost go first. Absent: 0.
pub const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// Annotation by which `kubectl apply` on the client's side remembers the whole object.
pub const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Label that Kubernetes puts on a Job's pods: its name.
pub const JOB_NAME: &str = "batch.kubernetes.io/job-name";

/// Label that Kubernetes puts on the pods of a Job of several: the number of each.
pub const WORKER: &str = "batch.kubernetes.io/job-completion-index";
/// Label that Kubernetes puts on a Job's pods: its UID.
pub const JOB_UID: &str = "batch.kubernetes.io/controller-uid";

/// Value of [`MANAGED_BY`], and the field manager of every write.
pub const MANAGER: &str = "sconce";
/// Value of [`COMPONENT`].
pub const TRAINER: &str = "trainer";
/// Value of [`COMPONENT`].
pub const SERVER: &str = "server";

/// Label selector of everything that the operator watches below its own kinds.
pub const SELECTOR: &str = "app.kubernetes.io/managed-by=sconce";

/// Whether the operator reads this label or annotation of the Jobs, Deployments and pods that it watches: of no other, a
/// value is kept ([`crate::seen::Kept`]). A plan is read by the pod's program alone.
pub fn is_read(key: &str) -> bool {
    key.starts_with("sconce.dev/") && key != PLAN || [JOB_NAME, WORKER, DELETION_COST].contains(&key)
}

/// Labels of a child: `owner` is [`TRAINING`] or [`DEPLOYMENT`].
pub fn child(owner: &str, name: &str, component: &str) -> BTreeMap<String, String> {
    [
        (MANAGED_BY, MANAGER),
        (APP_NAME, name),
        (COMPONENT, component),
        (owner, name),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .collect()
}
