//! What a watch is shown that has fallen behind: a list as it was, and what came after it only later.

use std::collections::HashMap;
use std::sync::Mutex;

use http::{Request, Response};
use kube::Client;
use tokio::sync::watch;

use super::lock;
use super::pass::{Answer, response};
use crate::{Error, Result};

#[derive(Default)]
pub(super) struct View {
    lists: Mutex<HashMap<String, String>>,
    behind: watch::Sender<bool>,
}

impl View {
    pub(super) async fn keep(&self, administrator: &Client, paths: &[String]) -> Result<()> {
        for path in paths {
            let request = Request::get(path)
                .body(Vec::new())
                .map_err(|error| Error::Unmet(error.to_string()))?;
            let text = administrator.request_text(request).await;
            let text = text.map_err(Error::api(format!("list {path}")))?;
            lock(&self.lists).insert(path.clone(), text);
        }
        self.behind.send_replace(true);
        Ok(())
    }

    pub(super) fn release(&self) {
        lock(&self.lists).clear();
        self.behind.send_replace(false);
    }

    /// The older answer to a list; nothing where the API server is to answer, to a watch once it may.
    pub(super) async fn answer(&self, path: &str, query: &str) -> Option<Response<Answer>> {
        let older = lock(&self.lists).get(path).cloned()?;
        if is_watch(query) {
            // An error means that the proxy is gone.
            let _ = self.behind.subscribe().wait_for(|behind| !*behind).await;
            return None;
        }
        is_list_of_a_watch(query).then(|| response(200, older))
    }
}

pub(super) fn is_watch(query: &str) -> bool {
    query
        .split('&')
        .any(|part| matches!(part, "watch=true" | "watch=1"))
}

/// Whoever watches lists page by page; whoever asks for what is true now does not.
pub(super) fn is_list_of_a_watch(query: &str) -> bool {
    query.split('&').any(|part| part.starts_with("limit=")) && !is_watch(query)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_that_a_watch_begins_with_is_told_from_a_question() {
        assert!(is_watch("&watch=true&timeoutSeconds=290"));
        assert!(is_list_of_a_watch("&limit=100&labelSelector=a"));
        assert!(!is_list_of_a_watch("&labelSelector=a"));
        assert!(!is_list_of_a_watch("watch=true&limit=1"));
    }
}
