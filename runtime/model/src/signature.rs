//! What a network takes and gives, checked against the preprocessing.

use std::collections::HashSet;

use sconce_contract::network::{Dense, Misfit, Outline, Shape};
use sconce_contract::{Activation, Feature, Network, Preprocess};

use crate::{ModelError, encode, text};

/// Widths of a network.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Signature {
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    /// The most values that a row is while it is computed.
    pub(crate) widest: usize,
    /// How many integers it looks up; nothing where it takes any number.
    pub(crate) vocabulary: Option<u32>,
    /// Weights and biases.
    pub(crate) parameters: usize,
    /// Multiplications for a row, about.
    pub(crate) work: usize,
}

impl Signature {
    /// Of a network for these columns; an error where they contradict each other.
    pub(crate) fn of(network: &Network, preprocess: &Preprocess) -> Result<Self, ModelError> {
        if preprocess.features.is_empty() {
            return unfit("there is no feature");
        }
        let inputs = encode::width(&preprocess.features);
        for feature in &preprocess.features {
            if !feature.mean.is_finite() || !feature.scale.is_finite() || feature.scale == 0.0 {
                return unfit(format!(
                    "the scale of the feature {:?} is not usable",
                    feature.name
                ));
            }
        }
        for feature in &preprocess.features {
            check_words(feature)?;
            check_texts(feature, network)?;
        }
        let plain = |feature: &Feature| feature.mean == 0.0 && feature.scale == 1.0;
        if network.vocabulary().is_some() && !preprocess.features.iter().all(plain) {
            return unfit("the integers that it looks up are brought to another scale");
        }
        let mut names: Vec<&str> = preprocess
            .features
            .iter()
            .map(|feature| feature.name.as_str())
            .collect();
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return unfit(format!("the feature {:?} is there twice", twice[0]));
        }
        let outlines = match network.outline(Some(inputs as u64)) {
            Ok(outlines) => outlines,
            Err(Misfit { field, problem, .. }) => return unfit(format!("{field}: {problem}")),
        };
        let narrow = |numbers: u64| usize::try_from(numbers).unwrap_or(usize::MAX);
        let width = outlines.last().map_or(0, |last| narrow(last.output.values()));
        let widest = outlines.iter().map(|outline| narrow(outline.widest)).max();
        let parameters = outlines.iter().map(Outline::parameters);
        let work = network.layers.iter().zip(&outlines);
        let work = work.map(|(layer, outline)| match layer.embedding {
            // Its vectors are copied.
            Some(_) => outline.widest,
            None => multiplications(outline),
        });
        let work = work.fold(0, u64::saturating_add);
        let Some(Dense { activation, .. }) = network.layers.last().and_then(|last| last.dense) else {
            return unfit("the last layer is not dense");
        };
        if let Some(classes) = &preprocess.target.classes {
            let fits = if width == 1 {
                classes.len() == 2
            } else {
                classes.len() == width
            };
            if !fits {
                return unfit(format!(
                    "{} classes need another number of outputs than {width}",
                    classes.len()
                ));
            }
            if width == 1 && activation != Activation::Sigmoid {
                return unfit("one output for two classes needs Sigmoid");
            }
        }
        Ok(Signature {
            inputs,
            outputs: width,
            vocabulary: network.vocabulary(),
            widest: widest.unwrap_or(0).max(inputs),
            parameters: narrow(parameters.fold(0, u64::saturating_add)),
            work: narrow(work),
        })
    }

    /// Index of the class that an output row means.
    pub(crate) fn class(output: &[f32]) -> usize {
        match output {
            [single] => usize::from(*single >= 0.5),
            // The first of equals, as everywhere else.
            _ => (1..output.len()).fold(0, |best, i| if output[i] > output[best] { i } else { best }),
        }
    }
}

/// What a layer multiplies for a row, about: a kernel and a cell are used once for each point or step.
fn multiplications(outline: &Outline) -> u64 {
    let points = |shape: &Shape| shape.values() / shape.channels().max(1);
    let times = points(&outline.input).max(points(&outline.output));
    outline
        .parameters()
        .saturating_mul(times.max(1))
        .max(outline.widest)
}

/// A vocabulary that can be searched, and what takes the place of a missing value within it.
fn check_words(feature: &Feature) -> Result<(), ModelError> {
    let name = &feature.name;
    if let Some(vocabulary) = &feature.vocabulary {
        let words = &vocabulary.words;
        if words.is_empty() || words.windows(2).any(|pair| pair[0] >= pair[1]) {
            return unfit(format!(
                "the words of the feature {name:?} are not in order, each once"
            ));
        }
        let inside = |place: f64| place >= 0.0 && place < words.len() as f64;
        if feature.missing.is_some_and(|place| !inside(place)) {
            return unfit(format!(
                "what takes the place of a missing {name:?} is none of its words"
            ));
        }
    }
    if feature.missing.is_some_and(|value| !value.is_finite()) {
        return unfit(format!(
            "what takes the place of a missing {name:?} is not a number"
        ));
    }
    Ok(())
}

/// Words that each have one integer, which the network looks up.
fn check_texts(feature: &Feature, network: &Network) -> Result<(), ModelError> {
    let (name, Some(text)) = (&feature.name, &feature.text) else {
        return Ok(());
    };
    if feature.vocabulary.is_some() || text.length == 0 {
        return unfit(format!("the feature {name:?} is not of texts that have a length"));
    }
    let known: HashSet<&String> = text.words.iter().collect();
    if known.len() != text.words.len() {
        return unfit(format!(
            "a word of the texts of the feature {name:?} is there twice"
        ));
    }
    let integers = text.words.len() + text::FIRST;
    if network
        .vocabulary()
        .is_none_or(|looked_up| (looked_up as usize) < integers)
    {
        return unfit(format!(
            "the texts of the feature {name:?} become {integers} integers, which the network does not look up"
        ));
    }
    Ok(())
}

