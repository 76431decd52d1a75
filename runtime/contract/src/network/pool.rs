//! Layers that make one number of several, channel by channel.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::convolution::{Padding, Windows};
use super::shape::{LayerSpec, Misfit, Outline, Shape, bounded};

/// Windows of which each becomes one point; what is left at the edge is left out.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pool {
    /// Points of a window, each way (1 to 64).
    #[schemars(range(min = 1, max = 64))]
    pub pool_size: u32,
    /// Points from window to window (1 to 64). Default: poolSize.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 64))]
    pub stride: Option<u32>,
}

impl Pool {
    fn windows(&self, what: &str, points: u64) -> Result<Windows, Misfit> {
        let size = bounded("poolSize", self.pool_size, 1..=64)?;
        let stride = bounded("stride", self.stride.unwrap_or(self.pool_size), 1..=64)?;
        Windows::new(points, size, stride, Padding::Valid).ok_or_else(|| {
            let problem = format!(
                "a window of {size} does not fit into a {what} of {points}: lower it to {points} or less"
            );
            Misfit::of_size("poolSize", problem)
        })
    }

    /// The windows over the height and over the width of an image.
    ///
    /// # Errors
    /// When there are none.
    pub fn over_image(&self, input: Shape) -> Result<[Windows; 2], Misfit> {
        let (height, width, _) = input.image()?;
        Ok([self.windows("height", height)?, self.windows("width", width)?])
    }

    /// The windows over the length of a sequence.
    ///
    /// # Errors
    /// When there are none.
    pub fn over_sequence(&self, input: Shape) -> Result<[Windows; 2], Misfit> {
        let (length, _) = input.sequence()?;
        Ok([Windows::none(), self.windows("length", length)?])
    }

    fn image(&self, input: Shape) -> Result<Outline, Misfit> {
        let [over_height, over_width] = self.over_image(input)?;
        let output = Shape::Image {
            height: over_height.count as u64,
            width: over_width.count as u64,
            channels: input.channels(),
        };
        Outline::new(input, output)
    }

    fn sequence(&self, input: Shape) -> Result<Outline, Misfit> {
        let [_, over_length] = self.over_sequence(input)?;
        let output = Shape::Sequence {
            length: over_length.count as u64,
            channels: input.channels(),
        };
        Outline::new(input, output)
    }
}

/// The greatest of each window of an image.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct MaxPool2d(pub Pool);

impl LayerSpec for MaxPool2d {
    fn outline(&self, input: Shape) -> Result<Outline, Misfit> {
        self.0.image(input)
    }
}

/// The mean of each window of an image.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct AveragePool2d(pub Pool);

impl LayerSpec for AveragePool2d {
    fn outline(&self, input: Shape) -> Result<Outline, Misfit> {
        self.0.image(input)
    }
}

/// The greatest of each window of a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct MaxPool1d(pub Pool);

impl LayerSpec for MaxPool1d {
    fn outline(&self, input: Shape) -> Result<Outline, Misfit> {
        self.0.sequence(input)
    }
}

/// The mean of each window of a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct AveragePool1d(pub Pool);

impl LayerSpec for AveragePool1d {
    fn outline(&self, input: Shape) -> Result<Outline, Misfit> {
        self.0.sequence(input)
    }
}

/// The mean over all points or steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GlobalAveragePool {}

impl LayerSpec for GlobalAveragePool {
    fn outline(&self, input: Shape) -> Result<Outline, Misfit> {
        if let Shape::Flat(_) = input {
            let problem = format!("it takes an image or a sequence, but a row is {input} here: leave it out");
            return Err(Misfit::new("", problem));
        }
        Outline::new(input, Shape::Flat(input.channels()))
    }
}
