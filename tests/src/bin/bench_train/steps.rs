//! train-small, train-784-128, train-wide and train-cnn: the time of one step, without reading, evaluating or starting.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::figure::{Turns, median, note};
use crate::{Options, Peers, Result};

/// A network, and how many rows a step learns from.
struct Shape {
    name: &'static str,
    network: Network,
    batch: u32,
}

enum Network {
    /// Dense layers.
    Dense {
        inputs: u32,
        hidden: &'static [u32],
        outputs: u32,
    },
    /// 28 × 28 points, 16 and 32 filters of 3 × 3, a pool of 2 × 2 after each, 10 classes.
    Images,
}

const SHAPES: [Shape; 4] = [
    Shape {
        name: "train-small",
        network: Network::Dense {
            inputs: 20,
            hidden: &[64, 64],
            outputs: 2,
        },
        batch: 32,
    },
    Shape {
        name: "train-784-128",
        network: Network::Dense {
            inputs: 784,
            hidden: &[128],
            outputs: 10,
        },
        batch: 64,
    },
    Shape {
        name: "train-wide",
        network: Network::Dense {
            inputs: 784,
            hidden: &[1024, 1024],
            outputs: 10,
        },
        batch: 256,
    },
    Shape {
        name: "train-cnn",
        network: Network::Images,
        batch: 64,
    },
];

impl Shape {
    fn question(&self, seconds: f64) -> String {
        let batch = self.batch;
        match &self.network {
            Network::Images => format!("images {batch} {seconds}"),
            Network::Dense {
                inputs,
                hidden,
                outputs,
            } => {
                let hidden: Vec<String> = hidden.iter().map(ToString::to_string).collect();
                format!("{inputs} {} {outputs} {batch} {seconds}", hidden.join(","))
            }
        }
    }

    /// Operations of the products of a step: forward, and for each layer the gradient of its weights and, but for the
    /// first, of its inputs.
    fn operations(&self) -> f64 {
        // Of a row: how often a matrix is multiplied by, its rows and its columns.
        let products: Vec<[u32; 3]> = match &self.network {
            Network::Images => vec![[26 * 26, 9, 16], [11 * 11, 9 * 16, 32], [1, 800, 10]],
            Network::Dense {
                inputs,
                hidden,
                outputs,
            } => {
                let widths: Vec<u32> = [*inputs]
                    .into_iter()
                    .chain(hidden.iter().copied())
                    .chain([*outputs])
                    .collect();
                widths.windows(2).map(|pair| [1, pair[0], pair[1]]).collect()
            }
        };
        let operations = products.iter().enumerate().map(|(layer, product)| {
            let passes = if layer == 0 { 2.0 } else { 3.0 };
            passes * 2.0 * product.iter().copied().map(f64::from).product::<f64>()
        });
        f64::from(self.batch) * operations.sum::<f64>()
    }
}

/// A process that is asked for times.
struct Clock {
    name: String,
    child: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
    said: File,
}

impl Clock {
    fn start(name: &str, command: &mut Command) -> Result<Self> {
        let said = tempfile::tempfile()?;
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(said.try_clone()?)
            .spawn()?;
        Ok(Self {
            name: name.to_owned(),
            questions: child.stdin.take().ok_or("no standard input")?,
            answers: BufReader::new(child.stdout.take().ok_or("no standard output")?),
            child,
            said,
        })
    }

    fn ask(&mut self, question: &str) -> Result<f64> {
        writeln!(self.questions, "{question}")?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        answer.trim().parse().map_err(|_| {
            let mut said = String::new();
            // It is but what may explain it.
            let _ = self
                .said
                .rewind()
                .and_then(|()| self.said.read_to_string(&mut said));
            format!("{} does not answer {question:?}: {said}", self.name).into()
        })
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        // It fails only where the process has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Prints a figure for each network, and the machine's limit.
pub fn measure(options: &Options, peers: &Peers) -> Result {
    let mut ours = options.pinned(&options.programs.join("examples/step_clock"));
    let mut clocks = vec![Clock::start("sconce", &mut ours)?];
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bench/train/torch_steps.py");
    for threads in ["1", "2"] {
        for compiled in [None, Some("compile")] {
            let mut command = options.pinned(&peers.pytorch);
            command.arg(&script).arg(threads).args(compiled);
            let name = if compiled.is_some() {
                "pytorch-compiled"
            } else {
                "pytorch"
            };
            let mut clock = Clock::start(&format!("{name}-{threads}-threads"), &mut command)?;
            // It compiles now, and not while a clock runs.
            let answers = SHAPES
                .iter()
                .try_for_each(|shape| clock.ask(&shape.question(0.0)).map(drop));
            match answers {
                Ok(()) => clocks.push(clock),
                Err(error) if compiled.is_some() => note(&format!("torch.compile is left out: {error}")),
                Err(error) => return Err(error),
            }
        }
    }
    let names: Vec<String> = clocks.iter().map(|clock| clock.name.clone()).collect();
    let limits: Result<Vec<f64>> = (0..options.pairs)
        .map(|_| clocks[0].ask(&format!("gemm {}", options.seconds)))
        .collect();
    let limit = median(limits?);
    println!("gemm {limit:.1} GFLOP/s");
    for shape in &SHAPES {
        let mut turns = Turns::of(&names);
        let mut speeds = Vec::new();
        for _ in 0..options.pairs {
            for (index, clock) in clocks.iter_mut().enumerate() {
                let micros = clock.ask(&shape.question(options.seconds))?;
                turns.add(index, micros);
                if index == 0 {
                    speeds.push(shape.operations() / micros / 1e3);
                }
            }
        }
        turns.print(shape.name, "µs");
        let speed = median(speeds);
        println!(
            "{}-speed {speed:.1} GFLOP/s peer=gemm:{limit:.1} ratio={:.3}",
            shape.name,
            speed / limit
        );
    }
    Ok(())
}
