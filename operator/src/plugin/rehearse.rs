//! `kubectl sconce rehearse -f FILE`: the same YAML without a cluster.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kube::ResourceExt;
use sconce_crds::ModelTraining;

use crate::rehearsal::folders::Folders;
use crate::rehearsal::manifests::{Manifests, serving};
use crate::rehearsal::serve::{Server, is_free, serve};
use crate::rehearsal::train::{Trained, train};
use crate::rehearsal::{RehearsalError, process, sample};
use crate::training::gates::short;
use crate::volumes::Source;

/// What is rehearsed, and how.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Manifests: files, or folders, with their kustomization where they have one.
    #[arg(short, long = "filename", required = true)]
    pub filename: Vec<PathBuf>,
    /// A folder of yours in the place of a claim or ConfigMap, such as `pvc://data=/srv/data`.
    #[arg(long = "mount", value_parser = mount)]
    pub mounts: Vec<(String, PathBuf)>,
    /// Folder for artifacts, plans and reports. By default they are gone when the rehearsal ends.
    #[arg(long)]
    pub keep: Option<PathBuf>,
    /// Port on which the model is served.
    #[arg(long, default_value_t = 8080)]
    pub port: u16,
    /// Rows of the table to predict once the model is served.
    #[arg(long, default_value_t = 6)]
    pub samples: usize,
    /// Serve until Ctrl-C.
    #[arg(long)]
    pub hold: bool,
    /// The trainer, if it is not beside this program or in PATH.
    #[arg(long = "sconce-trainer")]
    pub trainer: Option<PathBuf>,
    /// The server, if it is not beside this program or in PATH.
    #[arg(long = "sconce-server")]
    pub server: Option<PathBuf>,
}

fn mount(text: &str) -> Result<(String, PathBuf), String> {
    let (uri, path) = text
        .split_once('=')
        .ok_or("give URI=FOLDER, such as pvc://data=/srv/data")?;
    let source = Source::of(uri).ok_or("the URI is pvc://CLAIM or configmap://NAME")?;
    let path = std::path::absolute(path).map_err(|error| error.to_string())?;
    if path.is_dir() {
        Ok((source.uri(), path))
    } else {
        Err(format!("{} is no folder", path.display()))
    }
}

/// Trains, judges and serves.
///
/// # Errors
/// When a program is missing, a manifest is refused, or a training fails or is rejected.
pub async fn run(options: Options) -> Result<(), RehearsalError> {
    let trainer = process::find("sconce-trainer", options.trainer.as_deref())?;
    let server = process::find("sconce-server", options.server.as_deref())?;
    let manifests = Manifests::read(&options.filename)?;
    if manifests.trainings.is_empty() {
        let given: Vec<_> = options
            .filename
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        return Err(RehearsalError::Nothing(given.join(", ")));
    }
    let temporary = tempfile::tempdir().map_err(|source| RehearsalError::File {
        path: std::env::temp_dir(),
        source,
    })?;
    let folder = match &options.keep {
        Some(keep) => std::path::absolute(keep).map_err(|source| RehearsalError::File {
            path: keep.clone(),
            source,
        })?,
        None => temporary.path().to_owned(),
    };
    std::fs::create_dir_all(&folder).map_err(|source| RehearsalError::File {
        path: folder.clone(),
        source,
    })?;
    let given: BTreeMap<String, PathBuf> = options.mounts.iter().cloned().collect();
    let folders = Folders::prepare(&folder, given, &manifests)?;

    let served: usize = manifests
        .trainings
        .iter()
        .map(|training| serving(&manifests, training).count())
        .sum();
    // Told before the training rather than after it.
    let ports = ports(options.port, served)?;
    for port in &ports {
        is_free(*port)?;
    }

    let mut servers = Vec::new();
    let mut free = ports.into_iter();
    for training in &manifests.trainings {
        let trained = train_one(&trainer, &folder, &folders, training).await?;
        for (deployment, port) in serving(&manifests, training).zip(&mut free) {
            println!("\nserving ModelDeployment {}", deployment.name_any());
            let running = serve(&server, &folder, &folders, deployment, &trained.artifact, port).await?;
            show(
                &running,
                training,
                deployment.name_any().as_str(),
                &folders,
                options.samples,
            )
            .await?;
            servers.push(running);
        }
    }
    if options.hold && !servers.is_empty() {
        println!("\nserving until Ctrl-C");
        hold(&mut servers).await;
    }
    for running in servers {
        running.stop().await;
    }
    if let Some(keep) = options.keep {
        println!("\nartifacts, plans and reports are in {}", keep.display());
    }
    Ok(())
}

