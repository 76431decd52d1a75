//! What a workload needs, what an accelerator has, and what is said of it.

use sconce_contract::{Activation, Layer, Optimizer};
use serde_json::json;

use super::*;

const GIB: u64 = 1 << 30;

fn network(units: &[u32]) -> Network {
    Network {
        input: None,
        layers: units
            .iter()
            .map(|&units| Layer::dense(units, Activation::ReLU))
            .collect(),
    }
}

fn how(optimizer: OptimizerType, momentum: Option<f64>, batch_size: u32) -> Hyperparameters {
    Hyperparameters {
        batch_size,
        optimizer: Optimizer {
            kind: optimizer,
            momentum,
            ..Optimizer::default()
        },
        ..Hyperparameters::default()
    }
}

fn offer(name: &str, gib: Option<u64>) -> Offer {
    Offer {
        name: name.to_owned(),
        device: Device::Cuda,
        memory: gib.map(|gib| gib * GIB),
    }
}

fn room(gib: Option<u64>) -> Room {
    // Of several, one has to have the memory.
    let asked = Accelerator {
        profile: "small".to_owned(),
        count: 2,
    };
    let rocm = Offer {
        device: Device::ROCm,
        ..offer("other", Some(64))
    };
    let all = [
        offer("small", gib),
        offer("large", Some(80)),
        offer("medium", Some(48)),
        rocm,
    ];
    Room::of(Some(&asked), all).unwrap()
}

fn need(gib: u64, exact: bool) -> Need {
    Need {
        weights: gib * GIB,
        exact,
        ..Need::default()
    }
}

fn check(room: Option<&Room>, need: Option<&Need>) -> Result<(), Problem> {
    question(room, need).check()
}

fn question(room: Option<&Room>, need: Option<&Need>) -> Question {
    Question {
        room: room.cloned(),
        need: need.copied(),
    }
}

fn says(room: &Room, need: Option<&Need>) -> (String, String, String) {
    let told = crate::conditions::settle(
        &[],
        vec![question(Some(room), need).verdict().unwrap()],
        1,
        jiff::Timestamp::UNIX_EPOCH,
    );
    (
        told[0].status.clone(),
        told[0].reason.clone(),
        told[0].message.clone(),
    )
}

#[test]
fn a_training_keeps_weights_gradients_moments_and_activations() {
    // 10 → 8 → 3: 10·8+8 + 8·3+3 = 115 parameters; of a row 10 + 2·8 + 2·3 values and 2·8 gradients.
    let adam = Need::of_training(
        &network(&[8, 3]),
        &how(OptimizerType::Adam, None, 32),
        1,
        Some(10),
    );
    assert_eq!(
        adam,
        Need {
            trials: None,
            weights: 4 * 115,
            optimiser: 5 * 4 * 115,
            activations: 4 * 32 * (32 + 16),
            exact: true
        }
    );
    for (kind, momentum, times) in [
        (OptimizerType::Sgd, None, 3),
        (OptimizerType::Sgd, Some(0.0), 3),
        (OptimizerType::Sgd, Some(0.9), 4),
        (OptimizerType::AdamW, None, 5),
        (OptimizerType::RmsProp, None, 4),
        (OptimizerType::Adagrad, None, 4),
        (OptimizerType::Lion, None, 4),
    ] {
        let need = Need::of_training(&network(&[8, 3]), &how(kind, momentum, 32), 1, Some(10));
        assert_eq!(need.optimiser, times * need.weights, "{kind:?} {momentum:?}");
    }
    // What regularization pulls at is marked.
    let pulled: Hyperparameters = serde_json::from_value(
        json!({"batchSize": 32, "optimizer": {"type": "Adam"}, "regularization": {"l2": 0.1}}),
    )
    .unwrap();
    let need = Need::of_training(&network(&[8, 3]), &pulled, 1, Some(10));
    assert_eq!(need.optimiser, 6 * need.weights);
    // Of a batch that several pods share, each has its rows.
    let shared = Need::of_training(
        &network(&[8, 3]),
        &how(OptimizerType::Adam, None, 32),
        3,
        Some(10),
    );
    assert_eq!(shared.activations, 4 * 11 * (32 + 16));
}

