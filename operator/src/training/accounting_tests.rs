//! However often and in whatever order pods are seen, each of their seconds counts once.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const START: i64 = 1_800_000_000;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(START + second).unwrap()
}

fn training(units: u32) -> ModelTraining {
    serde_json::from_value(json!({
        "apiVersion": "sconce.dev/v1alpha1", "kind": "ModelTraining", "metadata": {"name": "iris"},
        "spec": {
            "model": {"network": {"layers": [{"dense": {"units": 1}}]}},
            "dataset": {"uri": "configmap://a/b.csv", "target": "y"},
            "accelerator": {"profile": "gpu", "count": units},
        },
    }))
    .unwrap()
}

/// A pod that got its node at `from`; `end` is when its container ended, and after how long it says it was busy.
fn pod(uid: &str, from: i64, end: Option<(i64, u64)>) -> Arc<Pod> {
    let (phase, state) = match end {
        None => ("Running", json!({"running": {"startedAt": at(from).to_string()}})),
        Some((until, busy)) => {
            let message = json!({
                "outcome": "failed", "class": "Interrupted", "message": "m", "work": {"busyMilliseconds": busy * 1000},
            });
            let ended = json!({
                "exitCode": 75, "finishedAt": at(until).to_string(), "message": message.to_string(),
            });
            ("Failed", json!({"terminated": ended}))
        }
    };
    let pod: Value = json!({
        "metadata": {"name": uid, "uid": uid},
        "spec": {"nodeName": "n", "containers": [{"name": "sconce"}]},
        "status": {
            "phase": phase,
            "conditions": [{"type": "PodScheduled", "status": "True", "lastTransitionTime": at(from).to_string()}],
            "containerStatuses": [
                {"name": "sconce", "image": "i", "imageID": "", "ready": false, "restartCount": 0, "state": state},
            ],
        },
    });
    Arc::new(serde_json::from_value(pod).unwrap())
}

fn said(busy: u64) -> Progress {
    let mut said = Progress::default();
    said.work.busy_milliseconds = busy * 1000;
    said
}

/// A status whose progress was last reported then.
fn status(before: Option<ModelTrainingStatus>, word: i64) -> ModelTrainingStatus {
    let mut status = before.unwrap_or_default();
    let time = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(word));
    status.progress.get_or_insert_default().last_reported = Some(time);
    status
}

fn totals(status: &ModelTrainingStatus) -> (u64, u64) {
    let seconds = status.accelerator_seconds.as_ref().unwrap();
    (seconds.allocated, seconds.busy)
}

#[test]
fn units_count_from_the_node_to_the_end_over_all_attempts() {
    let training = training(2);
    let mut seen = status(None, 40);
    // Runs since second 10, told at 40 of 25 s of steps: two units.
    update(
        &mut seen,
        &training,
        &[pod("a", 10, None)],
        Some(&said(25)),
        at(47),
    );
    assert_eq!(totals(&seen), (60, 50));
    // It was stopped at second 50; the next one has its node since 55.
    let pods = [pod("a", 10, Some((50, 34))), pod("b", 55, None)];
    let mut seen = status(Some(seen), 70);
    update(&mut seen, &training, &pods, Some(&said(9)), at(71));
    assert_eq!(totals(&seen), (80 + 30, 68 + 18));
    // The first one is gone, and what it held is not.
    let mut seen = status(Some(seen), 80);
    update(&mut seen, &training, &pods[1..], Some(&said(19)), at(81));
    assert_eq!(totals(&seen), (80 + 50, 68 + 38));
}

#[test]
fn the_time_alone_changes_nothing_for_a_minute() {
    let training = training(1);
    let pods = [pod("a", 0, None)];
    let mut seen = ModelTrainingStatus::default();
    update(&mut seen, &training, &pods, None, at(61));
    let first = seen.clone();
    update(&mut seen, &training, &pods, None, at(80));
    assert_eq!(seen, first);
    let mut told = status(Some(first), 70);
    update(&mut told, &training, &pods, Some(&said(1)), at(75));
    let first = told.clone();
    update(&mut told, &training, &pods, Some(&said(1)), at(79));
    assert_eq!(told, first);
}

