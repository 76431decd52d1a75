//! From the same weights and batches our engine learns as PyTorch does: each optimiser, schedule and loss.

use std::collections::BTreeMap;

use candle_core::Device;
use sconce_contract::{Hyperparameters, Loss, Network};
use sconce_engine::metrics::Targets;
use sconce_engine::schedules::{Moment, learning_rate};
use sconce_engine::{Learner, Objective, Purpose, Random, Rows, Sequential};
use sconce_tests::frameworks::{KERAS, PYTORCH};
use serde_json::{Value, json};

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

const ROWS: usize = 96;
const INPUTS: usize = 6;
const BATCH: usize = 16;
const EPOCHS: u32 = 5;

/// One comparison: what a ModelTraining would say.
struct Case {
    loss: Loss,
    settings: Value,
}

fn case(loss: Loss, settings: Value) -> Case {
    Case { loss, settings }
}

/// What was seen of learning.
struct Course {
    losses: Vec<f64>,
    rates: Vec<f64>,
    weights: Vec<f32>,
}

/// A table from a seed.
fn table() -> Vec<f32> {
    let mut random = Random::new(5, Purpose::Weights, 9);
    (0..ROWS * INPUTS)
        .map(|_| (random.unit() * 4.0 - 2.0) as f32)
        .collect()
}

fn network(loss: Loss) -> Outcome<Network> {
    let (units, activation) = match loss {
        Loss::BinaryCrossEntropy => (1, "Sigmoid"),
        Loss::CrossEntropy => (3, "Softmax"),
        _ => (1, "Linear"),
    };
    let dense = |units, activation| json!({"dense": {"units": units, "activation": activation}});
    let layers = [
        dense(16, "ReLU"),
        dense(12, "Tanh"),
        dense(8, "GELU"),
        dense(units, activation),
    ];
    Ok(serde_json::from_value(json!({ "layers": layers }))?)
}

/// Learns by our engine, and puts the same as a question to PyTorch.
fn learn(case: &Case) -> Outcome<(Course, Value)> {
    let mut settings: Hyperparameters = serde_json::from_value(case.settings.clone())?;
    settings.epochs = EPOCHS;
    settings.batch_size = u32::try_from(BATCH)?;
    let network = network(case.loss)?;
    let last = network
        .layers
        .last()
        .and_then(|layer| layer.dense)
        .ok_or("no last layer")?;
    let objective = Objective::new(case.loss, last.activation, &settings, Vec::new());
    let model = Sequential::initialised(&network, INPUTS, 3, &Device::Cpu)?;
    let parameters: BTreeMap<String, Vec<f32>> = model
        .weights()?
        .into_iter()
        .map(|(name, tensor)| Ok((name, tensor.flatten_all()?.to_vec1()?)))
        .collect::<Outcome<_>>()?;
    let weights: Vec<&Vec<f32>> = (0..network.layers.len())
        .flat_map(|layer| [format!("layers.{layer}.weight"), format!("layers.{layer}.bias")])
        .filter_map(|name| parameters.get(&name))
        .collect();

    let table = table();
    let sums: Vec<f32> = table
        .chunks(INPUTS)
        .map(|row| row[0] * row[1] + row[2] - 0.5 * row[3])
        .collect();
    let classes: Vec<u32> = sums
        .iter()
        .map(|sum| match (case.loss, *sum) {
            (Loss::CrossEntropy, ..-0.7) => 2,
            (_, ..0.3) => 0,
            _ => 1,
        })
        .collect();
    let mut learner = Learner::new(model, &objective, &settings)?;
    let per_step = usize::try_from(settings.rows_per_step())?;
    let (mut losses, mut rates, mut batches) = (Vec::new(), Vec::new(), Vec::new());
    for epoch in 0..EPOCHS {
        let mut order: Vec<usize> = (0..ROWS).collect();
        Random::new(3, Purpose::Order, u64::from(epoch)).shuffle(&mut order);
        for rows in order.chunks(per_step) {
            let x: Vec<f32> = rows
                .iter()
                .flat_map(|row| &table[row * INPUTS..(row + 1) * INPUTS])
                .copied()
                .collect();
            let numbers: Vec<f32> = rows.iter().map(|&row| sums[row]).collect();
            let labels: Vec<u32> = rows.iter().map(|&row| classes[row]).collect();
            let of_classes = matches!(case.loss, Loss::BinaryCrossEntropy | Loss::CrossEntropy);
            let (targets, y) = match of_classes {
                true => (Targets::Classes(&labels), json!(labels)),
                false => (Targets::Numbers(&numbers), json!(numbers)),
            };
            let moment = Moment {
                step: learner.optimiser().steps(),
                steps_per_epoch: ROWS.div_ceil(per_step) as u64,
                epochs: EPOCHS,
            };
            let rate = learning_rate(&settings.schedule, settings.optimizer.learning_rate, &moment);
            losses.push(learner.step(&Rows { x: &x, targets }, rate)?);
            rates.push(rate);
            batches.push(json!({"x": x, "y": y}));
        }
    }
    let question = json!({
        "inputs": INPUTS, "network": network, "settings": settings, "loss": case.loss, "weights": weights,
        "batches": batches, "epochs": EPOCHS,
    });
    let course = Course {
        losses,
        rates,
        weights: learner.flat_weights()?,
    };
    Ok((course, question))
}

