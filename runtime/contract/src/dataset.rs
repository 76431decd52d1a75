//! The table that a model learns from.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Network;
use crate::credentials::CredentialsRef;
use crate::network::{Misfit, layer_field};
use crate::validation::rules;

/// Where a table may be.
const URI: &str = r"^(file:///.+|pvc://[a-z0-9]([-.a-z0-9]*[a-z0-9])?/.+|configmap://[a-z0-9]([-.a-z0-9]*[a-z0-9])?/[-._a-zA-Z0-9]+|https?://[^/\s]\S*|(s3|gs|az)://[a-z0-9][-._a-z0-9]*/.+|hf://[^/\s]+/[^/\s]+/.+|hdfs://[^/@\s]*/.+)$";

/// A table, the column to predict and how its rows are split.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(&[
    ("!has(self.credentialsRef) || self.uri.matches('^(https?|hf|s3|gs|az|hdfs)://')", "dataset.credentialsRef goes with a dataset.uri of http(s), hf, s3, gs, az or hdfs: claims and ConfigMaps of the namespace need none"),
    ("has(self.images) == (has(self.format) && self.format == 'Images')", "dataset.images goes with dataset.format Images, which needs it"),
    ("has(self.text) || !has(self.format) || self.format != 'Text'", "dataset.format Text needs dataset.text"),
    ("!has(self.text) || (self.text.column != self.target && (!has(self.features) || self.features.size() == 0) && !has(self.categorical) && !has(self.images))", "dataset.text.column is the only feature, and not the target: leave features, categorical and images out"),
    ("!has(self.features) || !(self.target in self.features)", "dataset.features must not hold dataset.target: the model would be told the answer"),
])))]
pub struct Dataset {
    /// A file, or a folder that is read whole (docs/train.md): `pvc://CLAIM/PATH`, `configmap://NAME/KEY`, `http(s)://…`,
    /// `s3://BUCKET/PATH`, `gs://…`, `az://…`, `hdfs://…`, `hf://datasets/ORG/NAME[@REVISION]/PATH` or `file:///PATH` in the container.
    #[schemars(length(min = 1, max = 2048), regex(pattern = URI))]
    pub uri: String,
    /// A table of the rows to watch while training, in the place of `split.validation`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048), regex(pattern = URI))]
    pub validation_uri: Option<String>,
    /// A table of the rows for the final evaluation, in the place of `split.test`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048), regex(pattern = URI))]
    pub test_uri: Option<String>,
    /// What the server is shown. Absent: the pod's own identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_ref: Option<CredentialsRef>,
    /// Format of the table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<DatasetFormat>,
    /// Name of the column to predict. Text labels become classes, in alphabetical order.
    #[schemars(length(min = 1, max = 256))]
    pub target: String,
    /// Names of the columns to predict from. Default: every column but the target.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4096), inner(length(min = 1, max = 256)))]
    pub features: Vec<String>,
    /// How the rows are divided between training, validation and test.
    #[serde(default)]
    pub split: Split,
    /// Scale each feature to mean 0 and deviation 1 by the training rows; so does the server. One-hot words and texts stay.
    #[serde(default = "enabled")]
    pub standardize: bool,
    /// What becomes of a feature without a value: an empty cell, null, or a column that a row lacks.
    #[serde(default, skip_serializing_if = "Missing::is_refuse")]
    pub missing: Missing,
    /// How columns of words become numbers. Absent: one-hot, up to 100 words a column, others refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub categorical: Option<Categorical>,
    /// What becomes of rows that cannot be read. Absent: the first one ends the training.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub malformed_rows: Option<MalformedRows>,
    /// With format Images: the size that pictures are brought to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images: Option<Images>,
    /// Learns from a column of texts, by a network that begins with `embedding`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<Text>,
}

impl Dataset {
    /// Inputs of the network before words become several, where the spec tells.
    pub fn columns(&self) -> Option<u64> {
        match (&self.text, self.features.len()) {
            (Some(text), _) => Some(text.length.into()),
            (None, 0) => None,
            (None, features) => Some(features as u64),
        }
    }

