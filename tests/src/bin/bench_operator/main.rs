//! `make bench-operator`: how fast the operator is, what it costs, and JobSet beside it in the same run.
//!
//! ```text
//!   main ── prints one line per figure
//!    │
//!   stage ── a control plane on loopback with GPU nodes that are only objects, and a contender on it
//!    │          contender: our operator (release), or JobSet
//!    ├── load ── clients that create, and what they see: the child, the end
//!    └── process ── processor time and memory of the contender (procfs)
//! ```
//!
//! Writes are counted by the API server itself (its audit log). Read `main.rs` from [`compare`].

mod contender;
mod load;
mod process;
mod stage;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Parser;

use contender::Kind;
use load::{Outcome, Pace};
use stage::Stage;

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// What is measured.
#[derive(Parser)]
struct Options {
    /// Objects of each kind that are created at once.
    #[arg(long, default_value_t = 500)]
    objects: usize,
    /// Runs of ours and of the peer, in turn; the printed ratio is the median of the pairs.
    #[arg(long, default_value_t = 3)]
    pairs: usize,
    /// Objects, half of each kind, for the cold start, restart and memory; 0 leaves these out.
    #[arg(long, default_value_t = 5000)]
    large: usize,
    /// Seconds for which nothing happens, for the idle figures.
    #[arg(long, default_value_t = 60)]
    idle: u64,
    /// The operator that is measured.
    #[arg(long, default_value = "target/release/sconce-operator")]
    operator: PathBuf,
    /// Parts: compare, rate, thousand, large; alone is compare without the peer, as notes.
    #[arg(long, value_delimiter = ',', default_value = "compare,rate,thousand,large")]
    parts: Vec<String>,
    /// Where the contenders' logs are kept; absent: thrown away.
    #[arg(long)]
    logs: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> Result {
    let options = Options::parse();
    let wants = |part: &str| options.parts.iter().any(|asked| asked == part);
    if wants("compare") {
        compare(&options).await?;
    }
    if wants("alone") {
        let stage = Stage::open(Kind::Ours, options.objects * 2, &options).await?;
        for object in [load::Object::Training, load::Object::Deployment] {
            burst(&stage, object, options.objects).await?;
        }
    }
    if wants("rate") {
        rate(&options).await?;
    }
    if wants("thousand") {
        let objects = Sizes {
            trainings: 1000,
            deployments: 1000,
        };
        converged(&options, "1000", objects).await?;
    }
    if wants("large") && options.large > 0 {
        let objects = Sizes {
            trainings: options.large / 2,
            deployments: options.large - options.large / 2,
        };
        converged(&options, &options.large.to_string(), objects).await?;
    }
    Ok(())
}

/// One contender's burst.
struct Burst {
    outcome: Outcome,
    cpu: f64,
    rss: f64,
    writes: f64,
}

/// All at once by eight clients, ours and the peer in turn.
async fn compare(options: &Options) -> Result {
    let mut pairs = Vec::new();
    let (mut deployments, mut floors) = (Vec::new(), Vec::new());
    for pair in 1..=options.pairs {
        let stage = Stage::open(Kind::Ours, options.objects * 2, options).await?;
        let ours = burst(&stage, load::Object::Training, options.objects).await?;
        let served = burst(&stage, load::Object::Deployment, options.objects).await?;
        drop(stage);
        let stage = Stage::open(Kind::JobSet, options.objects, options).await?;
        let peer = burst(&stage, load::Object::JobSet, options.objects).await?;
        drop(stage);
        note(&format!(
            "pair {pair}: create to child p50 {:.0} ms, JobSet {:.0} ms",
            ours.outcome.child(0.5),
            peer.outcome.child(0.5)
        ));
        let stage = Stage::open(Kind::Nobody, options.objects, options).await?;
        floors.push(burst(&stage, load::Object::Job, options.objects).await?);
        drop(stage);
        pairs.push((ours, peer));
        deployments.push(served);
    }
    let versus = |name: &str, unit: &str, figure: fn(&Burst) -> f64| {
        let (ours, peer): (Vec<f64>, Vec<f64>) = pairs
            .iter()
            .map(|(ours, peer)| (figure(ours), figure(peer)))
            .unzip();
        let ratios = ours.iter().zip(&peer).map(|(ours, peer)| ours / peer).collect();
        println!(
            "{name} {:.3} {unit} peer=jobset-0.12:{:.3} ratio={:.3}",
            median(ours),
            median(peer),
            median(ratios)
        );
    };
    versus("operator-create-p50", "ms", |burst| burst.outcome.child(0.5));
    versus("operator-create-p99", "ms", |burst| burst.outcome.child(0.99));
    versus("operator-children", "s", |burst| burst.outcome.last_child());
    versus("operator-total", "s", |burst| burst.outcome.total());
    versus("operator-cpu", "s", |burst| burst.cpu);
    versus("operator-writes-per-training", "count", |burst| burst.writes);
    versus("operator-rss-trainings", "MiB", |burst| burst.rss);
    // The least that anybody's could be: the cluster itself, with Jobs that clients create.
    let floor = median(floors.iter().map(|burst| burst.outcome.total()).collect());
    let totals = pairs.iter().zip(&floors);
    let over = totals.map(|((ours, _), floor)| ours.outcome.total() / floor.outcome.total());
    println!(
        "operator-total-floor {floor:.3} s ratio={:.3}",
        median(over.collect())
    );
    let alone = |name: &str, unit: &str, figure: fn(&Burst) -> f64| {
        figure_line(name, median(deployments.iter().map(figure).collect()), unit);
    };
    alone("operator-deployment-create-p50", "ms", |burst| {
        burst.outcome.child(0.5)
    });
    alone("operator-deployment-create-p99", "ms", |burst| {
        burst.outcome.child(0.99)
    });
    alone("operator-deployment-total", "s", |burst| burst.outcome.total());
    alone("operator-deployment-cpu", "s", |burst| burst.cpu);
    alone("operator-writes-per-deployment", "count", |burst| burst.writes);
    // After trainings and deployments.
    alone(&format!("operator-rss-{}", options.objects), "MiB", |burst| {
        burst.rss
    });
    Ok(())
}

async fn burst(stage: &Stage, object: load::Object, count: usize) -> Result<Burst> {
    let before = stage.contender.usage()?;
    let written = stage.writes()?;
    let outcome = stage.load(object, count, Pace::AtOnce).await?;
    // What is still to be written about the last ones belongs to them.
    stage.quiet().await?;
    let after = stage.contender.usage()?;
    let writes = stage.writes()?.since(written.count());
    note(&format!(
        "{count} {object:?}: create to child p50 {:.0} p99 {:.0} ms, first children {:.1} s after the first create, all {:.1} s, done {:.1} s, cpu {:.2} s, peak {:.1} MiB, writes {:?}",
        outcome.child(0.5),
        outcome.child(0.99),
        outcome.first_child(),
        outcome.last_child(),
        outcome.total(),
        after.cpu - before.cpu,
        after.peak,
        writes.by_kind()
    ));
    Ok(Burst {
        outcome,
        cpu: after.cpu - before.cpu,
        rss: after.peak,
        #[allow(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
        writes: writes.count() as f64 / count as f64,
    })
}

/// Twenty creates a second, as a busy cluster sees them.
async fn rate(options: &Options) -> Result {
    const COUNT: usize = 400;
    let pace = Pace::Every(Duration::from_millis(50));
    let stage = Stage::open(Kind::Ours, COUNT, options).await?;
    let ours = stage.load(load::Object::Training, COUNT, pace).await?;
    drop(stage);
    let stage = Stage::open(Kind::JobSet, COUNT, options).await?;
    let peer = stage.load(load::Object::JobSet, COUNT, pace).await?;
    for (name, share) in [("operator-rate20-p50", 0.5), ("operator-rate20-p99", 0.99)] {
        let (ours, peer) = (ours.child(share), peer.child(share));
        println!(
            "{name} {ours:.1} ms peer=jobset-0.12:{peer:.1} ratio={:.3}",
            ours / peer
        );
    }
    Ok(())
}

/// How many objects.
#[derive(Clone, Copy)]
struct Sizes {
    trainings: usize,
    deployments: usize,
}

/// Many objects from nothing, then nothing to do, then a restart.
async fn converged(options: &Options, name: &str, sizes: Sizes) -> Result {
    let total = sizes.trainings + sizes.deployments;
    let mut stage = Stage::open(Kind::Ours, total, options).await?;
    let started = Instant::now();
    let before = stage.contender.usage()?;
    stage
        .load(load::Object::Training, sizes.trainings, Pace::AtOnce)
        .await?;
    stage
        .load(load::Object::Deployment, sizes.deployments, Pace::AtOnce)
        .await?;
    figure_line(
        &format!("operator-cold-{name}"),
        started.elapsed().as_secs_f64(),
        "s",
    );
    stage.quiet().await?;
    let after = stage.contender.usage()?;
    figure_line(&format!("operator-cold-cpu-{name}"), after.cpu - before.cpu, "s");
    figure_line(&format!("operator-rss-{name}"), after.peak, "MiB");

    let (idle, written) = (stage.contender.usage()?, stage.writes()?.count());
    tokio::time::sleep(Duration::from_secs(options.idle)).await;
    let writes = stage.writes()?.since(written);
    let seconds = Duration::from_secs(options.idle).as_secs_f64();
    let share = (stage.contender.usage()?.cpu - idle.cpu) / seconds * 100.0;
    figure_count(&format!("operator-idle-writes-{name}"), writes.count());
    figure_line(&format!("operator-idle-cpu-{name}"), share, "percent");
    figure_line(
        &format!("operator-rss-now-{name}"),
        stage.contender.usage()?.resident,
        "MiB",
    );

    let written = stage.writes()?.count();
    let ready = stage.restart(total).await?;
    stage.quiet().await?;
    let writes = stage.writes()?.since(written);
    figure_line(
        &format!("operator-restart-ready-{name}"),
        ready.as_secs_f64(),
        "s",
    );
    figure_count(&format!("operator-restart-writes-{name}"), writes.count());
    if writes.count() > 0 {
        note(&format!("writes at restart: {:?}", writes.by_kind()));
    }
    let usage = stage.contender.usage()?;
    figure_line(&format!("operator-restart-cpu-{name}"), usage.cpu, "s");
    figure_line(&format!("operator-restart-rss-{name}"), usage.peak, "MiB");
    Ok(())
}

fn figure_line(name: &str, value: f64, unit: &str) {
    println!("{name} {value:.3} {unit}");
}

fn figure_count(name: &str, value: usize) {
    println!("{name} {value} count");
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// What is no figure goes where figures are not looked for.
fn note(text: &str) {
    eprintln!("# {text}");
}
