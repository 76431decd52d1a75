//! Saving the state of a run, and going on from it.
//!
//! ```text
//!   learn ── due? ──► state::write ──► Store::write_folder (hidden, flushed, renamed) ──► older ones removed
//!     ▲
//!     └── resume ◄── state::read ◄── the newest that is whole and of this run; others are skipped with a warning,
//!                                    and only the damaged ones are removed
//! ```
//!
//! The layout is [`sconce_contract::checkpoint`]'s. What a run draws at random depends on its seed, the epoch and
//! the step alone (see [`sconce_engine::random`]), so the position is all there is to save of it.
//!
//! Where several workers learned, a folder `released` beside the checkpoints says that all but the first were let go. Their
//! pods may have ended well, and such a pod never comes again: who goes on from there waits for none of them.

mod clock;
mod place;
mod snapshot;
mod state;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use sconce_contract::{CheckpointMark, CheckpointPlan, TrainingPlan};
use sconce_engine::Learner;
use sconce_store::{Store, StoreError};

pub use place::{Files, Place};
pub use snapshot::Snapshot;
pub use state::{Best, Position, Saved, Subject};

use crate::{TrainError, locations, search::journal};
use clock::Clock;
use place::Folder;
use state::Unusable;

/// What a crashed writer left is removed after this long: more than a pod has between SIGTERM and SIGKILL, so that
/// one that is still saving its last state is not disturbed.
const ABANDONED: Duration = Duration::from_secs(120);

/// Why a checkpoint that is whole is not taken up.
#[derive(Debug)]
pub enum Refusal {
    /// It is of another network, or of a place in the run that there is not.
    Unfit(String),
    /// It may well be this run's: something else failed.
    Failed(TrainError),
}

/// Name of the folder that says that the other workers were let go.
const RELEASED: &str = "released";
/// Name of the file in it, and what it says: always the same, so that it may be written again.
const RELEASED_FILE: (&str, &[u8]) = (
    "why.txt",
    b"The other workers of the run were let go: whoever goes on with it waits for none of them.\n",
);

/// The checkpoints of one run.
#[derive(Debug)]
pub struct Checkpoints {
    place: Box<dyn Place>,
    keep: usize,
    clock: Clock,
    subject: Subject,
    /// Names of those that turned out to be damaged.
    damaged: Vec<String>,
    /// Names of those that are whole but not this run's to go on from, nor to remove.
    unfit: Vec<String>,
    /// The newest that is known to be good.
    newest: Option<CheckpointMark>,
    /// Whether the other workers were let go by an attempt before this one.
    released: bool,
}

impl Checkpoints {
    /// Of the run that learns this.
    pub fn new(store: &Store, plan: &CheckpointPlan, subject: Subject) -> Self {
        let folder = Folder {
            store: store.clone(),
            uri: run_folder(plan, &subject.run),
        };
        Self::at(Box::new(folder), plan, subject)
    }

    /// Of the run that learns this, in another place than the plan's.
    pub fn at(place: Box<dyn Place>, plan: &CheckpointPlan, subject: Subject) -> Self {
        Checkpoints {
            place,
            keep: usize::try_from(plan.keep).unwrap_or(usize::MAX).max(1),
            clock: Clock::new(&plan.every, Instant::now()),
            subject,
            damaged: Vec::new(),
            unfit: Vec::new(),
            newest: None,
            released: false,
        }
    }

    /// The newest checkpoint that is known to be good.
    pub fn newest(&self) -> Option<&CheckpointMark> {
        self.newest.as_ref()
    }

    /// Whether an attempt before this one has let the other workers go; known once [`Self::resume`] has looked.
    pub fn is_released(&self) -> bool {
        self.released
    }

    /// Leaves word that the other workers are let go.
    ///
    /// # Errors
    /// It could not be written.
    pub fn let_go(&self) -> Result<(), StoreError> {
        let (file, says) = RELEASED_FILE;
        let files = Files::from([(file.to_owned(), says.to_vec())]);
        self.place.write(RELEASED, &files).map(drop)
    }

    /// What `build` makes of the newest checkpoint that is whole, of this run and of the same data; nothing where
    /// there is none. Others are skipped with a warning. That the place or a checkpoint cannot be looked at is an
    /// error, and so is what fails while it is taken up: to begin again at the beginning would hide it.
    pub fn resume<T>(
        &mut self,
        build: impl Fn(Saved) -> Result<T, Refusal>,
    ) -> Result<Option<T>, TrainError> {
        self.place.tidy(ABANDONED).map_err(at_uri)?;
        let mut names = self.place.names().map_err(at_uri)?;
        self.released = names.iter().any(|name| name == RELEASED);
        names.retain(|name| state::step_of(name).is_some());
        // The step has leading zeros, so that names sort as steps do.
        names.sort_unstable();
        while let Some(name) = names.pop() {
            let uri = format!("{}/{name}", self.place.uri());
            let read = |file: &str, limit| self.place.read(&name, file, limit);
            let read = state::read(read, &name, &self.subject);
            let built = read.and_then(|saved| {
                let mark = saved.mark(uri.clone());
                match build(saved) {
                    Err(Refusal::Unfit(reason)) => Err(Unusable::Unfit(reason)),
                    Err(Refusal::Failed(error)) => Ok(Err(error)),
                    Ok(built) => Ok(Ok((built, mark))),
                }
            });
            match built {
                Ok(Ok((built, mark))) => {
                    self.newest = Some(mark);
                    return Ok(Some(built));
                }
                Ok(Err(error)) => return Err(error),
                Err(Unusable::Unseen(error)) => return Err(at_uri(error)),
                Err(Unusable::Damaged(reason)) => {
                    tracing::warn!(uri, reason, "a checkpoint is damaged and not used");
                    self.damaged.push(name);
                }
                Err(Unusable::Unfit(reason)) => {
                    tracing::warn!(uri, reason, "a checkpoint is not used");
                    self.unfit.push(name);
                }
            }
        }
        Ok(None)
    }

