//! What is predicted: numbers or classes.

use std::collections::{BTreeMap, HashMap};

use sconce_contract::Loss;

use crate::{
    TrainError,
    part::Answers,
    table::{Cells, TableError, number},
};

/// What is predicted, row after row.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// A number per row.
    Numbers(Vec<f32>),
    /// A class per row.
    Classes {
        /// The classes in the order of their indices: numbers by size, everything else alphabetically.
        names: Vec<String>,
        /// Index of each row's class.
        rows: Vec<u32>,
    },
}

impl Target {
    /// What is true of these rows.
    pub fn of(&self, rows: &[usize]) -> Answers {
        match self {
            Target::Numbers(all) => Answers::Numbers(rows.iter().map(|&row| all[row]).collect()),
            Target::Classes { names, rows: all } => {
                Answers::Classes(rows.iter().map(|&row| all[row]).collect(), names.len())
            }
        }
    }

    /// What it is, without what the rows hold.
    pub fn kind(&self) -> Self {
        match self {
            Target::Numbers(_) => Target::Numbers(Vec::new()),
            Target::Classes { names, .. } => Target::Classes {
                names: names.clone(),
                rows: Vec::new(),
            },
        }
    }
}

/// Reads the target. What the loss asks for decides; without one, numbers stay numbers and text becomes classes.
pub fn read(cells: &Cells, column: &str, loss: Option<Loss>) -> Result<Target, TrainError> {
    if let Some(empty) = cells.iter().position(str::is_empty) {
        let problem = crate::table::NotANumber::Empty;
        let remedy = "fill in the cell or delete the row";
        return Err(TableError::Target {
            place: cells.place(empty),
            column: column.to_owned(),
            problem,
            remedy,
        }
        .into());
    }
    match loss {
        Some(Loss::MeanSquaredError | Loss::MeanAbsoluteError | Loss::Huber) => {
            numbers(cells, column, NUMBERS_WANTED)
        }
        Some(Loss::BinaryCrossEntropy | Loss::CrossEntropy) => classes(cells, column),
        // One bad cell among numbers is a fault of the table, not a class.
        None if 2 * cells.iter().filter(|cell| number(cell).is_ok()).count() > cells.len() => {
            numbers(cells, column, NUMBERS_FOUND)
        }
        None => classes(cells, column),
    }
}

const NUMBERS_WANTED: &str =
    "hyperparameters.loss is one of numbers: mend the cell, or choose a loss for classes";
const NUMBERS_FOUND: &str = "most cells of the target are numbers: mend the cell, or set hyperparameters.loss to CrossEntropy to \
     take every value as a class";

fn numbers(cells: &Cells, column: &str, remedy: &'static str) -> Result<Target, TrainError> {
    let read = cells.iter().enumerate().map(|(row, cell)| {
        number(cell).map_err(|problem| TableError::Target {
            place: cells.place(row),
            column: column.to_owned(),
            problem,
            remedy,
        })
    });
    let numbers = read.collect::<Result<Vec<f32>, TableError>>()?;
    match numbers.first() {
        Some(first) if numbers.iter().all(|number| number == first) => Err(TrainError::setting(
            "dataset.target",
            format!("{column:?} holds {first} in every row: there is nothing to predict"),
        )),
        _ => Ok(Target::Numbers(numbers)),
    }
}

/// From 2⁵³ on a number stands for several integers: labels like that are words, or different ones would be one class.
const EXACT_BELOW: f64 = 9_007_199_254_740_992.0;

