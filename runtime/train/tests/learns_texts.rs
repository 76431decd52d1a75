//! Texts, from a table or a folder to a model that answers to texts.

#![allow(clippy::needless_pass_by_value)] // What a json! makes is nobody else's.
#![allow(clippy::unwrap_used, clippy::panic)] // A test fails by panicking.

mod rehearsal;

use std::fs;

use rehearsal::{Rehearsal, metric};
use sconce_contract::{Artifact, Dataset, FailureClass, MetricName, Report, TextFacts};
use sconce_model::{Model, text::Lookup};
use sconce_store::Store;
use sconce_train::split;
use serde::Deserialize;
use serde_json::{Value, json};

/// What scikit-learn says of some texts, see `golden/texts.py`.
#[derive(Deserialize)]
struct Golden {
    length: u32,
    vocabulary: u32,
    different: u64,
    words: Vec<String>,
    texts: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    text: String,
    words: Vec<String>,
    integers: Vec<f32>,
}

const GOLDEN: &str = include_str!("golden/texts.json");

/// Of texts in a file of a name, with a network behind the embedding.
fn of(name: &str, table: &str, network: Value) -> Rehearsal {
    let mut layers = vec![json!({"embedding": {"vocabulary": 50, "dimensions": 4}})];
    layers.extend(network.as_array().unwrap().iter().cloned());
    layers.push(json!({"dense": {"units": 1, "activation": "Sigmoid"}}));
    Rehearsal::of("")
        .write(name, table)
        .with("dataset.uri", json!(format!("pvc://data/{name}")))
        .with("dataset.text", json!({"length": 6, "vocabulary": 50}))
        .with("network.layers", json!(layers))
        .with(
            "hyperparameters",
            json!({"epochs": 30, "batchSize": 8, "optimizer": {"type": "Adam", "learningRate": 0.02}}),
        )
}

fn pooled() -> Value {
    json!([{"globalAveragePool": {}}])
}

/// Texts with their class: whether they praise.
fn opinions() -> Vec<(String, &'static str)> {
    let (good, bad) = (["fine", "lovely", "great"], ["dull", "awful", "poor"]);
    let things = ["film", "book", "meal", "trip", "song"];
    let opinions = (0..120).map(|row| {
        let thing = things[row * 7 % 5];
        let (word, y) = match row * 5 % 11 < 6 {
            true => (good[row % 3], "yes"),
            false => (bad[row % 3], "no"),
        };
        let text = match row % 4 {
            0 => format!("A {word} {thing}!"),
            1 => format!("What a {word}, {word} {thing} it was"),
            2 => format!("{thing}: {}", word.to_uppercase()),
            _ => format!("I'd call that {thing} {word}"),
        };
        (text, y)
    });
    // In the order in which a folder per class is read.
    let mut opinions: Vec<_> = opinions.collect();
    opinions.sort_by_key(|(_, y)| *y);
    opinions
}

fn csv() -> String {
    let rows = opinions()
        .into_iter()
        .map(|(text, y)| format!("\"{text}\",{y}\n"));
    format!("text,y\n{}", rows.collect::<String>())
}

fn model(rehearsal: &Rehearsal, artifact: &Artifact) -> Model {
    let plan: sconce_contract::TrainingPlan = serde_json::from_value(rehearsal.plan.clone()).unwrap();
    Model::load(&Store::new(plan.mounts), &artifact.uri, Some(&artifact.digest)).unwrap()
}

/// The classes of texts by the model, as its server reads and computes them.
fn answers(model: &Model, texts: &[&str]) -> Vec<String> {
    let words = model.features()[0].text.as_ref().unwrap();
    let (lookup, width) = (Lookup::new(words), words.length as usize);
    let mut rows = vec![0.0; texts.len() * width];
    for (text, row) in texts.iter().zip(rows.chunks_mut(width)) {
        lookup.encode(text, row);
    }
    let outputs = model.predict(&rows, texts.len()).unwrap();
    let labels = outputs
        .chunks(model.outputs())
        .map(|output| model.label(output).unwrap().to_owned());
    labels.collect()
}

