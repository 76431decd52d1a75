//! `−y·ln σ(x) − (1−y)·ln(1−σ(x))`, of logits.

use candle_core::Tensor;

use crate::EngineError;

/// `max(x, 0) − x·y + ln(1 + e^−|x|)`, the same value without overflow. `logits`, `targets` and the result are
/// `[rows, 1]`.
pub(super) fn loss(logits: &Tensor, targets: &Tensor) -> Result<Tensor, EngineError> {
    let softplus = (logits.abs()?.neg()?.exp()? + 1.0)?.log()?;
    let linear = (logits.relu()? - logits.mul(targets)?)?;
    Ok((linear + softplus)?)
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;
    use crate::gradient_check::check;

    fn at(logit: f64, target: f64) -> (f64, f64) {
        let logit = Var::from_tensor(&Tensor::from_slice(&[logit], (1, 1), &Device::Cpu).unwrap()).unwrap();
        let target = Tensor::from_slice(&[target], (1, 1), &Device::Cpu).unwrap();
        let loss = loss(logit.as_tensor(), &target).unwrap().mean_all().unwrap();
        let gradient = loss
            .backward()
            .unwrap()
            .get(logit.as_tensor())
            .unwrap()
            .flatten_all()
            .unwrap();
        (loss.to_scalar().unwrap(), gradient.to_vec1::<f64>().unwrap()[0])
    }

    /// By the formula in double precision and by its limits; the gradient is σ(x) − y.
    #[test]
    fn values_and_gradients_where_the_plain_formula_fails_too() {
        for (logit, target, loss, gradient) in [
            (0.0, 1.0, std::f64::consts::LN_2, -0.5),
            (2.0, 0.0, 2.126_928_011_042_972_4, 0.880_797_077_977_882_4),
            (-2.0, 0.0, 0.126_928_011_042_972_44, 0.119_202_922_022_117_57),
            (1000.0, 0.0, 1000.0, 1.0),
            (-1000.0, 1.0, 1000.0, -1.0),
            (1000.0, 1.0, 0.0, 0.0),
        ] {
            let found = at(logit, target);
            assert!(
                (found.0 - loss).abs() < 1e-9,
                "loss at {logit}, {target}: {}",
                found.0
            );
            assert!(
                (found.1 - gradient).abs() < 1e-9,
                "gradient at {logit}, {target}: {}",
                found.1
            );
        }
    }

    #[test]
    fn gradients_agree_with_finite_differences() {
        let targets = Tensor::from_slice(&[1.0, 0.0, 1.0, 0.0], (4, 1), &Device::Cpu).unwrap();
        check("binary cross-entropy", &[0.3, -1.2, -2.0, 4.0], &[4, 1], |x| {
            loss(x, &targets)
        });
    }
}
