//! The server: one model, several protocols, probes, drain.
//!
//! ```text
//!   options ─► life ─► load ─► Served (model, columns) ──────────────┐
//!               │                                                    │
//!   client ─► listen ─► http ─► protocols ─► find                    │
//!                        │        (one file each)                    │
//!                        ├─► body        limits of size, time, memory│
//!                        ├─► admission   slot, queue or 429          │
//!                        ├─► protocols ─► parse ─► Question ─► answer┤
//!                        └─► answers     room until the client has it┘
//!   kubelet, scaler, Prometheus ─► listen ─► observe ─► probes, load, metrics
//! ```
//!
//! Read [`http`] first: the way of a request.

#![forbid(unsafe_code)]

pub mod admission;
pub mod answers;
pub mod body;
pub mod http;
pub mod life;
pub mod listen;
pub mod load;
pub mod metrics;
pub mod observe;
pub mod options;
pub mod parse;
pub mod prepare;
pub mod protocols;
pub mod refusal;
pub mod reply;
pub mod served;
pub mod server;
pub mod stall;
pub mod usage;
