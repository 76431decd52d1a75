//! Kubernetes without nodes, on 127.0.0.1: etcd, the API server and, when a test asks for them,
//! the controller manager and the scheduler. Everything is real but the kubelets.
//!
//! ```no_run
//! # async fn example() -> sconce_tests::Result<()> {
//! let control_plane = sconce_tests::ControlPlane::builder().scheduler().start().await?;
//! let client = control_plane.client();
//! # Ok(()) }
//! ```

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use http::Request;
use kube::Client;
use tempfile::TempDir;

use crate::component::Component;
use crate::kubeconfig::Identity;
use crate::layout::Layout;
use crate::{Error, Result, access, audit, ports, tools};

/// Far beyond the two seconds that a start takes: a machine may be busy with a build.
const PATIENCE: Duration = Duration::from_secs(90);
const POLL: Duration = Duration::from_millis(20);
/// Of no worth outside one run: the API server listens on loopback only, and forgets it.
const TOKEN: &str = "administrator-of-a-cluster-on-loopback";

/// A part of the control plane, in the order in which they start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Where all objects lie.
    Etcd,
    /// The API.
    ApiServer,
    /// Jobs, deployments, endpoint slices, garbage collection, service accounts.
    ControllerManager,
    /// Binds pods to nodes.
    Scheduler,
}

/// What is to be started.
#[derive(Default)]
pub struct Builder {
    controller_manager: bool,
    scheduler: bool,
    audited: bool,
    unthrottled: bool,
    feature_gates: Vec<&'static str>,
}

/// A running control plane. Dropping it kills its processes and removes its files.
pub struct ControlPlane {
    // Before the folder: the processes end before their files go.
    running: Vec<(Part, Component)>,
    binaries: PathBuf,
    layout: Layout,
    url: String,
    client: Option<Client>,
    _folder: TempDir,
}

impl Builder {
    /// Adds the controller manager: children of Jobs and Deployments, garbage collection,
    /// namespaces' service accounts.
    #[must_use]
    pub fn controller_manager(mut self) -> Self {
        self.controller_manager = true;
        self
    }

    /// Adds the scheduler.
    #[must_use]
    pub fn scheduler(mut self) -> Self {
        self.scheduler = true;
        self
    }

    /// Records each write of a service account, for [`crate::audit`].
    #[must_use]
    pub fn audited(mut self) -> Self {
        self.audited = true;
        self
    }

    /// Lifts the limits in requests per second and the small number of workers by which Kubernetes' own controllers
    /// would hide how fast another one is.
    #[must_use]
    pub fn unthrottled(mut self) -> Self {
        self.unthrottled = true;
        self
    }

    /// Turns on a feature that is off by default in the version that is tested.
    #[must_use]
    pub fn feature(mut self, gate: &'static str) -> Self {
        self.feature_gates.push(gate);
        self
    }

    /// Starts everything and returns when the API server is ready.
    ///
    /// # Errors
    /// When Kubernetes cannot be built, or a component stops or is not ready in time.
    pub async fn start(self) -> Result<ControlPlane> {
        let binaries = tokio::task::spawn_blocking(tools::kubernetes)
            .await
            .map_err(|error| Error::Unmet(format!("the build of Kubernetes was cut off: {error}")))??;
        let folder = tempfile::Builder::new().prefix("sconce-").tempdir();
        let folder = folder.map_err(Error::file("create", &std::env::temp_dir()))?;
        let layout = Layout {
            folder: folder.path().to_owned(),
            api_port: ports::free()?,
            etcd_client_port: ports::free()?,
            etcd_peer_port: ports::free()?,
            controller_manager: self.controller_manager,
            audited: self.audited,
            unthrottled: self.unthrottled,
            feature_gates: self.feature_gates,
        };
        if self.audited {
            audit::write_policy(&layout.audit_policy())?;
        }
        let tokens = format!("{TOKEN},administrator,administrator,system:masters\n");
        std::fs::write(layout.tokens(), tokens).map_err(Error::file("write", folder.path()))?;
        let mut control_plane = ControlPlane {
            running: Vec::new(),
            binaries,
            url: layout.url(),
            layout,
            client: None,
            _folder: folder,
        };
        control_plane.start(Part::Etcd)?;
        control_plane.start(Part::ApiServer)?;
        control_plane.ready().await?;
        if self.controller_manager {
            control_plane.start(Part::ControllerManager)?;
        }
        if self.scheduler {
            control_plane.start(Part::Scheduler)?;
        }
        if self.controller_manager {
            // Its first visible work, without which no pod is admitted.
            let client = control_plane.client();
            control_plane
                .answers(&client, "/api/v1/namespaces/default/serviceaccounts/default")
                .await?;
        }
        Ok(control_plane)
    }
}

