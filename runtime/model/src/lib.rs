//! A model on disk: network, weights, preprocessing and manifest.
//!
//! ```text
//!   trainer: Draft ──► save ──► OUTPUT/<digest>/            server: Model ◄── load
//!                                 manifest.json     ──► size and SHA-256 of ─┐  │
//!                                 network.json      ──► Network              │  ├─ Sequential (engine)
//!                                 preprocess.json   ──► Preprocess  ◄────────┤  ├─ encode
//!                                 model.safetensors ──► weights     ◄────────┘  └─ label
//!                                 model.h5          ──► keras (where asked for; no server reads it)
//! ```
//!
//! The layout is [`sconce_contract::artifact`]'s. Nothing in an artifact is believed: every file is checked
//! against the manifest before it is parsed, and the parts against each other before they are used. Read
//! [`load`](Model::load) in `load.rs` first.

mod cached;
pub mod encode;
mod error;
mod keras;
mod load;
mod model;
mod save;
mod signature;
pub mod text;
pub mod weights;

pub use cached::Cached;
pub use error::ModelError;
pub use model::Model;
pub use save::{Draft, save, save_with};
