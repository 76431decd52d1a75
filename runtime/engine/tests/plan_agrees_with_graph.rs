//! What the plan computes by hand is what candle's graph computes, for every layer, loss and optimiser; and what is
//! computed as on a device of its own is too.
#![allow(clippy::unwrap_used, clippy::panic)] // A test fails by panicking.

use candle_core::Device;
use sconce_contract::{
    Activation, Hyperparameters, Layer, Loss, Network, Optimizer, OptimizerType, Regularization,
};
use sconce_engine::{Learner, Objective, Rows, Sequential, metrics::Targets};

mod agreement;

use agreement::{ROWS, numbers};

const INPUTS: usize = 5;

/// Both learn the same, of plain features.
#[track_caller]
fn agree(what: &str, layers: &[Layer], loss: Loss, settings: &Hyperparameters, class_weights: &[f32]) {
    let network = Network::of(layers.to_vec());
    agreement::agree(what, &network, INPUTS, loss, settings, class_weights);
}

fn settings(kind: OptimizerType) -> Hyperparameters {
    Hyperparameters {
        optimizer: Optimizer {
            kind,
            ..Optimizer::default()
        },
        ..Hyperparameters::default()
    }
}

/// Plain descent, in which no root or sign makes a small difference large.
fn plain() -> Hyperparameters {
    settings(OptimizerType::Sgd)
}

const ALL: [Activation; 6] = [
    Activation::Linear,
    Activation::ReLU,
    Activation::Sigmoid,
    Activation::Tanh,
    Activation::Softmax,
    Activation::GELU,
];

#[test]
fn in_every_activation_of_hidden_and_last_layers() {
    for activation in ALL {
        let hidden = [
            Layer::dense(6, activation),
            Layer::dense(4, activation),
            Layer::dense(2, Activation::Linear),
        ];
        agree(
            &format!("hidden {activation:?}"),
            &hidden,
            Loss::MeanSquaredError,
            &plain(),
            &[],
        );
        let last = [Layer::dense(6, Activation::Tanh), Layer::dense(3, activation)];
        agree(
            &format!("last {activation:?}"),
            &last,
            Loss::MeanSquaredError,
            &plain(),
            &[],
        );
    }
}

#[test]
fn in_every_loss_with_its_settings() {
    let network = |units, last| [Layer::dense(8, Activation::Tanh), Layer::dense(units, last)];
    let with = |huber_delta, label_smoothing| Hyperparameters {
        huber_delta,
        label_smoothing,
        ..plain()
    };
    for (loss, units, last, settings, weights) in [
        (Loss::MeanSquaredError, 1, Activation::Linear, plain(), &[][..]),
        (Loss::MeanAbsoluteError, 2, Activation::Linear, plain(), &[]),
        (Loss::Huber, 2, Activation::Linear, with(Some(0.3), None), &[]),
        (Loss::BinaryCrossEntropy, 1, Activation::Sigmoid, plain(), &[]),
        (
            Loss::BinaryCrossEntropy,
            1,
            Activation::Sigmoid,
            plain(),
            &[0.5, 2.0],
        ),
        (Loss::CrossEntropy, 3, Activation::Softmax, plain(), &[]),
        (
            Loss::CrossEntropy,
            3,
            Activation::Softmax,
            with(None, Some(0.2)),
            &[0.5, 2.0, 1.0],
        ),
    ] {
        agree(
            &format!("{loss:?}"),
            &network(units, last),
            loss,
            &settings,
            weights,
        );
    }
}

#[test]
fn in_every_optimiser() {
    let layers = [
        Layer::dense(8, Activation::Tanh),
        Layer::dense(1, Activation::Sigmoid),
    ];
    for kind in [
        OptimizerType::Sgd,
        OptimizerType::Adam,
        OptimizerType::AdamW,
        OptimizerType::RmsProp,
        OptimizerType::Adagrad,
    ] {
        agree(
            &format!("{kind:?}"),
            &layers,
            Loss::BinaryCrossEntropy,
            &settings(kind),
            &[],
        );
    }
    let mut momentum = plain();
    momentum.optimizer.momentum = Some(0.9);
    for nesterov in [false, true] {
        momentum.optimizer.nesterov = Some(nesterov);
        agree("momentum", &layers, Loss::BinaryCrossEntropy, &momentum, &[]);
    }
}

/// Masks are drawn in the same order by both.
#[test]
fn in_dropout_wherever_it_stands() {
    let layers = [
        Layer::dropout(0.2),
        Layer::dense(8, Activation::ReLU),
        Layer::dropout(0.5),
        Layer::dropout(0.0),
        Layer::dense(6, Activation::Tanh),
        Layer::dropout(0.3),
        Layer::dense(3, Activation::Softmax),
    ];
    agree("dropout", &layers, Loss::CrossEntropy, &plain(), &[]);
}

#[test]
fn in_pieces_with_penalties_and_a_clipped_gradient() {
    let settings = Hyperparameters {
        batch_size: 4,
        clip_norm: Some(0.05),
        regularization: Some(Regularization {
            l1: Some(0.01),
            l2: Some(0.1),
        }),
        ..plain()
    };
    let layers = [
        Layer::dense(8, Activation::ReLU),
        Layer::dropout(0.2),
        Layer::dense(1, Activation::Sigmoid),
    ];
    agree("pieces", &layers, Loss::BinaryCrossEntropy, &settings, &[]);
}

#[test]
fn extreme_logits_give_finite_losses_and_gradients() {
    for (loss, units, last) in [
        (Loss::BinaryCrossEntropy, 1, Activation::Sigmoid),
        (Loss::CrossEntropy, 3, Activation::Softmax),
    ] {
        let network = Network {
            input: None,
            layers: vec![Layer::dense(units, last)],
        };
        let model = Sequential::initialised(&network, INPUTS, 7, &Device::Cpu).unwrap();
        let objective = Objective::new(loss, last, &plain(), vec![]);
        let mut learner = Learner::new(model, &objective, &plain()).unwrap();
        let x: Vec<f32> = numbers(ROWS * INPUTS, 1).iter().map(|x| x * 1e6).collect();
        let classes: Vec<u32> = (0..ROWS as u32).map(|row| row % units.max(2)).collect();
        let rows = Rows {
            x: &x,
            targets: Targets::Classes(&classes),
        };
        for _ in 0..5 {
            let value = learner.step(&rows, 0.01).unwrap();
            assert!(
                value.is_finite() && value > 1000.0 || value < 1e12,
                "{loss:?}: {value}"
            );
        }
        assert!(
            learner
                .flat_weights()
                .unwrap()
                .iter()
                .all(|weight| weight.is_finite())
        );
    }
}
