//! What can be wrong with a model, each as a sentence with its remedy.

use sconce_contract::FailureClass;
use sconce_engine::EngineError;
use sconce_store::StoreError;

/// Why a model could not be saved, loaded or run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The location could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no artifact.
    #[error(
        "there is no model at {uri}: name the folder that holds manifest.json, as the training reports it"
    )]
    Missing {
        /// URI of the artifact's folder.
        uri: String,
    },
    /// A file is not what the manifest says, or not what a manifest may say.
    #[error("the model at {uri} is damaged: {file} {reason}; write it again or choose another")]
    Damaged {
        /// URI of the artifact's folder.
        uri: String,
        /// Name of the file.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The layout is from another time.
    #[error(
        "the model at {uri} has layout {found}, but this version reads layout {known}: use the version that wrote it"
    )]
    Schema {
        /// URI of the artifact's folder.
        uri: String,
        /// Version in the manifest.
        found: u64,
        /// Version that is understood.
        known: u32,
    },
    /// It is a model, but not the one that was asked for.
    #[error(
        "the model at {uri} has digest {found}, but {asked} was asked for: correct the digest or the URI"
    )]
    Digest {
        /// URI of the artifact's folder.
        uri: String,
        /// Digest of what is there.
        found: String,
        /// Digest that was asked for.
        asked: String,
    },
    /// The files are whole, but contradict each other.
    #[error("the parts of the model do not fit together: {reason}; train it again")]
    Unfit {
        /// What contradicts what.
        reason: String,
    },
    /// The number of values is not a whole number of rows.
    #[error("{found} values were given for {batch} rows of {features} features")]
    Rows {
        /// Values given.
        found: usize,
        /// Rows asked for.
        batch: usize,
        /// Values that a row has.
        features: usize,
    },
    /// A value that the model has no vector for.
    #[error(
        "row {row} holds {value} in the column {column:?}, but the model knows the integers from 0 to {greatest}: send one \
         of them"
    )]
    Unknown {
        /// The row, from 0.
        row: usize,
        /// The column.
        column: String,
        /// The value.
        value: f32,
        /// Greatest integer that is known.
        greatest: u32,
    },
    /// The engine refused.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The tensor library failed.
    #[error("the tensor library failed: {0}")]
    Tensor(#[from] candle_core::Error),
}

impl ModelError {
    /// Whose fault it is.
    pub fn class(&self) -> FailureClass {
        match self {
            ModelError::Store(error) => error.class(),
            ModelError::Engine(error) => error.failure().class,
            ModelError::Tensor(_) | ModelError::Rows { .. } => FailureClass::Internal,
            _ => FailureClass::BadInput,
        }
    }
}
