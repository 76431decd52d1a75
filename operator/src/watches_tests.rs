//! Tests of `watches`.

use futures::FutureExt;
use kube::ResourceExt;

use super::*;

#[tokio::test]
async fn a_status_alone_is_no_intent_and_a_deletion_is() {
    let (events, watch) = unbounded();
    let (watched, mut driver) = follow(watch, |_| Vec::new());
    let mut intents = watched.intents();
    let mut told = |event: Event<Pod>| {
        events.unbounded_send(Ok(event)).unwrap();
        assert!(driver.next().now_or_never().is_none(), "the watch goes on");
        std::iter::from_fn(|| intents.next().now_or_never().flatten()).count()
    };
    assert_eq!(told(Event::Apply(pod("a"))), 1);
    assert_eq!(told(Event::Apply(pod("a"))), 0);
    assert_eq!(told(Event::Delete(pod("a"))), 1);
    assert_eq!(told(Event::Apply(pod("a"))), 1);
}

fn pod(name: &str) -> Pod {
    let mut pod = Pod::default();
    pod.metadata.name = Some(name.to_owned());
    pod
}

#[tokio::test]
async fn a_reader_that_is_late_sees_what_is_there_what_went_and_what_comes() {
    let (events, watch) = unbounded();
    let (watched, mut driver) = follow(watch, |_| Vec::new());
    let mut readers = [watched.changes(), watched.changes()];
    let first = [Event::Init, Event::InitApply(pod("a")), Event::InitDone];
    let rest = [
        Event::Apply(pod("b")),
        Event::Delete(pod("b")),
        Event::Apply(pod("c")),
    ];
    for event in first.into_iter().chain(rest) {
        events.unbounded_send(Ok(event)).unwrap();
    }
    assert!(driver.next().now_or_never().is_none(), "the watch goes on");
    for reader in &mut readers {
        // `b` was gone before its turn.
        let seen: Vec<String> = reader
            .take(4)
            .map(|pod| pod.name_any())
            .collect()
            .now_or_never()
            .unwrap();
        assert_eq!(seen, ["a", "b", "b", "c"]);
    }
    events.unbounded_send(Ok(Event::Apply(pod("d")))).unwrap();
    assert!(driver.next().now_or_never().is_none());
    assert_eq!(
        readers[1]
            .next()
            .now_or_never()
            .flatten()
            .map(|pod| pod.name_any()),
        Some("d".to_owned())
    );
}
