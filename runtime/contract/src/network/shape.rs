//! What a row is between two layers, and what a layer makes of it.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::validation::rules;

/// Most numbers that a layer may make of a row: 256 MiB of F32.
const MOST_VALUES: u64 = 1 << 26;

/// What the feature columns of a row are to the first layer, the last index running fastest: images in the order of
/// height, width and channels, sequences in that of length and channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(&[
    ("has(self.length) ? !has(self.height) && !has(self.width) : has(self.height) && has(self.width)",
     "network.input has either height and width, or length"),
])))]
pub struct Input {
    /// Rows of an image (1 to 4096).
    #[schemars(range(min = 1, max = 4096))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height: Option<u32>,
    /// Columns of an image (1 to 4096).
    #[schemars(range(min = 1, max = 4096))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width: Option<u32>,
    /// Steps of a sequence (1 to 65536).
    #[schemars(range(min = 1, max = 65536))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length: Option<u32>,
    /// Numbers of each point or step (1 to 4096).
    #[schemars(range(min = 1, max = 4096))]
    #[serde(default = "one")]
    pub channels: u32,
}

fn one() -> u32 {
    1
}

impl Input {
    /// The shape.
    ///
    /// # Errors
    /// When it is neither an image nor a sequence, or out of bounds.
    pub fn shape(&self) -> Result<Shape, Misfit> {
        let channels = bounded("channels", self.channels, 1..=4096)?;
        match (self.height, self.width, self.length) {
            (Some(height), Some(width), None) => Ok(Shape::Image {
                height: bounded("height", height, 1..=4096)?,
                width: bounded("width", width, 1..=4096)?,
                channels,
            }),
            (None, None, Some(length)) => Ok(Shape::Sequence {
                length: bounded("length", length, 1..=65_536)?,
                channels,
            }),
            _ => Err(Misfit::new(
                "",
                "it has either height and width, or length: give one of the two",
            )),
        }
    }
}

/// What a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// So many numbers.
    Flat(u64),
    /// One step after another.
    Sequence {
        /// Steps.
        length: u64,
        /// Numbers of a step.
        channels: u64,
    },
    /// One line of points after another.
    Image {
        /// Lines.
        height: u64,
        /// Points of a line.
        width: u64,
        /// Numbers of a point.
        channels: u64,
    },
}

impl Shape {
    /// Length of each dimension.
    pub fn dims(&self) -> Vec<u64> {
        match *self {
            Shape::Flat(width) => vec![width],
            Shape::Sequence { length, channels } => vec![length, channels],
            Shape::Image {
                height,
                width,
                channels,
            } => vec![height, width, channels],
        }
    }

    /// Numbers in all.
    pub fn values(&self) -> u64 {
        product(&self.dims())
    }

    /// Numbers of a point or step; all of them where there are no steps.
    pub fn channels(&self) -> u64 {
        match *self {
            Shape::Flat(channels) | Shape::Sequence { channels, .. } | Shape::Image { channels, .. } => {
                channels
            }
        }
    }

    /// The same points or steps with other channels.
    pub fn with_channels(self, new: u64) -> Self {
        match self {
            Shape::Flat(_) => Shape::Flat(new),
            Shape::Sequence { length, .. } => Shape::Sequence {
                length,
                channels: new,
            },
            Shape::Image { height, width, .. } => Shape::Image {
                height,
                width,
                channels: new,
            },
        }
    }

    pub(super) fn flat(self) -> Result<u64, Misfit> {
        match self {
            Shape::Flat(width) => Ok(width),
            other => Err(Misfit::new(
                "",
                format!(
                    "it takes plain numbers, but a row is {other} here: put flatten or globalAveragePool before it"
                ),
            )),
        }
    }

    /// Length and channels.
    pub(super) fn sequence(self) -> Result<(u64, u64), Misfit> {
        match self {
            Shape::Sequence { length, channels } => Ok((length, channels)),
            other => Err(Misfit::new(
                "",
                format!(
                    "it takes a sequence, but a row is {other} here: set model.network.input to length and channels, or \
                     begin with embedding, and put it before what makes a row flat"
                ),
            )),
        }
    }

