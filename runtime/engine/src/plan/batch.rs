//! Brings each channel to one scale: by the rows of a batch while learning, else by what was measured meanwhile.

use std::ops::Range;

use super::{
    after::After,
    channels,
    stage::{Compute, Gradient, Known, Pass},
};

/// `f((x − mean) / √(variance + ε) · scale + bias)`, channel by channel.
#[derive(Clone, Debug)]
pub(super) struct Batch {
    /// The place of `scale` `[channels]` among the weights.
    scale: Range<usize>,
    /// Those of the mean and the variance that were measured.
    running: [Range<usize>; 2],
    /// Share of them that stays with each batch.
    momentum: f32,
    epsilon: f32,
    pub(super) after: After,
    /// Mean and variance of each channel that its numbers are scaled by.
    moments: [Vec<f32>; 2],
    /// `1 / √(variance + ε)`.
    factors: Vec<f32>,
    /// Sums over the points: of slopes, and of slopes times what was scaled.
    slopes: [Vec<f32>; 2],
    sums: Vec<f64>,
    /// What a step backwards multiplies with.
    steps: [Vec<f32>; 3],
}

impl Batch {
    /// Of rows of so many points.
    pub(super) fn new(
        [scale, bias]: [Range<usize>; 2],
        running: [Range<usize>; 2],
        [momentum, epsilon]: [f64; 2],
        points: usize,
    ) -> Self {
        let numbers = || vec![0.0; scale.len()];
        Batch {
            running,
            momentum: momentum as f32,
            epsilon: epsilon as f32,
            after: After::new(bias, points),
            moments: [numbers(), numbers()],
            factors: numbers(),
            slopes: [numbers(), numbers()],
            sums: vec![0.0; scale.len()],
            steps: [numbers(), numbers(), numbers()],
            scale,
        }
    }

    /// Mean and variance of a batch.
    fn measure(&mut self, x: &[f32]) {
        let share = self.scale.len() as f64 / x.len() as f64;
        let Batch { moments, sums, .. } = self;
        let [mean, variance] = moments;
        let take = |moment: &mut [f32], sums: &[f64]| {
            let pairs = moment.iter_mut().zip(sums);
            pairs.for_each(|(moment, sum)| *moment = (sum * share) as f32);
        };
        channels::sum([x, x], [], sums, |x, _, []: [f32; 0]| x);
        take(mean, sums);
        channels::sum([x, x], [mean], sums, |x, _, [mean]| (x - mean) * (x - mean));
        take(variance, sums);
    }

    /// Adds what was measured of the batch to what was before.
    pub(super) fn remember(&self, weights: &mut [f32]) {
        for (running, measured) in self.running.iter().zip(&self.moments) {
            for (running, measured) in weights[running.clone()].iter_mut().zip(measured) {
                *running = *running * self.momentum + measured * (1.0 - self.momentum);
            }
        }
    }
}

impl Compute for Batch {
    fn fit(&mut self, rows: usize) {
        self.after.fit(rows);
    }

    fn forward(&mut self, pass: &Pass<'_>, x: &[f32], output: &mut [f32]) {
        if pass.chance.is_some() {
            self.measure(x);
        } else {
            for (moment, running) in self.moments.iter_mut().zip(&self.running) {
                moment.copy_from_slice(&pass.weights[running.clone()]);
            }
        }
        let scale = &pass.weights[self.scale.clone()];
        let [mean, variance] = &self.moments;
        let [both, ..] = &mut self.steps;
        for ((factor, both), (variance, scale)) in self
            .factors
            .iter_mut()
            .zip(&mut *both)
            .zip(variance.iter().zip(scale))
        {
            *factor = 1.0 / (variance + self.epsilon).sqrt();
            *both = *factor * scale;
        }
        channels::map([x, x], [mean, both], scale.len(), output, |x, _, [mean, both]| {
            (x - mean) * both
        });
        self.after.forward(pass.weights, output);
    }

    fn backward(
        &mut self,
        pass: &Pass<'_>,
        known: Known<'_>,
        slope: &mut [f32],
        back: Option<&mut [f32]>,
        gradient: &mut Gradient<'_>,
    ) {
        let scale = &pass.weights[self.scale.clone()];
        let [mean, _] = &self.moments;
        let [of_bias, of_scale] = &mut self.slopes;
        of_bias.fill(0.0);
        self.after.derive(known.output, slope, of_bias);
        channels::sum([known.x, slope], [mean], &mut self.sums, |x, slope, [mean]| {
            slope * (x - mean)
        });
        for ((slope, sum), factor) in of_scale.iter_mut().zip(&self.sums).zip(&self.factors) {
            *slope = *sum as f32 * factor;
        }
        gradient.take(self.after.bias(), of_bias);
        gradient.take(self.scale.clone(), of_scale);
        let Some(back) = back else { return };
        // What mean and variance are is moved by all points of a channel.
        let share = scale.len() as f32 / slope.len() as f32;
        let [both, level, along] = &mut self.steps;
        for channel in 0..scale.len() {
            let factor = self.factors[channel];
            both[channel] = factor * scale[channel];
            level[channel] = both[channel] * of_bias[channel] * share;
            along[channel] = both[channel] * factor * of_scale[channel] * share;
        }
        let steps = [mean, both, level, along].map(|step| &step[..]);
        channels::map([known.x, slope], steps, scale.len(), back, |x, slope, step| {
            let [mean, both, level, along] = step;
            slope * both - level - (x - mean) * along
        });
    }
}
