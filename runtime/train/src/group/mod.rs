//! Workers that learn one model together.
//!
//! ```text
//!        ┌──────────────────────────────────────┐        each: its rows of every step ─► gradient
//!        ▼                                      │        all:  the sum, round the ring
//!   worker 0 ──────► worker 1 ──────► worker 2 ─┘        each: the same step
//!   checkpoints,
//!   validation, artifact, report
//! ```
//!
//! The first worker alone knows more than the weights: it reads the state, hands it round, says after each epoch whether
//! there is another one, saves, measures and writes. A worker that is lost ends the group: all leave with the exit code
//! of an interruption, and meet again ([`mod@meet`]) from the last state. What is computed and in which order it is added
//! up follows from the number of workers alone ([`schedule`]), so a run is the same bits for that number.
//!
//! Workers of a search do not learn together: each takes trials from the first one, on a connection of its own ([`door`],
//! [`line`]), whenever it comes.

mod door;
mod error;
mod frame;
mod hello;
mod late;
mod line;
mod link;
mod meet;
mod ring;
mod schedule;
mod seat;
mod state;

pub use door::{Door, join};
pub use error::GroupError;
pub use hello::Purpose;
pub use line::{Heard, Line, Mouth};
pub use meet::meet;
pub use ring::{Group, Word};
pub use seat::{Seat, SeatArguments};
pub use state::{hand_out, take_over};