    /// Refuses a network that could not look up the integers that texts become.
    ///
    /// # Errors
    /// What does not fit, named by its path in the spec of a ModelTraining.
    pub fn fits(&self, network: &Network) -> Result<(), Misfit> {
        let Some(text) = &self.text else {
            return Ok(());
        };
        match network.vocabulary() {
            None => Err(Misfit::new(
                layer_field(0),
                format!(
                    "dataset.text makes integers of words: begin with embedding, of vocabulary {}",
                    text.vocabulary
                ),
            )),
            Some(known) if known < text.vocabulary => Err(Misfit::new(
                format!("{}.embedding.vocabulary", layer_field(0)),
                format!(
                    "it is {known}, but dataset.text.vocabulary is {}: raise it, or lower the latter",
                    text.vocabulary
                ),
            )),
            Some(_) => Ok(()),
        }
    }

    /// Every table that it names, each with its field.
    pub fn uris(&self) -> Vec<(&'static str, &str)> {
        let uris = [
            ("dataset.uri", Some(&self.uri)),
            ("dataset.validationUri", self.validation_uri.as_ref()),
            ("dataset.testUri", self.test_uri.as_ref()),
        ];
        let given = uris
            .into_iter()
            .filter_map(|(field, uri)| Some((field, uri?.as_str())));
        given.collect()
    }
}

fn enabled() -> bool {
    true
}

/// Format of the table. Absent: inferred from the end of the URI, or of a folder's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DatasetFormat {
    /// Comma-separated values with a header row (RFC 4180).
    #[serde(rename = "CSV")]
    Csv,
    /// One JSON object per line, keyed by column.
    #[serde(rename = "JSONL")]
    Jsonl,
    /// Parquet, flat columns, uncompressed or by Snappy, Zstandard or gzip.
    Parquet,
    /// A folder of pictures (PNG, JPEG) in a folder per class, whose name is the target. See `images`.
    Images,
    /// A folder of texts (UTF-8) in a folder per class, whose name is the target. See `text`.
    Text,
}

/// How texts become integers. Words are runs of letters and digits, with apostrophes between them, in lower case. A text
/// becomes `length` integers: 0 before a shorter one, 1 for an unknown word, from 2 on the words by frequency.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Text {
    /// The column, the only feature; with format Text what requests call it.
    #[schemars(length(min = 1, max = 256))]
    pub column: String,
    /// Words of a text that count (1 to 4096); the others are cut.
    #[schemars(range(min = 1, max = 4096))]
    pub length: u32,
    /// Integers (3 to 1048576): 0 no word, 1 unknown, then the most frequent words of the training rows.
    #[schemars(range(min = 3, max = 1_048_576))]
    pub vocabulary: u32,
}

impl Default for Text {
    fn default() -> Self {
        Text {
            column: "text".to_owned(),
            length: 64,
            vocabulary: 10_000,
        }
    }
}

/// What becomes of a feature without a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Missing {
    /// The training ends with a sentence that says where it is.
    #[default]
    Refuse,
    /// The mean of the column takes its place, as measured on the training rows; of words the most frequent one, of texts
    /// one without words. The server does the same with null.
    Mean,
    /// As Mean, with the median.
    Median,
    /// The row is left out, also where its target has no value. The server refuses null.
    Drop,
}

impl Missing {
    /// Whether it is the default.
    pub fn is_refuse(&self) -> bool {
        *self == Missing::Refuse
    }

    /// Whether another value takes the place of one that is missing.
    pub fn fills(self) -> bool {
        matches!(self, Missing::Mean | Missing::Median)
    }
}

