//! Bounds that a field's description tells of: the schema must know of them too.

use std::ops::RangeInclusive;

use serde_json::Value;

use super::cases::Cases;

impl Cases<'_> {
    /// What the description says of numbers: `(1 to 64)`, `at least 1`, `at most 32`.
    pub(super) fn described(&self) -> (Option<f64>, Option<f64>) {
        let text = self.place.schema["description"].as_str().unwrap_or_default();
        let number = |text: &str| -> Option<f64> {
            let end = text
                .find(|c: char| !c.is_ascii_digit() && c != '.')
                .unwrap_or(text.len());
            text[..end].trim_end_matches('.').parse().ok()
        };
        let range = text.match_indices('(').find_map(|(at, _)| {
            let (low, high) = text[at + 1..].split_once(" to ")?;
            Some(RangeInclusive::new(low.parse::<f64>().ok()?, number(high)?))
        });
        let after = |word: &str| text.split_once(word).and_then(|(_, rest)| number(rest));
        (
            range
                .as_ref()
                .map(|range| *range.start())
                .or_else(|| after("at least ")),
            range.map(|range| *range.end()).or_else(|| after("at most ")),
        )
    }

    /// Values just outside of `(2s to 10m)`, `at least 1s` and `at most 24h`.
    pub(super) fn described_durations(&self) -> (Option<Value>, Option<Value>) {
        let text = self.place.schema["description"].as_str().unwrap_or_default();
        let says = |words: &str| text.contains(words);
        let low = if says("(2s to 10m)") {
            Some("1999ms")
        } else {
            says("at least `1s`").then_some("999ms")
        };
        let high = if says("(2s to 10m)") {
            Some("10m1s")
        } else {
            says("(at most\n24h)").then_some("24h1s")
        };
        let high = high.or_else(|| says("(at most 24h)").then_some("24h1s"));
        (low.map(Value::from), high.map(Value::from))
    }
}