fn unfit<T>(reason: impl Into<String>) -> Result<T, ModelError> {
    Err(ModelError::Unfit {
        reason: reason.into(),
    })
}

#[cfg(test)]
mod tests {
    use sconce_contract::{Layer, Target, TextWords};

    use super::*;

    fn preprocess(features: &[&str], classes: Option<&[&str]>) -> Preprocess {
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        Preprocess {
            features: names(features)
                .into_iter()
                .map(|name| Feature::number(name, 0.0, 1.0))
                .collect(),
            target: Target {
                name: "y".into(),
                classes: classes.map(names),
            },
        }
    }

    fn network(units: &[u32], last: Activation) -> Network {
        let (end, hidden) = units.split_last().unwrap();
        let mut layers: Vec<_> = hidden
            .iter()
            .map(|units| Layer::dense(*units, Activation::ReLU))
            .collect();
        layers.push(Layer::dense(*end, last));
        Network::of(layers)
    }

    #[test]
    fn counts_what_a_network_takes_and_gives() {
        let signature = Signature::of(
            &network(&[8, 3], Activation::Softmax),
            &preprocess(&["a", "b"], None),
        )
        .unwrap();
        let expected = Signature {
            inputs: 2,
            outputs: 3,
            vocabulary: None,
            widest: 8,
            parameters: 2 * 8 + 8 + 8 * 3 + 3,
            work: 2 * 8 + 8 + 8 * 3 + 3,
        };
        assert_eq!(signature, expected);
    }

    #[test]
    fn a_kernel_counts_for_each_point_and_a_table_of_vectors_for_what_is_looked_up() {
        let of = |columns: usize, network: serde_json::Value| {
            let names: Vec<String> = (0..columns).map(|column| column.to_string()).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let network = serde_json::from_value(network).unwrap();
            Signature::of(&network, &preprocess(&names, None)).unwrap()
        };
        let image = of(
            64,
            serde_json::json!({
                "input": {"height": 8, "width": 8, "channels": 1},
                "layers": [
                    {"conv2d": {"filters": 4, "kernelSize": 3, "padding": "Same"}}, {"flatten": {}}, {"dense": {"units": 1}},
                ],
            }),
        );
        assert_eq!(image.parameters, 4 * 9 + 4 + 256 + 1);
        assert!(image.work > 64 * (4 * 9 + 4) + 256, "{image:?}");
        let words = of(
            5,
            serde_json::json!({"layers": [
                {"embedding": {"vocabulary": 1000, "dimensions": 8}}, {"globalAveragePool": {}}, {"dense": {"units": 1}},
            ]}),
        );
        assert!(words.work < words.parameters / 10, "{words:?}");
    }

    #[test]
    fn names_what_contradicts_what() {
        for (network, preprocess, says) in [
            (
                network(&[1], Activation::Sigmoid),
                preprocess(&[], None),
                "no feature",
            ),
            (
                network(&[1], Activation::Sigmoid),
                preprocess(&["a", "a"], None),
                "\"a\" is there twice",
            ),
            (
                network(&[1], Activation::Sigmoid),
                preprocess(&["a"], Some(&["x"])),
                "1 classes",
            ),
            (
                network(&[2], Activation::Softmax),
                preprocess(&["a"], Some(&["x", "y", "z"])),
                "3 classes",
            ),
            (Network::of(vec![]), preprocess(&["a"], None), "1 to 64 layers"),
            (
                Network {
                    input: None,
                    layers: vec![Layer::default()],
                },
                preprocess(&["a"], None),
                "layers[0]: the last of layers must be dense",
            ),
        ] {
            let error = Signature::of(&network, &preprocess).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn texts_are_refused_where_the_network_cannot_look_them_up() {
        let network = |vocabulary: u32| -> Network {
            let embedding = serde_json::json!({"embedding": {"vocabulary": vocabulary, "dimensions": 2}});
            let layers = serde_json::json!([embedding, {"globalAveragePool": {}}, {"dense": {"units": 1}}]);
            serde_json::from_value(serde_json::json!({"layers": layers})).unwrap()
        };
        let of = |length: u32, words: &[&str]| {
            let mut texts = preprocess(&["review"], None);
            texts.features[0].text = Some(TextWords {
                length,
                words: words.iter().map(ToString::to_string).collect(),
            });
            texts
        };
        let signature = Signature::of(&network(4), &of(5, &["fine", "film"])).unwrap();
        assert_eq!((signature.inputs, signature.vocabulary), (5, Some(4)));
        for (network, preprocess, says) in [
            (network(3), of(5, &["fine", "film"]), "become 4 integers"),
            (
                network(4),
                of(0, &["fine", "film"]),
                "not of texts that have a length",
            ),
            (network(4), of(5, &["fine", "fine"]), "is there twice"),
            (
                self::network(&[1], Activation::Linear),
                of(5, &["fine"]),
                "does not look up",
            ),
        ] {
            let error = Signature::of(&network, &preprocess).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn an_output_means_a_class() {
        assert_eq!([0.49, 0.5, 1.0].map(|p| Signature::class(&[p])), [0, 1, 1]);
        assert_eq!(Signature::class(&[0.2, 0.5, 0.3]), 1);
        assert_eq!(Signature::class(&[0.4, 0.4, 0.2]), 0);
    }
}
