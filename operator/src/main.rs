//! `sconce-operator run`: the operator, in a pod or by hand on a kubeconfig.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use futures::{StreamExt, future};
use jiff::Timestamp;
use kube::Config;
use sconce_crds::Quantity;
use sconce_operator::context::{Context, Images};
use sconce_operator::deployment::caching::{NodeCache, node_path};
use sconce_operator::leader::Election;
use sconce_operator::liveness::{Part, Pulse};
use sconce_operator::metrics::Metrics;
use sconce_operator::scaling::source::Servers;
use sconce_operator::watches::Watches;
use sconce_operator::{connection, deployment, probes, profile, scaling, schema, training};
use tokio::sync::watch;
use tracing::{error, info, warn};
use tracing_subscriber::EnvFilter;

/// How long reconciles may go on once the operator is to stop. The lease is given up after that, well before the
/// kubelet would kill the process and leave it held.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Parser)]
#[command(version, about = "Trains and serves models on Kubernetes")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Reconciles ModelTrainings and ModelDeployments, and counts what there is of each AcceleratorProfile.
    Run(Options),
}

#[derive(Parser)]
struct Options {
    /// Image of the trainer where an AcceleratorProfile names none.
    #[arg(long, env = "SCONCE_TRAINER_IMAGE")]
    trainer_image: String,
    /// Image of the server where an AcceleratorProfile names none.
    #[arg(long, env = "SCONCE_SERVER_IMAGE")]
    server_image: String,
    /// When these images are pulled.
    #[arg(long, env = "SCONCE_IMAGE_PULL_POLICY", default_value = "IfNotPresent", value_parser = ["IfNotPresent", "Always", "Never"])]
    image_pull_policy: String,
    /// Address of /metrics, /livez and /readyz.
    #[arg(long, env = "SCONCE_LISTEN", default_value = "0.0.0.0:8080")]
    listen: SocketAddr,
    /// The one namespace to work in. Absent: all.
    #[arg(long, env = "SCONCE_WATCH_NAMESPACE", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    watch_namespace: Option<String>,
    /// Namespace of the Lease by which one of several replicas leads.
    #[arg(long, env = "POD_NAMESPACE", default_value = "default")]
    lease_namespace: String,
    /// Name of this replica, unlike every other's.
    #[arg(long, env = "POD_NAME")]
    identity: Option<String>,
    /// Objects of each kind that are reconciled at once.
    #[arg(long, env = "SCONCE_CONCURRENCY", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..))]
    concurrency: u16,
    /// Folder of each node in which servers may keep models (`spec.cache.strategy: Node`). Absent: none.
    #[arg(long, env = "SCONCE_NODE_CACHE_PATH", value_parser = node_path)]
    node_cache_path: Option<String>,
    /// Most bytes of all models in that folder, such as 50Gi. Absent: what the disk holds.
    #[arg(long, env = "SCONCE_NODE_CACHE_SIZE_LIMIT", value_parser = bytes, requires = "node_cache_path")]
    node_cache_size_limit: Option<u64>,
    /// What is logged, such as `info` or `sconce_operator=debug,info`.
    #[arg(long, env = "SCONCE_LOG", default_value = "info")]
    log: EnvFilter,
    /// How it is logged.
    #[arg(long, env = "SCONCE_LOG_FORMAT", default_value = "json")]
    log_format: LogFormat,
}

fn bytes(text: &str) -> Result<u64, String> {
    let whole = Quantity::new(text).whole().filter(|bytes| *bytes > 0);
    whole.ok_or_else(|| format!("{text:?} is no number of bytes: write one such as 50Gi"))
}

#[derive(Clone, Copy, ValueEnum)]
enum LogFormat {
    Json,
    Text,
}

