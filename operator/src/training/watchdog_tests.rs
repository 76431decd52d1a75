use sconce_contract::{Search, TrainingPhase};
use serde_json::{Value, json};

use super::*;

const NOW: i64 = 1_800_000_000;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(NOW + second).unwrap()
}

fn training(retries: i32, watchdog: Option<&Watchdog>) -> ModelTraining {
    serde_json::from_value(json!({
        "apiVersion": "sconce.dev/v1alpha1", "kind": "ModelTraining", "metadata": {"name": "iris"},
        "spec": {
            "model": {"custom": {"image": "a"}}, "dataset": {"uri": "file:///a.csv", "target": "y"},
            "failurePolicy": {"backoffLimit": retries, "stallTimeout": "10m"},
        },
        "status": {"job": "iris-1", "watchdog": watchdog},
    }))
    .unwrap()
}

fn pod(name: &str, phase: &str, state: Value) -> Arc<Pod> {
    Arc::new(
        serde_json::from_value(json!({
            "metadata": {"name": name, "uid": format!("uid-{name}")}, "spec": {"nodeName": "n", "containers": []},
            "status": {"phase": phase, "containerStatuses": [
                {"name": "sconce", "image": "", "imageID": "", "ready": true, "restartCount": 0, "state": state},
            ]},
        }))
        .unwrap(),
    )
}

fn running(name: &str) -> Arc<Pod> {
    pod(name, "Running", json!({"running": {}}))
}

fn step(step: u64) -> Progress {
    Progress {
        phase: TrainingPhase::Training,
        step,
        ..Progress::default()
    }
}

fn at_work() -> Finding {
    Finding {
        situation: Situation::Training {
            message: String::new(),
        },
        trained: None,
        again: None,
    }
}

/// One look `second` s after the first, with what the one before remembered.
fn see(
    retries: i32,
    before: Option<&Watchdog>,
    pods: &[Arc<Pod>],
    progress: Option<Progress>,
    second: i64,
    situation: Option<Situation>,
) -> (Look, Situation) {
    let identity = Identity {
        run: "1".to_owned(),
        job: "iris-1".to_owned(),
    };
    let mut finding = at_work();
    finding.situation = situation.unwrap_or(finding.situation);
    let training = training(retries, before);
    let look = look(
        &training,
        &identity,
        pods,
        progress.as_ref(),
        &mut finding,
        at(second),
    );
    (look, finding.situation)
}

/// Looks each 5 s from `from` to `to`, as the controller does.
fn watch(
    mut record: Option<Watchdog>,
    pods: &[Arc<Pod>],
    progress: impl Fn(i64) -> Option<Progress>,
    from: i64,
    to: i64,
) -> (Look, Situation, usize) {
    let mut writes = 0;
    let mut last = (Look::default(), at_work().situation);
    for second in (from..=to).step_by(5) {
        last = see(1, record.as_ref(), pods, progress(second), second, None);
        writes += usize::from(last.0.record != record);
        record = last.0.record.clone();
        if last.0.doomed.is_some() {
            break;
        }
    }
    (last.0, last.1, writes)
}

#[test]
fn a_pod_that_takes_steps_goes_on_for_ever_and_costs_few_writes() {
    let pods = [running("a")];
    let (look, situation, writes) = watch(None, &pods, |second| Some(step(second.unsigned_abs())), 0, 6000);
    assert!(
        look.doomed.is_none() && situation == at_work().situation,
        "{situation:?}"
    );
    assert!(writes <= 81, "{writes} writes in ten timeouts");
}

#[test]
fn one_that_takes_none_is_replaced_after_the_timeout_and_not_before() {
    let pods = [running("a")];
    let (look, ..) = watch(None, &pods, |_| Some(step(7)), 0, 595);
    assert_eq!(look.doomed, None);
    let (look, situation, _) = watch(None, &pods, |_| Some(step(7)), 0, 2000);
    let record = look.record.unwrap();
    assert_eq!(look.doomed.unwrap().pod, "a");
    assert_eq!((record.replaced, record.last_replaced.as_deref()), (1, Some("a")));
    let Situation::Stalled { message } = situation else {
        panic!("{situation:?}")
    };
    assert_eq!(
        message,
        "spec.failurePolicy.stallTimeout: the pod a took no step for 10m after Training, step 7; \
         another pod takes over (1 of 1 retries)"
    );
}

#[test]
fn one_that_answers_nothing_is_replaced_too() {
    let pods = [running("a")];
    let (look, situation, _) = watch(None, &pods, |_| None, 0, 700);
    assert!(look.doomed.is_some());
    assert!(
        matches!(&situation, Situation::Stalled { message } if message.contains("told nothing of its progress"))
    );
}

