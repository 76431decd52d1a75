//! Which row is for what.

use sconce_contract::Split;
use sconce_engine::{Purpose, Random};

use crate::TrainError;

/// Indices of the rows of each part, in the order of a shuffle.
#[derive(Clone, Debug, PartialEq)]
pub struct Parts {
    /// Rows to learn from, at least one.
    pub training: Vec<usize>,
    /// Rows to watch.
    pub validation: Vec<usize>,
    /// Rows held out.
    pub test: Vec<usize>,
}

/// Divides the rows of a data set, given the number of rows of its `uri`, `validationUri` and `testUri`, which follow
/// each other. Where one of the latter is given, its rows take the place of that share.
pub fn parts(rows: [Option<usize>; 3], shares: &Split) -> Result<Parts, TrainError> {
    let [main, validation, test] = rows;
    let main = main.unwrap_or_default();
    let share = |given: Option<usize>, share: f64| given.map_or(share, |_| 0.0);
    let mut parts = split(
        main,
        &Split {
            validation: share(validation, shares.validation),
            test: share(test, shares.test),
            seed: shares.seed,
        },
    )?;
    let mut next = main;
    for (part, given) in [(&mut parts.validation, validation), (&mut parts.test, test)] {
        let count = given.unwrap_or_default();
        part.extend(next..next + count);
        next += count;
    }
    Ok(parts)
}

/// Divides the rows: each share of all rows, rounded to whole rows, the rest for training. A share above 0 must
/// come to a row.
pub fn split(rows: usize, split: &Split) -> Result<Parts, TrainError> {
    let count = |share: f64| (share * rows as f64).round() as usize;
    let (validation, test) = (count(split.validation), count(split.test));
    let empty = |field: &str, share: f64| {
        let problem = format!(
            "{share} of {rows} rows is not a row: bring more rows, set it to 0, or at least to {:.3}",
            1.0 / rows as f64
        );
        Err(TrainError::setting(format!("dataset.split.{field}"), problem))
    };
    if split.validation > 0.0 && validation == 0 {
        return empty("validation", split.validation);
    }
    if split.test > 0.0 && test == 0 {
        return empty("test", split.test);
    }
    if validation + test >= rows {
        let problem = format!(
            "of {rows} rows {validation} are for validation and {test} for test, which leaves none to learn from: \
             bring more rows or lower the shares"
        );
        return Err(TrainError::setting("dataset.split", problem));
    }
    let mut order: Vec<usize> = (0..rows).collect();
    Random::new(split.seed, Purpose::Split, 0).shuffle(&mut order);
    let training = order.split_off(validation + test);
    let test = order.split_off(validation);
    Ok(Parts {
        training,
        validation: order,
        test,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(validation: f64, test: f64, seed: u64) -> Split {
        Split {
            validation,
            test,
            seed,
        }
    }

    #[test]
    fn each_row_is_in_one_part() {
        let parts = split(569, &of(0.1, 0.2, 7)).unwrap();
        assert_eq!(
            (parts.validation.len(), parts.test.len(), parts.training.len()),
            (57, 114, 398)
        );
        let mut all = [parts.training, parts.validation, parts.test].concat();
        all.sort_unstable();
        assert_eq!(all, (0..569).collect::<Vec<_>>());
    }

    #[test]
    fn rows_of_their_own_uri_take_the_place_of_a_share() {
        let parts = parts([Some(10), None, Some(3)], &of(0.2, 0.5, 7)).unwrap();
        assert_eq!((parts.training.len(), parts.validation.len()), (8, 2));
        assert_eq!(parts.test, [10, 11, 12]);
        let both = super::parts([Some(1), Some(2), Some(1)], &of(0.2, 0.5, 7)).unwrap();
        assert_eq!(
            (both.training, both.validation, both.test),
            (vec![0], vec![1, 2], vec![3])
        );
    }

    #[test]
    fn the_seed_decides() {
        assert_eq!(
            split(50, &of(0.1, 0.2, 7)).unwrap(),
            split(50, &of(0.1, 0.2, 7)).unwrap()
        );
        assert_ne!(
            split(50, &of(0.1, 0.2, 7)).unwrap(),
            split(50, &of(0.1, 0.2, 8)).unwrap()
        );
        assert_eq!(split(1, &of(0.0, 0.0, 7)).unwrap().training, [0]);
    }

    #[test]
    fn too_few_rows_are_refused() {
        for (rows, shares, field) in [
            (3, of(0.1, 0.0, 7), "dataset.split.validation"),
            (3, of(0.0, 0.1, 7), "dataset.split.test"),
            (1, of(0.0, 0.9, 7), "dataset.split"),
            (2, of(0.45, 0.45, 7), "dataset.split"),
        ] {
            let failure = split(rows, &shares).unwrap_err().failure();
            assert_eq!(failure.field.as_deref(), Some(field), "{}", failure.message);
        }
    }
}
