//! How the number of a deployment's pods follows its load.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use sconce_contract::Duration;
use sconce_contract::validation::rules;
use serde::{Deserialize, Serialize};

/// Decisions that a status keeps.
pub const DECISIONS_KEPT: usize = 10;

/// How the number of pods follows the load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(&[
    (
        "self.mode == 'Managed' || !(has(self.minReplicas) || has(self.maxReplicas) || has(self.target) || has(self.window) || has(self.scaleDownDelay))",
        "autoscaling.minReplicas, maxReplicas, target, window and scaleDownDelay go with mode Managed: with External the other autoscaler has bounds of its own, with None replicas says how many",
    ),
    (
        "self.mode != 'Managed' || has(self.maxReplicas)",
        "autoscaling.mode Managed needs maxReplicas: the most pods that the load may bring up",
    ),
    (
        "!has(self.minReplicas) || self.minReplicas >= 1",
        "autoscaling.minReplicas must be at least 1: without a pod nothing would hold the requests that come; to stop serving, set mode None and replicas 0",
    ),
    (
        "!has(self.maxReplicas) || (has(self.minReplicas) ? self.minReplicas : 1) <= self.maxReplicas",
        "autoscaling.maxReplicas must not be below minReplicas (1 where it is absent)",
    ),
    (
        "!has(self.window) || (duration(self.window) >= duration('2s') && duration(self.window) <= duration('10m'))",
        "autoscaling.window must be from 2s to 10m",
    ),
    (
        "!has(self.scaleDownDelay) || duration(self.scaleDownDelay) <= duration('24h')",
        "autoscaling.scaleDownDelay must be at most 24h",
    ),
])))]
pub struct Autoscaling {
    /// Who says how many pods there are.
    pub mode: AutoscalingMode,
    /// With Managed: fewest pods (1 to 1000). Absent: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000))]
    pub min_replicas: Option<i32>,
    /// With Managed, which needs it: most pods (1 to 1000).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_replicas: Option<i32>,
    /// With Managed: how busy a pod is to be. Absent: seven tenths of what its server computes at a time, which is a
    /// request per processor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<ScalingTarget>,
    /// With Managed: time over which the load is averaged while no request has to wait, such as `30s` (2s to 10m);
    /// a tenth of it, and at least 2 s, as soon as requests wait. Absent: 30s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Duration>,
    /// With Managed: time for which fewer pods must have been enough before there are fewer, such as `2m` (at most
    /// 24h). Absent: 2m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale_down_delay: Option<Duration>,
}

/// Who says how many pods there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AutoscalingMode {
    /// `replicas`, and nobody changes it.
    None,
    /// `replicas`, which another autoscaler, such as a HorizontalPodAutoscaler, sets through `/scale`.
    External,
    /// The operator, by the load that the pods tell. `replicas` is left out.
    Managed,
}

/// How busy a pod is to be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScalingTarget {
    /// Requests that are computed or wait, per pod, as a mean over time (0.1 to 100000).
    #[schemars(range(min = 0.1, max = 100_000.0))]
    pub in_flight_per_replica: f64,
}

/// A change of the number of pods, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScaleDecision {
    /// When it was decided.
    pub time: Time,
    /// Pods wanted before.
    pub from: i32,
    /// Pods wanted since.
    pub to: i32,
    /// One word: Queueing, AboveTarget, BelowTarget, BelowMinimum or AboveMaximum.
    pub reason: String,
    /// One sentence.
    pub message: String,
    /// What was known of the load. Absent where the bounds alone asked for the change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inputs: Option<ScaleInputs>,
}

/// What a decision was made of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScaleInputs {
    /// Requests computed or waiting on all pods together: a mean over `window`, or, where the number went down, the
    /// highest that was during it.
    pub in_flight: f64,
    /// Those of them that waited, on all pods together.
    pub queued: f64,
    /// Requests per pod that were aimed at.
    pub target: f64,
    /// Time that the load was looked at.
    pub window: Duration,
    /// Pods that answered.
    pub ready_replicas: i32,
    /// Pods for which there are units of the accelerator, as far as that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub units_allow: Option<i32>,
}
