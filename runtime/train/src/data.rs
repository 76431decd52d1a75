//! The table as the loop takes it: three parts of rows that are encoded in one piece of memory.

use std::sync::Arc;

use sconce_contract::artifact::COLUMNS_LIMIT;
use sconce_contract::{ClassFacts, ColumnFacts, Dataset, Facts, Feature, Preprocess};
use sconce_engine::{Rows, metrics};
use sconce_model::encode;

use crate::{TrainError, features, reader::Reader, split::Parts, table::Table, target::Target};

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

/// Some rows.
#[derive(Clone, Debug)]
pub struct Part {
    /// `[rows of the table, width]`, which all parts share.
    values: Arc<Vec<f32>>,
    width: usize,
    /// Which rows of them are those of the part.
    rows: Vec<usize>,
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
    /// Encodes the parts of a table.
    pub fn new(table: Table, parts: Parts, target: &Target, dataset: &Dataset) -> Result<Self, TrainError> {
        let (features, columns): (Vec<Feature>, Vec<ColumnFacts>) =
            features::measure(&table, &parts.training, dataset)
                .into_iter()
                .unzip();
        if let Some(feature) = features
            .iter()
            .find(|feature| !(feature.mean + feature.scale).is_finite())
        {
            let problem = format!("the values of {:?} are too large to be scaled", feature.name);
            return Err(TrainError::setting("dataset.features", problem));
        }
        let left_out = table.left_out.clone();
        let values = Arc::new(encoded(table, &features)?);
        let Parts {
            training,
            validation,
            test,
        } = parts;
        let width = encode::width(&features);
        let [training, validation, test] =
            [training, validation, test].map(|rows| Part::of(values.clone(), width, target, rows));
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

/// The inputs of the network for each row of a table, in its memory where they take no more than that.
fn encoded(table: Table, features: &[Feature]) -> Result<Vec<f32>, TrainError> {
    let columns = table.width();
    let mut inputs = Vec::new();
    // The words of texts get their integers by the training rows; all else stands in the table as it is.
    if features.iter().any(|feature| feature.text.is_some()) {
        let readers = Reader::of(features, &table);
        let readers = readers.map_err(|problem| TrainError::setting("dataset.text", problem))?;
        inputs.reserve_exact(table.rows() * encode::width(features));
        let mut raw = Vec::new();
        for row in table.values.chunks_exact(columns) {
            raw.clear();
            readers.iter().for_each(|reader| reader.read(row, &mut raw));
            encode::row(features, &raw, &mut inputs);
        }
        return Ok(inputs);
    }
    let mut values = table.values;
    if encode::width(features) == columns {
        for row in values.chunks_exact_mut(columns) {
            inputs.clear();
            encode::row(features, row, &mut inputs);
            row.copy_from_slice(&inputs);
        }
        return Ok(values);
    }
    inputs.reserve_exact(values.len() / columns * encode::width(features));
    for row in values.chunks_exact(columns) {
        encode::row(features, row, &mut inputs);
    }
    Ok(inputs)
}

impl Part {
    fn of(values: Arc<Vec<f32>>, width: usize, target: &Target, rows: Vec<usize>) -> Self {
        Part {
            values,
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
            rows,
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
        for row in rows.iter().map(|row| self.rows[*row]) {
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