/// A port for each server, one after the other.
fn ports(first: u16, count: usize) -> Result<Vec<u16>, RehearsalError> {
    let ports: Vec<u16> = (first..=u16::MAX).take(count).collect();
    if ports.len() == count {
        return Ok(ports);
    }
    Err(RehearsalError::Port {
        port: first,
        problem: format!(
            "is too close to the last, {}, for {count} deployments, which take one port after the other",
            u16::MAX
        ),
    })
}

async fn train_one(
    program: &Path,
    folder: &Path,
    folders: &Folders,
    training: &ModelTraining,
) -> Result<Trained, RehearsalError> {
    let name = training.name_any();
    println!("training ModelTraining {name}");
    if let Some(accelerator) = &training.spec.accelerator {
        println!(
            "  without its accelerator {}: a rehearsal computes on this machine's processor",
            accelerator.profile
        );
    }
    let trained = train(program, folder, folders, training).await?;
    if let Some(best) = &trained.best_trial {
        println!(
            "  trial {} of {} ({} failed, {} stopped early) was the best: {}",
            best.trial,
            best.trials,
            best.failed,
            best.stopped,
            short(best.value)
        );
        for (path, value) in &best.parameters {
            println!("    {path}: {value}");
        }
    }
    for gate in &trained.judgement.results {
        let observed = gate.observed.map_or_else(|| "not measured".to_owned(), short);
        println!(
            "  gate {} {}: {observed}, {}",
            gate.metric,
            gate.required,
            if gate.passed { "passed" } else { "missed" }
        );
    }
    if !trained.judgement.passed {
        return Err(RehearsalError::Rejected {
            name,
            message: trained.judgement.message,
        });
    }
    println!("  artifact {}", trained.artifact.digest);
    Ok(trained)
}

async fn show(
    server: &Server,
    training: &ModelTraining,
    name: &str,
    folders: &Folders,
    count: usize,
) -> Result<(), RehearsalError> {
    println!("  {}/v1/models/{name}:predict", server.url);
    let dataset = &training.spec.dataset;
    let Some(table) = folders.read(&dataset.uri) else {
        return Ok(());
    };
    let rows = sample::rows(&table, dataset, count);
    if rows.is_empty() {
        return Ok(());
    }
    let instances: Vec<_> = rows.iter().map(|(row, _)| row.clone()).collect();
    let predictions = server.predict(&instances).await?;
    println!("  {:<24} {}", "PREDICTION", dataset.target.to_uppercase());
    for ((_, label), prediction) in rows.iter().zip(&predictions) {
        println!("  {:<24} {label}", prediction.to_string());
    }
    Ok(())
}

async fn hold(servers: &mut [Server]) {
    let mut waits: Vec<_> = servers.iter_mut().map(|server| Box::pin(server.wait())).collect();
    let first = futures::future::select_all(&mut waits);
    tokio::select! {
        _ = first => println!("a server ended"),
        _ = tokio::signal::ctrl_c() => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_server_has_the_next_port_while_there_are_some() {
        assert_eq!(ports(8080, 2).unwrap(), [8080, 8081]);
        assert_eq!(ports(u16::MAX, 1).unwrap(), [u16::MAX]);
        assert!(ports(u16::MAX, 0).unwrap().is_empty());
        let said = ports(u16::MAX, 2).unwrap_err().to_string();
        assert!(
            said.starts_with("port 65535 of this machine is too close to the last"),
            "{said}"
        );
        assert!(said.ends_with("give another with --port"), "{said}");
    }
}
