//! Tests of a plan: its gradients, and that it says the same however its rows are divided.

use candle_core::Device;
use sconce_contract::{Hyperparameters, Loss, Network};
use serde_json::{Value, json};

use super::*;
use crate::Purpose;

fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let mut random = Random::new(seed, Purpose::Split, 0);
    (0..count).map(|_| (2.0 * random.unit() - 1.0) as f32).collect()
}

fn rows<'a>(x: &'a [f32], classes: &'a [u32]) -> Rows<'a> {
    Rows {
        x,
        targets: Targets::Classes(classes),
    }
}

/// Of rows with three classes.
struct Subject {
    plan: Plan,
    x: Vec<f32>,
    classes: Vec<u32>,
}

impl Subject {
    fn new(input: &Value, layers: &[Value], rows: usize, threads: usize) -> Self {
        let last = [
            json!({"flatten": {}}),
            json!({"dense": {"units": 3, "activation": "Softmax"}}),
        ];
        let all = [layers, &last].concat();
        let network: Network = serde_json::from_value(json!({"input": input, "layers": all})).unwrap();
        let inputs = network.outline(None).unwrap()[0].input.values() as usize;
        let model = Sequential::initialised(&network, inputs, 3, &Device::Cpu).unwrap();
        let settings = Hyperparameters::default();
        let objective = Objective::new(Loss::CrossEntropy, Activation::Softmax, &settings, vec![]);
        Subject {
            plan: Plan::of(&model, &objective, threads).unwrap().unwrap(),
            x: numbers(rows * inputs, 1),
            classes: (0..rows as u32).map(|row| row % 3).collect(),
        }
    }

    /// The loss and its gradient.
    fn learn(&mut self) -> (f64, Vec<f32>) {
        let rows = rows(&self.x, &self.classes);
        let mut gradient = vec![f32::NAN; self.plan.parameters().len()];
        let mut random = Random::new(5, Purpose::Dropout, 0);
        random.narrow(0..self.classes.len(), self.classes.len());
        let sum = self.plan.learn(&rows, 1.0, &mut random, &mut gradient, true);
        (sum, gradient)
    }
}

const STEP: f32 = 1e-2;

/// Every derivative against the difference that it should be, of the loss as it is while learning: nothing is dropped.
#[track_caller]
fn check(input: &Value, layers: &[Value]) {
    let mut subject = Subject::new(input, layers, 3, 1);
    let (_, gradient) = subject.learn();
    for (index, slope) in gradient.into_iter().enumerate() {
        let mut at = |offset: f32| {
            subject.plan.weights_mut()[index] += offset;
            let (loss, _) = subject.learn();
            subject.plan.weights_mut()[index] -= offset;
            loss
        };
        // Of four points, so that what the third derivative adds cancels.
        let near = 8.0 * (at(STEP) - at(-STEP));
        let difference = ((near - (at(2.0 * STEP) - at(-2.0 * STEP))) / f64::from(12.0 * STEP)) as f32;
        assert!(
            (slope - difference).abs() < 1e-3 * difference.abs().max(1.0),
            "{layers:?}: weight {index} has slope {slope} but difference {difference}"
        );
    }
}

fn image() -> Value {
    json!({"height": 6, "width": 5, "channels": 2})
}

fn filters(count: usize, stride: usize, padding: &str, activation: &str) -> Value {
    json!({"conv2d": {
        "filters": count, "kernelSize": 3, "stride": stride, "padding": padding, "activation": activation,
    }})
}

#[test]
fn gradient_of_planned_convolutions() {
    for (stride, padding) in [(1, "Valid"), (1, "Same"), (2, "Valid"), (2, "Same")] {
        check(
            &image(),
            &[filters(4, 1, "Same", "Tanh"), filters(3, stride, padding, "GELU")],
        );
    }
    let layer =
        json!({"conv1d": {"filters": 3, "kernelSize": 4, "padding": "Same", "activation": "Sigmoid"}});
    check(&json!({"length": 7, "channels": 2}), &[layer.clone(), layer]);
}

