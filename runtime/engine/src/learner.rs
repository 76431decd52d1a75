//! One step of learning.

use std::{collections::BTreeMap, ops::Range};

use candle_core::{Device, Tensor};
use sconce_contract::Hyperparameters;

use crate::{
    AllReduce, EngineError, Optimiser, Purpose, Random, Sequential, Share, gradient, graph::Graph,
    losses::Objective, metrics::Targets, parameters::Parameters, plan::Plan, remote::Remote, threads,
};

/// Values on their way where nothing is learned: 64 MiB of F32.
const MOST_VALUES: usize = 1 << 24;
/// Most rows at once there.
const MOST_ROWS: usize = 1024;

/// Rows of a table, and what is true of them.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    /// `[rows, inputs]`, row after row.
    pub x: &'a [f32],
    /// A number per output of each row, or a class per row.
    pub targets: Targets<'a>,
}

impl<'a> Rows<'a> {
    /// Some of them, where a row has so many inputs and outputs.
    pub(crate) fn part(&self, rows: Range<usize>, [inputs, outputs]: [usize; 2]) -> Self {
        let of = |numbers: &'a [f32], width: usize| &numbers[rows.start * width..rows.end * width];
        Rows {
            x: of(self.x, inputs),
            targets: match self.targets {
                Targets::Numbers(numbers) => Targets::Numbers(of(numbers, outputs)),
                Targets::Classes(classes) => Targets::Classes(&classes[rows.clone()]),
            },
        }
    }
}

/// A network, what it minimises and how.
#[derive(Debug)]
pub struct Learner {
    engine: Engine,
    shape: Shape,
    settings: Hyperparameters,
    optimiser: Optimiser,
    /// Of all parameters, in their order.
    gradient: Vec<f32>,
}

/// Numbers that a row has: at first, in the end, and where it has most.
#[derive(Clone, Copy, Debug)]
struct Shape {
    inputs: usize,
    outputs: usize,
    widest: usize,
}

impl Shape {
    fn of(model: &Sequential) -> Self {
        Shape {
            inputs: model.inputs(),
            outputs: model.outputs(),
            widest: model.widest(),
        }
    }
}

/// What computes.
#[derive(Debug)]
enum Engine {
    Plan(Box<Plan>),
    Graph(Box<Graph>),
    Remote(Box<Remote>),
}

impl Learner {
    /// A learner at step 0. Of the settings it takes optimizer, seed (which decides what dropout drops), batch size,
    /// regularization and the greatest norm of a gradient. A feed-forward or convolutional network on the CPU, with
    /// norms and residuals, is learned by a plan ([`crate::plan`]), every other one by the graph, and one on a device of
    /// its own there.
    pub fn new(
        model: Sequential,
        objective: &Objective,
        settings: &Hyperparameters,
    ) -> Result<Self, EngineError> {
        Self::threaded(model, objective, settings, threads::granted())
    }

    /// The same with so many threads, whatever has been granted. How many they are decides the last bits of what is
    /// learned.
    pub fn threaded(
        model: Sequential,
        objective: &Objective,
        settings: &Hyperparameters,
        threads: usize,
    ) -> Result<Self, EngineError> {
        if !model.device().is_cpu() {
            return Self::on_device(model, objective, settings);
        }
        let shape = Shape::of(&model);
        let engine = match Plan::of(&model, objective, threads)? {
            Some(plan) => Engine::Plan(Box::new(plan)),
            None => Engine::Graph(Box::new(Graph::of(model, objective))),
        };
        Ok(Self::with(engine, shape, settings, threads))
    }

    /// The same by the graph, whatever the network is.
    pub fn by_graph(model: Sequential, objective: &Objective, settings: &Hyperparameters) -> Self {
        let shape = Shape::of(&model);
        let engine = Engine::Graph(Box::new(Graph::of(model, objective)));
        Self::with(engine, shape, settings, threads::granted())
    }

