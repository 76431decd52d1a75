//! A feed-forward network whose whole step is known beforehand.
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
//! ([`loss`]). candle's graph of the same network says the same to about 1e−6. A stage that does not say how it is
//! planned ([`crate::layers::Stage::planned`]) leaves its network to the graph.

mod activation;
mod loss;
mod product;
mod stage;

use candle_core::Tensor;
use sconce_contract::Activation;

use crate::{EngineError, Random, Sequential, learner::Rows, losses::Objective, parameters::Parameters};
use stage::{Pass, Stage};

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
    /// A function of each row.
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
    stages: Vec<Stage>,
    parameters: Parameters,
    weights: Vec<f32>,
    /// The derivative by the outputs of the stage at work, and by its inputs: `[rows, widest]`.
    slopes: [Vec<f32>; 2],
    threads: usize,
}

impl Plan {
    /// The plan of a network; nothing where a stage of it has none.
    pub(crate) fn of(
        model: &Sequential,
        objective: &Objective,
        threads: usize,
    ) -> Result<Option<Self>, EngineError> {
        let mut parameters = Parameters::default();
        let mut weights = Vec::new();
        let mut stages: Vec<Stage> = Vec::new();
        let mut width = model.inputs();
        let mut described = model.planned().collect::<Vec<_>>();
        if !objective.takes_logits() {
            described.push((String::new(), Some(Planned::Activation(model.last_activation()))));
        }
        for (layer, planned) in described {
            match planned {
                Some(Planned::Affine { weight, bias }) if weight.device().is_cpu() => {
                    let mut take = |part: &str, tensor: &Tensor| {
                        weights.extend(tensor.flatten_all()?.to_vec1::<f32>()?);
                        Ok::<_, EngineError>(
                            parameters.push(format!("{layer}{part}"), tensor.dims().to_vec()),
                        )
                    };
                    let (weight, bias) = (take("weight", weight)?, take("bias", bias)?);
                    let units = bias.len();
                    stages.push(Stage::dense(width, units, weight, bias));
                    width = units;
                }
                Some(Planned::Activation(activation)) => {
                    if !stages.last_mut().is_some_and(|stage| stage.activate(activation)) {
                        return Ok(None);
                    }
                }
                Some(Planned::Dropout(rate)) => stages.push(Stage::dropout(width, rate)),
                _ => return Ok(None),
            }
        }
        Ok(Some(Plan {
            inputs: model.inputs(),
            outputs: width,
            objective: objective.clone(),
            stages,
            parameters,
            weights,
            slopes: [Vec::new(), Vec::new()],
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
        let sum = self.look(rows, divisor, Some(random));
        if !sum.is_finite() {
            return sum;
        }
        let count = self.rows(rows.x);
        let first = self.stages.iter().position(Stage::learns).unwrap_or_default();
        let pass = Pass {
            rows: count,
            weights: &self.weights,
            threads: self.threads,
        };
        let [slope, back] = &mut self.slopes;
        for index in (first..self.stages.len()).rev() {
            let (before, stage) = (&self.stages[..index], &self.stages[index]);
            let x = before.last().map_or(rows.x, |before| before.output(count));
            let slope_here = &mut slope[..stage.output(count).len()];
            // What the table itself should be is not asked.
            let back_here = (index > first).then(|| &mut back[..x.len()]);
            stage.backward(&pass, x, slope_here, back_here, gradient, fresh);
            std::mem::swap(slope, back);
        }
        sum
    }

    /// The sum of the rows' losses, nothing dropped.
    pub(crate) fn loss(&mut self, rows: &Rows<'_>) -> f64 {
        self.look(rows, 1.0, None)
    }

    /// Both: that sum, and what [`Plan::predict`] says of the rows.
    pub(crate) fn loss_and_outputs(&mut self, rows: &Rows<'_>, outputs: &mut Vec<f32>) -> f64 {
        let sum = self.loss(rows);
        let from = outputs.len();
        let count = self.rows(rows.x);
        let last = self.stages.last().map_or(&[][..], |last| last.output(count));
        outputs.extend_from_slice(last);
        self.activate(&mut outputs[from..]);
        sum
    }

    /// What the network says of `x` `[rows, inputs]`, its last activation applied, behind what is in `outputs`.
    pub(crate) fn predict(&mut self, x: &[f32], outputs: &mut Vec<f32>) {
        let from = outputs.len();
        outputs.extend_from_slice(self.forward(x, None));
        self.activate(&mut outputs[from..]);
    }

    fn activate(&self, outputs: &mut [f32]) {
        if self.objective.takes_logits() {
            activation::apply(self.objective.last, self.outputs, outputs);
        }
    }

    fn rows(&self, x: &[f32]) -> usize {
        x.len() / self.inputs
    }

    /// The loss, and in the first of the slopes its derivative.
    fn look(&mut self, rows: &Rows<'_>, divisor: f32, random: Option<&mut Random>) -> f64 {
        self.forward(rows.x, random);
        let count = self.rows(rows.x);
        let Plan { stages, slopes, .. } = self;
        let outputs = stages.last().map_or(rows.x, |last| last.output(count));
        let slope = &mut slopes[0][..outputs.len()];
        loss::loss(
            &self.objective,
            outputs,
            self.outputs,
            &rows.targets,
            slope,
            divisor,
        )
    }

    fn forward(&mut self, x: &[f32], mut random: Option<&mut Random>) -> &[f32] {
        let rows = self.rows(x);
        self.fit(rows);
        let pass = Pass {
            rows,
            weights: &self.weights,
            threads: self.threads,
        };
        for index in 0..self.stages.len() {
            let (before, rest) = self.stages.split_at_mut(index);
            let x = before.last().map_or(x, |before| before.output(rows));
            if let [stage, ..] = rest {
                stage.forward(&pass, x, random.as_deref_mut());
            }
        }
        self.stages.last().map_or(&[], |last| last.output(rows))
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
