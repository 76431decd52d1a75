//! A step that several workers take together: each looks at rows of its own, and all move by the same gradient.
//!
//! ```text
//!   worker 0: rows ─► gradient ┐                         ┌► clip ─► optimiser ─► weights
//!   worker 1: rows ─► gradient ┼─► AllReduce (the sum) ──┼► clip ─► optimiser ─► the same weights
//!   worker 2: rows ─► gradient ┘                         └► clip ─► optimiser ─► the same weights
//! ```

use std::ops::Range;

/// Which worker of how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    worker: usize,
    workers: usize,
}

impl Share {
    /// Of one that works alone.
    pub const WHOLE: Share = Share {
        worker: 0,
        workers: 1,
    };

    /// Of a worker, counted from 0; nothing where there is no such worker.
    pub fn new(worker: usize, workers: usize) -> Option<Self> {
        (worker < workers).then_some(Share { worker, workers })
    }

    /// Its part of so many rows. The parts of all workers follow one another; no two differ by more than a row, and
    /// the first workers have more. Where there are fewer rows than workers, the last have none.
    pub fn of(self, rows: usize) -> Range<usize> {
        let (each, more) = (rows / self.workers, rows % self.workers);
        let from = self.worker * each + self.worker.min(more);
        from..from + each + usize::from(self.worker < more)
    }

    /// Its rows of a step that is learned in pieces of at most `piece` rows: its part of each piece.
    pub fn of_step(self, step: &[usize], piece: usize) -> Vec<usize> {
        step.chunks(piece.max(1))
            .flat_map(|rows| &rows[self.of(rows.len())])
            .copied()
            .collect()
    }
}

/// Adds up what the workers of a group have.
pub trait AllReduce {
    /// Replaces the gradient and the sum of the rows' losses by their sums over all workers, the same bits on each.
    ///
    /// # Errors
    /// Why not: a worker is gone or was told to stop. The gradient is then of no use.
    fn all_reduce(&mut self, gradient: &mut [f32], loss: &mut f64) -> Result<(), String>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_all_workers_are_all_rows_in_their_order() {
        for workers in 1..6 {
            for rows in 0..20 {
                let parts: Vec<Range<usize>> = (0..workers)
                    .map(|worker| Share::new(worker, workers).unwrap().of(rows))
                    .collect();
                assert!(
                    parts.iter().cloned().flatten().eq(0..rows),
                    "{rows} rows: {parts:?}"
                );
                let sizes = parts.iter().map(Range::len);
                assert!(
                    sizes.clone().max().unwrap() - sizes.min().unwrap() <= 1,
                    "{parts:?}"
                );
            }
        }
        assert_eq!(Share::new(2, 2), None);
    }

    #[test]
    fn a_step_is_divided_piece_by_piece() {
        let step: Vec<usize> = (10..21).collect();
        let of = |worker| Share::new(worker, 2).unwrap().of_step(&step, 4);
        assert_eq!(of(0), [10, 11, 14, 15, 18, 19]);
        assert_eq!(of(1), [12, 13, 16, 17, 20]);
        assert_eq!(Share::WHOLE.of_step(&step, 4), step);
    }
}