    /// The same as on a device of its own, wherever the network is.
    pub fn on_device(
        model: Sequential,
        objective: &Objective,
        settings: &Hyperparameters,
    ) -> Result<Self, EngineError> {
        let (shape, device) = (Shape::of(&model), model.device());
        let remote = Remote::of(Graph::of(model, objective), settings)?;
        let engine = Engine::Remote(Box::new(remote));
        let mut learner = Self::with(engine, shape, settings, 1);
        learner.gradient = Vec::new();
        learner.optimiser.move_to(&device)?;
        Ok(learner)
    }

    fn with(engine: Engine, shape: Shape, settings: &Hyperparameters, threads: usize) -> Self {
        let parameters = engine.parameters().clone();
        Learner {
            shape,
            settings: *settings,
            gradient: vec![0.0; parameters.len()],
            optimiser: Optimiser::new(&settings.optimizer, parameters, threads),
            engine,
        }
    }

    /// Goes on at a step: with the network as it was then, what the optimiser remembered ([`Optimiser::state`]),
    /// and the same settings.
    pub fn resumed(
        model: Sequential,
        objective: &Objective,
        settings: &Hyperparameters,
        step: u64,
        state: &BTreeMap<String, Vec<f32>>,
    ) -> Result<Self, EngineError> {
        let mut learner = Self::new(model, objective, settings)?;
        learner.optimiser.restore(step, state)?;
        Ok(learner)
    }

    /// Takes up what an optimiser of the same network remembered at a step; the weights stay.
    pub fn restore(&mut self, step: u64, state: &BTreeMap<String, Vec<f32>>) -> Result<(), EngineError> {
        self.optimiser.restore(step, state)
    }

    /// Whether it learns by a plan.
    pub fn is_planned(&self) -> bool {
        matches!(self.engine, Engine::Plan(_))
    }

    /// Numbers that a row gives.
    pub fn outputs(&self) -> usize {
        self.shape.outputs
    }

    /// How many rows to look at where nothing is learned, so that the values on the way stay within 64 MiB.
    pub fn rows_at_once(&self) -> usize {
        (MOST_VALUES / self.shape.widest.max(1)).clamp(1, MOST_ROWS)
    }

    /// The optimiser as it is now.
    pub fn optimiser(&self) -> &Optimiser {
        &self.optimiser
    }

    /// A copy of the weights as they are now, under the names that [`Sequential::from_weights`] reads.
    pub fn weights(&self) -> Result<BTreeMap<String, Tensor>, EngineError> {
        let weights = self.flat_weights()?;
        let of = |weights: &[f32], shape: &[usize]| Tensor::from_slice(weights, shape, &Device::Cpu);
        self.engine
            .kept()
            .iter()
            .map(|parameter| {
                let values = &weights[parameter.range.clone()];
                Ok((parameter.name.clone(), of(values, &parameter.shape)?))
            })
            .collect()
    }

    /// All weights one after another, for [`Learner::set_flat_weights`].
    pub fn flat_weights(&self) -> Result<Vec<f32>, EngineError> {
        match &self.engine {
            Engine::Plan(plan) => Ok(plan.weights().to_vec()),
            Engine::Graph(graph) => graph.weights(),
            Engine::Remote(remote) => remote.graph().weights(),
        }
    }

    /// Puts weights back that [`Learner::flat_weights`] gave; the optimiser's memory stays.
    pub fn set_flat_weights(&mut self, weights: &[f32]) -> Result<(), EngineError> {
        let (found, needed) = (weights.len(), self.engine.kept().len());
        if found != needed {
            let problem = format!("{found} weights were kept instead of {needed}");
            return Err(EngineError::OptimiserState(problem));
        }
        match &mut self.engine {
            Engine::Plan(plan) => plan.weights_mut().copy_from_slice(weights),
            Engine::Graph(graph) => graph.set_weights(weights)?,
            Engine::Remote(remote) => remote.set_weights(weights)?,
        }
        Ok(())
    }

