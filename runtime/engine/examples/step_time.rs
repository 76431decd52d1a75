//! Microseconds per step of the networks that we compare ourselves on:
//! `cargo run --release -p sconce-engine --example step_time`.

use std::time::Instant;

use candle_core::Device;
use sconce_contract::{Activation, Hyperparameters, Layer, Loss, Network};
use sconce_engine::{EngineError, Learner, Objective, Rows, Sequential, metrics::Targets};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<(), EngineError> {
    if let Err(error) = sconce_engine::threads::ensure() {
        eprintln!("the number of threads could not be set: {error}");
    }
    for (inputs, hidden, outputs, batch, steps) in [
        (100, &[128, 64][..], 1, 32, 20_000),
        (30, &[128, 64], 1, 32, 20_000),
        (20, &[64, 64], 2, 32, 20_000),
        (784, &[128], 10, 64, 2_000),
        (784, &[1024, 1024], 10, 256, 40),
    ] {
        let [plan, graph] = times(inputs, hidden, outputs, batch, steps)?;
        println!(
            "{inputs}-{hidden:?}-{outputs} batch {batch}: {plan:.1} µs per step by the plan, {graph:.1} by the graph"
        );
    }
    Ok(())
}

/// The best of many bursts of steps, by turns: plan, graph.
fn times(
    inputs: usize,
    hidden: &[u32],
    outputs: u32,
    batch: usize,
    steps: u32,
) -> Result<[f64; 2], EngineError> {
    let mut layers: Vec<Layer> = hidden
        .iter()
        .map(|&units| Layer::dense(units, Activation::ReLU))
        .collect();
    let (last, loss) = match outputs {
        1 => (Activation::Sigmoid, Loss::BinaryCrossEntropy),
        _ => (Activation::Softmax, Loss::CrossEntropy),
    };
    layers.push(Layer::dense(outputs, last));
    let network = Network::of(layers);
    let settings = Hyperparameters {
        batch_size: u32::try_from(batch).unwrap_or(u32::MAX),
        ..Hyperparameters::default()
    };
    let objective = Objective::new(loss, last, &settings, Vec::new());
    let model = || Sequential::initialised(&network, inputs, 42, &Device::Cpu);
    let mut learners = [
        Learner::new(model()?, &objective, &settings)?,
        Learner::by_graph(model()?, &objective, &settings),
    ];
    let x: Vec<f32> = (0..batch * inputs)
        .map(|index| (index % 17) as f32 / 17.0 - 0.5)
        .collect();
    let classes: Vec<u32> = (0..batch as u32).map(|row| row % outputs.max(2)).collect();
    let rows = Rows {
        x: &x,
        targets: Targets::Classes(&classes),
    };
    // Short bursts: on a machine that others share the best of many is one that nobody disturbed.
    let bursts = (steps / 10).max(40);
    let mut best = [f64::INFINITY; 2];
    for _ in 0..bursts {
        for (learner, best) in learners.iter_mut().zip(&mut best) {
            let start = Instant::now();
            for _ in 0..steps / bursts {
                learner.step(&rows, 0.001)?;
            }
            *best = best.min(start.elapsed().as_secs_f64() * 1e6 / f64::from(steps / bursts));
        }
    }
    Ok(best)
}
