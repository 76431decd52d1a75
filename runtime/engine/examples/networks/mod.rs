//! The networks for images of 28 × 28 points that are measured.

use sconce_contract::Network;
use serde_json::{Result, Value, json};

/// What they are called.
pub const IMAGES: [&str; 3] = ["images", "normed", "residual"];

/// The network of a name: two convolutions; the same with batch norm; and a residual block as ResNet has it between one
/// convolution and the end.
pub fn images(name: &str) -> Result<Network> {
    let filters = |count: u32, padding: &str, activation: &str| json!({"conv2d": {"filters": count, "kernelSize": 3, "padding": padding, "activation": activation}});
    let pool = json!({"maxPool2d": {"poolSize": 2}});
    let (norm, relu) = (json!({"batchNorm": {}}), json!({"activation": "ReLU"}));
    let mut layers = match name {
        "normed" => vec![
            filters(16, "Valid", "Linear"),
            norm.clone(),
            relu.clone(),
            pool.clone(),
            filters(32, "Valid", "Linear"),
            norm,
            relu,
            pool,
        ],
        "residual" => vec![
            filters(16, "Valid", "ReLU"),
            pool.clone(),
            filters(16, "Same", "Linear"),
            norm.clone(),
            relu.clone(),
            filters(16, "Same", "Linear"),
            norm,
            json!({"residual": {"over": 5}}),
            relu,
            pool,
        ],
        _ => vec![
            filters(16, "Valid", "ReLU"),
            pool.clone(),
            filters(32, "Valid", "ReLU"),
            pool,
        ],
    };
    layers.push(json!({"flatten": {}}));
    layers.push(json!({"dense": {"units": 10, "activation": "Softmax"}}));
    let input = json!({"height": 28, "width": 28, "channels": 1});
    serde_json::from_value(json!({"input": input, "layers": Value::Array(layers)}))
}
