//! Random numbers that depend on the seed alone.
//!
//! ChaCha with eight rounds: its stream is defined by the algorithm, not by a library's version. Each use has
//! a key of its own, so how many numbers one use draws never shifts another.

use std::ops::Range;

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};

/// What random numbers are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Initial weights; the index is that of the layer.
    Weights = 0,
    /// Which row is for training, validation or test; the index is 0.
    Split = 1,
    /// The order of the rows; the index is the epoch.
    Order = 2,
    /// Which values are dropped; the index is the step.
    Dropout = 3,
    /// Which values a trial of a search has; the index is that of the trial.
    Search = 4,
}

/// A stream of random numbers.
#[derive(Clone, Debug)]
pub struct Random {
    stream: ChaCha8Rng,
    /// For which rows of how many numbers of rows are drawn.
    own: Range<usize>,
    rows: usize,
}

impl Random {
    /// The stream of a seed for one purpose and index.
    pub fn new(seed: u64, purpose: Purpose, index: u64) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8] = purpose as u8;
        let mut generator = ChaCha8Rng::from_seed(key);
        generator.set_stream(index);
        Random {
            stream: generator,
            own: 0..1,
            rows: 1,
        }
    }

    /// From now on numbers of rows are drawn for these of so many: those that the others get are passed over, so that
    /// each row gets the same wherever it is learned.
    pub(crate) fn narrow(&mut self, own: Range<usize>, rows: usize) {
        (self.own, self.rows) = (own, rows);
    }

    /// Gives each of the values, which are as many for each row, a uniform number of 32 bits.
    pub(crate) fn bits_of_rows(&mut self, values: &mut [f32], value: impl Fn(u32) -> f32) {
        let each = values.len() / self.own.len().max(1);
        self.pass_over(self.own.start * each);
        for place in values {
            *place = value(self.bits());
        }
        self.pass_over((self.rows - self.own.end) * each);
    }

    /// Leaves out so many numbers of 32 bits.
    pub(crate) fn pass_over(&mut self, numbers: usize) {
        if numbers > 0 {
            let at = self.stream.get_word_pos();
            self.stream.set_word_pos(at + numbers as u128);
        }
    }

    /// A uniform number of 32 bits.
    pub fn bits(&mut self) -> u32 {
        self.stream.next_u32()
    }

    /// Of how many rows numbers are drawn, and which of them is the first.
    pub(crate) fn place(&self) -> (usize, usize) {
        (self.rows, self.own.start)
    }

    /// The same stream after so many numbers of 32 bits more, for all that follow.
    pub(crate) fn ahead(&self, numbers: usize) -> Self {
        let mut ahead = Random {
            stream: self.stream.clone(),
            own: 0..1,
            rows: 1,
        };
        ahead.pass_over(numbers);
        ahead
    }

    /// A uniform number in [0, 1), of 53 bits.
    pub fn unit(&mut self) -> f64 {
        (self.stream.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A uniform number in [0, bound); 0 where the bound is 0. Unbiased: Lemire, "Fast Random Integer
    /// Generation in an Interval" (2019).
    pub fn below(&mut self, bound: u64) -> u64 {
        loop {
            let product = u128::from(self.stream.next_u64()) * u128::from(bound);
            let low = product as u64;
            // The lowest `2^64 mod bound` values of the fraction would make some results more likely.
            if low >= bound || low >= bound.wrapping_neg() % bound.max(1) {
                return (product >> 64) as u64;
            }
        }
    }

    /// Puts the items in a uniformly random order (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = self.below(last as u64 + 1) as usize;
            items.swap(last, other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(seed: u64, purpose: Purpose, index: u64) -> u32 {
        Random::new(seed, purpose, index).bits()
    }

    #[test]
    fn seed_purpose_and_index_each_give_another_stream() {
        let base = first(42, Purpose::Order, 0);
        assert_eq!(base, first(42, Purpose::Order, 0));
        assert_ne!(base, first(43, Purpose::Order, 0));
        assert_ne!(base, first(42, Purpose::Dropout, 0));
        assert_ne!(base, first(42, Purpose::Order, 1));
    }

    #[test]
    fn a_stream_never_changes_between_versions() {
        let mut items: Vec<u32> = (0..8).collect();
        Random::new(42, Purpose::Order, 3).shuffle(&mut items);
        assert_eq!(
            items,
            [5, 0, 4, 6, 2, 3, 7, 1],
            "a seed must give the same run for ever"
        );
    }

    #[test]
    fn a_stream_can_be_taken_up_further_on() {
        let mut random = Random::new(42, Purpose::Dropout, 3);
        random.bits();
        let mut ahead = random.ahead(100);
        for _ in 0..100 {
            random.bits();
        }
        assert_eq!(ahead.bits(), random.bits());
    }

    #[test]
    fn a_row_gets_the_same_numbers_wherever_it_is_learned() {
        let draw = |own: Range<usize>, widths: &[usize]| {
            let mut random = Random::new(7, Purpose::Dropout, 3);
            random.narrow(own.clone(), 5);
            let layers = widths.iter().map(|width| {
                let mut values = vec![0.0; own.len() * width];
                random.bits_of_rows(&mut values, |bits| bits as f32);
                values
            });
            layers.collect::<Vec<_>>()
        };
        let widths = [3, 70];
        let (whole, first, last) = (draw(0..5, &widths), draw(0..2, &widths), draw(2..5, &widths));
        for layer in 0..2 {
            assert_eq!(whole[layer], [&first[layer][..], &last[layer][..]].concat());
        }
    }

    #[test]
    fn numbers_below_a_bound_are_even() {
        let mut random = Random::new(1, Purpose::Split, 0);
        let mut counts = [0; 5];
        for _ in 0..50_000 {
            counts[random.below(5) as usize] += 1;
        }
        assert!(
            counts.iter().all(|&count| (9_600..10_400).contains(&count)),
            "{counts:?}"
        );
        assert_eq!(random.below(0), 0);
        assert_eq!(random.below(1), 0);
    }

    #[test]
    fn units_lie_in_their_interval_and_have_the_right_mean() {
        let mut random = Random::new(1, Purpose::Weights, 0);
        let units: Vec<f64> = (0..10_000).map(|_| random.unit()).collect();
        assert!(units.iter().all(|unit| (0.0..1.0).contains(unit)));
        let mean = units.iter().sum::<f64>() / units.len() as f64;
        assert!((mean - 0.5).abs() < 0.01, "{mean}");
    }
}
