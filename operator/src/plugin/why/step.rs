//! The one next step for a reason: what a person does now, with the names filled in.

/// Names that a step is written with.
pub(super) struct Names<'a> {
    /// Namespace of all.
    pub namespace: &'a str,
    /// `mtrain/NAME` or `mdep/NAME`.
    pub object: &'a str,
    /// The object's name.
    pub name: &'a str,
    /// The newest pod, or `POD`.
    pub pod: &'a str,
    /// The training's Job, or `JOB`.
    pub job: &'a str,
}

/// What to do for a reason of Ready; `{…}` are names. What is not listed is told by the reason's own sentence.
const STEPS: &[(&[&str], &str)] = &[
    (
        &["Succeeded"],
        "nothing: it is done; `kubectl sconce plot {name} -n {namespace}` shows how the loss went",
    ),
    (
        &["Serving"],
        "nothing: it answers; `kubectl port-forward -n {namespace} service/{name} 8080:80` lets you ask it from here",
    ),
    (
        &[
            "Training",
            "Evaluating",
            "Ending",
            "Starting",
            "Stopping",
            "Pending",
            "Retrying",
            "RollingOut",
            "ReplicasStarting",
            "ScalingDown",
        ],
        "wait: it goes on by itself; `kubectl sconce logs {object} -n {namespace} --follow` shows what the pods say",
    ),
    (
        &["Suspended"],
        "let it go on: kubectl patch {object} -n {namespace} --type merge -p '{\"spec\":{\"suspend\":false}}'",
    ),
    (
        &["ScaledToZero"],
        "scale it up: kubectl scale {object} -n {namespace} --replicas=1",
    ),
    (
        &["ConfigMapNotFound", "ClaimNotFound", "TrainingNotFound"],
        "create it in the namespace {namespace}, or correct the name in the field; it is looked for again by itself",
    ),
    (
        &["PriorityClassNotFound", "RuntimeClassNotFound"],
        "choose one of `kubectl get priorityclasses,runtimeclasses`, or ask whoever runs the cluster for it",
    ),
    (
        &["ProfileNotFound"],
        "choose one of `kubectl get accel` for spec.accelerator.profile",
    ),
    (
        &["NoImageForDevice"],
        "leave spec.accelerator out, or ask whoever owns the profile to name images in its spec.images",
    ),
    (
        &["NameTaken"],
        "delete or rename the object that has the name, or choose another name for this one",
    ),
    (
        &["Unschedulable"],
        "compare what it asks for with `kubectl sconce top` and `kubectl get nodes`",
    ),
    (
        &["ImagePullFailed", "InvalidImageName", "ErrImageNeverPull"],
        "correct the image, or give the namespace's service account a pull secret; see `kubectl describe pod {pod} -n {namespace}`",
    ),
    (
        &["NoPod"],
        "see why the pod was refused: kubectl describe job {job} -n {namespace}",
    ),
    (
        &["BadInput", "Diverged"],
        "correct the field that the sentence names and apply it: the change alone makes it run again",
    ),
    (
        &["OutOfMemory"],
        "raise spec.resources.memory, or lower what is computed at once",
    ),
    (
        &[
            "Storage",
            "Internal",
            "DeadlineExceeded",
            "ReportLost",
            "NoReport",
            "JobFailed",
            "Interrupted",
            "Failed",
        ],
        "read `kubectl sconce logs {object} -n {namespace}`; then run it again: kubectl annotate {object} -n {namespace} --overwrite sconce.dev/rerun=$(date +%s)",
    ),
    (
        &["Rejected"],
        "train differently, or lower the gate in spec.evaluation.gates; `kubectl sconce plot {name} -n {namespace}` shows how the loss went",
    ),
    (
        &["AwaitingPromotion"],
        "promote what the training left: kubectl sconce promote {name} -n {namespace}",
    ),
    (
        &["PromotionInvalid", "PromotionUnknown", "PromotionAmbiguous"],
        "promote what is known: kubectl sconce promote {name} -n {namespace}",
    ),
    (
        &["ProgressDeadlineExceeded", "ReplicaFailure"],
        "read `kubectl sconce logs {object} -n {namespace}` and `kubectl describe pod {pod} -n {namespace}`",
    ),
];

/// The step for a reason. Where none is listed, the sentence beside the reason says what to do.
pub(super) fn next(reason: &str, names: &Names<'_>) -> String {
    let listed = STEPS.iter().find(|(reasons, _)| reasons.contains(&reason));
    let Some((_, step)) = listed else {
        return "do what the sentence of Ready says, then look again".to_owned();
    };
    step.replace("{namespace}", names.namespace)
        .replace("{object}", names.object)
        .replace("{name}", names.name)
        .replace("{pod}", names.pod)
        .replace("{job}", names.job)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_reason_has_two_steps_and_every_placeholder_is_filled() {
        let names = Names {
            namespace: "ml",
            object: "mtrain/tumour",
            name: "tumour",
            pod: "tumour-x",
            job: "tumour-1",
        };
        let all: Vec<&str> = STEPS
            .iter()
            .flat_map(|(reasons, _)| reasons.iter().copied())
            .collect();
        for reason in &all {
            assert_eq!(all.iter().filter(|other| *other == reason).count(), 1, "{reason}");
            let step = next(reason, &names);
            assert!(
                !["{name}", "{namespace}", "{object}", "{pod}", "{job}"]
                    .iter()
                    .any(|left| step.contains(left)),
                "{step}"
            );
        }
        assert!(next("Unheard", &names).contains("the sentence of Ready"));
    }
}
