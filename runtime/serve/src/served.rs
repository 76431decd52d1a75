//! The model that is served, and what it takes to answer a question about it.

use http::StatusCode;
use sconce_contract::{Failure, FailureClass, Warmup};
use sconce_model::{Model, ModelError};
use sconce_store::cache::Entry;
use serde::de::DeserializeSeed;
use serde_json::Value;

use crate::parse::room::Room;
use crate::parse::rows::Rows;
use crate::parse::table::{Columns, Table};
use crate::refusal::Refusal;

/// Most values in an answer: about 50 MB of JSON.
const MAX_OUTPUTS: usize = 4 << 20;
/// Most rows of a warm-up.
const MAX_WARMUP: usize = 64;
/// A body up to this size whose rows cost no more than so many multiplications is computed where it was read:
/// handing it to another thread would take longer than the few hundred microseconds of work.
const SMALL_BODY: usize = 16 << 10;
const SMALL_WORK: usize = 4 << 20;

/// Under which name and version the model is served.
#[derive(Clone, Debug)]
pub struct Names {
    /// Name of the model.
    pub name: String,
    /// Its version.
    pub revision: String,
}

/// A loaded model.
#[derive(Debug)]
pub struct Served {
    /// Its names.
    pub names: Names,
    /// The model.
    pub model: Model,
    /// Its columns.
    pub columns: Columns,
    /// Keeps its copy in the cache while it is served.
    pub entry: Option<Entry>,
}

/// Writes an answer, given the outputs `[rows, outputs]`, all of them finite.
pub type Answer = Box<dyn FnOnce(&Served, &[f32], &mut Vec<u8>) -> Result<(), serde_json::Error> + Send>;

/// Most bytes that a number takes in an answer, with its comma.
pub const NUMBER_BYTES: usize = 16;

/// A parsed request.
pub struct Question {
    /// The rows.
    pub table: Table,
    /// Most bytes that the answer has beside its rows.
    pub fixed_bytes: usize,
    /// Most bytes that a row takes in the answer.
    pub row_bytes: usize,
    /// What to do with its outputs.
    pub answer: Answer,
}

impl Question {
    /// Most bytes of the answer.
    pub fn most_bytes(&self) -> usize {
        let rows = self.table.rows.saturating_mul(self.row_bytes);
        rows.saturating_add(self.fixed_bytes)
    }
}

impl Served {
    /// A model under its names.
    pub fn new(names: Names, model: Model) -> Self {
        let columns = Columns::new(model.features().to_vec());
        Served {
            names,
            model,
            columns,
            entry: None,
        }
    }

    /// Whether a body is cheap enough to be computed where it was read.
    pub fn is_small(&self, body: &[u8]) -> bool {
        if body.len() > SMALL_BODY {
            return false;
        }
        // A value takes two bytes of JSON at least; one that is named may be left out, and then the row has a brace.
        let named = body.iter().filter(|byte| **byte == b'{').count();
        let rows = body.len() / (2 * self.columns.len().max(1)) + named + 1;
        rows.saturating_mul(self.model.work()) <= SMALL_WORK
    }

    /// A refusal where a question has too many rows to be computed.
    pub fn check(&self, question: &Question) -> Result<(), Refusal> {
        let (table, outputs) = (&question.table, self.model.outputs());
        if table.rows.saturating_mul(outputs) > MAX_OUTPUTS {
            return Err(Refusal::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!(
                    "{} rows with {outputs} outputs each are too many for one answer: send at most {} rows",
                    table.rows,
                    MAX_OUTPUTS / outputs
                ),
            ));
        }
        Ok(())
    }

    /// The answer to a question; nothing where `gone` says that nobody waits for it any more.
    pub fn answer(&self, question: Question, gone: impl Fn() -> bool) -> Result<Option<Vec<u8>>, Refusal> {
        let bytes = question.most_bytes();
        let Question { table, answer, .. } = question;
        let outputs = self.model.outputs();
        let mut predicted = Vec::with_capacity(table.rows * outputs);
        let step = self.model.rows_per_step();
        let width = self.columns.width();
        for rows in table.values.chunks(step * width) {
            if gone() {
                return Ok(None);
            }
            let batch = rows.len() / width;
            let outputs = self
                .model
                .predict(rows, batch)
                .map_err(|error| refused(error, predicted.len() / outputs.max(1)))?;
            predicted.extend(outputs);
        }
        if let Some(place) = predicted.iter().position(|value| !value.is_finite()) {
            return Err(Refusal::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                format!(
                    "the prediction for row {} is not a finite number: its values are too large",
                    place / outputs
                ),
            ));
        }
        // All at once: what grows is copied, and takes up to three times its size meanwhile.
        let mut written = Vec::with_capacity(bytes);
        answer(self, &predicted, &mut written).map_err(|error| internal(&error.to_string()))?;
        Ok(Some(written))
    }

    /// Answers the sample request, or one row of the features' means.
    pub fn warm_up(&self, warmup: Option<&Warmup>) -> Result<(), Failure> {
        let table = match warmup {
            Some(warmup) if !(1..=MAX_WARMUP).contains(&warmup.rows.len()) => {
                let count = warmup.rows.len();
                let sentence = format!("warmup.rows has {count} rows: give 1 to {MAX_WARMUP}");
                return Err(Failure::bad_input("warmup", sentence));
            }
            Some(warmup) => {
                let seed = Rows {
                    name: "warmup.rows",
                    columns: &self.columns,
                    room: &Room::default(),
                };
                seed.deserialize(Value::Array(warmup.rows.clone()))
                    .map_err(|error| Failure::bad_input("warmup", error.to_string()))?
            }
            None => Table {
                values: self
                    .model
                    .features()
                    .iter()
                    .flat_map(|feature| {
                        // Any word will do: the first; of a text none.
                        let value = match feature.is_told_in_text() {
                            true => 0.0,
                            false => feature.mean as f32,
                        };
                        std::iter::repeat_n(value, feature.raw_width())
                    })
                    .collect(),
                rows: 1,
            },
        };
        let question = Question {
            table,
            fixed_bytes: 0,
            row_bytes: 0,
            answer: Box::new(|_, _, _| Ok(())),
        };
        match self.answer(question, || false) {
            Ok(_) => Ok(()),
            Err(refusal) if refusal.status.is_client_error() && warmup.is_some() => {
                Err(Failure::bad_input("warmup", refusal.sentence))
            }
            Err(refusal) => {
                let sentence = format!("the model does not answer the warm-up: {}", refusal.sentence);
                Err(Failure::new(FailureClass::Internal, sentence))
            }
        }
    }
}

/// Why a chunk of rows, after so many others, has no answer.
fn refused(mut error: ModelError, before: usize) -> Refusal {
    if let ModelError::Unknown { row, .. } = &mut error {
        *row += before;
        return Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string());
    }
    internal(&error.to_string())
}

/// A defect of ours, which the log shows.
pub fn internal(sentence: &str) -> Refusal {
    Refusal::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        format!("the server failed: {sentence}"),
    )
}
