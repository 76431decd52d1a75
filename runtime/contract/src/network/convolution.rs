//! Layers that look at one window of an image or sequence after another.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::dense::Activation;
use super::shape::{LayerSpec, Misfit, Outline, Shape, bounded, product};

/// A convolution: the same small dense layer at each place.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Convolution {
    /// Number of channels that come out (1 to 4096).
    #[schemars(range(min = 1, max = 4096))]
    pub filters: u32,
    /// Points that a filter sees, each way (1 to 64).
    #[schemars(range(min = 1, max = 64))]
    pub kernel_size: u32,
    /// Points from place to place (1 to 64).
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 64))]
    pub stride: u32,
    /// What there is beyond the edges.
    #[serde(default)]
    pub padding: Padding,
    /// Function applied to each output.
    #[serde(default)]
    pub activation: Activation,
}

fn one() -> u32 {
    1
}

/// What there is beyond the edges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Padding {
    /// Nothing: a filter stays within.
    #[default]
    Valid,
    /// Zeros, so many that with stride 1 as many points come out as go in.
    Same,
}

/// Where the windows along one direction lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    /// Points that there are.
    pub points: usize,
    /// Points of a window.
    pub size: usize,
    /// Points from one window to the next.
    pub stride: usize,
    /// Points of the first window that lie before the edge.
    pub before: usize,
    /// Windows that there are.
    pub count: usize,
}

impl Windows {
    /// Along so many points; nothing where no window fits.
    pub fn new(points: u64, size: u64, stride: u64, padding: Padding) -> Option<Self> {
        let (count, before) = match padding {
            Padding::Valid => (points.checked_sub(size)? / stride + 1, 0),
            Padding::Same => {
                let count = points.div_ceil(stride);
                let beyond = (count.saturating_sub(1) * stride + size).saturating_sub(points);
                (count, beyond / 2)
            }
        };
        let narrow = |value: u64| usize::try_from(value).ok();
        Some(Windows {
            points: narrow(points)?,
            size: narrow(size)?,
            stride: narrow(stride)?,
            before: narrow(before)?,
            count: narrow(count)?,
        })
    }

    /// A direction that there is not.
    pub fn none() -> Self {
        Windows {
            points: 1,
            size: 1,
            stride: 1,
            before: 0,
            count: 1,
        }
    }
}

impl Convolution {
    fn windows(&self, what: &str, points: u64) -> Result<Windows, Misfit> {
        let size = bounded("kernelSize", self.kernel_size, 1..=64)?;
        let stride = bounded("stride", self.stride, 1..=64)?;
        Windows::new(points, size, stride, self.padding).ok_or_else(|| {
            let problem = format!(
                "a kernel of {size} does not fit into a {what} of {points}: lower it to {points} or less, or set padding \
                 to Same"
            );
            Misfit::of_size("kernelSize", problem)
        })
    }

    fn around(&self, input: Shape, output: Shape, window: &[u64]) -> Result<Outline, Misfit> {
        let (channels, filters) = (input.channels(), output.channels());
        let patch = product(window).saturating_mul(channels);
        let patches = (output.values() / filters.max(1)).saturating_mul(patch);
        Ok(Outline::new(input, output)?
            .working(patches)
            .weight("weight", &[window, &[channels, filters]].concat())
            .weight("bias", &[filters]))
    }

    fn filters(&self) -> Result<u64, Misfit> {
        bounded("filters", self.filters, 1..=4096)
    }
}

/// A convolution over images.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Conv2d(pub Convolution);

impl Conv2d {
    /// The windows over the height and over the width.
    ///
    /// # Errors
    /// When there are none.
    pub fn windows(&self, input: Shape) -> Result<[Windows; 2], Misfit> {
        let (height, width, _) = input.image()?;
        Ok([self.0.windows("height", height)?, self.0.windows("width", width)?])
    }
}

impl LayerSpec for Conv2d {
    fn outline(&self, input: Shape) -> Result<Outline, Misfit> {
        let filters = self.0.filters()?;
        let [over_height, over_width] = self.windows(input)?;
        let output = Shape::Image {
            height: over_height.count as u64,
            width: over_width.count as u64,
            channels: filters,
        };
        let size = u64::from(self.0.kernel_size);
        self.0.around(input, output, &[size, size])
    }
}

/// A convolution over sequences.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Conv1d(pub Convolution);

impl Conv1d {
    /// The windows over the length.
    ///
    /// # Errors
    /// When there are none.
    pub fn windows(&self, input: Shape) -> Result<[Windows; 2], Misfit> {
        let (length, _) = input.sequence()?;
        Ok([Windows::none(), self.0.windows("length", length)?])
    }
}

impl LayerSpec for Conv1d {
    fn outline(&self, input: Shape) -> Result<Outline, Misfit> {
        let filters = self.0.filters()?;
        let [_, over_length] = self.windows(input)?;
        let output = Shape::Sequence {
            length: over_length.count as u64,
            channels: filters,
        };
        self.0.around(input, output, &[u64::from(self.0.kernel_size)])
    }
}