impl ControlPlane {
    /// A control plane of etcd and the API server, to which more can be added.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// A client with all rights.
    ///
    /// # Panics
    /// Never: the client exists once [`Builder::start`] has returned.
    #[must_use]
    #[expect(clippy::expect_used, reason = "start() returns only after ready() has set it")]
    pub fn client(&self) -> Client {
        self.client.clone().expect("ready() has set the client")
    }

    /// A kubeconfig with all rights, for programs.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.layout.kubeconfig()
    }

    /// The API server's address, as in `https://127.0.0.1:20000`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The folder with the kubeconfigs and each component's log; gone with the control plane.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.layout.folder
    }

    /// The process of a part, where it runs.
    #[must_use]
    pub fn pid(&self, part: Part) -> Option<u32> {
        self.running
            .iter()
            .find(|(running, _)| *running == part)
            .map(|(_, component)| component.pid())
    }

    /// Kills a part, as a crash would; its state stays. Returns when the process is gone.
    pub fn kill(&mut self, part: Part) {
        self.running.retain(|(running, _)| *running != part);
    }

    /// Starts a part that was killed, at its old address, and waits for the API server.
    ///
    /// # Errors
    /// When it stops, or the API server is not ready in time.
    pub async fn restart(&mut self, part: Part) -> Result<()> {
        self.kill(part);
        self.start(part)?;
        self.ready().await
    }

    /// Waits until the API is described at `/openapi/v2`, which kubectl and helm need; the API
    /// server puts the description together after it has said that it is ready.
    ///
    /// # Errors
    /// When a component stops or the description is not there in time.
    pub async fn openapi_ready(&mut self) -> Result<()> {
        let client = self.client();
        self.answers(&client, "/openapi/v2").await
    }

    /// The writes that were recorded so far, where the control plane is [`Builder::audited`].
    ///
    /// # Errors
    /// When the record cannot be read.
    pub fn writes(&self) -> Result<audit::Writes> {
        audit::read(&self.layout.audit_log())
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    pub(crate) fn token(&self) -> &str {
        TOKEN
    }

    fn start(&mut self, part: Part) -> Result<()> {
        let (name, arguments) = self.layout.command_line(part);
        let component = Component::start(&self.binaries, name, &arguments, self.folder())?;
        self.running.push((part, component));
        Ok(())
    }

    async fn ready(&mut self) -> Result<()> {
        // The API server writes its certificate, then the key: with the key, both are there.
        let key = self.layout.key();
        let started = Instant::now();
        while !key.is_file() {
            self.check(started, "wrote no certificate")?;
            tokio::time::sleep(POLL).await;
        }
        let identity = Identity::Token(TOKEN);
        let client = access::client(&self.write_kubeconfig("administrator", &identity)?).await?;
        self.answers(&client, "/readyz").await?;
        // Made by the API server itself, a moment later; every test wants it.
        self.answers(&client, "/api/v1/namespaces/default").await?;
        self.client = Some(client);
        Ok(())
    }

    async fn answers(&mut self, client: &Client, path: &str) -> Result<()> {
        let started = Instant::now();
        loop {
            let request = Request::get(path)
                .body(Vec::new())
                .map_err(|error| Error::Unmet(error.to_string()))?;
            if client.request_text(request).await.is_ok() {
                return Ok(());
            }
            self.check(started, &format!("did not answer {path}"))?;
            tokio::time::sleep(POLL).await;
        }
    }

    fn check(&mut self, started: Instant, problem: &str) -> Result<()> {
        for (_, component) in &mut self.running {
            component.check()?;
        }
        if started.elapsed() < PATIENCE {
            return Ok(());
        }
        let problem = format!("{problem} within {} s", PATIENCE.as_secs());
        match self.running.iter().find(|(part, _)| *part == Part::ApiServer) {
            Some((_, component)) => Err(component.problem(problem)),
            None => Err(Error::Unmet(
                "the API server was killed: restart it first".to_owned(),
            )),
        }
    }
}