fn main() -> ExitCode {
    let Command::Run(options) = Cli::parse().command;
    match options.log_format {
        LogFormat::Json => tracing_subscriber::fmt()
            .json()
            .flatten_event(true)
            .with_env_filter(options.log.clone())
            .init(),
        LogFormat::Text => tracing_subscriber::fmt()
            .with_env_filter(options.log.clone())
            .init(),
    }
    // Two threads: the work is waiting for the API server, and each thread costs memory.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(run(options)),
        Err(error) => Err(error.into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!(error = %describe(&*error), "the operator ends");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> Result<(), Box<dyn std::error::Error>> {
    let client = connection::client(Config::infer().await.map_err(kube::Error::InferConfig)?)?;
    let metrics = Metrics::default();
    let pulse = Pulse::default();
    let probes = tokio::spawn(probes::serve(options.listen, metrics.clone(), pulse.clone()));
    let identity = options.identity.unwrap_or_else(unmistakable);

    let (stop, stopped) = watch::channel(false);
    tokio::spawn(async move {
        terminated().await;
        info!("asked to stop");
        stop.send_replace(true);
    });
    let watched = options.watch_namespace.as_deref();
    let namespace = &options.lease_namespace;
    let mut election = Election::new(client.clone(), namespace, watched, &identity, pulse.clone());
    tokio::select! {
        () = election.acquire() => {}
        () = until(stopped.clone()) => return Ok(()),
        outcome = probes => return Ok(outcome??),
    }
    metrics.leading(true);

    let images = Images {
        trainer: options.trainer_image,
        server: options.server_image,
        pull_policy: options.image_pull_policy,
    };
    let node_cache = options.node_cache_path.map(|path| NodeCache {
        path,
        size_limit: options.node_cache_size_limit,
    });
    let watches = Watches::start(&client, watched);
    let context = Context::new(
        client,
        watches.stores(),
        images,
        node_cache,
        metrics.clone(),
        pulse.clone(),
        &identity,
    );
    tokio::spawn(schema::watch(Arc::clone(&context), watched.is_none()));
    let trainings = training::run(
        Arc::clone(&context),
        training::Readers::take(&watches),
        options.concurrency,
        until(stopped.clone()),
    );
    let deployments = deployment::run(
        Arc::clone(&context),
        deployment::Readers::take(&watches),
        options.concurrency,
        until(stopped.clone()),
    );
    let profiles = profile::run(
        Arc::clone(&context),
        profile::Readers::take(&watches),
        options.concurrency,
        until(stopped.clone()),
    );
    let scaling = scaling::run(Arc::clone(&context), Arc::new(Servers::new(metrics.clone())));
    let driven = watches.driver.for_each(|()| future::ready(()));
    let beats = pulse.clone();
    let mut driver = tokio::spawn(async move {
        tokio::select! {
            () = driven => {}
            () = beats.keep(Part::Watches) => {}
        }
    });

    // Before that, an absent object may merely not have been seen.
    let stores = context.stores.clone();
    let work = async {
        tokio::select! {
            () = stores.ready() => {}
            () = until(stopped.clone()) => {}
        }
        tokio::select! {
            _ = future::join3(trainings, deployments, profiles) => {}
            // They end never. Of scaling, nothing needs be waited for: a decision is one write.
            () = scaling => {}
            () = pulse.keep(Part::Reconciles) => {}
        }
    };
    let patience = async {
        until(stopped.clone()).await;
        tokio::time::sleep(PATIENCE).await;
    };
    tokio::select! {
        () = work => info!("every reconcile has ended"),
        () = patience => warn!("reconciles that did not end within {} s are dropped", PATIENCE.as_secs()),
        // What nobody keeps up to date must not be acted on.
        _ = &mut driver => return Err("the watches have ended".into()),
        // Another replica may already lead: not one more write.
        () = election.hold() => return Err("the lease was lost".into()),
    }
    driver.abort();
    metrics.leading(false);
    Ok(election.release().await?)
}

async fn until(mut stopped: watch::Receiver<bool>) {
    // An error means that the sender is gone, which ends the process as well.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

/// A name that no other operator has, where nobody gave one: in containers, all are process 1.
fn unmistakable() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = match host.trim() {
        "" => "sconce-operator",
        host => host,
    };
    let started = Timestamp::now().as_nanosecond();
    format!("{host}-{}-{started:x}", std::process::id())
}

/// SIGTERM (the kubelet) or SIGINT (a person).
async fn terminated() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
}

/// An error with what caused it.
fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}
