//! The three kinds of the API group `sconce.dev/v1alpha1`.
//!
//! ```text
//!   AcceleratorProfile          what one unit of an accelerator is, once per cluster
//!        ▲         ▲
//!        │ by name │
//!   ModelTraining ◄── ModelDeployment
//!        │  trainingRef   │
//!        ▼                ▼
//!   Job, PVC, plan     Deployment, Service, plan
//! ```
//!
//! What a model is, and how it learns, is said by the types of [`sconce_contract`], embedded here as they
//! stand. Every rule is CEL and every default is in the schema: there is no webhook, and a stored object
//! differs from its manifest by the defaults alone. Read [`training`] first; `crdgen` writes `yaml/`.

#![allow(
    clippy::duplicated_attributes,
    reason = "each printcolumn of a kind says its type anew"
)]

pub mod accelerator;
pub mod autoscaling;
pub mod cache;
mod compact;
pub mod condition;
pub mod custom;
pub mod deployment;
pub mod labels;
pub mod manifest;
#[cfg(feature = "offline")]
pub mod offline;
pub mod overrides;
pub mod quantity;
pub mod resources;
pub mod rollout;
pub mod scheduling;
mod toleration;
pub mod training;
mod upstream;

pub use accelerator::{AcceleratorProfile, AcceleratorProfileSpec, AcceleratorProfileStatus};
pub use deployment::{ModelDeployment, ModelDeploymentSpec, ModelDeploymentStatus};
pub use quantity::Quantity;
pub use training::{ModelTraining, ModelTrainingSpec, ModelTrainingStatus};

/// API group of all three kinds.
pub const GROUP: &str = "sconce.dev";
/// Its only version.
pub const VERSION: &str = "v1alpha1";
