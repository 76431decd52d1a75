//! Layers with correct gradients, losses, optimisers with saveable state, schedules and metrics on candle.
//!
//! ```text
//!   Network (YAML) ──► Sequential ── forward ─────────────► outputs ──► metrics
//!                          │  ▲                             [rows, outputs]
//!             logits while │  │ weights, in place
//!             training     ▼  │
//!                        losses ── gradients ──► optimisers ◄── schedules (learning rate per epoch)
//!                       └──────────── Learner::step ────────────┘
//! ```
//!
//! | to add | write one file in | and one line in |
//! |---|---|---|
//! | a layer | `layers/` | `layers::stages` |
//! | a loss | `losses/` | `losses::loss` |
//! | an optimiser | `optimisers/` | `optimisers::rule` |
//! | a schedule | `schedules/` | `schedules::learning_rate` |
//! | a metric | `metrics/` | `metrics::TABLE` |
//!
//! Every random number comes from [`random`], keyed by the seed, what it is for and which layer, epoch or step
//! it is for; so a run is the same bits for a seed and a thread count, and could go on at any step.
//!
//! Read [`sequential`] first, then [`learner`].

#![forbid(unsafe_code)]

pub mod error;
pub mod layers;
pub mod learner;
pub mod losses;
pub mod metrics;
pub mod names;
pub mod optimisers;
pub mod random;
pub mod schedules;
pub mod sequential;
pub mod threads;
mod weights;

#[cfg(test)]
mod gradient_check;

pub use error::EngineError;
pub use learner::Learner;
pub use optimisers::Optimiser;
pub use random::{Purpose, Random};
pub use sequential::Sequential;
