//! How the learning rate changes from epoch to epoch.

mod inverse_time;

use sconce_contract::{Schedule, ScheduleType};

/// The learning rate of an epoch from the base rate α; `t` counts the epochs finished before it.
pub fn learning_rate(schedule: &Schedule, base: f64, t: u32) -> f64 {
    match schedule.kind {
        ScheduleType::Constant => base,
        ScheduleType::InverseTime => inverse_time::rate(base, schedule.decay.unwrap_or(0.0), t),
    }
}
