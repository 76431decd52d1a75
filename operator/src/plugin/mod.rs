//! `kubectl sconce`: what people ask a cluster beyond `kubectl get`, with the rights that they have anyway.
//!
//! ```text
//!   kubeconfig ──► cluster ──► gathered objects ──► lines on a terminal
//!                    IO, reads     plain values       pure
//! ```
//!
//! Each command is a module: it reads what it needs and hands plain values to a pure function that renders them.
//! [`promote`] alone writes, and one annotation only. Read [`why`] first.

pub mod cluster;
pub mod error;
pub mod logs;
pub mod plot;
pub mod promote;
pub mod rehearse;
pub mod table;
pub mod top;
pub mod why;

pub use error::PluginError;
