//! What is done to a gradient before it becomes a step.

use sconce_contract::Regularization;

use crate::parameters::Parameters;

/// Adds the derivative of `l1 · Σ |w| + l2 · Σ w²` over the layers' weights; biases, which have one side only, are
/// left alone. A weight of 0 has no slope.
pub(crate) fn penalise(
    penalty: &Regularization,
    parameters: &Parameters,
    weights: &[f32],
    gradient: &mut [f32],
) {
    let (l1, l2) = (
        penalty.l1.unwrap_or(0.0) as f32,
        2.0 * penalty.l2.unwrap_or(0.0) as f32,
    );
    for parameter in parameters.iter().filter(|parameter| parameter.shape.len() > 1) {
        let weights = &weights[parameter.range.clone()];
        for (slope, &weight) in gradient[parameter.range.clone()].iter_mut().zip(weights) {
            let sign = if weight == 0.0 { 0.0 } else { weight.signum() };
            *slope += l1 * sign + l2 * weight;
        }
    }
}

/// Shortens a gradient whose Euclidean norm is above `greatest` to that length (Pascanu et al. 2013).
pub(crate) fn clip(greatest: f64, gradient: &mut [f32]) {
    let norm = gradient
        .iter()
        .map(|&slope| f64::from(slope) * f64::from(slope))
        .sum::<f64>()
        .sqrt();
    if norm > greatest {
        let share = (greatest / norm) as f32;
        gradient.iter_mut().for_each(|slope| *slope *= share);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn penalties_pull_weights_towards_zero_and_leave_biases() {
        let mut parameters = Parameters::default();
        parameters.push("weight".to_owned(), vec![1, 3]);
        parameters.push("bias".to_owned(), vec![1]);
        let mut gradient = [1.0; 4];
        let penalty = Regularization {
            l1: Some(0.5),
            l2: Some(0.25),
        };
        penalise(&penalty, &parameters, &[2.0, -4.0, 0.0, 8.0], &mut gradient);
        assert_eq!(gradient, [2.5, -1.5, 1.0, 1.0]);
    }

    #[test]
    fn a_long_gradient_is_shortened_and_a_short_one_is_left() {
        let mut gradient = [3.0, -4.0];
        clip(5.0, &mut gradient);
        assert_eq!(gradient, [3.0, -4.0]);
        clip(1.0, &mut gradient);
        assert!((gradient[0] - 0.6).abs() < 1e-7 && (gradient[1] + 0.8).abs() < 1e-7);
    }
}
