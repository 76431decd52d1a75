//! The one next step for a reason: what a person does now, with the names filled in.

use crate::reason::Reason;

/// Names that a step is written with.
pub(super) struct Names<'a> {
    /// Namespace of all.
    pub namespace: &'a str,
    /// What it is a step for.
    pub of: Kind,
    /// The object's name.
    pub name: &'a str,
    /// The object's pod that tells most, or `POD`.
    pub pod: &'a str,
    /// The training's Job, or `JOB`.
    pub job: &'a str,
}

/// What a step is for: the same reason may have another remedy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A ModelTraining.
    Training,
    /// One that Kueue has not let in, or that made way.
    Queued,
    /// A ModelDeployment.
    Deployment,
}

const CREATE: &str = "create it in the namespace {namespace}, or correct the name in the field; it is looked for again by itself";
const PRIORITY: &str =
    "choose one of `kubectl get priorityclasses,runtimeclasses`, or ask whoever runs the cluster for it";
const DEVICES: &str = "choose another profile of `kubectl get accel`, or ask whoever runs the cluster for the device's DRA driver and class";
const IMAGE: &str = "correct the image, or give the namespace's service account a pull secret; see \
    `kubectl describe pod {pod} -n {namespace}`; once it is mended, {further}";
const CONTAINER: &str = "read `kubectl describe pod {pod} -n {namespace}`, and correct spec.podOverrides or the custom \
    command; the kubelet tries again by itself";
const WAIT: &str = "wait: it goes on by itself; `kubectl sconce logs {object} -n {namespace} --follow` shows what the pods say";
const CORRECT: &str = "correct the field that the sentence names and apply it: the change alone makes it run again; where a table was mended \
    in its place, {again}";
const LOGS: &str = "read `kubectl sconce logs {object} -n {namespace}`; then {further}";
const DESCRIBE: &str =
    "read `kubectl sconce logs {object} -n {namespace}` and `kubectl describe pod {pod} -n {namespace}`";
const QUOTA: &str = "ask for less than `kubectl describe quota -n {namespace}` has left, or have the quota or policy that \
    the sentence names changed; it is tried again by itself";
const ROOM: &str =
    "add a node, raise scheduling.priorityClassName, or wait: it goes on from its last checkpoint by itself";
const KUEUE: &str = "wait; `kubectl get localqueues,workloads -n {namespace}` shows what comes before it, and whoever runs \
    the cluster has the quota (`kubectl describe clusterqueue`)";
const PROMOTE: &str = "promote what is known: kubectl sconce promote {name} -n {namespace}";
const UNITS: &str =
    "see what is free with `kubectl sconce top`; add nodes, or ask for fewer with spec.accelerator.count";
const PLOT: &str = "nothing: it is done; `kubectl sconce plot {name} -n {namespace}` shows how the loss went";
const SEE_TRAINING: &str = "see the training: kubectl get mtrain -n {namespace}";