/// Trains, and checks that what the trainer measured on the test rows is what the saved model answers to their texts.
fn agrees(rehearsal: &Rehearsal, rows: &[(String, &str)], at_least: f64) -> Artifact {
    let (metrics, artifact) = rehearsal.train();
    let accuracy = metric(&metrics, MetricName::Accuracy);
    assert!(accuracy >= at_least, "{metrics:?}");
    let dataset: Dataset = serde_json::from_value(rehearsal.plan["dataset"].clone()).unwrap();
    let test = split::split(rows.len(), &dataset.split).unwrap().test;
    let texts: Vec<&str> = test.iter().map(|row| rows[*row].0.as_str()).collect();
    let answers = answers(&model(rehearsal, &artifact), &texts);
    let right = answers
        .iter()
        .zip(&test)
        .filter(|(answer, row)| *answer == rows[**row].1)
        .count();
    assert!(
        (right as f64 / test.len() as f64 - accuracy).abs() < 1e-9,
        "{right} of {}",
        test.len()
    );
    artifact
}

#[test]
fn the_example_of_texts_passes_its_gates_and_answers_to_texts_as_it_was_measured() {
    let table = include_str!("../../../examples/sentiment/data/messages.csv");
    let layers = json!([
        {"embedding": {"vocabulary": 4000, "dimensions": 16}},
        {"globalAveragePool": {}},
        {"dropout": {"rate": 0.3}},
        {"dense": {"units": 1, "activation": "Sigmoid"}},
    ]);
    let rehearsal = Rehearsal::of("")
        .write("messages.csv", table)
        .with("dataset.uri", json!("pvc://data/messages.csv"))
        .with("dataset.target", json!("mood"))
        .with(
            "dataset.text",
            json!({"column": "message", "length": 32, "vocabulary": 4000}),
        )
        .with("network.layers", layers)
        .with(
            "hyperparameters",
            json!({"epochs": 6, "optimizer": {"type": "Adam", "learningRate": 0.01}}),
        );
    let records: Vec<(String, &str)> = csv::Reader::from_reader(table.as_bytes())
        .records()
        .map(|record| {
            let record = record.unwrap();
            let mood = if &record[1] == "positive" {
                "positive"
            } else {
                "negative"
            };
            (record[0].trim().to_owned(), mood)
        })
        .collect();
    let artifact = agrees(&rehearsal, &records, 0.8);
    let model = model(&rehearsal, &artifact);
    let moods = answers(
        &model,
        &[
            "What a wonderful day, I love it!",
            "I hate this awful, stupid rain.",
        ],
    );
    assert_eq!(moods, ["positive", "negative"]);
    let facts = model.manifest().facts.columns[0].texts.unwrap();
    assert_eq!(facts.kept, 3_998, "the vocabulary is full: {facts:?}");
    assert!(
        facts.words > facts.kept && facts.unknown > 0.0 && facts.unknown < 0.2,
        "{facts:?}"
    );
}

#[test]
fn a_convolution_and_a_recurrent_layer_learn_the_words_of_texts() {
    let convolution = json!([
        {"conv1d": {"filters": 8, "kernelSize": 2, "activation": "ReLU"}}, {"globalAveragePool": {}},
    ]);
    for network in [pooled(), convolution, json!([{"lstm": {"units": 8}}])] {
        let rehearsal = of("table.csv", &csv(), network);
        agrees(&rehearsal, &opinions(), 1.0);
    }
}

#[test]
fn an_incumbent_of_texts_reads_them_by_its_own_words_and_length() {
    let gates = json!({"gates": [{"metric": "logLoss", "beats": "Incumbent"}]});
    let first = of("table.csv", &csv(), pooled())
        .with("dataset.text.length", json!(4))
        .with("evaluation", gates);
    let (metrics, artifact) = first.train();
    let next = first
        .with(
            "incumbent",
            json!({"uri": artifact.uri, "digest": artifact.digest}),
        )
        .with("dataset.text.length", json!(6));
    let Report::Trained { incumbent, .. } = next.run().unwrap() else {
        panic!("not trained")
    };
    let found = incumbent.unwrap();
    let difference = metric(&found.metrics, MetricName::LogLoss) - metric(&metrics, MetricName::LogLoss);
    assert!(difference.abs() < 1e-6, "{found:?} {metrics:?}");
    let shorter = next.with("dataset.text.length", json!(3));
    let failure = shorter.run().unwrap_err().failure();
    assert!(
        failure
            .message
            .contains("it reads 4 words of the column \"text\", but dataset.text.length is 3"),
        "{failure:?}"
    );
    assert_eq!(failure.field.as_deref(), Some("evaluation.gates"));
}

