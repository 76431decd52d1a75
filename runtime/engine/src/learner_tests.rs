//! Tests of `learner`.

use sconce_contract::{Activation, Layer, Loss, Network, Optimizer};
use serde_json::{Value, json};

use super::*;

/// Exclusive or: no network without a hidden layer learns it.
const ROWS: Rows<'_> = Rows {
    x: &[0., 0., 0., 1., 1., 0., 1., 1.],
    targets: Targets::Numbers(&[0., 1., 1., 0.]),
};

fn settings(seed: u64) -> Hyperparameters {
    Hyperparameters {
        seed,
        optimizer: Optimizer {
            learning_rate: 0.05,
            ..Optimizer::default()
        },
        ..Hyperparameters::default()
    }
}

fn learner(settings: &Hyperparameters) -> Learner {
    let (model, objective) = task(settings);
    Learner::new(model, &objective, settings).unwrap()
}

/// The same as on a device of its own.
fn remote(settings: &Hyperparameters) -> Learner {
    let (model, objective) = task(settings);
    Learner::on_device(model, &objective, settings).unwrap()
}

fn task(settings: &Hyperparameters) -> (Sequential, Objective) {
    let network = Network {
        input: None,
        layers: vec![
            Layer::dense(16, Activation::Tanh),
            Layer::dropout(0.1),
            Layer::dense(1, Activation::Sigmoid),
        ],
    };
    let model = Sequential::initialised(&network, 2, settings.seed, &Device::Cpu).unwrap();
    let objective = Objective::new(Loss::BinaryCrossEntropy, Activation::Sigmoid, settings, vec![]);
    (model, objective)
}

#[test]
fn a_network_learns_exclusive_or() {
    let mut learner = learner(&settings(42));
    let before = learner.loss(&ROWS).unwrap();
    for _ in 0..300 {
        learner.step(&ROWS, 0.05).unwrap();
    }
    let after = learner.loss(&ROWS).unwrap();
    assert!(before > 0.5 && after < 0.05, "{before} → {after}");
}

#[test]
fn the_same_seed_gives_the_same_bits() {
    let run = |seed| {
        let mut learner = learner(&settings(seed));
        let losses: Vec<u64> = (0..20)
            .map(|_| learner.step(&ROWS, 0.05).unwrap().to_bits())
            .collect();
        losses
    };
    assert_eq!(run(42), run(42));
    assert_ne!(run(42), run(43));
}

#[test]
fn a_loss_that_is_not_finite_leaves_the_weights() {
    let mut learner = learner(&settings(42));
    let before = learner.flat_weights().unwrap();
    let rows = Rows {
        x: &[f32::NAN; 8],
        ..ROWS
    };
    assert!(!learner.step(&rows, 0.05).unwrap().is_finite());
    assert_eq!(learner.flat_weights().unwrap(), before);
}

#[test]
fn a_loss_that_is_not_finite_leaves_what_the_graph_has_measured() {
    let settings = settings(42);
    let network: Network = serde_json::from_value(json!({"layers": [
        {"dense": {"units": 4, "activation": "Tanh"}},
        {"batchNorm": {}},
        {"dense": {"units": 1, "activation": "Sigmoid"}},
    ]}))
    .unwrap();
    let model = || Sequential::initialised(&network, 2, settings.seed, &Device::Cpu).unwrap();
    let objective = Objective::new(Loss::BinaryCrossEntropy, Activation::Sigmoid, &settings, vec![]);
    let graph = Learner::by_graph(model(), &objective, &settings);
    let remote = Learner::on_device(model(), &objective, &settings).unwrap();
    for mut learner in [graph, remote] {
        let at_first = learner.flat_weights().unwrap();
        learner.step(&ROWS, 0.05).unwrap();
        let before = learner.flat_weights().unwrap();
        assert_ne!(before, at_first);
        let rows = Rows {
            x: &[f32::NAN; 8],
            ..ROWS
        };
        assert!(!learner.step(&rows, 0.05).unwrap().is_finite());
        assert_eq!(learner.flat_weights().unwrap(), before);
    }
}

