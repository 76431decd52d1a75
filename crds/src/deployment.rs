//! ModelDeployment: an artifact, in; an address that answers predictions, out.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use sconce_contract::credentials::CredentialsRef;
use sconce_contract::validation::rules;
use sconce_contract::{Duration, Warmup};
use serde::{Deserialize, Serialize};

use crate::autoscaling::{Autoscaling, AutoscalingMode, ScaleDecision};
use crate::cache::{Cache, CacheStrategy, CacheTold};
use crate::condition::Condition;
use crate::custom::CustomServer;
use crate::labels;
use crate::overrides::PodOverrides;
use crate::resources::{Accelerator, ServingResources};
use crate::rollout::Rollout;
use crate::scheduling::ServingScheduling;

/// Annotation by which a person promotes an artifact where `promotion` is Manual: its digest.
pub const PROMOTE_ANNOTATION: &str = "sconce.dev/promote";

/// Serves a model and rolls it forward when a better one passes its gates.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "sconce.dev",
    version = "v1alpha1",
    kind = "ModelDeployment",
    plural = "modeldeployments",
    singular = "modeldeployment",
    shortname = "mdep",
    category = "sconce",
    namespaced,
    status = "ModelDeploymentStatus",
    derive = "PartialEq",
    doc = "Serves a model and rolls it forward when a retrained one passes its gates.",
    scale(spec_replicas_path = ".spec.replicas", status_replicas_path = ".status.replicas", label_selector_path = ".status.selector"),
    printcolumn(name = "READY", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "REPLICAS", type_ = "integer", json_path = ".status.readyReplicas"),
    printcolumn(name = "MODEL", type_ = "string", json_path = ".status.model"),
    printcolumn(name = "URL", type_ = "string", json_path = ".status.url"),
    printcolumn(name = "AGE", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "ACCEL", type_ = "string", json_path = ".spec.accelerator.profile", priority = 1),
    printcolumn(name = "COLDSTART", type_ = "string", json_path = ".status.coldStart.total", priority = 1),
    printcolumn(name = "REASON", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason", priority = 1),
    validation = kube::core::Rule::new("self.metadata.name.size() <= 52 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')")
        .message("metadata.name must be at most 52 characters of a-z, 0-9 and -, begin with a letter and end with a letter or digit: its children's names add 11 to it")
)]
#[x_kube(
    validation = ("!has(self.autoscaling) || self.autoscaling.mode != 'Managed' || self.replicas == 1",
    "replicas does not go with autoscaling.mode Managed, where the operator says how many: leave it out and set autoscaling.minReplicas and maxReplicas, or choose mode None or External"),
    validation = ("!has(self.server) || !has(self.server.custom) || !has(self.autoscaling) || self.autoscaling.mode != 'Managed'",
    "autoscaling.mode Managed asks Sconce's own server for its load: with server.custom choose mode None or External"),
    validation = ("!has(self.server) || !has(self.server.custom) || !has(self.warmup)",
    "warmup is an inference by Sconce's own server: with server.custom, readinessPath says when the model can be asked"),
    validation = ("!has(self.cache) || self.cache.strategy == 'None' || has(self.model.trainingRef) || has(self.model.digest)",
    "cache finds a model by its digest: give model.digest, or leave the cache out"),
    validation = ("!has(self.cache) || self.cache.strategy == 'None' || !has(self.server) || !has(self.server.custom)",
    "cache is Sconce's own server's: with server.custom leave it out"),
    validation = ("!has(self.cache) || self.cache.strategy == 'None' || !has(self.model.uri) || !self.model.uri.startsWith('oci://')",
    "a model.uri of oci:// is kept by each node among its images: leave the cache out")
)]
#[serde(rename_all = "camelCase")]
pub struct ModelDeploymentSpec {
    /// What is served.
    pub model: ServedModel,
    /// What answers. Absent: Sconce's own server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<Server>,
    /// Units of an accelerator for each pod. Absent: the processor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accelerator: Option<Accelerator>,
    /// Processor and memory of each pod.
    #[serde(default)]
    pub resources: ServingResources,
    /// When the pods get their place.
    #[serde(default)]
    pub scheduling: ServingScheduling,
    /// Number of pods (0 to 1000). `kubectl scale` and a HorizontalPodAutoscaler set it through `/scale`. Left out with
    /// autoscaling.mode Managed: its default, which stands there then, means nothing.
    #[serde(default = "one")]
    #[schemars(range(min = 0, max = 1000))]
    pub replicas: i32,
    /// Who may ask for predictions. Absent: whoever the namespace's own policies let in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<Network>,
    /// How the number of pods follows the load. Absent: it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<Autoscaling>,
    /// The inference that must succeed before a pod is ready. Absent: one row of the features' means.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warmup: Option<Warmup>,
    /// Where the model is kept once it was fetched. Absent: nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<Cache>,
    /// What is added to the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_overrides: Option<PodOverrides>,
    /// How a new revision replaces an earlier one.
    #[serde(default)]
    pub rollout: Rollout,
}

