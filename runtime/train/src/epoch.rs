//! The rows of an epoch, in an order that seed and epoch alone decide: a run that goes on takes those that were left.
//!
//! ```text
//!   in memory   all rows in the order of a shuffle
//!   on disk     blocks in the order of a shuffle ─► windows of some blocks, their rows shuffled ─► batches
//!                                                   (read ahead by a thread: one in hand, one ready, one being read)
//! ```

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use sconce_engine::{Purpose, Random, Rows, Share};

use crate::part::{Batch, Held, Part};
use crate::scratch::{ScratchError, Stored};

/// Bytes of a block, which is read at once. It decides the order of the rows, as the next one does: with another one, a
/// run would not go on with the same bits.
const BLOCK: usize = 32 << 10;
/// Blocks of a window: rows are shuffled among so many places of the table.
const BLOCKS: usize = 128;
/// Bytes of a window of fewer, where a row is longer than a block.
const WINDOW: usize = BLOCK * BLOCKS;

/// The rows of an epoch.
#[derive(Debug)]
pub struct Epoch<'p> {
    part: &'p Part,
    size: usize,
    order: Order,
    /// The rows of the batch.
    rows: Vec<usize>,
    /// Whose rows are wanted, of batches that are learned in pieces of so many.
    share: (Share, usize),
}

#[derive(Debug)]
enum Order {
    Memory { rows: Vec<usize>, next: usize },
    Disk(Ahead),
}

impl<'p> Epoch<'p> {
    pub(crate) fn new(part: &'p Part, seed: u64, epoch: u32, size: usize, taken: usize) -> Self {
        let skipped = taken.saturating_mul(size);
        let order = match part.held() {
            Held::Memory { .. } => {
                let mut rows: Vec<usize> = (0..part.rows()).collect();
                Random::new(seed, Purpose::Order, u64::from(epoch)).shuffle(&mut rows);
                Order::Memory { rows, next: skipped }
            }
            Held::Disk(stored) => Order::Disk(Ahead::of(stored, Plan::new(stored, seed, epoch), skipped)),
        };
        Epoch {
            part,
            size,
            order,
            rows: Vec::new(),
            share: (Share::WHOLE, usize::MAX),
        }
    }

    /// The same, of each batch the rows of one of those who share it alone.
    pub fn shared(mut self, share: Share, piece: usize) -> Self {
        self.share = (share, piece);
        self
    }

    /// The rows of the next step, put into the batch, with the number that all who share it have; nothing at the end. The
    /// last ones are as many as are left.
    pub fn next<'b>(&mut self, batch: &'b mut Batch) -> Result<Option<(usize, Rows<'b>)>, ScratchError> {
        match &mut self.order {
            Order::Memory { rows, next } => {
                let some = rows.get(*next..).unwrap_or_default();
                let some = &some[..some.len().min(self.size)];
                *next += some.len();
                if some.is_empty() {
                    return Ok(None);
                }
                let (share, piece) = self.share;
                let rows = match share {
                    Share::WHOLE => self.part.batch(some, batch)?,
                    share => self.part.batch(&share.of_step(some, piece), batch)?,
                };
                Ok(Some((some.len(), rows)))
            }
            Order::Disk(ahead) => {
                batch.values.clear();
                self.rows.clear();
                while self.rows.len() < self.size
                    && let Some(row) = ahead.next(&mut batch.values)?
                {
                    self.rows.push(row);
                }
                if self.rows.is_empty() {
                    return Ok(None);
                }
                let count = self.rows.len();
                if self.share.0 != Share::WHOLE {
                    self.keep_own(batch);
                }
                Ok(Some((count, self.part.with_answers(&self.rows, batch))))
            }
        }
    }
}

impl Epoch<'_> {
    /// Leaves of the batch the rows of this share.
    fn keep_own(&mut self, batch: &mut Batch) {
        let (share, piece) = self.share;
        let places: Vec<usize> = (0..self.rows.len()).collect();
        let width = self.part.width();
        let own = share.of_step(&places, piece);
        for (to, &from) in own.iter().enumerate() {
            self.rows[to] = self.rows[from];
            batch
                .values
                .copy_within(from * width..(from + 1) * width, to * width);
        }
        self.rows.truncate(own.len());
        batch.values.truncate(own.len() * width);
    }
}

/// Which rows are in which window.
#[derive(Debug)]
struct Plan {
    seed: u64,
    epoch: u32,
    rows: usize,
    /// Rows of a block; the last one may have fewer.
    of_block: usize,
    /// Blocks of a window; the last one may have fewer.
    of_window: usize,
    /// The blocks in the order of the epoch.
    blocks: Vec<u32>,
}

impl Plan {
    fn new(stored: &Stored, seed: u64, epoch: u32) -> Self {
        let row = size_of::<f32>() * stored.width().max(1);
        let of_block = (BLOCK / row).max(1);
        let mut blocks: Vec<u32> = (0..).take(stored.rows().div_ceil(of_block)).collect();
        Random::new(seed, Purpose::Order, u64::from(epoch)).shuffle(&mut blocks);
        Plan {
            seed,
            epoch,
            rows: stored.rows(),
            of_block,
            of_window: (WINDOW / (of_block * row)).clamp(1, BLOCKS),
            blocks,
        }
    }

