//! What is learned on a GPU is what is learned on the processor. Without a GPU these tests fail: they are no part of
//! `make test`, and who asks for them wants to know.
#![allow(clippy::unwrap_used, clippy::panic)] // A test fails by panicking.

#[path = "../../train/tests/rehearsal/mod.rs"]
mod rehearsal;

use std::collections::BTreeMap;

use candle_core::Device;
use rehearsal::{Rehearsal, metric, separable};
use sconce_contract::{Hyperparameters, Loss, MetricName, Mount, Network, Optimizer, OptimizerType};
use sconce_engine::{Learner, Objective, Rows, Sequential, device, metrics::Targets};
use sconce_model::Model;
use sconce_store::Store;
use serde_json::{Value, json};

const ROWS: usize = 24;
const STEPS: usize = 10;

fn gpu() -> Device {
    device::open(sconce_contract::Device::Cuda).unwrap()
}

/// Numbers without a pattern that a network could use, between −1 and 1.
fn numbers(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    std::iter::repeat_with(next).take(count).collect()
}

/// A training of a network on rows of its own.
struct Lesson {
    network: Network,
    settings: Hyperparameters,
    inputs: usize,
    x: Vec<f32>,
    targets: Vec<u32>,
}

impl Lesson {
    /// The layers before one that tells three classes apart. A row is as long as its shape, or as long as that says.
    fn of(input: Value, layers: &[Value], settings: Hyperparameters) -> Self {
        let inputs = match &input {
            Value::Number(columns) => columns.as_u64().unwrap(),
            shape => shape
                .as_object()
                .unwrap()
                .values()
                .map(|points| points.as_u64().unwrap())
                .product(),
        } as usize;
        let mut layers = layers.to_vec();
        layers.push(json!({"dense": {"units": 3, "activation": "Softmax"}}));
        let mut network = json!({"layers": layers});
        if input.is_object() {
            network["input"] = input;
        }
        let network: Network = serde_json::from_value(network).unwrap();
        let mut x = numbers(ROWS * inputs, 1);
        if let Some(vocabulary) = network.vocabulary() {
            x.iter_mut()
                .for_each(|value| *value = ((*value + 1.0) / 2.0 * vocabulary as f32).floor());
        }
        Lesson {
            network,
            settings,
            inputs,
            x,
            targets: (0..ROWS as u32).map(|row| row % 3).collect(),
        }
    }

    fn rows(&self) -> Rows<'_> {
        Rows {
            x: &self.x,
            targets: Targets::Classes(&self.targets),
        }
    }

    fn objective(&self) -> Objective {
        let last = self.network.layers.last().unwrap().dense.unwrap();
        Objective::new(Loss::CrossEntropy, last.activation, &self.settings, Vec::new())
    }

    fn learner(&self, device: &Device) -> Learner {
        let model = Sequential::initialised(&self.network, self.inputs, 7, device).unwrap();
        Learner::new(model, &self.objective(), &self.settings).unwrap()
    }

    fn step(&self, learner: &mut Learner) -> f64 {
        learner
            .step(&self.rows(), self.settings.optimizer.learning_rate)
            .unwrap()
    }

    #[track_caller]
    fn agrees(&self, what: &str) {
        let (mut here, mut there) = (self.learner(&Device::Cpu), self.learner(&gpu()));
        for step in 0..STEPS {
            let (here, there) = (self.step(&mut here), self.step(&mut there));
            assert!(
                (here - there).abs() < 1e-4 * here.abs().max(0.1),
                "{what}, step {step}: the loss is {there} on the GPU and {here} on the processor"
            );
        }
        close(
            what,
            &there.flat_weights().unwrap(),
            &here.flat_weights().unwrap(),
        );
        let mut outputs = [Vec::new(), Vec::new()];
        here.predict(&self.x, &mut outputs[0]).unwrap();
        there.predict(&self.x, &mut outputs[1]).unwrap();
        close(what, &outputs[1], &outputs[0]);
    }
}

