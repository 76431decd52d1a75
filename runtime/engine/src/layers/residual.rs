//! Where what went into some layers is added to what comes out of them. The network keeps it meanwhile, see
//! [`crate::sequential`], which tells a plan of it too.

use candle_core::Tensor;

use super::Stage;
use crate::{EngineError, Random};

/// Takes the sum as it is.
#[derive(Debug)]
pub(super) struct Sum;

impl Stage for Sum {
    fn infer(&self, x: &Tensor) -> Result<Tensor, EngineError> {
        Ok(x.clone())
    }

    fn train(&self, x: &Tensor, _: &mut Random) -> Result<Tensor, EngineError> {
        Ok(x.clone())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::gradient_check::network;

    #[test]
    fn gradient_residual() {
        let convolution = |filters: u32| json!({"conv2d": {"filters": filters, "kernelSize": 3, "padding": "Same", "activation": "Tanh"}});
        network(
            &json!({
                "input": {"height": 3, "width": 4},
                "layers": [
                    convolution(2),
                    convolution(4),
                    {"batchNorm": {"epsilon": 0.01}},
                    {"activation": "Sigmoid"},
                    convolution(2),
                    {"residual": {"over": 4}},
                    {"flatten": {}},
                    {"dense": {"units": 24, "activation": "GELU"}},
                    {"dropout": {"rate": 0.3}},
                    {"residual": {"over": 2}},
                    {"dense": {"units": 1}},
                ],
            }),
            2,
        );
    }
}