#[test]
fn gradient_of_planned_pools() {
    for (pool, stride) in [("maxPool2d", 2), ("averagePool2d", 2), ("averagePool2d", 1)] {
        let pool = json!({pool: {"poolSize": 2, "stride": stride}});
        check(&image(), &[filters(3, 1, "Same", "Tanh"), pool]);
    }
    check(
        &image(),
        &[filters(3, 1, "Same", "Tanh"), json!({"globalAveragePool": {}})],
    );
}

#[test]
fn gradient_of_planned_norms() {
    for norm in ["layerNorm", "rmsNorm"] {
        // Of few channels and with a small ε a norm is nearly a sign, which has no difference.
        let norm = json!({norm: {"epsilon": 0.1}});
        let layers = [
            filters(5, 1, "Valid", "Tanh"),
            norm.clone(),
            filters(4, 1, "Same", "Tanh"),
            norm,
        ];
        check(&image(), &layers);
    }
}

#[test]
fn gradient_of_planned_batch_norms() {
    let norm = json!({"batchNorm": {"epsilon": 0.1}});
    for function in ["Linear", "Tanh", "GELU", "Softmax"] {
        let layers = [
            norm.clone(),
            filters(9, 1, "Valid", "Tanh"),
            norm.clone(),
            json!({"activation": function}),
            filters(4, 1, "Same", "Linear"),
            norm.clone(),
            json!({"flatten": {}}),
            json!({"dense": {"units": 5}}),
            norm.clone(),
            json!({"activation": function}),
        ];
        check(&image(), &layers);
    }
}

/// Residuals within one another, one that begins at the table and one that ends where another begins.
#[test]
fn gradient_of_planned_residuals() {
    let layers = [
        filters(2, 1, "Same", "Tanh"),
        filters(4, 1, "Same", "Linear"),
        json!({"activation": "GELU"}),
        filters(4, 1, "Same", "Tanh"),
        json!({"residual": {"over": 2}}),
        filters(2, 1, "Same", "Linear"),
        json!({"residual": {"over": 6}}),
        json!({"activation": "Tanh"}),
        json!({"batchNorm": {"epsilon": 0.1}}),
        json!({"residual": {"over": 3}}),
        json!({"activation": "GELU"}),
        json!({"residual": {"over": 1}}),
    ];
    check(&image(), &layers);
}

#[test]
fn gradient_of_planned_functions() {
    for function in ["Tanh", "Softmax", "GELU", "Sigmoid"] {
        let layers = [
            filters(3, 1, "Valid", "Tanh"),
            json!({"activation": function}),
            json!({"flatten": {}}),
            json!({"activation": "Softmax"}),
        ];
        check(&image(), &layers);
    }
}

/// Large enough that its rows are divided, with dropout before and behind.
fn divided(threads: usize) -> Subject {
    let layers = [
        json!({"dropout": {"rate": 0.1}}),
        filters(16, 1, "Same", "Tanh"),
        json!({"dropout": {"rate": 0.3}}),
        filters(32, 1, "Same", "Tanh"),
        json!({"maxPool2d": {"poolSize": 2}}),
    ];
    Subject::new(
        &json!({"height": 12, "width": 12, "channels": 2}),
        &layers,
        33,
        threads,
    )
}

/// The same with rows that are measured together, and with residuals.
fn batched(threads: usize) -> Subject {
    let norm = json!({"batchNorm": {"epsilon": 0.01}});
    let layers = [
        norm.clone(),
        filters(16, 1, "Same", "Tanh"),
        filters(16, 1, "Same", "Linear"),
        norm,
        json!({"activation": "Tanh"}),
        json!({"dropout": {"rate": 0.3}}),
        json!({"residual": {"over": 4}}),
        filters(32, 1, "Same", "Tanh"),
        json!({"maxPool2d": {"poolSize": 2}}),
    ];
    Subject::new(
        &json!({"height": 12, "width": 12, "channels": 2}),
        &layers,
        33,
        threads,
    )
}

