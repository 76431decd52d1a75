//! What can be wrong with a network, its weights or its input.

use candle_core::{DType, Shape};
use sconce_contract::network::Misfit;
use sconce_contract::{Failure, FailureClass};
use thiserror::Error;

/// Why a network cannot be built, loaded, run or trained.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EngineError {
    /// A layer, or the network as a whole, makes no sense.
    #[error("{field}: {problem}")]
    Network {
        /// The field of the spec, such as `model.network.layers[2].dense.units`.
        field: String,
        /// What is wrong and what to do.
        problem: String,
    },
    /// The weights lack a tensor.
    #[error("the weights have no tensor {name}, which the network needs with shape {shape:?}")]
    MissingWeight {
        /// Name of the tensor.
        name: String,
        /// Its shape.
        shape: Shape,
    },
    /// The weights hold a tensor that the network has no use for.
    #[error("the weights hold the tensor {name}, which belongs to no layer of the network")]
    UnexpectedWeight {
        /// Name of the tensor.
        name: String,
    },
    /// A tensor has another shape than the network needs.
    #[error("the tensor {name} has shape {found:?}, but the network needs {expected:?}")]
    WeightShape {
        /// Name of the tensor.
        name: String,
        /// Shape that the network needs.
        expected: Shape,
        /// Shape that was found.
        found: Shape,
    },
    /// A tensor holds other numbers than the network needs.
    #[error("the tensor {name} holds {found:?} numbers, but the network needs {expected:?}")]
    WeightType {
        /// Name of the tensor.
        name: String,
        /// Type that the network needs.
        expected: DType,
        /// Type that was found.
        found: DType,
    },
    /// Rows have another width than the network.
    #[error("the input has shape {found:?}, but the network takes [rows, {inputs}]")]
    InputShape {
        /// Width of the network's input.
        inputs: usize,
        /// Shape of what was given.
        found: Shape,
    },
    /// Rows without targets, or with others than the network has outputs for.
    #[error("the targets do not fit {rows} row(s) of {outputs} output(s)")]
    Targets {
        /// Rows that were given.
        rows: usize,
        /// Outputs of the network.
        outputs: usize,
    },
    /// The saved state of an optimiser does not belong to this optimiser and network.
    #[error("the optimiser's saved state does not fit: {0}")]
    OptimiserState(String),
    /// What to compute on is not there.
    #[error(
        "there is no {name} device to compute on: {problem}; it takes a node with the driver, and a profile that asks \
         for a unit (resources) and for the runtime that hands the driver to pods (runtimeClassName)",
        name = format!("{device:?}").to_uppercase()
    )]
    NoDevice {
        /// What was asked for.
        device: sconce_contract::Device,
        /// What is missing.
        problem: String,
    },
    /// The workers of a group could not add up their gradients.
    #[error("{0}")]
    Group(String),
    /// candle refused an operation.
    #[error("the tensor library failed: {0}")]
    Tensor(#[from] candle_core::Error),
}

impl EngineError {
    /// What a pod reports: a network that makes no sense is the user's to mend, and so is a device that is too small; all
    /// else is a defect of ours.
    pub fn failure(&self) -> Failure {
        match self {
            EngineError::Network { field, .. } => Failure::bad_input(field, self.to_string()),
            EngineError::NoDevice { .. } => Failure::bad_input("accelerator", self.to_string()),
            EngineError::Group(_) => Failure::new(FailureClass::Interrupted, self.to_string()),
            EngineError::Tensor(error) if is_out_of_memory(&error.to_string()) => Failure {
                field: Some("accelerator".to_owned()),
                ..Failure::new(
                    FailureClass::OutOfMemory,
                    format!(
                        "the accelerator's memory does not suffice ({error}); lower hyperparameters.batchSize, or choose a \
                         profile whose unit has more"
                    ),
                )
            },
            _ => Failure::new(FailureClass::Internal, self.to_string()),
        }
    }
}

/// Whether a device's driver or library says that there is no memory left, as candle passes it on.
fn is_out_of_memory(said: &str) -> bool {
    ["CUDA_ERROR_OUT_OF_MEMORY", "CUBLAS_STATUS_ALLOC_FAILED"]
        .iter()
        .any(|word| said.contains(word))
}

impl From<Misfit> for EngineError {
    fn from(Misfit { field, problem, .. }: Misfit) -> Self {
        EngineError::Network { field, problem }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_is_too_small_is_told_from_a_defect() {
        let of = |said: &str| EngineError::Tensor(candle_core::Error::Msg(said.to_owned())).failure();
        let large = of("DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\")");
        assert_eq!(large.class, FailureClass::OutOfMemory);
        assert_eq!(large.field.as_deref(), Some("accelerator"));
        assert!(
            large.message.contains("lower hyperparameters.batchSize"),
            "{}",
            large.message
        );
        assert_eq!(of("shape mismatch in matmul").class, FailureClass::Internal);
    }
}