    fn windows(&self) -> usize {
        self.blocks.len().div_ceil(self.of_window)
    }

    /// First row and number of rows of each block of a window, in the order of the file.
    fn runs(&self, window: usize) -> Vec<(usize, usize)> {
        let end = self.blocks.len().min((window + 1) * self.of_window);
        let mut blocks = self.blocks[window * self.of_window..end].to_vec();
        blocks.sort_unstable();
        let run = |block: u32| {
            let first = block as usize * self.of_block;
            (first, self.of_block.min(self.rows - first))
        };
        blocks.into_iter().map(run).collect()
    }

    /// Rows of a window.
    fn count(&self, window: usize) -> usize {
        self.runs(window).iter().map(|(_, count)| count).sum()
    }

    fn read(&self, stored: &Stored, window: usize) -> Result<Window, ScratchError> {
        let (mut values, mut rows) = (Vec::new(), Vec::new());
        values.reserve_exact(self.count(window) * stored.width());
        for (first, count) in self.runs(window) {
            stored.read(first, count, &mut values)?;
            rows.extend(first..first + count);
        }
        let mut order: Vec<u32> = (0..).take(rows.len()).collect();
        // Each window has a stream of its own, so that nobody has to draw those before it.
        let stream = u64::from(self.epoch) | (window as u64 + 1) << 32;
        Random::new(self.seed, Purpose::Order, stream).shuffle(&mut order);
        Ok(Window { values, rows, order })
    }
}

/// Some blocks in memory.
#[derive(Debug, Default)]
struct Window {
    values: Vec<f32>,
    /// Which rows of the part they are.
    rows: Vec<usize>,
    /// Places among them, in the order of the epoch.
    order: Vec<u32>,
}

/// Windows that are read before they are asked for.
#[derive(Debug)]
struct Ahead {
    stored: Arc<Stored>,
    window: Window,
    /// Rows of the window that were given.
    given: usize,
    windows: Receiver<Result<Window, ScratchError>>,
    /// Windows that are still to come.
    left: usize,
    /// Why no thread reads them.
    failed: Option<ScratchError>,
}

impl Ahead {
    /// From the row on that so many come before.
    fn of(stored: &Arc<Stored>, plan: Plan, skipped: usize) -> Self {
        let (mut first, mut given) = (0, skipped);
        while first < plan.windows() && given >= plan.count(first) {
            given -= plan.count(first);
            first += 1;
        }
        let left = plan.windows() - first;
        // One is ready while the next is read.
        let (sender, windows) = sync_channel(1);
        let file = stored.clone();
        let read = move || {
            for window in first..plan.windows() {
                let read = plan.read(&file, window);
                let failed = read.is_err();
                // Nobody listens where the epoch is left before its end.
                if sender.send(read).is_err() || failed {
                    return;
                }
            }
        };
        let started = thread::Builder::new().name("rows".to_owned()).spawn(read);
        Ahead {
            stored: stored.clone(),
            window: Window::default(),
            given,
            windows,
            left,
            failed: started.err().map(|error| stored.failed(&error)),
        }
    }

    /// Appends the values of the next row and says which it is; nothing at the end.
    fn next(&mut self, values: &mut Vec<f32>) -> Result<Option<usize>, ScratchError> {
        if let Some(failed) = &self.failed {
            return Err(failed.clone());
        }
        if self.window.order.is_empty() || self.given == self.window.order.len() {
            // The rows that were skipped are of the first one.
            self.given = if self.window.order.is_empty() {
                self.given
            } else {
                0
            };
            self.window = Window::default();
            if self.left == 0 {
                return Ok(None);
            }
            // A thread that ended before is one that panicked.
            let ended = |_| Err(self.stored.failed(&io::Error::other(ENDED)));
            self.window = self.windows.recv().unwrap_or_else(ended)?;
            self.left -= 1;
        }
        let width = self.stored.width();
        let place = self.window.order[self.given] as usize;
        self.given += 1;
        values.extend_from_slice(&self.window.values[place * width..(place + 1) * width]);
        Ok(Some(self.window.rows[place]))
    }
}

