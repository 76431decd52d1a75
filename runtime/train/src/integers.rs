//! Integers that an embedding looks up as they are: whether it has a vector for each of a table's.

use sconce_contract::{Dataset, Feature, Network};
use sconce_engine::names::layer_field;

use crate::{TrainError, table::Table};

/// The integers of a table, which an embedding looks up as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Integers {
    vocabulary: u32,
    /// The greatest.
    pub greatest: u32,
    /// Whether one is missing that is filled, by column.
    holes: Vec<bool>,
}

impl Integers {
    /// Refuses what takes the place of missing integers where an embedding has no vector for it.
    pub fn check_fills(&self, features: &[Feature]) -> Result<(), TrainError> {
        let filled = features.iter().zip(&self.holes).filter(|(_, hole)| **hole);
        for (feature, _) in filled {
            let fill = feature.missing.unwrap_or(f64::NAN) as f32;
            if !is_of(self.vocabulary, fill) {
                let problem = format!(
                    "the column {:?} lacks values, and {fill}, which would take their place, is none of the integers from 0 \
                     to {} that the embedding has vectors for: set it to Drop, or write an integer where one is missing",
                    feature.name,
                    self.vocabulary - 1
                );
                return Err(TrainError::setting("dataset.missing", problem));
            }
        }
        Ok(())
    }
}

/// Whether it is one of so many integers, counted from 0.
fn is_of(vocabulary: u32, value: f32) -> bool {
    value >= 0.0 && value < vocabulary as f32 && value.fract() == 0.0
}

/// Refuses values that an embedding has no vector for; nothing where none looks any up. Texts become integers that it has
/// ([`Dataset::fits`]), and what takes the place of missing ones is known later ([`Integers::check_fills`]).
pub fn check(network: &Network, table: &Table, dataset: &Dataset) -> Result<Option<Integers>, TrainError> {
    let (Some(vocabulary), None) = (network.vocabulary(), &dataset.text) else {
        return Ok(None);
    };
    if dataset.standardize {
        return Err(TrainError::setting(
            "dataset.standardize",
            "an embedding looks its integers up as they are: set it to false",
        ));
    }
    let mut integers = Integers {
        vocabulary,
        greatest: 0,
        holes: vec![false; table.width()],
    };
    let fills = dataset.missing.fills();
    table.each(|row, values| {
        for (column, value) in values.iter().enumerate() {
            if value.is_nan() && fills {
                integers.holes[column] = true;
            } else if is_of(vocabulary, *value) {
                integers.greatest = integers.greatest.max(*value as u32);
            } else {
                return Err(not_of(vocabulary, table, row, column, *value));
            }
        }
        Ok(())
    })?;
    Ok(Some(integers))
}

/// Refuses an embedding that has no vector for the greatest of the table's integers: a search may try smaller ones.
pub fn check_vocabulary(network: &Network, greatest: Option<u32>) -> Result<(), TrainError> {
    let (Some(vocabulary), Some(greatest)) = (network.vocabulary(), greatest) else {
        return Ok(());
    };
    if greatest < vocabulary {
        return Ok(());
    }
    let problem = format!(
        "the table holds {greatest}, but the vocabulary is the integers from 0 to {}: raise it",
        vocabulary - 1
    );
    Err(TrainError::setting(vocabulary_field(), problem))
}

fn vocabulary_field() -> String {
    format!("{}.embedding.vocabulary", layer_field(0))
}

fn not_of(vocabulary: u32, table: &Table, row: usize, column: usize, value: f32) -> TrainError {
    let problem = format!(
        "row {} holds {} in the column {:?}, but the vocabulary is the integers from 0 to {}: raise it or correct the \
         table",
        row + 1,
        value,
        table.features[column].name,
        vocabulary - 1
    );
    TrainError::setting(vocabulary_field(), problem)
}
