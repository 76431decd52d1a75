//! A feed-forward or convolutional network whose whole step is known beforehand.
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
//! forwards, derivative and the bias's gradient backwards ([`activation`]), the loss with its derivative
//! ([`loss`]). A [`lane`] leads rows through the [`stage`]s. candle's graph of the same network says the same to about
//! 1e−6. A stage that does not say how it is planned ([`crate::layers::Stage::planned`]) leaves its network to the
//! graph.

mod activation;
mod after;
mod convolution;
mod dense;
mod dropout;
mod function;
mod lane;
mod loss;
mod pool;
mod product;
mod stage;

use candle_core::Tensor;
use sconce_contract::Activation;

use crate::{
    EngineError, Random, Sequential, layers::windows::Grid, learner::Rows, losses::Objective,
    parameters::Parameters,
};
use after::After;
use convolution::Convolution;
use dense::Dense;
use dropout::Dropout;
use function::Function;
use lane::{Lane, Work};
use pool::{Greatest, Mean};
use stage::{Chance, Gradient, Kind, Stage};

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
    inputs: usize,
    outputs: usize,
    objective: Objective,
    lane: Lane,
    parameters: Parameters,
    weights: Vec<f32>,
    threads: usize,
}

/// Stages that are put one behind another.
#[derive(Default)]
struct Built {
    stages: Vec<Stage>,
    parameters: Parameters,
    weights: Vec<f32>,
    /// Numbers of a row behind the last of them.
    width: usize,
    /// Those of a point.
    channels: usize,
}

impl Built {
    fn take(&mut self, name: String, tensor: &Tensor) -> Result<std::ops::Range<usize>, EngineError> {
        self.weights.extend(tensor.flatten_all()?.to_vec1::<f32>()?);
        Ok(self.parameters.push(name, tensor.dims().to_vec()))
    }

    fn push(&mut self, kind: Kind, outputs: usize, channels: usize) {
        self.stages.push(Stage::new(kind, self.width, outputs));
        self.width = outputs;
        self.channels = channels;
    }

    /// Whether there is a plan for it.
    fn add(&mut self, layer: &str, planned: &Planned<'_>) -> Result<bool, EngineError> {
        let (width, channels) = (self.width, self.channels);
        match *planned {
            Planned::Affine { weight, bias } | Planned::Convolution { weight, bias, .. }
                if !weight.device().is_cpu() || !bias.device().is_cpu() =>
            {
                return Ok(false);
            }
            Planned::Affine { weight, bias } => {
                let weight = self.take(format!("{layer}weight"), weight)?;
                let bias = self.take(format!("{layer}bias"), bias)?;
                let units = bias.len();
                let stage = Dense {
                    inputs: width,
                    weight,
                    after: After::new(bias, 1),
                };
                self.push(Kind::Dense(stage), units, units);
            }
            Planned::Convolution { grid, weight, bias } => {
                let weight = self.take(format!("{layer}weight"), weight)?;
                let bias = self.take(format!("{layer}bias"), bias)?;
                let filters = bias.len();
                let stage = Convolution::new(grid, weight, bias);
                self.push(Kind::Convolution(stage), grid.places() * filters, filters);
            }
            Planned::Greatest(grid) => {
                let outputs = grid.places() * channels;
                self.push(Kind::Greatest(Greatest::new(grid)), outputs, channels);
            }
            Planned::Mean(grid) => {
                self.push(Kind::Mean(Mean { grid }), grid.places() * channels, channels);
            }
            Planned::Flat => self.channels = width,
            Planned::Activation(function) => {
                let fused = function == Activation::Linear
                    || self
                        .stages
                        .last_mut()
                        .is_some_and(|stage| stage.activate(function, channels));
                if !fused {
                    self.push(Kind::Function(Function::new(function, channels)), width, channels);
                }
            }
            Planned::Dropout(rate) => {
                let drawn = self.stages.iter().map(Stage::draws).sum();
                self.push(Kind::Dropout(Dropout::new(rate, width, drawn)), width, channels);
            }
        }
        Ok(true)
    }
}

impl Plan {
    /// The plan of a network; nothing where a stage of it has none.
    pub(crate) fn of(
        model: &Sequential,
        objective: &Objective,
        threads: usize,
    ) -> Result<Option<Self>, EngineError> {
        let mut built = Built {
            width: model.inputs(),
            channels: model.channels(),
            ..Built::default()
        };
        for (layer, planned) in model.planned() {
            match planned {
                Some(planned) if built.add(&layer, &planned)? => {}
                _ => return Ok(None),
            }
        }
        if !objective.takes_logits() {
            built.add("", &Planned::Activation(model.last_activation()))?;
        }
        let sides = [model.inputs(), built.width];
        Ok(Some(Plan {
            inputs: model.inputs(),
            outputs: built.width,
            objective: objective.clone(),
            lane: Lane::new(sides, built.stages),
            parameters: built.parameters,
            weights: built.weights,
            threads,
        }))
    }

    pub(crate) fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// The weights, in the order of the parameters.
    pub(crate) fn weights(&self) -> &[f32] {
        &self.weights
    }

    /// The same, to be moved.
    pub(crate) fn weights_mut(&mut self) -> &mut [f32] {
        &mut self.weights
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
        let of = rows.x.len() / self.inputs;
        let mut gradient = Gradient {
            values: gradient,
            fresh,
        };
        let work = Work {
            objective: &self.objective,
            weights: &self.weights,
            threads: self.threads,
            divisor,
            chance: Some(Chance { random, row: 0, of }),
        };
        let sum = self.lane.learn(&work, rows, &mut gradient);
        let drawn = self.lane.draws() * of;
        if drawn > 0 {
            *random = random.ahead(drawn);
        }
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

    fn look(&mut self, rows: &Rows<'_>, outputs: Option<&mut Vec<f32>>) -> f64 {
        let Plan {
            lane,
            objective,
            weights,
            ..
        } = self;
        let work = Work {
            objective,
            weights,
            threads: self.threads,
            divisor: 1.0,
            chance: None,
        };
        lane.loss(&work, rows, outputs)
    }

    /// What the network says of `x` `[rows, inputs]`, its last activation applied, behind what is in `outputs`.
    pub(crate) fn predict(&mut self, x: &[f32], outputs: &mut Vec<f32>) {
        let from = outputs.len();
        let Plan {
            lane,
            objective,
            weights,
            ..
        } = self;
        let work = Work {
            objective,
            weights,
            threads: self.threads,
            divisor: 1.0,
            chance: None,
        };
        lane.predict(&work, x, outputs);
        self.activate(&mut outputs[from..]);
    }

    fn activate(&self, outputs: &mut [f32]) {
        if self.objective.takes_logits() {
            activation::apply(self.objective.last, self.outputs, outputs);
        }
    }
}
