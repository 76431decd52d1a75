//! What the plan computes of images and sequences is what candle's graph computes: windows of every stride, padding and
//! number of channels, pools, and what stands around them.
#![allow(clippy::unwrap_used, clippy::panic)] // A test fails by panicking.

mod agreement;

use sconce_contract::{Hyperparameters, Loss, Network, Optimizer, OptimizerType};
use serde_json::{Value, json};

fn plain() -> Hyperparameters {
    Hyperparameters {
        optimizer: Optimizer {
            kind: OptimizerType::Sgd,
            ..Optimizer::default()
        },
        ..Hyperparameters::default()
    }
}

/// Both learn the same of such a row, by these layers and a dense one behind them.
#[track_caller]
fn agree_by(settings: &Hyperparameters, input: &Value, layers: &[Value]) {
    let last = [
        json!({"flatten": {}}),
        json!({"dense": {"units": 3, "activation": "Softmax"}}),
    ];
    let all = [layers, &last].concat();
    let network: Network = serde_json::from_value(json!({"input": input, "layers": all})).unwrap();
    let inputs = network.outline(None).unwrap()[0].input.values() as usize;
    let what = format!("{input} {all:?}");
    agreement::agree(&what, &network, inputs, Loss::CrossEntropy, settings, &[]);
}

#[track_caller]
fn agree(input: &Value, layers: &[Value]) {
    agree_by(&plain(), input, layers);
}

fn image(channels: usize) -> Value {
    json!({"height": 7, "width": 6, "channels": channels})
}

fn filters(count: usize, size: usize, stride: usize, padding: &str, activation: &str) -> Value {
    json!({"conv2d": {
        "filters": count, "kernelSize": size, "stride": stride, "padding": padding, "activation": activation,
    }})
}

/// Two of them, so that the derivative by what comes in is asked too.
#[test]
fn in_convolutions_of_images() {
    for padding in ["Valid", "Same"] {
        for stride in [1, 2, 3] {
            for size in [1, 2, 3] {
                for (channels, count) in [(1, 4), (3, 16), (2, 21), (16, 32)] {
                    let layers = [
                        filters(count, size, stride, padding, "Tanh"),
                        filters(5, 2, 1, "Same", "Linear"),
                        filters(channels, size, stride, "Same", "Tanh"),
                    ];
                    agree(&image(channels), &layers);
                }
            }
        }
    }
}

#[test]
fn in_kernels_wider_than_the_image() {
    agree(
        &json!({"height": 2, "width": 3, "channels": 2}),
        &[
            filters(4, 5, 1, "Same", "Tanh"),
            filters(3, 5, 2, "Same", "Sigmoid"),
        ],
    );
}

#[test]
fn in_convolutions_of_sequences() {
    let input = json!({"length": 11, "channels": 3});
    for padding in ["Valid", "Same"] {
        for (size, stride) in [(1, 1), (3, 1), (4, 2), (2, 3)] {
            let layer = |count: usize| {
                json!({"conv1d": {
                    "filters": count, "kernelSize": size, "stride": stride, "padding": padding, "activation": "Tanh",
                }})
            };
            agree(
                &input,
                &[layer(6), layer(4)][..if padding == "Same" { 2 } else { 1 }],
            );
        }
    }
}

#[test]
fn in_every_activation_of_a_convolution() {
    for activation in ["Linear", "ReLU", "Sigmoid", "Tanh", "Softmax", "GELU"] {
        let layers = [
            filters(4, 3, 1, "Valid", activation),
            filters(3, 2, 1, "Valid", activation),
        ];
        agree(&image(2), &layers);
    }
}

#[test]
fn in_pools_of_images() {
    for pool in ["maxPool2d", "averagePool2d"] {
        for (size, stride) in [(2, 2), (3, 1), (2, 3), (3, 2), (1, 1)] {
            let pool = json!({pool: {"poolSize": size, "stride": stride}});
            agree(
                &image(2),
                &[
                    filters(9, 2, 1, "Same", "Tanh"),
                    pool.clone(),
                    filters(4, 1, 1, "Valid", "ReLU"),
                ],
            );
            agree(&image(3), &[pool]);
        }
    }
}

#[test]
fn in_pools_of_sequences_and_over_all_points() {
    let input = json!({"length": 9, "channels": 4});
    let filters = json!({"conv1d": {"filters": 8, "kernelSize": 3, "activation": "Tanh"}});
    for pool in ["maxPool1d", "averagePool1d"] {
        agree(
            &input,
            &[filters.clone(), json!({pool: {"poolSize": 3, "stride": 2}})],
        );
    }
    agree(&input, &[filters, json!({"globalAveragePool": {}})]);
    agree(&image(3), &[json!({"globalAveragePool": {}})]);
}

