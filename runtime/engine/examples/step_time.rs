//! Microseconds per step of the networks that we compare ourselves on, by the plan on one thread, by the plan on as many as
//! there are, and by the graph: `cargo run --release -p sconce-engine --example step_time`, with a part of a name for some
//! of them only.

use std::time::Instant;

use candle_core::Device;
use sconce_contract::{Activation, Hyperparameters, Layer, Loss, Network};
use sconce_engine::{EngineError, Learner, Objective, Rows, Sequential, metrics::Targets, threads};

mod networks;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    if let Err(error) = threads::ensure() {
        eprintln!("the number of threads could not be set: {error}");
    }
    let wanted = std::env::args().nth(1).unwrap_or_default();
    let mut asked = Vec::new();
    for (inputs, hidden, outputs, batch, steps) in [
        (20, &[64, 64][..], 2, 32, 20_000),
        (30, &[128, 64], 1, 32, 20_000),
        (100, &[128, 64], 1, 32, 20_000),
        (784, &[128], 10, 64, 2_000),
        (784, &[1024, 1024], 10, 256, 40),
    ] {
        let name = format!("{inputs}-{hidden:?}-{outputs} batch {batch}");
        asked.push((name, dense(hidden, outputs), inputs, batch, steps));
    }
    for name in networks::IMAGES {
        asked.push((
            format!("{name} batch 64"),
            networks::images(name)?,
            28 * 28,
            64,
            200,
        ));
    }
    let granted = threads::granted();
    for (name, network, inputs, batch, steps) in asked {
        if name.contains(&wanted) {
            let [one, many, graph] = times(&network, inputs, batch, steps)?;
            println!(
                "{name}: {one:.1} µs per step by the plan, {many:.1} on {granted} threads, {graph:.1} by the graph"
            );
        }
    }
    Ok(())
}

fn dense(hidden: &[u32], outputs: u32) -> Network {
    let mut layers: Vec<Layer> = hidden
        .iter()
        .map(|&units| Layer::dense(units, Activation::ReLU))
        .collect();
    let last = match outputs {
        1 => Activation::Sigmoid,
        _ => Activation::Softmax,
    };
    layers.push(Layer::dense(outputs, last));
    Network::of(layers)
}

/// The best of many bursts of steps, by turns: the plan, the plan on all threads, the graph.
fn times(network: &Network, inputs: usize, batch: usize, steps: u32) -> Result<[f64; 3], EngineError> {
    let settings = Hyperparameters {
        batch_size: u32::try_from(batch).unwrap_or(u32::MAX),
        ..Hyperparameters::default()
    };
    let model = || Sequential::initialised(network, inputs, 42, &Device::Cpu);
    let (outputs, last) = (model()?.outputs() as u32, model()?.last_activation());
    let loss = match outputs {
        1 => Loss::BinaryCrossEntropy,
        _ => Loss::CrossEntropy,
    };
    let objective = Objective::new(loss, last, &settings, Vec::new());
    let mut learners = [
        Learner::threaded(model()?, &objective, &settings, 1)?,
        Learner::threaded(model()?, &objective, &settings, threads::granted())?,
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
    let mut best = [f64::INFINITY; 3];
    for _ in 0..bursts {
        for (learner, best) in learners.iter_mut().zip(&mut best) {
            // Threads that slept meanwhile wake up.
            learner.step(&rows, 0.001)?;
            let start = Instant::now();
            for _ in 0..steps.div_ceil(bursts) {
                learner.step(&rows, 0.001)?;
            }
            *best = best.min(start.elapsed().as_secs_f64() * 1e6 / f64::from(steps.div_ceil(bursts)));
        }
    }
    Ok(best)
}
