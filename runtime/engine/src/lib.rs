//! Layers with correct gradients, losses, optimisers with saveable state, schedules and metrics on candle.
//!
//! ```text
//!   Network (YAML) ──► Sequential ── forward ─────────► outputs ──► metrics
//!                          │                            [rows, outputs]
//!                          ▼
//!     Rows ──► Learner: plan, or graph ──► loss, gradient ──► optimisers ◄── schedules (learning rate)
//!                          ▲                                      │
//!                          └────────────── weights ◄──────────────┘
//! ```
//!
//! A feed-forward or convolutional network on the CPU learns by a [`plan`], with norms and residuals: the whole step is
//! known beforehand and runs over memory that is there, and threads lead parts of the rows where that pays. What has no
//! plan (embeddings, recurrent layers, attention) learns by [`graph`], candle's record of each step, and on a device of
//! its own by [`remote`], the same with all that follows computed there. All say the same.
//!
//! | to add | write one file in | and one line in |
//! |---|---|---|
//! | a layer | `layers/` | `layers::stages`; `Stage::planned`, a file in `plan/` and a line in `plan::stage` and `plan::build` if the plan is to know it. Its fields, shape and weights are said in `sconce_contract::network`, one file and one line in `table.rs` |
//! | a loss | `losses/` | `losses::loss`, `plan::loss::loss` |
//! | an optimiser | `optimisers/` | `optimisers::rule` |
//! | a schedule | `schedules/` | `schedules::learning_rate` |
//! | a metric | `metrics/` | `metrics::TABLE` |
//!
//! Every random number comes from [`random`], keyed by the seed, what it is for and which layer, epoch or step
//! it is for; so a run is the same bits for a seed and a thread count, and could go on at any step.
//!
//! Read [`sequential`] first, then [`learner`].

// `plan::product` alone hands memory to gemm, and proves its bounds.
#![deny(unsafe_code)]

pub mod control_groups;
pub mod device;
pub mod error;
mod gradient;
mod graph;
pub mod layers;
pub mod learner;
pub mod losses;
pub mod metrics;
pub mod names;
pub mod optimisers;
mod parameters;
mod plan;
pub mod random;
mod remote;
pub mod schedules;
pub mod sequential;
pub mod share;
mod simd;
pub mod threads;
mod weights;

#[cfg(test)]
mod gradient_check;

pub use error::EngineError;
pub use learner::{Learner, Rows};
pub use losses::Objective;
pub use optimisers::Optimiser;
pub use random::{Purpose, Random};
pub use sequential::Sequential;
pub use share::{AllReduce, Share};
