//! Checkpoints that are damaged, of something else, or cannot be written: never loaded silently, never in the way.

#![allow(clippy::unwrap_used, clippy::panic)] // A test fails by panicking.

mod rehearsal;

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use rehearsal::{Rehearsal, separable};
use sconce_contract::digest::sha256_hex;
use sconce_contract::{CheckpointPlan, FailureClass, Mount, Report};
use sconce_store::Store;
use sconce_train::{
    TrainError,
    checkpoint::{Checkpoints, Subject},
    watch::{Stop, Watch},
};
use serde_json::{Value, json};

const RECORD: &str = "checkpoint.json";
const STATE: &str = "state.safetensors";

fn rehearsal() -> Rehearsal {
    Rehearsal::of(&separable(400))
        .with(
            "network.layers",
            json!([
                {"dense": {"units": 8, "activation": "ReLU"}}, {"dropout": {"rate": 0.2}},
                {"dense": {"units": 1, "activation": "Sigmoid"}},
            ]),
        )
        .with("hyperparameters", json!({"epochs": 30, "batchSize": 28}))
        .with(
            "checkpoint",
            json!({"uri": "pvc://data/saved", "every": {"steps": 10}, "keep": 2}),
        )
}

/// Stops the run once it has taken so many steps.
fn interrupt(rehearsal: &Rehearsal, step: u64) {
    let (watch, stop) = (Watch::default(), Stop::default());
    let ended = AtomicBool::new(false);
    let result = thread::scope(|scope| {
        scope.spawn(|| {
            while watch.snapshot().progress.step < step && !ended.load(Ordering::Relaxed) {
                thread::yield_now();
            }
            stop.ask();
        });
        let result = rehearsal.run_watched(&watch, &stop);
        ended.store(true, Ordering::Relaxed);
        result
    });
    assert!(
        matches!(result, Err(TrainError::Interrupted { .. })),
        "{result:?}"
    );
}

fn folder(rehearsal: &Rehearsal) -> PathBuf {
    rehearsal.path("saved/abc")
}

