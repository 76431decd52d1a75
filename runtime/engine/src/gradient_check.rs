//! Gradients against finite differences, in f64.

use candle_core::{Device, Tensor, Var};
use sconce_contract::{
    Input, Layer, Network,
    network::{Outline, Shape},
};
use serde_json::Value;

use crate::{
    EngineError, Purpose, Random, Sequential,
    layers::{Source, Stage, Start, Weights, stages},
};

/// Step of the central difference: its error is about step², rounding about 1e-16 / step.
const STEP: f64 = 1e-5;

/// Checks d/dx of a weighted sum of `function(x)`.
pub(crate) fn check(
    what: &str,
    values: &[f64],
    shape: &[usize],
    function: impl Fn(&Tensor) -> Result<Tensor, EngineError>,
) {
    let variable =
        |values: &[f64]| Var::from_tensor(&Tensor::from_slice(values, shape, &Device::Cpu).unwrap()).unwrap();
    let x = variable(values);
    let y = function(x.as_tensor()).unwrap();
    let gradients = weighted_sum(&y).backward().unwrap();
    let gradient = gradients
        .get(x.as_tensor())
        .unwrap_or_else(|| panic!("{what}: the gradient was dropped"));
    compare(what, values, gradient, heaviest(&y), |values| {
        weighted_sum(&function(variable(values).as_tensor()).unwrap())
            .to_scalar()
            .unwrap()
    });
}

/// Checks the gradients of parameters: `function` takes their values and answers its result with the variables.
pub(crate) fn check_parameters(
    what: &str,
    parameters: &[(&[f64], &[usize])],
    function: impl Fn(&[Tensor]) -> Result<(Tensor, Vec<Var>), EngineError>,
) {
    let tensors: Vec<Tensor> = parameters
        .iter()
        .map(|(values, shape)| Tensor::from_slice(values, *shape, &Device::Cpu).unwrap())
        .collect();
    let (y, variables) = function(&tensors).unwrap();
    let gradients = weighted_sum(&y).backward().unwrap();
    for (index, (values, shape)) in parameters.iter().enumerate() {
        let gradient = gradients
            .get(variables[index].as_tensor())
            .unwrap_or_else(|| panic!("{what}: the gradient of parameter {index} was dropped"));
        compare(
            &format!("{what}, parameter {index}"),
            values,
            gradient,
            heaviest(&y),
            |values| {
                let mut tensors = tensors.clone();
                tensors[index] = Tensor::from_slice(values, *shape, &Device::Cpu).unwrap();
                weighted_sum(&function(&tensors).unwrap().0).to_scalar().unwrap()
            },
        );
    }
}

/// Checks the gradients of a layer while it trains, by its input and by all that it learns. The input is an object as
/// in `network.input`, or the number of plain features.
pub(crate) fn layer(spec: &Value, input: &Value, rows: usize) {
    let subject = Subject::of(spec, input);
    let values = numbers(rows * subject.width(), 1);
    check(&subject.what, &values, &subject.dims(&values), |x| {
        run(&subject.stages(), x)
    });
    subject.check_parameters(&values);
}

/// The same by what it learns only, for rows of these values.
pub(crate) fn layer_of(spec: &Value, input: &Value, values: &[f64]) {
    Subject::of(spec, input).check_parameters(values);
}

/// The same of a whole network, by all that it learns.
pub(crate) fn network(spec: &Value, rows: usize) {
    let network: Network = serde_json::from_value(spec.clone()).unwrap();
    let width = network.outline(None).unwrap()[0].input.values() as usize;
    let model = Sequential::build(&network, width, &mut Scattered(2)).unwrap();
    let x = Tensor::from_vec(numbers(rows * width, 1), (rows, width), &Device::Cpu).unwrap();
    let vars: Vec<(String, Var)> = model
        .parameters()
        .into_iter()
        .map(|(name, var)| (name, var.clone()))
        .collect();
    let answer = || {
        model
            .forward_train(&x, &mut Random::new(7, Purpose::Dropout, 0))
            .unwrap()
    };
    check_vars(&spec.to_string(), &vars, answer);
}