#[test]
fn a_column_of_a_table_and_a_folder_per_class_give_the_same_model() {
    let rows = opinions();
    let (_, of_csv) = of("table.csv", &csv(), pooled()).train();
    let lines: String = rows
        .iter()
        .map(|(text, y)| json!({"id": 7, "text": text, "y": y}).to_string() + "\n")
        .collect();
    let (_, of_jsonl) = of("table.jsonl", &lines, pooled()).train();
    assert_eq!(
        of_jsonl.digest, of_csv.digest,
        "what is not asked for is not read"
    );
    let folder = of("unused.csv", "", pooled())
        .with("dataset.uri", json!("pvc://data/texts"))
        .with("dataset.format", json!("Text"));
    for (row, (text, y)) in rows.iter().enumerate() {
        let class = folder.path(&format!("texts/{y}"));
        fs::create_dir_all(&class).unwrap();
        fs::write(class.join(format!("{row:03}.txt")), text).unwrap();
    }
    let (_, of_folder) = folder.train();
    assert_eq!(of_folder.digest, of_csv.digest);
}

#[test]
fn golden_words_vocabulary_and_integers_are_those_of_scikit_learn() {
    let golden: Golden = serde_json::from_str(GOLDEN).unwrap();
    assert!(golden.texts.len() > 100);
    let lines: String = golden
        .texts
        .iter()
        .enumerate()
        .map(|(row, case)| json!({"text": case.text, "y": (["no", "yes"][row % 2])}).to_string() + "\n")
        .collect();
    let layers = json!([
        {"embedding": {"vocabulary": golden.vocabulary, "dimensions": 2}},
        {"globalAveragePool": {}},
        {"dense": {"units": 1, "activation": "Sigmoid"}},
    ]);
    let rehearsal = of("table.jsonl", &lines, pooled())
        .with(
            "dataset.text",
            json!({"length": golden.length, "vocabulary": golden.vocabulary}),
        )
        .with("dataset.split", json!({"validation": 0.0, "test": 0.0}))
        .with("network.layers", layers)
        .with("hyperparameters", json!({"epochs": 1}));
    let (_, artifact) = rehearsal.train();
    let model = model(&rehearsal, &artifact);
    let words = model.features()[0].text.as_ref().unwrap();
    assert_eq!(words.words, golden.words);
    let lookup = Lookup::new(words);
    for case in &golden.texts {
        let lowered = sconce_model::text::lowered(&case.text);
        let found: Vec<&str> = sconce_model::text::words(&lowered).collect();
        assert_eq!(found, case.words, "{:?}", case.text);
        let mut row = vec![0.0; golden.length as usize];
        lookup.encode(&case.text, &mut row);
        assert_eq!(row, case.integers, "{:?}", case.text);
    }
    let all = golden
        .texts
        .iter()
        .flat_map(|case| &case.integers)
        .filter(|integer| **integer > 0.0)
        .count();
    let unknown = golden
        .texts
        .iter()
        .flat_map(|case| &case.integers)
        .filter(|integer| **integer == 1.0)
        .count();
    let found = model.manifest().facts.columns[0].texts.unwrap();
    let expected = TextFacts {
        texts: golden.texts.len() as u64,
        words: golden.different,
        kept: golden.words.len() as u64,
        // Read from JSON, it may have lost its last bit.
        unknown: found.unknown,
    };
    assert_eq!(found, expected);
    assert!(
        (found.unknown - unknown as f64 / all as f64).abs() < 1e-12,
        "{found:?}"
    );
}

