//! Losses with their derivatives, in one pass. The formulas are those of [`crate::losses`], by hand.

use sconce_contract::Loss;

use crate::{
    losses::Objective,
    metrics::Targets,
    simd::{exp, sigmoid, vectorised},
};

/// The sum over the rows of their losses, and in `slope` its derivative by each output divided by `divisor`. Both
/// are `[rows, width]`; outputs are logits where [`Objective::takes_logits`], else what the last activation gave.
pub(super) fn loss(
    objective: &Objective,
    outputs: &[f32],
    width: usize,
    targets: &Targets<'_>,
    slope: &mut [f32],
    divisor: f32,
) -> f64 {
    let share = 1.0 / divisor;
    match objective.loss {
        Loss::MeanSquaredError => numbers(objective, outputs, width, targets, slope, |error| {
            (error * error, 2.0 * error * share)
        }),
        Loss::MeanAbsoluteError => numbers(objective, outputs, width, targets, slope, |error| {
            let sign = if error == 0.0 { 0.0 } else { error.signum() };
            (error.abs(), sign * share)
        }),
        Loss::Huber => {
            let delta = objective.delta;
            numbers(objective, outputs, width, targets, slope, move |error| {
                let inner = error.clamp(-delta, delta);
                (inner * (error - 0.5 * inner), inner * share)
            })
        }
        Loss::BinaryCrossEntropy => binary_cross_entropy(objective, outputs, targets, slope, share),
        Loss::CrossEntropy => cross_entropy(objective, outputs, width, targets, slope, share),
    }
}

fn target(targets: &Targets<'_>, index: usize) -> f32 {
    match targets {
        Targets::Numbers(numbers) => numbers[index],
        Targets::Classes(classes) => classes[index] as f32,
    }
}

/// The mean over the outputs of a row of a function of the error, which answers its value and its slope.
fn numbers(
    objective: &Objective,
    outputs: &[f32],
    width: usize,
    targets: &Targets<'_>,
    slope: &mut [f32],
    function: impl Fn(f32) -> (f32, f32),
) -> f64 {
    let part = 1.0 / width as f32;
    let mut sum = 0.0;
    for (index, (output, slope)) in outputs.iter().zip(slope).enumerate() {
        let target = target(targets, index);
        let weight = objective.weight_of(targets, index / width) * part;
        let (value, derivative) = function(output - target);
        sum += f64::from(weight * value);
        *slope = weight * derivative;
    }
    sum
}

fn binary_cross_entropy(
    objective: &Objective,
    logits: &[f32],
    targets: &Targets<'_>,
    slope: &mut [f32],
    share: f32,
) -> f64 {
    let mut sum = 0.0;
    for (row, (&logit, slope)) in logits.iter().zip(slope).enumerate() {
        let target = target(targets, row);
        let weight = objective.weight_of(targets, row);
        let value = logit.max(0.0) - logit * target + (-logit.abs()).exp().ln_1p();
        sum += f64::from(weight * value);
        *slope = weight * (sigmoid(logit) - target) * share;
    }
    sum
}

/// With smoothing s over k classes the target is `1 − s + s/k` for the class of the row and `s/k` for the others.
fn cross_entropy(
    objective: &Objective,
    logits: &[f32],
    classes: usize,
    targets: &Targets<'_>,
    slope: &mut [f32],
    share: f32,
) -> f64 {
    let Targets::Classes(of_rows) = targets else {
        return f64::NAN;
    };
    let even = objective.smoothing / classes as f32;
    let own = 1.0 - objective.smoothing;
    let mut sum = 0.0;
    vectorised(
        #[inline(always)]
        || {
            let rows = logits.chunks_exact(classes).zip(slope.chunks_exact_mut(classes));
            for ((logits, slope), &class) in rows.zip(*of_rows) {
                let weight = objective.weight_of_class(class);
                let greatest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                for (slope, logit) in slope.iter_mut().zip(logits) {
                    *slope = exp(logit - greatest);
                }
                let whole: f32 = slope.iter().sum();
                let log_whole = whole.ln();
                let mut value = own * (log_whole - (logits[class as usize] - greatest));
                if even > 0.0 {
                    let shifted: f32 = logits.iter().map(|logit| logit - greatest).sum();
                    value += even * (classes as f32 * log_whole - shifted);
                }
                sum += f64::from(weight * value);
                let scale = weight * share;
                for slope in &mut *slope {
                    *slope = (*slope / whole - even) * scale;
                }
                slope[class as usize] -= own * scale;
            }
        },
    );
    sum
}