/// Checks the gradients by variables, of which `answer` is a function.
fn check_vars(what: &str, vars: &[(String, Var)], answer: impl Fn() -> Tensor) {
    let y = answer();
    let gradients = weighted_sum(&y).backward().unwrap();
    for (name, var) in vars {
        let gradient = gradients
            .get(var.as_tensor())
            .unwrap_or_else(|| panic!("{what}: the gradient of {name} was dropped"));
        let before = var.copy().unwrap();
        let values: Vec<f64> = before.flatten_all().unwrap().to_vec1().unwrap();
        compare(
            &format!("{what}, {name}"),
            &values,
            gradient,
            heaviest(&y),
            |values| {
                let moved = Tensor::from_slice(values, var.shape(), &Device::Cpu).unwrap();
                var.set(&moved).unwrap();
                weighted_sum(&answer()).to_scalar().unwrap()
            },
        );
        var.set(&before).unwrap();
    }
}

struct Subject {
    what: String,
    layer: Layer,
    outline: Outline,
}

impl Subject {
    fn of(spec: &Value, input: &Value) -> Self {
        let layer: Layer = serde_json::from_value(spec.clone()).unwrap();
        let shape = match input.as_u64() {
            Some(features) => Shape::Flat(features),
            None => {
                let input: Input = serde_json::from_value(input.clone()).unwrap();
                input.shape().unwrap()
            }
        };
        Subject {
            what: spec.to_string(),
            outline: layer.outline(shape).unwrap(),
            layer,
        }
    }

    fn width(&self) -> usize {
        self.outline.input.values() as usize
    }

    fn dims(&self, values: &[f64]) -> Vec<usize> {
        let row = self.outline.input.dims().into_iter().map(|dim| dim as usize);
        std::iter::once(values.len() / self.width()).chain(row).collect()
    }

    fn stages(&self) -> Vec<Box<dyn Stage>> {
        let mut weights = Scattered(2);
        let mut source = Source::new(&mut weights, &self.outline, String::new(), String::new(), 0);
        stages(self.layer.kind().unwrap(), &mut source).unwrap().stages
    }

    fn check_parameters(&self, values: &[f64]) {
        let stages = self.stages();
        let x = Tensor::from_slice(values, self.dims(values), &Device::Cpu).unwrap();
        let named = stages.iter().flat_map(|stage| stage.parameters());
        let vars: Vec<(String, Var)> = named.map(|(name, var)| (name.to_owned(), var.clone())).collect();
        check_vars(&self.what, &vars, || run(&stages, &x).unwrap());
    }
}

fn run(stages: &[Box<dyn Stage>], x: &Tensor) -> Result<Tensor, EngineError> {
    let random = &mut Random::new(7, Purpose::Dropout, 0);
    stages
        .iter()
        .try_fold(x.clone(), |x, stage| stage.train(&x, random))
}

/// Weights between −1 and 1, wherever they start.
struct Scattered(u64);

impl Weights for Scattered {
    fn take(&mut self, _: String, _: u64, shape: &[usize], _: Start) -> Result<Tensor, EngineError> {
        self.0 += 1;
        let values = numbers(shape.iter().product(), self.0);
        Ok(Tensor::from_vec(values, shape, &Device::Cpu)?)
    }
}

fn numbers(count: usize, stream: u64) -> Vec<f64> {
    let mut random = Random::new(11, Purpose::Weights, stream);
    (0..count).map(|_| 2.0 * random.unit() - 1.0).collect()
}

/// A scalar in which each element counts differently, so that no two errors cancel.
fn weighted_sum(y: &Tensor) -> Tensor {
    let y = y.flatten_all().unwrap();
    let weights: Vec<f64> = (0..y.elem_count()).map(weight).collect();
    let weights = Tensor::from_vec(weights, y.shape(), y.device()).unwrap();
    y.mul(&weights).unwrap().sum_all().unwrap()
}

fn weight(index: usize) -> f64 {
    1.0 + 0.37 * index as f64
}

/// How often an error of an element may count.
fn heaviest(y: &Tensor) -> f64 {
    weight(y.elem_count())
}

fn compare(what: &str, values: &[f64], gradient: &Tensor, heaviest: f64, scalar: impl Fn(&[f64]) -> f64) {
    let gradient: Vec<f64> = gradient.flatten_all().unwrap().to_vec1().unwrap();
    for index in 0..values.len() {
        let at = |offset: f64| {
            let mut moved = values.to_vec();
            moved[index] += offset;
            scalar(&moved)
        };
        let difference = (at(STEP) - at(-STEP)) / (2.0 * STEP);
        // candle writes the constant of GELU's derivative with six digits, and that counts as
        // often as the output does.
        let tolerance = 2e-6 * difference.abs().max(heaviest);
        assert!(
            (gradient[index] - difference).abs() < tolerance,
            "{what}: element {index} has gradient {} but difference {difference}",
            gradient[index]
        );
    }
}
