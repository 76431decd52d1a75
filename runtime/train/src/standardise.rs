//! Brings each feature to mean 0 and standard deviation 1.

use sconce_contract::Feature;

/// Mean and scale of each feature over these rows of `values` `[rows, features]`, or 0 and 1 where it is not
/// wanted. The scale is the standard deviation of the rows themselves (divided by their number); 1 for a column
/// that is constant there.
pub fn measure(names: &[String], values: &[f32], rows: &[usize], wanted: bool) -> Vec<Feature> {
    let width = names.len();
    let column = |index: usize| rows.iter().map(move |row| f64::from(values[row * width + index]));
    let count = rows.len() as f64;
    let measured = names.iter().enumerate().map(|(index, name)| {
        if !wanted {
            return Feature {
                name: name.clone(),
                mean: 0.0,
                scale: 1.0,
            };
        }
        // Two passes: the sum of squares alone loses all digits where the mean is large.
        let mean = column(index).sum::<f64>() / count;
        let variance = column(index).map(|value| (value - mean).powi(2)).sum::<f64>() / count;
        let first = column(index).next();
        let constant = column(index).all(|value| Some(value) == first);
        let scale = if constant || variance.sqrt() == 0.0 {
            1.0
        } else {
            variance.sqrt()
        };
        Feature {
            name: name.clone(),
            mean,
            scale,
        }
    });
    measured.collect()
}

/// `(x − mean) / scale` in place.
pub fn apply(features: &[Feature], values: &mut [f32]) {
    for row in values.chunks_exact_mut(features.len()) {
        for (value, feature) in row.iter_mut().zip(features) {
            *value = ((f64::from(*value) - feature.mean) / feature.scale) as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_rows_that_are_learned_from_are_measured() {
        let names = ["a", "constant", "large"].map(str::to_owned);
        let mut values = vec![1.0, 0.1, 1e7, 3.0, 0.1, 1e7 + 2.0, 100.0, 5.0, 0.0];
        let features = measure(&names, &values, &[0, 1], true);
        let numbers: Vec<(f64, f64)> = features
            .iter()
            .map(|feature| (feature.mean, feature.scale))
            .collect();
        assert_eq!(numbers, [(2.0, 1.0), (f64::from(0.1f32), 1.0), (1e7 + 1.0, 1.0)]);
        apply(&features, &mut values);
        assert_eq!(values[..6], [-1.0, 0.0, -1.0, 1.0, 0.0, 1.0]);
        assert_eq!(values[6], 98.0);
    }

    #[test]
    fn where_it_is_not_wanted_nothing_changes() {
        let features = measure(&["a".to_owned()], &[5.0, 7.0], &[0, 1], false);
        let mut values = vec![5.0, 7.0];
        apply(&features, &mut values);
        assert_eq!(values, [5.0, 7.0]);
    }
}
