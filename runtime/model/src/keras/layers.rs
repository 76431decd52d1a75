//! Our layers as Keras' own: names, settings, and the order of weights.

use sconce_contract::network::{Activation, Convolution, Norm, Padding, Pool, Recurrent, Shape};
use sconce_contract::{Encoding, Feature, Layer, LayerKind, Network};
use serde_json::{Value, json};

use crate::ModelError;
use crate::weights::Numbers;

/// A layer of a Sequential.
pub(super) struct Held {
    /// Its name among the others.
    pub(super) name: String,
    class: &'static str,
    settings: Value,
    /// In the order in which Keras asks for them.
    pub(super) weights: Vec<(&'static str, Numbers<'static>)>,
}

type Weighed<'a> = &'a dyn Fn(&str) -> Result<Numbers<'static>, ModelError>;

impl Held {
    fn new(name: impl Into<String>, class: &'static str, settings: Value) -> Self {
        Held {
            name: name.into(),
            class,
            settings,
            weights: Vec::new(),
        }
    }

    /// Rows of so many columns.
    pub(super) fn input(columns: usize) -> Self {
        let settings = json!({"batch_shape": [null, columns], "dtype": "float32"});
        Held::new("columns", "InputLayer", settings)
    }

    /// What brings the columns to scale, where any is.
    pub(super) fn scale(features: &[Feature]) -> Option<Self> {
        let wide = |value: fn(&Feature) -> f64, of_place: f64| -> Vec<f32> {
            let each = features.iter().flat_map(|feature| {
                let vocabulary = feature.vocabulary.as_ref();
                // The place of a word is 0 or 1, and stays so.
                let is_place = vocabulary.is_some_and(|words| words.encoding == Encoding::OneHot);
                let value = if is_place { of_place } else { value(feature) };
                std::iter::repeat_n(value as f32, feature.width())
            });
            each.collect()
        };
        let means = wide(|feature| feature.mean, 0.0);
        let variances = wide(|feature| feature.scale * feature.scale, 1.0);
        if means.iter().all(|mean| *mean == 0.0) && variances.iter().all(|variance| *variance == 1.0) {
            return None;
        }
        let row = |values: Vec<f32>| Numbers {
            shape: vec![values.len()],
            values: values.into(),
        };
        let counted = Numbers {
            shape: Vec::new(),
            values: vec![0.0].into(),
        };
        let mut held = Held::new("standardize", "Normalization", json!({"axis": [-1]}));
        held.settings["build"] = json!([null, means.len()]);
        held.weights = vec![
            ("mean", row(means)),
            ("variance", row(variances)),
            ("count", counted),
        ];
        Some(held)
    }

    /// What makes an image or a sequence of a row.
    pub(super) fn shape(network: &Network) -> Option<Self> {
        let dims = network.input?.shape().ok()?.dims();
        Some(Held::new("shape", "Reshape", json!({"target_shape": dims})))
    }

