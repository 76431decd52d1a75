//! ModelTraining: a table, a network and how it learns, in; a measured artifact, out.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use sconce_contract::artifact::ModelFormat;
use sconce_contract::credentials::CredentialsRef;
use sconce_contract::validation::{OBJECT_NAME, rules};
use sconce_contract::{
    Artifact, BestTrial, Checkpoint, Dataset, Duration, Evaluation, History, Hyperparameters, Incumbent,
    Metric, MetricName, Network, Nodes, RowsLeftOut, Search,
};
use serde::{Deserialize, Serialize};

use crate::Quantity;
use crate::condition::Condition;
use crate::custom::CustomTrainer;
use crate::overrides::PodOverrides;
use crate::resources::{Accelerator, TrainingResources};
use crate::scheduling::TrainingScheduling;

/// Longest name of either workload. A child's name adds `-` and ten digits, and a Job's name becomes a label,
/// which Kubernetes limits to 63 characters.
pub const NAME_LIMIT: usize = 52;

/// Trains a model on a table and measures it on rows held out.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "sconce.dev",
    version = "v1alpha1",
    kind = "ModelTraining",
    plural = "modeltrainings",
    singular = "modeltraining",
    shortname = "mtrain",
    category = "sconce",
    namespaced,
    status = "ModelTrainingStatus",
    derive = "PartialEq",
    doc = "Trains a model on a table and measures it on rows held out; what passes its gates may be served.",
    printcolumn(name = "PHASE", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "PROGRESS", type_ = "string", json_path = ".status.progress.summary"),
    printcolumn(name = "ETA", type_ = "string", json_path = ".status.progress.eta"),
    printcolumn(name = "LOSS", type_ = "number", json_path = ".status.progress.loss"),
    printcolumn(name = "GATES", type_ = "string", json_path = ".status.conditions[?(@.type==\"GatesPassed\")].status"),
    printcolumn(name = "AGE", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "ACCEL", type_ = "string", json_path = ".spec.accelerator.profile", priority = 1),
    printcolumn(name = "NODES", type_ = "integer", json_path = ".status.progress.nodes", priority = 1),
    printcolumn(name = "ARTIFACT", type_ = "string", json_path = ".status.artifact.uri", priority = 1),
    printcolumn(name = "REASON", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason", priority = 1),
    validation = kube::core::Rule::new("self.metadata.name.size() <= 52 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')")
        .message("metadata.name must be at most 52 characters of a-z, 0-9 and -, begin with a letter and end with a letter or digit: its children's names add 11 to it"),
    validation = kube::core::Rule::new("self.spec.nodes.count == 1 || self.metadata.name.size() <= 49")
        .message("metadata.name must be at most 49 characters with nodes.count above 1: its pods' names add 14 to it"),
    validation = kube::core::Rule::new("!has(oldSelf.status) || !has(oldSelf.status.phase) || !(oldSelf.status.phase in ['Training', 'Evaluating']) || (has(self.spec.suspend) && self.spec.suspend) || (self.spec.model == oldSelf.spec.model && self.spec.dataset == oldSelf.spec.dataset && self.spec.hyperparameters == oldSelf.spec.hyperparameters && has(self.spec.search) == has(oldSelf.spec.search) && (!has(self.spec.search) || self.spec.search == oldSelf.spec.search))")
        .message("spec.model, dataset, hyperparameters and search cannot change while the training runs: wait for it, or set spec.suspend: true with the change")
)]
#[x_kube(
    validation = ("!has(self.evaluation.gates) || self.evaluation.gates.size() == 0 || self.dataset.split.test > 0.0 || self.dataset.split.validation > 0.0 || has(self.dataset.testUri) || has(self.dataset.validationUri)",
    "evaluation.gates need held-out rows: set dataset.split.test or dataset.split.validation above 0"),
    validation = ("!has(self.scheduling.yieldTo) || has(self.accelerator)",
    "scheduling.yieldTo goes with accelerator: it is units of its profile that are given up"),
    validation = ("!has(self.dataset.features) || self.dataset.features.size() == 0 || !has(self.model.network) || !has(self.model.network.input) || [self.model.network.input].exists(i, self.dataset.features.size() == (has(i.length) ? i.length : (has(i.height) && has(i.width) ? i.height * i.width : 0)) * i.channels)",
    "model.network.input must have as many numbers as dataset.features has columns: height x width x channels, or length x channels"),
    validation = ("!has(self.dataset.text) || !has(self.model.network) || [self.model.network.layers[0]].exists(l, has(l.embedding) && l.embedding.vocabulary >= self.dataset.text.vocabulary)",
    "dataset.text goes with a network that begins with embedding, of at least its vocabulary"),
    validation = ("!has(self.model.network) || !has(self.model.network.layers[0].embedding) || !self.dataset.standardize || has(self.dataset.text)",
    "embedding looks its integers up as they are: set dataset.standardize to false, or dataset.text"),
    validation = ("!has(self.search) || has(self.model.network)",
    "search goes with model.network: a trainer of your own searches by itself"),
    validation = ("!has(self.search) || self.dataset.split.validation > 0.0 || has(self.dataset.validationUri)",
    "search compares trials on validation rows: set dataset.split.validation above 0"),
    validation = ("!has(self.search) || self.nodes.count <= self.search.parallelTrials",
    "nodes.count must not be above search.parallelTrials: each pod takes some of the trials that are at work at a time"),
    validation = ("!has(self.search) || !has(self.nodes.minCount)",
    "nodes.minCount does not go with search: its trials are taken by whatever pods are there"),
    validation = ("self.nodes.count == 1 || has(self.output.uri) || (has(self.output.accessMode) && self.output.accessMode == 'ReadWriteMany')",
    "nodes.count above 1 needs an output.uri, or output.accessMode: ReadWriteMany: each pod mounts the claim"),
    validation = ("!has(self.nodes.minCount) || has(self.model.network)",
    "nodes.minCount goes with model.network: a trainer of your own is told one number of pods")
)]
#[serde(rename_all = "camelCase")]
pub struct ModelTrainingSpec {
    /// What is trained.
    pub model: TrainedModel,
    /// The table to learn from.
    pub dataset: Dataset,
    /// How the model learns.
    #[serde(default)]
    pub hyperparameters: Hyperparameters,
    /// Values of these and of the network that are tried; the best trial's model is the result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search: Option<Search>,
    /// Units of an accelerator for the pod. Absent: the processor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accelerator: Option<Accelerator>,
    /// Pods that learn the model together.
    #[serde(default)]
    pub nodes: Nodes,
    /// Processor and memory of the pod.
    #[serde(default)]
    pub resources: TrainingResources,
    /// When the pod gets its place, and to whom it gives way.
    #[serde(default)]
    pub scheduling: TrainingScheduling,
    /// When and where the state is saved.
    #[serde(default)]
    pub checkpoint: Checkpoint,
    /// What the model is measured by, and what it must reach to be served.
    #[serde(default)]
    pub evaluation: Evaluation,
    /// Where the artifact is written.
    #[serde(default)]
    pub output: Output,
    /// Holds the training: its pod saves its state and stops; false lets one go on from there.
    #[serde(default)]
    pub suspend: bool,
    /// Seconds that the training may run, over all attempts, before it fails. Absent: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = i32::MAX))]
    pub active_deadline_seconds: Option<i64>,
    /// Seconds after the end until Job, pods, logs and plan are deleted. Absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = i32::MAX))]
    pub ttl_seconds_after_finished: Option<i64>,
    /// What happens when the pod fails.
    #[serde(default)]
    pub failure_policy: FailurePolicy,
    /// What is added to the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_overrides: Option<PodOverrides>,
}

