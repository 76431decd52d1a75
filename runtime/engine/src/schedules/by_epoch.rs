//! Rules that change the rate from one epoch to the next; `t` counts finished epochs.

/// `α / (1 + β·t)`.
pub(super) fn inverse_time(base: f64, decay: f64, t: f64) -> f64 {
    base / (1.0 + decay * t)
}

/// `α · γᵗ`.
pub(super) fn exponential(base: f64, factor: f64, t: f64) -> f64 {
    base * factor.powf(t)
}

/// `α · γ^⌊t / every⌋`.
pub(super) fn step(base: f64, factor: f64, every: u32, t: f64) -> f64 {
    base * factor.powf((t / f64::from(every.max(1))).floor())
}
