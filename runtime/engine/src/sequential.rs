//! A network that can be run and trained.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use candle_core::{Device, Tensor, Var};
use sconce_contract::{Activation, LayerKind, Network, network::Shape};

use crate::{
    EngineError, Random,
    layers::{self, Named, Source, Stage, Weights, activate, narrow},
    names::{layer_field, layer_prefix},
    plan::Planned,
    weights::{Initial, Loaded},
};

/// The layers of a [`Network`] with their weights, `[rows, inputs]` → `[rows, outputs]`, in F32.
#[derive(Debug)]
pub struct Sequential {
    /// What it was built from.
    network: Network,
    /// Each with the index of the layer of the spec that it belongs to.
    stages: Vec<(usize, Box<dyn Stage>)>,
    /// For a layer that ends a residual, the layer whose input it adds.
    sums: BTreeMap<usize, usize>,
    inputs: usize,
    /// What a row is to the first stage, as long as the inputs.
    row: Vec<usize>,
    /// Most numbers that a row is on its way.
    widest: usize,
    outputs: usize,
    /// Of the last layer; no stage, because losses see what comes before it.
    last: Activation,
}

impl Sequential {
    /// A network with random weights: He's for ReLU and GELU, Glorot's for the others, biases 0. The same seed
    /// gives the same weights.
    pub fn initialised(
        network: &Network,
        inputs: usize,
        seed: u64,
        device: &Device,
    ) -> Result<Self, EngineError> {
        Self::build(network, inputs, &mut Initial::new(seed, device))
    }

    /// A network with given weights: `layers.<index>.<name>`, F32, where the index counts all layers, those without
    /// weights too; name and shape are those of the layer's [`sconce_contract::network::Outline`]. A tensor that is
    /// missing, left over, or of another shape or type is an error that names it.
    pub fn from_weights(
        network: &Network,
        inputs: usize,
        weights: &HashMap<String, Tensor>,
        device: &Device,
    ) -> Result<Self, EngineError> {
        let mut loaded = Loaded {
            tensors: weights,
            used: BTreeSet::new(),
            device,
        };
        let model = Self::build(network, inputs, &mut loaded)?;
        // The first by name, so that the same file always gives the same sentence.
        match weights.keys().filter(|name| !loaded.used.contains(*name)).min() {
            Some(name) => Err(EngineError::UnexpectedWeight { name: name.clone() }),
            None => Ok(model),
        }
    }

    /// Refuses a network that makes no sense, whatever the number of columns, without making room for its weights.
    pub fn check(network: &Network) -> Result<(), EngineError> {
        Ok(network.check(None)?)
    }

    pub(crate) fn build(
        network: &Network,
        inputs: usize,
        weights: &mut dyn Weights,
    ) -> Result<Self, EngineError> {
        let outlines = network.outline(Some(inputs as u64))?;
        let (mut stages, mut sums) = (Vec::new(), BTreeMap::new());
        let mut last = Activation::Linear;
        for (index, (layer, outline)) in network.layers.iter().zip(&outlines).enumerate() {
            let Some(kind) = layer.kind() else { continue };
            if let LayerKind::Residual(residual) = kind {
                sums.insert(index, residual.begins(index, &outlines[..index])?);
            }
            let field = format!("{}.{}", layer_field(index), kind.name());
            let mut source = Source::new(weights, outline, layer_prefix(index), field, index as u64);
            let built = layers::stages(kind, &mut source)?;
            stages.extend(built.stages.into_iter().map(|stage| (index, stage)));
            last = built.activation;
        }
        // The activation of the last layer is its last stage.
        stages.pop();
        let dims = |shape: Shape| shape.dims().into_iter().map(narrow).collect();
        Ok(Sequential {
            network: network.clone(),
            stages,
            sums,
            inputs,
            widest: outlines
                .iter()
                .map(|outline| narrow(outline.widest))
                .max()
                .map_or(inputs, |widest| widest.max(inputs)),
            row: outlines.first().map_or_else(Vec::new, |first| dims(first.input)),
            outputs: outlines.last().map_or(0, |last| narrow(last.output.values())),
            last,
        })
    }

    /// Columns that a row has.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Numbers that a row gives.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Most numbers that a row is while it is computed.
    pub fn widest(&self) -> usize {
        self.widest
    }

    /// Numbers that a point of a row has, or a row without points.
    pub(crate) fn channels(&self) -> usize {
        self.row.last().copied().unwrap_or(self.inputs)
    }

    /// The activation of the last layer.
    pub fn last_activation(&self) -> Activation {
        self.last
    }

    /// The same network with its weights on a device; it takes its input there too.
    pub fn to_device(&self, device: &Device) -> Result<Self, EngineError> {
        let weights = self.weights()?.into_iter().collect();
        Self::from_weights(&self.network, self.inputs, &weights, device)
    }

    /// Where the weights are.
    pub fn device(&self) -> Device {
        let parameters = self.parameters();
        parameters
            .first()
            .map_or(Device::Cpu, |(_, var)| var.device().clone())
    }