    /// Whether the state is to be saved after this step.
    pub fn due(&self, step: u64, now: Instant) -> bool {
        self.clock.due(step, now)
    }

    /// Saves the state, unless it is saved already, and removes what is no longer kept. Whether it succeeds or
    /// not, the next one is due when its time comes.
    pub fn save(&mut self, learner: &Learner, position: &Position) -> Result<&CheckpointMark, StoreError> {
        let known = self
            .newest
            .as_ref()
            .is_some_and(|mark| mark.step == position.step);
        if !known {
            let result = self.write(learner, position);
            self.clock.restart(Instant::now());
            self.newest = Some(result?);
            self.prune();
        }
        self.newest.as_ref().ok_or_else(|| StoreError::NotFound {
            uri: self.place.uri().to_owned(),
        })
    }

    fn write(&self, learner: &Learner, position: &Position) -> Result<CheckpointMark, StoreError> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let time = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
        let (name, files) =
            state::write(&self.subject, learner, position, time).map_err(|reason| StoreError::Malformed {
                uri: self.place.uri().to_owned(),
                reason,
            })?;
        let uri = self.place.write(&name, &files)?;
        Ok(position.mark(uri, time))
    }

    /// Keeps the newest few of those that are not known to be damaged. Those that fit another run or trainer are
    /// left to it and do not count: their steps may be ahead of ours.
    fn prune(&self) {
        let pruned = self.place.names().and_then(|mut names| {
            names.retain(|name| state::step_of(name).is_some() && !self.unfit.contains(name));
            names.sort_unstable();
            let (damaged, mut good): (Vec<_>, Vec<_>) =
                names.into_iter().partition(|name| self.damaged.contains(name));
            good.truncate(good.len().saturating_sub(self.keep));
            damaged
                .iter()
                .chain(&good)
                .try_for_each(|name| self.place.remove(name))
        });
        if let Err(error) = pruned {
            tracing::warn!(%error, "old checkpoints could not be removed");
        }
    }
}

/// Removes the checkpoints of a training's runs, this one's and those before: nobody goes on from them any more.
/// Nothing else that lies there is touched.
pub fn discard(plan: &TrainingPlan) -> Result<(), StoreError> {
    let Some(checkpoint) = &plan.checkpoint else {
        return Ok(());
    };
    let store = locations::of_checkpoints(plan, checkpoint);
    let folder = checkpoint.uri.trim_end_matches('/');
    for run in store.folders(folder)? {
        let run_folder = run_folder(checkpoint, &run);
        let searched = journal::discard(&store, &run_folder)?;
        let mut names = store.folders(&run_folder)?;
        names.retain(|name| state::step_of(name).is_some() || name == RELEASED);
        // A folder that is called so and has no checkpoint beside it may be anybody's.
        let ours = searched || run == plan.run || names.iter().any(|name| name != RELEASED);
        if ours {
            // In the order of the alphabet a checkpoint goes last, so that what a crash leaves is still known for ours.
            names.sort_unstable();
            for name in &names {
                store.remove_folder(&run_folder, name)?;
            }
            store.tidy(&run_folder, Duration::ZERO)?;
        }
    }
    store.tidy(folder, Duration::ZERO)
}

fn run_folder(plan: &CheckpointPlan, run: &str) -> String {
    format!("{}/{run}", plan.uri.trim_end_matches('/'))
}

fn at_uri(source: StoreError) -> TrainError {
    TrainError::Store {
        field: "checkpoint.uri",
        source,
    }
}

#[cfg(test)]
mod tests {
    use sconce_contract::FileDigest;
    use serde_json::json;

    use super::*;

    #[test]
    fn that_the_others_were_let_go_is_known_to_who_comes_after_until_all_is_discarded() {
        let folder = tempfile::tempdir().unwrap();
        let plan: TrainingPlan = serde_json::from_value(json!({
            "name": "a", "run": "b", "network": {"layers": [{"dense": {"units": 1, "activation": "Linear"}}]},
            "dataset": {"uri": "pvc://data/table.csv", "target": "y"}, "output": "pvc://data/models",
            "mounts": [{"uri": "pvc://data", "path": folder.path()}], "checkpoint": {"uri": "pvc://data/saved"},
        }))
        .unwrap();
        let checkpoint = plan.checkpoint.as_ref().unwrap();
        let store = locations::of_checkpoints(&plan, checkpoint);
        let looked = || {
            let subject = Subject {
                name: plan.name.clone(),
                run: plan.run.clone(),
                asked: "c".to_owned(),
                data: FileDigest::of(b"table"),
                trainer: "t".to_owned(),
            };
            let mut checkpoints = Checkpoints::new(&store, checkpoint, subject);
            assert!(checkpoints.resume(|_| Ok(())).unwrap().is_none());
            checkpoints
        };
        let first = looked();
        assert!(!first.is_released());
        for _ in 0..2 {
            first.let_go().unwrap();
        }
        assert!(looked().is_released());

        let somebodys = folder.path().join("saved/mine/released");
        std::fs::create_dir_all(&somebodys).unwrap();
        discard(&plan).unwrap();
        assert!(
            !folder.path().join("saved/b").exists(),
            "something was left behind"
        );
        assert!(somebodys.exists(), "it is none of ours");
    }
}
