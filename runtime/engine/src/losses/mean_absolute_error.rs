//! `|y − ŷ|`.

use candle_core::Tensor;

use crate::EngineError;

/// All are `[rows, outputs]`. There is no slope where they are equal.
pub(super) fn loss(predictions: &Tensor, targets: &Tensor) -> Result<Tensor, EngineError> {
    let error = (predictions - targets)?;
    // By the sign, which is 0 there: candle's slope of `abs` at 0 is 1. NaN stays.
    Ok((&error * error.detach().sign()?)?)
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

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

    #[test]
    fn there_is_no_slope_where_they_are_equal_and_nan_stays() {
        let targets = Tensor::from_slice(&[0.5f32; 4], (4, 1), &Device::Cpu).unwrap();
        let x = Var::from_slice(&[0.5f32, 1.0, -1.0, f32::NAN], (4, 1), &Device::Cpu).unwrap();
        let y = loss(x.as_tensor(), &targets).unwrap();
        let gradients = y.sum_all().unwrap().backward().unwrap();
        let gradient = gradients.get(x.as_tensor()).unwrap().flatten_all().unwrap();
        assert_eq!(gradient.to_vec1::<f32>().unwrap()[..3], [0.0, 1.0, -1.0]);
        let values: Vec<f32> = y.flatten_all().unwrap().to_vec1().unwrap();
        assert_eq!(values[..3], [0.0, 0.5, 1.5]);
        assert!(values[3].is_nan());
    }
}
