//! train-seed and train-memory: the seed's example as whole processes.

use std::fs;
use std::path::Path;
use std::process::Command;

use sconce_contract::{MetricName, Report};

use crate::child::{Run, run};
use crate::figure::{Turns, median, note};
use crate::{Options, Peers, Result, table};

const YAML: &str = include_str!("../../../../bench/train/seed.yaml");
/// How far the share of test rows told wrong may be from ours, beside what seeds do to it. The loss would not do: these
/// networks have learned their rows by heart, and how sure they are of others is a matter of the initial weights (Keras
/// with ours ends with our loss, with its own a quarter above it, and as many rows wrong).
const ERROR_TOLERANCE: f64 = 0.01;

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

    /// Trains from nothing; what it says of the test rows.
    fn train(&self, options: &Options, peers: &Peers, folder: &Path, seed: usize) -> Result<(Run, Learned)> {
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
        let learned = match self {
            Contender::Sconce => ours(&kept)?,
            _ => Learned::read(&run.output)?,
        };
        Ok((run, learned))
    }
}

/// How well the rows are told that were held out.
struct Learned {
    loss: f64,
    wrong: f64,
}

impl Learned {
    /// From the last line, `LOSS ACCURACY`.
    fn read(output: &str) -> Result<Learned> {
        let line = output.lines().next_back().unwrap_or_default();
        let (loss, accuracy) = line.split_once(' ').ok_or("no loss and accuracy at the end")?;
        Ok(Learned {
            loss: loss.parse()?,
            wrong: 1.0 - accuracy.parse::<f64>()?,
        })
    }
}

fn ours(kept: &Path) -> Result<Learned> {
    let report: Report = serde_json::from_slice(&fs::read(kept.join("seed.report.json"))?)?;
    let Report::Trained { metrics, .. } = report else {
        return Err("the training failed".into());
    };
    let value = |name: MetricName| {
        let metric = metrics.iter().find(|metric| metric.name == name);
        metric.map(|metric| metric.value).ok_or("a metric is missing")
    };
    Ok(Learned {
        loss: value(MetricName::Loss)?,
        wrong: 1.0 - value(MetricName::Accuracy)?,
    })
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
    let [mut times, mut memory, mut losses, mut errors] = [(); 4].map(|()| Turns::of(&names));
    for turn in 1..=options.pairs {
        for (index, contender) in contenders.iter().enumerate() {
            let (run, learned) = contender.train(options, peers, folder.path(), turn)?;
            let name = contender.name();
            note(&format!(
                "{name}, turn {turn}: {:.3} s, {:.0} MiB",
                run.seconds, run.peak
            ));
            times.add(index, run.seconds);
            memory.add(index, run.peak);
            losses.add(index, learned.loss);
            errors.add(index, learned.wrong);
        }
    }
    times.print("train-seed", "s");
    memory.print("train-memory", "MiB");
    losses.print("train-seed-loss", "nats");
    errors.print("train-seed-error", "share");
    same(&errors)
}

/// Refuses figures of contenders that did not learn the same: the medians are further apart than seeds alone
/// bring them.
fn same(errors: &Turns) -> Result {
    let spread = |values: &[f64]| {
        let (least, most) = values
            .iter()
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), &value| {
                (least.min(value), most.max(value))
            });
        most - least
    };
    let mut each = errors.each();
    let Some((_, ours)) = each.next() else {
        return Ok(());
    };
    let wrong = median(ours.to_vec());
    for (name, values) in each {
        let other = median(values.to_vec());
        let allowed = spread(ours) + spread(values) + ERROR_TOLERANCE;
        if (other - wrong).abs() > allowed {
            let problem =
                format!("{wrong:.4} of our rows are wrong, {other:.4} of those of {name}: not the same work");
            return Err(problem.into());
        }
    }
    Ok(())
}