/// What is trained: exactly one of `network` and `custom`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(&[
    ("has(self.network) != has(self.custom)", "model has exactly one of: network, custom"),
])))]
pub struct TrainedModel {
    /// A network of layers, run by candle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<Network>,
    /// A trainer of your own, in any language.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom: Option<CustomTrainer>,
}

/// Where the artifact is written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = rules(&[
    ("!has(self.credentialsRef) || (has(self.uri) && self.uri.matches('^(s3|gs|az|hdfs)://'))", "output.credentialsRef goes with an output.uri of s3, gs, az or hdfs: claims of the namespace need none"),
    ("!has(self.uri) || !(has(self.size) || has(self.storageClassName) || has(self.accessMode))", "output.size, storageClassName and accessMode are of the claim that the training owns: they do not go with output.uri"),
])))]
pub struct Output {
    /// Folder of the artifacts: `pvc://CLAIM/PATH`, `s3://BUCKET/PATH` or of gs, az, hdfs. Absent: a claim of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 2048),
        regex(
            pattern = r"^(pvc://[a-z0-9]([-.a-z0-9]*[a-z0-9])?(/.*)?|(s3|gs|az)://[a-z0-9][-._a-z0-9]*(/.*)?|hdfs://[^/@\s]*/.*)$"
        )
    )]
    pub uri: Option<String>,
    /// What the service is shown. Absent: the pod's own environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials_ref: Option<CredentialsRef>,
    /// Formats of the model beside safetensors.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1))]
    pub formats: Vec<ModelFormat>,
    /// Bytes of the owned claim, such as `20Gi`; a larger value grows it with the next run. Absent: 1Gi.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<Quantity>,
    /// Storage class of the owned claim, when it is made. Absent: the cluster's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    pub storage_class_name: Option<String>,
    /// How the owned claim may be mounted, when it is made. Absent: ReadWriteOnce. A deployment with pods on several
    /// nodes needs ReadWriteMany.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_mode: Option<AccessMode>,
}

