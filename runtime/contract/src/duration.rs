//! A length of time as users of Kubernetes write it.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Units, longest name first so that `ms` is not taken for `m`.
const UNITS: &[(&str, f64)] = &[("ms", 0.001), ("h", 3600.0), ("m", 60.0), ("s", 1.0)];
/// Longer texts than this are no durations that anybody means; ten digits of hours are a million years.
const LONGEST: usize = 24;

/// A length of time such as `90s`, `5m` or `1h30m`, kept as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Duration {
    text: String,
    value: std::time::Duration,
}

impl Duration {
    /// Whole seconds.
    pub fn from_secs(seconds: u64) -> Self {
        Duration {
            text: format!("{seconds}s"),
            value: std::time::Duration::from_secs(seconds),
        }
    }

    /// Whole minutes.
    pub fn from_mins(minutes: u64) -> Self {
        Duration {
            text: format!("{minutes}m"),
            value: std::time::Duration::from_secs(minutes.saturating_mul(60)),
        }
    }

    /// As the standard library counts.
    pub fn get(&self) -> std::time::Duration {
        self.value
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<Duration> for String {
    fn from(duration: Duration) -> Self {
        duration.text
    }
}

impl TryFrom<String> for Duration {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match parse(&text) {
            Some(value) => Ok(Duration { text, value }),
            None => Err(format!(
                "{text:?} is not a duration: write numbers with units of h, m, s and ms, such as 90s, 5m or 1h30m"
            )),
        }
    }
}

fn parse(text: &str) -> Option<std::time::Duration> {
    if text.is_empty() || text.len() > LONGEST {
        return None;
    }
    let mut rest = text;
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(end);
        let (unit, size) = UNITS.iter().find(|(unit, _)| after.starts_with(unit))?;
        if number.starts_with('.') || number.ends_with('.') {
            return None;
        }
        seconds += number.parse::<f64>().ok()? * size;
        rest = &after[unit.len()..];
    }
    std::time::Duration::try_from_secs_f64(seconds).ok()
}

impl JsonSchema for Duration {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "maxLength": LONGEST,
            "pattern": r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_kubernetes_reads_them() {
        for (text, millis) in [
            ("90s", 90_000),
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("1.5h", 5_400_000),
            ("250ms", 250),
            ("0s", 0),
            ("1m1ms", 60_001),
        ] {
            let duration: Duration = serde_json::from_value(text.into()).unwrap();
            assert_eq!(duration.get().as_millis(), millis, "{text}");
            assert_eq!(serde_json::to_value(&duration).unwrap(), text);
        }
    }

    #[test]
    fn what_is_no_duration_is_refused_with_what_to_write() {
        for text in [
            "",
            "5",
            "m",
            "-5m",
            "5 m",
            ".5m",
            "5.m",
            "1.2.3s",
            "5d",
            "1h-3m",
            "1µs",
            &"9".repeat(40),
        ] {
            let error = Duration::try_from(text.to_owned()).unwrap_err();
            assert!(error.contains("such as 90s"), "{error}");
        }
    }
}