#[test]
fn texts_without_words_are_learned_from_and_missing_ones_follow_the_spec() {
    let table = csv() + "?!,no\n,yes\n";
    let failure = of("table.csv", &table, pooled()).refuse();
    assert!(
        failure.message.contains(
            "line 123, column \"text\": the cell is empty; fill it in, or set dataset.missing to Drop"
        ),
        "{failure:?}"
    );
    let dropped = of("table.csv", &table, pooled()).with("dataset.missing", json!("Drop"));
    let Report::Trained { left_out, .. } = dropped.run().unwrap() else {
        panic!("not trained")
    };
    assert_eq!((left_out.malformed, left_out.missing), (0, 1));
    let filled = of("table.csv", &table, pooled()).with("dataset.missing", json!("Mean"));
    let (_, artifact) = filled.train();
    assert_eq!(model(&filled, &artifact).features()[0].missing, Some(0.0));
}

#[test]
fn bad_texts_and_plans_are_told_with_field_place_and_remedy() {
    let jsonl = |second: &str| {
        format!("{{\"text\": \"a\", \"y\": \"no\"}}\n{{\"text\": {second}, \"y\": \"yes\"}}\n")
    };
    let lines = |second: &str| of("table.jsonl", &jsonl(second), pooled());
    let plain = || of("table.csv", &csv(), pooled());
    let dense = json!([{"dense": {"units": 1, "activation": "Sigmoid"}}]);
    for (rehearsal, field, says) in [
        (
            lines("5"),
            "dataset.text.column",
            "line 2, column \"text\": 5 is not a text; write it as a text",
        ),
        (
            lines("[1]"),
            "dataset.features",
            "line 2, column \"text\": the value is a list or an object",
        ),
        (
            of("table.csv", "text,y\n?,no\n!,yes\n", pooled()),
            "dataset.text.column",
            "no text of the column \"text\" holds a word",
        ),
        (
            plain().with("dataset.text.column", json!("txt")),
            "dataset.text.column",
            "the table has no column \"txt\"",
        ),
        (
            plain().with("dataset.text.column", json!("y")),
            "dataset.text.column",
            "which is not the target",
        ),
        (
            plain().with("dataset.text.length", json!(0)),
            "dataset.text.length",
            "between 1 and 4096",
        ),
        (
            plain().with("dataset.text.vocabulary", json!(2)),
            "dataset.text.vocabulary",
            "between 3 and 1048576",
        ),
        (
            plain().with("dataset.text.vocabulary", json!(51)),
            "model.network.layers[0].embedding.vocabulary",
            "it is 50, but dataset.text.vocabulary is 51: raise it, or lower the latter",
        ),
        (
            plain().with("network.layers", dense),
            "model.network.layers[0]",
            "begin with embedding, of vocabulary 50",
        ),
        (
            plain().with("dataset.features", json!(["text"])),
            "dataset.text",
            "its column is the only feature",
        ),
        (
            plain()
                .with("dataset.text", Value::Null)
                .with("dataset.format", json!("Text")),
            "dataset.text",
            "goes with dataset.format Text",
        ),
        (
            of("one.txt", "a text", pooled()),
            "dataset.uri",
            "the file lies in no folder within dataset.uri: put the files of each class",
        ),
        (
            of("one.txt", "a text", pooled())
                .with("dataset.text", Value::Null)
                .with("dataset.standardize", json!(false)),
            "dataset.text",
            "texts need dataset.text",
        ),
    ] {
        let failure = rehearsal.refuse();
        assert!(failure.message.contains(says), "{says}\n{failure:?}");
        assert_eq!(failure.field.as_deref(), Some(field), "{failure:?}");
        assert_eq!(failure.class, FailureClass::BadInput);
    }
    let folder = of("unused.csv", "", pooled())
        .with("dataset.uri", json!("pvc://data/texts"))
        .with("dataset.format", json!("Text"));
    for (name, bytes) in [
        ("no/1.txt", &b""[..]),
        ("yes/2.txt", b"fine"),
        ("yes/3.txt", b"caf\xe9"),
    ] {
        let path = folder.path(&format!("texts/{name}"));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    let failure = folder.refuse();
    assert!(
        failure.message.contains("yes/3.txt: the text is not UTF-8"),
        "{failure:?}"
    );
    let skipped = folder
        .with("dataset.malformedRows", json!({"skipUpTo": 1}))
        .with("dataset.split", json!({"validation": 0.0, "test": 0.0}));
    let Report::Trained { left_out, .. } = skipped.run().unwrap() else {
        panic!("not trained")
    };
    assert_eq!(left_out.malformed, 1, "and the empty text is a row");
}
