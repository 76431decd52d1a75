//! `α / (1 + β·t)`.

pub(super) fn rate(base: f64, decay: f64, t: u32) -> f64 {
    base / (1.0 + decay * f64::from(t))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_epoch_learns_at_the_base_rate() {
        for (t, expected) in [(0, 0.1), (1, 0.1 / 1.5), (2, 0.05), (18, 0.01)] {
            assert!((rate(0.1, 0.5, t) - expected).abs() < 1e-15, "t = {t}");
        }
    }
}
