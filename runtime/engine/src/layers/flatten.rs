//! Plain numbers of an image or a sequence.

use candle_core::Tensor;

use super::Stage;
use crate::{EngineError, Random, plan::Planned};

/// `[rows, …]` → `[rows, values]`.
#[derive(Debug)]
pub(super) struct Flat;

impl Stage for Flat {
    fn infer(&self, x: &Tensor) -> Result<Tensor, EngineError> {
        Ok(x.flatten_from(1)?)
    }

    fn train(&self, x: &Tensor, _: &mut Random) -> Result<Tensor, EngineError> {
        self.infer(x)
    }

    fn planned(&self) -> Option<Planned<'_>> {
        Some(Planned::Flat)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn gradient_flatten() {
        crate::gradient_check::layer(&json!({"flatten": {}}), &json!({"length": 3, "channels": 2}), 2);
    }
}
