//! A feed-forward or convolutional network whose whole step is known beforehand, with norms and residuals.
//!
//! Nothing is recorded and nothing allocated, but for a list of flags that gemm makes for each product: the buffers
//! are made once, for the largest number of rows that came, and each step runs over them.
//!
//! ```text
//!               ┌ stage ┐          ┌ stage ┐
//!   x ─────────►│ dense │─────────►│ dense │─────► outputs
//!   [rows,      │   f   │ [rows,   │   f   │          │ loss
//!    inputs]    └───────┘  units]  └───────┘          ▼
//!   gradient ◄─── back ◄─── slope ◄─── back ◄─────── slope
//! ```
//!
//! Products of matrices are gemm's ([`product`]); what stands between them is one pass each: bias and activation
//! forwards, derivative and the bias's gradient backwards ([`activation`]), the loss with its derivative ([`loss`]).
//! A [`lane`] leads rows through the [`stage`]s: those of images few at a time. Where it pays ([`cost`]), threads
//! ([`crew`]) lead a [`part`] of the rows each and their gradients are added up in order. candle's graph of the same
//! network says the same to about 1e−6. A stage that does not say how it is planned
//! ([`crate::layers::Stage::planned`]) leaves its network to the graph.
//!
//! [`batch`] norm measures all rows that are learned together, so the way is cut into legs there, and all parts wait for
//! one another; what each has measured is put together in their order:
//!
//! ```text
//!   x ─► stages ─► measure │ norm ─► stages ─► loss
//!        stages ◄── spread │ gather ◄─ stages ◄──┘
//!                          └ of all parts
//! ```
//!
//! On a leg the rows of a part go side by side, not few at a time: what they become is needed on the next. Rows that are
//! only looked at are scaled by what was measured while learning, and do not wait. A residual's [`sum`] is a stage of its
//! own; the [`lane`] brings it what went into an earlier stage, and on the way back takes its slope there.

mod activation;
mod after;
mod batch;
mod build;
mod channels;
mod convolution;
mod cost;
mod crew;
mod dense;
mod dropout;
mod function;
mod lane;
mod loss;
mod norm;
mod part;
mod pool;
mod product;
mod signal;
mod stage;
mod sum;

#[cfg(test)]
mod tests;

use std::{ops::Range, sync::Arc};

use candle_core::Tensor;
use sconce_contract::Activation;

use crate::{
    EngineError, Random, Sequential, layers::windows::Grid, learner::Rows, losses::Objective,
    metrics::Targets, parameters::Parameters, simd::vectorised,
};
use build::Built;
use cost::Cost;
use crew::Crew;
use lane::{Lane, Work};
use part::{Order, Part};
use stage::{Chance, Gradient};

/// What a stage of a network is to a plan.
#[derive(Debug)]
pub(crate) enum Planned<'a> {
    /// `x · weight + bias`, with `[inputs, units]` and `[units]`.
    Affine {
        /// The weight.
        weight: &'a Tensor,
        /// The bias.
        bias: &'a Tensor,
    },
    /// The same of each window.
    Convolution {
        /// The windows.
        grid: Grid,
        /// `[height, width, channels, filters]`, without the height for sequences.
        weight: &'a Tensor,
        /// `[filters]`.
        bias: &'a Tensor,
    },
    /// The greatest of each window.
    Greatest(Grid),
    /// The mean of each window.
    Mean(Grid),
    /// Each point's channels brought to one scale.
    Norm {
        /// `[channels]`.
        scale: (&'static str, &'a Tensor),
        /// Where the mean is taken off too.
        bias: Option<(&'static str, &'a Tensor)>,
        /// Added to the variance.
        epsilon: f64,
    },
    /// Each channel of all rows and points brought to one scale.
    Batch {
        /// Scale and bias, `[channels]`.
        learned: [(&'static str, &'a Tensor); 2],
        /// The mean and the variance that were measured, likewise.
        measured: [&'a Tensor; 2],
        /// Share of them that stays with each batch.
        momentum: f64,
        /// Added to the variance.
        epsilon: f64,
    },
    /// What goes into this layer is added later.
    Begin(usize),
    /// It is added here.
    Sum(usize),
    /// The same numbers, as those of one point.
    Flat,
    /// A function of each point.
    Activation(Activation),
    /// Dropout at a rate.
    Dropout(f64),
}

