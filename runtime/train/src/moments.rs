//! Mean, deviation and bounds of columns of numbers. The order of the rows decides the last bits, and nothing else does.

use std::ops::Range;

use sconce_contract::{ColumnFacts, NumberFacts};

use crate::table::Table;

/// What is told of numbers.
#[derive(Clone, Debug)]
pub struct Moments {
    /// How many there are.
    pub count: usize,
    /// Their mean.
    pub mean: f64,
    deviation: f64,
    /// Infinity where there is none.
    min: f64,
    max: f64,
}

impl Moments {
    /// Of values that come in the same order each time.
    pub fn of<V: Iterator<Item = f64>>(values: impl Fn() -> V) -> Self {
        let (mut min, mut max, mut count) = (f64::INFINITY, f64::NEG_INFINITY, 0);
        let counted = values().inspect(|&value| {
            count += 1;
            (min, max) = (least(min, value), greatest(max, value));
        });
        let sum: f64 = counted.sum();
        let of = f64::max(count as f64, 1.0);
        // Two passes: the sum of squares alone loses all digits where the mean is large.
        let mean = sum / of;
        let squares: f64 = values().map(|value| (value - mean).powi(2)).sum();
        Moments {
            count,
            mean,
            deviation: (squares / of).sqrt(),
            min,
            max,
        }
    }

    /// The same of each of some columns that stand next to each other in memory, over some rows; nothing where a value is
    /// missing.
    pub fn of_columns(table: &Table, rows: &[usize], columns: Range<usize>) -> Vec<Option<Self>> {
        // As the standard library begins a sum.
        let zeros = vec![-0.0; columns.len()];
        let (mut sums, mut mins) = (zeros.clone(), vec![f64::INFINITY; columns.len()]);
        let mut maxs = vec![f64::NEG_INFINITY; columns.len()];
        each(table, rows, &columns, |row| {
            let all = sums.iter_mut().zip(&mut mins).zip(&mut maxs).zip(row);
            for (((sum, min), max), value) in all {
                let value = f64::from(*value);
                *sum += value;
                (*min, *max) = (least(*min, value), greatest(*max, value));
            }
        });
        let of = rows.len().max(1) as f64;
        let means: Vec<f64> = sums.iter().map(|sum| sum / of).collect();
        let mut squares = zeros;
        each(table, rows, &columns, |row| {
            for ((sum, value), mean) in squares.iter_mut().zip(row).zip(&means) {
                *sum += (f64::from(*value) - mean).powi(2);
            }
        });
        let moments = |column: usize| Moments {
            count: rows.len(),
            mean: means[column],
            deviation: (squares[column] / of).sqrt(),
            min: mins[column],
            max: maxs[column],
        };
        // What is missing is NaN, which a sum with it becomes.
        let all = (0..columns.len()).map(moments);
        all.map(|there| Some(there).filter(|there| !there.mean.is_nan()))
            .collect()
    }

    /// Whether all are alike.
    fn constant(&self) -> bool {
        self.min >= self.max
    }

    /// Of a column in which so many are missing.
    pub fn facts(&self, name: &str, missing: u64) -> ColumnFacts {
        ColumnFacts {
            name: name.to_owned(),
            missing,
            words: None,
            texts: None,
            numbers: Some(NumberFacts {
                min: if self.count == 0 { 0.0 } else { self.min },
                mean: self.mean,
                max: if self.count == 0 { 0.0 } else { self.max },
                deviation: if self.constant() { 0.0 } else { self.deviation },
            }),
        }
    }

    /// Mean and scale, which is 1 where all are alike.
    pub fn scale(&self) -> (f64, f64) {
        let usable = !self.constant() && self.deviation != 0.0;
        (self.mean, if usable { self.deviation } else { 1.0 })
    }
}

/// Rows that are fetched together: each may be anywhere, and the processor would wait for one after the other.
const TOGETHER: usize = 64;

/// Shows some columns of rows in memory.
fn each(table: &Table, rows: &[usize], columns: &Range<usize>, mut show: impl FnMut(&[f32])) {
    let width = table.width();
    let mut fetched = Vec::with_capacity(TOGETHER * columns.len());
    for some in rows.chunks(TOGETHER) {
        fetched.clear();
        for row in some {
            let row = &table.values[row * width..][columns.clone()];
            fetched.extend_from_slice(row);
        }
        fetched.chunks_exact(columns.len()).for_each(&mut show);
    }
}

fn least(least: f64, value: f64) -> f64 {
    if value < least { value } else { least }
}

fn greatest(greatest: f64, value: f64) -> f64 {
    if value > greatest { value } else { greatest }
}