#[test]
fn rows_that_do_not_fit_are_refused() {
    let mut learner = learner(&settings(42));
    for (x, targets, says) in [
        (&[0.0; 3][..], Targets::Numbers(&[0.0]), "takes [rows, 2]"),
        (&[], Targets::Numbers(&[]), "takes [rows, 2]"),
        (&[0.0; 4], Targets::Numbers(&[0.0]), "2 row(s) of 1 output(s)"),
        (&[0.0; 4], Targets::Classes(&[0, 2]), "2 row(s) of 1 output(s)"),
    ] {
        let error = learner.step(&Rows { x, targets }, 0.1).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}

/// Without dropout a step over pieces is the step over the whole, but for the order of sums.
#[test]
fn batches_add_up_to_one_step() {
    let network = Network {
        input: None,
        layers: vec![
            Layer::dense(7, Activation::GELU),
            Layer::dense(1, Activation::Linear),
        ],
    };
    let run = |batch_size| {
        let settings = Hyperparameters {
            batch_size,
            ..settings(42)
        };
        let model = Sequential::initialised(&network, 2, 42, &Device::Cpu).unwrap();
        let objective = Objective::new(Loss::MeanSquaredError, Activation::Linear, &settings, vec![]);
        let mut learner = Learner::new(model, &objective, &settings).unwrap();
        for _ in 0..10 {
            learner.step(&ROWS, 0.01).unwrap();
        }
        (learner.flat_weights().unwrap(), learner.loss(&ROWS).unwrap())
    };
    let (whole, loss) = run(4);
    for size in [1, 3] {
        let (pieces, loss_of_pieces) = run(size);
        assert!((loss - loss_of_pieces).abs() < 1e-6);
        assert!(
            whole.iter().zip(&pieces).all(|(a, b)| (a - b).abs() < 1e-5),
            "{size}"
        );
    }
}

#[test]
fn loss_and_outputs_are_those_of_each_alone() {
    let settings = settings(42);
    let planned = learner(&settings);
    let network = Network::of(vec![
        Layer::dense(16, Activation::Tanh),
        Layer::dense(1, Activation::Sigmoid),
    ]);
    let model = Sequential::initialised(&network, 2, settings.seed, &Device::Cpu).unwrap();
    let objective = Objective::new(Loss::BinaryCrossEntropy, Activation::Sigmoid, &settings, vec![]);
    let graph = Learner::by_graph(model, &objective, &settings);
    for mut learner in [planned, graph] {
        learner.step(&ROWS, 0.05).unwrap();
        let (mut alone, mut both) = (vec![7.0], vec![7.0]);
        learner.predict(ROWS.x, &mut alone).unwrap();
        let loss = learner.loss(&ROWS).unwrap();
        let again = learner.loss_and_outputs(&ROWS, &mut both).unwrap();
        assert_eq!(again.to_bits(), loss.to_bits());
        assert_eq!((both.len(), &both), (5, &alone));
    }
}

#[test]
fn images_are_learned_on_to_the_same_bits_from_what_was_saved() {
    let filters =
        json!({"conv2d": {"filters": 16, "kernelSize": 3, "padding": "Same", "activation": "ReLU"}});
    let pool = json!({"maxPool2d": {"poolSize": 2}});
    let dropout = json!({"dropout": {"rate": 0.2}});
    learned_on(&[filters.clone(), pool.clone(), dropout.clone()]);
    let (norm, residual) = (json!({"batchNorm": {}}), json!({"residual": {"over": 2}}));
    learned_on(&[
        filters.clone(),
        norm.clone(),
        filters,
        norm,
        residual,
        pool,
        dropout,
    ]);
}

/// The same bits, by these layers and a dense one behind them.
#[track_caller]
fn learned_on(layers: &[Value]) {
    let last = [
        json!({"flatten": {}}),
        json!({"dense": {"units": 3, "activation": "Softmax"}}),
    ];
    let all = [layers, &last].concat();
    let network: Network = serde_json::from_value(json!({
        "input": {"height": 12, "width": 12, "channels": 2},
        "layers": all,
    }))
    .unwrap();
    let settings = settings(42);
    let objective = Objective::new(Loss::CrossEntropy, Activation::Softmax, &settings, vec![]);
    let (inputs, count) = (12 * 12 * 2, 32);
    let x: Vec<f32> = (0..count * inputs)
        .map(|index| (index * 31 % 101) as f32 / 101.0 - 0.5)
        .collect();
    let classes: Vec<u32> = (0..count as u32).map(|row| row % 3).collect();
    let rows = Rows {
        x: &x,
        targets: Targets::Classes(&classes),
    };
    let model = Sequential::initialised(&network, inputs, 42, &Device::Cpu).unwrap();
    let mut learner = Learner::new(model, &objective, &settings).unwrap();
    assert!(learner.is_planned());
    let steps = |learner: &mut Learner| -> Vec<u64> {
        (0..4)
            .map(|_| learner.step(&rows, 0.01).unwrap().to_bits())
            .collect()
    };
    steps(&mut learner);

    let weights = learner.weights().unwrap().into_iter().collect();
    let saved = learner.optimiser();
    let state = saved.state().unwrap().into_iter();
    let state = state.map(|(name, values)| (name, values.into_owned())).collect();
    let model = Sequential::from_weights(&network, inputs, &weights, &Device::Cpu).unwrap();
    let mut resumed = Learner::resumed(model, &objective, &settings, saved.steps(), &state).unwrap();
    assert_eq!(steps(&mut resumed), steps(&mut learner));
    assert_eq!(resumed.flat_weights().unwrap(), learner.flat_weights().unwrap());
    // And from what was kept meanwhile.
    let (kept, loss) = (learner.flat_weights().unwrap(), learner.loss(&rows).unwrap());
    steps(&mut learner);
    assert_ne!(learner.loss(&rows).unwrap(), loss);
    learner.set_flat_weights(&kept).unwrap();
    assert_eq!(learner.loss(&rows).unwrap().to_bits(), loss.to_bits());
}

/// Workers of one process: each hands over what it has once all have brought theirs.
struct Meeting<'a> {
    brought: &'a std::sync::Mutex<(Vec<f32>, f64)>,
    all: &'a std::sync::Barrier,
}