    /// Height, width and channels.
    pub(super) fn image(self) -> Result<(u64, u64, u64), Misfit> {
        match self {
            Shape::Image {
                height,
                width,
                channels,
            } => Ok((height, width, channels)),
            other => Err(Misfit::new(
                "",
                format!(
                    "it takes an image, but a row is {other} here: set model.network.input to height, width and \
                     channels, and put it before what makes a row flat"
                ),
            )),
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Shape::Flat(width) => write!(formatter, "{width} plain number(s)"),
            Shape::Sequence { length, channels } => {
                write!(
                    formatter,
                    "a sequence of {length} x {channels} (length x channels)"
                )
            }
            Shape::Image {
                height,
                width,
                channels,
            } => write!(
                formatter,
                "an image of {height} x {width} x {channels} (height x width x channels)"
            ),
        }
    }
}

pub(super) fn product(dims: &[u64]) -> u64 {
    dims.iter().fold(1, |product, dim| product.saturating_mul(*dim))
}

/// Why a layer does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// The field, empty for the whole.
    pub field: String,
    /// What is wrong with it and what to do.
    pub problem: String,
    /// Whether rows of another size might fit.
    pub by_size: bool,
}

impl Misfit {
    /// Of a field.
    pub fn new(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Misfit {
            field: field.into(),
            problem: problem.into(),
            by_size: false,
        }
    }

    /// Of a field, for rows of this size.
    pub fn of_size(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Misfit {
            by_size: true,
            ..Misfit::new(field, problem)
        }
    }

    /// The same seen from outside of `path`.
    #[must_use]
    pub fn within(mut self, path: &str) -> Self {
        self.field = match self.field.as_str() {
            "" => path.to_owned(),
            field if field.starts_with('[') => format!("{path}{field}"),
            field => format!("{path}.{field}"),
        };
        self
    }
}

/// A value as the schema bounds it; a plan may be written by hand.
pub(super) fn bounded(field: &str, value: u32, range: std::ops::RangeInclusive<u32>) -> Result<u64, Misfit> {
    if range.contains(&value) {
        return Ok(value.into());
    }
    let (from, to) = (range.start(), range.end());
    Err(Misfit::new(
        field,
        format!("{value} is not between {from} and {to}"),
    ))
}

/// A number as the schema bounds it.
pub(super) fn within(field: &str, value: f64, range: std::ops::RangeInclusive<f64>) -> Result<(), Misfit> {
    if range.contains(&value) {
        return Ok(());
    }
    let (from, to) = (range.start(), range.end());
    Err(Misfit::new(
        field,
        format!("{value} is not between {from} and {to}"),
    ))
}

/// A layer's numbers: of a row, and of what it learns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outline {
    /// What a row is before it.
    pub input: Shape,
    /// What a row is after it.
    pub output: Shape,
    /// What it learns or measures.
    pub weights: Vec<Weight>,
    /// Numbers of a row that are kept for the gradient.
    pub kept: u64,
    /// Most numbers that a row is while the layer is at work on it, or after it.
    pub widest: u64,
}

/// A tensor that belongs to a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weight {
    /// Name within the layer.
    pub name: &'static str,
    /// Length of each dimension.
    pub shape: Vec<u64>,
}

impl Outline {
    /// Of a layer that keeps its sum and its output for the gradient.
    ///
    /// # Errors
    /// When a row would be too many numbers.
    pub(super) fn new(input: Shape, output: Shape) -> Result<Self, Misfit> {
        let values = output.values();
        if values > MOST_VALUES {
            let problem = format!(
                "it makes {output} of a row, which is more than {MOST_VALUES} numbers: ask for fewer, or make the rows \
                 smaller before it"
            );
            return Err(Misfit::of_size("", problem));
        }
        Ok(Outline {
            input,
            output,
            weights: Vec::new(),
            kept: 2 * values,
            widest: values,
        })
    }

    pub(super) fn weight(mut self, name: &'static str, shape: &[u64]) -> Self {
        self.weights.push(Weight {
            name,
            shape: shape.to_vec(),
        });
        self
    }

    /// Has so many numbers of a row on its way, and keeps them.
    pub(super) fn working(mut self, values: u64) -> Self {
        self.widest = self.widest.max(values);
        self.kept = self.kept.saturating_add(values);
        self
    }

    /// Numbers of all its weights.
    pub fn parameters(&self) -> u64 {
        let numbers = self.weights.iter().map(|weight| product(&weight.shape));
        numbers.fold(0, u64::saturating_add)
    }
}

/// What each kind of layer says of itself.
pub trait LayerSpec {
    /// What it makes of a row.
    ///
    /// # Errors
    /// When a field is out of bounds or the row is nothing that it takes.
    fn outline(&self, input: Shape) -> Result<Outline, Misfit>;
}
