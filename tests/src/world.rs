//! One control plane with the chart's CRDs and roles on it, and one operator, for all tests of a file.
//!
//! It is there while a test uses it. A static is never dropped, and would leave its files behind; the last test
//! that lets go of this one takes it down, after a moment in which the next test may have begun.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::{Mutex as AsyncMutex, oneshot};

use crate::node::FakeNode;
use crate::operator::{Operator, Options, SERVER_IMAGE};
use crate::wait::until;
use crate::{ControlPlane, Error, Part, Result, access};

/// How long the last user waits for the next one.
const LINGER: Duration = Duration::from_millis(250);
/// Node that pods are bound to.
pub const NODE: &str = "worker";

static WORLD: AsyncMutex<Option<Arc<World>>> = AsyncMutex::const_new(None);
static USERS: AtomicUsize = AtomicUsize::new(0);

/// What a file's tests need besides etcd and the API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// The CRDs and roles, and nobody who acts on objects.
    Admission,
    /// The controller manager and the operator. Tests bind pods themselves.
    Controllers,
    /// The scheduler as well, with one node.
    Scheduling,
    /// As Controllers, with an API server that serves image volumes.
    ImageVolumes,
}

/// A control plane with Sconce on it. Its processes end and its files go when it is dropped.
pub struct World {
    administrator: PathBuf,
    options: Options,
    operator: Mutex<Option<Operator>>,
    // Dropped by the thread in whose runtime it was made: its client lives in that runtime.
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// The use of a world by one test.
pub struct Lease(Arc<World>);

impl std::ops::Deref for Lease {
    type Target = World;

