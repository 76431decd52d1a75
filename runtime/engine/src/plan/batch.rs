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
    /// Points of all rows that are learned together.
    points: usize,
    /// Of each channel over them: first its mean and the sum of the squares about it, on the way back the sums of the
    /// slopes, and of the slopes times the distances to the mean.
    sums: [Vec<f64>; 2],
    /// Mean and variance of each channel that its numbers are scaled by.
    moments: [Vec<f32>; 2],
    /// `1 / √(variance + ε)`.
    factors: Vec<f32>,
    /// The derivatives by bias and scale.
    slopes: [Vec<f32>; 2],
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
            points: 0,
            sums: [vec![0.0; scale.len()], vec![0.0; scale.len()]],
            moments: [numbers(), numbers()],
            factors: numbers(),
            slopes: [numbers(), numbers()],
            steps: [numbers(), numbers(), numbers()],
            scale,
        }
    }

    /// Measures rows that are learned.
    pub(super) fn measure(&mut self, x: &[f32]) {
        let [means, squares] = &mut self.sums;
        let [mean, _] = &mut self.moments;
        self.points = x.len() / means.len();
        channels::sum([x, x], [], means, |x, _, []: [f32; 0]| x);
        for (sum, mean) in means.iter_mut().zip(&mut *mean) {
            *sum /= self.points as f64;
            *mean = *sum as f32;
        }
        channels::sum([x, x], [mean], squares, |x, _, [mean]| (x - mean) * (x - mean));
    }

    /// Takes in what was measured of other rows (Chan, Golub and LeVeque 1979).
    pub(super) fn join_moments(&mut self, other: &Batch) {
        let (own, others) = (self.points as f64, other.points as f64);
        self.points += other.points;
        let share = others / self.points as f64;
        let [means, squares] = &mut self.sums;
        let ours = means.iter_mut().zip(squares);
        let theirs = other.sums[0].iter().zip(&other.sums[1]);
        for ((mean, square), (other_mean, other_square)) in ours.zip(theirs) {
            let apart = other_mean - *mean;
            *mean += apart * share;
            *square += other_square + apart * apart * own * share;
        }
    }

    /// Takes what was measured as what rows are scaled by.
    pub(super) fn settle(&mut self) {
        let [means, squares] = &self.sums;
        let [mean, variance] = &mut self.moments;
        for channel in 0..means.len() {
            mean[channel] = means[channel] as f32;
            variance[channel] = (squares[channel] / self.points as f64) as f32;
        }
    }

    /// Takes over what all parts know together.
    pub(super) fn adopt(&mut self, all: &Batch) {
        self.points = all.points;
        for (sums, all) in self.sums.iter_mut().zip(&all.sums) {
            sums.copy_from_slice(all);
        }
        for (moment, all) in self.moments.iter_mut().zip(&all.moments) {
            moment.copy_from_slice(all);
        }
    }

    /// The first half of the way back: `slope` becomes that by what was scaled and moved, and is summed up.
    pub(super) fn gather(&mut self, known: Known<'_>, slope: &mut [f32], gradient: &mut Gradient<'_>) {
        let [mean, _] = &self.moments;
        let [of_bias, of_scale] = &mut self.slopes;
        let [levels, alongs] = &mut self.sums;
        of_bias.fill(0.0);
        self.after.derive(known.output, slope, of_bias);
        channels::sum([known.x, slope], [mean], alongs, |x, slope, [mean]| {
            slope * (x - mean)
        });
        for channel in 0..of_scale.len() {
            levels[channel] = f64::from(of_bias[channel]);
            of_scale[channel] = alongs[channel] as f32 * self.factors[channel];
        }
        gradient.take(self.after.bias(), of_bias);
        gradient.take(self.scale.clone(), of_scale);
    }

    /// Takes in what was summed up of other rows.
    pub(super) fn join_slopes(&mut self, other: &Batch) {
        for (sums, others) in self.sums.iter_mut().zip(&other.sums) {
            let pairs = sums.iter_mut().zip(others);
            pairs.for_each(|(sum, other)| *sum += other);
        }
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
        if pass.chance.is_none() {
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

    /// The second half of the way back, once the slopes of all rows are summed up ([`Batch::gather`]).
    fn backward(
        &mut self,
        pass: &Pass<'_>,
        known: Known<'_>,
        slope: &mut [f32],
        back: Option<&mut [f32]>,
        _: &mut Gradient<'_>,
    ) {
        let Some(back) = back else { return };
        let scale = &pass.weights[self.scale.clone()];
        let [mean, _] = &self.moments;
        let [levels, alongs] = &self.sums;
        // What mean and variance are is moved by all points of a channel.
        let share = 1.0 / self.points as f64;
        let [both, level, along] = &mut self.steps;
        for channel in 0..scale.len() {
            let factor = self.factors[channel];
            both[channel] = factor * scale[channel];
            level[channel] = both[channel] * (levels[channel] * share) as f32;
            along[channel] = both[channel] * factor * factor * (alongs[channel] * share) as f32;
        }
        let steps = [mean, &*both, level, along].map(|step| &step[..]);
        channels::map([known.x, slope], steps, scale.len(), back, |x, slope, step| {
            let [mean, both, level, along] = step;
            slope * both - level - (x - mean) * along
        });
    }
}
