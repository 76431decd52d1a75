//! The operator: three controllers of one shape, and what they share.
//!
//! ```text
//!   watches ──► dereference ──► validate ──► build ──► apply ──► status ──► API server
//!   (stores)       IO, reads     pure         pure     IO, writes  pure
//!                                  │ Problem                        ▲
//!                                  └────────────────────────────────┘
//! ```
//!
//! [`training`] and [`deployment`] each have these five steps, one file per step; their `mod.rs` reads like the
//! sentence above. What a user can cause is a [`problem::Problem`] and ends as a condition; an [`error::Error`]
//! is the API server's, and is tried again. [`profile`] has no children, and only counts and tells. Read [`training`]
//! first.

pub mod accelerator;
pub mod apply;
pub mod ask;
pub mod conditions;
pub mod connection;
pub mod context;
pub mod deployment;
pub mod devices;
pub mod difference;
pub mod error;
#[cfg(test)]
mod fields;
pub mod fit;
pub mod fresh;
pub mod image_volume;
pub mod index;
pub mod kueue;
pub mod labels;
pub mod leader;
pub mod liveness;
pub mod metrics;
pub mod mounts;
pub mod names;
pub mod observed;
pub mod overrides;
pub mod owner;
pub mod pace;
#[cfg(feature = "plugin")]
pub mod plugin;
pub mod pod;
pub mod priority;
pub mod probes;
pub mod problem;
pub mod profile;
pub mod progress;
pub mod reason;
pub mod reconcile;
#[cfg(feature = "plugin")]
pub mod rehearsal;
pub mod runtime_class;
pub mod scaling;
pub mod schema;
pub mod seen;
#[cfg(test)]
mod sequences;
pub mod told;
pub mod training;
pub mod volumes;
pub mod watches;
pub mod woken;
