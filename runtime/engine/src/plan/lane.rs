//! The way of some rows through all stages, and back.
//!
//! Rows of images are many numbers, so they go through few at a time: what one stage leaves the next one finds in the
//! processor's cache. The derivatives of all rows are a sum anyway.

use super::{
    loss,
    stage::{Chance, Gradient, Pass, Stage},
};
use crate::{learner::Rows, losses::Objective};

/// Bytes that the rows on their way should have at most, where they have windows.
const NEAR: usize = 1 << 19;

/// The stages with their memory.
#[derive(Clone, Debug)]
pub(super) struct Lane {
    /// Numbers of a row, at first and in the end.
    sides: [usize; 2],
    stages: Vec<Stage>,
    /// The derivative by the outputs of the stage at work, and by its inputs: `[rows, widest]`.
    slopes: [Vec<f32>; 2],
    /// Rows at a time.
    rows: usize,
    /// The same where they are learned.
    learned: usize,
}

/// What all lanes work with.
#[derive(Clone, Copy)]
pub(super) struct Work<'a> {
    pub(super) objective: &'a Objective,
    pub(super) weights: &'a [f32],
    pub(super) threads: usize,
    /// What the derivative of a row's loss is divided by.
    pub(super) divisor: f32,
    /// For the first row; nothing where nothing is learned.
    pub(super) chance: Option<Chance<'a>>,
}

impl<'a> Work<'a> {
    /// Where nothing is learned.
    pub(super) fn new(objective: &'a Objective, weights: &'a [f32], threads: usize) -> Self {
        Work {
            objective,
            weights,
            threads,
            divisor: 1.0,
            chance: None,
        }
    }
}

impl Lane {
    pub(super) fn new(sides: [usize; 2], stages: Vec<Stage>) -> Self {
        let kept = stages.iter().map(Stage::kept).sum::<usize>() * size_of::<f32>();
        let rows = if stages.iter().any(Stage::is_windowed) {
            (NEAR / kept.max(1)).max(1)
        } else {
            usize::MAX
        };
        let is_batched = stages.iter().any(|stage| stage.batch().is_some());
        let learned = if is_batched { usize::MAX } else { rows };
        Lane {
            sides,
            stages,
            slopes: [Vec::new(), Vec::new()],
            rows,
            learned,
        }
    }

    /// Random numbers for a row.
    pub(super) fn draws(&self) -> usize {
        self.stages.iter().map(Stage::draws).sum()
    }

    /// Whether a row's loss depends on the others that are learned with it.
    pub(super) fn is_batched(&self) -> bool {
        self.stages.iter().any(|stage| stage.batch().is_some())
    }

    /// Adds what was measured of the rows that were learned last to what was before.
    pub(super) fn remember(&self, weights: &mut [f32]) {
        let batches = self.stages.iter().filter_map(Stage::batch);
        batches.for_each(|batch| batch.remember(weights));
    }

    /// The sum of the rows' losses, and its gradient divided by the divisor. Where the sum is not finite, the gradient
    /// says nothing.
    pub(super) fn learn(&mut self, work: &Work<'_>, rows: &Rows<'_>, gradient: &mut Gradient<'_>) -> f64 {
        let mut sum = 0.0;
        for (work, rows) in self.pieces(work, rows, self.learned) {
            sum += self.look(&work, &rows);
            if !sum.is_finite() {
                return sum;
            }
            self.back(&work, &rows, gradient);
            gradient.fresh = false;
        }
        sum
    }

    /// The sum of the rows' losses.
    pub(super) fn loss(
        &mut self,
        work: &Work<'_>,
        rows: &Rows<'_>,
        mut outputs: Option<&mut Vec<f32>>,
    ) -> f64 {
        let mut sum = 0.0;
        for (work, rows) in self.pieces(work, rows, self.rows) {
            sum += self.look(&work, &rows);
            if let Some(outputs) = &mut outputs {
                outputs.extend_from_slice(self.output(rows.x));
            }
        }
        sum
    }

