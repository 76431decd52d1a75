//! What became of each trial, on disk as soon as it is known: a search that goes on asks it before it tries anything.
//!
//! ```text
//!   CHECKPOINTS/<run>/trials/job-<slot>-<digest>/job.json    a record; the folder's name has its digest
//!   CHECKPOINTS/<run>/trials/<trial>/step-…/                 a trial's own checkpoints
//! ```

use std::collections::HashMap;

use sconce_contract::digest::{sha256_hex, short_hash};
use sconce_contract::{CheckpointPlan, Failure, TrainingPlan};
use sconce_store::{Store, StoreError};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::schedule::{Job, Outcome};
use crate::TrainError;
use crate::checkpoint::{Checkpoints, Subject};
use crate::locations;

/// Name of the file with a record.
const RECORD_FILE: &str = "job.json";
/// Version of the layout that this code writes and reads.
const SCHEMA: u32 = 1;
/// Longest record; ours have about a kilobyte, and whole layers may be among the values.
const RECORD_LIMIT: u64 = 1 << 20;
/// Digits of the record's SHA-256 in the folder's name.
const DIGITS: usize = 16;
/// What stands before the number of a slot.
const PREFIX: &str = "job-";
/// Folder of the trials in that of the run.
const TRIALS: &str = "trials";

/// The records of a search.
#[derive(Debug)]
pub struct Journal {
    store: Store,
    folder: String,
    checkpoints: CheckpointPlan,
    subject: Subject,
    known: HashMap<usize, Record>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Record {
    schema: u32,
    subject: Subject,
    slot: usize,
    /// Of the job: another version of this program may decide otherwise.
    job: String,
    /// For people.
    trial: u32,
    epochs: u32,
    parameters: Vec<Value>,
    value: Option<f64>,
    /// The value to the bit.
    bits: Option<u64>,
    failure: Option<Failure>,
}

impl Journal {
    /// The journal of a search, with what was written before; nothing where the plan keeps no checkpoints.
    ///
    /// # Errors
    /// The place cannot be looked at: to begin again would hide it.
    pub fn open(plan: &TrainingPlan, subject: Subject) -> Result<Option<Self>, TrainError> {
        let Some(checkpoints) = &plan.checkpoint else {
            return Ok(None);
        };
        let store = locations::of_checkpoints(plan, checkpoints);
        let folder = trials_folder(checkpoints, &plan.run);
        let mut journal = Journal {
            store,
            checkpoints: CheckpointPlan {
                uri: folder.clone(),
                keep: 1,
                ..checkpoints.clone()
            },
            folder,
            subject,
            known: HashMap::new(),
        };
        for name in journal.store.folders(&journal.folder).map_err(at_uri)? {
            if name.starts_with(PREFIX) {
                journal.take(&name)?;
            }
        }
        Ok(Some(journal))
    }

    fn take(&mut self, name: &str) -> Result<(), TrainError> {
        let uri = format!("{}/{name}/{RECORD_FILE}", self.folder);
        let bytes = match self.store.read(&uri, RECORD_LIMIT) {
            Ok(bytes) => bytes,
            Err(StoreError::NotFound { .. } | StoreError::TooLarge { .. }) => Vec::new(),
            Err(error) => return Err(at_uri(error)),
        };
        let record: Option<Record> = serde_json::from_slice(&bytes).ok();
        let whole = record.filter(|record| record.schema == SCHEMA && name_of(record.slot, &bytes) == name);
        match whole {
            Some(record) if is_of(&record.subject, &self.subject) => {
                self.known.insert(record.slot, record);
            }
            Some(_) => tracing::warn!(uri, "the record of a trial is of another run and not used"),
            None => tracing::warn!(
                uri,
                "the record of a trial is damaged and not used: it is tried again"
            ),
        }
        Ok(())
    }

    /// What became of the job before; nothing where it has to be done.
    pub fn outcome(&self, slot: usize, job: &Job) -> Option<Outcome> {
        let record = self
            .known
            .get(&slot)
            .filter(|record| record.job == short_hash(job))?;
        match (&record.failure, record.bits) {
            (Some(failure), _) => Some(Outcome::Failed(failure.clone())),
            (None, Some(bits)) => Some(Outcome::Reached(f64::from_bits(bits))),
            (None, None) => None,
        }
    }

    /// Writes down what became of a job, whole or not at all, and for people how many epochs it had.
    ///
    /// # Errors
    /// It could not be written; the job is done again should the search be interrupted.
    pub fn write(&self, slot: usize, job: &Job, epochs: u32, outcome: &Outcome) -> Result<(), StoreError> {
        let failure = match outcome {
            Outcome::Reached(_) => None,
            Outcome::Failed(failure) => Some(failure.clone()),
        };
        let record = Record {
            schema: SCHEMA,
            subject: self.subject.clone(),
            slot,
            job: short_hash(job),
            trial: job.trial + 1,
            epochs,
            parameters: job.point.clone(),
            value: outcome.value(),
            bits: outcome.value().map(f64::to_bits),
            failure,
        };
        let bytes = serde_json::to_vec_pretty(&record).map_err(|error| StoreError::Malformed {
            uri: self.folder.clone(),
            reason: error.to_string(),
        })?;
        let name = name_of(slot, &bytes);
        let files = [(RECORD_FILE.to_owned(), bytes)].into();
        self.store
            .write_folder(&self.folder, &name, &files, RECORD_FILE)?;
        Ok(())
    }

    /// Where a trial saves its state.
    pub fn checkpoints(&self, trial: u32, subject: Subject) -> Checkpoints {
        Checkpoints::new(&self.store, &self.checkpoints, of_trial(trial, subject))
    }

    /// Removes the state of a trial that nobody will go on with.
    pub fn forget(&self, trial: u32) {
        if let Err(error) = self.store.remove_folder(&self.folder, &name_of_trial(trial)) {
            tracing::warn!(trial = trial + 1, %error, "the state of a trial could not be removed");
        }
    }
}

/// Removes what the searches of a run left in its folder.
///
/// # Errors
/// The place cannot be looked at, or written to.
pub fn discard(store: &Store, run_folder: &str) -> Result<bool, StoreError> {
    let names = store.folders(&format!("{run_folder}/{TRIALS}"))?;
    let ours = names
        .iter()
        .any(|name| name.starts_with(PREFIX) || name.parse::<u32>().is_ok());
    if ours {
        store.remove_folder(run_folder, TRIALS)?;
    }
    Ok(ours)
}

/// What the checkpoints of a trial are of.
pub fn of_trial(trial: u32, subject: Subject) -> Subject {
    Subject {
        run: name_of_trial(trial),
        ..subject
    }
}

fn trials_folder(plan: &CheckpointPlan, run: &str) -> String {
    format!("{}/{run}/{TRIALS}", plan.uri.trim_end_matches('/'))
}

fn name_of(slot: usize, record: &[u8]) -> String {
    format!("{PREFIX}{slot:06}-{}", &sha256_hex(record)[..DIGITS])
}

fn name_of_trial(trial: u32) -> String {
    format!("{:04}", trial + 1)
}

/// The version of the trainer may differ.
fn is_of(found: &Subject, subject: &Subject) -> bool {
    let key = |subject: &Subject| {
        let Subject {
            name,
            run,
            asked,
            data,
            ..
        } = subject.clone();
        (name, run, asked, data.sha256)
    };
    key(found) == key(subject)
}

fn at_uri(source: StoreError) -> TrainError {
    TrainError::Store {
        field: "checkpoint.uri",
        source,
    }
}