/// What answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Server {
    /// A server of your own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub custom: Option<CustomServer>,
}

fn one() -> i32 {
    1
}

/// Who may ask for predictions: a NetworkPolicy, which the cluster's network plugin must support.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Network {
    /// Who reaches the port of the predictions (at most 32 entries); an empty list: nobody. The port of the probes and
    /// metrics stays open.
    #[schemars(length(max = 32))]
    pub allow_from: Vec<NetworkPeer>,
}

/// Pods by their labels, or addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(&[
    ("has(self.cidr) != (has(self.namespaceLabels) || has(self.podLabels))",
     "an entry of network.allowFrom has either cidr, or namespaceLabels and podLabels (one of them or both)"),
])))]
pub struct NetworkPeer {
    /// Labels of the namespace that the pods are in; `{}`: any namespace. Absent: the namespace of the deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "labels::of_peers")]
    pub namespace_labels: Option<BTreeMap<String, String>>,
    /// Labels of the pods. Absent: every pod of those namespaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "labels::of_peers")]
    pub pod_labels: Option<BTreeMap<String, String>>,
    /// Addresses outside the cluster's pods, such as `10.0.0.0/8` or `fd00::/8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 43), extend("format" = "cidr"))]
    pub cidr: Option<String>,
}

impl ModelDeploymentSpec {
    /// The server that takes the place of Sconce's, where one does.
    pub fn custom(&self) -> Option<&CustomServer> {
        self.server.as_ref()?.custom.as_ref()
    }

    /// Where the servers keep the model, where they do.
    pub fn caching(&self) -> Option<&Cache> {
        let caching = |cache: &&Cache| cache.strategy != CacheStrategy::None;
        self.cache.as_ref().filter(caching)
    }

    /// How the operator itself scales, where it does.
    pub fn managed(&self) -> Option<&Autoscaling> {
        let managed = |autoscaling: &&Autoscaling| autoscaling.mode == AutoscalingMode::Managed;
        self.autoscaling.as_ref().filter(managed)
    }

    /// Whether it is a program that changes the number of pods, and not a person.
    pub fn is_autoscaled(&self) -> bool {
        self.autoscaling
            .as_ref()
            .is_some_and(|autoscaling| autoscaling.mode != AutoscalingMode::None)
    }
}

/// What is served: exactly one of `trainingRef` and `uri`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(&[
    ("has(self.trainingRef) != has(self.uri)", "model has exactly one of: trainingRef, uri"),
    ("!has(self.digest) || has(self.uri)", "model.digest goes with model.uri: a trainingRef brings its own"),
    ("!has(self.credentialsRef) || !has(self.uri) || self.uri.matches('^(https?|hf|s3|gs|az|hdfs)://')", "model.credentialsRef goes with a model.uri of http(s), hf, s3, gs, az or hdfs: claims of the namespace need none"),
])))]
pub struct ServedModel {
    /// What a ModelTraining of the same namespace leaves behind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub training_ref: Option<TrainingRef>,
    /// An artifact's folder: `pvc://CLAIM/PATH`, `http(s)://HOST/PATH`, `s3://BUCKET/PATH`, `gs://BUCKET/PATH`,
    /// `az://CONTAINER/PATH`, `hdfs://NAMENODE[:PORT]/PATH`, `hf://ORG/NAME[@REVISION][/PATH]`, or an image that holds it
    /// (`oci://REGISTRY/REPOSITORY:TAG` or `@sha256:HEX`), which is mounted. With `server.custom`, what the server itself reads there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 2048),
        regex(
            pattern = r"^(pvc://[a-z0-9]([-.a-z0-9]*[a-z0-9])?/.+|oci://[a-z0-9][-._:/@A-Za-z0-9]*|(https?|s3|gs|az|hdfs|hf)://[^/\s]\S*)$"
        )
    )]
    pub uri: Option<String>,
    /// With an artifact of http(s), hf, s3, gs, az and hdfs: what the server that holds it is shown. Absent for a cloud: the pod's
    /// own environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_ref: Option<CredentialsRef>,
    /// With `uri`: the digest that the artifact must have, `sha256:HEX`. Absent: whatever is there, if whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 71), regex(pattern = r"^sha256:[0-9a-f]{64}$"))]
    pub digest: Option<String>,
}

