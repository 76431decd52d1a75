//! `kubectl sconce`: what people do with Sconce beyond `kubectl apply`.

use std::fmt::Display;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use sconce_operator::plugin::cluster::{Asked, Cluster, Target};
use sconce_operator::plugin::{PluginError, logs, plot, promote, rehearse, top, why};

/// Ends with 0 when it was done, 1 when it could not be, 2 when it was asked for wrongly.
#[derive(Parser)]
#[command(
    name = "kubectl-sconce",
    bin_name = "kubectl sconce",
    version,
    about = "Work with models on Kubernetes, or without it"
)]
struct Cli {
    #[command(flatten)]
    target: Target,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Why an object is as it is: the chain from it to its pods to the reason, and the one next step.
    Why {
        /// NAME, mtrain/NAME or mdep/NAME. A name alone is a deployment's, else a training's.
        object: Asked,
    },
    /// What the pods of the current run or revision say.
    Logs(logs::Options),
    /// Accelerators: what there is, who holds it, and whether it is busy.
    Top(top::Options),
    /// How the loss of a training went.
    Plot(plot::Options),
    /// Serve an artifact, where a deployment's promotion is Manual.
    Promote(promote::Options),
    /// Trains, judges the gates and serves the given manifests on this machine, without a cluster.
    Rehearse(rehearse::Options),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let Cli { target, command } = Cli::parse();
    match command {
        Command::Rehearse(options) => ended(rehearse::run(options).await),
        command => ended(ask(&target, command).await),
    }
}

async fn ask(target: &Target, command: Command) -> Result<(), PluginError> {
    let cluster = Cluster::connect(target).await?;
    match command {
        Command::Why { object } => why::run(&cluster, &object).await,
        Command::Logs(options) => logs::run(&cluster, &options).await,
        Command::Top(options) => top::run(&cluster, options).await,
        Command::Plot(options) => plot::run(&cluster, &options).await,
        Command::Promote(options) => promote::run(&cluster, &options).await,
        // It needs no cluster.
        Command::Rehearse(_) => Ok(()),
    }
}

fn ended(result: Result<(), impl Display>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
