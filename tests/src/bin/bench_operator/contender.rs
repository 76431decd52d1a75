//! Who is measured: our operator, JobSet, or nobody for the least that any could take; each a process with the rights of its own service account.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use sconce_tests::operator::{self, Guarded, Operator, SERVER_IMAGE};
use sconce_tests::tools::JOBSET;
use sconce_tests::wait::within;
use sconce_tests::{ControlPlane, world};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::Result;
use crate::process::Usage;

const PATIENCE: Duration = Duration::from_secs(120);

/// Whom a stage is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `sconce-operator`.
    Ours,
    /// The manager of `sigs.k8s.io/jobset`.
    JobSet,
    /// Nobody: what the cluster itself takes for as many Jobs that a client creates.
    Nobody,
}

/// A running contender.
pub enum Contender {
    /// None.
    Nobody,
    /// Ours.
    Ours(Option<Operator>, operator::Options),
    /// JobSet.
    JobSet(Guarded),
}

impl Kind {
    /// The user of its requests.
    pub fn user(self) -> &'static str {
        match self {
            Kind::Ours => "system:serviceaccount:sconce-system:sconce",
            Kind::JobSet => "system:serviceaccount:jobset-system:jobset-controller-manager",
            Kind::Nobody => "nobody",
        }
    }

    /// Installs what it needs and starts it; it works when this returns.
    pub async fn start(self, plane: &ControlPlane, program: &Path, log: PathBuf) -> Result<Contender> {
        match self {
            Kind::Ours => ours(plane, program, log).await,
            Kind::JobSet => jobset(plane, &log).await,
            Kind::Nobody => Ok(Contender::Nobody),
        }
    }
}

async fn ours(plane: &ControlPlane, program: &Path, log: PathBuf) -> Result<Contender> {
    world::install(&plane.client(), &["dist/sconce.yaml"]).await?;
    let options = operator::Options {
        kubeconfig: plane
            .kubeconfig_of_service_account("sconce-system", "sconce")
            .await?,
        log,
        identity: "bench".to_owned(),
        server_image: SERVER_IMAGE.to_owned(),
        node_cache: None,
        namespace: None,
        program: Some(program.to_owned()),
    };
    let mut contender = Contender::Ours(None, options);
    contender.restart(0).await?;
    Ok(contender)
}

impl Contender {
    /// What it has used since it was started.
    pub fn usage(&self) -> Result<Usage> {
        match self {
            Contender::Ours(Some(operator), _) => Usage::of(operator.pid()),
            Contender::Ours(None, _) => Err("the operator does not run".into()),
            Contender::JobSet(manager) => Usage::of(manager.pid()),
            Contender::Nobody => Ok(Usage::default()),
        }
    }

    /// Ends our operator as the kubelet would, starts it anew and waits until it has the lease and has looked at that
    /// many objects; how long the latter took.
    pub async fn restart(&mut self, objects: usize) -> Result<Duration> {
        let Contender::Ours(slot, options) = self else {
            return Err("only our operator is restarted".into());
        };
        if let Some(operator) = slot.take() {
            tokio::task::spawn_blocking(|| operator.terminate()).await??;
        }
        let operator = slot.insert(Operator::start(options)?);
        let metric = |operator: &Operator, name: &str| -> f64 {
            let text = operator.get("/metrics").unwrap_or_default();
            let lines = text.lines().filter(|line| line.starts_with(name));
            lines
                .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
                .sum()
        };
        within(PATIENCE, "the operator has the lease", async || {
            (metric(operator, "sconce_operator_leader ") > 0.0).then_some(())
        })
        .await?;
        let leading = Instant::now();
        #[allow(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
        let all = objects as f64;
        within(PATIENCE, "every object was reconciled", async || {
            (metric(operator, "sconce_operator_reconciles_total") >= all).then_some(())
        })
        .await?;
        Ok(leading.elapsed())
    }
}

/// Its webhooks are left out, to its advantage: objects are created with the defaults that they would set.
async fn jobset(plane: &ControlPlane, log: &Path) -> Result<Contender> {
    const NAMESPACE: &str = "jobset-system";
    const ACCOUNT: &str = "jobset-controller-manager";
    let (binary, source) =
        tokio::task::spawn_blocking(|| Ok::<_, sconce_tests::Error>((JOBSET.path()?, JOBSET.source()?)))
            .await??;
    let client = plane.client();
    let mut objects = vec![
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}),
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": ACCOUNT, "namespace": NAMESPACE}}),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "jobset"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "manager-role"},
            "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": NAMESPACE}],
        }),
    ];
    for file in [
        "config/components/crd/bases/jobset.x-k8s.io_jobsets.yaml",
        "config/components/rbac/role.yaml",
    ] {
        let text = std::fs::read_to_string(source.join(file))?;
        for document in serde_norway::Deserializer::from_str(&text) {
            let object = Value::deserialize(document)?;
            if object.is_object() {
                objects.push(object);
            }
        }
    }
    for object in objects {
        world::apply(&client, object).await?;
    }
    // A new kind is served a moment after it was applied.
    let kind = kube::core::GroupVersionKind::gvk("jobset.x-k8s.io", "v1alpha2", "JobSet");
    let sets: kube::Api<kube::core::DynamicObject> =
        kube::Api::all_with(client.clone(), &kube::core::ApiResource::from_gvk(&kind));
    within(PATIENCE, "JobSets are served", async || {
        sets.list(&kube::api::ListParams::default()).await.ok().map(drop)
    })
    .await?;
    let folder = plane.folder().join("jobset");
    std::fs::create_dir_all(&folder)?;
    // Its webhook server starts whether or not anybody asks it, and wants a certificate.
    for (from, to) in [("apiserver.crt", "tls.crt"), ("apiserver.key", "tls.key")] {
        std::fs::copy(plane.folder().join("certs").join(from), folder.join(to))?;
    }
    let port = sconce_tests::ports::free()?;
    let configuration = json!({
        "apiVersion": "config.jobset.x-k8s.io/v1alpha1", "kind": "Configuration",
        "leaderElection": {"leaderElect": false}, "internalCertManagement": {"enable": false},
        "webhook": {"port": sconce_tests::ports::free()?, "host": "127.0.0.1", "certDir": folder},
        "metrics": {"bindAddress": "0", "certDir": folder}, "health": {"healthProbeBindAddress": format!("127.0.0.1:{port}")},
    });
    let file = folder.join("configuration.yaml");
    std::fs::write(&file, configuration.to_string())?;
    let kubeconfig = plane.kubeconfig_of_service_account(NAMESPACE, ACCOUNT).await?;
    let mut command = Command::new(binary);
    // The level that its own manifests ask for.
    command
        .arg("--config")
        .arg(&file)
        .arg("--zap-log-level=2")
        .env("KUBECONFIG", kubeconfig);
    let manager = Guarded::start(&mut command, log)?;
    within(PATIENCE, "JobSet is ready", async || {
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).ok()?;
        use std::io::{Read, Write};
        write!(
            stream,
            "GET /readyz HTTP/1.1\r\nHost: jobset\r\nConnection: close\r\n\r\n"
        )
        .ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        answer.starts_with("HTTP/1.1 200").then_some(())
    })
    .await?;
    Ok(Contender::JobSet(manager))
}