/// A ModelTraining of the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TrainingRef {
    /// Its name.
    #[schemars(length(min = 1, max = 52), regex(pattern = "^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// What makes a new artifact the one to serve.
    #[serde(default)]
    pub promotion: Promotion,
}

/// What makes a new artifact the one to serve.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Promotion {
    /// That it passed every gate of its training.
    #[default]
    OnGatesPassed,
    /// A person who sets the annotation `sconce.dev/promote` of the ModelDeployment to its digest.
    Manual,
}

/// What became of the deployment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ModelDeploymentStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// One word for people; programs read the conditions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<DeploymentPhase>,
    /// ModelResolved, FitsAccelerator, Cached, Available, RolloutComplete; Ready, Progressing, Degraded, Stalled; with autoscaling.mode Managed
    /// also ScalingActive and ScalingLimited.
    #[schemars(schema_with = "crate::condition::schema")]
    pub conditions: Vec<Condition>,
    /// What is served, for people: the training's name or the URI, and the beginning of the digest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Where predictions are answered, inside the cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Pods, of whichever revision.
    pub replicas: i32,
    /// Pods of the current revision.
    pub updated_replicas: i32,
    /// Pods of the current revision that answered an inference.
    pub ready_replicas: i32,
    /// Pods that answered at once since the last rollout, at most as many as are wanted. Where an autoscaler changes their
    /// number, Ready stays True while more are on their way and these answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settled_replicas: Option<i32>,
    /// Label selector of the pods, for `/scale`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// The revision that is asked for first; then those that are served, and those that are kept to go back to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub revisions: Vec<Revision>,
    /// Where the time went until a pod of the current revision answered: the newest of those that have. Absent until one
    /// does. Kubernetes' times have whole seconds, so each phase may be off by one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cold_start: Option<ColdStart>,
    /// With autoscaling.mode Managed: pods that are wanted now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub desired_replicas: Option<i32>,
    /// The last ten changes of `desiredReplicas`, newest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub scale_decisions: Vec<ScaleDecision>,
}

/// One word for what a deployment does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeploymentPhase {
    /// Waits for something that it names.
    Pending,
    /// Pods of the current revision are on their way.
    Progressing,
    /// Every replica is of the current revision and answers; while an autoscaler changes their number, those before do.
    Ready,
    /// Something needs a person; an earlier revision may still answer.
    Degraded,
}

/// A model in a shape: an artifact and what its pods are given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Revision {
    /// Ten hexadecimal digits over what the pods are given.
    pub name: String,
    /// URI of the artifact's folder.
    pub uri: String,
    /// Its digest, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Pods of this revision that answered an inference.
    pub ready_replicas: i32,
    /// When its rollout was complete: every replica answered (where an autoscaler sets their number, as many as before, and
    /// the others lacked room alone), and no pod of another revision was left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completed: Option<Time>,
    /// The training that the artifact came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub training: Option<TrainingSource>,
}

/// How long a pod took from its creation until it answered, and with what. Measured once for a pod, and only of its
/// container's first start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ColdStart {
    /// Name of the pod, which may be gone since.
    pub pod: String,
    /// When it was created.
    pub created: Time,
    /// From then until it answered, such as `42s`: the sum of the phases.
    pub total: Duration,
    /// In the order in which they happen. Prepared is absent where the kubelet does not tell of it: Started has its time
    /// then.
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub phases: Vec<ColdStartPhase>,
    /// Of a pod with a cache, once its server has told: where its model came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<CacheTold>,
}

/// A part of a pod's start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ColdStartPhase {
    /// What was reached at its end.
    pub name: ColdStartPhaseName,
    /// How long it took, in whole seconds, such as `9s`.
    pub took: Duration,
}

/// What a pod has reached when a part of its start is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ColdStartPhaseName {
    /// A node was found for it; while it waited for one, that counts here.
    Scheduled,
    /// Its volumes are mounted and its sandbox and network are there.
    Prepared,
    /// Its image is pulled and its container runs.
    Started,
    /// The artifact is read and the model has answered an inference: the pod is ready.
    Loaded,
}

/// The training that an artifact came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TrainingSource {
    /// Its name.
    pub name: String,
    /// Its UID: another training of the same name is another source.
    pub uid: String,
}
