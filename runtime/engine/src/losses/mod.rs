//! What is minimised, from the logits of the last layer.
//!
//! Where the last activation is Sigmoid or Softmax the loss is computed from the logits before it: the two
//! together have a form that neither overflows nor loses the gradient of a confident mistake.

mod binary_cross_entropy;
mod cross_entropy;
mod mean_squared_error;

use candle_core::Tensor;
use sconce_contract::{Activation, Loss};

use crate::{EngineError, layers::activate};

/// The loss as a scalar, the mean over the rows. `logits` are `[rows, outputs]` before the activation `last`.
///
/// | loss | `targets` | `last` |
/// |---|---|---|
/// | MeanSquaredError | `[rows, outputs]`, F32 | any |
/// | BinaryCrossEntropy | `[rows, 1]`, F32, 0 or 1 | Sigmoid: not applied, it is part of the formula |
/// | CrossEntropy | `[rows]`, U32, the index of the class | Softmax: likewise |
pub fn loss(kind: Loss, last: Activation, logits: &Tensor, targets: &Tensor) -> Result<Tensor, EngineError> {
    match kind {
        Loss::MeanSquaredError => mean_squared_error::loss(&activate(last, logits)?, targets),
        Loss::BinaryCrossEntropy => binary_cross_entropy::loss(logits, targets),
        Loss::CrossEntropy => cross_entropy::loss(logits, targets),
    }
}
