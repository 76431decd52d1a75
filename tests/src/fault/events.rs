//! What becomes of the events of a watch, and of the list that it begins with.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::channel::mpsc::{UnboundedSender, unbounded};
use http::Response;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Bytes, Frame};
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;

use super::pass::{Answer, Lost};
use super::view::{is_list_of_a_watch, is_watch};
use super::{Shared, lock};

/// What becomes of the events of a watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Events {
    /// They pass.
    Pass,
    /// Each waits this long, and is left out when another of the same object comes meanwhile: of what follows closely,
    /// only the last is seen.
    Coalesce(Duration),
    /// After each so many, these come once more, as after a watch that was begun again from an older version.
    Replay(usize),
    /// Each so many-th is lost, and then the watch says that its version is too old (410 Gone).
    Gone(usize),
    /// The connection ends in the middle of each so many-th.
    Cut(usize),
}

/// What goes on to the operator.
type Out = UnboundedSender<Result<Frame<Bytes>, Lost>>;

/// Passes on the answer to a read.
pub(super) fn pass(shared: &Shared, query: &str, response: Response<Body>) -> Response<Answer> {
    let (head, body) = response.into_parts();
    if is_watch(query) {
        let (out, events) = unbounded();
        let (fault, broken) = (*lock(&shared.events), shared.broken.clone());
        let frozen = shared.frozen.subscribe();
        tokio::spawn(async move { forward(body, fault, frozen, &out, &broken).await });
        return Response::from_parts(head, StreamBody::new(events).boxed_unsync());
    }
    let take_one = |left: usize| left.checked_sub(1);
    let cut = &shared.cut;
    if is_list_of_a_watch(query)
        && cut
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, take_one)
            .is_ok()
    {
        shared.broken.fetch_add(1, Ordering::SeqCst);
        let (out, half) = unbounded();
        tokio::spawn(async move {
            if let Ok(whole) = body.collect().await {
                cut_short(&whole.to_bytes(), &out);
            }
        });
        return Response::from_parts(head, StreamBody::new(half).boxed_unsync());
    }
    Response::from_parts(head, super::pass::whole(body))
}

/// Half of it, and then the connection ends. Where nobody listens any more, nobody has to be told.
fn cut_short(whole: &Bytes, out: &Out) {
    let _ = out.unbounded_send(Ok(Frame::data(whole.slice(..whole.len() / 2))));
    let _ = out.unbounded_send(Err("a test ended this answer".into()));
}

async fn forward(
    mut body: Body,
    fault: Events,
    mut frozen: watch::Receiver<bool>,
    out: &Out,
    broken: &AtomicUsize,
) {
    let (mut rest, mut held) = (Vec::new(), Held::new(fault));
    while !out.is_closed() {
        let due = held.due();
        let frame = tokio::select! {
            frame = body.frame() => frame,
            () = tokio::time::sleep_until(due) => {
                held.release(Instant::now(), out);
                continue;
            }
        };
        let Some(Ok(frame)) = frame else { break };
        // An error means that the proxy is gone.
        let _ = frozen.wait_for(|frozen| !*frozen).await;
        let Ok(data) = frame.into_data() else { continue };
        rest.extend_from_slice(&data);
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line = Bytes::from(rest.drain(..=end).collect::<Vec<u8>>());
            if !held.take(&line, out, broken) {
                return;
            }
        }
    }
    held.release(Instant::now() + Duration::from_secs(3600), out);
}

/// Events that came and have not gone yet, or not often enough.
struct Held {
    fault: Events,
    count: usize,
    waiting: VecDeque<(Instant, String, Bytes)>,
    last: VecDeque<Bytes>,
}

impl Held {
    fn new(fault: Events) -> Self {
        Self {
            fault,
            count: 0,
            waiting: VecDeque::new(),
            last: VecDeque::new(),
        }
    }

    /// When something has waited long enough; in a while where nothing waits, to see whether anybody still listens.
    fn due(&self) -> Instant {
        let idle = Instant::now() + Duration::from_secs(1);
        self.waiting.front().map_or(idle, |(due, ..)| *due)
    }

