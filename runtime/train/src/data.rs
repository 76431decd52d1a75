//! The table as the loop takes it: three parts, each in one piece of memory.

use sconce_contract::{Dataset, Feature, Preprocess};
use sconce_engine::{Rows, metrics};

use crate::{
    TrainError,
    split::{self, Parts},
    standardise,
    table::Table,
    target::Target,
};

/// A table, divided and scaled.
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
}

/// Some rows.
#[derive(Clone, Debug)]
pub struct Part {
    /// `[rows, width]`.
    values: Vec<f32>,
    width: usize,
    answers: Answers,
    /// Classes that the table holds; 0 where numbers are predicted.
    classes: usize,
}

/// What is true of some rows.
#[derive(Clone, Debug)]
pub enum Answers {
    /// Numbers.
    Numbers(Vec<f32>),
    /// Indices of classes.
    Classes(Vec<u32>),
}

/// Memory for the rows of a step, used again for the next one.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    values: Vec<f32>,
    numbers: Vec<f32>,
    classes: Vec<u32>,
}

impl Data {
    /// Divides and scales a table.
    pub fn new(table: Table, target: &Target, dataset: &Dataset) -> Result<Self, TrainError> {
        let parts = split::split(table.rows(), &dataset.split)?;
        let Table {
            features: names,
            mut values,
            ..
        } = table;
        let features = standardise::measure(&names, &values, &parts.training, dataset.standardize);
        if let Some(feature) = features
            .iter()
            .find(|feature| !(feature.mean + feature.scale).is_finite())
        {
            let problem = format!("the values of {:?} are too large to be scaled", feature.name);
            return Err(TrainError::setting("dataset.features", problem));
        }
        standardise::apply(&features, &mut values);
        let Parts {
            training,
            validation,
            test,
        } = parts;
        let part = |rows: &[usize]| Part::gather(&values, &features, target, rows);
        Ok(Data {
            training: part(&training),
            validation: part(&validation),
            test: part(&test),
            preprocess: Preprocess {
                target: sconce_contract::Target {
                    name: dataset.target.clone(),
                    classes: match target {
                        Target::Classes { names, .. } => Some(names.clone()),
                        Target::Numbers(_) => None,
                    },
                },
                features,
            },
        })
    }
}

impl Part {
    fn gather(values: &[f32], features: &[Feature], target: &Target, rows: &[usize]) -> Self {
        let width = features.len();
        Part {
            values: rows
                .iter()
                .flat_map(|row| &values[row * width..(row + 1) * width])
                .copied()
                .collect(),
            width,
            classes: match target {
                Target::Numbers(_) => 0,
                Target::Classes { names, .. } => names.len(),
            },
            answers: match target {
                Target::Numbers(all) => Answers::Numbers(rows.iter().map(|&row| all[row]).collect()),
                Target::Classes { rows: all, .. } => {
                    Answers::Classes(rows.iter().map(|&row| all[row]).collect())
                }
            },
        }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        match &self.answers {
            Answers::Numbers(numbers) => numbers.len(),
            Answers::Classes(classes) => classes.len(),
        }
    }

    /// Classes that the table holds, in these rows or not; 0 where numbers are predicted.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Puts these rows into the batch, in the place of those that it held.
    pub fn batch<'b>(&self, rows: &[usize], batch: &'b mut Batch) -> Rows<'b> {
        batch.values.clear();
        for row in rows {
            batch
                .values
                .extend_from_slice(&self.values[row * self.width..(row + 1) * self.width]);
        }
        let targets = match &self.answers {
            Answers::Numbers(all) => {
                batch.numbers.clear();
                batch.numbers.extend(rows.iter().map(|&row| all[row]));
                metrics::Targets::Numbers(&batch.numbers)
            }
            Answers::Classes(all) => {
                batch.classes.clear();
                batch.classes.extend(rows.iter().map(|&row| all[row]));
                metrics::Targets::Classes(&batch.classes)
            }
        };
        Rows {
            x: &batch.values,
            targets,
        }
    }

    /// Rows of each class; empty where numbers are predicted.
    pub fn class_counts(&self) -> Vec<u64> {
        let mut counts = vec![0; self.classes];
        if let Answers::Classes(classes) = &self.answers {
            for &class in classes {
                counts[class as usize] += 1;
            }
        }
        counts
    }

    /// All rows in pieces of at most `size`, in order.
    pub fn pieces(&self, size: usize) -> impl Iterator<Item = Vec<usize>> {
        let rows = self.rows();
        (0..rows)
            .step_by(size.max(1))
            .map(move |from| (from..rows.min(from + size)).collect())
    }

    /// What is true, for the metrics.
    pub fn truth(&self) -> metrics::Targets<'_> {
        match &self.answers {
            Answers::Numbers(numbers) => metrics::Targets::Numbers(numbers),
            Answers::Classes(classes) => metrics::Targets::Classes(classes),
        }
    }

    /// Whether numbers or classes are predicted.
    pub fn kind(&self) -> metrics::TargetKind {
        match &self.answers {
            Answers::Numbers(_) => metrics::TargetKind::Numbers,
            Answers::Classes(_) => metrics::TargetKind::Classes,
        }
    }
}
