//! Quadratic for small errors, linear for large ones (Huber 1964).

use candle_core::Tensor;

use crate::EngineError;

/// `½·e²` where `|e| ≤ δ`, else `δ·(|e| − ½·δ)`; with `c` the error cut to [−δ, δ] both are `c·(e − ½·c)`. All are
/// `[rows, outputs]`.
pub(super) fn loss(predictions: &Tensor, targets: &Tensor, delta: f64) -> Result<Tensor, EngineError> {
    let error = (predictions - targets)?;
    let cut = error.clamp(-delta, delta)?;
    Ok((&cut * (&error - (&cut * 0.5)?)?)?)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::gradient_check::check;

    #[test]
    fn value_and_gradient() {
        let targets = Tensor::from_slice(&[1.0, -2.0, 0.5], (3, 1), &Device::Cpu).unwrap();
        let predictions = Tensor::from_slice(&[1.5, -5.0, 4.5], (3, 1), &Device::Cpu).unwrap();
        let values = loss(&predictions, &targets, 1.5).unwrap().flatten_all().unwrap();
        // ½ · 0.5²; 1.5 · (3 − 0.75); 1.5 · (4 − 0.75).
        assert_eq!(values.to_vec1::<f64>().unwrap(), [0.125, 3.375, 4.875]);
        check("Huber", &[1.5, -5.0, 4.5], &[3, 1], |x| loss(x, &targets, 1.5));
    }
}
