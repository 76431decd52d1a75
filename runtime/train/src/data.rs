//! The table as the loop takes it: three parts of rows that are encoded.

use sconce_contract::artifact::COLUMNS_LIMIT;
use sconce_contract::{ClassFacts, ColumnFacts, Dataset, Facts, Feature, Preprocess};
use sconce_model::encode;

pub use crate::part::{Batch, Part};
use crate::{TrainError, features, inputs, room::Room, split::Parts, table::Table, target::Target};

/// A table, divided and encoded.
#[derive(Debug)]
pub struct Data {
    /// Rows to learn from.
    pub training: Part,
    /// Rows to watch; may be empty.
    pub validation: Part,
    /// Rows held out; may be empty.
    pub test: Part,
    /// What was done to the table, for the server to do the same.
    pub preprocess: Preprocess,
    /// What is in the table.
    pub facts: Facts,
}

impl Data {
    /// Encodes the parts of a table.
    pub fn new(
        table: Table,
        parts: Parts,
        target: &Target,
        dataset: &Dataset,
        room: &Room,
    ) -> Result<Self, TrainError> {
        let measured = features::measure(&table, &parts.training, dataset, room.columns())?;
        let (features, columns): (Vec<Feature>, Vec<ColumnFacts>) = measured.into_iter().unzip();
        if let Some(feature) = features
            .iter()
            .find(|feature| !(feature.mean + feature.scale).is_finite())
        {
            let problem = format!("the values of {:?} are too large to be scaled", feature.name);
            return Err(TrainError::setting("dataset.features", problem));
        }
        let left_out = table.left_out.clone();
        let [training, validation, test] = inputs::of(table, parts, &features, target, room)?;
        let classes = match target {
            Target::Classes { names, .. } => Some(names.clone()),
            Target::Numbers(_) => None,
        };
        let counts = [&training, &validation, &test].map(Part::class_counts);
        let facts = Facts {
            left_out,
            more_columns: columns.len().saturating_sub(COLUMNS_LIMIT) as u64,
            columns: columns.into_iter().take(COLUMNS_LIMIT).collect(),
            classes: classes
                .iter()
                .flatten()
                .take(COLUMNS_LIMIT)
                .enumerate()
                .map(|(class, name)| ClassFacts {
                    name: name.clone(),
                    train: counts[0][class],
                    validation: counts[1][class],
                    test: counts[2][class],
                })
                .collect(),
            confusion: Vec::new(),
        };
        Ok(Data {
            training,
            validation,
            test,
            facts,
            preprocess: Preprocess {
                target: sconce_contract::Target {
                    name: dataset.target.clone(),
                    classes,
                },
                features,
            },
        })
    }

    /// Inputs of the network.
    pub fn width(&self) -> usize {
        encode::width(&self.preprocess.features)
    }
}
