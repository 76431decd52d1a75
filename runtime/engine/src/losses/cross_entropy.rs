//! `−ln softmax(x)[class]`, of logits.

use candle_core::{D, Tensor};

use crate::EngineError;

/// `ln Σ e^xⱼ − x[class]`, the same value; taking the greatest logit off first keeps e^x finite. With smoothing s
/// over k classes the target is `1 − s + s/k` for the class and `s/k` for each other.
/// `logits` are `[rows, classes]`, `targets` the indices of the classes, `[rows]`; the result is `[rows]`.
pub(super) fn loss(logits: &Tensor, targets: &Tensor, smoothing: f64) -> Result<Tensor, EngineError> {
    let shifted = logits.broadcast_sub(&logits.detach().max_keepdim(D::Minus1)?)?;
    let log_sum = shifted.exp()?.sum_keepdim(D::Minus1)?.log()?;
    let chosen = shifted.gather(&targets.unsqueeze(1)?, D::Minus1)?;
    let expected = if smoothing == 0.0 {
        chosen
    } else {
        ((chosen * (1.0 - smoothing))? + (shifted.mean_keepdim(D::Minus1)? * smoothing)?)?
    };
    Ok((log_sum - expected)?.squeeze(D::Minus1)?)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::gradient_check::check;

    fn at(logits: &[f64], class: u32) -> f64 {
        let logits = Tensor::from_slice(logits, (1, logits.len()), &Device::Cpu).unwrap();
        let targets = Tensor::from_slice(&[class], 1, &Device::Cpu).unwrap();
        let loss = loss(&logits, &targets, 0.0).unwrap();
        loss.mean_all().unwrap().to_scalar().unwrap()
    }

    /// By the formula in double precision and by its limits.
    #[test]
    fn values_where_the_plain_formula_fails_too() {
        assert!((at(&[1.0, 2.0, 3.0], 2) - 0.407_605_964_444_380_1).abs() < 1e-12);
        assert!((at(&[1.0, 2.0, 3.0], 0) - 2.407_605_964_444_38).abs() < 1e-12);
        assert!((at(&[1000.0, -1000.0], 1) - 2000.0).abs() < 1e-9);
        assert!(at(&[1000.0, -1000.0], 0).abs() < 1e-12);
    }

    /// 0.7 · 0.4076 + 0.3 · (0.4076 + 1.4076 + 2.4076) / 3.
    #[test]
    fn smoothing_asks_for_a_little_of_each_class() {
        let logits = Tensor::from_slice(&[1.0, 2.0, 3.0], (1, 3), &Device::Cpu).unwrap();
        let targets = Tensor::from_slice(&[2u32], 1, &Device::Cpu).unwrap();
        let value = loss(&logits, &targets, 0.3).unwrap().to_vec1::<f64>().unwrap()[0];
        assert!((value - 0.707_605_964_444_38).abs() < 1e-12, "{value}");
    }

    #[test]
    fn gradients_agree_with_finite_differences() {
        let targets = Tensor::from_slice(&[2u32, 0], 2, &Device::Cpu).unwrap();
        for smoothing in [0.0, 0.2] {
            let x = [0.3, -1.2, 2.0, -0.4, 0.9, -2.5];
            check("cross-entropy", &x, &[2, 3], |x| loss(x, &targets, smoothing));
        }
    }
}
