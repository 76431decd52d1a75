//! How a worker that comes at any time is given work by the first one, on a connection of its own.
//!
//! ```text
//!   1, 2, …: Hello ───────► 0   who they are; once for each that works there
//!   0:       TakenIn ─────► from now on both speak as on a [`Line`]
//! ```

use std::net::TcpListener;

use super::{
    GroupError, Purpose, Seat,
    hello::Answer,
    line::Line,
    meet::{introduced, knock, listen, say},
};
use crate::watch::Stop;

/// Where the first worker takes others in.
#[derive(Debug)]
pub struct Door {
    listener: TcpListener,
    purpose: Purpose,
    most: u64,
}

impl Door {
    /// Opens it to those who agree on the purpose and send messages of at most so many bytes.
    ///
    /// # Errors
    /// This machine does not let it listen.
    pub fn open(seat: &Seat, purpose: Purpose, most: u64) -> Result<Self, GroupError> {
        Ok(Door {
            listener: listen(seat)?,
            purpose,
            most,
        })
    }

    /// One who has come and belongs here; others are told why not. It does not wait.
    pub fn next(&self) -> Option<Line> {
        while let Ok((stream, _)) = self.listener.accept() {
            let Some((worker, mut waiting)) = introduced(stream, &self.purpose) else {
                continue;
            };
            let taken = say(&mut waiting.stream, &Answer::TakenIn)
                .and_then(|()| Line::new(waiting.stream, worker, self.most, || None, None));
            match taken {
                Ok(line) => return Some(line),
                // It sees the end, and comes again.
                Err(error) => tracing::warn!(worker, %error, "a worker went as it was taken in"),
            }
        }
        None
    }
}

/// Has the first worker take one in, as soon as it listens; `tells` is as of [`Line`]. The end of the line asks for a stop.
///
/// # Errors
/// Nobody did for as long as the seat says, or a stop was asked for.
pub fn join(
    seat: &Seat,
    purpose: &Purpose,
    most: u64,
    tells: impl FnMut() -> Option<Vec<u8>> + Send + 'static,
    stop: &Stop,
) -> Result<Line, GroupError> {
    let (answer, stream) = knock(seat, purpose, 0, stop)?;
    if answer != Answer::TakenIn {
        return Err(GroupError::OutOfStep {
            worker: 0,
            found: format!("{answer:?}"),
            expected: "to be taken in".to_owned(),
        });
    }
    Line::new(stream, 0, most, tells, Some(stop.clone())).map_err(|error| GroupError::Lost {
        worker: 0,
        why: error.to_string(),
    })
}
