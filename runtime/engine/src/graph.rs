//! A network as candle's graph: any stage and any device, at the price of a record of each step.

use std::cell::RefCell;

use candle_core::{CpuStorage, Device, InplaceOp1, Layout, Tensor, Var, backprop::GradStore};

use crate::{
    EngineError, Optimiser, Random, Sequential,
    layers::activate,
    learner::Rows,
    losses::{self, Objective},
    parameters::Parameters,
};

/// A network with what it minimises.
#[derive(Debug)]
pub(crate) struct Graph {
    model: Sequential,
    objective: Objective,
    /// What is learned.
    parameters: Parameters,
    /// That, and then what is measured.
    kept: Parameters,
}

impl Graph {
    pub(crate) fn of(model: Sequential, objective: &Objective) -> Self {
        let mut parameters = Parameters::default();
        for (name, var) in model.parameters() {
            parameters.push(name, var.dims().to_vec());
        }
        let mut kept = parameters.clone();
        for (name, var) in model.measured() {
            kept.push(name, var.dims().to_vec());
        }
        Graph {
            model,
            objective: objective.clone(),
            parameters,
            kept,
        }
    }

    pub(crate) fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// What is learned, and then what is measured.
    pub(crate) fn kept(&self) -> &Parameters {
        &self.kept
    }

    fn vars(&self) -> impl Iterator<Item = (String, &Var)> {
        self.model.parameters().into_iter().chain(self.model.measured())
    }

    /// Where the weights are.
    pub(crate) fn device(&self) -> Device {
        self.model.device()
    }

    /// How many rows there are.
    pub(crate) fn rows(&self, rows: &Rows<'_>) -> usize {
        rows.x.len() / self.model.inputs()
    }

    /// What is learned, in the order of the parameters.
    pub(crate) fn vars_learned(&self) -> impl Iterator<Item = &Var> {
        self.model.parameters().into_iter().map(|(_, var)| var)
    }

    /// A copy of it, one after another, where it is.
    pub(crate) fn learned(&self) -> Result<Tensor, EngineError> {
        let parts = self
            .vars_learned()
            .map(|var| var.as_detached_tensor().flatten_all());
        Ok(Tensor::cat(&parts.collect::<candle_core::Result<Vec<_>>>()?, 0)?.copy()?)
    }

    /// Replaces it by such a copy.
    pub(crate) fn set_learned(&self, weights: &Tensor) -> Result<(), EngineError> {
        for (var, parameter) in self.vars_learned().zip(self.parameters.iter()) {
            let values = weights.narrow(0, parameter.range.start, parameter.range.len())?;
            var.set(&values.reshape(var.shape())?)?;
        }
        Ok(())
    }

    /// The loss of rows, their sum, and the gradients of their mean; none where it is not finite, and what is measured
    /// stays as it was then.
    pub(crate) fn backward(
        &self,
        rows: &Rows<'_>,
        random: &mut Random,
    ) -> Result<(f64, Option<GradStore>), EngineError> {
        // Copies, for a variable changes in place; none in a network that measures nothing.
        let mut before = Vec::new();
        for (_, var) in self.model.measured() {
            before.push((var, var.as_detached_tensor().copy()?));
        }
        let logits = self.model.forward_train(&self.table(rows.x)?, random)?;
        let loss = losses::loss(&self.objective, &logits, &rows.targets)?;
        let value = f64::from(loss.to_scalar::<f32>()?) * self.rows(rows) as f64;
        if value.is_finite() {
            return Ok((value, Some(loss.backward()?)));
        }
        for (var, measured) in before {
            var.set(&measured)?;
        }
        Ok((value, None))
    }

    /// As [`crate::plan::Plan::learn`].
    pub(crate) fn learn(
        &mut self,
        rows: &Rows<'_>,
        divisor: f32,
        random: &mut Random,
        gradient: &mut [f32],
        fresh: bool,
    ) -> Result<f64, EngineError> {
        let (value, gradients) = self.backward(rows, random)?;
        let Some(gradients) = gradients else {
            return Ok(value);
        };
        let share = self.rows(rows) as f32 / divisor;
        for ((_, var), parameter) in self.model.parameters().iter().zip(self.parameters.iter()) {
            let place = &mut gradient[parameter.range.clone()];
            if fresh {
                place.fill(0.0);
            }
            if let Some(found) = gradients.get(var.as_tensor()) {
                let found = found.to_device(&Device::Cpu)?.flatten_all()?.to_vec1::<f32>()?;
                for (sum, found) in place.iter_mut().zip(found) {
                    *sum += share * found;
                }
            }
        }
        Ok(value)
    }

