//! From a row of a table to the inputs of a network: one code for what is learned and what is served.
//!
//! A raw value is a number, the place of a word in its column's vocabulary, [`UNKNOWN`] for a word that is not in it,
//! or NaN where the value is missing; a text is as many raw values as it has integers ([`crate::text`]).

use sconce_contract::{Encoding, Feature};

/// The raw value of a word that the column's vocabulary does not hold.
pub const UNKNOWN: f32 = -1.0;

/// Inputs of the network that these columns become.
pub fn width(features: &[Feature]) -> usize {
    features.iter().map(Feature::width).sum()
}

/// Raw values of a row of these columns.
pub fn raw_width(features: &[Feature]) -> usize {
    features.iter().map(Feature::raw_width).sum()
}

/// What becomes of the raw values of a column: the one place that says it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scaling {
    /// What takes the place of NaN; NaN where nothing does.
    missing: f64,
    mean: f64,
    scale: f64,
}

impl Scaling {
    /// Of a column.
    pub fn of(feature: &Feature) -> Self {
        Scaling {
            missing: feature.missing.unwrap_or(f64::NAN),
            mean: feature.mean,
            scale: feature.scale,
        }
    }

    /// Of each column where all are of numbers: then every raw value becomes one input, whatever stands beside it.
    pub fn of_numbers(features: &[Feature]) -> Option<Vec<Self>> {
        let number = |feature: &Feature| {
            let is_number = feature.vocabulary.is_none() && feature.text.is_none();
            is_number.then(|| Scaling::of(feature))
        };
        features.iter().map(number).collect()
    }

    /// Whether values stay what they are.
    pub fn keeps(&self) -> bool {
        self.missing.is_nan() && self.mean == 0.0 && self.scale == 1.0
    }

    fn filled(&self, value: f32) -> f64 {
        match value.is_nan() {
            true => self.missing,
            false => f64::from(value),
        }
    }

    fn scaled(&self, value: f64) -> f32 {
        ((value - self.mean) / self.scale) as f32
    }

    /// The input that a number becomes.
    pub fn input(&self, value: f32) -> f32 {
        self.scaled(self.filled(value))
    }
}

/// Appends the inputs for a row of raw values, as many for each column as it has. A value that is missing becomes what its
/// column says, and stays NaN where that says nothing.
pub fn row(features: &[Feature], raw: &[f32], inputs: &mut Vec<f32>) {
    let mut raw = raw.iter();
    for feature in features {
        let scaling = Scaling::of(feature);
        if let Some(text) = &feature.text {
            let integers = raw.by_ref().take(text.length as usize);
            inputs.extend(integers.map(|value| scaling.filled(*value) as f32));
            continue;
        }
        let Some(value) = raw.next().map(|value| scaling.filled(*value)) else {
            return;
        };
        match &feature.vocabulary {
            Some(vocabulary) if vocabulary.encoding == Encoding::OneHot => {
                let start = inputs.len();
                inputs.resize(start + vocabulary.words.len(), 0.0);
                // An unknown word is none of them; NaN becomes 0, which a checked row never holds.
                if value >= 0.0
                    && let Some(input) = inputs.get_mut(start + value as usize)
                {
                    *input = 1.0;
                }
            }
            _ => inputs.push(scaling.scaled(value)),
        }
    }
}

/// Name of the column that an input of the network comes from.
pub fn column(features: &[Feature], input: usize) -> &str {
    let mut end = 0;
    let found = features.iter().find(|feature| {
        end += feature.width();
        input < end
    });
    found.map_or("?", |feature| &feature.name)
}

/// The place of a word.
pub fn place(words: &[String], word: &str) -> Option<usize> {
    words.binary_search_by(|known| known.as_str().cmp(word)).ok()
}

#[cfg(test)]
mod tests {
    use sconce_contract::{TextWords, UnknownWords, Vocabulary};

    use super::*;

    fn words(encoding: Encoding, missing: Option<f64>) -> Feature {
        Feature {
            missing,
            vocabulary: Some(Vocabulary {
                words: ["blue", "green", "red"].map(str::to_owned).to_vec(),
                encoding,
                unknown: UnknownWords::Ignore,
            }),
            ..Feature::number("colour", 1.0, 2.0)
        }
    }

    #[test]
    fn words_become_inputs_and_what_is_missing_is_filled() {
        let filled = Feature {
            missing: Some(7.0),
            ..Feature::number("size", 5.0, 2.0)
        };
        let features = [
            words(Encoding::OneHot, Some(1.0)),
            words(Encoding::Index, None),
            filled,
        ];
        assert_eq!(width(&features), 5);
        for (raw, expected) in [
            ([2.0, 2.0, 9.0], [0.0, 0.0, 1.0, 0.5, 2.0]),
            ([UNKNOWN, 0.0, f32::NAN], [0.0, 0.0, 0.0, -0.5, 1.0]),
            ([f32::NAN, 1.0, 5.0], [0.0, 1.0, 0.0, 0.0, 0.0]),
        ] {
            let mut inputs = Vec::new();
            row(&features, &raw, &mut inputs);
            assert_eq!(inputs, expected, "{raw:?}");
        }
        assert_eq!(
            place(&features[0].vocabulary.as_ref().unwrap().words, "green"),
            Some(1)
        );
        assert_eq!(
            place(&features[0].vocabulary.as_ref().unwrap().words, "grey"),
            None
        );
    }

    #[test]
    fn texts_stand_among_other_columns_as_they_are() {
        let text = Feature {
            missing: Some(0.0),
            text: Some(TextWords {
                length: 3,
                words: vec!["fine".into()],
            }),
            ..Feature::number("review", 0.0, 1.0)
        };
        let features = [
            Feature::number("size", 1.0, 2.0),
            text,
            Feature::number("age", 0.0, 1.0),
        ];
        assert_eq!((raw_width(&features), width(&features)), (5, 5));
        let mut inputs = Vec::new();
        row(&features, &[5.0, 0.0, 1.0, 2.0, 7.0], &mut inputs);
        row(&features, &[1.0, f32::NAN, f32::NAN, f32::NAN, 8.0], &mut inputs);
        assert_eq!(inputs, [2.0, 0.0, 1.0, 2.0, 7.0, 0.0, 0.0, 0.0, 0.0, 8.0]);
        assert_eq!(
            [0, 1, 3, 4].map(|input| column(&features, input)),
            ["size", "review", "review", "age"]
        );
    }
}
