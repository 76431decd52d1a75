//! One stage of a plan, with the memory of what it answered.

use std::{fmt::Debug, ops::Range};

use sconce_contract::Activation;

use super::{
    batch::Batch, convolution::Convolution, dense::Dense, dropout::Dropout, function::Function, norm::Norm,
    pool::Greatest, pool::Mean, sum::Sum,
};
use crate::Random;

/// Multiplications in the time that a number of an output takes, beside its product.
const PASS: usize = 8;

/// What a stage computes, with the memory that it needs for it.
pub(super) trait Compute: Debug {
    /// Makes room for so many rows.
    fn fit(&mut self, _rows: usize) {}

    /// Answers `x` `[rows, inputs]` in `output` `[rows, outputs]`.
    fn forward(&mut self, pass: &Pass<'_>, x: &[f32], output: &mut [f32]);

    /// Takes the derivative by its outputs in `slope`, which it may change, gives that by its inputs in `back`, if it
    /// is wanted, and that by its weights to the gradient. Called after [`Compute::forward`] with the same rows.
    fn backward(
        &mut self,
        pass: &Pass<'_>,
        known: Known<'_>,
        slope: &mut [f32],
        back: Option<&mut [f32]>,
        gradient: &mut Gradient<'_>,
    );
}

/// What a step computes with, all stages alike.
#[derive(Clone, Copy)]
pub(super) struct Pass<'a> {
    /// Rows that there are.
    pub(super) rows: usize,
    /// All weights.
    pub(super) weights: &'a [f32],
    /// Threads for large products.
    pub(super) threads: usize,
    /// What decides what is dropped; nothing where nothing is learned.
    pub(super) chance: Option<Chance<'a>>,
}

/// Random numbers, which do not depend on how rows are divided.
#[derive(Clone, Copy)]
pub(super) struct Chance<'a> {
    /// Those for all rows of a batch.
    pub(super) random: &'a Random,
    /// The first of the rows at hand.
    pub(super) row: usize,
    /// Rows of the batch.
    pub(super) of: usize,
}

/// What went in and what came out.
#[derive(Clone, Copy)]
pub(super) struct Known<'a> {
    /// `[rows, inputs]`.
    pub(super) x: &'a [f32],
    /// `[rows, outputs]`.
    pub(super) output: &'a [f32],
}

/// The derivative by the weights, all of them.
pub(super) struct Gradient<'a> {
    /// In the order of the parameters.
    pub(super) values: &'a mut [f32],
    /// Whether it is to be written; else it is added to.
    pub(super) fresh: bool,
}

impl Gradient<'_> {
    /// Writes or adds what is known of some weights.
    pub(super) fn take(&mut self, place: Range<usize>, slopes: &[f32]) {
        let values = &mut self.values[place];
        if self.fresh {
            values.copy_from_slice(slopes);
        } else {
            super::add(values, slopes);
        }
    }
}

/// A stage.
#[derive(Clone, Debug)]
pub(super) struct Stage {
    kind: Kind,
    inputs: usize,
    outputs: usize,
    /// `[rows, outputs]`.
    output: Vec<f32>,
}

/// The stages: one line each, here, below and in [`super::build`].
#[derive(Clone, Debug)]
pub(super) enum Kind {
    Dense(Dense),
    Convolution(Convolution),
    Greatest(Greatest),
    Mean(Mean),
    Function(Function),
    Norm(Norm),
    Batch(Batch),
    Sum(Sum),
    Dropout(Dropout),
}

impl Kind {
    fn compute(&mut self) -> &mut dyn Compute {
        match self {
            Kind::Dense(stage) => stage,
            Kind::Convolution(stage) => stage,
            Kind::Greatest(stage) => stage,
            Kind::Mean(stage) => stage,
            Kind::Function(stage) => stage,
            Kind::Norm(stage) => stage,
            Kind::Batch(stage) => stage,
            Kind::Sum(stage) => stage,
            Kind::Dropout(stage) => stage,
        }
    }
}

impl Stage {
    /// A stage whose rows have so many numbers before it and after it.
    pub(super) fn new(kind: Kind, inputs: usize, outputs: usize) -> Self {
        Stage {
            kind,
            inputs,
            outputs,
            output: Vec::new(),
        }
    }

