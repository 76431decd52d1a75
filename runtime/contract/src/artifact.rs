//! What a training leaves behind and a server reads.
//!
//! ```text
//! output.uri/<hex of the digest>/
//!   manifest.json       Manifest: every other file with its SHA-256, metrics, provenance
//!   network.json        Network
//!   preprocess.json     Preprocess: columns in order, their scale, the classes
//!   README.md           for people: what it is, where it came from, what it reaches; with curves.png, and neither in
//!                       the manifest nor in the digest
//!   model.safetensors   weights, `layers.<index>.<name>`, F32: names and shapes are those of the layer's Outline
//!   model.h5            the same for Keras, where it is asked for
//! ```

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Encoding, Hyperparameters, Metric, SearchRecord, UnknownWords, digest::sha256_hex};

/// Name of the manifest in an artifact's folder.
pub const MANIFEST_FILE: &str = "manifest.json";
/// Name of the network in an artifact's folder.
pub const NETWORK_FILE: &str = "network.json";
/// Name of the preprocessing in an artifact's folder.
pub const PREPROCESS_FILE: &str = "preprocess.json";
/// Name of the weights in an artifact's folder.
pub const WEIGHTS_FILE: &str = "model.safetensors";
/// Name of the model for Keras in an artifact's folder.
pub const KERAS_FILE: &str = "model.h5";

/// A format of a model beside our own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ModelFormat {
    /// `model.h5`, a Sequential that Keras 3 loads and that takes the table's rows.
    KerasH5,
}

/// Name of the model card in an artifact's folder.
pub const CARD_FILE: &str = "README.md";
/// Name of the picture in it.
pub const CURVES_FILE: &str = "curves.png";

/// Where an artifact is, and which one it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Artifact {
    /// URI of the artifact's folder.
    pub uri: String,
    /// `sha256:HEX` over the names and digests of its files.
    pub digest: String,
    /// Bytes of all its files.
    pub size_bytes: u64,
    /// Bytes of the file with the weights, which a server holds; the others may have them once more for other programs.
    /// Absent where somebody else's program made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights_bytes: Option<u64>,
}

/// What is in an artifact and where it came from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Version of this layout: 1.
    pub schema: u32,
    /// Name of the training.
    pub name: String,
    /// The run, see [`crate::TrainingPlan::run`].
    pub run: String,
    /// Every file but this one.
    pub files: BTreeMap<String, FileDigest>,
    /// What the model reached: on the held-out rows first, then on those that it learned from and watched.
    pub metrics: Vec<Metric>,
    /// The bytes that it learned from; of several files, the digest is that of the lines `SHA-256  PATH`.
    pub data: FileDigest,
    /// Rows of the table.
    pub rows: u64,
    /// What is in the table, and what the model confused.
    #[serde(default)]
    pub facts: Facts,
    /// Seed of the run.
    pub seed: u64,
    /// How it learned; absent where a trainer did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hyperparameters: Option<Hyperparameters>,
    /// The search that it came out of as the best.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search: Option<SearchRecord>,
    /// Version of the trainer.
    pub trainer: String,
}

/// Version of the layout that this code writes.
pub const MANIFEST_SCHEMA: u32 = 1;

impl Manifest {
    /// `sha256:HEX` over the files: two runs that learned the same bits have the same digest.
    pub fn digest(&self) -> String {
        let mut lines = String::new();
        for (name, file) in &self.files {
            lines.push_str(&format!("{}  {name}\n", file.sha256));
        }
        format!("sha256:{}", sha256_hex(lines.as_bytes()))
    }

    /// Bytes of all files.
    pub fn size_bytes(&self) -> u64 {
        self.files.values().map(|file| file.size).sum()
    }

    /// Bytes of the file with the weights.
    pub fn weights_bytes(&self) -> Option<u64> {
        self.files.get(WEIGHTS_FILE).map(|file| file.size)
    }
}

/// What is in a table, and what the model confused.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Facts {
    /// Rows left out while reading.
    #[serde(skip_serializing_if = "RowsLeftOut::is_none")]
    pub left_out: RowsLeftOut,
    /// The first [`COLUMNS_LIMIT`] features, as measured on the training rows before scaling.
    pub columns: Vec<ColumnFacts>,
    /// Features beyond those.
    #[serde(skip_serializing_if = "is_zero")]
    pub more_columns: u64,
    /// Rows of each class for each part; empty for a number.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<ClassFacts>,
    /// Held-out rows by their class and the one predicted, `[true][predicted]`, in the order of the classes; empty for
    /// a number, without held-out rows, and for more than [`CONFUSION_LIMIT`] classes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub confusion: Vec<Vec<u64>>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Most features that a manifest describes.