#[test]
fn a_pod_without_a_node_holds_nothing_and_the_processor_is_not_counted() {
    let mut waiting = (*pod("a", 0, None)).clone();
    waiting.status.as_mut().unwrap().conditions = None;
    let mut seen = ModelTrainingStatus::default();
    update(&mut seen, &training(1), &[Arc::new(waiting)], None, at(600));
    assert_eq!(seen.accelerator_seconds, None);

    let mut processor = training(1);
    processor.spec.accelerator = None;
    update(&mut seen, &processor, &[pod("a", 0, None)], None, at(600));
    assert_eq!(seen.accelerator_seconds, None);
}

proptest! {
    /// A run of attempts one after another, looked at through a cache that may lag, skip and repeat, and that
    /// forgets pods some time after they ended.
    #[test]
    fn each_second_counts_once_however_it_is_looked_at(
        lengths in prop::collection::vec(1i64..300, 1..24),
        looks in prop::collection::vec((0i64..8_000, 0i64..20), 0..60),
        units in 1u32..4,
    ) {
        let training = training(units);
        // Attempt i is from begins[i] to begins[i] + lengths[i]; the next begins 5 s later.
        let mut begins = Vec::new();
        let mut second = 0;
        for length in &lengths {
            begins.push(second);
            second += length + 5;
        }
        let mut times: Vec<(i64, i64)> = looks.into_iter().map(|(time, lag)| (time % second.max(1), lag)).collect();
        times.sort_unstable();
        // Whoever deletes a pod has seen its end, and so has the operator at least once.
        let ends = begins.iter().zip(&lengths).map(|(begin, length)| (begin + length + 1, 0));
        times.extend(ends);
        times.sort_unstable();
        let mut seen = ModelTrainingStatus::default();
        for (time, lag) in times {
            let cached = time - lag;
            let pods: Vec<Arc<Pod>> = begins.iter().zip(&lengths).enumerate()
                // Gone 30 s after its end: well before a cache that lags by 20 s forgets it twice.
                .filter(|(_, (begin, length))| **begin <= cached && cached <= *begin + *length + 30)
                .map(|(index, (begin, length))| {
                    let end = begin + length;
                    pod(&index.to_string(), *begin, (end <= cached).then_some((end, u64::try_from(*length).unwrap())))
                })
                .collect();
            let before = seen.accelerator_seconds.clone();
            let word = status(Some(seen), cached);
            seen = word;
            update(&mut seen, &training, &pods, Some(&said(0)), at(time));
            let again = seen.clone();
            update(&mut seen, &training, &pods, Some(&said(0)), at(time));
            prop_assert_eq!(&seen, &again, "the same sight counts once");
            if let (Some(before), Some(after)) = (before, &seen.accelerator_seconds) {
                prop_assert!(after.allocated >= before.allocated && after.busy >= before.busy, "time came back");
                prop_assert!(after.busy <= after.allocated);
            }
        }
        let all = u64::try_from(lengths.iter().sum::<i64>()).unwrap() * u64::from(units);
        prop_assert_eq!(totals(&seen), (all, all));
    }
}

#[test]
fn of_very_many_pods_that_are_all_there_none_counts_again() {
    let (mut status, training) = (ModelTrainingStatus::default(), training(1));
    let pods: Vec<Arc<Pod>> = (0..100)
        .map(|number| pod(&format!("p{number}"), 0, (number < 40).then_some((10, 10))))
        .collect();
    update(&mut status, &training, &pods[..70], None, at(60));
    let first = status.accelerator_seconds.clone().unwrap();
    for _ in 0..3 {
        update(&mut status, &training, &pods[..70], None, at(60));
        assert_eq!(status.accelerator_seconds.as_ref(), Some(&first));
    }
    assert_eq!(first.allocated, 40 * 10 + 30 * 60);
    assert!(first.pods.len() <= 128);
}
