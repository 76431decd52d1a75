//! The way of some rows through all stages, and back.
//!
//! Rows of images are many numbers, so they go through few at a time: what one stage leaves the next one finds in the
//! processor's cache. The derivatives of all rows are a sum anyway.

use std::ops::Range;

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
    /// The stages that measure whole batches.
    cuts: Vec<usize>,
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
        let cuts = (0..stages.len()).filter(|&stage| stages[stage].batch().is_some());
        let cuts = cuts.collect();
        Lane {
            sides,
            stages,
            slopes: [Vec::new(), Vec::new()],
            rows,
            cuts,
        }
    }

    /// Multiplications for a row, forwards.
    pub(super) fn products(&self) -> usize {
        self.stages.iter().map(Stage::products).sum()
    }

    /// Random numbers for a row.
    pub(super) fn draws(&self) -> usize {
        self.stages.iter().map(Stage::draws).sum()
    }

    /// Adds what was measured of the rows that were learned last to what was before.
    pub(super) fn remember(&self, weights: &mut [f32]) {
        let batches = self.stages.iter().filter_map(Stage::batch);
        batches.for_each(|batch| batch.remember(weights));
    }

    /// Legs of learning: a row has to wait for the others before each stage that measures whole batches, and once more
    /// on the way back.
    pub(super) fn legs(&self) -> usize {
        2 * self.cuts.len() + 1
    }

    /// One leg of learning, in their order. Adds the gradient, divided by the divisor, of what lies on it, and answers
    /// the sum of the rows' losses on the one that comes to the end, on the others 0. Where the sum is not finite, the
    /// gradient says nothing.
    pub(super) fn learn(
        &mut self,
        work: &Work<'_>,
        rows: &Rows<'_>,
        gradient: &mut Gradient<'_>,
        leg: usize,
    ) -> f64 {
        let (turn, stages) = (self.cuts.len(), self.stages.len());
        if turn == 0 {
            return self.learn_pieces(work, rows, gradient);
        }
        if leg < turn {
            let cut = self.cuts[leg];
            self.forward(work, rows.x, self.begin(leg)..cut);
            self.measure(cut, rows.x);
            return 0.0;
        }
        let over = 2 * turn - leg;
        let (begin, mut end, mut sum) = (self.begin(over), stages, 0.0);
        if leg == turn {
            self.forward(work, rows.x, begin..stages);
            sum = self.score(work, rows);
            if !sum.is_finite() {
                return sum;
            }
        } else {
            // The stage at the cut was led back half the way.
            end = self.cuts[over] + 1;
        }
        let from = if over > 0 { begin + 1 } else { begin };
        self.back(work, rows, from..end, gradient);
        if over > 0 {
            self.gather(begin, rows.x, gradient);
        }
        sum
    }

    /// The first stage of a leg on the way there.
    fn begin(&self, leg: usize) -> usize {
        leg.checked_sub(1).map_or(0, |before| self.cuts[before])
    }

    /// The stage at which the rows of all parts are waited for after a leg.
    fn met(&self, leg: usize) -> Option<usize> {
        let turn = self.cuts.len();
        let cut = if leg < turn {
            Some(leg)
        } else {
            (2 * turn - leg).checked_sub(1)
        };
        cut.map(|cut| self.cuts[cut])
    }

    /// Takes in what another part knows after the same leg.
    pub(super) fn join(&mut self, leg: usize, other: &Lane) {
        let turn = self.cuts.len();
        let Some(met) = self.met(leg) else { return };
        if let (Some(own), Some(other)) = (self.stages[met].batch_mut(), other.stages[met].batch()) {
            if leg < turn {
                own.join_moments(other);
            } else {
                own.join_slopes(other);
            }
        }
    }

    /// Makes use of what is known of all parts after a leg.
    pub(super) fn settle(&mut self, leg: usize) {
        let met = self.met(leg).filter(|_| leg < self.cuts.len());
        if let Some(batch) = met.and_then(|met| self.stages[met].batch_mut()) {
            batch.settle();
        }
    }

    /// Takes over what is known of all parts after a leg.
    pub(super) fn adopt(&mut self, leg: usize, all: &Lane) {
        let Some(met) = self.met(leg) else { return };
        if let (Some(own), Some(all)) = (self.stages[met].batch_mut(), all.stages[met].batch()) {
            own.adopt(all);
        }
    }

    /// All of learning, where rows do not depend on one another.
    fn learn_pieces(&mut self, work: &Work<'_>, rows: &Rows<'_>, gradient: &mut Gradient<'_>) -> f64 {
        let mut sum = 0.0;
        for (work, rows) in self.pieces(work, rows) {
            sum += self.look(&work, &rows);
            if !sum.is_finite() {
                return sum;
            }
            self.back(&work, &rows, 0..self.stages.len(), gradient);
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
        for (work, rows) in self.pieces(work, rows) {
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
            self.forward(work, x, 0..self.stages.len());
            outputs.extend_from_slice(self.output(x));
        }
    }

    /// The rows, few at a time.
    fn pieces<'a>(
        &self,
        work: &Work<'a>,
        rows: &Rows<'a>,
    ) -> impl Iterator<Item = (Work<'a>, Rows<'a>)> + use<'a> {
        let (work, rows, sides) = (*work, *rows, self.sides);
        let count = self.count(rows.x);
        let at_once = self.rows.min(count).max(1);
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
        self.forward(work, rows.x, 0..self.stages.len());
        self.score(work, rows)
    }

    /// The same, of what has come to the end.
    fn score(&mut self, work: &Work<'_>, rows: &Rows<'_>) -> f64 {
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

    fn forward(&mut self, work: &Work<'_>, x: &[f32], stages: Range<usize>) {
        let rows = self.count(x);
        self.fit(rows);
        let pass = self.pass(work, rows);
        for index in stages {
            let (before, rest) = self.stages.split_at_mut(index);
            let into = |stage: usize| before[..stage].last().map_or(x, |before| before.output(rows));
            if let [stage, ..] = rest {
                stage.forward(&pass, into(index));
                if let Some(begin) = stage.sum().map(|sum| sum.begin) {
                    stage.add(rows, into(begin));
                }
            }
        }
    }

    /// What goes into a stage is measured.
    fn measure(&mut self, stage: usize, x: &[f32]) {
        let count = self.count(x);
        let (before, rest) = self.stages.split_at_mut(stage);
        let x = before.last().map_or(x, |before| before.output(count));
        if let Some(batch) = rest.first_mut().and_then(Stage::batch_mut) {
            batch.measure(x);
        }
    }

    /// Half the way back through a stage.
    fn gather(&mut self, stage: usize, x: &[f32], gradient: &mut Gradient<'_>) {
        let count = self.count(x);
        let (before, rest) = self.stages.split_at_mut(stage);
        let x = before.last().map_or(x, |before| before.output(count));
        if let [stage, ..] = rest {
            let slope = &mut self.slopes[0][..stage.output(count).len()];
            stage.gather(count, x, slope, gradient);
        }
    }

    fn back(&mut self, work: &Work<'_>, rows: &Rows<'_>, stages: Range<usize>, gradient: &mut Gradient<'_>) {
        let count = self.count(rows.x);
        let pass = self.pass(work, count);
        let first = self.stages.iter().position(Stage::learns).unwrap_or_default();
        let [slope, back] = &mut self.slopes;
        for index in (first.max(stages.start)..stages.end).rev() {
            let (before, rest) = self.stages.split_at_mut(index);
            let [stage, ..] = &mut *rest else { return };
            let x = before.last().map_or(rows.x, |before| before.output(count));
            let slope_here = &mut slope[..stage.output(count).len()];
            // What the table itself should be is not asked.
            let back_here = (index > first).then(|| &mut back[..x.len()]);
            stage.backward(&pass, x, slope_here, back_here, gradient);
            std::mem::swap(slope, back);
            let sums = rest.iter().filter_map(Stage::sum);
            for sum in sums.filter(|sum| sum.begin == index && index > first) {
                sum.hand_back(&mut slope[..x.len()]);
            }
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
