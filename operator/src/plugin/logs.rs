//! `kubectl sconce logs NAME`: what the pods of the current run or revision say.

use std::io::{self, Write};

use futures::{AsyncBufRead, AsyncBufReadExt, Stream, StreamExt, TryStreamExt, future, stream};
use kube::ResourceExt;
use kube::api::{Api, LogParams};

use super::PluginError;
use super::cluster::{Asked, Cluster, Subject};
use crate::observed;

/// Which lines.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// NAME, mtrain/NAME or mdep/NAME.
    pub object: Asked,
    /// Go on until the pods end.
    #[arg(short, long)]
    pub follow: bool,
    /// Lines of each pod, counted from the end. By default all.
    #[arg(long)]
    pub tail: Option<i64>,
    /// Of the container before, where a server's was started again. A trainer's never is: another pod takes its place.
    #[arg(short, long)]
    pub previous: bool,
}

/// Prints the lines: pod by pod, the newest first, or as they come where they are followed.
///
/// # Errors
/// When there are no pods, or no pod has a log.
pub async fn run(cluster: &Cluster, options: &Options) -> Result<(), PluginError> {
    let subject = cluster.subject(&options.object).await?;
    let pods = cluster.pods(&subject).await?;
    if pods.is_empty() {
        return Err(PluginError::Nothing(no_pods(&subject, &cluster.namespace)));
    }
    let api: Api<k8s_openapi::api::core::v1::Pod> = cluster.api();
    let parameters = LogParams {
        follow: options.follow,
        tail_lines: options.tail,
        previous: options.previous,
        // Others may have been put beside ours, and then the API server wants to be told which.
        container: Some(crate::pod::CONTAINER.to_owned()),
        ..LogParams::default()
    };
    let several = pods.len() > 1;
    // A pod that has not started has no log, which is no reason to keep back the others'.
    let opened = pods.iter().map(|pod| {
        let (api, parameters, name) = (&api, &parameters, pod.name_any());
        async move {
            // Of a pod without a node, the API server gives a log that is empty.
            if !observed::is_scheduled(pod) {
                let nothing = format!("pod {name} has no log: it has no node yet");
                return (name, Err(PluginError::Nothing(nothing)));
            }
            let answer = api.log_stream(&name, parameters).await;
            let answer = answer.map_err(|error| silent(&name, error));
            (name, answer)
        }
    });
    let mut streams = Vec::new();
    let mut refused = Vec::new();
    for (name, answer) in future::join_all(opened).await {
        match answer {
            Ok(stream) => {
                let prefix = if several {
                    format!("[{name}] ")
                } else {
                    String::new()
                };
                streams.push(Box::pin(
                    lines(stream).map_ok(move |line| format!("{prefix}{line}")),
                ));
            }
            Err(error) => refused.push((name, error)),
        }
    }
    if streams.is_empty() {
        let (name, error) = refused.remove(0);
        let pod = pods.iter().find(|pod| pod.name_any() == name);
        return Err(match pod.and_then(observed::hindrance) {
            Some(hindrance) => PluginError::Nothing(format!(
                "pod {name} has said nothing yet: {}: {}",
                hindrance.reason, hindrance.message
            )),
            None => error,
        });
    }
    for (_, error) in refused {
        eprintln!("{error}");
    }
    if options.follow {
        print(stream::select_all(streams)).await
    } else {
        for one in streams {
            print(one).await?;
        }
        Ok(())
    }
}

/// What comes, line by line. Programs write what they like: a byte that is no UTF-8 is shown as such and ends nothing.
fn lines(log: impl AsyncBufRead) -> impl Stream<Item = io::Result<String>> {
    stream::try_unfold(Box::pin(log), |mut log| async move {
        let mut line = Vec::new();
        let read = log.read_until(b'\n', &mut line).await?;
        Ok::<_, io::Error>((read > 0).then(|| (text(&line), log)))
    })
}

/// A line without its end.
fn text(line: &[u8]) -> String {
    let bare = line.strip_suffix(b"\r\n").or_else(|| line.strip_suffix(b"\n"));
    String::from_utf8_lossy(bare.unwrap_or(line)).into_owned()
}

/// Why a pod has no log to show. A container that has not started, or was not started again, is a bad request to the API
/// server (400).
fn silent(pod: &str, error: kube::Error) -> PluginError {
    match error {
        kube::Error::Api(status) if matches!(status.code, 400 | 404) => {
            PluginError::Nothing(format!("pod {pod} has no log: {}", status.message))
        }
        other => PluginError::api(format!("give the log of pod {pod}"))(other),
    }
}

async fn print(mut lines: impl Stream<Item = io::Result<String>> + Unpin) -> Result<(), PluginError> {
    let mut out = io::stdout();
    while let Some(line) = lines.next().await {
        let line = line.map_err(|error| PluginError::Api {
            what: "give the whole log".to_owned(),
            said: error.to_string(),
        })?;
        // Who reads may have seen enough, as `head` has.
        if writeln!(out, "{line}").is_err() {
            return Ok(());
        }
    }
    Ok(())
}

fn no_pods(subject: &Subject, namespace: &str) -> String {
    let (what, name) = match subject {
        Subject::Training(training) => (
            match training
                .status
                .as_ref()
                .and_then(|status| status.completion_time.as_ref())
            {
                Some(_) => "its run has ended and its pods are gone, and their logs with them",
                None => "it has no pod yet",
            },
            format!("mtrain/{}", subject.name()),
        ),
        Subject::Deployment(_) => ("it has no pod", format!("mdep/{}", subject.name())),
    };
    format!("{name} has no log: {what}; `kubectl sconce why {name} -n {namespace}` tells why")
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    #[tokio::test]
    async fn a_byte_that_is_no_utf_8_ends_no_log() {
        let log: &[u8] = b"one\r\ntwo \xff\n\nfour\rfive\nlast";
        let read: Vec<String> = lines(log).try_collect().await.unwrap();
        assert_eq!(read, ["one", "two \u{fffd}", "", "four\rfive", "last"]);
    }

    #[test]
    fn a_container_that_was_not_there_has_no_log_and_a_server_that_fails_is_told() {
        let answer = |said: &str, code: u16| {
            let status = Status::failure(said, "").with_code(code);
            silent("iris-x", kube::Error::Api(status.boxed()))
        };
        for (said, code) in [
            (
                "previous terminated container \"sconce\" in pod \"iris-x\" not found",
                400,
            ),
            ("pods \"iris-x\" not found", 404),
        ] {
            let told = answer(said, code);
            assert!(matches!(told, PluginError::Nothing(_)), "{told:?}");
            assert_eq!(told.to_string(), format!("pod iris-x has no log: {said}"));
        }
        let told = answer("the kubelet does not answer", 500);
        assert!(matches!(told, PluginError::Api { .. }), "{told:?}");
    }
}