impl AllReduce for Meeting<'_> {
    fn all_reduce(&mut self, gradient: &mut [f32], loss: &mut f64) -> Result<(), String> {
        {
            let mut brought = self.brought.lock().unwrap();
            brought.0.resize(gradient.len(), 0.0);
            for (sum, slope) in brought.0.iter_mut().zip(&*gradient) {
                *sum += slope;
            }
            brought.1 += *loss;
        }
        self.all.wait();
        {
            let brought = self.brought.lock().unwrap();
            gradient.copy_from_slice(&brought.0);
            *loss = brought.1;
        }
        if self.all.wait().is_leader() {
            *self.brought.lock().unwrap() = Default::default();
        }
        self.all.wait();
        Ok(())
    }
}

#[test]
fn workers_learn_together_what_one_learns_alone() {
    learn_together(learner);
}

#[test]
fn workers_with_devices_of_their_own_learn_together_what_one_learns_alone() {
    learn_together(remote);
}

fn learn_together(learner: impl Fn(&Hyperparameters) -> Learner + Sync) {
    // Five workers have fewer rows than they are; pieces of three leave one over; what is dropped is the same.
    for (workers, batch_size) in [(2, 4), (3, 3), (5, 4), (3, 2)] {
        let settings = Hyperparameters {
            batch_size,
            clip_norm: Some(0.1),
            ..settings(42)
        };
        let mut alone = learner(&settings);
        let expected: Vec<f64> = (0..20).map(|_| alone.step(&ROWS, 0.05).unwrap()).collect();
        let (brought, all) = (Default::default(), std::sync::Barrier::new(workers));
        let work = |worker| {
            let share = Share::new(worker, workers).unwrap();
            let mut learner = learner(&settings);
            let own = share.of_step(&[0, 1, 2, 3], batch_size as usize);
            let x: Vec<f32> = own
                .iter()
                .flat_map(|row| &ROWS.x[row * 2..row * 2 + 2])
                .copied()
                .collect();
            let answers: Vec<f32> = own.iter().map(|row| [0.0, 1.0, 1.0, 0.0][*row]).collect();
            let rows = Rows {
                x: &x,
                targets: Targets::Numbers(&answers),
            };
            let mut meeting = Meeting {
                brought: &brought,
                all: &all,
            };
            let losses: Vec<f64> = (0..20)
                .map(|_| {
                    learner
                        .step_together(&rows, 4, share, &mut meeting, 0.05)
                        .unwrap()
                })
                .collect();
            (losses, learner.flat_weights().unwrap())
        };
        let found: Vec<(Vec<f64>, Vec<f32>)> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..workers)
                .map(|worker| {
                    let work = &work;
                    scope.spawn(move || work(worker))
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        for (losses, weights) in &found {
            assert_eq!((losses, weights), (&found[0].0, &found[0].1), "all move alike");
            for (found, expected) in losses.iter().zip(&expected) {
                assert!(
                    (found - expected).abs() < 1e-5,
                    "{workers}: {found} is not {expected}"
                );
            }
            for (found, expected) in weights.iter().zip(alone.flat_weights().unwrap()) {
                assert!(
                    (found - expected).abs() < 1e-5,
                    "{workers}: {found} is not {expected}"
                );
            }
        }
    }
}
