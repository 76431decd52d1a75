//! Share of the rows whose class was predicted.

use super::{Predictions, mean};

pub(super) fn measure(predictions: &Predictions<'_>) -> Option<f64> {
    mean(
        predictions
            .classes()
            .map(|(outputs, class)| f64::from(u8::from(predicted(outputs) == class))),
    )
}

/// The class that outputs speak for: of one output, class 1 from a half on; else the greatest, the first of equals.
pub(super) fn predicted(outputs: &[f32]) -> u32 {
    match outputs {
        [probability] => u32::from(*probability >= 0.5),
        _ => {
            let mut best = 0;
            for (index, output) in outputs.iter().enumerate() {
                if *output > outputs[best] {
                    best = index;
                }
            }
            best as u32
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Targets, *};

    #[test]
    fn values() {
        for (outputs, width, classes, expected) in [
            (&[0.4, 0.5, 0.9, 0.1][..], 1, &[0, 1, 1, 1][..], 0.75),
            (&[0.2, 0.5, 0.3, 0.6, 0.1, 0.3], 3, &[1, 2], 0.5),
            (&[0.4, 0.4, 0.2], 3, &[0], 1.0),
        ] {
            let targets = Targets::Classes(classes);
            let found = measure(&Predictions {
                outputs,
                width,
                targets,
            });
            assert_eq!(found, Some(expected), "{outputs:?}");
        }
    }
}
