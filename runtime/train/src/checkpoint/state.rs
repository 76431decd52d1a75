//! A checkpoint as files, and back.

use std::collections::{BTreeMap, HashMap};

use candle_core::Tensor;
use sconce_contract::digest::sha256_hex;
use sconce_contract::history::Gatherer;
use sconce_contract::{CheckpointMark, FailureClass, FileDigest};
use sconce_engine::Learner;
use sconce_model::weights::{self, Numbers};
use sconce_store::StoreError;
use serde::{Deserialize, Serialize};

use crate::track::Curve;

/// Name of the record in a checkpoint's folder.
pub(super) const RECORD_FILE: &str = "checkpoint.json";
/// Name of the numbers in a checkpoint's folder.
pub(super) const STATE_FILE: &str = "state.safetensors";
/// Version of the layout that this code writes and reads.
const SCHEMA: u32 = 1;
/// What stands before the names of the optimiser's tensors.
const OPTIMISER: &str = "optimizer.";
/// Name of the weights of the best epoch.
const BEST: &str = "best";
/// Longest record; ours have about a kilobyte, and the curve at most 100.
pub(super) const RECORD_LIMIT: u64 = 1 << 20;
/// Digits of the record's SHA-256 in the folder's name.
const DIGITS: usize = 16;

/// What is learned, from what, by whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Subject {
    /// Name of the training.
    pub name: String,
    /// The run, see [`sconce_contract::TrainingPlan::run`].
    pub run: String,
    /// Hash over what the plan says of network, data set and hyperparameters: a plan that is written by hand may
    /// call different things the same run.
    pub asked: String,
    /// The bytes that it learns from: the URI may be the same and the table another.
    pub data: FileDigest,
    /// Version of the trainer.
    pub trainer: String,
}

/// How far a run is, at the boundary of two steps.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Position {
    /// Finished steps.
    pub step: u64,
    /// The epoch that is at work, from 0. The last one stays at work when all its steps are done.
    pub epoch: u32,
    /// Finished steps of that epoch.
    pub batch: u64,
    /// Sum of their losses.
    #[serde(with = "bits")]
    pub loss_sum: f64,
    /// Loss on the validation rows after the epoch before.
    #[serde(with = "maybe_bits")]
    pub validation_loss: Option<f64>,
    /// The best epoch so far, where early stopping looks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best: Option<Best>,
    /// How the losses went; for people, so not to the bit.
    pub losses: Gatherer,
    /// Likewise on the validation rows.
    pub validation_losses: Gatherer,
    /// Likewise with what else is measured after an epoch.
    #[serde(default)]
    pub curve: Curve,
}

/// The epoch with the best loss on the validation rows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Best {
    /// The epoch, from 0.
    pub epoch: u32,
    /// Its loss.
    #[serde(with = "bits")]
    pub loss: f64,
    /// The weights after it, one after another; empty where nobody wants them back. They are saved with the numbers.
    #[serde(skip)]
    pub weights: Vec<f32>,
}

impl Position {
    /// Mean loss over the finished steps of the epoch.
    pub fn mean_loss(&self) -> f64 {
        self.loss_sum / self.batch.max(1) as f64
    }

    /// What is told of a checkpoint of this position.
    pub(super) fn mark(&self, uri: String, time: i64) -> CheckpointMark {
        CheckpointMark {
            step: self.step,
            epoch: self.epoch,
            time,
            uri,
        }
    }
}

/// What was saved.
#[derive(Debug)]
pub struct Saved {
    /// How far the run was.
    pub position: Position,
    /// The network's weights, by name.
    pub weights: HashMap<String, Tensor>,
    /// What the optimiser remembered, by name.
    pub optimiser: BTreeMap<String, Vec<f32>>,
    time: i64,
}

impl Saved {
    pub(super) fn mark(&self, uri: String) -> CheckpointMark {
        self.position.mark(uri, self.time)
    }
}

/// Why a run does not go on from a checkpoint.
#[derive(Debug)]
pub(super) enum Unusable {
    /// The bytes are not those that were written: nobody will ever go on from it.
    Damaged(String),
    /// It is whole, but of another run, table or layout: somebody may yet go on from it.
    Unfit(String),
    /// It could not be looked at, which may pass.
    Unseen(StoreError),
}