    /// Inference: `[rows, inputs]` → `[rows, outputs]` with the last activation applied. Nothing is recorded
    /// for gradients.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor, EngineError> {
        activate(self.last, &self.logits(x)?)
    }

    /// Inference without the last activation.
    pub fn logits(&self, x: &Tensor) -> Result<Tensor, EngineError> {
        self.through(x, |stage, x| stage.infer(x))
    }

    /// Training: `[rows, inputs]` → logits `[rows, outputs]`, before the last activation, with dropout and with
    /// a record for gradients.
    pub fn forward_train(&self, x: &Tensor, random: &mut Random) -> Result<Tensor, EngineError> {
        self.through(x, |stage, x| stage.train(x, random))
    }

    fn through(
        &self,
        x: &Tensor,
        mut pass: impl FnMut(&dyn Stage, &Tensor) -> Result<Tensor, EngineError>,
    ) -> Result<Tensor, EngineError> {
        let mut y = self.shaped(x)?;
        let mut kept = BTreeMap::new();
        let mut before = None;
        for (index, stage) in &self.stages {
            if before.replace(*index) != Some(*index) {
                if self.is_added(*index) {
                    kept.insert(*index, y.clone());
                }
                if let Some(input) = self.sums.get(index).and_then(|first| kept.get(first)) {
                    y = (y + input)?;
                }
            }
            y = pass(stage.as_ref(), &y)?;
        }
        Ok(y)
    }

    /// What is learned, by name, in the order of the layers.
    pub fn parameters(&self) -> Vec<(String, &Var)> {
        self.named(|stage| stage.parameters())
    }

    /// What is measured while training and used when serving, likewise.
    pub fn measured(&self) -> Vec<(String, &Var)> {
        self.named(|stage| stage.measured())
    }

    fn named<'a>(&'a self, of: impl Fn(&'a dyn Stage) -> Named<'a>) -> Vec<(String, &'a Var)> {
        let stages = self.stages.iter();
        let named = stages.flat_map(|(index, stage)| {
            let found = of(stage.as_ref()).into_iter();
            found.map(|(name, var)| (layer_prefix(*index) + name, var))
        });
        named.collect()
    }

    /// What a plan does for each stage, and where residuals begin, with what stands before the names of its weights.
    pub(crate) fn planned(&self) -> impl Iterator<Item = (String, Option<Planned<'_>>)> {
        let mut before = None;
        self.stages.iter().flat_map(move |(index, stage)| {
            let is_first = before.replace(*index) != Some(*index);
            let begin = (is_first && self.is_added(*index)).then_some(Planned::Begin(*index));
            let planned = match self.sums.get(index) {
                Some(first) => Some(Planned::Sum(*first)),
                None => stage.planned(),
            };
            let both = begin.map(Some).into_iter().chain([planned]);
            both.map(|planned| (layer_prefix(*index), planned))
        })
    }

    /// Whether what goes into a layer is added to what comes out of a later one.
    fn is_added(&self, layer: usize) -> bool {
        self.sums.values().any(|first| *first == layer)
    }

    /// A copy of the weights as they are now, under the names that [`Sequential::from_weights`] reads.
    pub fn weights(&self) -> Result<BTreeMap<String, Tensor>, EngineError> {
        let all = self.parameters().into_iter().chain(self.measured());
        all.map(|(name, var)| Ok((name, var.copy()?.detach()))).collect()
    }

    /// The rows as the first stage takes them.
    fn shaped(&self, x: &Tensor) -> Result<Tensor, EngineError> {
        match x.dims() {
            [rows, columns] if *columns == self.inputs => {
                let shape = [&[*rows], &*self.row].concat();
                Ok(x.detach().reshape(shape)?)
            }
            _ => Err(EngineError::InputShape {
                inputs: self.inputs,
                found: x.shape().clone(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use candle_core::DType;
    use sconce_contract::Layer;

    use super::*;

    fn network() -> Network {
        Network {
            input: None,
            layers: vec![
                Layer::dense(5, Activation::ReLU),
                Layer::dropout(0.5),
                Layer::dense(2, Activation::Softmax),
            ],
        }
    }

    fn tensor(values: &[f32], shape: &[usize]) -> Tensor {
        Tensor::from_slice(values, shape, &Device::Cpu).unwrap()
    }

    fn values(tensor: &Tensor) -> Vec<f32> {
        tensor.flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn weights_go_out_and_come_back() {
        let model = Sequential::initialised(&network(), 3, 42, &Device::Cpu).unwrap();
        let weights: HashMap<_, _> = model.weights().unwrap().into_iter().collect();
        let names: BTreeSet<&str> = weights.keys().map(String::as_str).collect();
        let expected = [
            "layers.0.bias",
            "layers.0.weight",
            "layers.2.bias",
            "layers.2.weight",
        ];
        assert_eq!(names, BTreeSet::from(expected));

        let again = Sequential::from_weights(&network(), 3, &weights, &Device::Cpu).unwrap();
        assert_eq!(
            (again.inputs(), again.outputs(), again.last_activation()),
            (3, 2, Activation::Softmax)
        );
        let x = tensor(&[0.1, 0.2, 0.3, -1.0, 2.0, 0.5], &[2, 3]);
        assert_eq!(
            values(&model.forward(&x).unwrap()),
            values(&again.forward(&x).unwrap())
        );
    }

    #[test]
    fn the_outputs_are_those_worked_out_by_hand() {
        let network = Network {
            input: None,
            layers: vec![
                Layer::dense(2, Activation::ReLU),
                Layer::dense(1, Activation::Linear),
            ],
        };
        let weights = HashMap::from([
            (
                "layers.0.weight".to_owned(),
                tensor(&[1.0, -1.0, 2.0, 0.5], &[2, 2]),
            ),
            ("layers.0.bias".to_owned(), tensor(&[0.5, 0.0], &[2])),
            ("layers.1.weight".to_owned(), tensor(&[3.0, 4.0], &[2, 1])),
            ("layers.1.bias".to_owned(), tensor(&[-1.0], &[1])),
        ]);
        let model = Sequential::from_weights(&network, 2, &weights, &Device::Cpu).unwrap();
        // [1, 1] → ReLU [3.5, −0.5] = [3.5, 0] → 3 · 3.5 − 1; [−2, 2] → ReLU [2.5, 3] → 7.5 + 12 − 1.
        let y = model.forward(&tensor(&[1.0, 1.0, -2.0, 2.0], &[2, 2])).unwrap();
        assert_eq!(values(&y), [9.5, 18.5]);
    }

    #[test]
    fn a_seed_decides_the_weights() {
        let weights = |seed| {
            let model = Sequential::initialised(&network(), 3, seed, &Device::Cpu).unwrap();
            values(&model.weights().unwrap()["layers.0.weight"])
        };
        assert_eq!(weights(42), weights(42));
        assert_ne!(weights(42), weights(43));
    }

    #[test]
    fn wrong_weights_are_named() {
        let model = Sequential::initialised(&network(), 3, 42, &Device::Cpu).unwrap();
        let change = |change: &dyn Fn(&mut HashMap<String, Tensor>)| {
            let mut weights: HashMap<_, _> = model.weights().unwrap().into_iter().collect();
            change(&mut weights);
            Sequential::from_weights(&network(), 3, &weights, &Device::Cpu)
                .unwrap_err()
                .to_string()
        };
        let missing = change(&|weights| drop(weights.remove("layers.2.bias")));
        assert!(missing.contains("no tensor layers.2.bias"), "{missing}");
        let shape = change(&|weights| drop(weights.insert("layers.2.bias".into(), tensor(&[0.0; 3], &[3]))));
        assert!(
            shape.contains("layers.2.bias has shape [3]") && shape.contains("needs [2]"),
            "{shape}"
        );
        let kind = change(&|weights| {
            let half = tensor(&[0.0; 2], &[2]).to_dtype(DType::F16).unwrap();
            weights.insert("layers.2.bias".into(), half);
        });
        assert!(kind.contains("layers.2.bias holds F16"), "{kind}");
        let extra = change(&|weights| drop(weights.insert("layers.1.bias".into(), tensor(&[0.0; 2], &[2]))));
        assert!(
            extra.contains("layers.1.bias, which belongs to no layer"),
            "{extra}"
        );
    }

    #[test]
    fn networks_that_make_no_sense_name_the_field() {
        for (layers, field) in [
            (vec![], "model.network.layers"),
            (vec![Layer::dropout(0.1)], "model.network.layers[0]"),
            (
                vec![Layer::default(), Layer::dense(1, Activation::Linear)],
                "model.network.layers[0]",
            ),
            (
                vec![Layer::dense(0, Activation::Linear)],
                "model.network.layers[0].dense.units",
            ),
            (
                vec![Layer::dense(1, Activation::Linear); 65],
                "model.network.layers",
            ),
        ] {
            let error = Sequential::check(&Network::of(layers)).unwrap_err();
            assert_eq!(error.failure().field.as_deref(), Some(field), "{error}");
        }
    }

    #[test]
    fn a_network_is_checked_without_its_memory() {
        let huge = Network {
            input: None,
            layers: vec![Layer::dense(65_536, Activation::ReLU); 64],
        };
        Sequential::check(&huge).unwrap();
    }

    #[test]
    fn a_row_of_another_width_is_refused() {
        let model = Sequential::initialised(&network(), 3, 42, &Device::Cpu).unwrap();
        for shape in [&[1, 2][..], &[3], &[1, 1, 3]] {
            let x = Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
            let error = model.forward(&x).unwrap_err().to_string();
            assert!(error.contains("the network takes [rows, 3]"), "{error}");
        }
    }
}
