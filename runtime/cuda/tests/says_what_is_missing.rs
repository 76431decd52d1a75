//! A program with CUDA starts without a GPU, and without its driver and libraries, and says what is missing.
#![allow(clippy::unwrap_used, clippy::panic)] // A test fails by panicking.

#[path = "../../train/tests/rehearsal/mod.rs"]
mod rehearsal;

use std::{fs, process::Command};

use rehearsal::{Rehearsal, separable};
use sconce_contract::Report;
use serde_json::json;

/// How the trainer ends where no GPU is to be seen.
fn trained_on(device: &str) -> (Option<i32>, Report) {
    let rehearsal = Rehearsal::of(&separable(100)).with("device", json!(device));
    let ended = Command::new(env!("CARGO_BIN_EXE_sconce-trainer"))
        .arg("--plan")
        .arg(rehearsal.write_plan())
        .arg("--report")
        .arg(rehearsal.path("report"))
        .args(["--listen", "127.0.0.1:0"])
        .env("CUDA_VISIBLE_DEVICES", "-1")
        .output()
        .unwrap();
    let report = fs::read_to_string(rehearsal.path("report")).unwrap();
    (ended.status.code(), serde_json::from_str(&report).unwrap())
}

#[test]
fn without_a_gpu_the_profile_is_named() {
    let (code, report) = trained_on("CUDA");
    let Report::Failed(failure) = report else {
        panic!("trained: {report:?}")
    };
    assert_eq!(code, Some(65));
    assert_eq!(failure.field.as_deref(), Some("accelerator"));
    assert!(
        failure.message.contains("no CUDA device to compute on"),
        "{}",
        failure.message
    );
    assert!(
        !failure.message.contains("LD_LIBRARY_PATH"),
        "{}",
        failure.message
    );
}

#[test]
fn what_it_was_not_built_for_is_refused_and_the_processor_is_there() {
    let (code, report) = trained_on("ROCm");
    let Report::Failed(failure) = report else {
        panic!("trained: {report:?}")
    };
    assert_eq!(code, Some(65));
    assert!(
        failure.message.contains("on the CPU and CUDA, not on ROCm"),
        "{}",
        failure.message
    );
    let (code, report) = trained_on("CPU");
    assert_eq!(code, Some(0), "{report:?}");
}