#[test]
fn in_norms_of_points_and_of_rows() {
    for norm in ["layerNorm", "rmsNorm"] {
        let norm = json!({norm: {"epsilon": 0.01}});
        let layers = [
            norm.clone(),
            filters(5, 2, 1, "Valid", "Linear"),
            norm.clone(),
            json!({"activation": "GELU"}),
            json!({"flatten": {}}),
            json!({"dense": {"units": 7, "activation": "Tanh"}}),
            norm.clone(),
        ];
        agree(&image(2), &layers);
        agree(&json!({"length": 5, "channels": 3}), &[norm]);
    }
}

/// Of rows and of points, in front and behind, with what is measured used by the rows that are only looked at.
#[test]
fn in_batch_norms_of_points_and_of_rows() {
    let norm = json!({"batchNorm": {"epsilon": 0.01, "momentum": 0.7}});
    for activation in ["ReLU", "GELU", "Softmax"] {
        let layers = [
            norm.clone(),
            filters(16, 2, 1, "Valid", "Linear"),
            norm.clone(),
            json!({"activation": activation}),
            json!({"maxPool2d": {"poolSize": 2}}),
            filters(9, 2, 1, "Same", "Tanh"),
            norm.clone(),
            json!({"dropout": {"rate": 0.2}}),
            json!({"flatten": {}}),
            json!({"dense": {"units": 7}}),
            norm.clone(),
            json!({"activation": activation}),
        ];
        agree(&image(2), &layers);
        let pieces = Hyperparameters {
            batch_size: 4,
            clip_norm: Some(0.5),
            ..plain()
        };
        agree_by(&pieces, &image(2), &layers);
    }
    agree(
        &json!({"length": 5, "channels": 3}),
        &[norm.clone(), json!({"flatten": {}}), norm],
    );
}

/// Of one layer and of several, within one another, from the table on, where an activation alone begins one, and over
/// layers that change nothing.
#[test]
fn in_residuals() {
    let residual = |over: u32| json!({"residual": {"over": over}});
    let norm = json!({"batchNorm": {"epsilon": 0.01}});
    let layers = [
        filters(2, 3, 1, "Same", "Tanh"),
        residual(1),
        filters(16, 3, 1, "Same", "Linear"),
        json!({"activation": "ReLU"}),
        filters(16, 3, 1, "Same", "ReLU"),
        residual(2),
        json!({"activation": "ReLU"}),
        json!({"dropout": {"rate": 0.2}}),
        json!({"activation": "Linear"}),
        residual(1),
        json!({"activation": "GELU"}),
    ];
    agree(&image(2), &layers);
    let nested = [
        filters(2, 3, 1, "Same", "Linear"),
        norm.clone(),
        json!({"activation": "ReLU"}),
        filters(2, 3, 1, "Same", "Linear"),
        norm.clone(),
        residual(5),
        json!({"activation": "ReLU"}),
        residual(7),
        json!({"maxPool2d": {"poolSize": 2}}),
    ];
    agree(&image(2), &nested);
    let dense = |units: u32| json!({"dense": {"units": units, "activation": "Tanh"}});
    let flat = [
        json!({"flatten": {}}),
        dense(5),
        residual(1),
        dense(9),
        norm,
        json!({"dropout": {"rate": 0.3}}),
        residual(2),
        dense(4),
    ];
    agree(&json!({"length": 5, "channels": 1}), &flat);
}

/// A function that follows no product, and the one that minds what a point is.
#[test]
fn in_functions_that_stand_alone() {
    for function in ["Linear", "ReLU", "Sigmoid", "Tanh", "Softmax", "GELU"] {
        let alone = json!({"activation": function});
        let layers = [
            alone.clone(),
            filters(4, 2, 1, "Valid", "Linear"),
            json!({"averagePool2d": {"poolSize": 2}}),
            alone.clone(),
            filters(4, 2, 1, "Same", "Linear"),
            alone.clone(),
            alone.clone(),
            json!({"flatten": {}}),
            alone,
        ];
        agree(&image(2), &layers);
    }
}

/// Masks are drawn in the same order, though the plan leads few rows at a time through all stages.
#[test]
fn in_dropout_of_images_in_pieces() {
    let settings = Hyperparameters {
        batch_size: 8,
        clip_norm: Some(0.5),
        ..plain()
    };
    let layers = [
        json!({"dropout": {"rate": 0.2}}),
        filters(64, 3, 1, "Same", "ReLU"),
        json!({"dropout": {"rate": 0.3}}),
        filters(64, 5, 1, "Same", "Tanh"),
        json!({"maxPool2d": {"poolSize": 2}}),
        json!({"dropout": {"rate": 0.5}}),
    ];
    agree_by(&settings, &image(4), &layers);
}