    /// As [`crate::plan::Plan::loss`].
    pub(crate) fn loss(&self, rows: &Rows<'_>) -> Result<f64, EngineError> {
        let logits = self.model.logits(&self.table(rows.x)?)?;
        self.loss_of(&logits, rows)
    }

    /// As [`crate::plan::Plan::loss_and_outputs`].
    pub(crate) fn loss_and_outputs(
        &self,
        rows: &Rows<'_>,
        outputs: &mut Vec<f32>,
    ) -> Result<f64, EngineError> {
        let logits = self.model.logits(&self.table(rows.x)?)?;
        self.answers(&logits, outputs)?;
        self.loss_of(&logits, rows)
    }

    fn loss_of(&self, logits: &Tensor, rows: &Rows<'_>) -> Result<f64, EngineError> {
        let loss = losses::loss(&self.objective, logits, &rows.targets)?;
        Ok(f64::from(loss.to_scalar::<f32>()?) * self.rows(rows) as f64)
    }

    fn answers(&self, logits: &Tensor, outputs: &mut Vec<f32>) -> Result<(), EngineError> {
        let answers = activate(self.objective.last, logits)?;
        outputs.extend(answers.flatten_all()?.to_vec1::<f32>()?);
        Ok(())
    }

    /// As [`crate::plan::Plan::predict`].
    pub(crate) fn predict(&self, x: &[f32], outputs: &mut Vec<f32>) -> Result<(), EngineError> {
        let logits = self.model.logits(&self.table(x)?)?;
        self.answers(&logits, outputs)
    }

    /// What is kept, in that order.
    pub(crate) fn weights(&self) -> Result<Vec<f32>, EngineError> {
        let mut weights = Vec::with_capacity(self.kept.len());
        for (_, var) in self.vars() {
            weights.extend(var.flatten_all()?.to_vec1::<f32>()?);
        }
        Ok(weights)
    }

    /// Replaces it.
    pub(crate) fn set_weights(&mut self, weights: &[f32]) -> Result<(), EngineError> {
        for ((_, var), parameter) in self.vars().zip(self.kept.iter()) {
            let values = &weights[parameter.range.clone()];
            var.set(&Tensor::from_slice(values, var.shape(), var.device())?)?;
        }
        Ok(())
    }

    /// Moves the weights in place.
    pub(crate) fn update(
        &mut self,
        optimiser: &mut Optimiser,
        rate: f64,
        gradient: &[f32],
    ) -> Result<(), EngineError> {
        for ((_, var), parameter) in self.model.parameters().iter().zip(self.parameters.iter()) {
            let range = parameter.range.clone();
            let update = Update(RefCell::new(|weights: &mut [f32]| {
                optimiser.update(range.clone(), rate, weights, &gradient[range.clone()]);
            }));
            var.inplace_op1(&update)?;
        }
        Ok(())
    }

    fn table(&self, x: &[f32]) -> Result<Tensor, EngineError> {
        let width = self.model.inputs();
        let device = self.model.device();
        Ok(Tensor::from_slice(x, (x.len() / width, width), &device)?)
    }
}

/// Work on a parameter's own memory.
struct Update<F: FnMut(&mut [f32])>(RefCell<F>);

impl<F: FnMut(&mut [f32])> InplaceOp1 for Update<F> {
    fn name(&self) -> &'static str {
        "optimiser-step"
    }

    fn cpu_fwd(&self, weights: &mut CpuStorage, layout: &Layout) -> candle_core::Result<()> {
        match (weights, layout.contiguous_offsets()) {
            (CpuStorage::F32(weights), Some((from, to))) => self.0.borrow_mut()(&mut weights[from..to]),
            _ => candle_core::bail!("the parameter is not contiguous F32"),
        }
        Ok(())
    }
}
