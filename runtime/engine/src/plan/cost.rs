//! Into how many parts the rows of a step are divided: by what a step computes, not by the clock, so that it is the same
//! on every machine with as many threads, and so are the bits (docs/adr/0022).

/// What giving a part to a thread and waiting for it takes, in multiplications of a step.
const HANDING: usize = 200_000;
/// What a weight costs each part, likewise: to be read anew after each step, and its slope to be written and added up.
const ADDING: usize = 65;

/// What a network computes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cost {
    /// Multiplications for a row, forwards.
    pub(super) row: usize,
    /// Numbers of a gradient.
    pub(super) weights: usize,
    /// How often the parts of a step that is learned are waited for.
    pub(super) legs: usize,
}

/// What a step takes, in multiplications.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    /// What is divided.
    work: usize,
    /// What each part after the first adds.
    part: usize,
}

impl Cost {
    /// Of learning: forwards, and backwards by the weights and by the inputs.
    pub(super) fn of_learning(&self, rows: usize) -> Step {
        Step {
            work: self.row.saturating_mul(3).saturating_mul(rows),
            part: HANDING * self.legs + ADDING.saturating_mul(self.weights),
        }
    }

    /// Of looking at rows.
    pub(super) fn of_looking(&self, rows: usize) -> Step {
        Step {
            work: self.row.saturating_mul(rows),
            part: HANDING,
        }
    }
}

impl Step {
    /// The number of parts that takes the least, of equals the fewest.
    pub(super) fn parts(&self, rows: usize, threads: usize) -> usize {
        let price = |parts: usize| self.work / parts + (parts - 1) * self.part;
        let most = threads.min(rows).max(1);
        (1..=most).min_by_key(|&parts| price(parts)).unwrap_or(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_rows_of_a_small_network_are_one_part_and_many_are_as_many_as_threads() {
        let images = Cost {
            row: 650_000,
            weights: 12_800,
            legs: 1,
        };
        let parts = |rows, threads| images.of_learning(rows).parts(rows, threads);
        assert_eq!([parts(1, 8), parts(64, 1), parts(0, 4)], [1; 3]);
        assert_eq!((parts(64, 2), parts(10_000, 8)), (2, 8));
        assert!((2..8).contains(&parts(10, 8)));
        let small = Cost {
            row: 21_000,
            weights: 21_000,
            legs: 1,
        };
        assert_eq!(small.of_learning(32).parts(32, 2), 1);
        assert_eq!(small.of_learning(512).parts(512, 2), 2);
    }

    /// Adding up the gradients of a wide network costs more than its few rows.
    #[test]
    fn a_wide_network_is_divided_later() {
        let wide = Cost {
            row: 1 << 21,
            weights: 1 << 21,
            legs: 1,
        };
        assert_eq!(wide.of_learning(32).parts(32, 2), 1);
        assert_eq!(wide.of_learning(256).parts(256, 2), 2);
    }
}