/// What to do for a reason; `{…}` are names. Nothing where it tells no fault. Every reason is here, or this does not
/// compile.
fn step(reason: &Reason, of: Kind) -> Option<&'static str> {
    let step = match reason {
        Reason::ConfigMapNotFound
        | Reason::ClaimNotFound
        | Reason::SecretNotFound
        | Reason::TrainingNotFound => CREATE,
        Reason::PriorityClassNotFound | Reason::RuntimeClassNotFound => PRIORITY,
        Reason::ProfileNotFound => "choose one of `kubectl get accel` for spec.accelerator.profile",
        Reason::DeviceClassNotFound | Reason::DynamicAllocationUnserved => DEVICES,
        Reason::TooManyDevices => "lower spec.accelerator.count to 32 or fewer",
        Reason::NoImageForDevice => {
            "leave spec.accelerator out, or ask whoever owns the profile to name images in its spec.images"
        }
        Reason::OverrideConflict => {
            "remove from spec.podOverrides what the sentence names, or choose another profile of `kubectl get accel`"
        }
        Reason::IncumbentUnclear => {
            "promote the same model in each ModelDeployment of the training (`kubectl sconce promote`), or take `beats` out of \
             spec.evaluation.gates"
        }
        Reason::NodeCacheDisabled => {
            "set spec.cache.strategy to SharedVolume or None, or have the chart's nodeCache.enabled set"
        }
        Reason::InvalidSizeLimit => "give spec.cache.sizeLimit as a number of bytes, such as 20Gi",
        Reason::ImageVolumesNotServed => {
            "have the feature gate ImageVolume set, or put the model on a claim (pvc://) or a web server (https://)"
        }
        Reason::CredentialsNotNeeded => "remove spec.model.credentialsRef",
        Reason::PlanTooLarge => "shorten the field that the sentence names: a pod carries its plan",
        Reason::FailedMount | Reason::FailedAttachVolume => {
            "check the claims that the spec names and spec.podOverrides.volumes: kubectl get pvc -n {namespace}"
        }
        Reason::DoesNotFit => {
            "take the profile that the sentence names, a larger spec.accelerator.count, or compute less at once (batchSize)"
        }
        Reason::ClaimAccessMode => {
            "set spec.replicas or spec.nodes.count to 1, or use a claim that is ReadOnlyMany or ReadWriteMany (`kubectl get pvc -n {namespace}`)"
        }
        Reason::NameTaken => {
            "delete or rename the object that has the name, or choose another name for this one"
        }
        Reason::ChildRefused => {
            "change the field that the API server's words name, or have the policy changed; it is tried again by itself"
        }
        Reason::ReconcileFails => {
            "see what the operator's log says of it, and how the API server and its webhooks answer; it is tried again by itself"
        }
        Reason::LocalQueueNotFound => {
            "choose one of `kubectl get localqueues -n {namespace}` for spec.scheduling.queueName, or leave it out"
        }
        Reason::QueueNotAvailable => "remove spec.scheduling.queueName, or have Kueue installed",
        Reason::Unschedulable => {
            "compare what it asks for with `kubectl sconce top` and `kubectl get nodes`; it goes on by itself once there is room"
        }
        Reason::PodRefused | Reason::FailedCreate | Reason::ReplicaFailure => QUOTA,
        Reason::NoPod => "see why the pod was refused: kubectl describe job {job} -n {namespace}",
        Reason::ImagePullFailed | Reason::InvalidImageName | Reason::ErrImageNeverPull => IMAGE,
        Reason::CreateContainerConfigError | Reason::CreateContainerError | Reason::RunContainerError => {
            CONTAINER
        }
        Reason::BadInput | Reason::Diverged | Reason::NoReport => CORRECT,
        Reason::OutOfMemory => {
            "raise spec.resources.memory, or choose an accelerator with more where its own does not suffice, or lower what is \
             computed at once"
        }
        Reason::Storage | Reason::Internal | Reason::Interrupted | Reason::JobFailed => LOGS,
        Reason::ReportLost => "{again}",
        Reason::PodGoesOn => {
            "have the container that the sentence names injected as a native sidecar, or not at all (labels and annotations in \
             spec.podOverrides); this pod ends with `kubectl delete pod {pod} -n {namespace}`"
        }
        Reason::DeadlineExceeded => {
            "raise spec.activeDeadlineSeconds, and {further}; fewer epochs are another run by themselves"
        }
        Reason::Stalled => {
            "read `kubectl sconce logs {object} -n {namespace}` before the pod is replaced, as its log goes with it; raise \
             spec.failurePolicy.stallTimeout where it is only slow; after its last retry, {further}"
        }
        Reason::Rejected | Reason::GateMissed => {
            "train differently, or lower the gate in spec.evaluation.gates; `kubectl sconce plot {name} -n {namespace}` shows \
             how the loss went"
        }
        Reason::ProgressDeadlineExceeded => {
            "read `kubectl sconce logs {object} -n {namespace}` and `kubectl describe pod {pod} -n {namespace}`; then {again}"
        }
        Reason::RolledBack => {
            "mend what the sentence names, by a change of the spec or by another training; where it was none of these, {again}"
        }
        Reason::Preempted | Reason::YieldedToServing => ROOM,
        Reason::WaitingForQuota | Reason::AwaitingAdmission => KUEUE,
        Reason::AwaitingKueue => {
            "wait a moment; if it stays, whoever runs the cluster sees whether Kueue's controller looks after {namespace}"
        }
        Reason::Deactivated => {
            "set spec.active of the Workload to true again: kubectl get workloads -n {namespace} shows its name"
        }
        Reason::NoArtifactYet | Reason::TrainingFailed | Reason::TrainingRejected => SEE_TRAINING,
        Reason::LaterRunRejected | Reason::LaterRunFailed | Reason::GatesRaised => {
            "nothing for what is served; for something newer, see the training: kubectl get mtrain -n {namespace}"
        }
        Reason::AwaitingPromotion => {
            "promote what the training left: kubectl sconce promote {name} -n {namespace}"
        }
        Reason::PromotionInvalid | Reason::PromotionUnknown | Reason::PromotionAmbiguous => PROMOTE,
        Reason::Pending
        | Reason::Starting
        | Reason::Training
        | Reason::Evaluating
        | Reason::Ending
        | Reason::Retrying
        | Reason::Stopping
        | Reason::RollingOut
        | Reason::ReplicasStarting
        | Reason::ScalingUp
        | Reason::ScalingDown => WAIT,
        Reason::Suspended => {
            "let it go on: kubectl patch {object} -n {namespace} --type merge -p '{\"spec\":{\"suspend\":false}}'"
        }
        Reason::ScaledToZero => "scale it up: kubectl scale {object} -n {namespace} --replicas=1",
        Reason::Succeeded => PLOT,
        Reason::Serving => {
            "nothing: it answers; `kubectl port-forward -n {namespace} service/{name} 8080:80` lets you ask it from here"
        }
        Reason::NoPodAnswers => DESCRIBE,
        Reason::LoadUnknown => {
            "have the operator's namespace let through to port 9090 of the pods (NetworkPolicy)"
        }
        Reason::MaxReplicas => "raise spec.autoscaling.maxReplicas, if there is to be more",
        Reason::NoFreeUnits => UNITS,
        Reason::NotCached => {
            "make room, as the sentence says (spec.cache.sizeLimit): it is served all the same"
        }
        Reason::Tight => "watch its memory, or take a larger profile or spec.accelerator.count",
        Reason::ColumnsUnknown => {
            "name the columns in spec.dataset.features, and it can be told whether it fits"
        }
        Reason::MemoryUnknown => {
            "ask whoever owns the profile for its spec.memory, and it can be told whether it fits"
        }
        Reason::CrdOutdated => "kubectl apply --server-side --force-conflicts -f charts/sconce/crds",
        Reason::NoNodes => {
            "see `kubectl describe accel`: add a node, or have the profile's nodeSelector corrected"
        }
        Reason::Other(_) => match of {
            Kind::Queued => KUEUE,
            Kind::Training => "read `kubectl describe job {job} -n {namespace}`; then {further}",
            Kind::Deployment => DESCRIBE,
        },
        Reason::Valid
        | Reason::Scheduled
        | Reason::NotAsked
        | Reason::NotFailed
        | Reason::NotMeasured
        | Reason::Ended
        | Reason::AllPassed
        | Reason::NoGates
        | Reason::GatesPassed
        | Reason::Promoted
        | Reason::Given
        | Reason::Kept
        | Reason::CurrentRevision
        | Reason::EarlierRevision
        | Reason::BothRevisions
        | Reason::Complete
        | Reason::LoadKnown
        | Reason::LoadPartlyKnown
        | Reason::WithinLimits
        | Reason::Fits
        | Reason::NeedUnknown
        | Reason::Found
        | Reason::NotCounted
        | Reason::Hit
        | Reason::Fetched
        | Reason::NoPodTold
        | Reason::ScaledUp
        | Reason::ScaledDown => return None,
    };
    Some(step)
}

