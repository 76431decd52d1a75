//! A status as it was and as it is to be, and what the difference is worth to people.

use sconce_crds::condition::{Condition, DEGRADED, READY, find, is_true};
use sconce_crds::{ModelDeploymentStatus, ModelTrainingStatus};
use serde::Serialize;

use crate::pace::Worth;

/// A status of ours: what people read of it first.
pub trait Status: Default + Serialize {
    /// Its conditions.
    fn conditions(&self) -> &[Condition];
    /// Whether it is of the same phase.
    fn has_phase_of(&self, other: &Self) -> bool;
}

impl Status for ModelTrainingStatus {
    fn conditions(&self) -> &[Condition] {
        &self.conditions
    }

    fn has_phase_of(&self, other: &Self) -> bool {
        self.phase == other.phase
    }
}

impl Status for ModelDeploymentStatus {
    fn conditions(&self) -> &[Condition] {
        &self.conditions
    }

    fn has_phase_of(&self, other: &Self) -> bool {
        self.phase == other.phase
    }
}

/// A status as it was and as it is to be.
pub struct Told<'a, S> {
    /// What is stored; nothing where the object has no status yet.
    pub before: Option<&'a S>,
    /// What is to be.
    pub after: &'a S,
    /// Whether it must not wait, because what it tells may soon be seen nowhere else.
    pub urgent: bool,
}

impl<S: Status> Told<'_, S> {
    /// How soon people are to know.
    pub fn worth(&self) -> Worth {
        let after = self.after.conditions();
        let turned = |before: &[Condition], kind: &str| {
            find(before, kind).map(|condition| &condition.status)
                != find(after, kind).map(|condition| &condition.status)
        };
        let is_news = match self.before.map(Status::conditions) {
            Some(before) => turned(before, READY) || turned(before, DEGRADED),
            None => is_true(after, READY),
        };
        if self.urgent {
            Worth::Urgent
        } else if is_news || is_true(after, DEGRADED) {
            Worth::News
        } else {
            Worth::Progress
        }
    }
}
