//! What `make bench-train` asks for the time of a step, on the processor or on what the only argument names (`cuda`). Each
//! line of the standard input is answered by a line:
//!
//! ```text
//!   INPUTS HIDDEN,HIDDEN OUTPUTS BATCH SECONDS    microseconds per step, the median over short bursts
//!   images BATCH SECONDS                          likewise, of a small convolutional network on 28 × 28 points
//!   normed BATCH SECONDS                          likewise, of the same with batch norm
//!   residual BATCH SECONDS                        likewise, with a residual block
//!   gemm SECONDS                                  GFLOP/s of products of two 1024 × 1024 matrices, likewise
//! ```

use std::{
    error::Error,
    io::{Write, stdin, stdout},
    time::{Duration, Instant},
};

use candle_core::{Device, Tensor};
use sconce_contract::{Activation, Hyperparameters, Layer, Loss, Network, Optimizer, OptimizerType};
use sconce_engine::{EngineError, Learner, Objective, Rows, Sequential, device, metrics::Targets};

mod networks;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Seconds of a burst.
const BURST: f64 = 0.02;
/// Rows and columns of the matrices.
const SIDE: usize = 1024;

fn main() -> Result<(), Box<dyn Error>> {
    sconce_engine::threads::ensure()?;
    let device = match std::env::args().nth(1).as_deref() {
        None => Device::Cpu,
        Some("cuda") => device::open(sconce_contract::Device::Cuda)?,
        Some(other) => return Err(format!("{other:?} is no device: cuda, or nothing").into()),
    };
    for line in stdin().lines() {
        let line = line?;
        let words: Vec<&str> = line.split_whitespace().collect();
        let answer = match words[..] {
            ["gemm", seconds] => {
                let matrix = Tensor::rand(-1f32, 1.0, (SIDE, SIDE), &Device::Cpu)?;
                let operations = 2.0 * (SIDE as f64).powi(3);
                operations / 1e9 / median(seconds.parse()?, || matrix.matmul(&matrix).map(drop))?
            }
            [name, batch, seconds] if networks::IMAGES.contains(&name) => {
                let step = steps(&networks::images(name)?, 28 * 28, 10, batch.parse()?, &device)?;
                median(seconds.parse()?, step)? * 1e6
            }
            [inputs, hidden, outputs, batch, seconds] => {
                let hidden: Result<Vec<u32>, _> = hidden.split(',').map(str::parse).collect();
                let outputs = outputs.parse()?;
                let network = dense(&hidden?, outputs);
                let step = steps(&network, inputs.parse()?, outputs, batch.parse()?, &device)?;
                median(seconds.parse()?, step)? * 1e6
            }
            _ => return Err(format!("{line:?} is no question").into()),
        };
        println!("{answer}");
        stdout().flush()?;
    }
    Ok(())
}

fn dense(hidden: &[u32], outputs: u32) -> Network {
    let hidden = hidden.iter().map(|&units| Layer::dense(units, Activation::ReLU));
    let layers = hidden.chain([Layer::dense(outputs, Activation::Softmax)]);
    Network::of(layers.collect())
}

/// A step of AdamW from a batch that stays the same.
fn steps(
    network: &Network,
    inputs: usize,
    outputs: u32,
    batch: u32,
    device: &Device,
) -> Result<impl FnMut() -> Result<(), EngineError> + use<>, EngineError> {
    let settings = Hyperparameters {
        batch_size: batch,
        optimizer: Optimizer {
            kind: OptimizerType::AdamW,
            ..Optimizer::default()
        },
        ..Hyperparameters::default()
    };
    let objective = Objective::new(Loss::CrossEntropy, Activation::Softmax, &settings, Vec::new());
    let model = Sequential::initialised(network, inputs, settings.seed, device)?;
    let mut learner = Learner::new(model, &objective, &settings)?;
    let x: Vec<f32> = (0..batch as usize * inputs)
        .map(|index| (index * 31 % 101) as f32 / 101.0 - 0.5)
        .collect();
    let classes: Vec<u32> = (0..batch).map(|row| row % outputs).collect();
    Ok(move || {
        let rows = Rows {
            x: &x,
            targets: Targets::Classes(&classes),
        };
        learner.step(&rows, settings.optimizer.learning_rate).map(drop)
    })
}

/// Seconds that it takes, the median over bursts for as many seconds.
fn median<E>(seconds: f64, mut work: impl FnMut() -> Result<(), E>) -> Result<f64, E> {
    let mut burst = |count: u32| {
        let start = Instant::now();
        for _ in 0..count {
            work()?;
        }
        Ok(start.elapsed().as_secs_f64() / f64::from(count))
    };
    burst(10)?;
    let count = (BURST / burst(3)?).round().max(1.0) as u32;
    let (start, length) = (Instant::now(), Duration::from_secs_f64(seconds));
    let mut times = vec![burst(count)?];
    while start.elapsed() < length {
        times.push(burst(count)?);
    }
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}
