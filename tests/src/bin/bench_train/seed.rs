//! train-seed and train-memory: the seed's example as whole processes.

use std::fs;
use std::path::Path;
use std::process::Command;

use sconce_contract::{MetricName, Report};

use crate::child::{Run, run};
use crate::figure::{Turns, median, note};
use crate::{Options, Peers, Result, table};

const YAML: &str = include_str!("../../../../bench/train/seed.yaml");
/// How far a loss may be from ours beside what seeds do to it: initial weights differ by the framework.
const LOSS_TOLERANCE: f64 = 0.1;

/// Who trains.
enum Contender {
    Sconce,
    Keras,
    PyTorch { threads: usize, compiled: bool },
}

impl Contender {
    fn name(&self) -> String {
        match self {
            Contender::Sconce => "sconce".into(),
            Contender::Keras => "keras".into(),
            Contender::PyTorch { threads, compiled } => {
                format!(
                    "pytorch{}-{threads}-threads",
                    if *compiled { "-compiled" } else { "" }
                )
            }
        }
    }

    /// Trains from nothing; the loss on the test rows.
    fn train(&self, options: &Options, peers: &Peers, folder: &Path, seed: usize) -> Result<(Run, f64)> {
        let kept = folder.join("kept");
        // Nothing of the last run is found, least of all a checkpoint.
        if kept.exists() {
            fs::remove_dir_all(&kept)?;
        }
        fs::create_dir(&kept)?;
        let script = |python: &Path, name: &str| -> Command {
            let mut command = options.pinned(python);
            let script = Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("../bench/train")
                .join(name);
            command.arg(script).arg(folder.join("table.csv")).arg(&kept);
            command.arg(seed.to_string());
            // What TensorFlow says of itself costs nothing, but a user of Python sees nothing else.
            command.env("TF_CPP_MIN_LOG_LEVEL", "2");
            command
        };
        let mut command = match self {
            Contender::Sconce => {
                let yaml = folder.join("seed.yaml");
                fs::write(&yaml, YAML.replace("seed: 1", &format!("seed: {seed}")))?;
                let mut command = options.pinned(&options.programs.join("kubectl-sconce"));
                command.args(["rehearse", "--filename"]).arg(&yaml);
                command.arg("--keep").arg(&kept).arg("--mount");
                command.arg(format!("pvc://data={}", folder.display()));
                command
            }
            Contender::Keras => script(&peers.keras, "keras_seed.py"),
            Contender::PyTorch { threads, compiled } => {
                let mut command = script(&peers.pytorch, "torch_seed.py");
                command.arg(threads.to_string());
                if *compiled {
                    command.arg("compile");
                }
                command
            }
        };
        let run = run(&mut command)?;
        let loss = match self {
            Contender::Sconce => our_loss(&kept)?,
            _ => run.output.lines().next_back().unwrap_or_default().parse()?,
        };
        Ok((run, loss))
    }
}

fn our_loss(kept: &Path) -> Result<f64> {
    let report: Report = serde_json::from_slice(&fs::read(kept.join("seed.report.json"))?)?;
    let Report::Trained { metrics, .. } = report else {
        return Err("the training failed".into());
    };
    let loss = metrics.iter().find(|metric| metric.name == MetricName::Loss);
    Ok(loss.ok_or("there is no loss")?.value)
}

/// Prints both figures.
pub fn measure(options: &Options, peers: &Peers) -> Result {
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("table.csv"), table::csv(options.rows))?;
    let pytorch = |threads, compiled| Contender::PyTorch { threads, compiled };
    let all = [
        Contender::Sconce,
        Contender::Keras,
        pytorch(1, false),
        pytorch(2, false),
        pytorch(2, true),
    ];
    // Once without looking at the clock: files are read into memory, and what is compiled is kept.
    let mut contenders = Vec::new();
    for contender in all {
        match contender.train(options, peers, folder.path(), 0) {
            Ok(_) => contenders.push(contender),
            Err(error) if matches!(contender, Contender::PyTorch { compiled: true, .. }) => {
                note(&format!(
                    "torch.compile does not work here and is left out: {error}"
                ));
            }
            Err(error) => return Err(error),
        }
    }
    let names: Vec<String> = contenders.iter().map(Contender::name).collect();
    let [mut times, mut memory, mut losses] = [(); 3].map(|()| Turns::of(&names));
    for turn in 1..=options.pairs {
        for (index, contender) in contenders.iter().enumerate() {
            let (run, loss) = contender.train(options, peers, folder.path(), turn)?;
            times.add(index, run.seconds);
            memory.add(index, run.peak);
            losses.add(index, loss);
        }
    }
    times.print("train-seed", "s");
    memory.print("train-memory", "MiB");
    losses.print("train-seed-loss", "nats");
    same(&losses)
}

/// Refuses figures of contenders that did not learn the same: the losses' medians are further apart than seeds alone
/// bring them.
fn same(losses: &Turns) -> Result {
    let spread = |values: &[f64]| {
        let (least, most) = values
            .iter()
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), &value| {
                (least.min(value), most.max(value))
            });
        most - least
    };
    let mut each = losses.each();
    let Some((_, ours)) = each.next() else {
        return Ok(());
    };
    let loss = median(ours.to_vec());
    for (name, values) in each {
        let other = median(values.to_vec());
        let allowed = spread(ours) + spread(values) + LOSS_TOLERANCE * loss;
        if (other - loss).abs() > allowed {
            let problem = format!("our loss is {loss:.4}, that of {name} {other:.4}: not the same work");
            return Err(problem.into());
        }
    }
    Ok(())
}