/// To a ten thousandth of the length of all.
#[track_caller]
fn close(what: &str, found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let length =
        |values: &mut dyn Iterator<Item = f32>| values.map(|value| value * value).sum::<f32>().sqrt();
    let apart = length(
        &mut found
            .iter()
            .zip(expected)
            .map(|(found, expected)| found - expected),
    );
    let whole = length(&mut expected.iter().copied());
    assert!(apart < 1e-4 * whole, "{what}: {apart} of {whole} apart");
}

fn settings(kind: OptimizerType, rate: f64) -> Hyperparameters {
    Hyperparameters {
        batch_size: 10,
        optimizer: Optimizer {
            kind,
            learning_rate: rate,
            ..Optimizer::default()
        },
        ..Hyperparameters::default()
    }
}

/// Plain descent, in which no root or sign makes a small difference large.
fn plain() -> Hyperparameters {
    settings(OptimizerType::Sgd, 0.05)
}

fn dense(units: u32, activation: &str) -> Value {
    json!({"dense": {"units": units, "activation": activation}})
}

#[test]
fn in_every_kind_of_network() {
    let image = json!({"height": 9, "width": 8, "channels": 2});
    let sequence = json!({"length": 7, "channels": 4});
    let flatten = || json!({"flatten": {}});
    let mean = || json!({"globalAveragePool": {}});
    let networks: Vec<(&str, Value, Vec<Value>)> = vec![
        (
            "dense ReLU",
            json!(20),
            vec![dense(32, "ReLU"), dense(16, "ReLU")],
        ),
        (
            "dense GELU",
            json!(20),
            vec![dense(32, "GELU"), dense(16, "Sigmoid")],
        ),
        (
            "dropout",
            json!(20),
            vec![dense(32, "Tanh"), json!({"dropout": {"rate": 0.3}})],
        ),
        (
            "images",
            image.clone(),
            vec![
                json!({"conv2d": {"filters": 6, "kernelSize": 3, "padding": "Same", "activation": "ReLU"}}),
                json!({"maxPool2d": {"poolSize": 2}}),
                json!({"conv2d": {"filters": 5, "kernelSize": 2, "stride": 2, "activation": "Tanh"}}),
                flatten(),
            ],
        ),
        (
            "norms",
            image,
            vec![
                json!({"conv2d": {"filters": 4, "kernelSize": 3, "activation": "Linear"}}),
                json!({"batchNorm": {}}),
                json!({"activation": "ReLU"}),
                json!({"averagePool2d": {"poolSize": 2}}),
                flatten(),
                json!({"layerNorm": {}}),
                dense(8, "Tanh"),
                json!({"rmsNorm": {}}),
            ],
        ),
        (
            "sequences",
            sequence.clone(),
            vec![
                json!({"conv1d": {"filters": 6, "kernelSize": 3, "padding": "Same", "activation": "GELU"}}),
                json!({"maxPool1d": {"poolSize": 2, "stride": 2}}),
                flatten(),
            ],
        ),
        ("lstm", sequence.clone(), vec![json!({"lstm": {"units": 5}})]),
        ("gru", sequence.clone(), vec![json!({"gru": {"units": 5}})]),
        (
            "attention",
            sequence.clone(),
            vec![json!({"attention": {"heads": 2}}), mean()],
        ),
        (
            "words",
            json!(6),
            vec![
                json!({"embedding": {"vocabulary": 11, "dimensions": 8}}),
                json!({"positionEmbedding": {}}),
                json!({"transformerBlock": {"heads": 2, "feedForward": 16}}),
                mean(),
            ],
        ),
    ];
    for (what, input, layers) in networks {
        Lesson::of(input, &layers, plain()).agrees(what);
    }
}

