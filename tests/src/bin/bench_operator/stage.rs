//! A control plane of its own for each contender, so that nothing of the last one is in the way.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use kube::Client;
use sconce_tests::access;
use sconce_tests::audit::Writes;
use sconce_tests::hollow::{CLAIM, Hollow};
use sconce_tests::node::FakeNode;
use sconce_tests::objects::gpu_profile;
use sconce_tests::{ControlPlane, world};
use serde_json::json;

use crate::contender::{Contender, Kind};
use crate::load::{self, Object, Outcome, Pace};
use crate::{Options, Result, note};

/// GPUs of a node. One pod takes one.
const GPUS: usize = 16;
/// Clients that create at the same time.
const CLIENTS: usize = 8;
/// Namespace of all objects.
pub const NAMESPACE: &str = "bench";
/// The profile and the resource that they ask for.
pub const PROFILE: &str = "simulated";
/// Without a write for that long, a contender has said all it has to say.
const SILENCE: Duration = Duration::from_secs(3);

/// A control plane, simulated nodes and a contender.
pub struct Stage {
    /// Who is measured. Before the control plane: it ends first.
    pub contender: Contender,
    kind: Kind,
    client: Client,
    hollow: Hollow,
    plane: ControlPlane,
    kept: Option<PathBuf>,
}

impl Stage {
    /// With room for that many pods.
    pub async fn open(kind: Kind, pods: usize, options: &Options) -> Result<Self> {
        let plane = ControlPlane::builder()
            .controller_manager()
            .scheduler()
            .audited()
            .unthrottled()
            .start()
            .await?;
        let client = plane.client();
        world::apply(
            &client,
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}),
        )
        .await?;
        for node in 0..pods.div_ceil(GPUS) {
            FakeNode::named(&format!("gpu-{node}"))
                .resource("cpu", "256")
                .resource("memory", "2Ti")
                .resource("nvidia.com/gpu", &GPUS.to_string())
                .create(&client)
                .await?;
        }
        let log = plane.folder().join("contender.log");
        let contender = kind.start(&plane, &options.operator, log.clone()).await?;
        if kind == Kind::Ours {
            world::apply(&client, gpu_profile(PROFILE)).await?;
            // One for all artifacts, as a team has one.
            Hollow::claim(&client, NAMESPACE, CLAIM).await?;
        }
        let usage = contender.usage()?;
        note(&format!(
            "{kind:?} without objects: cpu {:.2} s, {:.1} MiB",
            usage.cpu, usage.resident
        ));
        if let Some(folder) = &options.logs {
            std::fs::create_dir_all(folder)?;
        }
        let kept = options.logs.as_ref().map(|folder| {
            let at = Instant::now();
            folder.join(
                format!("{kind:?}-{at:?}.log").replace(|c: char| !c.is_ascii_alphanumeric() && c != '.', "-"),
            )
        });
        Ok(Self {
            contender,
            kind,
            hollow: Hollow::start(client.clone()),
            client,
            plane,
            kept,
        })
    }

    /// Creates objects and waits until all are done.
    pub async fn load(&self, object: Object, count: usize, pace: Pace) -> Result<Outcome> {
        let mut clients = Vec::new();
        for _ in 0..CLIENTS {
            clients.push(access::client(&self.plane.kubeconfig()).await?);
        }
        let outcome = load::run(&self.client, clients, object, count, pace).await;
        if outcome.is_err() {
            note(&format!("{} pods were started", self.hollow.started()));
        }
        outcome
    }

    /// The contender's writes so far, without those of a lease.
    pub fn writes(&self) -> Result<Writes> {
        Ok(self.plane.writes()?.of(self.kind.user()))
    }

    /// Waits until the contender writes no more.
    pub async fn quiet(&self) -> Result {
        let (mut count, mut since) = (self.writes()?.count(), Instant::now());
        while since.elapsed() < SILENCE {
            tokio::time::sleep(Duration::from_millis(250)).await;
            let now = self.writes()?.count();
            if now != count {
                (count, since) = (now, Instant::now());
            }
        }
        Ok(())
    }

    /// Restarts our operator; see [`Contender::restart`].
    pub async fn restart(&mut self, objects: usize) -> Result<Duration> {
        self.contender.restart(objects).await
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Some(kept) = &self.kept {
            // A log that cannot be kept is no reason to lose the figures.
            let _ = std::fs::copy(self.plane.folder().join("contender.log"), kept);
            let _ = std::fs::copy(
                self.plane.folder().join("audit.log"),
                kept.with_extension("audit"),
            );
        }
    }
}
