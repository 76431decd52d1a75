//! `|y − ŷ|`.

use candle_core::Tensor;

use crate::EngineError;

/// All are `[rows, outputs]`. There is no slope where they are equal.
pub(super) fn loss(predictions: &Tensor, targets: &Tensor) -> Result<Tensor, EngineError> {
    Ok((predictions - targets)?.abs()?)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::gradient_check::check;

    #[test]
    fn value_and_gradient() {
        let targets = Tensor::from_slice(&[1.0, -2.0, 0.5], (3, 1), &Device::Cpu).unwrap();
        let predictions = Tensor::from_slice(&[1.5, -3.0, 0.5], (3, 1), &Device::Cpu).unwrap();
        let values = loss(&predictions, &targets).unwrap().flatten_all().unwrap();
        assert_eq!(values.to_vec1::<f64>().unwrap(), [0.5, 1.0, 0.0]);
        check("mean absolute error", &[1.5, -3.0, 0.7], &[3, 1], |x| {
            loss(x, &targets)
        });
    }
}