    /// One of ours; nothing where Keras needs none.
    pub(super) fn layer(
        index: usize,
        layer: &Layer,
        input: Shape,
        weight: Weighed<'_>,
    ) -> Result<Option<Self>, ModelError> {
        let Some(kind) = layer.kind() else { return Ok(None) };
        let name = format!("layer_{index}_{}", kind.name().to_lowercase());
        let image = matches!(input, Shape::Image { .. });
        let (class, settings, weights): (_, _, &[_]) = match kind {
            LayerKind::Dense(dense) => (
                "Dense",
                json!({"units": dense.units, "activation": called(dense.activation)}),
                &[("kernel", "weight"), ("bias", "bias")],
            ),
            LayerKind::Activation(activation) => {
                ("Activation", json!({"activation": called(*activation)}), &[])
            }
            LayerKind::Dropout(dropout) => ("Dropout", json!({"rate": dropout.rate}), &[]),
            LayerKind::Flatten(_) => ("Flatten", json!({}), &[]),
            LayerKind::Conv2d(conv) => ("Conv2D", convolution(&conv.0), KERNEL),
            LayerKind::Conv1d(conv) => ("Conv1D", convolution(&conv.0), KERNEL),
            LayerKind::MaxPool2d(of) => ("MaxPooling2D", pool(&of.0), &[]),
            LayerKind::MaxPool1d(of) => ("MaxPooling1D", pool(&of.0), &[]),
            LayerKind::AveragePool2d(of) => ("AveragePooling2D", pool(&of.0), &[]),
            LayerKind::AveragePool1d(of) => ("AveragePooling1D", pool(&of.0), &[]),
            LayerKind::GlobalAveragePool(_) if image => ("GlobalAveragePooling2D", json!({}), &[]),
            LayerKind::GlobalAveragePool(_) => ("GlobalAveragePooling1D", json!({}), &[]),
            LayerKind::BatchNorm(norm) => (
                "BatchNormalization",
                json!({"axis": -1, "momentum": norm.momentum, "epsilon": norm.epsilon}),
                &[
                    ("gamma", "scale"),
                    ("beta", "bias"),
                    ("moving_mean", "mean"),
                    ("moving_variance", "variance"),
                ],
            ),
            LayerKind::LayerNorm(norm) => (
                "LayerNormalization",
                normal(&norm.0),
                &[("gamma", "scale"), ("beta", "bias")],
            ),
            LayerKind::RmsNorm(norm) => ("RMSNormalization", normal(&norm.0), &[("scale", "scale")]),
            LayerKind::Embedding(embedding) => (
                "Embedding",
                json!({"input_dim": embedding.vocabulary, "output_dim": embedding.dimensions}),
                &[("embeddings", "weight")],
            ),
            LayerKind::Lstm(lstm) => ("LSTM", recurrent(&lstm.0), RECURRENT),
            LayerKind::Gru(gru) => ("GRU", gated(&gru.0), RECURRENT),
            LayerKind::PositionEmbedding(_)
            | LayerKind::Attention(_)
            | LayerKind::TransformerBlock(_)
            | LayerKind::Residual(_) => return Ok(None),
        };
        let mut held = Held::new(name, class, settings);
        for (theirs, ours) in weights {
            held.weights.push((theirs, weight(ours)?));
        }
        if let (LayerKind::Gru(_), Some((_, bias))) = (kind, held.weights.last_mut()) {
            // Both biases as the rows of one.
            let inner = weight("recurrent_bias")?;
            let both = [bias.values.as_ref(), inner.values.as_ref()].concat();
            *bias = Numbers {
                shape: vec![2, inner.values.len()],
                values: both.into(),
            };
        }
        Ok(Some(held))
    }

    /// As the JSON of a Sequential has it.
    pub(super) fn config(&self) -> Value {
        let mut settings = self.settings.clone();
        settings["name"] = json!(self.name);
        let build = settings
            .as_object_mut()
            .and_then(|settings| settings.remove("build"));
        let mut config = json!({
            "module": "keras.layers", "class_name": self.class, "config": settings, "registered_name": null,
        });
        if let Some(shape) = build {
            config["build_config"] = json!({"input_shape": shape});
        }
        config
    }
}

const KERNEL: &[(&str, &str)] = &[("kernel", "weight"), ("bias", "bias")];
const RECURRENT: &[(&str, &str)] = &[
    ("kernel", "weight"),
    ("recurrent_kernel", "recurrent"),
    ("bias", "bias"),
];

fn called(activation: Activation) -> &'static str {
    match activation {
        Activation::Linear => "linear",
        Activation::ReLU => "relu",
        Activation::Sigmoid => "sigmoid",
        Activation::Tanh => "tanh",
        Activation::Softmax => "softmax",
        Activation::GELU => "gelu",
    }
}

fn convolution(of: &Convolution) -> Value {
    let padding = match of.padding {
        Padding::Valid => "valid",
        Padding::Same => "same",
    };
    json!({
        "filters": of.filters, "kernel_size": of.kernel_size, "strides": of.stride, "padding": padding,
        "activation": called(of.activation), "data_format": "channels_last",
    })
}

fn pool(of: &Pool) -> Value {
    let stride = of.stride.unwrap_or(of.pool_size);
    json!({"pool_size": of.pool_size, "strides": stride, "padding": "valid", "data_format": "channels_last"})
}

fn normal(of: &Norm) -> Value {
    json!({"axis": -1, "epsilon": of.epsilon})
}

fn recurrent(of: &Recurrent) -> Value {
    json!({"units": of.units, "return_sequences": of.return_sequences})
}

/// The reset gate comes after the product, as in ours.
fn gated(of: &Recurrent) -> Value {
    let mut settings = recurrent(of);
    settings["reset_after"] = json!(true);
    settings
}
