//! What is minimised, from the logits of the last layer.
//!
//! Where the last activation is Sigmoid or Softmax the loss is computed from the logits before it: the two
//! together have a form that neither overflows nor loses the gradient of a confident mistake.

mod binary_cross_entropy;
mod cross_entropy;
mod huber;
mod mean_absolute_error;
mod mean_squared_error;
mod objective;

use candle_core::{D, DType, Device, Tensor};
use sconce_contract::Loss;

pub use objective::Objective;

use crate::{EngineError, layers::activate, metrics::Targets};

/// The loss as a scalar: the mean over the rows, each times the weight of its class. `logits` are `[rows, outputs]`
/// before the last activation.
///
/// | loss | targets | last activation |
/// |---|---|---|
/// | MeanSquaredError, MeanAbsoluteError, Huber | a number per output of each row | any |
/// | BinaryCrossEntropy | class 0 or 1 of each row, or the share of 1 | Sigmoid: not applied, it is part of the formula |
/// | CrossEntropy | the class of each row | Softmax: likewise |
pub fn loss(objective: &Objective, logits: &Tensor, targets: &Targets<'_>) -> Result<Tensor, EngineError> {
    let (device, dtype) = (logits.device(), logits.dtype());
    let outputs = || activate(objective.last, logits);
    let numbers = || as_numbers(targets, logits);
    let of_rows = match objective.loss {
        Loss::MeanSquaredError => mean_squared_error::loss(&outputs()?, &numbers()?)?,
        Loss::MeanAbsoluteError => mean_absolute_error::loss(&outputs()?, &numbers()?)?,
        Loss::Huber => huber::loss(&outputs()?, &numbers()?, f64::from(objective.delta))?,
        Loss::BinaryCrossEntropy => binary_cross_entropy::loss(logits, &numbers()?)?,
        Loss::CrossEntropy => {
            let classes = as_classes(targets, device)?;
            cross_entropy::loss(logits, &classes, f64::from(objective.smoothing))?
        }
    };
    // `[rows, outputs]` or `[rows]`.
    let of_rows = match of_rows.dims() {
        [_, _] => of_rows.mean(D::Minus1)?,
        _ => of_rows,
    };
    if objective.class_weights.is_empty() {
        return Ok(of_rows.mean_all()?);
    }
    let rows = of_rows.elem_count();
    let weights: Vec<f32> = (0..rows).map(|row| objective.weight_of(targets, row)).collect();
    let weights = Tensor::from_vec(weights, rows, device)?.to_dtype(dtype)?;
    Ok(of_rows.mul(&weights)?.mean_all()?)
}

fn as_numbers(targets: &Targets<'_>, like: &Tensor) -> Result<Tensor, EngineError> {
    let numbers = match targets {
        Targets::Numbers(numbers) => Tensor::from_slice(numbers, like.shape(), like.device())?,
        Targets::Classes(classes) => {
            let numbers: Vec<f32> = classes.iter().map(|&class| class as f32).collect();
            Tensor::from_vec(numbers, like.shape(), like.device())?
        }
    };
    Ok(numbers.to_dtype(like.dtype())?)
}

fn as_classes(targets: &Targets<'_>, device: &Device) -> Result<Tensor, EngineError> {
    Ok(match targets {
        Targets::Classes(classes) => Tensor::from_slice(classes, classes.len(), device)?,
        Targets::Numbers(numbers) => {
            Tensor::from_slice(numbers, numbers.len(), device)?.to_dtype(DType::U32)?
        }
    })
}
