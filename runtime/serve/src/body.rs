//! Reading a request's body within limits of size, time and memory.
//!
//! The memory for all bodies together is bounded: each may hold a little freely, which the cap on connections
//! bounds, and takes what is above from a common budget as the bytes arrive. So a client that claims much and
//! sends little, or sends slowly, keeps nothing from the others.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use crate::refusal::Refusal;

/// Bytes of a body that are not taken from the budget.
pub const FREE: usize = 4 << 10;
/// How many bodies of the largest size the budget holds: a table of two-letter numbers takes as much again, and both
/// have to fit the memory that a server has by default.
const LARGE_BODIES: usize = 1;
/// Bytes of a piece of a body that is being read.
const SEGMENT: usize = 512 << 10;
/// How long the rest of a refused body is read and thrown away.
const DISCARD: Duration = Duration::from_secs(2);

/// Limits on bodies.
#[derive(Clone, Debug)]
pub struct Bodies {
    limit: usize,
    timeout: Duration,
    /// In KiB.
    budget: Arc<Semaphore>,
}

/// A body, whole.
#[derive(Debug)]
pub struct Body {
    /// The bytes.
    pub bytes: Bytes,
    /// What it took from the budget, for itself and for what is made of it.
    pub budget: Option<OwnedSemaphorePermit>,
}

impl Bodies {
    /// At most `limit` bytes within `timeout` each.
    pub fn new(limit: usize, timeout: Duration) -> Self {
        let kib = (LARGE_BODIES * (limit / 1024 + 1)).min(Semaphore::MAX_PERMITS);
        Bodies {
            limit,
            timeout,
            budget: Arc::new(Semaphore::new(kib)),
        }
    }

    /// Reads a body.
    pub async fn read(&self, mut body: Incoming) -> Result<Body, Refusal> {
        let read = self.collect(&mut body).await;
        if read
            .as_ref()
            .is_err_and(|refusal| refusal.status != StatusCode::REQUEST_TIMEOUT)
        {
            discard(body);
        }
        read
    }

    async fn collect(&self, body: &mut Incoming) -> Result<Body, Refusal> {
        let claimed = body.size_hint().lower();
        if claimed > self.limit as u64 {
            return Err(self.too_large());
        }
        let deadline = Instant::now() + self.timeout;
        let mut bytes = Segments::default();
        let mut budget: Option<OwnedSemaphorePermit> = None;
        loop {
            let Ok(frame) = timeout_at(deadline, body.frame()).await else {
                let sentence = format!("the body did not arrive within {} s", self.timeout.as_secs_f64());
                return Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, sentence));
            };
            let Some(frame) = frame else { break };
            let frame = frame.map_err(|error| {
                Refusal::new(StatusCode::BAD_REQUEST, format!("the body broke off: {error}"))
            })?;
            let Ok(chunk) = frame.into_data() else { continue };
            // The usual small body is one chunk, which need not be copied.
            if bytes.length == 0 && chunk.len() as u64 == claimed && chunk.len() <= FREE {
                return Ok(Body {
                    bytes: chunk,
                    budget: None,
                });
            }
            if bytes.length + chunk.len() > self.limit {
                return Err(self.too_large());
            }
            bytes.push(&chunk);
            self.pay(&mut budget, bytes.length)?;
        }
        Ok(Body {
            bytes: bytes.join(),
            budget,
        })
    }

    /// Takes from the budget what so many bytes need and the body does not hold yet.
    fn pay(&self, budget: &mut Option<OwnedSemaphorePermit>, bytes: usize) -> Result<(), Refusal> {
        let due = bytes.saturating_sub(FREE).div_ceil(1024);
        let paid = budget.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let more = u32::try_from(due.saturating_sub(paid)).unwrap_or(u32::MAX);
        if more == 0 {
            return Ok(());
        }
        let Ok(permit) = Arc::clone(&self.budget).try_acquire_many_owned(more) else {
            let sentence = "too many large bodies arrive at once: try again in a second";
            return Err(Refusal::new(StatusCode::TOO_MANY_REQUESTS, sentence));
        };
        match budget {
            Some(held) => held.merge(permit),
            None => *budget = Some(permit),
        }
        Ok(())
    }

    fn too_large(&self) -> Refusal {
        let sentence = format!(
            "the body is larger than {} bytes: send fewer rows per request",
            self.limit
        );
        Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, sentence)
    }
}

/// Reads what is left of a body for a while and throws it away: a connection that is closed while its client
/// still sends is reset, and the client may never see the answer.
pub fn discard(mut body: Incoming) {
    if !body.is_end_stream() {
        tokio::spawn(tokio::time::timeout(DISCARD, async move {
            while let Some(Ok(_)) = body.frame().await {}
        }));
    }
}

/// Bytes in pieces, so that a growing body is never copied as a whole and never takes twice its size.
#[derive(Debug, Default)]
struct Segments {
    full: Vec<Vec<u8>>,
    last: Vec<u8>,
    length: usize,
}

impl Segments {
    fn push(&mut self, mut chunk: &[u8]) {
        self.length += chunk.len();
        while !chunk.is_empty() {
            if self.last.len() == SEGMENT {
                self.full
                    .push(std::mem::replace(&mut self.last, Vec::with_capacity(SEGMENT)));
            }
            let (fits, rest) = chunk.split_at(chunk.len().min(SEGMENT - self.last.len()));
            self.last.extend_from_slice(fits);
            chunk = rest;
        }
    }

    fn join(self) -> Bytes {
        if self.full.is_empty() {
            return self.last.into();
        }
        let mut bytes = Vec::with_capacity(self.length);
        for segment in self.full.into_iter().chain([self.last]) {
            bytes.extend_from_slice(&segment);
        }
        bytes.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_join_to_what_came() {
        for (chunk, times) in [
            (1, 5),
            (SEGMENT - 1, 3),
            (SEGMENT, 2),
            (SEGMENT + 1, 2),
            (5 * SEGMENT, 1),
        ] {
            let mut segments = Segments::default();
            let mut whole = Vec::new();
            for i in 0..times {
                let bytes = vec![i as u8; chunk];
                segments.push(&bytes);
                whole.extend(bytes);
            }
            assert_eq!(segments.length, whole.len());
            assert!(segments.join() == whole, "{times} times {chunk}");
        }
    }
}
