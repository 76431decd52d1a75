//! Holds the plan against the graph.

use candle_core::Device;
use sconce_contract::{Hyperparameters, Loss, Network};
use sconce_engine::{Learner, Objective, Rows, Sequential, metrics::Targets};

/// Rows that are learned from.
pub const ROWS: usize = 13;

/// Numbers without a pattern that a network could use, between −1 and 1.
pub fn numbers(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    std::iter::repeat_with(next).take(count).collect()
}

/// Both learn the same for many steps, the second half of them with fewer rows; then they must say the same.
#[track_caller]
pub fn agree(
    what: &str,
    network: &Network,
    inputs: usize,
    loss: Loss,
    settings: &Hyperparameters,
    class_weights: &[f32],
) {
    let model = || Sequential::initialised(network, inputs, 7, &Device::Cpu).unwrap();
    let (units, last) = (model().outputs(), model().last_activation());
    let objective = Objective::new(loss, last, settings, class_weights.to_vec());
    let mut plan = Learner::new(model(), &objective, settings).unwrap();
    let mut graph = Learner::by_graph(model(), &objective, settings);
    let mut remote = Learner::on_device(model(), &objective, settings).unwrap();
    assert!(plan.is_planned() && !graph.is_planned(), "{what}");

    let x = numbers(ROWS * inputs, 1);
    let of_rows = numbers(ROWS * units, 2);
    let classes: Vec<u32> = (0..ROWS as u32).map(|row| row % units.max(2) as u32).collect();
    let rows = |count: usize| Rows {
        x: &x[..count * inputs],
        targets: match loss {
            Loss::BinaryCrossEntropy | Loss::CrossEntropy => Targets::Classes(&classes[..count]),
            _ => Targets::Numbers(&of_rows[..count * units]),
        },
    };
    for step in 0..60 {
        let rows = rows(if step < 30 { ROWS } else { ROWS - 6 });
        let (by_plan, by_graph) = (plan.step(&rows, 0.01).unwrap(), graph.step(&rows, 0.01).unwrap());
        let tolerance = 1e-5 * by_graph.abs().max(1.0);
        assert!(
            (by_plan - by_graph).abs() < tolerance,
            "{what}, step {step}: {by_plan} by the plan, {by_graph} by the graph"
        );
        let as_on_device = remote.step(&rows, 0.01).unwrap();
        assert!(
            (as_on_device - by_graph).abs() < tolerance,
            "{what}, step {step}: {as_on_device} as on a device, {by_graph} by the graph"
        );
    }
    let (by_plan, by_graph) = (plan.flat_weights().unwrap(), graph.flat_weights().unwrap());
    for (by_plan, by_graph) in by_plan.iter().zip(&by_graph) {
        assert!(
            (by_plan - by_graph).abs() < 2e-5,
            "{what}: {by_plan} is not {by_graph}"
        );
    }
    for (as_on_device, by_graph) in remote.flat_weights().unwrap().iter().zip(&by_graph) {
        assert!(
            (as_on_device - by_graph).abs() < 2e-5,
            "{what}: {as_on_device} is not {by_graph}"
        );
    }
    let mut outputs = [Vec::new(), Vec::new()];
    plan.predict(&x, &mut outputs[0]).unwrap();
    graph.predict(&x, &mut outputs[1]).unwrap();
    assert_eq!(outputs[0].len(), ROWS * units);
    for (by_plan, by_graph) in outputs[0].iter().zip(&outputs[1]) {
        assert!(
            (by_plan - by_graph).abs() < 2e-5,
            "{what}: {by_plan} is not {by_graph}"
        );
    }
    let (by_plan, by_graph) = (plan.loss(&rows(9)).unwrap(), graph.loss(&rows(9)).unwrap());
    assert!((by_plan - by_graph).abs() < 1e-5 * by_graph.max(1.0), "{what}");
    assert_eq!(
        plan.weights().unwrap().keys().collect::<Vec<_>>(),
        graph.weights().unwrap().keys().collect::<Vec<_>>()
    );
}