impl From<StoreError> for Unusable {
    fn from(error: StoreError) -> Self {
        match error {
            // A checkpoint appears whole and never grows.
            StoreError::NotFound { .. } | StoreError::TooLarge { .. } => Unusable::Damaged(error.to_string()),
            StoreError::Forbidden { .. } => Unusable::Unseen(error),
            _ if error.class() == FailureClass::Storage => Unusable::Unseen(error),
            _ => Unusable::Unfit(error.to_string()),
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Record {
    schema: u32,
    subject: Subject,
    position: Position,
    time: i64,
    files: BTreeMap<String, FileDigest>,
}

/// The step in the name of a checkpoint's folder; nothing where it is no such name.
pub(super) fn step_of(name: &str) -> Option<u64> {
    let (step, digest) = name.strip_prefix("step-")?.split_once('-')?;
    let whole = digest.len() == DIGITS && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
    (whole && step.len() >= 12 && step.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| step.parse().ok())?
}

fn name_of(step: u64, record: &[u8]) -> String {
    format!("step-{step:012}-{}", &sha256_hex(record)[..DIGITS])
}

/// Name and files of a checkpoint.
pub(super) fn write(
    subject: &Subject,
    learner: &Learner,
    position: &Position,
    time: i64,
) -> Result<(String, BTreeMap<String, Vec<u8>>), String> {
    let optimiser = learner.optimiser();
    if optimiser.steps() != position.step {
        return Err(format!(
            "the optimiser is at step {}, the loop at {}",
            optimiser.steps(),
            position.step
        ));
    }
    let mut numbers = BTreeMap::new();
    for (name, tensor) in learner.weights().map_err(|error| error.to_string())? {
        let values = Numbers::of(&name, &tensor)?;
        numbers.insert(name, values);
    }
    for (name, values) in optimiser.state().map_err(|error| error.to_string())? {
        let values = Numbers {
            shape: vec![values.len()],
            values,
        };
        numbers.insert(format!("{OPTIMISER}{name}"), values);
    }
    if let Some(best) = position.best.as_ref().filter(|best| !best.weights.is_empty()) {
        let values = Numbers {
            shape: vec![best.weights.len()],
            values: best.weights.as_slice().into(),
        };
        numbers.insert(BEST.to_owned(), values);
    }
    let state = weights::serialize(&numbers)?;
    let record = Record {
        schema: SCHEMA,
        subject: subject.clone(),
        position: position.clone(),
        time,
        files: BTreeMap::from([(STATE_FILE.to_owned(), FileDigest::of(&state))]),
    };
    let record = serde_json::to_vec_pretty(&record).map_err(|error| error.to_string())?;
    let name = name_of(position.step, &record);
    let files = BTreeMap::from([(RECORD_FILE.to_owned(), record), (STATE_FILE.to_owned(), state)]);
    Ok((name, files))
}

/// What was saved, where it is whole and of this subject. `file` gives a file of the checkpoint, of at most so many bytes.
pub(super) fn read(
    file: impl Fn(&str, u64) -> Result<Vec<u8>, StoreError>,
    name: &str,
    subject: &Subject,
) -> Result<Saved, Unusable> {
    let bytes = file(RECORD_FILE, RECORD_LIMIT)?;
    let damaged = |file: &str, what: &str| Unusable::Damaged(format!("it is damaged: {file} {what}"));
    // The name is made from the record's own bytes, so nothing in it has to be believed.
    if step_of(name).is_none_or(|step| name_of(step, &bytes) != name) {
        return Err(damaged(RECORD_FILE, "is not what its folder's name says"));
    }
    let record = parse(&bytes).map_err(Unusable::Unfit)?;
    belongs(&record.subject, subject).map_err(Unusable::Unfit)?;
    let expected = record
        .files
        .get(STATE_FILE)
        .ok_or_else(|| Unusable::Unfit(format!("{RECORD_FILE} does not name the state")))?;
    let bytes = file(STATE_FILE, expected.size)?;
    if FileDigest::of(&bytes) != *expected {
        return Err(damaged(
            STATE_FILE,
            "does not have the digest that the record says",
        ));
    }
    let mut position = record.position;
    let (weights, optimiser, best) = numbers(&bytes).map_err(Unusable::Unfit)?;
    if let (Some(best), Some(weights)) = (&mut position.best, best) {
        best.weights = weights;
    }
    Ok(Saved {
        position,
        weights,
        optimiser,
        time: record.time,
    })
}

fn parse(bytes: &[u8]) -> Result<Record, String> {
    let record: Record = serde_json::from_slice(bytes)
        .map_err(|error| format!("it has another layout than this version of the trainer reads ({error})"))?;
    match record.schema {
        SCHEMA => Ok(record),
        schema => Err(format!(
            "it has layout {schema}, but this version of the trainer reads {SCHEMA}"
        )),
    }
}

type State = (
    HashMap<String, Tensor>,
    BTreeMap<String, Vec<f32>>,
    Option<Vec<f32>>,
);

/// The weights, what the optimiser remembered, and the best weights so far where they are kept.
fn numbers(bytes: &[u8]) -> Result<State, String> {
    let (mut weights, mut optimiser, mut best) = State::default();
    for (name, tensor) in weights::deserialize(bytes)? {
        if name == BEST {
            best = Some(tensor.to_vec1().map_err(|error| error.to_string())?);
            continue;
        }
        match name.strip_prefix(OPTIMISER) {
            Some(name) => {
                let values = tensor.to_vec1().map_err(|error| error.to_string())?;
                optimiser.insert(name.to_owned(), values);
            }
            None => drop(weights.insert(name, tensor)),
        }
    }
    Ok((weights, optimiser, best))
}

/// The version of the trainer may differ: an upgrade is no reason to begin again.
fn belongs(found: &Subject, subject: &Subject) -> Result<(), String> {
    if (&found.name, &found.run, &found.asked) != (&subject.name, &subject.run, &subject.asked) {
        return Err(format!("it is of another run ({} of {})", found.run, found.name));
    }
    if found.data != subject.data {
        return Err("the table has changed since: its bytes have another digest".to_owned());
    }
    Ok(())
}

/// A number to the bit: JSON's decimal digits need not come back as they went.
mod bits {
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format!("{:016x}", value.to_bits()))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        let text = String::deserialize(deserializer)?;
        u64::from_str_radix(&text, 16)
            .map(f64::from_bits)
            .map_err(de::Error::custom)
    }
}

mod maybe_bits {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    struct Bits(#[serde(with = "super::bits")] f64);

    pub(super) fn serialize<S: Serializer>(value: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
        value.map(Bits).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
        Ok(Option::<Bits>::deserialize(deserializer)?.map(|bits| bits.0))
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn only_what_nobody_can_ever_read_counts_as_damaged() {
        let uri = || "pvc://a/b".to_owned();
        let failed = |source: io::Error| StoreError::Io {
            uri: uri(),
            action: "reading",
            source,
        };
        for (error, expected) in [
            (StoreError::NotFound { uri: uri() }, "Damaged"),
            (StoreError::TooLarge { uri: uri(), limit: 1 }, "Damaged"),
            (failed(io::ErrorKind::TimedOut.into()), "Unseen"),
            (
                StoreError::Forbidden {
                    uri: uri(),
                    reason: "the file system does".to_owned(),
                },
                "Unseen",
            ),
            (
                StoreError::NotAFile {
                    uri: uri(),
                    kind: "a folder",
                },
                "Unfit",
            ),
        ] {
            let unusable = format!("{:?}", Unusable::from(error));
            assert!(unusable.starts_with(expected), "{unusable}");
        }
    }

    #[test]
    fn names_sort_as_steps_do_and_nothing_else_is_taken_for_one() {
        let name = name_of(1_234, b"{}");
        assert_eq!(step_of(&name), Some(1_234));
        assert!(name_of(999, b"{}") < name_of(1_000, b"{}"));
        for other in [
            "step-1-0123456789abcdef",
            "step-000000000001-",
            "step-000000000001-0123456789abcdeg",
            "step-00000000000x-0123456789abcdef",
            "data",
        ] {
            assert_eq!(step_of(other), None, "{other}");
        }
    }

    #[test]
    fn a_position_comes_back_to_the_bit() {
        for loss_sum in [0.1 + 0.2, f64::MIN_POSITIVE, -0.0, 1.0 / 3.0] {
            let position = Position {
                step: 7,
                epoch: 1,
                batch: 3,
                loss_sum,
                validation_loss: Some(loss_sum / 7.0),
                ..Position::default()
            };
            let json = serde_json::to_string(&position).unwrap();
            let read: Position = serde_json::from_str(&json).unwrap();
            assert_eq!(read.loss_sum.to_bits(), loss_sum.to_bits(), "{json}");
            assert_eq!(read, position);
        }
    }
}