const ENDED: &str = "the thread that reads them ended before the last of them";

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::part::Answers;
    use crate::scratch::{Scratch, Writer};

    /// Rows of 64 numbers, the first of which tells which it is; so is the answer.
    fn part(rows: usize) -> Part {
        let scratch = Scratch::new(&std::env::temp_dir(), 0);
        let mut writer = Writer::new(&scratch, 64).unwrap();
        for row in 0..rows {
            writer.add(&[row as f32; 64]).unwrap();
        }
        let answers = Answers::Numbers((0..rows).map(|row| row as f32).collect());
        Part::new(Held::Disk(Arc::new(writer.finish().unwrap())), 64, answers)
    }

    fn order(part: &Part, seed: u64, epoch: u32, taken: usize) -> Vec<usize> {
        let (mut batches, mut batch, mut all) =
            (part.epoch(seed, epoch, 100, taken), Batch::default(), Vec::new());
        while let Some((count, rows)) = batches.next(&mut batch).unwrap() {
            let sconce_engine::metrics::Targets::Numbers(answers) = rows.targets else {
                panic!("numbers were given");
            };
            assert_eq!((rows.x.len(), answers.len()), (64 * count, count));
            for (values, answer) in rows.x.chunks(64).zip(answers) {
                assert!(values.iter().all(|value| value == answer));
            }
            all.extend(answers.iter().map(|answer| *answer as usize));
        }
        all
    }

    #[test]
    fn each_row_on_disk_is_taken_once_an_epoch_in_an_order_of_seed_and_epoch() {
        // 128 rows a block, 16,384 a window: two windows and a part of a third, with a block that is not full.
        let part = part(40_001);
        let first = order(&part, 7, 0, 0);
        assert_eq!(first.iter().collect::<BTreeSet<_>>().len(), 40_001);
        assert_eq!(first.len(), 40_001);
        assert_eq!(first, order(&part, 7, 0, 0));
        assert_ne!(first, order(&part, 7, 1, 0));
        assert_ne!(first, order(&part, 8, 0, 0));
        // Rows of the beginning of the table come at any time of the epoch.
        let early = first[..10_000].iter().filter(|row| **row < 20_000).count();
        assert!((3500..6500).contains(&early), "{early}");
    }

    #[test]
    fn a_window_is_of_four_mebibytes_and_of_one_row_where_that_is_longer() {
        let scratch = Scratch::new(&std::env::temp_dir(), 0);
        for (width, windows) in [
            (64, &[128 * 128, 22 * 128][..]),
            (1 << 18, &[4, 3]),
            (3 << 19, &[1, 1, 1]),
        ] {
            let mut writer = Writer::new(&scratch, width).unwrap();
            let row = vec![0.0; width];
            (0..windows.iter().sum()).for_each(|_: usize| writer.add(&row).unwrap());
            let plan = Plan::new(&writer.finish().unwrap(), 7, 0);
            let counts: Vec<usize> = (0..plan.windows()).map(|window| plan.count(window)).collect();
            assert_eq!(counts, windows, "{width}");
        }
    }

    #[test]
    fn an_epoch_on_disk_goes_on_where_it_was_left() {
        let part = part(40_001);
        let all = order(&part, 7, 3, 0);
        for taken in [1, 163, 164, 200, 400, 401] {
            assert_eq!(
                order(&part, 7, 3, taken),
                all[(taken * 100).min(40_001)..],
                "{taken}"
            );
        }
    }

    #[test]
    fn those_who_share_batches_on_disk_take_all_their_rows() {
        let part = part(1_050);
        let of = |worker| {
            let share = Share::new(worker, 3).unwrap();
            let mut batches = part.epoch(7, 0, 100, 0).shared(share, 40);
            let (mut batch, mut all) = (Batch::default(), Vec::new());
            while let Some((count, rows)) = batches.next(&mut batch).unwrap() {
                let sconce_engine::metrics::Targets::Numbers(answers) = rows.targets else {
                    panic!("numbers were given");
                };
                assert!(
                    rows.x
                        .chunks(64)
                        .map(|values| values[0])
                        .eq(answers.iter().copied())
                );
                all.push((
                    count,
                    answers.iter().map(|answer| *answer as usize).collect::<Vec<_>>(),
                ));
            }
            all
        };
        let whole = order(&part, 7, 0, 0);
        let shares = [of(0), of(1), of(2)];
        for (index, step) in whole.chunks(100).enumerate() {
            for (worker, share) in shares.iter().enumerate() {
                let share_of = Share::new(worker, 3).unwrap();
                assert_eq!(share[index], (step.len(), share_of.of_step(step, 40)));
            }
        }
    }

    #[test]
    fn an_epoch_whose_thread_panicked_fails_and_does_not_end() {
        let part = part(40_001);
        let mut epoch = part.epoch(7, 0, 40_000, 0);
        let Order::Disk(ahead) = &mut epoch.order else {
            panic!("the rows are on disk");
        };
        // Of three windows, one comes.
        let (sender, windows) = sync_channel(1);
        sender.send(ahead.windows.recv().unwrap()).unwrap();
        ahead.windows = windows;
        drop(sender);
        let problem = epoch.next(&mut Batch::default()).err().unwrap().problem;
        assert!(problem.contains("ended before the last"), "{problem}");
    }

    #[test]
    fn an_epoch_that_is_left_early_ends_its_thread() {
        let part = part(40_001);
        let mut batch = Batch::default();
        let mut epoch = part.epoch(7, 0, 100, 0);
        epoch.next(&mut batch).unwrap();
        drop(epoch);
        let Held::Disk(stored) = part.held() else {
            panic!("the rows are on disk");
        };
        while Arc::strong_count(stored) > 1 {
            thread::yield_now();
        }
    }
}
