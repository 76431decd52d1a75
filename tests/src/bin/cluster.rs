//! A cluster to work with: up, down, and whatever is run against it.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use clap::{Parser, Subcommand};
use sconce_tests::choice::Choice;
use sconce_tests::docker::Docker;
use sconce_tests::kind::{self, Kind};
use sconce_tests::process::say;
use sconce_tests::{Error, Result, borrowed, frameworks, images, kueue, tools};

/// A cluster to work with. CLUSTER=kind (the default) is one of its own, in containers;
/// CLUSTER=current is the one of the kubeconfig in force.
#[derive(Parser)]
#[command(name = "cluster")]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Builds Kubernetes, kind and helm into the cache.
    Prepare {
        /// What only tests need as well: Kueue, a store of objects, and the parsers that judge what we write.
        #[arg(long)]
        tests: bool,
    },
    /// Installs PyTorch and Keras into the cache.
    Frameworks,
    /// Brings the cluster up, or finds it up.
    Up {
        /// Nodes besides the control plane.
        #[arg(long, default_value_t = 0)]
        workers: usize,
    },
    /// Takes the cluster down, with everything that it brought.
    Down,
    /// Says whether the cluster is up, and how to reach it.
    Status,
    /// Compiles the project's images and loads them into the cluster.
    Images,
    /// Compiles the project's images and writes them into a folder, for a registry of one's own.
    Archives {
        /// Where to; it is made.
        folder: PathBuf,
    },
    /// Loads images that are not the project's, which tests bring as users do.
    Borrowed,
    /// Runs kubectl against the cluster.
    Kubectl(Rest),
    /// Runs helm against the cluster.
    Helm(Rest),
    /// Runs a command where it reaches the cluster, with KUBECONFIG, DOCKER_HOST and PATH set.
    Exec(Rest),
}

#[derive(clap::Args)]
struct Rest {
    /// What follows, as it is.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    words: Vec<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match Choice::from_env().and_then(|choice| run(choice, arguments.verb)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

fn run(choice: Choice, verb: Verb) -> Result<()> {
    match (verb, choice) {
        (Verb::Prepare { tests }, _) => {
            tools::prepare()?;
            if tests {
                tools::judges()?;
                tools::VERSITYGW.path()?;
                kueue::build()?;
            }
            Ok(())
        }
        (Verb::Frameworks, _) => frameworks::prepare(),
        (Verb::Up { workers }, Choice::Kind) => Kind::up(workers).map(|_| ()),
        (Verb::Up { .. } | Verb::Status, Choice::Current) => {
            kind::current_answers()?;
            say("CLUSTER=current: the cluster of the kubeconfig in force answers");
            Ok(())
        }
        (Verb::Down, Choice::Kind) => Kind::down(),
        (Verb::Down, Choice::Current) => {
            say("CLUSTER=current: the cluster is not ours and stays as it is");
            Ok(())
        }
        (Verb::Status, Choice::Kind) => {
            let nodes = Kind::running()?.nodes()?;
            say(&format!("the cluster is up: {}", nodes.join(", ")));
            say(&format!("KUBECONFIG={}", kind::kubeconfig()?.display()));
            Ok(())
        }
        (Verb::Images, Choice::Kind) => images::ensure(&Kind::running()?),
        (Verb::Images, Choice::Current) => Err(Error::Unmet(
            "CLUSTER=current never touches Docker: push the images of `make archives` to a registry that the cluster pulls \
             from, and name it in the chart's values"
                .to_owned(),
        )),
        (Verb::Archives { folder }, _) => images::archive(&Docker::find_or_start()?, &folder),
        (Verb::Borrowed, Choice::Kind) => borrowed::ensure(&Kind::running()?),
        // Its nodes pull them.
        (Verb::Borrowed, Choice::Current) => Ok(()),
        (Verb::Kubectl(rest), choice) => become_program(kind::command(choice, "kubectl")?.args(rest.words)),
        (Verb::Helm(rest), choice) => become_program(kind::command(choice, "helm")?.args(rest.words)),
        (Verb::Exec(rest), choice) => {
            let mut words = rest.words.into_iter();
            let program = words.next().unwrap_or_default();
            become_program(kind::command(choice, &program)?.args(words))
        }
    }
}

/// Turns this process into the program: signals, terminal and exit status are its own.
fn become_program(command: &mut Command) -> Result<()> {
    let source = command.exec();
    Err(Error::Start {
        command: command.get_program().to_string_lossy().into_owned(),
        source,
    })
}
