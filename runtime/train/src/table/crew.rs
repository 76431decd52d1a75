//! Several threads read one file, each a block of its rows; the blocks are put together in the order of the file.
//!
//! ```text
//!   Cutter ─► block ─► a thread: Stretch ─┐
//!          ─► block ─► a thread: Stretch ─┼─► Builder, one after another
//!          ─► block ─► …                 ─┘
//! ```

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, sync_channel};

use super::cut::{Block, Cutter};
use super::stretch::{Fork, Stretch};
use super::{Builder, TableError};
use crate::TrainError;

/// How many read, and how much each at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crew {
    /// Threads, at least 1.
    pub threads: usize,
    /// Bytes of a block.
    pub block: usize,
}

/// Bytes of a block.
const BLOCK: usize = 256 << 10;
/// Most bytes that were cut and are not in the table yet, apart from the last block.
const AHEAD: usize = 64 << 20;

impl Crew {
    /// As many as arithmetic has here.
    pub fn found() -> Self {
        // One of them would wait for work that only it could do.
        let threads = match rayon::current_thread_index() {
            Some(_) => 1,
            None => rayon::current_num_threads(),
        };
        Crew {
            threads,
            block: BLOCK,
        }
    }
}

/// How the rows of a format are read.
pub(super) trait Rows: Sync {
    /// Reads the rows of a block as far as they need not be left for the table.
    fn read(&self, block: &Block, stretch: &mut Stretch<'_>);

    /// Gives rows to the table.
    fn give(&self, bytes: &[u8], line: u64, builder: &mut Builder<'_>) -> Result<(), TrainError>;
}

/// Reads the rest of a file.
///
/// # Errors
/// What is wrong with the first row at fault, as one thread finds it.
pub(super) fn read(
    mut cutter: Cutter<'_, '_>,
    rows: &impl Rows,
    builder: &mut Builder<'_>,
) -> Result<(), TrainError> {
    let crew = builder.crew();
    rayon::in_place_scope(|scope| {
        let mut at_work: VecDeque<Reading<'_>> = VecDeque::new();
        let (mut ahead, mut ended, mut fork) = (0, None, None);
        loop {
            // One more than there are threads, for the one that is done first.
            while ended.is_none() && at_work.len() <= crew.threads && ahead < AHEAD {
                let block = match cutter.next(crew.block) {
                    Ok(Some(block)) => block,
                    Ok(None) => {
                        ended = Some(Ok(()));
                        break;
                    }
                    // What is wrong with the rows before is said first.
                    Err(error) => {
                        ended = Some(Err(error));
                        break;
                    }
                };
                if fork.as_ref().is_none_or(Fork::is_open) {
                    fork = builder.fork();
                }
                let Some(fork) = &fork else {
                    return Err(TableError::Empty.into());
                };
                let mut stretch = fork.stretch();
                ahead += block.bytes.len();
                if crew.threads == 1 {
                    rows.read(&block, &mut stretch);
                    at_work.push_back(Reading::Done(Box::new((block, stretch))));
                    break;
                }
                let (done, result) = sync_channel(1);
                scope.spawn(move |_| {
                    rows.read(&block, &mut stretch);
                    // Nobody listens where the file was given up.
                    let _ = done.send((block, stretch));
                });
                at_work.push_back(Reading::Sent(result));
            }
            let Some(first) = at_work.pop_front() else {
                break;
            };
            let (block, stretch) = match first {
                Reading::Done(done) => *done,
                Reading::Sent(result) => result
                    .recv()
                    .map_err(|_| TrainError::Panic(PANICKED.to_owned()))?,
            };
            ahead -= block.bytes.len();
            builder.append(stretch, |builder, left| {
                rows.give(&block.bytes[left.bytes.clone()], left.number, builder)
            })?;
        }
        ended.unwrap_or(Ok(()))
    })
}

/// A block that was given to a thread.
enum Reading<'a> {
    Done(Box<(Block, Stretch<'a>)>),
    Sent(Receiver<(Block, Stretch<'a>)>),
}

const PANICKED: &str = "a thread that reads rows ended without them";

#[cfg(test)]
#[path = "crew_tests.rs"]
mod tests;