/// A network with its weights and the memory of its steps.
#[derive(Debug)]
pub(crate) struct Plan {
    sides: [usize; 2],
    objective: Arc<Objective>,
    /// For the first part of the rows.
    lane: Lane,
    /// For the others.
    crew: Crew,
    cost: Cost,
    /// What is learned.
    parameters: Parameters,
    /// That, and then what is measured.
    kept: Parameters,
    /// As they are kept; shared while others lead parts.
    weights: Arc<Vec<f32>>,
    threads: usize,
}

impl Plan {
    /// The plan of a network; nothing where a stage of it has none.
    pub(crate) fn of(
        model: &Sequential,
        objective: &Objective,
        threads: usize,
    ) -> Result<Option<Self>, EngineError> {
        let Some(built) = Built::of(model, objective)? else {
            return Ok(None);
        };
        let sides = [model.inputs(), built.width];
        let lane = Lane::new(sides, built.stages);
        Ok(Some(Plan {
            sides,
            objective: Arc::new(objective.clone()),
            cost: Cost {
                row: lane.products(),
                weights: built.parameters.len(),
                legs: lane.legs(),
            },
            lane,
            crew: Crew::default(),
            parameters: built.parameters,
            kept: built.kept,
            weights: Arc::new(built.weights),
            threads,
        }))
    }

    pub(crate) fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// What is learned, and then what is measured.
    pub(crate) fn kept(&self) -> &Parameters {
        &self.kept
    }

    /// What is kept, in that order.
    pub(crate) fn weights(&self) -> &[f32] {
        &self.weights
    }

    /// The same, to be moved.
    pub(crate) fn weights_mut(&mut self) -> &mut [f32] {
        let weights: &mut Vec<f32> = Arc::make_mut(&mut self.weights);
        weights
    }

    /// The part of it that is learned, likewise.
    pub(crate) fn learned_mut(&mut self) -> &mut [f32] {
        let learned = self.parameters.len();
        &mut self.weights_mut()[..learned]
    }

    /// Answers the sum of the rows' losses, and adds the derivative of that sum divided by `divisor` to the
    /// gradient; where that is `fresh`, writes it. Of a sum that is not finite there is no gradient.
    pub(crate) fn learn(
        &mut self,
        rows: &Rows<'_>,
        divisor: f32,
        random: &mut Random,
        gradient: &mut [f32],
        fresh: bool,
    ) -> f64 {
        let count = self.count(rows.x);
        let parts = self.cost.of_learning(count).parts(count, self.threads);
        // Of a batch that is learned together with others, these may be some.
        let (of, before) = random.place();
        self.give(rows, self.sides, parts, Some(random), |row| Order::Learn {
            divisor,
            row: before + row,
            of,
            leg: 0,
        });
        let work = Work {
            divisor,
            chance: Some(Chance {
                random,
                row: before,
                of,
            }),
            ..Work::new(&self.objective, &self.weights, within(parts, self.threads))
        };
        let first = rows.part(share(count, 0, parts), self.sides);
        let mut whole = Gradient {
            values: gradient,
            fresh,
        };
        let legs = self.lane.legs();
        let mut sum = 0.0;
        for leg in 0..legs {
            for other in (1..parts).filter(|_| leg > 0) {
                let go_on = |part: &mut Part| part.go_on(leg, &self.weights, &self.lane);
                self.crew.give(other, go_on);
            }
            sum += self.lane.learn(&work, &first, &mut whole, leg);
            for other in 1..parts {
                let part = self.crew.done(other);
                sum += part.sum;
                self.lane.join(leg, &part.lane);
                if leg + 1 == legs {
                    add(whole.values, &part.gradient);
                }
            }
            if !sum.is_finite() {
                return sum;
            }
            self.lane.settle(leg);
        }
        random.pass_over(self.lane.draws() * of);
        let weights: &mut Vec<f32> = Arc::make_mut(&mut self.weights);
        self.lane.remember(weights);
        sum
    }