    fn deref(&self) -> &World {
        &self.0
    }
}

impl Lease {
    /// The world of this test's process, which is started where there is none.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn take(extent: Extent) -> Result<Self> {
        USERS.fetch_add(1, Ordering::SeqCst);
        let mut shared = WORLD.lock().await;
        let world = match &*shared {
            Some(world) => Ok(Arc::clone(world)),
            None => World::start(extent).await.map(Arc::new),
        };
        match world {
            Ok(world) => {
                *shared = Some(Arc::clone(&world));
                Ok(Self(world))
            }
            Err(error) => {
                USERS.fetch_sub(1, Ordering::SeqCst);
                Err(error)
            }
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if USERS.fetch_sub(1, Ordering::SeqCst) > 1 {
            return;
        }
        thread::sleep(LINGER);
        // Where the lock is taken, somebody is about to become a user.
        if let Ok(mut shared) = WORLD.try_lock()
            && USERS.load(Ordering::SeqCst) == 0
        {
            shared.take();
        }
    }
}

impl World {
    async fn start(extent: Extent) -> Result<Self> {
        let (report, told) = oneshot::channel();
        let (end, ended) = oneshot::channel::<()>();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build();
            let Ok(runtime) = runtime else { return };
            runtime.block_on(async {
                let (mut kept, outcome) = match control_plane(extent).await {
                    Ok((control_plane, places)) => (Some(control_plane), Ok(places)),
                    Err(error) => (None, Err(error)),
                };
                // Whoever asked may be gone; then there is nobody to serve.
                if report.send(outcome).is_ok() && kept.is_some() {
                    let _ = ended.await;
                }
                drop(kept.take());
            });
        });
        let lost = || Error::Unmet("the thread of the control plane ended".to_owned());
        let places = told.await.map_err(|_| lost())??;
        let options = Options {
            kubeconfig: places.operator,
            log: places.folder.join("operator.log"),
            identity: "sconce-0".to_owned(),
            namespace: None,
            server_image: SERVER_IMAGE.to_owned(),
            node_cache: None,
            program: None,
        };
        let operator = match extent {
            Extent::Admission => None,
            Extent::Controllers | Extent::Scheduling | Extent::ImageVolumes => {
                Some(Operator::start(&options)?)
            }
        };
        Ok(Self {
            administrator: places.administrator,
            options,
            operator: Mutex::new(operator),
            end: Some(end),
            thread: Some(thread),
        })
    }

    /// A client with all rights, for the runtime of the caller.
    ///
    /// # Errors
    /// When the kubeconfig cannot be used.
    pub async fn client(&self) -> Result<Client> {
        access::client(&self.administrator).await
    }

    /// A kubeconfig with all rights, for programs.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.administrator
    }

    /// What the operator is started with.
    #[must_use]
    pub fn options(&self) -> Options {
        self.options.clone()
    }

    /// Kills the operator as a crash would; nothing is left to converge until it is started again.
    pub fn crash_operator(&self) {
        self.slot().take();
    }

    /// Starts the operator, after killing the one that runs.
    ///
    /// # Errors
    /// When it does not start.
    pub fn restart_operator(&self, options: &Options) -> Result<()> {
        let mut slot = self.slot();
        slot.take();
        *slot = Some(Operator::start(options)?);
        Ok(())
    }

    /// What the operator answers to `GET path`.
    ///
    /// # Errors
    /// When there is none, or it does not answer.
    pub fn ask_operator(&self, path: &str) -> Result<String> {
        match &*self.slot() {
            Some(operator) => operator.get(path),
            None => Err(Error::Unmet("no operator runs".to_owned())),
        }
    }

    /// Everything that operators on this control plane have logged.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.options.log).unwrap_or_default()
    }

    /// Lines of the log by which the API server refused something to the operator: its roles lack a verb.
    #[must_use]
    pub fn forbidden(&self) -> Vec<String> {
        let log = self.log();
        log.lines()
            .filter(|line| is_forbidden(line))
            .map(str::to_owned)
            .collect()
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Option<Operator>> {
        self.operator.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.crash_operator();
        // The receiver is gone only when the thread has ended already; a panic of it was told where it happened.
        let _ = self.end.take().map(|end| end.send(()));
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Whether a line tells of a right that is missing. A quota or an admission policy also answers with 403, and in
/// other words.
pub(crate) fn is_forbidden(line: &str) -> bool {
    line.contains("is forbidden: User ") && line.contains(" cannot ")
}

struct Places {
    administrator: PathBuf,
    operator: PathBuf,
    folder: PathBuf,
}

async fn control_plane(extent: Extent) -> Result<(ControlPlane, Places)> {
    let builder = ControlPlane::builder();
    let mut control_plane = match extent {
        Extent::Admission => builder,
        Extent::Controllers => builder.controller_manager(),
        Extent::Scheduling => builder.controller_manager().scheduler(),
        Extent::ImageVolumes => builder.controller_manager().feature("ImageVolume"),
    }
    .start()
    .await?;
    let client = control_plane.client();
    install(&client, &["dist/sconce.yaml"]).await?;
    FakeNode::named(NODE).create(&client).await?;
    if extent != Extent::Admission {
        // The garbage collector looks for new kinds each 30 s, and at its start.
        control_plane.restart(Part::ControllerManager).await?;
    }
    let operator = control_plane
        .kubeconfig_of_service_account("sconce-system", "sconce")
        .await?;
    let places = Places {
        administrator: control_plane.kubeconfig(),
        operator,
        folder: control_plane.folder().to_owned(),
    };
    Ok((control_plane, places))
}

/// Applies manifests of this checkout, but the operator's own Deployment: nothing would run its pod.
///
/// # Errors
/// When a manifest cannot be read or is refused, or our kinds are not served in time.
pub async fn install(client: &Client, manifests: &[&str]) -> Result<()> {
    for manifest in manifests {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(manifest);
        let text = std::fs::read_to_string(&path).map_err(Error::file("read", &path))?;
        for object in documents(&text)? {
            if object["kind"] != "Deployment" {
                apply(client, object).await?;
            }
        }
    }
    for kind in ["ModelTraining", "ModelDeployment", "AcceleratorProfile"] {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("sconce.dev", "v1alpha1", kind));
        let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
        until(&format!("{kind} is served"), async || {
            api.list(&Default::default()).await.ok().map(drop)
        })
        .await?;
    }
    Ok(())
}

fn documents(text: &str) -> Result<Vec<Value>> {
    let parsed: std::result::Result<Vec<Value>, _> = serde_norway::Deserializer::from_str(text)
        .map(Value::deserialize)
        .collect();
    let all = parsed.map_err(|error| Error::Unmet(format!("a manifest is no YAML: {error}")))?;
    Ok(all.into_iter().filter(Value::is_object).collect())
}

/// Server-side apply of any object, as a person's tool would.
///
/// # Errors
/// When the API server refuses it.
pub async fn apply(client: &Client, object: Value) -> Result<DynamicObject> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (version, kind) = (text(&object["apiVersion"]), text(&object["kind"]));
    let (group, version) = version.split_once('/').unwrap_or(("", &version));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &kind));
    let name = text(&object["metadata"]["name"]);
    let api: Api<DynamicObject> = match object["metadata"]["namespace"].as_str() {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    let parameters = PatchParams::apply("person");
    api.patch(&name, &parameters, &Patch::Apply(&object))
        .await
        .map_err(Error::api(format!("apply {kind} {name}")))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_missing_right_is_told_from_a_quota() {
        let right = r#""error":"delete Job a/b: jobs.batch \"b\" is forbidden: User \"system:serviceaccount:sconce-system:sconce\" cannot delete resource \"jobs\" in API group \"batch\"""#;
        let quota = r#"pods "b" is forbidden: exceeded quota: none, requested: pods=1, used: pods=0, limited: pods=0"#;
        assert!(super::is_forbidden(right) && !super::is_forbidden(quota));
    }
}
