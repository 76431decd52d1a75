//! Microseconds per step of the networks that we compare ourselves on:
//! `cargo run --release -p sconce-engine --example step_time`.

use std::time::Instant;

use candle_core::{Device, Tensor};
use sconce_contract::{Activation, Layer, Loss, Network, Optimizer};
use sconce_engine::{EngineError, Learner, Sequential};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<(), EngineError> {
    if let Err(error) = sconce_engine::threads::ensure() {
        eprintln!("the number of threads could not be set: {error}");
    }
    for (inputs, hidden, outputs, batch, steps) in [
        (30, &[128, 64][..], 1, 32, 20_000),
        (20, &[64, 64], 2, 32, 20_000),
        (784, &[128], 10, 64, 2_000),
        (784, &[1024, 1024], 10, 256, 40),
    ] {
        let time = time(inputs, hidden, outputs, batch, steps)?;
        println!("{inputs}-{hidden:?}-{outputs} batch {batch}: {time:.1} µs per step");
    }
    Ok(())
}

fn time(inputs: usize, hidden: &[u32], outputs: u32, batch: usize, steps: u32) -> Result<f64, EngineError> {
    let mut layers: Vec<Layer> = hidden
        .iter()
        .map(|&units| Layer::dense(units, Activation::ReLU))
        .collect();
    let (last, loss) = match outputs {
        1 => (Activation::Sigmoid, Loss::BinaryCrossEntropy),
        _ => (Activation::Softmax, Loss::CrossEntropy),
    };
    layers.push(Layer::dense(outputs, last));
    let model = Sequential::initialised(&Network { layers }, inputs, 42, &Device::Cpu)?;
    let mut learner = Learner::new(model, loss, &Optimizer::default(), 42);
    let x: Vec<f32> = (0..batch * inputs)
        .map(|index| (index % 17) as f32 / 17.0 - 0.5)
        .collect();
    let classes: Vec<u32> = (0..batch as u32).map(|row| row % outputs.max(2)).collect();
    let targets = match loss {
        Loss::CrossEntropy => Tensor::from_vec(classes, batch, &Device::Cpu)?,
        _ => Tensor::from_vec(
            classes.iter().map(|&c| c as f32).collect::<Vec<_>>(),
            (batch, 1),
            &Device::Cpu,
        )?,
    };
    let mut best = f64::INFINITY;
    for _ in 0..3 {
        let start = Instant::now();
        for _ in 0..steps {
            let x = Tensor::from_slice(&x, (batch, inputs), &Device::Cpu)?;
            learner.step(&x, &targets, 0.001)?;
        }
        best = best.min(start.elapsed().as_secs_f64() * 1e6 / f64::from(steps));
    }
    Ok(best)
}