fn classes(cells: &Cells, column: &str) -> Result<Target, TrainError> {
    let mut labels: BTreeMap<&str, Option<f64>> = BTreeMap::new();
    for cell in cells.iter() {
        labels.entry(cell).or_insert_with(|| {
            cell.parse()
                .ok()
                .filter(|number: &f64| number.abs() < EXACT_BELOW)
        });
    }
    // 1, 1.0 and 01 are one class where every label is a number.
    let numeric: Option<Vec<f64>> = labels.values().copied().collect();
    let (names, index_of): (Vec<String>, HashMap<&str, u32>) = match numeric {
        Some(mut numbers) => {
            // −0 and 0 are equal but would be told apart by the order of bits.
            numbers.iter_mut().for_each(|number| *number += 0.0);
            numbers.sort_by(f64::total_cmp);
            numbers.dedup();
            let names = numbers.iter().map(ToString::to_string).collect();
            let index = |number: f64| numbers.partition_point(|other| *other < number) as u32;
            let index_of = labels
                .iter()
                .filter_map(|(label, number)| Some((*label, index((*number)?))));
            (names, index_of.collect())
        }
        None => {
            let names = labels.keys().map(ToString::to_string).collect();
            (names, labels.keys().copied().zip(0..).collect())
        }
    };
    if let [only] = names.as_slice() {
        let problem = format!("{column:?} holds {only:?} in every row: there must be at least two classes");
        return Err(TrainError::setting("dataset.target", problem));
    }
    let rows = cells
        .iter()
        .filter_map(|cell| index_of.get(cell).copied())
        .collect();
    Ok(Target::Classes { names, rows })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(values: &[&str]) -> Cells {
        let mut cells = Cells::default();
        for (index, value) in values.iter().enumerate() {
            cells.push(value, &crate::table::Place::line(index as u64 + 2));
        }
        cells
    }

    #[test]
    fn text_becomes_classes_and_numbers_stay_unless_the_loss_asks_for_classes() {
        let of = |names: &[&str], rows: &[u32]| Target::Classes {
            names: names.iter().map(ToString::to_string).collect(),
            rows: rows.to_vec(),
        };
        for (values, loss, expected) in [
            (&["b", "a", "b"][..], None, of(&["a", "b"], &[1, 0, 1])),
            (
                &["b", "a"],
                Some(Loss::BinaryCrossEntropy),
                of(&["a", "b"], &[1, 0]),
            ),
            (&["2", "1.5"], None, Target::Numbers(vec![2.0, 1.5])),
            (
                &["10", "9", "9.0"],
                Some(Loss::CrossEntropy),
                of(&["9", "10"], &[1, 0, 0]),
            ),
            (
                &["1", "0", "-0"],
                Some(Loss::BinaryCrossEntropy),
                of(&["0", "1"], &[1, 0, 0]),
            ),
            (
                &["10", "9", "x"],
                Some(Loss::CrossEntropy),
                of(&["10", "9", "x"], &[0, 1, 2]),
            ),
            (
                &["10000000000000001", "10000000000000000", "7"],
                Some(Loss::CrossEntropy),
                of(&["10000000000000000", "10000000000000001", "7"], &[1, 0, 2]),
            ),
            (
                &["2", "1.5"],
                Some(Loss::MeanSquaredError),
                Target::Numbers(vec![2.0, 1.5]),
            ),
        ] {
            assert_eq!(
                read(&cells(values), "y", loss).unwrap(),
                expected,
                "{values:?} {loss:?}"
            );
        }
    }

    #[test]
    fn a_target_that_cannot_be_learned_is_refused() {
        for (values, loss, says) in [
            (
                &["1", "", "2"][..],
                None,
                "line 3, column \"y\": the cell is empty; fill in",
            ),
            (&["a", "a"], None, "\"a\" in every row"),
            (&["1", "1.0"], Some(Loss::CrossEntropy), "\"1\" in every row"),
            (&["3", "3"], None, "3 in every row"),
            (
                &["1", "2", "n/a"],
                None,
                "line 4, column \"y\": \"n/a\" is not a number; most cells",
            ),
            (&["1", "2", "inf"], None, "\"inf\" is not a finite number"),
            (
                &["a", "b"],
                Some(Loss::MeanSquaredError),
                "hyperparameters.loss is one of numbers",
            ),
        ] {
            let error = read(&cells(values), "y", loss).unwrap_err();
            assert!(error.to_string().contains(says), "{error}");
            assert_eq!(error.failure().field.as_deref(), Some("dataset.target"));
        }
    }
}