    /// What the last stage says of `x` `[rows, inputs]`, behind what is in `outputs`.
    pub(super) fn predict(&mut self, work: &Work<'_>, x: &[f32], outputs: &mut Vec<f32>) {
        let at_once = self.rows.min(self.count(x)) * self.sides[0];
        for x in x.chunks(at_once.max(1)) {
            self.forward(work, x);
            outputs.extend_from_slice(self.output(x));
        }
    }

    /// The rows, few at a time.
    fn pieces<'a>(
        &self,
        work: &Work<'a>,
        rows: &Rows<'a>,
        most: usize,
    ) -> impl Iterator<Item = (Work<'a>, Rows<'a>)> + use<'a> {
        let (work, rows, sides) = (*work, *rows, self.sides);
        let count = self.count(rows.x);
        let at_once = most.min(count).max(1);
        (0..count).step_by(at_once).map(move |from| {
            let mut work = work;
            if let Some(chance) = &mut work.chance {
                chance.row += from;
            }
            (work, rows.part(from..(from + at_once).min(count), sides))
        })
    }

    fn count(&self, x: &[f32]) -> usize {
        x.len() / self.sides[0]
    }

    fn output<'a>(&'a self, x: &'a [f32]) -> &'a [f32] {
        let count = self.count(x);
        self.stages.last().map_or(x, |last| last.output(count))
    }

    fn pass<'a>(&self, work: &Work<'a>, rows: usize) -> Pass<'a> {
        Pass {
            rows,
            weights: work.weights,
            threads: work.threads,
            chance: work.chance,
        }
    }

    /// The loss, and in the first of the slopes its derivative.
    fn look(&mut self, work: &Work<'_>, rows: &Rows<'_>) -> f64 {
        self.forward(work, rows.x);
        let count = self.count(rows.x);
        let Lane { stages, slopes, .. } = self;
        let outputs = stages.last().map_or(rows.x, |last| last.output(count));
        let slope = &mut slopes[0][..outputs.len()];
        let targets = &rows.targets;
        loss::loss(
            work.objective,
            outputs,
            self.sides[1],
            targets,
            slope,
            work.divisor,
        )
    }

    fn forward(&mut self, work: &Work<'_>, x: &[f32]) {
        let rows = self.count(x);
        self.fit(rows);
        let pass = self.pass(work, rows);
        for index in 0..self.stages.len() {
            let (before, rest) = self.stages.split_at_mut(index);
            let x = before.last().map_or(x, |before| before.output(rows));
            if let [stage, ..] = rest {
                stage.forward(&pass, x);
            }
        }
    }

    fn back(&mut self, work: &Work<'_>, rows: &Rows<'_>, gradient: &mut Gradient<'_>) {
        let count = self.count(rows.x);
        let pass = self.pass(work, count);
        let first = self.stages.iter().position(Stage::learns).unwrap_or_default();
        let [slope, back] = &mut self.slopes;
        for index in (first..self.stages.len()).rev() {
            let (before, rest) = self.stages.split_at_mut(index);
            let [stage, ..] = rest else { return };
            let x = before.last().map_or(rows.x, |before| before.output(count));
            let slope_here = &mut slope[..stage.output(count).len()];
            // What the table itself should be is not asked.
            let back_here = (index > first).then(|| &mut back[..x.len()]);
            stage.backward(&pass, x, slope_here, back_here, gradient);
            std::mem::swap(slope, back);
        }
    }

    /// Makes room for so many rows, where there is not enough yet.
    fn fit(&mut self, rows: usize) {
        let widest = self.stages.iter().map(Stage::width).max().unwrap_or_default();
        for slope in &mut self.slopes {
            if slope.len() < rows * widest {
                slope.resize(rows * widest, 0.0);
            }
        }
        self.stages.iter_mut().for_each(|stage| stage.fit(rows));
    }
}
