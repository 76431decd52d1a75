//! Mean, deviation and bounds of columns of numbers. The order of the rows decides the last bits, and nothing else does:
//! neither where the table is, nor how many threads there are.

use std::ops::Range;

use sconce_contract::{ColumnFacts, NumberFacts};

use crate::table::Table;

/// Values whose mean and deviation are found together, while the processor has them at hand.
const BLOCK: usize = 64;

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
    /// Of some values.
    pub fn of(values: impl Iterator<Item = f64>) -> Self {
        let (mut all, mut block) = (Sums::default(), Vec::with_capacity(BLOCK));
        let mut values = values.fuse();
        loop {
            block.clear();
            block.extend(values.by_ref().take(BLOCK));
            if block.is_empty() {
                return all.moments();
            }
            let mut some = Sums {
                count: block.len() as f64,
                ..Sums::default()
            };
            for value in &block {
                some.sum += value;
                (some.min, some.max) = (least(some.min, *value), greatest(some.max, *value));
            }
            let mean = some.sum / some.count;
            for value in &block {
                some.squares += (value - mean).powi(2);
            }
            all.merge(&some);
        }
    }

    /// The same of each of some columns that stand next to each other in memory, over some rows; nothing where a value is
    /// missing.
    pub fn of_columns(table: &Table, rows: &[usize], columns: Range<usize>) -> Vec<Option<Self>> {
        let width = table.width();
        let mut all = vec![Sums::default(); columns.len()];
        // Side by side, so that the processor takes several columns at once.
        let [mut sums, mut means, mut squares, mut mins, mut maxs] =
            [(); 5].map(|()| vec![0.0; columns.len()]);
        for block in rows.chunks(BLOCK) {
            let count = block.len() as f64;
            let row = |row: &usize| &table.values[row * width..][columns.clone()];
            sums.fill(0.0);
            mins.fill(f64::INFINITY);
            maxs.fill(f64::NEG_INFINITY);
            for row in block.iter().map(row) {
                for ((sum, (min, max)), value) in sums.iter_mut().zip(mins.iter_mut().zip(&mut maxs)).zip(row)
                {
                    let value = f64::from(*value);
                    *sum += value;
                    (*min, *max) = (least(*min, value), greatest(*max, value));
                }
            }
            for (mean, sum) in means.iter_mut().zip(&sums) {
                *mean = sum / count;
            }
            squares.fill(0.0);
            for row in block.iter().map(row) {
                for ((square, value), mean) in squares.iter_mut().zip(row).zip(&means) {
                    *square += (f64::from(*value) - mean).powi(2);
                }
            }
            for (column, all) in all.iter_mut().enumerate() {
                all.merge(&Sums {
                    count,
                    sum: sums[column],
                    squares: squares[column],
                    min: mins[column],
                    max: maxs[column],
                });
            }
        }
        // What is missing is NaN, which a sum with it becomes.
        let all = all.iter().map(Sums::moments);
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

/// What is added up of values.
#[derive(Clone, Debug)]
struct Sums {
    count: f64,
    sum: f64,
    /// Of the squares of what they differ from their mean by: the sum of squares alone loses all digits where the mean is
    /// large.
    squares: f64,
    min: f64,
    max: f64,
}

impl Default for Sums {
    fn default() -> Self {
        Sums {
            count: 0.0,
            sum: 0.0,
            squares: 0.0,
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
        }
    }
}

impl Sums {
    /// Adds those of other values, by the formula of Chan, Golub and LeVeque, "Algorithms for computing the sample
    /// variance" (1983), 2.1.
    fn merge(&mut self, others: &Sums) {
        if self.count > 0.0 {
            let apart = others.sum / others.count - self.sum / self.count;
            self.squares += apart * apart * (self.count * others.count / (self.count + others.count));
        }
        self.squares += others.squares;
        self.sum += others.sum;
        self.count += others.count;
        (self.min, self.max) = (least(self.min, others.min), greatest(self.max, others.max));
    }

    fn moments(&self) -> Moments {
        let of = self.count.max(1.0);
        Moments {
            count: self.count as usize,
            mean: self.sum / of,
            deviation: (self.squares / of).sqrt(),
            min: self.min,
            max: self.max,
        }
    }
}

fn least(least: f64, value: f64) -> f64 {
    if value < least { value } else { least }
}

fn greatest(greatest: f64, value: f64) -> f64 {
    if value > greatest { value } else { greatest }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_that_are_put_together_have_the_moments_of_all_values() {
        // Far from 0, and drifting, so that the blocks have means of their own.
        let values: Vec<f64> = (0..10 * BLOCK + 7)
            .map(|at| 1e6 + f64::from(at as u32) + f64::from(at as u32 % 13) / 8.0)
            .collect();
        let there = Moments::of(values.iter().copied());
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let deviation = (squares / count).sqrt();
        assert_eq!(there.count, values.len());
        assert!((there.mean - mean).abs() < 1e-12 * mean, "{}", there.mean);
        assert!(
            (there.deviation - deviation).abs() < 1e-12 * deviation,
            "{} instead of {deviation}",
            there.deviation
        );
        assert_eq!((there.min, there.max), (values[0], values[values.len() - 1]));
        assert_eq!(Moments::of(std::iter::empty()).mean, 0.0);
    }
}
