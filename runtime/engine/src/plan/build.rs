//! Puts a plan together.

use std::{collections::BTreeMap, ops::Range};

use candle_core::Tensor;
use sconce_contract::Activation;

use super::{
    Planned,
    after::After,
    batch::Batch,
    convolution::Convolution,
    dense::Dense,
    dropout::Dropout,
    function::Function,
    norm::Norm,
    pool::{Greatest, Mean},
    stage::{Kind, Stage},
    sum::Sum,
};
use crate::{EngineError, Sequential, losses::Objective, parameters::Parameters};

/// Stages that are put one behind another.
#[derive(Default)]
pub(super) struct Built {
    pub(super) stages: Vec<Stage>,
    /// What is learned.
    pub(super) parameters: Parameters,
    /// That, and then what is measured.
    pub(super) kept: Parameters,
    /// As they are kept.
    pub(super) weights: Vec<f32>,
    /// How many of them are learned.
    learned: usize,
    measured: Vec<f32>,
    /// How many stages stand before a layer whose input is added later.
    begins: BTreeMap<usize, usize>,
    /// Numbers of a row behind the last of them.
    pub(super) width: usize,
    /// Those of a point.
    channels: usize,
}

impl Built {
    /// All stages of a network; nothing where one of them has no plan.
    pub(super) fn of(model: &Sequential, objective: &Objective) -> Result<Option<Self>, EngineError> {
        let mut built = Built {
            width: model.inputs(),
            channels: model.channels(),
            learned: model.parameters().iter().map(|(_, var)| var.elem_count()).sum(),
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
        built.kept = built.parameters.clone();
        for (name, var) in model.measured() {
            built.kept.push(name, var.dims().to_vec());
        }
        built.weights.append(&mut built.measured);
        Ok(Some(built))
    }

    fn take(&mut self, name: String, tensor: &Tensor) -> Result<Range<usize>, EngineError> {
        self.weights.extend(tensor.flatten_all()?.to_vec1::<f32>()?);
        Ok(self.parameters.push(name, tensor.dims().to_vec()))
    }

    /// The same of what is measured, which is kept behind all that is learned.
    fn take_measured(&mut self, tensor: &Tensor) -> Result<Range<usize>, EngineError> {
        let from = self.learned + self.measured.len();
        self.measured.extend(tensor.flatten_all()?.to_vec1::<f32>()?);
        Ok(from..self.learned + self.measured.len())
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
            Planned::Norm { scale, bias, epsilon } => {
                let mut take = |(name, tensor): (&str, &Tensor)| self.take(format!("{layer}{name}"), tensor);
                let (scale, bias) = (take(scale)?, bias.map(take).transpose()?);
                let stage = Norm::new(scale, bias, epsilon, width);
                self.push(Kind::Norm(stage), width, channels);
            }
            Planned::Batch {
                learned,
                measured: [mean, variance],
                momentum,
                epsilon,
            } => {
                let [scale, bias] = learned.map(|(name, tensor)| self.take(format!("{layer}{name}"), tensor));
                let running = [self.take_measured(mean)?, self.take_measured(variance)?];
                let points = width / channels.max(1);
                let stage = Batch::new([scale?, bias?], running, [momentum, epsilon], points);
                self.push(Kind::Batch(stage), width, channels);
            }
            Planned::Begin(layer) => {
                self.begins.insert(layer, self.stages.len());
            }
            Planned::Sum(layer) => {
                let Some(&begin) = self.begins.get(&layer) else {
                    return Ok(false);
                };
                self.push(Kind::Sum(Sum::new(begin, width)), width, channels);
            }
            Planned::Flat => self.channels = width,
            Planned::Activation(function) => {
                // What is added later is what comes before the activation.
                let begins = self.begins.values().any(|&begin| begin == self.stages.len());
                let last = self.stages.last_mut().filter(|_| !begins);
                let fused = function == Activation::Linear
                    || last.is_some_and(|stage| stage.activate(function, channels));
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
