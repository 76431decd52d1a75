//! Who sends which piece to whom: the ring all-reduce.
//!
//! The numbers are cut into as many chunks as there are workers. In the first half of the rounds each worker adds what
//! comes from the one before to its own, and the sum moves on: then each holds one chunk whole. In the second half the
//! whole chunks go round. Each worker sends and takes `2 (n − 1) / n` of the numbers, however many workers there are
//! (Patarasuk and Yuan 2009). Every chunk is added up in one order and copied from there, so all hold the same bits,
//! and the same number of workers gives the same bits again.

use std::ops::Range;

/// What a worker does in a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Round {
    /// The chunk that goes to the next worker.
    pub(super) send: usize,
    /// The chunk that comes from the one before.
    pub(super) take: usize,
    /// Whether it is added to what is there; else it replaces it.
    pub(super) adds: bool,
}

/// The rounds of a worker.
pub(super) fn rounds(worker: usize, workers: usize) -> impl Iterator<Item = Round> {
    let chunk = move |back: usize| (worker + 2 * workers - back) % workers;
    let halves = [(0, true), (workers - 1, false)];
    halves.into_iter().flat_map(move |(behind, adds)| {
        (0..workers - 1).map(move |round| {
            let back = round + behind;
            Round {
                send: chunk(back),
                take: chunk(back + 1),
                adds,
            }
        })
    })
}

/// Where a chunk of so many numbers lies.
pub(super) fn chunk(index: usize, chunks: usize, numbers: usize) -> Range<usize> {
    let at = |index: usize| (index as u128 * numbers as u128 / chunks as u128) as usize;
    at(index)..at(index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the rounds of all workers, each of which has one number per chunk.
    fn run(workers: usize) -> Vec<Vec<u64>> {
        let mut numbers: Vec<Vec<u64>> = (0..workers)
            .map(|worker| (0..workers).map(|chunk| 1 << (8 * worker + chunk)).collect())
            .collect();
        let of = |worker| rounds(worker, workers).collect::<Vec<_>>();
        let all: Vec<Vec<Round>> = (0..workers).map(of).collect();
        for round in 0..all[0].len() {
            let sent: Vec<u64> = (0..workers)
                .map(|worker| numbers[worker][all[worker][round].send])
                .collect();
            for worker in 0..workers {
                let before = (worker + workers - 1) % workers;
                let Round { take, adds, .. } = all[worker][round];
                assert_eq!(take, all[before][round].send, "they speak of the same chunk");
                let place = &mut numbers[worker][take];
                *place = if adds { *place + sent[before] } else { sent[before] };
            }
        }
        numbers
    }

    #[test]
    fn after_all_rounds_each_worker_has_the_sum_of_every_chunk() {
        for workers in 2..8 {
            let expected: Vec<u64> = (0..workers)
                .map(|chunk| (0..workers).map(|worker| 1 << (8 * worker + chunk)).sum())
                .collect();
            for (worker, numbers) in run(workers).into_iter().enumerate() {
                assert_eq!(numbers, expected, "worker {worker} of {workers}");
            }
        }
        assert_eq!(rounds(0, 1).count(), 0);
    }

    #[test]
    fn chunks_are_all_numbers_in_their_order() {
        for (chunks, numbers) in [(3, 10), (4, 3), (2, 0), (7, 7)] {
            let all = (0..chunks).flat_map(|index| chunk(index, chunks, numbers));
            assert!(all.eq(0..numbers), "{chunks} of {numbers}");
        }
    }
}
