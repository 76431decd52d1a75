//! `−ln softmax(x)[class]`, of logits.

use candle_core::{D, Tensor};

use crate::EngineError;

/// `ln Σ e^xⱼ − x[class]`, the same value; taking the greatest logit off first keeps e^x finite.
/// `logits` are `[rows, classes]`, `targets` the indices of the classes, `[rows]`.
pub(super) fn loss(logits: &Tensor, targets: &Tensor) -> Result<Tensor, EngineError> {
    let shifted = logits.broadcast_sub(&logits.detach().max_keepdim(D::Minus1)?)?;
    let log_sum = shifted.exp()?.sum_keepdim(D::Minus1)?.log()?;
    let chosen = shifted.gather(&targets.unsqueeze(1)?, D::Minus1)?;
    Ok((log_sum - chosen)?.mean_all()?)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::gradient_check::check;

    fn at(logits: &[f64], class: u32) -> f64 {
        let logits = Tensor::from_slice(logits, (1, logits.len()), &Device::Cpu).unwrap();
        let targets = Tensor::from_slice(&[class], 1, &Device::Cpu).unwrap();
        loss(&logits, &targets).unwrap().to_scalar().unwrap()
    }

    /// By the formula in double precision and by its limits.
    #[test]
    fn values_where_the_plain_formula_fails_too() {
        assert!((at(&[1.0, 2.0, 3.0], 2) - 0.407_605_964_444_380_1).abs() < 1e-12);
        assert!((at(&[1.0, 2.0, 3.0], 0) - 2.407_605_964_444_38).abs() < 1e-12);
        assert!((at(&[1000.0, -1000.0], 1) - 2000.0).abs() < 1e-9);
        assert!(at(&[1000.0, -1000.0], 0).abs() < 1e-12);
    }

    #[test]
    fn gradients_agree_with_finite_differences() {
        let targets = Tensor::from_slice(&[2u32, 0], 2, &Device::Cpu).unwrap();
        check(
            "cross-entropy",
            &[0.3, -1.2, 2.0, -0.4, 0.9, -2.5],
            &[2, 3],
            |x| loss(x, &targets),
        );
    }
}