    /// Gives a stage that still has none its activation, of points of so many channels; whether it could.
    pub(super) fn activate(&mut self, function: Activation, channels: usize) -> bool {
        match &mut self.kind {
            Kind::Dense(stage) => stage.after.set(function, channels),
            Kind::Convolution(stage) => stage.after.set(function, channels),
            Kind::Batch(stage) => stage.after.set(function, channels),
            _ => false,
        }
    }

    /// Whether it has weights.
    pub(super) fn learns(&self) -> bool {
        matches!(
            self.kind,
            Kind::Dense(_) | Kind::Convolution(_) | Kind::Norm(_) | Kind::Batch(_)
        )
    }

    /// Where it measures whole batches.
    pub(super) fn batch(&self) -> Option<&Batch> {
        match &self.kind {
            Kind::Batch(stage) => Some(stage),
            _ => None,
        }
    }

    /// The same, to be changed.
    pub(super) fn batch_mut(&mut self) -> Option<&mut Batch> {
        match &mut self.kind {
            Kind::Batch(stage) => Some(stage),
            _ => None,
        }
    }

    /// As [`Batch::gather`], where it is one.
    pub(super) fn gather(&mut self, rows: usize, x: &[f32], slope: &mut [f32], gradient: &mut Gradient<'_>) {
        let output = &self.output[..rows * self.outputs];
        if let Kind::Batch(stage) = &mut self.kind {
            stage.gather(Known { x, output }, slope, gradient);
        }
    }

    /// Where it adds what went into an earlier stage.
    pub(super) fn sum(&self) -> Option<&Sum> {
        match &self.kind {
            Kind::Sum(stage) => Some(stage),
            _ => None,
        }
    }

    /// Adds that to what it answered.
    pub(super) fn add(&mut self, rows: usize, x: &[f32]) {
        super::add(&mut self.output[..rows * self.outputs], x);
    }

    /// Whether it looks at windows.
    pub(super) fn is_windowed(&self) -> bool {
        matches!(
            self.kind,
            Kind::Convolution(_) | Kind::Greatest(_) | Kind::Mean(_)
        )
    }

    /// Numbers of a row, before it or after it, whichever are more.
    pub(super) fn width(&self) -> usize {
        self.inputs.max(self.outputs)
    }

    /// Multiplications for a row, and as much as what else is done takes.
    pub(super) fn products(&self) -> usize {
        let products = match &self.kind {
            Kind::Dense(_) => self.inputs * self.outputs,
            Kind::Convolution(stage) => stage.patches_of_row() * stage.after.units(),
            // Measured twice, and twice on the way back.
            Kind::Batch(_) => PASS * self.outputs,
            _ => 0,
        };
        products + PASS * self.outputs
    }

    /// Numbers that it keeps of a row.
    pub(super) fn kept(&self) -> usize {
        match &self.kind {
            Kind::Convolution(stage) => self.outputs + stage.patches_of_row(),
            Kind::Greatest(_) | Kind::Norm(_) | Kind::Sum(_) => 2 * self.outputs,
            _ => self.outputs,
        }
    }

    /// Random numbers that it takes for a row.
    pub(super) fn draws(&self) -> usize {
        match &self.kind {
            Kind::Dropout(stage) if stage.drops() => self.outputs,
            _ => 0,
        }
    }

    /// Makes room for so many rows.
    pub(super) fn fit(&mut self, rows: usize) {
        let numbers = rows * self.outputs;
        if self.output.len() < numbers {
            self.output.resize(numbers, 0.0);
            self.kind.compute().fit(rows);
        }
    }

    /// What it answered, `[rows, outputs]`.
    pub(super) fn output(&self, rows: usize) -> &[f32] {
        &self.output[..rows * self.outputs]
    }

    /// Answers `x` `[rows, inputs]`.
    pub(super) fn forward(&mut self, pass: &Pass<'_>, x: &[f32]) {
        let output = &mut self.output[..pass.rows * self.outputs];
        self.kind.compute().forward(pass, x, output);
    }

    /// As [`Compute::backward`].
    pub(super) fn backward(
        &mut self,
        pass: &Pass<'_>,
        x: &[f32],
        slope: &mut [f32],
        back: Option<&mut [f32]>,
        gradient: &mut Gradient<'_>,
    ) {
        let output = &self.output[..pass.rows * self.outputs];
        let known = Known { x, output };
        self.kind.compute().backward(pass, known, slope, back, gradient);
    }
}
