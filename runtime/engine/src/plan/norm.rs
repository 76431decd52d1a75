//! Brings the channels of each point to one scale.

use std::ops::Range;

use super::stage::{Compute, Gradient, Known, Pass};
use crate::simd::vectorised;

/// `(x − mean) / √(variance + ε) · scale + bias`; without a bias no mean is taken off.
#[derive(Clone, Debug)]
pub(super) struct Norm {
    /// The place of `scale` `[channels]` among the weights.
    scale: Range<usize>,
    bias: Option<Range<usize>>,
    epsilon: f32,
    /// Numbers of a row.
    width: usize,
    /// What is scaled, `[rows, width]`.
    standard: Vec<f32>,
    /// What each point was multiplied by for it, `[rows, points]`.
    factors: Vec<f32>,
}

impl Norm {
    pub(super) fn new(scale: Range<usize>, bias: Option<Range<usize>>, epsilon: f64, width: usize) -> Self {
        Norm {
            scale,
            bias,
            epsilon: epsilon as f32,
            width,
            standard: Vec::new(),
            factors: Vec::new(),
        }
    }
}

impl Compute for Norm {
    fn fit(&mut self, rows: usize) {
        self.standard.resize(rows * self.width, 0.0);
        self.factors.resize(rows * self.width / self.scale.len(), 0.0);
    }

    fn forward(&mut self, pass: &Pass<'_>, x: &[f32], output: &mut [f32]) {
        let channels = self.scale.len();
        let scale = &pass.weights[self.scale.clone()];
        let bias = self.bias.clone().map(|bias| &pass.weights[bias]);
        let kept = self.standard.chunks_exact_mut(channels).zip(&mut self.factors);
        let points = x.chunks_exact(channels).zip(output.chunks_exact_mut(channels));
        for ((x, output), (standard, factor)) in points.zip(kept) {
            let share = 1.0 / channels as f32;
            let mean = bias.map_or(0.0, |_| x.iter().sum::<f32>() * share);
            let variance = x.iter().map(|x| (x - mean) * (x - mean)).sum::<f32>() * share;
            *factor = 1.0 / (variance + self.epsilon).sqrt();
            vectorised(
                #[inline(always)]
                || {
                    for ((standard, x), (output, scale)) in
                        standard.iter_mut().zip(x).zip(output.iter_mut().zip(scale))
                    {
                        *standard = (x - mean) * *factor;
                        *output = *standard * scale;
                    }
                },
            );
            if let Some(bias) = bias {
                output
                    .iter_mut()
                    .zip(bias)
                    .for_each(|(output, bias)| *output += bias);
            }
        }
    }

    fn backward(
        &mut self,
        pass: &Pass<'_>,
        _: Known<'_>,
        slope: &mut [f32],
        back: Option<&mut [f32]>,
        gradient: &mut Gradient<'_>,
    ) {
        let channels = self.scale.len();
        for range in [Some(self.scale.clone()), self.bias.clone()]
            .into_iter()
            .flatten()
        {
            if gradient.fresh {
                gradient.values[range].fill(0.0);
            }
        }
        for (slope, standard) in slope
            .chunks_exact(channels)
            .zip(self.standard.chunks_exact(channels))
        {
            let sums = &mut gradient.values[self.scale.clone()];
            for ((sum, slope), standard) in sums.iter_mut().zip(slope).zip(standard) {
                *sum += slope * standard;
            }
            if let Some(bias) = self.bias.clone() {
                let sums = gradient.values[bias].iter_mut().zip(slope);
                sums.for_each(|(sum, slope)| *sum += slope);
            }
        }
        let Some(back) = back else { return };
        let scale = &pass.weights[self.scale.clone()];
        let share = 1.0 / channels as f32;
        let kept = self.standard.chunks_exact(channels).zip(&self.factors);
        let points = slope
            .chunks_exact_mut(channels)
            .zip(back.chunks_exact_mut(channels));
        for ((slope, back), (standard, factor)) in points.zip(kept) {
            slope
                .iter_mut()
                .zip(scale)
                .for_each(|(slope, scale)| *slope *= scale);
            // What the mean and the scale of a point are is moved by all of its channels.
            let mean = self
                .bias
                .as_ref()
                .map_or(0.0, |_| slope.iter().sum::<f32>() * share);
            let along = slope
                .iter()
                .zip(standard)
                .map(|(slope, x)| slope * x)
                .sum::<f32>()
                * share;
            for ((back, slope), standard) in back.iter_mut().zip(slope.iter()).zip(standard) {
                *back = factor * (slope - mean - standard * along);
            }
        }
    }
}
