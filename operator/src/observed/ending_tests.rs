//! Tests of `ending`.

use serde_json::json;

use super::*;

#[test]
fn a_program_that_the_image_does_not_have_is_told_by_the_field_that_names_it() {
    let said = "failed to create containerd task: OCI runtime create failed: runc create failed: unable to start \
                container process: exec: \"forest\": executable file not found in $PATH: unknown";
    for (label, field) in [
        ("sconce.dev/training", "spec.model.custom.command: "),
        ("sconce.dev/deployment", "spec.server.custom.command: "),
    ] {
        let state = json!({"terminated": {"exitCode": 128, "reason": "StartError", "message": said}});
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "a", "labels": {label: "forest"}},
            "spec": {"containers": [{"name": "sconce", "securityContext": {"readOnlyRootFilesystem": false}}]},
            "status": {"containerStatuses": [
                {"name": "sconce", "image": "i", "imageID": "", "ready": false, "restartCount": 0, "state": state},
            ]},
        }))
        .unwrap();
        let Some(Report::Failed(failure)) = last_ending(&pod).map(|ending| ending.report) else {
            panic!("it has ended")
        };
        assert_eq!(
            sentence(&failure),
            format!(
                "{field}the container of the pod a cannot be started: exec: \"forest\": executable file not found in $PATH"
            )
        );
    }
}

#[test]
fn of_a_log_the_last_line_is_told() {
    let log = "Traceback (most recent call last):\n  File \"a\", line 1\nModuleNotFoundError: No module named 'b'\n";
    let failure = untold(Some("Error"), 1, Some(log), &Pod::default());
    assert!(
        failure
            .message
            .contains("saying: ModuleNotFoundError: No module named 'b';"),
        "{}",
        failure.message
    );
}

#[test]
fn a_trainer_killed_without_a_word_was_out_of_memory_unless_somebody_asked_it_to_end() {
    let class = |path: [&str; 2], value: serde_json::Value| {
        let mut pod = json!({
            "metadata": {"name": "a", "labels": {"sconce.dev/training": "a"}},
            "spec": {"containers": [{"name": "sconce", "resources": {"limits": {"memory": "48Mi"}}}]},
            "status": {"phase": "Failed", "containerStatuses": [{
                "name": "sconce", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                "state": {"terminated": {"exitCode": 137, "reason": "Error"}},
            }]},
        });
        pod[path[0]][path[1]] = value;
        let pod: Pod = serde_json::from_value(pod).unwrap();
        let Some(Report::Failed(failure)) = last_ending(&pod).map(|ending| ending.report) else {
            panic!("it has ended")
        };
        (failure.class, sentence(&failure))
    };
    let (found, said) = class(["metadata", "name"], json!("a"));
    assert_eq!(found, FailureClass::OutOfMemory);
    assert!(
        said.starts_with("spec.resources.memory: ") && said.contains("48Mi"),
        "{said}"
    );

    let served = json!({"sconce.dev/deployment": "a"});
    let disrupted = json!([{"type": "DisruptionTarget", "status": "True"}]);
    let probed =
        json!([{"name": "sconce", "resources": {"limits": {"memory": "48Mi"}}, "livenessProbe": {}}]);
    for (path, value) in [
        (["metadata", "labels"], served),
        (["metadata", "deletionTimestamp"], json!("2026-01-01T00:00:00Z")),
        (["status", "conditions"], disrupted),
        (["status", "reason"], json!("Evicted")),
        (["spec", "containers"], json!([{"name": "sconce"}])),
        (["spec", "containers"], probed),
    ] {
        assert_eq!(class(path, value).0, FailureClass::Internal, "{path:?}");
    }
}