/// Learns each case by both, and compares every step.
fn compare(cases: &[Case]) -> Outcome {
    let (ours, questions): (Vec<_>, Vec<_>) = cases
        .iter()
        .map(learn)
        .collect::<Outcome<Vec<_>>>()?
        .into_iter()
        .unzip();
    let answers = PYTORCH.ask("learn.py", &json!(questions))?;
    for (index, (case, ours)) in cases.iter().zip(&ours).enumerate() {
        let settings = &case.settings;
        let read =
            |what: &str| -> Outcome<Vec<f64>> { Ok(serde_json::from_value(answers[index][what].clone())?) };
        let (losses, rates) = (read("losses")?, read("rates")?);
        let weights: Vec<Vec<f64>> = serde_json::from_value(answers[index]["weights"].clone())?;
        assert_eq!(losses.len(), ours.losses.len());
        for (step, (theirs, ours)) in rates.iter().zip(&ours.rates).enumerate() {
            let difference = (theirs - ours).abs();
            assert!(
                difference <= 1e-9 * theirs.abs() + 1e-12,
                "{settings}: step {step} of size {ours}, not {theirs}"
            );
        }
        for (step, (theirs, ours)) in losses.iter().zip(&ours.losses).enumerate() {
            let difference = (theirs - ours).abs();
            assert!(
                difference < 1e-4,
                "{settings}: at step {step} our loss is {ours}, PyTorch's {theirs}"
            );
        }
        let weights = weights.concat();
        assert_eq!(weights.len(), ours.weights.len());
        for (theirs, ours) in weights.iter().zip(&ours.weights) {
            assert!(
                (theirs - f64::from(*ours)).abs() < 1e-3,
                "{settings}: a weight is {ours}, not {theirs}"
            );
        }
        let (first, last) = (losses[0], losses[losses.len() - 1]);
        assert!(
            last < first,
            "{settings}: nothing was learned, from {first} to {last}"
        );
    }
    Ok(())
}

#[test]
fn each_optimiser_takes_the_steps_that_pytorchs_takes() -> Outcome {
    let optimizers = [
        json!({"type": "SGD", "learningRate": 0.05}),
        json!({"type": "SGD", "learningRate": 0.02, "momentum": 0.9}),
        json!({"type": "SGD", "learningRate": 0.02, "momentum": 0.8, "nesterov": true}),
        json!({"type": "Adam", "learningRate": 0.01}),
        json!({"type": "AdamW", "learningRate": 0.01}),
        json!({"type": "AdamW", "learningRate": 0.01, "weightDecay": 0.2}),
        json!({"type": "RMSprop", "learningRate": 0.003}),
        json!({"type": "Adagrad", "learningRate": 0.03}),
    ];
    let losses = [Loss::MeanSquaredError, Loss::BinaryCrossEntropy];
    let of = |loss| {
        optimizers
            .iter()
            .map(move |optimizer| case(loss, json!({ "optimizer": optimizer })))
    };
    compare(&losses.into_iter().flat_map(of).collect::<Vec<_>>())
}

#[test]
fn each_loss_and_what_is_added_to_it_is_pytorchs() -> Outcome {
    compare(&[
        case(Loss::MeanAbsoluteError, json!({})),
        case(Loss::Huber, json!({"loss": "Huber", "huberDelta": 0.4})),
        case(Loss::CrossEntropy, json!({})),
        case(Loss::CrossEntropy, json!({"labelSmoothing": 0.1})),
        case(
            Loss::MeanSquaredError,
            json!({"regularization": {"l1": 0.01, "l2": 0.02}}),
        ),
        case(
            Loss::CrossEntropy,
            json!({"clipNorm": 0.2, "optimizer": {"type": "SGD", "learningRate": 0.1}}),
        ),
        case(
            Loss::BinaryCrossEntropy,
            json!({"accumulateBatches": 3, "optimizer": {"learningRate": 0.01}}),
        ),
    ])
}

fn schedules() -> [Value; 6] {
    [
        json!({"type": "InverseTime", "decay": 0.3}),
        json!({"type": "Exponential", "factor": 0.8}),
        json!({"type": "Step", "factor": 0.5, "everyEpochs": 2}),
        json!({"type": "Cosine", "finalLearningRate": 0.001}),
        json!({"type": "Linear", "finalLearningRate": 0.002}),
        json!({"type": "OneCycle"}),
    ]
}

#[test]
fn each_schedule_is_pytorchs() -> Outcome {
    let cases = schedules().map(|schedule| {
        let settings = json!({"schedule": schedule, "optimizer": {"type": "Adam", "learningRate": 0.02}});
        case(Loss::MeanSquaredError, settings)
    });
    compare(&cases)
}

#[test]
fn schedules_that_keras_has_too_are_keras() -> Outcome {
    const PER_EPOCH: u64 = 4;
    // Keras has no OneCycle, and its steps are those of PiecewiseConstantDecay, which is told each rate.
    let schedules: Vec<Value> = schedules()
        .into_iter()
        .filter(|schedule| schedule["type"] != "OneCycle" && schedule["type"] != "Step")
        .collect();
    let of = |schedule| json!({"schedule": schedule, "rate": 0.02, "epochs": EPOCHS, "perEpoch": PER_EPOCH});
    let answers = KERAS.ask("rates.py", &schedules.iter().map(of).collect())?;
    for (index, schedule) in schedules.iter().enumerate() {
        let theirs: Vec<f64> = serde_json::from_value(answers[index].clone())?;
        assert_eq!(theirs.len() as u64, u64::from(EPOCHS) * PER_EPOCH);
        let rule = serde_json::from_value(schedule.clone())?;
        for (step, theirs) in (0..).zip(theirs) {
            let moment = Moment {
                step,
                steps_per_epoch: PER_EPOCH,
                epochs: EPOCHS,
            };
            let ours = learning_rate(&rule, 0.02, &moment);
            // Keras computes them in F32.
            assert!(
                (ours - theirs).abs() < 1e-8,
                "{schedule}: step {step} of size {ours}, not {theirs}"
            );
        }
    }
    Ok(())
}
