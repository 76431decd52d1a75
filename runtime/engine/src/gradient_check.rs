//! Gradients against finite differences, in f64.

use candle_core::{Device, Tensor, Var};

use crate::EngineError;

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
    compare(what, values, gradient, |values| {
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
            |values| {
                let mut tensors = tensors.clone();
                tensors[index] = Tensor::from_slice(values, *shape, &Device::Cpu).unwrap();
                weighted_sum(&function(&tensors).unwrap().0).to_scalar().unwrap()
            },
        );
    }
}

/// A scalar in which each element counts differently, so that no two errors cancel.
fn weighted_sum(y: &Tensor) -> Tensor {
    let y = y.flatten_all().unwrap();
    let weights: Vec<f64> = (0..y.elem_count())
        .map(|index| 1.0 + 0.37 * index as f64)
        .collect();
    let weights = Tensor::from_vec(weights, y.shape(), y.device()).unwrap();
    y.mul(&weights).unwrap().sum_all().unwrap()
}

fn compare(what: &str, values: &[f64], gradient: &Tensor, scalar: impl Fn(&[f64]) -> f64) {
    let gradient: Vec<f64> = gradient.flatten_all().unwrap().to_vec1().unwrap();
    for index in 0..values.len() {
        let at = |offset: f64| {
            let mut moved = values.to_vec();
            moved[index] += offset;
            scalar(&moved)
        };
        let difference = (at(STEP) - at(-STEP)) / (2.0 * STEP);
        // candle writes the constant of GELU's derivative with six digits.
        let tolerance = 2e-6 * difference.abs().max(1.0);
        assert!(
            (gradient[index] - difference).abs() < tolerance,
            "{what}: element {index} has gradient {} but difference {difference}",
            gradient[index]
        );
    }
}
