//! What the operator and the pods say to each other: plain data with serde, nothing else.
//!
//! ```text
//!        operator                                      pod
//!   ┌───────────────┐   TrainingPlan, ServingPlan   ┌──────────┐
//!   │ spec → plan   │ ────────────────────────────► │ trainer, │
//!   │               │   Progress, LoadSnapshot      │ server   │
//!   │ status ◄──────│ ◄──────────────────────────── │          │
//!   │               │   Report (at exit)            └────┬─────┘
//!   └───────────────┘                                    │ Manifest, Preprocess
//!                                                        ▼
//!                                                     artifact
//! ```
//!
//! The custom resources embed [`Network`], [`Dataset`], [`Hyperparameters`], [`Search`] and [`Evaluation`] as
//! they stand, so their CEL rules are written here, next to the field they guard; this crate knows nothing of
//! Kubernetes beyond that vocabulary. Read [`plan`] first.

pub mod artifact;
pub mod cache;
pub mod checkpoint;
pub mod credentials;
pub mod dataset;
pub mod device;
pub mod digest;
pub mod duration;
pub mod evaluation;
pub mod history;
pub mod hyperparameters;
pub mod network;
pub mod nodes;
pub mod plan;
pub mod progress;
pub mod report;
pub mod search;
pub mod validation;

pub use artifact::{
    Artifact, ClassFacts, ColumnFacts, Facts, Feature, FileDigest, Manifest, NumberFacts, Preprocess,
    RowsLeftOut, Target, TextFacts, TextWords, Vocabulary,
};
pub use cache::{CacheOutcome, CachePlan, CacheReport};
pub use checkpoint::{Checkpoint, CheckpointMark, CheckpointPlan, Every};
pub use dataset::{
    Categorical, Dataset, DatasetFormat, Encoding, Images, MalformedRows, Missing, Split, Text, UnknownWords,
};
pub use device::Device;
pub use duration::Duration;
pub use evaluation::{Evaluation, Gate, Goal, Incumbent, Metric, MetricName, MetricSplit, Rival};
pub use history::History;
pub use hyperparameters::{
    ClassWeights, EarlyStopping, Hyperparameters, Loss, Optimizer, OptimizerType, Regularization, Schedule,
    ScheduleType,
};
pub use network::{Activation, Dense, Dropout, Input, Layer, LayerKind, Network};
pub use nodes::Nodes;
pub use plan::{Mount, Served, ServingPlan, TrainingPlan, Warmup};
pub use progress::{LoadSnapshot, Progress, TrainingPhase, Trials};
pub use report::{Failure, FailureClass, Report, Work};
pub use search::{BestTrial, Search, SearchRecord, SearchReport};
