//! Which layers there are: one line for each.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::convolution::{Conv1d, Conv2d};
use super::dense::{Activation, Dense, Dropout, Flatten};
use super::norm::{BatchNorm, LayerNorm, RmsNorm};
use super::pool::{AveragePool1d, AveragePool2d, GlobalAveragePool, MaxPool1d, MaxPool2d};
use super::residual::Residual;
use super::sequence::{Attention, Embedding, Gru, Lstm, PositionEmbedding, TransformerBlock};
use super::shape::{LayerSpec, Misfit, Outline, Shape};
use crate::validation::rules;

/// Writes a type with one optional field for each kind of layer, of which an object has exactly one (what the schema of
/// a custom resource can say of alternatives), and the enum of its kinds. Each line: what it is, field, name in YAML,
/// kind, type.
macro_rules! layers {
    (
        $(#[$about:meta])*
        $layer:ident: $($(#[$doc:meta])+ $field:ident $name:tt $kind:ident $spec:ty;)+
    ) => {
        $(#[$about])*
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[schemars(extend("x-kubernetes-validations" = one_of(&[$($name),+])))]
        pub struct $layer {
            $(
                $(#[$doc])+
                #[serde(default, rename = $name, skip_serializing_if = "Option::is_none")]
                pub $field: Option<$spec>,
            )+
        }

        impl $layer {
            /// Which layer this is, or nothing where none or more than one is given (the API server refuses that;
            /// a plan written by hand may still hold it).
            pub fn kind(&self) -> Option<LayerKind<'_>> {
                let mut given = [$(self.$field.as_ref().map(LayerKind::$kind)),+].into_iter().flatten();
                given.next().filter(|_| given.next().is_none())
            }

            /// What it makes of a row.
            ///
            /// # Errors
            /// When it does not fit; the field is that within the layer.
            pub fn outline(&self, input: Shape) -> Result<Outline, Misfit> {
                let Some(kind) = self.kind() else {
                    return Err(Misfit::new("", exactly_one(&[$($name),+])));
                };
                kind.spec().outline(input).map_err(|misfit| misfit.within(kind.name()))
            }
        }

        /// A layer once it is known which of the alternatives it is.
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub enum LayerKind<'a> {
            $($(#[$doc])+ $kind(&'a $spec),)+
        }

        impl<'a> LayerKind<'a> {
            /// Its name in YAML.
            pub fn name(self) -> &'static str {
                match self {
                    $(LayerKind::$kind(_) => $name,)+
                }
            }

            /// What it says of itself.
            pub fn spec(self) -> &'a dyn LayerSpec {
                match self {
                    $(LayerKind::$kind(spec) => spec,)+
                }
            }
        }
    };
}

layers! {
    /// One layer: exactly one of its fields.
    Layer:
    /// A fully connected layer: `activation(x · W + b)`.
    dense "dense" Dense Dense;
    /// A function applied to each value.
    activation "activation" Activation Activation;
    /// Sets a random share of the values to zero, in training only.
    dropout "dropout" Dropout Dropout;
    /// Makes plain numbers of an image or a sequence.
    flatten "flatten" Flatten Flatten;
    /// A convolution over images.
    conv2d "conv2d" Conv2d Conv2d;
    /// A convolution over sequences.
    conv1d "conv1d" Conv1d Conv1d;
    /// The greatest of each window of an image.
    max_pool2d "maxPool2d" MaxPool2d MaxPool2d;
    /// The greatest of each window of a sequence.
    max_pool1d "maxPool1d" MaxPool1d MaxPool1d;
    /// The mean of each window of an image.
    average_pool2d "averagePool2d" AveragePool2d AveragePool2d;
    /// The mean of each window of a sequence.
    average_pool1d "averagePool1d" AveragePool1d AveragePool1d;
    /// The mean over all points or steps, channel by channel.
    global_average_pool "globalAveragePool" GlobalAveragePool GlobalAveragePool;
    /// Brings each channel to one scale: of the batch in training, as measured when serving.
    batch_norm "batchNorm" BatchNorm BatchNorm;
    /// Brings the channels of each point to mean 0 and variance 1.
    layer_norm "layerNorm" LayerNorm LayerNorm;
    /// Brings the channels of each point to mean square 1.
    rms_norm "rmsNorm" RmsNorm RmsNorm;
    /// A vector for each integer: of texts, or of columns with dataset.standardize: false.
    embedding "embedding" Embedding Embedding;
    /// Adds a vector to each step, which tells its place.
    position_embedding "positionEmbedding" PositionEmbedding PositionEmbedding;
    /// Long short-term memory.
    lstm "lstm" Lstm Lstm;
    /// Gated recurrent units.
    gru "gru" Gru Gru;
    /// Each step becomes a weighted mean of all steps.
    attention "attention" Attention Attention;
    /// Attention and two dense layers, each added to what it takes.
    transformer_block "transformerBlock" TransformerBlock TransformerBlock;
    /// Adds what went into the layers before it to what comes out of them.
    residual "residual" Residual Residual;
}

fn exactly_one(names: &[&str]) -> String {
    format!("a layer has exactly one of: {}", names.join(", "))
}

fn one_of(names: &[&str]) -> serde_json::Value {
    let given: Vec<String> = names.iter().map(|name| format!("has(self.{name})")).collect();
    let rule = format!("[{}].filter(x, x).size() == 1", given.join(", "));
    rules(&[(&rule, &exactly_one(names))])
}

impl Layer {
    /// A dense layer.
    pub fn dense(units: u32, activation: Activation) -> Self {
        Layer {
            dense: Some(Dense { units, activation }),
            ..Layer::default()
        }
    }

    /// A dropout layer.
    pub fn dropout(rate: f64) -> Self {
        Layer {
            dropout: Some(Dropout { rate }),
            ..Layer::default()
        }
    }
}
