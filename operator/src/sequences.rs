//! How many sequences of events the models are led through: few in each run of the tests, more on demand.

use proptest::prelude::ProptestConfig;

/// `SEQUENCES`, or as many as usual.
pub fn config(usual: u32) -> ProptestConfig {
    let asked = std::env::var("SEQUENCES").ok();
    let cases = asked.and_then(|asked| asked.parse().ok()).unwrap_or(usual);
    ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(cases)
    }
}