#[test]
fn by_every_optimiser_with_all_that_is_done_to_a_gradient() {
    for (kind, rate) in [
        (OptimizerType::Sgd, 0.05),
        (OptimizerType::Adam, 0.005),
        (OptimizerType::AdamW, 0.005),
        (OptimizerType::RmsProp, 0.002),
        (OptimizerType::Adagrad, 0.02),
        (OptimizerType::Lion, 0.001),
    ] {
        let settings = Hyperparameters {
            clip_norm: Some(0.5),
            regularization: Some(serde_json::from_value(json!({"l1": 0.001, "l2": 0.01})).unwrap()),
            ..settings(kind, rate)
        };
        Lesson::of(json!(20), &[dense(32, "Tanh"), dense(16, "Tanh")], settings).agrees(&format!("{kind:?}"));
    }
}

#[test]
fn large_products_are_computed_in_full_f32() {
    // TF32 keeps ten bits of each factor: it would be 1e-3 off.
    Lesson::of(json!(1024), &[dense(1024, "Tanh"), dense(512, "Tanh")], plain()).agrees("wide");
}

#[test]
fn the_same_seed_gives_the_same_bits_and_a_saved_state_goes_on_with_them() {
    let layers = [
        dense(64, "ReLU"),
        json!({"dropout": {"rate": 0.2}}),
        dense(32, "ReLU"),
    ];
    let lesson = Lesson::of(json!(20), &layers, settings(OptimizerType::AdamW, 0.01));
    let mut whole = lesson.learner(&gpu());
    let mut stopped = lesson.learner(&gpu());
    for _ in 0..STEPS {
        assert_eq!(
            lesson.step(&mut whole).to_bits(),
            lesson.step(&mut stopped).to_bits()
        );
    }
    let state = stopped.optimiser().state().unwrap().into_iter();
    let state: BTreeMap<String, Vec<f32>> = state.map(|(name, values)| (name, values.into_owned())).collect();
    let weights = stopped.weights().unwrap().into_iter().collect();
    drop(stopped);
    let model = Sequential::from_weights(&lesson.network, lesson.inputs, &weights, &gpu()).unwrap();
    let mut resumed =
        Learner::resumed(model, &lesson.objective(), &lesson.settings, STEPS as u64, &state).unwrap();
    for _ in 0..STEPS {
        assert_eq!(
            lesson.step(&mut whole).to_bits(),
            lesson.step(&mut resumed).to_bits()
        );
    }
}

#[test]
fn a_model_that_was_trained_on_a_gpu_answers_alike_everywhere() {
    let training = |device: &str| {
        let rehearsal = Rehearsal::of(&separable(400))
            .layers(&[(16, "ReLU"), (1, "Sigmoid")])
            .with("hyperparameters", json!({"epochs": 10, "batchSize": 32}))
            .with(
                "checkpoint",
                json!({"uri": "pvc://data/checkpoints", "every": {"steps": 20}}),
            )
            .with("device", json!(device));
        let (metrics, artifact) = rehearsal.train();
        let mounts: Vec<Mount> = serde_json::from_value(rehearsal.plan["mounts"].clone()).unwrap();
        let load =
            || Model::load(&Store::new(mounts.clone()), &artifact.uri, Some(&artifact.digest)).unwrap();
        let rows = numbers(2 * ROWS, 3);
        let here = load().predict(&rows, ROWS).unwrap();
        let there = load()
            .on(sconce_contract::Device::Cuda)
            .unwrap()
            .predict(&rows, ROWS)
            .unwrap();
        close("served", &there, &here);
        (metric(&metrics, MetricName::Accuracy), here)
    };
    let (on_processor, on_gpu) = (training("CPU"), training("CUDA"));
    assert!(on_gpu.0 > 0.9, "accuracy {}", on_gpu.0);
    let apart = on_processor
        .1
        .iter()
        .zip(&on_gpu.1)
        .map(|(here, there)| (here - there).abs());
    assert!(apart.fold(0.0, f32::max) < 1e-2);
}