pub const COLUMNS_LIMIT: usize = 256;
/// Most classes of a confusion matrix.
pub const CONFUSION_LIMIT: usize = 64;

/// Rows that were left out of a table while it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RowsLeftOut {
    /// Rows that could not be read, by `dataset.malformedRows`.
    pub malformed: u64,
    /// Rows without a value, by `dataset.missing: Drop`.
    pub missing: u64,
    /// What is wrong with the first that could not be read, at most 256 bytes.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub first: String,
}

impl RowsLeftOut {
    /// Whether every row was taken.
    pub fn is_none(&self) -> bool {
        self.malformed == 0 && self.missing == 0
    }
}

/// What a feature holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ColumnFacts {
    /// Its name.
    pub name: String,
    /// Values that were missing.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub missing: u64,
    /// Different words, for a column of words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub words: Option<u64>,
    /// Of numbers: smallest, mean, greatest, and standard deviation of the values that are there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub numbers: Option<NumberFacts>,
    /// Of texts: how much of them the vocabulary holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub texts: Option<TextFacts>,
}

/// What a column of texts holds, in as many words of each as count.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TextFacts {
    /// Texts that are there.
    pub texts: u64,
    /// Their different words.
    pub words: u64,
    /// Those in the vocabulary.
    pub kept: u64,
    /// Share of all their words that is unknown, 0 to 1.
    pub unknown: f64,
}

/// What a column of numbers holds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NumberFacts {
    /// Smallest.
    pub min: f64,
    /// Mean.
    pub mean: f64,
    /// Greatest.
    pub max: f64,
    /// Standard deviation of the rows themselves; 0 says that the column is constant.
    pub deviation: f64,
}

/// Rows of a class.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClassFacts {
    /// Its name.
    pub name: String,
    /// Rows to learn from.
    pub train: u64,
    /// Rows watched.
    pub validation: u64,
    /// Rows held out.
    pub test: u64,
}

/// Digest and size of some bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FileDigest {
    /// Lower-case hexadecimal.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
}

impl FileDigest {
    /// Of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        FileDigest {
            sha256: sha256_hex(bytes),
            size: bytes.len() as u64,
        }
    }
}

/// How a row of the table becomes the input of the network, and its output an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Preprocess {
    /// The columns, in the order of the network's inputs.
    pub features: Vec<Feature>,
    /// What is predicted.
    pub target: Target,
}

/// A column: the network sees `(x − mean) / scale` of a number, what [`Vocabulary::encoding`] says of a word, or the
/// integers of a text's words.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Feature {
    /// Name in the table's header.
    pub name: String,
    /// Subtracted first; 0 where the features are not standardised.
    pub mean: f64,
    /// Divided by next; 1 where the features are not standardised or the column is constant.
    pub scale: f64,
    /// What takes the place of a value that is missing, before it is scaled: a number, or the place of a word. Absent:
    /// none may be missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<f64>,
    /// The words of a column of words; absent for numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vocabulary: Option<Vocabulary>,
    /// The words of a column of texts; absent for others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<TextWords>,
}

/// How the texts of a column become integers: the place of a word, from 2 on; 1 for a word that is not among them; 0 in
/// front of a text that is shorter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TextWords {
    /// Integers of a text; its words behind are cut.
    pub length: u32,
    /// The words by frequency, those of the same in alphabetical order.
    pub words: Vec<String>,
}

/// The words of a column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Vocabulary {
    /// In alphabetical order (by code point).
    pub words: Vec<String>,
    /// What the network sees of a word.
    pub encoding: Encoding,
    /// What is done with a word that is not among them.
    pub unknown: UnknownWords,
}

impl Feature {
    /// A column of numbers, none of which may be missing.
    pub fn number(name: impl Into<String>, mean: f64, scale: f64) -> Self {
        Feature {
            name: name.into(),
            mean,
            scale,
            missing: None,
            vocabulary: None,
            text: None,
        }
    }

    /// Inputs of the network that the column becomes.
    pub fn width(&self) -> usize {
        match &self.vocabulary {
            Some(vocabulary) if vocabulary.encoding == Encoding::OneHot => vocabulary.words.len(),
            _ => self.raw_width(),
        }
    }

    /// Raw values of the column in a row: of a text its integers, otherwise one.
    pub fn raw_width(&self) -> usize {
        self.text.as_ref().map_or(1, |text| text.length as usize)
    }

    /// Whether it is told in text: a word, or a whole one.
    pub fn is_told_in_text(&self) -> bool {
        self.vocabulary.is_some() || self.text.is_some()
    }
}

/// What is predicted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Target {
    /// Name in the table's header.
    pub name: String,
    /// The classes in the order of their indices; absent for a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classes: Option<Vec<String>>,
}