    /// Learns from the rows, in pieces of at most the batch size, and answers their loss before the step: the mean
    /// over the rows, without what regularization adds. A loss that is not finite leaves the weights as they were.
    pub fn step(&mut self, rows: &Rows<'_>, rate: f64) -> Result<f64, EngineError> {
        let count = self.check(rows)?;
        let sum = self.learn(rows, count, Share::WHOLE)?;
        self.finish(sum, count, rate)
    }

    /// The same with others, each of which brings its rows ([`Share::of_step`]) of the `count` that there are in all:
    /// answers the loss of all of them, and moves as one that has them all would.
    ///
    /// # Errors
    /// Besides those of a step: the workers could not add up what they have, and nothing was learned.
    pub fn step_together(
        &mut self,
        rows: &Rows<'_>,
        count: usize,
        share: Share,
        others: &mut dyn AllReduce,
        rate: f64,
    ) -> Result<f64, EngineError> {
        let piece = self.settings.batch_size.max(1) as usize;
        let pieces = (0..count).step_by(piece).map(|from| piece.min(count - from));
        let own: usize = pieces.map(|rows| share.of(rows).len()).sum();
        let found = if rows.x.is_empty() { 0 } else { self.check(rows)? };
        if found != own {
            return Err(EngineError::Targets {
                rows: own,
                outputs: self.shape.outputs,
            });
        }
        let mut sum = self.learn(rows, count, share)?;
        match &mut self.engine {
            Engine::Remote(remote) => remote.reduce(others, &mut sum)?,
            Engine::Plan(_) | Engine::Graph(_) => others
                .all_reduce(&mut self.gradient, &mut sum)
                .map_err(EngineError::Group)?,
        }
        self.finish(sum, count, rate)
    }

    /// The loss, and the step, unless that is not finite.
    fn finish(&mut self, sum: f64, count: usize, rate: f64) -> Result<f64, EngineError> {
        if !sum.is_finite() {
            return Ok(sum);
        }
        self.update(rate)?;
        Ok(sum / count as f64)
    }

    /// The sum of the rows' losses, and in the gradient the derivative of their share in the mean over all `count`.
    fn learn(&mut self, rows: &Rows<'_>, count: usize, share: Share) -> Result<f64, EngineError> {
        let mut random = Random::new(self.settings.seed, Purpose::Dropout, self.optimiser.steps());
        let mut sum = 0.0;
        let (mut fresh, mut taken) = (true, 0);
        let piece = self.settings.batch_size.max(1) as usize;
        for from in (0..count).step_by(piece) {
            let whole = piece.min(count - from);
            let own = share.of(whole);
            if own.is_empty() {
                continue;
            }
            random.narrow(own.clone(), whole);
            let rows = rows.part(taken..taken + own.len(), [self.shape.inputs, self.shape.outputs]);
            taken += own.len();
            let (random, gradient) = (&mut random, &mut self.gradient);
            sum += match &mut self.engine {
                Engine::Plan(plan) => plan.learn(&rows, count as f32, random, gradient, fresh),
                Engine::Graph(graph) => graph.learn(&rows, count as f32, random, gradient, fresh)?,
                Engine::Remote(remote) => remote.learn(&rows, count as f32, random, fresh)?,
            };
            fresh = false;
            if !f64::is_finite(sum) {
                return Ok(sum);
            }
        }
        if fresh {
            self.gradient.fill(0.0);
        }
        Ok(sum)
    }

