//! An artifact on disk: the same bytes for the same draft, and never a damaged one loaded.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use sconce_contract::{
    Activation, FailureClass, Feature, FileDigest, Layer, Metric, MetricName, MetricSplit, Mount, Network,
    Preprocess, Target,
};
use sconce_model::{Draft, Model, ModelError, save};
use sconce_store::Store;

const FILES: [&str; 4] = [
    "manifest.json",
    "network.json",
    "preprocess.json",
    "model.safetensors",
];

fn draft(run: &str) -> Draft {
    let tensor = |values: &[f32], shape: &[usize]| Tensor::from_slice(values, shape, &Device::Cpu).unwrap();
    Draft {
        name: "tumour".into(),
        run: run.into(),
        network: Network {
            input: None,
            layers: vec![
                Layer::dense(3, Activation::ReLU),
                Layer::dropout(0.5),
                Layer::dense(1, Activation::Sigmoid),
            ],
        },
        weights: BTreeMap::from([
            (
                "layers.0.weight".into(),
                tensor(&[1.0, 0.0, 0.0, 0.0, 1.0, 0.0], &[2, 3]),
            ),
            ("layers.0.bias".into(), tensor(&[0.0, 0.0, 0.0], &[3])),
            ("layers.2.weight".into(), tensor(&[2.0, -2.0, 7.0], &[3, 1])),
            ("layers.2.bias".into(), tensor(&[0.0], &[1])),
        ]),
        formats: Vec::new(),
        preprocess: Preprocess {
            features: vec![
                Feature::number("radius", 10.0, 2.0),
                Feature::number("texture", 5.0, 1.0),
            ],
            target: Target {
                name: "diagnosis".into(),
                classes: Some(vec!["benign".into(), "malignant".into()]),
            },
        },
        metrics: vec![Metric {
            name: MetricName::Accuracy,
            value: 0.97,
            split: MetricSplit::Test,
        }],
        data: FileDigest::of(b"data"),
        rows: 100,
        facts: Default::default(),
        seed: 42,
        hyperparameters: None,
        search: None,
        trainer: "0.1.0".into(),
    }
}

/// A store with one claim, and the folder of an artifact in it.
fn saved(folder: &Path) -> (Store, String, PathBuf) {
    let store = Store::new(vec![Mount {
        uri: "pvc://models".into(),
        path: folder.to_owned(),
    }]);
    let (manifest, artifact) = save(&store, "pvc://models/tumour", draft("a")).unwrap();
    assert_eq!(artifact.digest, manifest.digest());
    let path = folder
        .join("tumour")
        .join(artifact.digest.trim_start_matches("sha256:"));
    (store, artifact.uri, path)
}

#[test]
fn a_saved_model_answers_as_worked_out_by_hand() {
    let folder = tempfile::tempdir().unwrap();
    let (store, uri, _) = saved(folder.path());
    let model = Model::load(&store, &uri, None).unwrap();
    // (14 − 10) / 2 = 2 and (6 − 5) / 1 = 1, so 2·2 − 2·1 = 2; the mean gives 0.
    let outputs = model.predict(&[14.0, 6.0, 10.0, 5.0, 8.0, 9.0], 3).unwrap();
    let sigmoid = |x: f32| 1.0 / (1.0 + (-x).exp());
    for (output, expected) in outputs.iter().zip([sigmoid(2.0), 0.5, sigmoid(-8.0)]) {
        assert!((output - expected).abs() < 1e-6, "{output} instead of {expected}");
    }
    let labels: Vec<_> = outputs.chunks(1).map(|row| model.label(row).unwrap()).collect();
    assert_eq!(labels, ["malignant", "malignant", "benign"]);
    assert_eq!(
        (model.features().len(), model.outputs(), model.parameters()),
        (2, 1, 13)
    );
    assert!(matches!(model.predict(&[1.0], 1), Err(ModelError::Rows { .. })));
    assert!(model.predict(&[], 0).unwrap().is_empty());
}

#[test]
fn the_same_draft_gives_the_same_bytes_and_another_run_the_same_folder() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (store, uri, first) = saved(one.path());
    let (_, _, second) = saved(two.path());
    for file in FILES {
        assert_eq!(
            fs::read(first.join(file)).unwrap(),
            fs::read(second.join(file)).unwrap(),
            "{file}"
        );
    }
    let (manifest, artifact) = save(&store, "pvc://models/tumour", draft("b")).unwrap();
    assert_eq!((manifest.run.as_str(), artifact.uri), ("b", uri));
}

#[test]
fn a_model_that_is_not_the_one_asked_for_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (store, uri, path) = saved(folder.path());
    let digest = Model::load(&store, &uri, None).unwrap().manifest().digest();
    Model::load(&store, &uri, Some(&digest)).unwrap();
    let other = Model::load(&store, &uri, Some("sha256:00")).unwrap_err();
    assert!(matches!(other, ModelError::Digest { .. }), "{other}");
    assert_eq!(other.class(), FailureClass::BadInput);
    let missing = Model::load(&store, "pvc://models/none", None).unwrap_err();
    assert!(matches!(missing, ModelError::Missing { .. }), "{missing}");

    let manifest = fs::read_to_string(path.join("manifest.json")).unwrap();
    for (from, to, says) in [
        ("\"schema\": 1", "\"schema\": 2", "layout 2"),
        ("\"network.json\"", "\"../network.json\"", "not a usable name"),
        ("\"network.json\"", "\"manifest.json\"", "not a usable name"),
        ("\"network.json\"", "\"net.json\"", "net.json is missing"),
        ("\"size\": ", "\"size\": 9999999999999", "lists more than"),
    ] {
        assert!(manifest.contains(from));
        fs::write(path.join("manifest.json"), manifest.replace(from, to)).unwrap();
        let error = Model::load(&store, &uri, None).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn a_file_cut_or_flipped_anywhere_is_never_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let (store, uri, path) = saved(folder.path());
    let digest = Model::load(&store, &uri, None).unwrap().manifest().digest();
    for file in &FILES[1..] {
        let whole = fs::read(path.join(file)).unwrap();
        let refused = |bytes: &[u8], how: String| {
            fs::write(path.join(file), bytes).unwrap();
            let error = Model::load(&store, &uri, None).expect_err(&how);
            assert!(matches!(error, ModelError::Damaged { .. }), "{how}: {error}");
        };
        for end in 0..whole.len() {
            refused(&whole[..end], format!("{file} cut at {end}"));
        }
        refused(&[&whole[..], b"x"].concat(), format!("{file} longer"));
        for byte in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[byte] ^= 1 << (byte % 8);
            refused(&flipped, format!("{file} flipped at {byte}"));
        }
        fs::write(path.join(file), whole).unwrap();
    }
    // The manifest's own facts are not covered by the digest, but nothing in it makes another model load.
    let whole = fs::read(path.join("manifest.json")).unwrap();
    for byte in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[byte] ^= 1 << (byte % 8);
        fs::write(path.join("manifest.json"), &flipped).unwrap();
        if let Ok(model) = Model::load(&store, &uri, Some(&digest)) {
            assert_eq!(model.predict(&[10.0, 5.0], 1).unwrap(), [0.5]);
        }
        fs::write(path.join("manifest.json"), &whole[..byte]).unwrap();
        assert!(
            Model::load(&store, &uri, None).is_err() || byte == whole.len() - 1,
            "cut at {byte}"
        );
    }
}
