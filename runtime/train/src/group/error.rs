//! Why workers cannot go on together. But for a refusal that stands, which somebody has to look at, none of it is the user's
//! fault, and another attempt may find them all.

use thiserror::Error;

/// Why workers cannot go on together.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum GroupError {
    /// Not enough workers came.
    #[error("{came} of {count} workers came within {seconds} s, and at least {least} are needed")]
    TooFew {
        /// How many came.
        came: usize,
        /// How many there are to be.
        count: usize,
        /// With how many it would begin.
        least: usize,
        /// How long was waited.
        seconds: u64,
    },
    /// The first worker was not found.
    #[error("worker 0 at {address} took nobody in within {seconds} s: {why}")]
    NoLeader {
        /// Where it should be.
        address: String,
        /// How long was waited.
        seconds: u64,
        /// What was the matter the last time.
        why: String,
    },
    /// The first worker was found and never wanted this one, for what it learns and not for who it is.
    #[error("worker 0 at {address} refused this worker for {seconds} s: {why}")]
    Refused {
        /// Where it is.
        address: String,
        /// How long was waited.
        seconds: u64,
        /// What it said the last time.
        why: String,
    },
    /// A connection ended or fell silent.
    #[error("worker {worker} was lost: {why}")]
    Lost {
        /// Who.
        worker: u32,
        /// What was seen.
        why: String,
    },
    /// A worker said why it leaves.
    #[error("{why}")]
    Left {
        /// Its sentence.
        why: String,
    },
    /// What came is not what is to come now.
    #[error("worker {worker} sent {found} where {expected} was to come")]
    OutOfStep {
        /// Who.
        worker: u32,
        /// What came.
        found: String,
        /// What was to come.
        expected: String,
    },
    /// The process was told to stop.
    #[error("worker {worker} was told to stop")]
    Stopped {
        /// Who.
        worker: u32,
    },
    /// This machine does not let it listen.
    #[error("nothing can be listened to on {address}: {why}")]
    Deaf {
        /// Where.
        address: String,
        /// Why not.
        why: String,
    },
}

impl GroupError {
    /// Whether it tells of a connection only, and somebody else may know why it ended.
    pub(super) fn is_loss(&self) -> bool {
        matches!(self, GroupError::Lost { .. })
    }
}