#[test]
fn dropout_keeps_a_mask_and_has_no_parameters() {
    let mut layers = network(&[8, 3]);
    layers.layers.insert(1, Layer::dropout(0.5));
    let how = how(OptimizerType::Sgd, None, 1);
    let (with, without) = (
        Need::of_training(&layers, &how, 1, Some(10)),
        Need::of_training(&network(&[8, 3]), &how, 1, Some(10)),
    );
    assert_eq!(with.weights, without.weights);
    assert_eq!(with.activations, without.activations + 4 * 2 * 8);
}

#[test]
fn a_convolution_keeps_its_windows_and_an_input_that_is_said_is_known() {
    let network: Network = serde_json::from_value(json!({
        "input": {"height": 8, "width": 8},
        "layers": [{"conv2d": {"filters": 4, "kernelSize": 3}}, {"flatten": {}}, {"dense": {"units": 2}}],
    }))
    .unwrap();
    let need = Need::of_training(&network, &how(OptimizerType::Sgd, None, 1), 1, None);
    // 6 x 6 windows of 9 points; their sums and outputs are of 4 channels.
    let parameters = 9 * 4 + 4 + 6 * 6 * 4 * 2 + 2;
    let values = 64 + 36 * 9 + 2 * 36 * 4 + 2 * 2 + 2 * (36 * 9);
    assert_eq!(
        need,
        Need {
            trials: None,
            weights: 4 * parameters,
            optimiser: 3 * 4 * parameters,
            activations: 4 * values,
            exact: true
        }
    );
}

#[test]
fn without_the_columns_the_need_is_the_least_that_it_can_be() {
    let how = how(OptimizerType::Adam, None, 32);
    let least = Need::of_training(&network(&[8, 3]), &how, 1, None);
    assert!(!least.exact);
    for inputs in [1, 2, 100] {
        let need = Need::of_training(&network(&[8, 3]), &how, 1, Some(inputs));
        assert!(least.total() <= need.total() && need.exact);
    }
}

#[test]
fn the_largest_network_there_can_be_overflows_nothing() {
    let network = network(&[65_536; 64]);
    let need = Need::of_training(
        &network,
        &how(OptimizerType::Adam, None, 1 << 20),
        1,
        Some(u64::MAX),
    );
    assert_eq!(need.total(), u64::MAX);
    assert!(check(Some(&room(Some(80))), Some(&need)).is_err());
}

#[test]
fn what_cannot_fit_is_refused_with_the_numbers_and_the_smallest_profile_that_would_do() {
    let problem = check(Some(&room(Some(24))), Some(&need(30, true))).unwrap_err();
    assert_eq!(
        (problem.reason.as_str(), problem.field.as_str()),
        ("DoesNotFit", "spec.accelerator")
    );
    assert_eq!(
        problem.message,
        "a pod needs 30.0 GiB (weights 30.0 GiB, activations 0 B) and a unit of small has 24.0 GiB; \
         the smallest profile that would do is medium (48.0 GiB per unit)"
    );
    let problem = check(Some(&room(Some(24))), Some(&need(100, true))).unwrap_err();
    assert!(
        problem
            .message
            .ends_with("has 24.0 GiB; no profile of this device would do"),
        "{}",
        problem.message
    );
    // What is known to be the least is proof enough.
    assert!(check(Some(&room(Some(24))), Some(&need(30, false))).is_err());
}