/// How a claim may be mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AccessMode {
    /// By pods of one node.
    ReadWriteOnce,
    /// By pods of many nodes.
    ReadWriteMany,
}

/// What happens when the pod fails.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = rules(&[
    ("!has(self.stallTimeout) || duration(self.stallTimeout) >= duration('1s')", "failurePolicy.stallTimeout must be at least 1s"),
])))]
pub struct FailurePolicy {
    /// Times that a failed pod is tried again (0 to 100), after longer and longer pauses. Bad input and divergence never are,
    /// running out of memory once is, an eviction always.
    #[schemars(range(min = 0, max = 100))]
    pub backoff_limit: i32,
    /// Time without a step, such as `15m`, after which a running pod is replaced, which is a retry; longer than reading and
    /// measuring take. Absent: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stall_timeout: Option<Duration>,
}

impl Default for FailurePolicy {
    fn default() -> Self {
        FailurePolicy {
            backoff_limit: 3,
            stall_timeout: None,
        }
    }
}

/// What became of the training.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ModelTrainingStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// One word for people; programs read the conditions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// See docs/troubleshoot.md.
    #[schemars(schema_with = "crate::condition::schema")]
    pub conditions: Vec<Condition>,
    /// The run that is at work or was last: a hash over all that what is learned depends on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// Name of the Job of that run: `kubectl logs job/NAME` shows what its pod says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// How far it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<TrainingProgress>,
    /// What the last finished run reached.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<Metric>,
    /// The trial of a search whose model this is; the manifest has all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub best_trial: Option<BestTrial>,
    /// What the model that was served then reaches on the same rows, where a gate has `beats`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub incumbent: Option<Incumbent>,
    /// Rows of the table that the last finished run left out; absent where it took all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows_left_out: Option<RowsLeftOut>,
    /// How that compares with the gates.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gates: Vec<GateResult>,
    /// How the losses of the last finished run went; `kubectl sconce plot` draws it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history: Option<History>,
    /// What the last run that passed its gates left behind; kept while a later run is at work or fails.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifact: Option<Artifact>,
    /// What the last finished run left behind, whether it passed or not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub candidate: Option<Artifact>,
    /// The run of `metrics`, `gates`, `history` and `candidate`: the last that ended with an artifact.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completed_run: Option<String>,
    /// The newest saved state of the run, where the next pod goes on; absent once there is an artifact.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_checkpoint: Option<LastCheckpoint>,
    /// What the run's pods held of the accelerator. Absent for a training on the processor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accelerator_seconds: Option<AcceleratorSeconds>,
    /// What the watch over a pod that stands still has seen; with `failurePolicy.stallTimeout` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watchdog: Option<Watchdog>,
    /// Pods that were started for the run and did not make way for others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts: Option<i32>,
    /// Times that a pod of the run made way for others; they count towards no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interruptions: Option<i32>,
    /// When the run ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<k8s_openapi::apimachinery::pkg::apis::meta::v1::Time>,
}

