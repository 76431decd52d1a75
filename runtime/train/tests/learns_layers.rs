//! Networks of every kind of layer: trained, saved and loaded as the server loads them, they say the same.

#![allow(clippy::unwrap_used, clippy::panic)] // A test fails by panicking.

mod rehearsal;

use rehearsal::{Rehearsal, metric};
use sconce_contract::{MetricName, Split};
use sconce_model::Model;
use sconce_store::Store;
use sconce_train::split;
use serde_json::{Value, json};

/// Numbers below a bound, the same on every machine.
struct Numbers(u32);

impl Numbers {
    fn below(&mut self, bound: u32) -> u32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.0 >> 16) % bound
    }
}

/// Rows of values with a class each.
struct Rows {
    values: Vec<Vec<f32>>,
    classes: Vec<&'static str>,
}

impl Rows {
    fn of(rows: usize, mut row: impl FnMut(&mut Numbers) -> (Vec<f32>, &'static str)) -> Self {
        let mut numbers = Numbers(7);
        let (values, classes) = (0..rows).map(|_| row(&mut numbers)).unzip();
        Rows { values, classes }
    }

    fn table(&self) -> String {
        let header: String = (0..self.values[0].len())
            .map(|column| format!("c{column},"))
            .collect();
        let mut text = format!("{header}y\n");
        for (values, class) in self.values.iter().zip(&self.classes) {
            values
                .iter()
                .for_each(|value| text.push_str(&format!("{value},")));
            text.push_str(&format!("{class}\n"));
        }
        text
    }
}

/// Images of 5 x 5 points with a bright line that lies or stands, under noise.
fn lines() -> Rows {
    Rows::of(300, |numbers| {
        let (lies, place) = (numbers.below(2) == 0, numbers.below(5) as usize);
        let mut image: Vec<f32> = (0..25).map(|_| numbers.below(40) as f32 / 100.0).collect();
        for along in 0..5 {
            let point = if lies {
                place * 5 + along
            } else {
                along * 5 + place
            };
            image[point] += 0.6;
        }
        (image, if lies { "lying" } else { "standing" })
    })
}

/// Trains it, and holds what the trainer measured on the test rows against what the loaded model says of them.
#[track_caller]
fn learns(rows: &Rows, network: Value, settings: Value, at_least: f64) {
    let split = json!({"validation": 0.1, "test": 0.3, "seed": 5});
    let rehearsal = Rehearsal::of(&rows.table())
        .with("network", network)
        .with("dataset.split", split.clone())
        .with("dataset.standardize", json!(false))
        .with("hyperparameters", settings);
    let (metrics, artifact) = rehearsal.train();
    let accuracy = metric(&metrics, MetricName::Accuracy);
    assert!(accuracy >= at_least, "{metrics:?}");

    let mounts = serde_json::from_value(rehearsal.plan["mounts"].clone()).unwrap();
    let model = Model::load(&Store::new(mounts), &artifact.uri, Some(&artifact.digest)).unwrap();
    let split: Split = serde_json::from_value(split).unwrap();
    let test = split::split(rows.values.len(), &split).unwrap().test;
    let (mut right, mut loss) = (0, 0.0);
    for &row in &test {
        let outputs = model.predict(&rows.values[row], 1).unwrap();
        let class = rows.classes[row];
        right += usize::from(model.label(&outputs) == Some(class));
        let index = model
            .classes()
            .unwrap()
            .iter()
            .position(|name| name == class)
            .unwrap();
        loss -= f64::from(outputs[index]).ln() / test.len() as f64;
    }
    assert!((right as f64 / test.len() as f64 - accuracy).abs() < 1e-9);
    let measured = metric(&metrics, MetricName::Loss);
    assert!(
        (loss - measured).abs() < 1e-4 * measured.max(1e-2),
        "{loss} is not {measured}"
    );
    // A run is the same to the bit.
    assert_eq!(rehearsal.train().1.digest, artifact.digest);
}

fn settings(epochs: u32) -> Value {
    json!({"epochs": epochs, "batchSize": 16, "optimizer": {"learningRate": 0.01}})
}

#[test]
fn images_by_convolutions_and_pools() {
    let network = json!({
        "input": {"height": 5, "width": 5},
        "layers": [
            {"conv2d": {"filters": 8, "kernelSize": 3, "padding": "Same", "activation": "ReLU"}},
            {"maxPool2d": {"poolSize": 2}},
            {"conv2d": {"filters": 8, "kernelSize": 2, "activation": "ReLU"}},
            {"flatten": {}},
            {"dropout": {"rate": 0.1}},
            {"dense": {"units": 2, "activation": "Softmax"}},
        ],
    });
    learns(&lines(), network, settings(12), 0.9);
}

#[test]
fn sequences_by_convolutions_and_a_mean() {
    // A wave that is fast or slow, at any phase.
    let waves = Rows::of(240, |numbers| {
        let (fast, phase) = (numbers.below(2) == 0, f64::from(numbers.below(100)) / 16.0);
        let pace = if fast { 1.6 } else { 0.5 };
        let wave = (0..24).map(|step| (phase + pace * f64::from(step)).sin() as f32);
        (wave.collect(), if fast { "fast" } else { "slow" })
    });
    let network = json!({
        "input": {"length": 24},
        "layers": [
            {"conv1d": {"filters": 8, "kernelSize": 5, "stride": 2, "activation": "ReLU"}},
            {"averagePool1d": {"poolSize": 2}},
            {"globalAveragePool": {}},
            {"dense": {"units": 2, "activation": "Softmax"}},
        ],
    });
    learns(&waves, network, settings(12), 0.9);
}

/// Words of 8 letters of which one is a 5, or none.
fn words() -> Rows {
    Rows::of(300, |numbers| {
        let mut word: Vec<f32> = (0..8).map(|_| numbers.below(5) as f32).collect();
        let holds = numbers.below(2) == 0;
        if holds {
            word[numbers.below(8) as usize] = 5.0;
        }
        (word, if holds { "with" } else { "without" })
    })
}

fn embedded(layers: &Value) -> Value {
    let mut all = vec![json!({"embedding": {"vocabulary": 6, "dimensions": 8}})];
    all.extend(layers.as_array().unwrap().iter().cloned());
    all.push(json!({"dense": {"units": 2, "activation": "Softmax"}}));
    json!({"layers": all})
}

#[test]
fn integers_by_recurrent_layers() {
    let network = embedded(&json!([
        {"gru": {"units": 16, "returnSequences": true}},
        {"lstm": {"units": 16}},
    ]));
    learns(&words(), network, settings(20), 0.9);
}

#[test]
fn integers_by_a_transformer() {
    let network = embedded(&json!([
        {"positionEmbedding": {}},
        {"transformerBlock": {"heads": 2, "feedForward": 32, "dropout": 0.05}},
        {"attention": {"heads": 1, "causal": true}},
        {"layerNorm": {}},
        {"flatten": {}},
    ]));
    learns(&words(), network, settings(20), 0.9);
}

#[test]
fn integers_that_the_vocabulary_lacks_are_refused_before_anything_is_learned() {
    let mut words = words();
    words.values[9][3] = 6.0;
    let rehearsal = Rehearsal::of(&words.table()).with("network", embedded(&json!([{"flatten": {}}])));
    let failure = rehearsal.refuse();
    assert_eq!(failure.field.as_deref(), Some("dataset.standardize"));
    let failure = rehearsal.with("dataset.standardize", json!(false)).refuse();
    assert_eq!(
        failure.field.as_deref(),
        Some("model.network.layers[0].embedding.vocabulary")
    );
    assert!(
        failure.message.contains("row 10 holds 6 in the column \"c3\""),
        "{}",
        failure.message
    );
}

#[test]
fn integers_that_are_missing_are_filled_by_one_that_the_embedding_has() {
    let table = words().table();
    let (header, rows) = table.split_once('\n').unwrap();
    let (cell, rest) = rows.split_once(',').unwrap();
    assert!(cell.parse::<f64>().is_ok(), "{cell}");
    let rehearsal = Rehearsal::of(&format!("{header}\n,{rest}"))
        .with("network", embedded(&json!([{"flatten": {}}])))
        .with("dataset.standardize", json!(false))
        .with("hyperparameters", settings(1));
    let rehearsal = rehearsal.with("dataset.missing", json!("Mean"));
    let failure = rehearsal.refuse();
    assert_eq!(failure.field.as_deref(), Some("dataset.missing"), "{failure:?}");
    assert!(
        failure.message.contains("the column \"c0\" lacks values"),
        "{}",
        failure.message
    );
    rehearsal.with("dataset.missing", json!("Median")).train();
}

#[test]
fn images_by_a_residual_network() {
    let convolution = json!({"conv2d": {"filters": 6, "kernelSize": 3, "padding": "Same"}});
    let network = json!({
        "input": {"height": 5, "width": 5},
        "layers": [
            convolution,
            {"batchNorm": {}},
            {"activation": "ReLU"},
            convolution,
            {"residual": {"over": 3}},
            {"rmsNorm": {}},
            {"averagePool2d": {"poolSize": 5}},
            {"flatten": {}},
            {"dense": {"units": 2, "activation": "Softmax"}},
        ],
    });
    learns(&lines(), network, settings(25), 0.85);
}

#[test]
fn an_image_of_other_columns_is_refused_before_anything_is_learned() {
    let network = json!({
        "input": {"height": 5, "width": 6},
        "layers": [{"flatten": {}}, {"dense": {"units": 2, "activation": "Softmax"}}],
    });
    let failure = Rehearsal::of(&lines().table()).with("network", network).refuse();
    assert_eq!(failure.field.as_deref(), Some("model.network.input"));
    assert!(
        failure
            .message
            .contains("is 30 numbers, but a row has 25 feature column(s)"),
        "{}",
        failure.message
    );
}
