//! Waits for what happens in its own time, and says what did not.

use std::time::{Duration, Instant};

use crate::{Error, Result};

const POLL: Duration = Duration::from_millis(20);
/// Far beyond what anything takes on an idle machine: it may be busy with a build.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks again and again until the answer is `Some`: `until("the pod is placed", async || { … })`.
///
/// # Errors
/// When it has not come within a minute; the error is the sentence.
pub async fn until<T>(what: &str, ask: impl AsyncFnMut() -> Option<T>) -> Result<T> {
    within(PATIENCE, what, ask).await
}

/// [`until`] with another limit.
///
/// # Errors
/// When it has not come within the limit.
pub async fn within<T>(limit: Duration, what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> Result<T> {
    let started = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return Ok(answer);
        }
        if started.elapsed() > limit {
            return Err(Error::Unmet(format!(
                "within {:.0} s, it did not come true that {what}",
                limit.as_secs_f64()
            )));
        }
        tokio::time::sleep(POLL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_never_comes_is_named() {
        let error = within(Duration::from_millis(30), "pigs fly", async || None::<()>)
            .await
            .unwrap_err();
        assert!(error.to_string().contains("pigs fly"), "{error}");
    }
}