    fn release(&mut self, now: Instant, out: &Out) {
        while self.waiting.front().is_some_and(|(due, ..)| *due <= now) {
            if let Some((_, _, line)) = self.waiting.pop_front() {
                send(out, line);
            }
        }
    }

    /// Whether the watch goes on after this event.
    fn take(&mut self, line: &Bytes, out: &Out, broken: &AtomicUsize) -> bool {
        let event: Value = serde_json::from_slice(line).unwrap_or_default();
        let uid = event["object"]["metadata"]["uid"].as_str();
        let Some(uid) = uid else {
            // A bookmark says that all before it was seen.
            self.release(Instant::now() + Duration::from_secs(3600), out);
            send(out, line.clone());
            return true;
        };
        self.count += 1;
        let is_due = |every: usize| self.count.is_multiple_of(every);
        let note = |count: usize| broken.fetch_add(count, Ordering::SeqCst);
        match self.fault {
            Events::Pass => send(out, line.clone()),
            Events::Coalesce(time) => {
                let before = self.waiting.len();
                self.waiting.retain(|(_, of, _)| of != uid);
                note(before - self.waiting.len());
                let due = Instant::now() + time;
                self.waiting.push_back((due, uid.to_owned(), line.clone()));
            }
            Events::Replay(every) => {
                send(out, line.clone());
                self.last.push_back(line.clone());
                if is_due(every) {
                    note(self.last.len());
                    self.last.drain(..).for_each(|line| send(out, line));
                }
            }
            Events::Gone(every) if is_due(every) => {
                note(1);
                let gone = json!({"type": "ERROR", "object": {
                    "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 410,
                    "reason": "Expired", "message": "too old resource version: a test said so",
                }});
                send(out, Bytes::from(format!("{gone}\n")));
                return false;
            }
            Events::Cut(every) if is_due(every) => {
                note(1);
                cut_short(line, out);
                return false;
            }
            Events::Gone(_) | Events::Cut(_) => send(out, line.clone()),
        }
        true
    }
}

fn send(out: &Out, line: Bytes) {
    // Where nobody listens any more, nobody has to be told.
    let _ = out.unbounded_send(Ok(Frame::data(line)));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(uid: &str, version: u8) -> Bytes {
        let event =
            json!({"type": "MODIFIED", "object": {"metadata": {"uid": uid, "resourceVersion": version}}});
        Bytes::from(format!("{event}\n"))
    }

    /// What the operator sees of these events, and how much of it is not as it came.
    fn seen(fault: Events, events: &[Bytes]) -> (Vec<Bytes>, usize) {
        let (out, mut told) = unbounded();
        let (mut held, broken) = (Held::new(fault), AtomicUsize::new(0));
        for event in events {
            if !held.take(event, &out, &broken) {
                break;
            }
        }
        held.release(Instant::now() + Duration::from_secs(3600), &out);
        drop(out);
        let mut lines = Vec::new();
        while let Ok(Ok(frame)) = told.try_recv() {
            lines.extend(frame.into_data());
        }
        (lines, broken.into_inner())
    }

    #[tokio::test]
    async fn of_each_object_the_last_is_seen_the_others_may_not_be() {
        let events = [event("a", 1), event("b", 1), event("a", 2)];
        let (lines, broken) = seen(Events::Coalesce(Duration::from_secs(1)), &events);
        assert_eq!((lines, broken), (vec![event("b", 1), event("a", 2)], 1));
    }

    #[tokio::test]
    async fn what_was_seen_comes_again_in_its_order() {
        let events = [event("a", 1), event("a", 2), event("a", 3)];
        let (lines, broken) = seen(Events::Replay(2), &events);
        let expected = [1, 2, 1, 2, 3].map(|version| event("a", version));
        assert_eq!((lines, broken), (expected.to_vec(), 2));
    }

    #[tokio::test]
    async fn what_is_lost_is_followed_by_the_word_that_all_has_to_be_listed() {
        let events = [event("a", 1), event("a", 2), event("a", 3)];
        let (lines, broken) = seen(Events::Gone(2), &events);
        assert_eq!((lines.len(), broken), (2, 1));
        assert!(String::from_utf8_lossy(&lines[1]).contains("\"code\":410"));
    }
}
