//! Clusters to develop and test on, made from source where nothing can be pulled.
//!
//! ```text
//!   tests/tests/*.rs                 make demo, bin/cluster.rs
//!        │                                      │
//!        ▼                                      ▼
//!  control_plane ── node, access         kind ── images (ours)
//!  etcd, API server, … on 127.0.0.1        │        │
//!        │                                 ▼        ▼
//!        │                          node_image ── docker ── daemon (a private one)
//!        ▼                                 │        │
//!      tools  ◄────────────────────────────┘     packages (apt)
//!        │  Kubernetes, kind, helm and others from source
//!        ▼
//!      cache ── process
//! ```
//!
//! [`ControlPlane`] carries the controller, admission and fault tests: it is up in about
//! two seconds, needs neither root nor Docker, and several run side by side. [`kind`] carries
//! everything that needs pods to run. Read `control_plane.rs` first.
//!
//! A promise of the operator's is tested in a [`room`]: a namespace on a control plane that a file's tests share
//! ([`world`]), with the real [`operator`] at work, and a [`kubelet`], a [`trainer`] and a [`server`] that only
//! say they were. What becomes of it when writes fail or the operator dies is tested in a [`scene`]: a room whose operator
//! works behind a proxy ([`fault`]), in a table of [`scenario`]s whose ends are compared ([`reference`]).
//!
//! What is kept in stores of objects is tested with real ones as processes ([`clouds`]), over a [`line`] that may be cut.
//! What a training tells to other tools is told by real trainers ([`learners`]) to those tools themselves ([`mlflow`]).
//!
//! A promise that takes real containers is tested on a [`site`]: a namespace in the cluster that runs pods, with small
//! [`workload`]s, [`borrowed`] images, [`traffic`], tables on the [`web`] and models on a [`shelf`]; an [`inspector`] looks at
//! folders of the node, a process is [`frozen`], and the [`release`] has other values meanwhile.

pub mod access;
pub mod audit;
mod azure;
pub mod binaries;
pub mod borrowed;
pub mod bounds;
pub mod cache;
pub mod choice;
pub mod clouds;
pub mod component;
pub mod control_plane;
pub mod daemon;
pub mod docker;
pub mod error;
pub mod fault;
pub mod fleet;
pub mod frameworks;
pub mod frozen;
mod hadoop;
pub mod hollow;
pub mod images;
pub mod inspector;
pub mod judges;
pub mod kind;
pub mod kubeconfig;
pub mod kubelet;
pub mod kubelet_logs;
pub mod kueue;
mod layout;
pub mod learners;
mod leftovers;
pub mod line;
pub mod metrics_api;
pub mod mlflow;
pub mod models;
mod network;
pub mod node;
pub mod node_image;
pub mod objects;
pub mod operator;
pub mod packages;
pub mod person;
pub mod ports;
pub mod process;
mod proxy;
pub mod reference;
pub mod release;
pub mod room;
pub mod scenario;
pub mod scene;
pub mod server;
pub mod shelf;
pub mod site;
mod storage;
pub mod tools;
pub mod traffic;
pub mod trainer;
pub mod wait;
pub mod web;
mod witness;
pub mod workload;
pub mod world;

pub use control_plane::{ControlPlane, Part};
pub use error::{Error, Result};
