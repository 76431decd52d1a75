//! Tests of `census`.

use futures::FutureExt;
use futures::channel::mpsc::unbounded;
use serde_json::{Value, json};

use super::*;

fn pod(name: &str) -> SlimPod {
    slim(json!({
        "metadata": {"name": name, "uid": name},
        "spec": {"nodeName": "n", "containers": [{"resources": {"requests": {"nvidia.com/gpu": "1"}}}]},
    }))
}

fn slim<K: DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).unwrap()
}

#[tokio::test]
async fn a_relisted_watch_forgets_what_is_gone_and_news_come_once_a_second() {
    let census = Census::default();
    let profile: AcceleratorProfileSpec =
        slim(json!({"device": "CUDA", "resources": {"nvidia.com/gpu": "1"}}));
    let allocated = || Some(census.count(&profile)?.units?.allocated);
    let (nodes, node_events) = unbounded();
    let (pods, pod_events) = unbounded();
    let mut driver = Box::pin(stream::select(
        census.follow_nodes(node_events),
        census.follow_pods(pod_events),
    ));
    let mut changes = Box::pin(census.changes());
    let node = slim(json!({
        "metadata": {"name": "n"},
        "status": {"allocatable": {"nvidia.com/gpu": "4"}, "conditions": [{"type": "Ready", "status": "True"}]},
    }));
    for event in [Event::Init, Event::InitApply(node), Event::InitDone] {
        nodes.unbounded_send(Ok(event)).unwrap();
    }
    assert!(driver.next().now_or_never().is_none());
    assert_eq!(allocated(), None, "pods are not listed yet");
    for event in [
        Event::Init,
        Event::InitApply(pod("a")),
        Event::InitApply(pod("b")),
        Event::InitDone,
    ] {
        pods.unbounded_send(Ok(event)).unwrap();
    }
    assert!(driver.next().now_or_never().is_none());
    assert_eq!(allocated(), Some(2));
    let start = Instant::now();
    changes.next().await;
    assert!(start.elapsed() < PACE);
    for event in [
        Event::Init,
        Event::InitApply(pod("b")),
        Event::InitDone,
        Event::Apply(pod("c")),
    ] {
        pods.unbounded_send(Ok(event)).unwrap();
    }
    assert!(driver.next().now_or_never().is_none());
    assert_eq!(allocated(), Some(2));
    changes.next().await;
    assert!(start.elapsed() >= PACE);
    assert!(
        changes.next().now_or_never().is_none(),
        "two changes are one piece of news"
    );
}