    /// The sum of the rows' losses, nothing dropped.
    pub(crate) fn loss(&mut self, rows: &Rows<'_>) -> f64 {
        self.look(rows, None)
    }

    /// Both: that sum, and what [`Plan::predict`] says of the rows.
    pub(crate) fn loss_and_outputs(&mut self, rows: &Rows<'_>, outputs: &mut Vec<f32>) -> f64 {
        let from = outputs.len();
        let sum = self.look(rows, Some(outputs));
        self.activate(&mut outputs[from..]);
        sum
    }

    fn look(&mut self, rows: &Rows<'_>, mut outputs: Option<&mut Vec<f32>>) -> f64 {
        let of = self.count(rows.x);
        let parts = self.cost.of_looking(of).parts(of, self.threads);
        let asked = outputs.is_some();
        self.give(rows, self.sides, parts, None, |_| Order::Loss { outputs: asked });
        let work = Work::new(&self.objective, &self.weights, within(parts, self.threads));
        let first = rows.part(share(of, 0, parts), self.sides);
        let mut sum = self.lane.loss(&work, &first, outputs.as_deref_mut());
        for other in 1..parts {
            let part = self.crew.done(other);
            sum += part.sum;
            if let Some(outputs) = &mut outputs {
                outputs.extend_from_slice(&part.outputs);
            }
        }
        sum
    }

    /// What the network says of `x` `[rows, inputs]`, its last activation applied, behind what is in `outputs`.
    pub(crate) fn predict(&mut self, x: &[f32], outputs: &mut Vec<f32>) {
        let from = outputs.len();
        let of = self.count(x);
        let parts = self.cost.of_looking(of).parts(of, self.threads);
        let targets = Targets::Numbers(&[]);
        self.give(&Rows { x, targets }, [self.sides[0], 0], parts, None, |_| {
            Order::Predict
        });
        let work = Work::new(&self.objective, &self.weights, within(parts, self.threads));
        let first = share(of, 0, parts).end * self.sides[0];
        self.lane.predict(&work, &x[..first], outputs);
        for other in 1..parts {
            outputs.extend_from_slice(&self.crew.done(other).outputs);
        }
        self.activate(&mut outputs[from..]);
    }

    fn activate(&self, outputs: &mut [f32]) {
        if self.objective.takes_logits() {
            activation::apply(self.objective.last, self.sides[1], outputs);
        }
    }

    fn count(&self, x: &[f32]) -> usize {
        x.len() / self.sides[0]
    }

    /// Gives all parts but the first to the crew, each with the order that it has by its first row.
    fn give(
        &mut self,
        all: &Rows<'_>,
        sides: [usize; 2],
        parts: usize,
        random: Option<&Random>,
        order: impl Fn(usize) -> Order,
    ) {
        let of = self.count(all.x);
        let (lane, objective, learned) = (&self.lane, &self.objective, self.parameters.len());
        self.crew
            .fit(parts - 1, || Part::new(lane.clone(), objective.clone(), learned));
        for other in 1..parts {
            let rows = share(of, other, parts);
            let taken = all.part(rows.clone(), sides);
            self.crew.give(other, |part| {
                part.take(order(rows.start), random, &self.weights, &taken);
            });
        }
    }
}

/// The rows of a part.
fn share(of: usize, part: usize, parts: usize) -> Range<usize> {
    of * part / parts..of * (part + 1) / parts
}

/// Threads for the products of a part.
fn within(parts: usize, threads: usize) -> usize {
    if parts > 1 { 1 } else { threads }
}

fn add(sums: &mut [f32], shares: &[f32]) {
    vectorised(
        #[inline(always)]
        || sums.iter_mut().zip(shares).for_each(|(sum, share)| *sum += share),
    );
}
