//! A part of the rows, with all that leading it takes, so that any thread can do it.

use std::sync::Arc;

use super::{
    lane::{Lane, Work},
    stage::{Chance, Gradient},
};
use crate::{Purpose, Random, learner::Rows, losses::Objective, metrics::Targets};

/// What is to be done with rows.
#[derive(Clone, Copy, Debug)]
pub(super) enum Order {
    /// Their loss and its gradient.
    Learn {
        divisor: f32,
        /// Which row of the batch is the first.
        row: usize,
        /// Rows of the batch.
        of: usize,
        /// How far it is led.
        leg: usize,
    },
    /// Their loss.
    Loss {
        /// Whether what the last stage says is asked too.
        outputs: bool,
    },
    /// What the last stage says.
    Predict,
}

/// Rows with their order, and what came of it.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) lane: Lane,
    objective: Arc<Objective>,
    order: Order,
    /// Those for all rows of the batch.
    random: Random,
    /// As they are now; nothing between orders, so that they can be moved.
    weights: Arc<Vec<f32>>,
    x: Vec<f32>,
    numbers: Vec<f32>,
    classes: Option<Vec<u32>>,
    /// The sum of the losses.
    pub(super) sum: f64,
    /// Its gradient, of this part alone.
    pub(super) gradient: Vec<f32>,
    /// Numbers of that.
    learned: usize,
    /// `[rows, outputs]`.
    pub(super) outputs: Vec<f32>,
}

impl Part {
    pub(super) fn new(lane: Lane, objective: Arc<Objective>, learned: usize) -> Self {
        Part {
            lane,
            objective,
            order: Order::Predict,
            random: Random::new(0, Purpose::Dropout, 0),
            weights: Arc::default(),
            x: Vec::new(),
            numbers: Vec::new(),
            classes: None,
            sum: 0.0,
            gradient: Vec::new(),
            learned,
            outputs: Vec::new(),
        }
    }

    /// Takes an order. The rows are copied, which is little beside what is computed with them.
    pub(super) fn take(
        &mut self,
        order: Order,
        random: Option<&Random>,
        weights: &Arc<Vec<f32>>,
        rows: &Rows<'_>,
    ) {
        self.order = order;
        if let Some(random) = random {
            self.random.clone_from(random);
        }
        self.weights = weights.clone();
        self.x.clear();
        self.x.extend_from_slice(rows.x);
        self.numbers.clear();
        match rows.targets {
            Targets::Numbers(numbers) => {
                self.classes = None;
                self.numbers.extend_from_slice(numbers);
            }
            Targets::Classes(of_rows) => {
                let classes = self.classes.get_or_insert_default();
                classes.clear();
                classes.extend_from_slice(of_rows);
            }
        }
        if let Order::Learn { .. } = self.order {
            self.gradient.resize(self.learned, 0.0);
        }
        self.outputs.clear();
    }

    /// Takes the order to go on with the same rows on the next leg, with what is known of those of all parts.
    pub(super) fn go_on(&mut self, next: usize, weights: &Arc<Vec<f32>>, all: &Lane) {
        if let Order::Learn { leg, .. } = &mut self.order {
            self.lane.adopt(*leg, all);
            *leg = next;
        }
        self.weights = weights.clone();
    }

    /// Does it, and lets go of the weights.
    pub(super) fn run(&mut self) {
        let weights = std::mem::take(&mut self.weights);
        let targets = match &self.classes {
            Some(classes) => Targets::Classes(classes),
            None => Targets::Numbers(&self.numbers),
        };
        let rows = Rows { x: &self.x, targets };
        let mut work = Work::new(&self.objective, &weights, 1);
        match &self.order {
            Order::Learn {
                divisor,
                row,
                of,
                leg,
            } => {
                work.divisor = *divisor;
                work.chance = Some(Chance {
                    random: &self.random,
                    row: *row,
                    of: *of,
                });
                let mut gradient = Gradient {
                    values: &mut self.gradient,
                    fresh: true,
                };
                self.sum = self.lane.learn(&work, &rows, &mut gradient, *leg);
            }
            Order::Loss { outputs } => {
                let outputs = outputs.then_some(&mut self.outputs);
                self.sum = self.lane.loss(&work, &rows, outputs);
            }
            Order::Predict => self.lane.predict(&work, &self.x, &mut self.outputs),
        }
    }
}
