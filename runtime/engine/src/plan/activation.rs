//! What stands between two products, one pass over `[rows, units]` each.

use sconce_contract::Activation;

use crate::simd::{exp, normal, sigmoid, tanh, vectorised};

/// `values ← f(values + bias)`, row after row. GELU's derivative is not to be had from its value, so `before` keeps
/// `values + bias` for it; for the others it stays empty.
pub(super) fn activate(activation: Activation, bias: &[f32], values: &mut [f32], before: &mut [f32]) {
    match activation {
        Activation::Linear => each(bias, values, |x| x),
        // NaN stays, so that a training that diverges is noticed.
        Activation::ReLU => each(bias, values, |x| if x < 0.0 { 0.0 } else { x }),
        Activation::Sigmoid => each(bias, values, sigmoid),
        Activation::Tanh => each(bias, values, tanh),
        Activation::Softmax => {
            each(bias, values, |x| x);
            softmax(values, bias.len());
        }
        Activation::GELU => {
            each(bias, values, |x| x);
            before.copy_from_slice(values);
            each(&[0.0], values, |x| x * normal(x).0);
        }
    }
}

/// `values ← f(values)`, of rows of `units` values.
pub(super) fn apply(activation: Activation, units: usize, values: &mut [f32]) {
    match activation {
        Activation::Linear => {}
        Activation::Softmax => softmax(values, units),
        Activation::GELU => each(&[0.0], values, |x| x * normal(x).0),
        Activation::ReLU | Activation::Sigmoid | Activation::Tanh => {
            activate(activation, &[0.0], values, &mut []);
        }
    }
}

/// Units that are computed together, so that their biases stay in the processor from row to row.
const WIDE: usize = 16;

#[inline]
fn each(bias: &[f32], values: &mut [f32], function: impl Fn(f32) -> f32) {
    let units = bias.len();
    vectorised(
        #[inline(always)]
        || {
            if units.is_multiple_of(WIDE) {
                for (block, bias) in bias.as_chunks::<WIDE>().0.iter().enumerate() {
                    for row in values.chunks_exact_mut(units) {
                        let row = &mut row[block * WIDE..][..WIDE];
                        for (value, bias) in row.iter_mut().zip(bias) {
                            *value = function(*value + *bias);
                        }
                    }
                }
                return;
            }
            for row in values.chunks_exact_mut(units) {
                for (value, bias) in row.iter_mut().zip(bias) {
                    *value = function(*value + *bias);
                }
            }
        },
    );
}

/// Each row of `units` values becomes `e^xᵢ / Σ e^xⱼ`.
fn softmax(values: &mut [f32], units: usize) {
    vectorised(
        #[inline(always)]
        || {
            for row in values.chunks_exact_mut(units) {
                let greatest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                row.iter_mut().for_each(|value| *value = exp(*value - greatest));
                let whole = 1.0 / row.iter().sum::<f32>();
                row.iter_mut().for_each(|value| *value *= whole);
            }
        },
    );
}

/// `slope ← slope · f′`, from the derivative by the values of the function to that by its arguments, and the sum of
/// it over the rows added to `bias`.
pub(super) fn derive(
    activation: Activation,
    values: &[f32],
    before: &[f32],
    slope: &mut [f32],
    bias: &mut [f32],
) {
    match activation {
        Activation::Linear => gate(values, slope, bias, |slope, _| slope),
        Activation::ReLU => gate(values, slope, bias, |slope, y| if y > 0.0 { slope } else { 0.0 }),
        Activation::Sigmoid => gate(values, slope, bias, |slope, y| slope * y * (1.0 - y)),
        Activation::Tanh => gate(values, slope, bias, |slope, y| slope * (1.0 - y * y)),
        Activation::GELU => gate(before, slope, bias, |slope, x| {
            let (distribution, density) = normal(x);
            slope * (distribution + x * density)
        }),
        Activation::Softmax => {
            let units = bias.len();
            for (slope, y) in slope.chunks_exact_mut(units).zip(values.chunks_exact(units)) {
                let common: f32 = slope.iter().zip(y).map(|(slope, y)| slope * y).sum();
                slope
                    .iter_mut()
                    .zip(y)
                    .for_each(|(slope, y)| *slope = y * (*slope - common));
            }
            gate(values, slope, bias, |slope, _| slope);
        }
    }
}

#[inline]
fn gate(values: &[f32], slope: &mut [f32], bias: &mut [f32], function: impl Fn(f32, f32) -> f32) {
    let units = bias.len();
    vectorised(
        #[inline(always)]
        || {
            if units.is_multiple_of(WIDE) {
                for (block, bias) in bias.as_chunks_mut::<WIDE>().0.iter_mut().enumerate() {
                    let mut sums = *bias;
                    for (slope, values) in slope.chunks_exact_mut(units).zip(values.chunks_exact(units)) {
                        let slope = &mut slope[block * WIDE..][..WIDE];
                        let values = &values[block * WIDE..][..WIDE];
                        for unit in 0..WIDE {
                            slope[unit] = function(slope[unit], values[unit]);
                            sums[unit] += slope[unit];
                        }
                    }
                    *bias = sums;
                }
                return;
            }
            for (slope, values) in slope.chunks_exact_mut(units).zip(values.chunks_exact(units)) {
                for ((slope, value), bias) in slope.iter_mut().zip(values).zip(&mut *bias) {
                    *slope = function(*slope, *value);
                    *bias += *slope;
                }
            }
        },
    );
}