/// The step for a reason; nothing where it tells no fault, and nothing goes on that could be waited for.
pub(super) fn next(reason: &Reason, names: &Names<'_>) -> Option<String> {
    let retry = "have it tried again: {annotate} sconce.dev/retry=$(date +%s)";
    let (short, again, further) = match names.of {
        Kind::Training | Kind::Queued => (
            "mtrain",
            "run it again: {annotate} sconce.dev/rerun=$(date +%s)",
            "have it go on from its last checkpoint: {annotate} sconce.dev/resume=$(date +%s)",
        ),
        Kind::Deployment => ("mdep", retry, retry),
    };
    Some(
        step(reason, names.of)?
            .replace("{again}", again)
            .replace("{further}", further)
            .replace(
                "{annotate}",
                "kubectl annotate {object} -n {namespace} --overwrite",
            )
            .replace("{object}", &format!("{short}/{{name}}"))
            .replace("{namespace}", names.namespace)
            .replace("{name}", names.name)
            .replace("{pod}", names.pod)
            .replace("{job}", names.job),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(reason: &Reason, of: Kind) -> Option<String> {
        let names = Names {
            namespace: "ml",
            of,
            name: "tumour",
            pod: "tumour-x",
            job: "tumour-1",
        };
        next(reason, &names)
    }

    #[test]
    fn every_placeholder_is_filled_and_each_kind_is_tried_again_by_its_own_annotation() {
        let words = Reason::Other("Word".to_owned());
        for reason in Reason::ALL.iter().chain([&words]) {
            for (kind, foreign) in [
                (Kind::Training, "sconce.dev/retry"),
                (Kind::Queued, "sconce.dev/retry"),
                (Kind::Deployment, "sconce.dev/rerun"),
                (Kind::Deployment, "sconce.dev/resume"),
            ] {
                let step = of(reason, kind).unwrap_or_default();
                for left in [
                    "{name}",
                    "{namespace}",
                    "{object}",
                    "{pod}",
                    "{job}",
                    "{again}",
                    "{further}",
                    "{annotate}",
                ] {
                    assert!(!step.contains(left), "{reason}: {step}");
                }
                assert!(!step.contains(foreign), "{reason}: {step}");
            }
        }
        let retry = of(&Reason::RolledBack, Kind::Deployment).unwrap();
        let command = "kubectl annotate mdep/tumour -n ml --overwrite sconce.dev/retry=$(date +%s)";
        assert!(retry.ends_with(command), "{retry}");
    }

    #[test]
    fn the_log_of_a_pod_that_stands_still_is_read_before_it_is_replaced() {
        let step = of(&Reason::Stalled, Kind::Training).unwrap();
        // A trainer is never started again in its pod, so that there is no container before it.
        let log = "read `kubectl sconce logs mtrain/tumour -n ml` before the pod is replaced";
        assert!(step.starts_with(log) && !step.contains("--previous"), "{step}");
    }

    #[test]
    fn a_word_of_kueues_sends_people_to_the_queue() {
        let word = Reason::told("PodsReadyTimeout");
        assert!(
            of(&word, Kind::Queued)
                .unwrap()
                .contains("kubectl get localqueues,workloads -n ml")
        );
        assert!(
            of(&word, Kind::Training)
                .unwrap()
                .contains("kubectl describe job tumour-1")
        );
    }
}
