//! `(y − ŷ)²`.

use candle_core::Tensor;

use crate::EngineError;

/// All are `[rows, outputs]`.
pub(super) fn loss(predictions: &Tensor, targets: &Tensor) -> Result<Tensor, EngineError> {
    Ok((predictions - targets)?.sqr()?)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::gradient_check::check;

    #[test]
    fn value_and_gradient() {
        let targets = Tensor::from_slice(&[1.0, -2.0, 0.5], (3, 1), &Device::Cpu).unwrap();
        let predictions = Tensor::from_slice(&[1.5, -1.0, 0.5], (3, 1), &Device::Cpu).unwrap();
        let value: f64 = loss(&predictions, &targets)
            .unwrap()
            .mean_all()
            .unwrap()
            .to_scalar()
            .unwrap();
        assert!((value - 1.25 / 3.0).abs() < 1e-12);
        check("mean squared error", &[1.5, -1.0, 0.7], &[3, 1], |x| {
            loss(x, &targets)
        });
    }
}
