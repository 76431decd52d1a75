//! Why a training could not be done.

use std::path::PathBuf;

use sconce_contract::network::Misfit;
use sconce_contract::{Failure, FailureClass};
use sconce_engine::EngineError;
use sconce_model::ModelError;
use sconce_store::StoreError;
use thiserror::Error;

use crate::{group::GroupError, scratch::ScratchError, table::TableError};

/// Why a training could not be done, as a sentence that says what to do.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TrainError {
    /// There is no plan to read.
    #[error("the plan {path} cannot be read: {source}", path = path.display())]
    PlanUnreadable {
        /// Where it should be.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The plan is not what it should be.
    #[error("the plan {path} cannot be understood: {problem}", path = path.display())]
    PlanMalformed {
        /// Where it is.
        path: PathBuf,
        /// What is wrong, with the line or the field.
        problem: String,
    },
    /// A field of the spec has a value that cannot be honoured.
    #[error("{field}: {problem}")]
    Setting {
        /// The field.
        field: String,
        /// What is wrong and what to do.
        problem: String,
    },
    /// The table is not what it should be.
    #[error(transparent)]
    Table(#[from] TableError),
    /// Rows could not be kept on disk.
    #[error(transparent)]
    Scratch(#[from] ScratchError),
    /// A location could not be read or written.
    #[error("{field}: {source}")]
    Store {
        /// The field that names the location.
        field: &'static str,
        /// What the store says.
        source: StoreError,
    },
    /// The model could not be saved.
    #[error("the model could not be saved: {0}")]
    Model(#[from] ModelError),
    /// The model that is served already could not be read.
    #[error(
        "the incumbent, which a gate with `beats` asks for, cannot be measured: {0}; or take `beats` out of the \
         gates until the new model is served"
    )]
    Incumbent(#[source] ModelError),
    /// The network could not be built or trained.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The loss is not finite.
    #[error(
        "the loss became {value} {at}: lower hyperparameters.optimizer.learningRate (it is {learning_rate}){also}"
    )]
    Diverged {
        /// NaN or infinity.
        value: f64,
        /// Where in the training: `in epoch 3, step 57`.
        at: String,
        /// The base learning rate.
        learning_rate: f64,
        /// What else may help.
        also: &'static str,
    },
    /// No trial of a search ended with a model.
    #[error("all {count} trials of the search failed, the first because: {}", first.message)]
    AllTrials {
        /// How many.
        count: usize,
        /// What became of the first.
        first: Box<Failure>,
    },
    /// The workers of a group cannot go on together.
    #[error("{why}: {next}")]
    Group {
        /// Who is gone, and how.
        why: String,
        /// What the next attempt does.
        next: String,
    },
    /// The first worker of a group does not take this one in: none that is the same is ever taken in.
    #[error(
        "{0}; see that what is at dataset.uri stays the same while workers start, and that all have the same plan, memory and \
         version of the trainer"
    )]
    Refused(GroupError),
    /// The process was told to stop.
    #[error("told to stop {at}: {next}")]
    Interrupted {
        /// Where in the training: `at step 57 of 2000`.
        at: String,
        /// What the next attempt does.
        next: String,
    },
    /// A defect of ours.
    #[error("the trainer is at fault: {0}; please report it")]
    Panic(String),
}

impl From<Misfit> for TrainError {
    fn from(misfit: Misfit) -> Self {
        TrainError::setting(misfit.field, misfit.problem)
    }
}

impl From<GroupError> for TrainError {
    fn from(error: GroupError) -> Self {
        match error {
            refused @ GroupError::Refused { .. } => TrainError::Refused(refused),
            error => TrainError::group(error.to_string()),
        }
    }
}

impl TrainError {
    /// A field with a value that cannot be honoured.
    pub fn setting(field: impl Into<String>, problem: impl Into<String>) -> Self {
        TrainError::Setting {
            field: field.into(),
            problem: problem.into(),
        }
    }

    /// A group that ends where this worker has nothing to save.
    pub fn group(why: impl Into<String>) -> Self {
        TrainError::Group {
            why: why.into(),
            next: "all workers meet again, and go on from the last state that was saved".to_owned(),
        }
    }

    /// Told to stop where nothing is to be saved.
    pub fn interrupted(at: impl Into<String>) -> Self {
        TrainError::Interrupted {
            at: at.into(),
            next: "no step is lost by it".to_owned(),
        }
    }

    /// What a pod reports.
    pub fn failure(&self) -> Failure {
        let field = match self {
            TrainError::Setting { field, .. } => Some(field.clone()),
            TrainError::Table(error) => Some(error.field().to_owned()),
            TrainError::Scratch(_) => Some("resources.memory".to_owned()),
            TrainError::Store { field, .. } => Some((*field).to_owned()),
            TrainError::Incumbent(_) => Some("evaluation.gates".to_owned()),
            TrainError::Model(ModelError::Store(_)) => Some("output.uri".to_owned()),
            TrainError::Engine(error) => error.failure().field,
            TrainError::Diverged { .. } => Some("hyperparameters.optimizer.learningRate".to_owned()),
            TrainError::AllTrials { first, .. } => first.field.clone().or(Some("search.space".to_owned())),
            _ => None,
        };
        // The sentence begins with the field where people read it without the report.
        let sentence = match self {
            TrainError::Engine(error) => error.failure().message,
            _ => self.to_string(),
        };
        let rest = field
            .as_deref()
            .and_then(|field| sentence.strip_prefix(field)?.strip_prefix(": "));
        Failure {
            class: self.class(),
            message: rest.unwrap_or(&sentence).to_owned(),
            field,
            work: None,
        }
    }

    /// Whose fault it is.
    pub fn class(&self) -> FailureClass {
        match self {
            TrainError::PlanMalformed { .. } | TrainError::Setting { .. } | TrainError::Table(_) => {
                FailureClass::BadInput
            }
            TrainError::PlanUnreadable { .. } | TrainError::Scratch(_) => FailureClass::Storage,
            TrainError::Store { source, .. } => source.class(),
            TrainError::Model(error) | TrainError::Incumbent(error) => error.class(),
            TrainError::Engine(error) => error.failure().class,
            TrainError::Diverged { .. } => FailureClass::Diverged,
            TrainError::Interrupted { .. } | TrainError::Group { .. } => FailureClass::Interrupted,
            TrainError::AllTrials { first, .. } => first.class,
            // Tried again it counts: what differs may be mended by then, but nobody tries for ever.
            TrainError::Panic(_) | TrainError::Refused(_) => FailureClass::Internal,
        }
    }
}
