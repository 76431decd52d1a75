//! Each layer says what Keras says, forwards and after one step of learning (goldens/make.py).
#![allow(clippy::unwrap_used)] // A test fails by panicking.

use std::collections::{BTreeMap, HashMap};

use candle_core::{Device, Tensor};
use sconce_contract::{Activation, Hyperparameters, Loss, Network, Optimizer, OptimizerType};
use sconce_engine::{Learner, Objective, Rows, Sequential, metrics::Targets};
use serde_json::Value;

const TOLERANCE: f32 = 2e-5;

fn numbers(value: &Value) -> Vec<f32> {
    let numbers = value.as_array().unwrap().iter();
    numbers.map(|number| number.as_f64().unwrap() as f32).collect()
}

fn tensors(value: &Value) -> HashMap<String, Tensor> {
    let tensor = |value: &Value| {
        let shape: Vec<usize> = serde_json::from_value(value["shape"].clone()).unwrap();
        Tensor::from_vec(numbers(&value["values"]), shape, &Device::Cpu).unwrap()
    };
    let entries = value.as_object().unwrap().iter();
    entries
        .map(|(name, value)| (name.clone(), tensor(value)))
        .collect()
}

#[track_caller]
fn close(what: &str, found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        let difference = (found - expected).abs();
        assert!(
            difference <= TOLERANCE * expected.abs().max(1.0),
            "{what}[{index}]: {found} is not {expected}"
        );
    }
}

#[track_caller]
fn agrees(text: &str, planned: bool) {
    let golden: Value = serde_json::from_str(text).unwrap();
    let network: Network = serde_json::from_value(golden["network"].clone()).unwrap();
    let (x, rows) = (numbers(&golden["x"]), golden["rows"].as_u64().unwrap() as usize);
    let columns = x.len() / rows;
    let weights = tensors(&golden["weights"]);
    let model = || Sequential::from_weights(&network, columns, &weights, &Device::Cpu).unwrap();

    let table = Tensor::from_slice(&x, (rows, columns), &Device::Cpu).unwrap();
    let outputs = model().forward(&table).unwrap().flatten_all().unwrap();
    close(
        "outputs",
        &outputs.to_vec1().unwrap(),
        &numbers(&golden["outputs"]),
    );

    let settings = Hyperparameters {
        optimizer: Optimizer {
            kind: OptimizerType::Sgd,
            ..Optimizer::default()
        },
        ..Hyperparameters::default()
    };
    let objective = Objective::new(Loss::MeanSquaredError, Activation::Linear, &settings, vec![]);
    let targets = numbers(&golden["targets"]);
    let rows = Rows {
        x: &x,
        targets: Targets::Numbers(&targets),
    };
    let own = Learner::new(model(), &objective, &settings).unwrap();
    assert_eq!(own.is_planned(), planned);
    for mut learner in [own, Learner::by_graph(model(), &objective, &settings)] {
        let mut outputs = Vec::new();
        learner.predict(&x, &mut outputs).unwrap();
        close("predictions", &outputs, &numbers(&golden["outputs"]));
        let loss = learner.step(&rows, golden["rate"].as_f64().unwrap()).unwrap();
        close("loss", &[loss as f32], &[golden["loss"].as_f64().unwrap() as f32]);
        let learned: BTreeMap<_, _> = tensors(&golden["learned"]).into_iter().collect();
        let found = learner.weights().unwrap();
        assert!(found.keys().eq(learned.keys()), "{:?}", found.keys());
        for (name, tensor) in learned {
            let flat = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            close(&name, &flat(&found[&name]), &flat(&tensor));
        }
    }
}

/// A test for each file, of networks that have a plan, or not.
macro_rules! goldens {
    ($planned:literal: $($name:ident $file:literal;)+) => {
        $(
            #[test]
            fn $name() {
                agrees(include_str!(concat!("goldens/", $file, ".json")), $planned);
            }
        )+
    };
}

goldens! {
    true:
    golden_conv2d_valid "conv2d_valid";
    golden_conv2d_same "conv2d_same";
    golden_conv1d_valid "conv1d_valid";
    golden_conv1d_same "conv1d_same";
    golden_max_pool2d "max_pool2d";
    golden_max_pool1d "max_pool1d";
    golden_average_pool2d "average_pool2d";
    golden_average_pool1d "average_pool1d";
    golden_global_average_pool "global_average_pool";
    golden_batch_norm "batch_norm";
    golden_batch_norm_of_images "batch_norm_of_images";
    golden_layer_norm "layer_norm";
    golden_rms_norm "rms_norm";
    golden_residual "residual";
}

goldens! {
    false:
    golden_embedding "embedding";
    golden_lstm "lstm";
    golden_lstm_of_sequences "lstm_of_sequences";
    golden_gru "gru";
    golden_gru_of_sequences "gru_of_sequences";
    golden_attention "attention";
    golden_attention_causal "attention_causal";
    golden_transformer_block "transformer_block";
}