/// One word for what a training does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Phase {
    /// Waits for something that it names, or for its pod to start.
    Pending,
    /// Others come first: it is not admitted yet, or its pod made way. It starts, or goes on, by itself.
    Queued,
    /// Its pod takes steps.
    Training,
    /// Its pod measures what was learned.
    Evaluating,
    /// Held by `spec.suspend`.
    Suspended,
    /// Ended, and every gate holds.
    Succeeded,
    /// Ended, but a gate does not hold.
    Rejected,
    /// Ended without an artifact.
    Failed,
}

/// What the watch over a pod that stands still has seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Watchdog {
    /// The pod that is watched.
    pub pod: String,
    /// What it said last.
    pub mark: String,
    /// When it was first seen to say so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub moved: Option<k8s_openapi::apimachinery::pkg::apis::meta::v1::Time>,
    /// When it was last looked at; written eight times within the timeout.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub looked: Option<k8s_openapi::apimachinery::pkg::apis::meta::v1::Time>,
    /// Pods of the Job that were replaced because they stood still.
    pub replaced: i32,
    /// The last of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_replaced: Option<String>,
}

/// How far a run is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TrainingProgress {
    /// For people: `45% (epoch 4/10)`.
    pub summary: String,
    /// Finished epochs.
    pub epoch: u32,
    /// Finished steps.
    pub step: u64,
    /// Steps in all.
    pub total_steps: u64,
    /// Finished steps in percent of all.
    pub percent: u32,
    /// Time to the last step at the present pace, such as `2m10s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eta: Option<String>,
    /// Mean loss over the steps of the epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<f64>,
    /// Pods that learn together or take trials, where `nodes.count` asks for several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nodes: Option<u32>,
    /// Step of the checkpoint that the pod went on from; absent where there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resumed_from: Option<u64>,
    /// When the pod last said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_reported: Option<k8s_openapi::apimachinery::pkg::apis::meta::v1::Time>,
}

/// A saved state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LastCheckpoint {
    /// Finished steps in it.
    pub step: u64,
    /// Finished epochs in it.
    pub epoch: u32,
    /// When it was written.
    pub time: k8s_openapi::apimachinery::pkg::apis::meta::v1::Time,
    /// URI of its folder.
    pub uri: String,
}

/// Seconds of an accelerator, times the units that a pod holds: two units for a minute are 120.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AcceleratorSeconds {
    /// While pods held the units: from when a pod got its node until its container ended.
    pub allocated: u64,
    /// While pods computed steps.
    pub busy: u64,
    /// The same for single pods: the last ones, and those before in one line.
    #[schemars(length(max = 128))]
    pub pods: Vec<PodSeconds>,
}

/// What one pod held.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PodSeconds {
    /// UID of the pod; empty for all those before.
    pub uid: String,
    /// While it held the units.
    pub allocated: u64,
    /// While it computed steps.
    pub busy: u64,
}

/// A gate and what was reached.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GateResult {
    /// The metric.
    pub metric: MetricName,
    /// What is asked, such as `>= 0.95`.
    pub required: String,
    /// What was reached; absent where the run did not measure it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed: Option<f64>,
    /// Whether it is enough.
    pub passed: bool,
}
