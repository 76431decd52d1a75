//! Rules that change the rate from one step to the next.

use std::f64::consts::PI;

/// From α to ω along half a cosine (Loshchilov and Hutter 2017); `share` of the way is behind.
pub(super) fn cosine(base: f64, last: f64, share: f64) -> f64 {
    last + 0.5 * (base - last) * (1.0 + (PI * share).cos())
}

/// From α to ω in a straight line.
pub(super) fn linear(base: f64, last: f64, share: f64) -> f64 {
    base + (last - base) * share
}

/// From α/25 up to α, then down to α/250000 (Smith and Topin 2018, with PyTorch's proportions).
pub(super) fn one_cycle(base: f64, step: u64, steps: u64) -> f64 {
    const RISING: f64 = 0.3;
    let first = base / 25.0;
    let last = first / 1e4;
    let peak = (RISING * steps as f64 - 1.0).max(0.0);
    let end = (steps as f64 - 1.0).max(peak);
    let step = (step as f64).min(end);
    if step < peak {
        return cosine(first, base, step / peak);
    }
    let falling = end - peak;
    cosine(
        base,
        last,
        if falling > 0.0 {
            (step - peak) / falling
        } else {
            0.0
        },
    )
}
