//! How many bytes answers may hold together until their clients have taken them.
//!
//! An answer stays in memory until the kernel has its last byte, so a client that asks and does not read keeps it. The
//! room for it is taken before anything is computed, goes with its bytes, and is free again when they are. As with
//! bodies, a little is free: the cap on connections bounds that.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::refusal::Refusal;
use crate::served::Question;

/// Bytes of an answer that are not taken from the budget.
pub const FREE: usize = 4 << 10;

/// The budget of all answers.
#[derive(Debug)]
pub struct Answers {
    limit: usize,
    /// In KiB.
    budget: Arc<Semaphore>,
}

/// Room for an answer.
#[derive(Debug)]
pub struct Reserved(Option<OwnedSemaphorePermit>);

/// Bytes with their room.
struct Held {
    bytes: Vec<u8>,
    _room: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Answers {
    /// Room for so many bytes, which is the longest answer too.
    pub fn new(limit: usize) -> Self {
        Answers {
            limit,
            budget: Arc::new(Semaphore::new((limit / 1024).min(Semaphore::MAX_PERMITS))),
        }
    }

    /// Room for the answer to a question.
    pub fn reserve(&self, question: &Question) -> Result<Reserved, Refusal> {
        let most = question.most_bytes();
        if most > self.limit {
            let rows = self.limit.saturating_sub(question.fixed_bytes) / question.row_bytes.max(1);
            return Err(Refusal::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!(
                    "the answer to {} rows may be longer than {} bytes: send at most {rows} rows",
                    question.table.rows, self.limit
                ),
            ));
        }
        let due = u32::try_from(most.saturating_sub(FREE).div_ceil(1024)).unwrap_or(u32::MAX);
        if due == 0 {
            return Ok(Reserved(None));
        }
        let room = Arc::clone(&self.budget).try_acquire_many_owned(due);
        room.map(|room| Reserved(Some(room))).map_err(|_| {
            let sentence =
                "too many large answers are still being taken: read yours, and try again in a second";
            Refusal::new(StatusCode::TOO_MANY_REQUESTS, sentence)
        })
    }
}

impl Reserved {
    /// The answer, which gives its room back when it is gone.
    pub fn hold(self, bytes: Vec<u8>) -> Bytes {
        match self.0 {
            None => bytes.into(),
            Some(room) => Bytes::from_owner(Held { bytes, _room: room }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::table::Table;

    fn question(rows: usize) -> Question {
        Question {
            table: Table {
                values: Vec::new(),
                rows,
            },
            fixed_bytes: 0,
            row_bytes: 1024,
            answer: Box::new(|_, _, _| Ok(())),
        }
    }

    #[test]
    fn room_is_free_again_when_the_last_part_of_an_answer_is() {
        let answers = Answers::new(64 << 10);
        let first = answers.reserve(&question(40)).unwrap().hold(vec![0; 40 << 10]);
        let refused = answers.reserve(&question(40)).unwrap_err();
        assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
        let small = answers.reserve(&question(4)).unwrap();
        assert!(small.0.is_none(), "what is small is free");
        let part = first.slice(1000..);
        drop(first);
        assert!(answers.reserve(&question(40)).is_err());
        drop(part);
        assert!(answers.reserve(&question(40)).is_ok());
    }

    #[test]
    fn what_never_fits_is_told_so() {
        let refused = Answers::new(64 << 10).reserve(&question(65)).unwrap_err();
        assert_eq!(refused.status, StatusCode::PAYLOAD_TOO_LARGE);
        assert!(
            refused.sentence.ends_with("send at most 64 rows"),
            "{}",
            refused.sentence
        );
    }
}
