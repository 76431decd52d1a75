//! A network whose weights are on a device of their own.
//!
//! The graph of each step is candle's, as on the processor. What comes after it stays there too, in few large pieces: a
//! small one takes a device as long to begin as to compute. So everything that is learned lies one after another, and
//! penalty, clipping and step are a handful of operations however many layers there are.

use candle_core::{Device, Tensor};
use sconce_contract::{Hyperparameters, Regularization};

use crate::{AllReduce, EngineError, Optimiser, Random, graph::Graph, learner::Rows};

/// A graph with what is learned of it.
#[derive(Debug)]
pub(crate) struct Remote {
    graph: Graph,
    /// All that is learned, in the order of the parameters; the network computes with copies.
    weights: Tensor,
    /// As long, while a step is on its way.
    gradient: Option<Tensor>,
    /// As long: 1 where regularization pulls, 0 for biases. Absent where nothing does.
    layers: Option<Tensor>,
}

impl Remote {
    pub(crate) fn of(graph: Graph, settings: &Hyperparameters) -> Result<Self, EngineError> {
        let layers = match settings.regularization {
            None => None,
            Some(_) => Some(pulled(&graph)?),
        };
        let weights = graph.learned()?;
        Ok(Remote {
            graph,
            weights,
            gradient: None,
            layers,
        })
    }

    /// The network.
    pub(crate) fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Replaces what is kept.
    pub(crate) fn set_weights(&mut self, weights: &[f32]) -> Result<(), EngineError> {
        self.graph.set_weights(weights)?;
        self.weights = self.graph.learned()?;
        Ok(())
    }

    /// As [`crate::plan::Plan::learn`], with the gradient left where it is.
    pub(crate) fn learn(
        &mut self,
        rows: &Rows<'_>,
        divisor: f32,
        random: &mut Random,
        fresh: bool,
    ) -> Result<f64, EngineError> {
        let (value, gradients) = self.graph.backward(rows, random)?;
        let Some(gradients) = gradients else {
            return Ok(value);
        };
        let mut parts = Vec::new();
        for var in self.graph.vars_learned() {
            // Detached, since a gradient knows what it was made of: what is remembered from step to step would hold
            // every graph there ever was.
            parts.push(match gradients.get(var.as_tensor()) {
                Some(gradient) => gradient.detach().flatten_all()?,
                None => var.zeros_like()?.flatten_all()?,
            });
        }
        let mut gradient = Tensor::cat(&parts, 0)?;
        let share = self.graph.rows(rows) as f32 / divisor;
        if share != 1.0 {
            gradient = (gradient * f64::from(share))?;
        }
        if let Some(before) = self.gradient.take().filter(|_| !fresh) {
            gradient = (before + gradient)?;
        }
        self.gradient = Some(gradient);
        Ok(value)
    }

    /// Puts the sum of all workers' gradients in the place of this one's, by way of the processor.
    pub(crate) fn reduce(&mut self, others: &mut dyn AllReduce, loss: &mut f64) -> Result<(), EngineError> {
        let length = self.weights.elem_count();
        let mut gradient = match self.gradient.take() {
            Some(gradient) => gradient.to_device(&Device::Cpu)?.to_vec1()?,
            None => vec![0.0; length],
        };
        others
            .all_reduce(&mut gradient, loss)
            .map_err(EngineError::Group)?;
        self.gradient = Some(Tensor::from_vec(gradient, length, &self.graph.device())?);
        Ok(())
    }

    /// Moves the weights by the gradient.
    pub(crate) fn update(
        &mut self,
        optimiser: &mut Optimiser,
        rate: f64,
        settings: &Hyperparameters,
    ) -> Result<(), EngineError> {
        let Some(mut gradient) = self.gradient.take() else {
            return Ok(());
        };
        if let (Some(penalty), Some(layers)) = (&settings.regularization, &self.layers) {
            gradient = (gradient + self.pull(penalty, layers)?)?;
        }
        if let Some(greatest) = settings.clip_norm {
            gradient = clip(greatest, gradient)?;
        }
        self.weights = optimiser.update_tensors(rate, &self.weights, &gradient)?;
        self.graph.set_learned(&self.weights)
    }

    /// As [`crate::gradient::penalise`].
    fn pull(&self, penalty: &Regularization, layers: &Tensor) -> Result<Tensor, EngineError> {
        let (l1, l2) = (penalty.l1.unwrap_or(0.0), 2.0 * penalty.l2.unwrap_or(0.0));
        let slope = ((self.weights.sign()? * l1)? + (&self.weights * l2)?)?;
        Ok((slope * layers)?)
    }
}

/// Of all that is learned, where regularization pulls.
fn pulled(graph: &Graph) -> Result<Tensor, EngineError> {
    let layers = graph.parameters().iter().flat_map(|parameter| {
        let pulled = if parameter.shape.len() > 1 { 1f32 } else { 0.0 };
        std::iter::repeat_n(pulled, parameter.range.len())
    });
    Ok(Tensor::from_vec(
        layers.collect(),
        graph.parameters().len(),
        &graph.device(),
    )?)
}

/// As [`crate::gradient::clip`], which has F64 for the squares.
fn clip(greatest: f64, gradient: Tensor) -> Result<Tensor, EngineError> {
    let squares = f64::from(gradient.sqr()?.sum_all()?.to_scalar::<f32>()?);
    // A pass over all of them more is left to those whose squares are beyond F32.
    let norm = match squares.is_infinite() {
        true => norm_of_great(&gradient)?,
        false => squares.sqrt(),
    };
    // Never where it is NaN.
    if norm > greatest {
        return Ok((gradient * (greatest / norm))?);
    }
    Ok(gradient)
}

/// The norm with the greatest slope taken out of the squares.
fn norm_of_great(gradient: &Tensor) -> Result<f64, EngineError> {
    let most = gradient.abs()?.max_all()?;
    let squares = gradient.broadcast_div(&most)?.sqr()?.sum_all()?;
    let most = f64::from(most.to_scalar::<f32>()?);
    Ok(match most.is_finite() {
        true => most * f64::from(squares.to_scalar::<f32>()?).sqrt(),
        false => most,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gradient_is_shortened_as_on_the_processor() {
        for slopes in [
            [3.0, -4.0, 0.0],
            [0.3, -0.4, 0.0],
            [0.0, 0.0, 0.0],
            // Their squares are beyond F32.
            [3e30, -4e30, 1.0],
            [3e-30, -4e-30, 0.0],
            [f32::NAN, 5.0, 0.0],
            [5.0, f32::NAN, 0.0],
            [f32::INFINITY, 5.0, 0.0],
        ] {
            let mut expected = slopes;
            crate::gradient::clip(1.0, &mut expected);
            let gradient = Tensor::from_slice(&slopes, slopes.len(), &Device::Cpu).unwrap();
            let found: Vec<f32> = clip(1.0, gradient).unwrap().to_vec1().unwrap();
            for (found, expected) in found.iter().zip(expected) {
                let same = (found - expected).abs() <= 1e-6 * expected.abs();
                assert!(
                    same || found.is_nan() && expected.is_nan(),
                    "{slopes:?}: {found} is not {expected}"
                );
            }
        }
    }
}