/// How columns of words become numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = rules(&[
    ("self.encoding == 'OneHot' || self.unknown == 'Refuse'", "categorical.unknown: Ignore goes with encoding OneHot: an index has no place for a word that is not known"),
])))]
pub struct Categorical {
    /// Columns that are words even where they look like numbers, such as postal codes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 256)), extend("x-kubernetes-list-type" = "set"))]
    pub columns: Vec<String>,
    /// What the network sees of a word.
    pub encoding: Encoding,
    /// What the server does with a word that the table does not hold.
    pub unknown: UnknownWords,
    /// Most different words of a column (2 to 10000); more are refused, as of a text or a key.
    #[schemars(range(min = 2, max = 10_000))]
    pub max_words: u32,
}

impl Default for Categorical {
    fn default() -> Self {
        Categorical {
            columns: Vec::new(),
            encoding: Encoding::OneHot,
            unknown: UnknownWords::Refuse,
            max_words: 100,
        }
    }
}

/// What the network sees of a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Encoding {
    /// An input for each word of the column, 1 for the one that is there and 0 for the others.
    OneHot,
    /// One input: the place of the word in alphabetical order, from 0, scaled like a number.
    Index,
}

/// What the server does with a word that the table does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum UnknownWords {
    /// It answers 400 and names the words that there are.
    Refuse,
    /// It takes the row as having none of the words.
    Ignore,
}

/// The size of pictures. A picture becomes height × width × channels features from 0 (dark) to 1, row by row, and the
/// channels of a pixel beside each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Images {
    /// Pixels from top to bottom (1 to 512).
    #[schemars(range(min = 1, max = 512))]
    pub height: u32,
    /// Pixels from left to right (1 to 512).
    #[schemars(range(min = 1, max = 512))]
    pub width: u32,
    /// 1 (grey), 3 (red, green, blue) or 4 (with transparency).
    #[schemars(range(min = 1, max = 4))]
    #[schemars(extend("x-kubernetes-validations" = rules(&[("self != 2", "images.channels is 1, 3 or 4")])))]
    pub channels: u32,
}

/// What becomes of rows that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MalformedRows {
    /// Most rows left out because they cannot be read (1 to 1000000); one more ends the training.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub skip_up_to: u32,
}

/// How rows are divided. What is neither validation nor test is for training.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = rules(&[
    ("self.validation >= 0.0 && self.test >= 0.0 && self.validation + self.test < 1.0",
     "split.validation and split.test must be at least 0, and their sum below 1"),
])))]
pub struct Split {
    /// Share of the rows on which the loss is watched while training, at least 0 and below 1.
    pub validation: f64,
    /// Share of the rows held out for the final evaluation, at least 0 and below 1.
    pub test: f64,
    /// Seed of the shuffle that decides which row goes where.
    #[schemars(range(max = 9_007_199_254_740_991_u64))]
    pub seed: u64,
}

impl Default for Split {
    fn default() -> Self {
        Split {
            validation: 0.1,
            test: 0.1,
            seed: 7,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn texts_need_an_embedding_that_holds_their_words() {
        let dataset: Dataset =
            serde_json::from_value(json!({"uri": "x.csv", "target": "y", "text": {"length": 7}})).unwrap();
        assert_eq!(dataset.columns(), Some(7));
        let fits = |first: serde_json::Value| {
            let network = json!({"layers": [first, {"globalAveragePool": {}}, {"dense": {"units": 1}}]});
            dataset.fits(&serde_json::from_value(network).unwrap())
        };
        let embedding = |words: u32| json!({"embedding": {"vocabulary": words, "dimensions": 2}});
        assert_eq!(fits(embedding(10_000)), Ok(()));
        let few = fits(embedding(9_999)).unwrap_err();
        assert_eq!(few.field, "model.network.layers[0].embedding.vocabulary");
        assert!(
            few.problem.contains("9999") && few.problem.contains("10000"),
            "{few:?}"
        );
        let none = fits(json!({"dense": {"units": 4}})).unwrap_err();
        assert_eq!(none.field, "model.network.layers[0]");
        assert!(
            none.problem.contains("begin with embedding, of vocabulary 10000"),
            "{none:?}"
        );
    }
}