#[test]
fn only_what_is_known_is_called_true_or_false() {
    let told = |gib, need: Option<&Need>| {
        let (status, reason, _) = says(&room(gib), need);
        (status, reason)
    };
    let pair = |status: &str, reason: &str| (status.to_owned(), reason.to_owned());
    assert_eq!(told(Some(24), Some(&need(20, true))), pair("True", "Fits"));
    assert_eq!(told(Some(24), Some(&need(23, true))), pair("Unknown", "Tight"));
    assert_eq!(told(Some(24), Some(&need(25, true))), pair("False", "DoesNotFit"));
    assert_eq!(
        told(Some(24), Some(&need(2, false))),
        pair("Unknown", "ColumnsUnknown")
    );
    assert_eq!(told(Some(24), None), pair("Unknown", "NeedUnknown"));
    assert_eq!(told(None, Some(&need(2, true))), pair("Unknown", "MemoryUnknown"));
}

#[test]
fn of_a_search_the_largest_trial_counts_and_how_many_there_are_at_a_time() {
    let how = how(OptimizerType::Adam, None, 32);
    let search = |parallel: u32, pods: u32| {
        let search = json!({
            "objective": {"metric": "accuracy"}, "parallelTrials": parallel,
            "space": [
                {"path": "model.network.layers[0].dense.units", "int": {"min": 4, "max": 16}},
                {"path": "hyperparameters.optimizer.type", "choice": ["SGD", "Adam", "Lion"]},
                {"path": "hyperparameters.batchSize", "choice": [8, 64]},
                {"path": "hyperparameters.optimizer.learningRate", "logUniform": {"min": 0.001, "max": 0.1}},
            ],
        });
        Need::of_search(
            &serde_json::from_value(search).unwrap(),
            pods,
            &network(&[8, 3]),
            &how,
            Some(10),
        )
    };
    let largest = Need::of_training(
        &network(&[16, 3]),
        &Hyperparameters {
            batch_size: 64,
            ..how
        },
        1,
        Some(10),
    );
    for (parallel, pods, each) in [(1, 1, 1), (6, 1, 6), (6, 3, 2), (7, 3, 3), (3, 3, 1)] {
        let expected = Need {
            trials: Some(each),
            ..largest
        };
        assert_eq!(search(parallel, pods), expected, "{parallel} in {pods} pods");
    }

    let of = |gib, trials| Need {
        trials: Some(trials),
        ..need(gib, true)
    };
    let (status, reason, said) = says(&room(Some(24)), Some(&of(10, 2)));
    assert_eq!((status.as_str(), reason.as_str()), ("True", "Fits"));
    assert!(
        said.starts_with("the largest trial of spec.search needs 10.0 GiB"),
        "{said}"
    );
    let (status, reason, said) = says(&room(Some(24)), Some(&of(10, 3)));
    assert_eq!((status.as_str(), reason.as_str()), ("Unknown", "Tight"));
    assert!(said.contains("3 of them at a time may need 30.0 GiB"), "{said}");
    // One that fits into nothing is not waited for.
    let refused = check(Some(&room(Some(24))), Some(&of(25, 1))).unwrap_err();
    assert_eq!(refused.reason, Reason::DoesNotFit);
}

#[test]
fn nothing_is_said_of_the_processor_or_of_a_profile_that_is_not_there() {
    let processor: AcceleratorProfile = serde_json::from_value(json!({
        "apiVersion": "sconce.dev/v1alpha1", "kind": "AcceleratorProfile", "metadata": {"name": "cpu"},
        "spec": {"device": "CPU", "memory": "1Gi"},
    }))
    .unwrap();
    let asked = |name: &str| Accelerator {
        profile: name.to_owned(),
        count: 1,
    };
    assert_eq!(Room::of(None, [Offer::from(&processor)]), None);
    assert_eq!(Room::of(Some(&asked("cpu")), [Offer::from(&processor)]), None);
    assert_eq!(Room::of(Some(&asked("l4")), [Offer::from(&processor)]), None);
    assert_eq!(Question::default().verdict(), None);
}

#[test]
fn sizes_are_for_people() {
    for (bytes, text) in [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.00 KiB"),
        (24 * GIB, "24.0 GiB"),
        (u64::MAX, "16.0 EiB"),
    ] {
        assert_eq!(size(bytes), text);
    }
}
