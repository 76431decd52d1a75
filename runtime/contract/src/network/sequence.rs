//! Layers of sequences: of integers, step by step, and each step by all others.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shape::{LayerSpec, Misfit, Outline, Shape, bounded, within};

/// A vector for each integer.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Embedding {
    /// Number of integers that there are, from 0 (1 to 1048576).
    #[schemars(range(min = 1, max = 1_048_576))]
    pub vocabulary: u32,
    /// Length of a vector (1 to 4096).
    #[schemars(range(min = 1, max = 4096))]
    pub dimensions: u32,
}

impl LayerSpec for Embedding {
    fn outline(&self, input: Shape) -> Result<Outline, Misfit> {
        let vocabulary = bounded("vocabulary", self.vocabulary, 1..=1_048_576)?;
        let dimensions = bounded("dimensions", self.dimensions, 1..=4096)?;
        let length = match input {
            Shape::Flat(length) | Shape::Sequence { length, channels: 1 } => length,
            other => {
                let problem = format!(
                    "it takes one integer per step, but a row is {other}: make it the first layer, and leave \
                     model.network.input out"
                );
                return Err(Misfit::new("", problem));
            }
        };
        let output = Shape::Sequence {
            length,
            channels: dimensions,
        };
        Ok(Outline::new(input, output)?.weight("weight", &[vocabulary, dimensions]))
    }
}

/// A vector for each place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PositionEmbedding {}

impl LayerSpec for PositionEmbedding {
    fn outline(&self, input: Shape) -> Result<Outline, Misfit> {
        let (length, channels) = input.sequence()?;
        Ok(Outline::new(input, input)?.weight("weight", &[length, channels]))
    }
}

/// A layer that goes over a sequence step by step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Recurrent {
    /// Number of outputs of a step (1 to 4096).
    #[schemars(range(min = 1, max = 4096))]
    pub units: u32,
    /// Whether all steps come out; else the last one, as plain numbers.
    #[serde(default)]
    pub return_sequences: bool,
}

impl Recurrent {
    fn around(&self, input: Shape, gates: u64) -> Result<(Outline, [u64; 2]), Misfit> {
        let units = bounded("units", self.units, 1..=4096)?;
        let (length, channels) = input.sequence()?;
        let output = match self.return_sequences {
            true => Shape::Sequence {
                length,
                channels: units,
            },
            false => Shape::Flat(units),
        };
        // Of each step the sums, what the gates make of them, and the state.
        let steps = length.saturating_mul(units).saturating_mul(gates + 6);
        let outline = Outline::new(input, output)?
            .working(steps)
            .weight("weight", &[channels, gates * units])
            .weight("recurrent", &[units, gates * units])
            .weight("bias", &[gates * units]);
        Ok((outline, [units, gates]))
    }
}

/// Long short-term memory.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Lstm(pub Recurrent);

impl LayerSpec for Lstm {
    fn outline(&self, input: Shape) -> Result<Outline, Misfit> {
        Ok(self.0.around(input, 4)?.0)
    }
}

/// Gated recurrent units.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Gru(pub Recurrent);

impl LayerSpec for Gru {
    fn outline(&self, input: Shape) -> Result<Outline, Misfit> {
        let (outline, [units, gates]) = self.0.around(input, 3)?;
        Ok(outline.weight("recurrent_bias", &[gates * units]))
    }
}

/// Each step as a mean of all steps, weighted by how well they go together.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Attention {
    /// Independent weightings, each of its part of the channels (1 to 64).
    #[schemars(range(min = 1, max = 64))]
    pub heads: u32,
    /// Share of the weights set to zero while training (0 to 0.99).
    #[schemars(range(min = 0.0, max = 0.99))]
    #[serde(default)]
    pub dropout: f64,
    /// Whether a step sees none that come after it.
    #[serde(default)]
    pub causal: bool,
}

fn attended(outline: Outline, heads: u32) -> Result<Outline, Misfit> {
    let heads = bounded("heads", heads, 1..=64)?;
    let (length, channels) = outline.input.sequence()?;
    if channels % heads != 0 {
        let fitting: Vec<_> = (1..=channels.min(64))
            .filter(|heads| channels % heads == 0)
            .map(|heads| heads.to_string())
            .collect();
        let problem = format!(
            "{heads} heads cannot share {channels} channels evenly: choose one of {}",
            fitting.join(", ")
        );
        return Err(Misfit::new("heads", problem));
    }
    let scores = length
        .saturating_mul(length)
        .saturating_mul(heads)
        .saturating_mul(2);
    let projected = outline.input.values().saturating_mul(4);
    let square = [channels, channels];
    let mut outline = outline.working(scores.saturating_add(projected));
    for (weight, bias) in [
        ("query.weight", "query.bias"),
        ("key.weight", "key.bias"),
        ("value.weight", "value.bias"),
        ("output.weight", "output.bias"),
    ] {
        outline = outline.weight(weight, &square).weight(bias, &[channels]);
    }
    Ok(outline)
}

impl LayerSpec for Attention {
    fn outline(&self, input: Shape) -> Result<Outline, Misfit> {
        within("dropout", self.dropout, 0.0..=0.99)?;
        attended(Outline::new(input, input)?, self.heads)
    }
}

/// Attention and two dense layers for each step, each added to what it takes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TransformerBlock {
    /// Independent weightings, each of its part of the channels (1 to 64).
    #[schemars(range(min = 1, max = 64))]
    pub heads: u32,
    /// Units of the first of the two dense layers (1 to 65536).
    #[schemars(range(min = 1, max = 65536))]
    pub feed_forward: u32,
    /// Share set to zero while training, of the weights and of what either half adds (0 to 0.99).
    #[schemars(range(min = 0.0, max = 0.99))]
    #[serde(default)]
    pub dropout: f64,
    /// Whether a step sees none that come after it.
    #[serde(default)]
    pub causal: bool,
}

impl LayerSpec for TransformerBlock {
    fn outline(&self, input: Shape) -> Result<Outline, Misfit> {
        within("dropout", self.dropout, 0.0..=0.99)?;
        let inner = bounded("feedForward", self.feed_forward, 1..=65_536)?;
        let (length, channels) = input.sequence()?;
        Ok(attended(Outline::new(input, input)?, self.heads)?
            .working(length.saturating_mul(inner).saturating_mul(2))
            .weight("attention_norm.scale", &[channels])
            .weight("attention_norm.bias", &[channels])
            .weight("feed_forward_norm.scale", &[channels])
            .weight("feed_forward_norm.bias", &[channels])
            .weight("expand.weight", &[channels, inner])
            .weight("expand.bias", &[inner])
            .weight("shrink.weight", &[inner, channels])
            .weight("shrink.bias", &[channels]))
    }
}