#[test]
fn parts_of_the_rows_give_what_all_of_them_give() {
    for threads in [2, 3, 7] {
        agree(divided, threads, 1.0);
    }
    for threads in [2, 3] {
        // A bias in front of a batch norm has no slope, but what is left of rounding thousands that cancel.
        agree(batched, threads, 5.0);
    }
}

#[track_caller]
fn agree(subject: fn(usize) -> Subject, threads: usize, least: f32) {
    let mut one = subject(1);
    let (sum, gradient) = one.learn();
    let mut many = subject(threads);
    assert_eq!(many.plan.cost.of_learning(33).parts(33, threads), threads);
    let (sum_of_parts, gradient_of_parts) = many.learn();
    assert!((sum - sum_of_parts).abs() < 1e-5 * sum, "{sum} {sum_of_parts}");
    for (whole, parts) in gradient.iter().zip(&gradient_of_parts) {
        assert!(
            (whole - parts).abs() < 1e-5 * whole.abs().max(least),
            "{whole} {parts}"
        );
    }
    for (whole, parts) in one.plan.weights().iter().zip(many.plan.weights()) {
        assert!(
            (whole - parts).abs() < 1e-6,
            "of what was measured {whole} is {parts}"
        );
    }
    let mut all = Vec::new();
    one.plan.predict(&one.x.clone(), &mut all);
    let mut parts = Vec::new();
    many.plan.predict(&many.x.clone(), &mut parts);
    assert_eq!(parts.len(), all.len());
    assert!(
        parts
            .iter()
            .zip(&all)
            .all(|(part, whole)| (part - whole).abs() < 1e-6)
    );
    let mut outputs = Vec::new();
    let loss = one.plan.loss(&rows(&one.x, &one.classes));
    let loss_of_parts = many
        .plan
        .loss_and_outputs(&rows(&many.x, &many.classes), &mut outputs);
    assert!((loss - loss_of_parts).abs() < 1e-5 * loss);
    assert_eq!(outputs, parts);
}

/// Whoever leads a part: a thread of the crew, or who gave it.
#[test]
fn as_many_threads_give_the_same_bits() {
    let run = |subject: fn(usize) -> Subject, threads, alone: bool| {
        let mut subject = subject(threads);
        let mut seen = Vec::new();
        for step in 0..20 {
            let (sum, gradient) = subject.learn();
            for (weight, slope) in subject.plan.weights_mut().iter_mut().zip(&gradient) {
                *weight -= 1e-3 * slope;
            }
            seen.push(sum.to_bits());
            if alone && step == 3 {
                subject.plan.crew.dismiss();
            }
        }
        (seen, subject.plan.weights().to_vec())
    };
    for subject in [divided, batched] {
        for threads in [1, 2, 3] {
            let first = run(subject, threads, false);
            assert_eq!(first, run(subject, threads, false), "{threads}");
            assert_eq!(
                first,
                run(subject, threads, true),
                "{threads}, and then nobody else"
            );
        }
        assert_ne!(run(subject, 1, false).0, run(subject, 2, false).0);
    }
}

#[test]
fn a_part_that_is_not_finite_makes_the_sum_so() {
    for subject in [divided, batched] {
        let mut subject = subject(2);
        let (last, before) = (subject.x.len() - 1, subject.plan.weights().to_vec());
        subject.x[last] = f32::NAN;
        assert!(!subject.learn().0.is_finite());
        assert_eq!(
            subject.plan.weights(),
            before,
            "what was measured of it is left out"
        );
        subject.x[last] = 0.0;
        assert!(subject.learn().0.is_finite());
    }
}
