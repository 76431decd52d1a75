//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};
use sconce_contract::plan::PLAN_PATH;
use sconce_contract::progress::{HTTP_PORT, OBSERVABILITY_PORT};
use sconce_contract::report::REPORT_PATH;

/// Serves one model over HTTP.
#[derive(Clone, Debug, Parser)]
#[command(name = "sconce-server", version, about)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Options {
    /// Something else than to serve.
    #[command(subcommand)]
    pub command: Option<Command>,

    /// File with the plan: what to serve.
    #[arg(long, env = "SCONCE_PLAN", default_value = PLAN_PATH)]
    pub plan: PathBuf,

    /// Address for predictions. Port 0 takes a free one; the log says which.
    #[arg(long, env = "SCONCE_LISTEN", default_value_t = SocketAddr::from(([0, 0, 0, 0], HTTP_PORT)))]
    pub listen: SocketAddr,

    /// Address for probes, metrics and load.
    #[arg(long, env = "SCONCE_OBSERVE", default_value_t = SocketAddr::from(([0, 0, 0, 0], OBSERVABILITY_PORT)))]
    pub observe: SocketAddr,

    /// File that takes the reason where the server cannot serve.
    #[arg(long, env = "SCONCE_REPORT", default_value = REPORT_PATH)]
    pub report: PathBuf,

    /// Predictions computed at a time. Default: the processors that the server may use.
    #[arg(long, env = "SCONCE_MAX_IN_FLIGHT", value_parser = clap::value_parser!(u32).range(1..=65536))]
    pub max_in_flight: Option<u32>,

    /// Predictions that wait for their turn; more are answered with 429.
    #[arg(long, env = "SCONCE_MAX_QUEUE", default_value_t = 512)]
    pub max_queue: u32,

    /// Connections at a time; more wait to be accepted.
    #[arg(long, env = "SCONCE_MAX_CONNECTIONS", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_connections: u32,

    /// Bytes of a request's body.
    #[arg(long, env = "SCONCE_MAX_BODY", default_value_t = 64 << 20, value_parser = clap::value_parser!(u32).range(1024..))]
    pub max_body: u32,

    /// How long a request's header may take to arrive, and an idle connection may last: longer than many gateways keep theirs
    /// (60 s), which would else send a request on one that is being closed.
    #[arg(long, env = "SCONCE_HEADER_TIMEOUT", default_value = "75s", value_parser = duration)]
    pub header_timeout: Duration,

    /// How long a request's body may take to arrive.
    #[arg(long, env = "SCONCE_BODY_TIMEOUT", default_value = "30s", value_parser = duration)]
    pub body_timeout: Duration,

    /// How long to serve on after SIGTERM, until everyone knows that this server goes.
    #[arg(long, env = "SCONCE_DRAIN_DELAY", default_value = "5s", value_parser = duration)]
    pub drain_delay: Duration,

    /// How long the last requests may take after that.
    #[arg(long, env = "SCONCE_DRAIN_TIMEOUT", default_value = "20s", value_parser = duration)]
    pub drain_timeout: Duration,

    /// What to log, such as `debug` or `sconce_serve=debug,info`.
    #[arg(long, env = "SCONCE_LOG", default_value = "info")]
    pub log: String,
}

/// What is done in place of serving.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Makes a folder in which servers keep models, and lets their user write it.
    PrepareCache {
        /// The folder.
        path: PathBuf,
        /// Number of the user and the group that servers run as.
        #[arg(long, default_value_t = 65532)]
        user: u32,
        /// Stays until it is told to end, as a pod of a DaemonSet must.
        #[arg(long)]
        stay: bool,
    },
}

/// A duration such as `500ms`, `5s` or `2m`.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a duration: write one such as 500ms, 5s or 2m");
    let unit = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(unit);
    let number: u32 = number.parse().map_err(|_| wrong())?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        _ => return Err(wrong()),
    };
    Ok(Duration::from_millis(u64::from(number) * millis))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("5s"), Ok(Duration::from_secs(5)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(duration("0s"), Ok(Duration::ZERO));
        for wrong in ["", "5", "s", "5h", "-1s", "1.5s", "99999999999s", "5 s"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_defaults_are_the_contract() {
        let options = Options::parse_from(["sconce-server"]);
        assert_eq!((options.listen.port(), options.observe.port()), (8080, 9090));
        assert_eq!(options.max_body, 64 << 20);
    }

    #[test]
    fn all_connections_at_their_limits_fit_beside_the_model_in_the_default_memory() {
        let connections = Options::parse_from(["sconce-server"]).max_connections as usize;
        let each = crate::listen::HEADER_LIMIT + crate::body::FREE + crate::answers::FREE;
        assert!(connections * each <= 32 << 20, "{connections} × {each}");
    }
}
