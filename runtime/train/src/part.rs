//! Some rows of a table as the loop takes them: batch after batch, in the order of an epoch or of the table.

use std::sync::Arc;

use sconce_engine::{Rows, metrics};

use crate::epoch::Epoch;
use crate::scratch::{ScratchError, Stored};

/// Some rows.
#[derive(Clone, Debug)]
pub struct Part {
    held: Held,
    width: usize,
    answers: Answers,
    /// Classes that the table holds; 0 where numbers are predicted.
    classes: usize,
}

/// Where the inputs of the rows are.
#[derive(Clone, Debug)]
pub(crate) enum Held {
    /// In memory, which all parts share.
    Memory {
        /// `[rows of the table, width]`.
        inputs: Arc<Vec<f32>>,
        /// Which of them are those of the part.
        rows: Vec<usize>,
    },
    /// On disk, without the others.
    Disk(Arc<Stored>),
}

/// What is true of some rows.
#[derive(Clone, Debug)]
pub enum Answers {
    /// Numbers.
    Numbers(Vec<f32>),
    /// Indices of classes, of so many.
    Classes(Vec<u32>, usize),
}

/// Memory for the rows of a step, used again for the next one.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    pub(crate) values: Vec<f32>,
    numbers: Vec<f32>,
    classes: Vec<u32>,
}

impl Part {
    pub(crate) fn new(held: Held, width: usize, answers: Answers) -> Self {
        Part {
            held,
            width,
            classes: match answers {
                Answers::Numbers(_) => 0,
                Answers::Classes(_, classes) => classes,
            },
            answers,
        }
    }

    pub(crate) fn held(&self) -> &Held {
        &self.held
    }

    /// Inputs of a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Whether the rows are on disk.
    pub fn is_on_disk(&self) -> bool {
        matches!(self.held, Held::Disk(_))
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        match &self.answers {
            Answers::Numbers(numbers) => numbers.len(),
            Answers::Classes(classes, _) => classes.len(),
        }
    }

    /// Classes that the table holds, in these rows or not; 0 where numbers are predicted.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// The rows in the order of an epoch, `size` at a time; the first `taken` batches are left out.
    pub fn epoch(&self, seed: u64, epoch: u32, size: usize, taken: usize) -> Epoch<'_> {
        Epoch::new(self, seed, epoch, size, taken)
    }

    /// Puts these rows into the batch, in the place of those that it held. Those that follow each other are read together
    /// where they are on disk.
    pub fn batch<'b>(&self, rows: &[usize], batch: &'b mut Batch) -> Result<Rows<'b>, ScratchError> {
        batch.values.clear();
        match &self.held {
            Held::Memory { inputs, rows: own } => {
                for row in rows.iter().map(|row| own[*row]) {
                    let row = &inputs[row * self.width..(row + 1) * self.width];
                    batch.values.extend_from_slice(row);
                }
            }
            Held::Disk(stored) => {
                for run in rows.chunk_by(|row, next| row + 1 == *next) {
                    stored.read(run[0], run.len(), &mut batch.values)?;
                }
            }
        }
        Ok(self.with_answers(rows, batch))
    }

    /// The values of the batch with what is true of these rows, whose values they are.
    pub(crate) fn with_answers<'b>(&self, rows: &[usize], batch: &'b mut Batch) -> Rows<'b> {
        let targets = match &self.answers {
            Answers::Numbers(all) => {
                batch.numbers.clear();
                batch.numbers.extend(rows.iter().map(|&row| all[row]));
                metrics::Targets::Numbers(&batch.numbers)
            }
            Answers::Classes(all, _) => {
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
        if let Answers::Classes(classes, _) = &self.answers {
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
            Answers::Classes(classes, _) => metrics::Targets::Classes(classes),
        }
    }

    /// Whether numbers or classes are predicted.
    pub fn kind(&self) -> metrics::TargetKind {
        match &self.answers {
            Answers::Numbers(_) => metrics::TargetKind::Numbers,
            Answers::Classes(..) => metrics::TargetKind::Classes,
        }
    }
}
