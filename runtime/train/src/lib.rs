//! The trainer: a plan and a table in, a measured artifact and a report out.
//!
//! ```text
//!   plan.json ─► plan ─► source ─► target, fit ─► split, features ─► learn ─► evaluate ─► save ─► report
//!               (checked (bytes   (what is       (three parts)         │  ▲     (held-out  (store, (exit code,
//!                before   → f32)   predicted)              checkpoint ◄┘  │      rows)      model)  4 KiB)
//!                any data)                              (and back)  watch  stop
//!                                                             track ◄┤      ▲
//!                              observe: /v1/progress /metrics /livez ┘      └ SIGTERM, SIGINT
//! ```
//!
//! What a person sees of it besides: the curve in the tools of [`track`], and beside the artifact its [`card`].
//!
//! With a `search`, many trials learn before the one that is measured, see [`mod@search`].
//!
//! The steps run one after another on one thread, see [`run`], which is the file to read first. A second thread
//! answers requests and hears signals; [`supervise`] waits for both and turns whatever happens into a
//! [`sconce_contract::Report`].

#![forbid(unsafe_code)]

pub mod arguments;
pub mod card;
pub mod checkpoint;
pub mod data;
pub mod display;
pub mod epoch;
pub mod error;
pub mod evaluate;
pub mod features;
pub mod fit;
pub mod follow;
pub mod group;
pub mod incumbent;
pub mod inputs;
pub mod integers;
pub mod learn;
pub mod lesson;
pub mod locations;
pub mod moments;
pub mod observe;
pub mod part;
pub mod plan;
pub mod reader;
pub mod report;
pub mod room;
pub mod run;
pub mod saving;
pub mod scratch;
pub mod search;
pub mod source;
pub mod split;
pub mod supervise;
pub mod table;
pub mod target;
pub mod together;
pub mod track;
pub mod watch;

pub use error::TrainError;