#[test]
fn a_crash_between_the_status_and_the_deletion_deletes_again_and_counts_once() {
    let pods = [running("a")];
    let (first, ..) = watch(None, &pods, |_| Some(step(7)), 0, 700);
    let (again, situation) = see(1, first.record.as_ref(), &pods, Some(step(7)), 705, None);
    assert_eq!(again, first);
    assert!(matches!(situation, Situation::Stalled { .. }));
}

#[test]
fn after_the_last_retry_the_run_has_failed() {
    let (first, ..) = watch(None, &[running("a")], |_| Some(step(7)), 0, 700);
    let (last, situation, _) = watch(first.record, &[running("b")], |_| Some(step(9)), 705, 1400);
    assert_eq!(last.doomed, None);
    assert_eq!(
        situation,
        Situation::Failed {
            reason: Reason::Stalled,
            message: "spec.failurePolicy.stallTimeout: the pod b took no step for 10m after Training, step 9 (tried 2 times); \
                      allow more where it is only slow, and with a new value of the annotation sconce.dev/resume it goes on from its last checkpoint"
                .to_owned(),
        }
    );
}

#[test]
fn nobody_is_blamed_for_the_time_in_which_the_operator_was_away() {
    let pods = [running("a")];
    let (look, ..) = watch(None, &pods, |_| Some(step(7)), 0, 100);
    // An hour later; the pod happens not to answer the first time.
    let (look, situation) = see(1, look.record.as_ref(), &pods, None, 3700, None);
    assert_eq!(look.doomed, None);
    assert_eq!(situation, at_work().situation);
    // What was seen before a short restart still counts.
    let (look, ..) = watch(None, &pods, |_| Some(step(7)), 0, 580);
    let (look, _) = see(1, look.record.as_ref(), &pods, Some(step(7)), 620, None);
    assert!(look.doomed.is_some());
}

#[test]
fn while_the_next_pod_is_on_its_way_the_reason_stays() {
    let (first, ..) = watch(None, &[running("a")], |_| Some(step(7)), 0, 700);
    let pending = || Situation::Pending {
        hindrance: None,
        after: Some("the pod a ended with exit code 137".to_owned()),
    };
    let gone = [pod("a", "Failed", json!({"terminated": {"exitCode": 137}}))];
    for pods in [&gone[..], &[]] {
        let (look, situation) = see(1, first.record.as_ref(), pods, None, 710, Some(pending()));
        assert_eq!(look.record, first.record);
        assert!(
            matches!(&situation, Situation::Pending { after: Some(after), .. } if after.contains("took no step for 10m")),
            "{situation:?}"
        );
    }
    // Another pod failed since, for a reason of its own.
    let later = [
        gone[0].clone(),
        pod("b", "Failed", json!({"terminated": {"exitCode": 1}})),
    ];
    let (_, situation) = see(1, first.record.as_ref(), &later, None, 720, Some(pending()));
    assert_eq!(situation, pending());
}

#[test]
fn without_a_timeout_nothing_is_watched() {
    let mut training = training(1, None);
    training.spec.failure_policy.stall_timeout = None;
    let identity = Identity {
        run: "1".to_owned(),
        job: "iris-1".to_owned(),
    };
    let mut finding = at_work();
    let seen = look(&training, &identity, &[running("a")], None, &mut finding, at(0));
    assert_eq!((seen, finding), (Look::default(), at_work()));
}

#[test]
fn who_waits_for_the_other_workers_does_not_stand_still() {
    let of = |count: u32, phase, workers: Option<u32>, search: Option<Search>| {
        let mut together = training(3, None);
        let network = json!({"network": {"layers": [{"dense": {"units": 1}}]}});
        together.spec.model = serde_json::from_value(network).unwrap();
        together.spec.nodes.count = count;
        together.spec.search = search;
        let identity = Identity {
            run: "1".to_owned(),
            job: "iris-1".to_owned(),
        };
        let said = Progress {
            phase,
            workers,
            ..Progress::default()
        };
        let mut before = None;
        for second in [0, 200, 400, 700] {
            together.status.get_or_insert_default().watchdog = before;
            let look = look(
                &together,
                &identity,
                &[running("a")],
                Some(&said),
                &mut at_work(),
                at(second),
            );
            if look.doomed.is_some() {
                return true;
            }
            before = look.record;
        }
        false
    };
    let search = || {
        let path = "hyperparameters.batchSize";
        let search = json!({"objective": {"metric": "loss"}, "space": [{"path": path, "choice": [1, 2]}]});
        Some(serde_json::from_value(search).unwrap())
    };
    assert!(of(1, TrainingPhase::Loading, None, None));
    assert!(of(2, TrainingPhase::Training, Some(2), None));
    assert!(!of(2, TrainingPhase::Loading, Some(1), None));
    assert!(
        of(2, TrainingPhase::Loading, None, None),
        "what it reads hangs, and no other worker is to blame"
    );
    for workers in [None, Some(1)] {
        assert!(
            of(2, TrainingPhase::Loading, workers, search()),
            "a search waits for nobody"
        );
    }
}
