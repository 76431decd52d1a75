//! One stage of a plan, with the memory of what it answered.

use std::ops::Range;

use sconce_contract::Activation;

use super::{
    activation,
    product::{Matrix, multiply},
};
use crate::{Random, layers::dropout};

/// A layer.
#[derive(Debug)]
pub(super) struct Stage {
    kind: Kind,
    inputs: usize,
    outputs: usize,
    /// `[rows, outputs]`.
    output: Vec<f32>,
    /// `[rows, outputs]`: GELU's argument, dropout's mask; else empty.
    beside: Vec<f32>,
}

#[derive(Debug)]
enum Kind {
    Dense {
        weight: Range<usize>,
        bias: Range<usize>,
        activation: Activation,
    },
    Dropout {
        rate: f64,
    },
}

/// What a step computes with, all stages alike.
pub(super) struct Pass<'a> {
    /// Rows that there are.
    pub(super) rows: usize,
    /// All weights.
    pub(super) weights: &'a [f32],
    /// Threads for large products.
    pub(super) threads: usize,
}

impl Stage {
    /// `activation(x · W + b)`, of which the activation is still [`Activation::Linear`].
    pub(super) fn dense(inputs: usize, outputs: usize, weight: Range<usize>, bias: Range<usize>) -> Self {
        let kind = Kind::Dense {
            weight,
            bias,
            activation: Activation::Linear,
        };
        Self::new(kind, inputs, outputs)
    }

    /// Dropout.
    pub(super) fn dropout(width: usize, rate: f64) -> Self {
        Self::new(Kind::Dropout { rate }, width, width)
    }

    fn new(kind: Kind, inputs: usize, outputs: usize) -> Self {
        Stage {
            kind,
            inputs,
            outputs,
            output: Vec::new(),
            beside: Vec::new(),
        }
    }

    /// Gives a dense stage its activation; whether it could.
    pub(super) fn activate(&mut self, function: Activation) -> bool {
        match &mut self.kind {
            Kind::Dense { activation, .. } if *activation == Activation::Linear => {
                *activation = function;
                true
            }
            _ => false,
        }
    }

    /// Whether it has weights.
    pub(super) fn learns(&self) -> bool {
        matches!(self.kind, Kind::Dense { .. })
    }

    /// Numbers of a row, before it or after it, whichever are more.
    pub(super) fn width(&self) -> usize {
        self.inputs.max(self.outputs)
    }

    /// Makes room for so many rows.
    pub(super) fn fit(&mut self, rows: usize) {
        let numbers = rows * self.outputs;
        let keeps = match &self.kind {
            Kind::Dense { activation, .. } => *activation == Activation::GELU,
            Kind::Dropout { .. } => true,
        };
        if self.output.len() < numbers {
            self.output.resize(numbers, 0.0);
            self.beside.resize(if keeps { numbers } else { 0 }, 0.0);
        }
    }

    /// What it answered, `[rows, outputs]`.
    pub(super) fn output(&self, rows: usize) -> &[f32] {
        &self.output[..rows * self.outputs]
    }

    /// Answers `x` `[rows, inputs]`. Random numbers are there while it learns.
    pub(super) fn forward(&mut self, pass: &Pass<'_>, x: &[f32], random: Option<&mut Random>) {
        let Pass {
            rows,
            weights,
            threads,
        } = *pass;
        let output = &mut self.output[..rows * self.outputs];
        match &self.kind {
            Kind::Dense {
                weight,
                bias,
                activation,
            } => {
                let x = Matrix::new(x, rows, self.inputs);
                let weight = Matrix::new(&weights[weight.clone()], self.inputs, self.outputs);
                multiply(output, false, x, weight, threads);
                let before = self.beside.len().min(output.len());
                activation::activate(
                    *activation,
                    &weights[bias.clone()],
                    output,
                    &mut self.beside[..before],
                );
            }
            Kind::Dropout { rate } => match random {
                Some(random) if *rate > 0.0 => {
                    let mask = &mut self.beside[..output.len()];
                    dropout::fill(*rate, random, mask);
                    for ((output, x), mask) in output.iter_mut().zip(x).zip(mask) {
                        *output = x * *mask;
                    }
                }
                _ => {
                    output.copy_from_slice(x);
                    self.beside[..output.len()].fill(1.0);
                }
            },
        }
    }

    /// Takes the derivative by its outputs, `[rows, outputs]`, adds the gradients of its weights (or writes them,
    /// where they are `fresh`) and gives the derivative by its inputs in `back`, if that is wanted.
    pub(super) fn backward(
        &self,
        pass: &Pass<'_>,
        x: &[f32],
        slope: &mut [f32],
        back: Option<&mut [f32]>,
        gradient: &mut [f32],
        fresh: bool,
    ) {
        let Pass {
            rows,
            weights,
            threads,
        } = *pass;
        match &self.kind {
            Kind::Dense {
                weight,
                bias,
                activation,
            } => {
                let of_bias = &mut gradient[bias.clone()];
                if fresh {
                    of_bias.fill(0.0);
                }
                activation::derive(*activation, self.output(rows), &self.beside, slope, of_bias);
                let x = Matrix::new(x, rows, self.inputs);
                let slope = Matrix::new(slope, rows, self.outputs);
                multiply(
                    &mut gradient[weight.clone()],
                    !fresh,
                    x.transposed(),
                    slope,
                    threads,
                );
                if let Some(back) = back {
                    let weight = Matrix::new(&weights[weight.clone()], self.inputs, self.outputs);
                    multiply(back, false, slope, weight.transposed(), threads);
                }
            }
            Kind::Dropout { .. } => {
                for ((back, slope), mask) in back.into_iter().flatten().zip(slope).zip(&self.beside) {
                    *back = *slope * *mask;
                }
            }
        }
    }
}