    fn update(&mut self, rate: f64) -> Result<(), EngineError> {
        if let Engine::Remote(remote) = &mut self.engine {
            self.optimiser.advance();
            return remote.update(&mut self.optimiser, rate, &self.settings);
        }
        let gradient = &mut self.gradient;
        if let Some(penalty) = &self.settings.regularization {
            match &self.engine {
                Engine::Plan(plan) => {
                    gradient::penalise(penalty, plan.parameters(), plan.weights(), gradient);
                }
                Engine::Graph(graph) => {
                    gradient::penalise(penalty, graph.parameters(), &graph.weights()?, gradient);
                }
                Engine::Remote(_) => {}
            }
        }
        if let Some(norm) = self.settings.clip_norm {
            gradient::clip(norm, gradient);
        }
        self.optimiser.advance();
        match &mut self.engine {
            Engine::Plan(plan) => {
                let weights = plan.learned_mut();
                self.optimiser.update(0..weights.len(), rate, weights, gradient);
            }
            Engine::Graph(graph) => graph.update(&mut self.optimiser, rate, gradient)?,
            Engine::Remote(_) => {}
        }
        Ok(())
    }

    /// The mean loss of rows, nothing learned and nothing dropped.
    pub fn loss(&mut self, rows: &Rows<'_>) -> Result<f64, EngineError> {
        let count = self.check(rows)?;
        let sum = match &mut self.engine {
            Engine::Plan(plan) => plan.loss(rows),
            Engine::Graph(graph) => graph.loss(rows)?,
            Engine::Remote(remote) => remote.graph().loss(rows)?,
        };
        Ok(sum / count as f64)
    }

    /// [`Learner::loss`], to the bit, and [`Learner::predict`] by the same way through the network.
    pub fn loss_and_outputs(&mut self, rows: &Rows<'_>, outputs: &mut Vec<f32>) -> Result<f64, EngineError> {
        let count = self.check(rows)?;
        let sum = match &mut self.engine {
            Engine::Plan(plan) => plan.loss_and_outputs(rows, outputs),
            Engine::Graph(graph) => graph.loss_and_outputs(rows, outputs)?,
            Engine::Remote(remote) => remote.graph().loss_and_outputs(rows, outputs)?,
        };
        Ok(sum / count as f64)
    }

    /// What the network says of `x` `[rows, inputs]`, its last activation applied, is put behind what is in
    /// `outputs`.
    pub fn predict(&mut self, x: &[f32], outputs: &mut Vec<f32>) -> Result<(), EngineError> {
        self.check_table(x)?;
        match &mut self.engine {
            Engine::Plan(plan) => plan.predict(x, outputs),
            Engine::Graph(graph) => graph.predict(x, outputs)?,
            Engine::Remote(remote) => remote.graph().predict(x, outputs)?,
        }
        Ok(())
    }

    /// Rows in a table.
    fn check_table(&self, x: &[f32]) -> Result<usize, EngineError> {
        let rows = x.len() / self.shape.inputs.max(1);
        if rows == 0 || rows * self.shape.inputs != x.len() {
            return Err(EngineError::InputShape {
                inputs: self.shape.inputs,
                found: x.len().into(),
            });
        }
        Ok(rows)
    }

    /// Rows that there are, each with its target.
    fn check(&self, rows: &Rows<'_>) -> Result<usize, EngineError> {
        let count = self.check_table(rows.x)?;
        let classes = self.shape.outputs.max(2);
        let fits = match rows.targets {
            Targets::Numbers(numbers) => numbers.len() == count * self.shape.outputs,
            Targets::Classes(of_rows) => {
                of_rows.len() == count && of_rows.iter().all(|&class| (class as usize) < classes)
            }
        };
        if fits {
            return Ok(count);
        }
        Err(EngineError::Targets {
            rows: count,
            outputs: self.shape.outputs,
        })
    }
}

impl Engine {
    /// What a model is saved with.
    fn kept(&self) -> &Parameters {
        match self {
            Engine::Plan(plan) => plan.kept(),
            Engine::Graph(graph) => graph.kept(),
            Engine::Remote(remote) => remote.graph().kept(),
        }
    }

    /// What is learned.
    fn parameters(&self) -> &Parameters {
        match self {
            Engine::Plan(plan) => plan.parameters(),
            Engine::Graph(graph) => graph.parameters(),
            Engine::Remote(remote) => remote.graph().parameters(),
        }
    }
}

#[cfg(test)]
#[path = "learner_tests.rs"]
mod tests;
