//! The model as one file that Keras loads: `keras.models.load_model("model.h5")`.
//!
//! ```text
//!   /                    model_config (JSON of a Sequential), keras_version, backend
//!   └─ model_weights     layer_names
//!      └─ LAYER          weight_names
//!         └─ WEIGHT      F32, in Keras' own shape
//! ```
//!
//! The layout is that of Keras' `legacy_h5_format.py`, the container HDF5. The Sequential takes what the table holds: a
//! row of numbers, which its first layer brings to scale as our server does, and of words what they are encoded as.

mod layers;

use std::collections::BTreeMap;

use candle_core::Tensor;
use hdf5_pure::{AttrValue, FileBuilder};
use sconce_contract::{Network, Preprocess};
use serde_json::{Value, json};

use crate::ModelError;
use crate::encode;
use crate::weights::Numbers;
use layers::Held;

/// The version of Keras whose layers are meant.
const VERSION: &str = "3.0.0";

/// The file. The same model gives the same bytes.
pub(crate) fn write(
    network: &Network,
    preprocess: &Preprocess,
    weights: &BTreeMap<String, Tensor>,
) -> Result<Vec<u8>, ModelError> {
    let unfit = |reason: String| ModelError::Unfit { reason };
    let misfit =
        |misfit: sconce_contract::network::Misfit| unfit(format!("{}: {}", misfit.field, misfit.problem));
    network.held_by_keras().map_err(misfit)?;
    let columns = encode::width(&preprocess.features);
    let outlines = network.outline(Some(columns as u64)).map_err(misfit)?;
    let mut chain = vec![Held::input(columns)];
    chain.extend(Held::scale(&preprocess.features));
    chain.extend(Held::shape(network));
    for (index, (layer, outline)) in network.layers.iter().zip(&outlines).enumerate() {
        let weight = |name: &str| {
            let name = format!("layers.{index}.{name}");
            let tensor = weights
                .get(&name)
                .ok_or_else(|| unfit(format!("there is no tensor {name}")))?;
            Numbers::of(&name, tensor).map_err(unfit)
        };
        chain.extend(Held::layer(index, layer, outline.input, &weight)?);
    }
    let written = file(&chain, &config(&chain, columns));
    written.map_err(|error| unfit(format!("it cannot be written as HDF5: {error}")))
}

/// The Sequential, as Keras says it in JSON.
fn config(chain: &[Held], columns: usize) -> Value {
    let layers: Vec<Value> = chain.iter().map(Held::config).collect();
    json!({
        "module": "keras", "class_name": "Sequential", "registered_name": null,
        "config": {"name": "sequential", "layers": layers, "build_input_shape": [null, columns]},
    })
}

fn file(chain: &[Held], config: &Value) -> Result<Vec<u8>, hdf5_pure::Error> {
    let text = |text: &str| AttrValue::String(text.to_owned());
    let mut file = FileBuilder::new();
    file.set_attr("keras_version", text(VERSION));
    file.set_attr("backend", text("tensorflow"));
    file.set_attr("model_config", AttrValue::VarLenString(config.to_string()));
    let mut all = file.create_group("model_weights");
    all.set_attr("keras_version", text(VERSION));
    all.set_attr("backend", text("tensorflow"));
    let weighty = || chain.iter().filter(|held| !held.weights.is_empty());
    let names = |names: Vec<&str>| AttrValue::StringArray(names.into_iter().map(str::to_owned).collect());
    all.set_attr(
        "layer_names",
        names(weighty().map(|held| held.name.as_str()).collect()),
    );
    for held in weighty() {
        let mut group = all.create_group(&held.name);
        group.set_attr(
            "weight_names",
            names(held.weights.iter().map(|(name, _)| *name).collect()),
        );
        for (name, numbers) in &held.weights {
            let shape: Vec<u64> = numbers.shape.iter().map(|length| *length as u64).collect();
            group
                .create_dataset(name)
                .with_f32_data(&numbers.values)
                .with_shape(&shape);
        }
        all.add_group(group.finish());
    }
    file.add_group(all.finish());
    file.finish()
}