/// Names of the checkpoints, oldest first.
fn names(rehearsal: &Rehearsal) -> Vec<String> {
    let entries = fs::read_dir(folder(rehearsal)).into_iter().flatten();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn step(name: &str) -> u64 {
    name.split('-').nth(1).unwrap().parse().unwrap()
}

/// The step that a run would go on from.
fn resumes(rehearsal: &Rehearsal, subject: &Subject) -> Option<u64> {
    let plan: CheckpointPlan = serde_json::from_value(rehearsal.plan["checkpoint"].clone()).unwrap();
    let mount = Mount {
        uri: "pvc://data".to_owned(),
        path: rehearsal.path(""),
    };
    let mut checkpoints = Checkpoints::new(&Store::new(vec![mount]), &plan, subject.clone());
    checkpoints.resume(|saved| Ok(saved.position.step)).unwrap()
}

/// Rewrites a checkpoint with another record, under the name that this record has.
fn rewrite(rehearsal: &Rehearsal, name: &str, change: impl FnOnce(&mut Value)) -> String {
    let path = folder(rehearsal).join(name);
    let mut record: Value = serde_json::from_slice(&fs::read(path.join(RECORD)).unwrap()).unwrap();
    change(&mut record);
    let record = serde_json::to_vec(&record).unwrap();
    replace(&path.join(RECORD), &record);
    let renamed = format!("step-{:012}-{}", step(name), &sha256_hex(&record)[..16]);
    fs::rename(path, folder(rehearsal).join(&renamed)).unwrap();
    renamed
}

fn subject(checkpoint: &Path) -> Subject {
    let record: Value = serde_json::from_slice(&fs::read(checkpoint.join(RECORD)).unwrap()).unwrap();
    serde_json::from_value(record["subject"].clone()).unwrap()
}

/// Writes a new file: ext4 flushes one that is emptied and written again, which takes its time.
fn replace(path: &Path, bytes: &[u8]) {
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

/// A run with an older and a newer checkpoint.
fn two() -> (Rehearsal, [String; 2], Subject) {
    let rehearsal = rehearsal();
    interrupt(&rehearsal, 13);
    let names: [String; 2] = names(&rehearsal).try_into().unwrap();
    let subject = subject(&folder(&rehearsal).join(&names[1]));
    (rehearsal, names, subject)
}

#[test]
fn corrupt_checkpoints_cut_at_any_byte_give_way_to_the_newest_good_one() {
    let (rehearsal, [older, newer], subject) = two();
    let newest = folder(&rehearsal).join(&newer);
    assert_eq!(resumes(&rehearsal, &subject), Some(step(&newer)));
    for file in [RECORD, STATE] {
        let path = newest.join(file);
        let whole = fs::read(&path).unwrap();
        for length in 0..whole.len() {
            replace(&path, &whole[..length]);
            assert_eq!(
                resumes(&rehearsal, &subject),
                Some(step(&older)),
                "{file} cut at {length}"
            );
        }
        let mut longer = whole.clone();
        longer.push(b' ');
        replace(&path, &longer);
        assert_eq!(
            resumes(&rehearsal, &subject),
            Some(step(&older)),
            "{file} with a byte more"
        );
        replace(&path, &whole);
    }
    assert_eq!(resumes(&rehearsal, &subject), Some(step(&newer)));
}

#[test]
fn corrupt_checkpoints_with_a_bit_flipped_give_way_to_the_newest_good_one() {
    let (rehearsal, [older, newer], subject) = two();
    for file in [RECORD, STATE] {
        let path = folder(&rehearsal).join(&newer).join(file);
        let whole = fs::read(&path).unwrap();
        // Seven has no factor in common with eight: each of a byte's bits has its turn.
        for bit in (0..whole.len() * 8).step_by(7) {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            replace(&path, &flipped);
            assert_eq!(
                resumes(&rehearsal, &subject),
                Some(step(&older)),
                "bit {bit} of {file}"
            );
        }
        replace(&path, &whole);
    }
}

#[test]
fn corrupt_checkpoints_with_a_missing_file_give_way_and_are_removed_when_the_run_goes_on() {
    let (undisturbed, _) = rehearsal().train();
    for lost in [RECORD, STATE] {
        let (rehearsal, [older, newer], subject) = two();
        fs::remove_file(folder(&rehearsal).join(&newer).join(lost)).unwrap();
        assert_eq!(resumes(&rehearsal, &subject), Some(step(&older)), "{lost}");
        interrupt(&rehearsal, step(&newer) + 12);
        let kept = names(&rehearsal);
        assert!(!kept.contains(&newer) && kept.len() == 2, "{kept:?}");
        let (metrics, _) = rehearsal.train();
        assert_eq!(metrics, undisturbed);
    }
    // With nothing good left, it begins at the beginning.
    let (rehearsal, both, subject) = two();
    for name in &both {
        fs::write(folder(&rehearsal).join(name).join(STATE), "").unwrap();
    }
    assert_eq!(resumes(&rehearsal, &subject), None);
    assert_eq!(rehearsal.train().0, undisturbed);
}

#[test]
fn a_crash_between_writing_and_renaming_leaves_nothing_that_is_loaded_or_stays() {
    let (rehearsal, [_, newer], subject) = two();
    // What such a crash leaves: all files, flushed, in a hidden folder.
    let hidden = folder(&rehearsal).join(".step-000000000099-0123456789abcdef.1-0-1.tmp");
    fs::create_dir(&hidden).unwrap();
    for file in [RECORD, STATE] {
        fs::copy(folder(&rehearsal).join(&newer).join(file), hidden.join(file)).unwrap();
    }
    assert_eq!(resumes(&rehearsal, &subject), Some(step(&newer)));
    assert!(hidden.exists(), "another pod may still be writing it");
    rehearsal.train();
    sconce_train::checkpoint::discard(&serde_json::from_value(rehearsal.plan.clone()).unwrap()).unwrap();
    assert!(!rehearsal.path("saved").exists());
}

#[test]
fn a_checkpoint_of_another_run_or_of_other_data_is_never_used() {
    let (undisturbed, _) = rehearsal().with("hyperparameters.seed", json!(7)).train();
    // The same name of the run, as a plan written by hand may have it, and another seed.
    let (other, ..) = two();
    let other = other.with("hyperparameters.seed", json!(7));
    let watch = Watch::default();
    let Report::Trained { metrics, .. } = other.run_watched(&watch, &Stop::default()).unwrap() else {
        panic!("not trained")
    };
    assert_eq!(metrics, undisturbed);
    assert_eq!(watch.snapshot().progress.work.resumed_from, None);

    let (changed, ..) = two();
    fs::write(changed.path("table.csv"), separable(401)).unwrap();
    let watch = Watch::default();
    changed.run_watched(&watch, &Stop::default()).unwrap();
    assert_eq!(watch.snapshot().progress.work.resumed_from, None);

    let (moved, ..) = two();
    let moved = moved.with("run", json!("abd"));
    fs::rename(moved.path("saved/abc"), moved.path("saved/abd")).unwrap();
    let watch = Watch::default();
    moved.run_watched(&watch, &Stop::default()).unwrap();
    assert_eq!(watch.snapshot().progress.work.resumed_from, None);
}

#[test]
fn a_checkpoint_that_cannot_be_read_fails_the_run_and_stays() {
    for unreadable in [RECORD, STATE] {
        let (rehearsal, [_, newer], subject) = two();
        let path = folder(&rehearsal).join(&newer).join(unreadable);
        let whole = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        // Opening it fails in the kernel, also for root, who passes every permission.
        symlink(&path, &path).unwrap();
        let failure = rehearsal.run().unwrap_err().failure();
        assert_eq!(
            (failure.class, failure.field.as_deref()),
            (FailureClass::Storage, Some("checkpoint.uri")),
            "{failure:?}"
        );
        replace(&path, &whole);
        assert_eq!(resumes(&rehearsal, &subject), Some(step(&newer)));
    }
}

#[test]
fn a_checkpoint_of_a_newer_trainer_or_another_table_is_kept_for_them() {
    let (rehearsal, [older, newer], _) = two();
    let newer = rewrite(&rehearsal, &newer, |record| record["schema"] = json!(2));
    let older = rewrite(&rehearsal, &older, |record| record["later"] = json!("a field"));
    // It begins again and saves its own, whose steps are behind theirs at first.
    interrupt(&rehearsal, 13);
    let ours: Vec<String> = names(&rehearsal);
    assert!(
        ours.contains(&newer) && ours.contains(&older) && ours.len() == 4,
        "{ours:?}"
    );

    let (changed, both, subject) = two();
    let table = fs::read(changed.path("table.csv")).unwrap();
    fs::write(changed.path("table.csv"), separable(401)).unwrap();
    interrupt(&changed, 13);
    let all = names(&changed);
    assert!(both.iter().all(|name| all.contains(name)), "{all:?}");
    // Whoever puts the table back goes on where it was.
    fs::write(changed.path("table.csv"), table).unwrap();
    assert_eq!(resumes(&changed, &subject), Some(step(&both[1])));
}

#[test]
fn a_checkpoint_beyond_the_last_epoch_is_not_used() {
    let (rehearsal, [older, newer], _) = two();
    rewrite(&rehearsal, &newer, |record| {
        record["position"]["epoch"] = json!(40);
        record["position"]["batch"] = json!(0);
        record["position"]["step"] = json!(400);
    });
    let watch = Watch::default();
    rehearsal.run_watched(&watch, &Stop::default()).unwrap();
    let work = watch.snapshot().progress.work;
    assert_eq!(work.resumed_from, Some(step(&older)));
}

#[test]
fn something_else_in_the_place_of_a_file_is_passed_over_and_kept() {
    let (rehearsal, [older, newer], subject) = two();
    let path = folder(&rehearsal).join(&newer).join(STATE);
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert_eq!(resumes(&rehearsal, &subject), Some(step(&older)));
    interrupt(&rehearsal, step(&newer) + 12);
    assert!(names(&rehearsal).contains(&newer), "{:?}", names(&rehearsal));
}

#[test]
fn what_lies_beside_the_checkpoints_is_left_alone() {
    let (rehearsal, ..) = two();
    for path in ["saved/mine/data", "saved/abc/notes"] {
        fs::create_dir_all(rehearsal.path(path)).unwrap();
    }
    fs::write(rehearsal.path("saved/mine/data/file"), "mine").unwrap();
    let earlier = rehearsal.path("saved/0123456789/step-000000000010-0123456789abcdef");
    fs::create_dir_all(&earlier).unwrap();
    sconce_train::checkpoint::discard(&serde_json::from_value(rehearsal.plan.clone()).unwrap()).unwrap();
    assert_eq!(names(&rehearsal), ["notes"]);
    assert_eq!(fs::read(rehearsal.path("saved/mine/data/file")).unwrap(), b"mine");
    assert!(
        !rehearsal.path("saved/0123456789").exists(),
        "a run before this one needs none any more"
    );
}

/// Runs the binary with a limit on the size of a file, in KiB: beyond it, writing fails as on a full disk.
fn with_file_limit(rehearsal: &Rehearsal, kibibytes: u32) -> (Option<i32>, String) {
    let program = env!("CARGO_BIN_EXE_sconce-trainer");
    let output = Command::new("bash")
        .arg("-c")
        .arg(format!("trap '' XFSZ; ulimit -f {kibibytes}; exec \"$@\""))
        .args(["bash", program, "--listen", "127.0.0.1:0", "--plan"])
        .arg(rehearsal.write_plan())
        .arg("--report")
        .arg(rehearsal.path("report"))
        .output()
        .unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

fn wide() -> Rehearsal {
    // Weights of 71 KiB, state of 213 KiB.
    rehearsal()
        .layers(&[(128, "ReLU"), (138, "ReLU"), (1, "Sigmoid")])
        .with("hyperparameters", json!({"epochs": 3, "batchSize": 28}))
}

#[test]
fn disk_full_for_checkpoints_costs_no_run() {
    let (_, undisturbed) = wide().train();
    let rehearsal = wide();
    let (code, log) = with_file_limit(&rehearsal, 128);
    assert_eq!(code, Some(0), "{log}");
    assert!(
        log.contains("no checkpoint could be written") && log.contains("has no room left"),
        "{log}"
    );
    let text = fs::read_to_string(rehearsal.path("report")).unwrap();
    let Report::Trained { artifact, .. } = serde_json::from_str(&text).unwrap() else {
        panic!("{text}")
    };
    assert_eq!(artifact.digest, undisturbed.digest);
    assert!(!rehearsal.path("saved").exists(), "half a checkpoint was left");
}

#[test]
fn disk_full_for_the_artifact_is_a_storage_failure_that_may_be_tried_again_and_loses_nothing() {
    let rehearsal = wide().with(
        "checkpoint",
        json!({"uri": "pvc://data/saved", "every": {"steps": 10}}),
    );
    let (code, log) = with_file_limit(&rehearsal, 40);
    assert_eq!(code, Some(1), "{log}");
    let text = fs::read_to_string(rehearsal.path("report")).unwrap();
    let Report::Failed(failure) = serde_json::from_str(&text).unwrap() else {
        panic!("{text}")
    };
    assert_eq!(
        (failure.class, failure.field.as_deref()),
        (FailureClass::Storage, Some("output.uri"))
    );
    assert!(
        failure.message.contains("has no room left"),
        "{}",
        failure.message
    );
    assert_eq!(rehearsal.models(), [""; 0], "half a model was left");
}

#[test]
fn when_only_the_artifact_cannot_be_written_the_next_attempt_begins_at_the_last_step() {
    let undisturbed = Watch::default();
    rehearsal().run_watched(&undisturbed, &Stop::default()).unwrap();
    let rehearsal = rehearsal().with("checkpoint.every", json!({"interval": "5m"}));
    // Nobody can write a folder where a file is.
    fs::remove_dir(rehearsal.path("models")).unwrap();
    fs::write(rehearsal.path("models"), "").unwrap();
    let error = rehearsal.run().unwrap_err();
    assert_eq!(error.failure().field.as_deref(), Some("output.uri"), "{error}");
    let saved = names(&rehearsal);
    assert_eq!(saved.iter().map(|name| step(name)).collect::<Vec<_>>(), [300]);
    fs::remove_file(rehearsal.path("models")).unwrap();
    fs::create_dir(rehearsal.path("models")).unwrap();
    let watch = Watch::default();
    rehearsal.run_watched(&watch, &Stop::default()).unwrap();
    let work = watch.snapshot().progress.work;
    assert_eq!((work.resumed_from, work.busy_milliseconds), (Some(300), 0));
    // It is validated a second time, and that counts once.
    assert_eq!(watch.snapshot().history(), undisturbed.snapshot().history());
}
