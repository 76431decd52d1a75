//! Step 3: a validated run, to the objects that carry it out. Pure, and cannot fail.

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::{
    Job, JobSpec, PodFailurePolicy, PodFailurePolicyOnExitCodesRequirement,
    PodFailurePolicyOnPodConditionsPattern, PodFailurePolicyRule,
};
use k8s_openapi::api::core::v1::{
    EmptyDirVolumeSource, EnvFromSource, EnvVar, PersistentVolumeClaim, PersistentVolumeClaimSpec,
    PodTemplateSpec, Service, Volume, VolumeMount, VolumeResourceRequirements,
};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use sconce_contract::credentials::{CHECKPOINT_CREDENTIALS, DATASET_CREDENTIALS, OUTPUT_CREDENTIALS};
use sconce_contract::nodes::GROUP_PORT;
use sconce_contract::plan::SCRATCH_PATH;
use sconce_contract::progress::OBSERVABILITY_PORT;
use sconce_contract::report::{EXIT_BAD_INPUT, EXIT_INTERRUPTED};
use sconce_crds::ModelTraining;
use sconce_crds::training::AccessMode;

use super::group;
use super::validate::Run;
use crate::context::Images;
use crate::devices::ResourceClaimTemplate;
use crate::kueue;
use crate::labels;
use crate::owner;
use crate::pod::{self, Program, Shape, variable};

/// Size of the claim that a training owns where its spec names none. An artifact of ours has a few megabytes.
const CLAIM_SIZE: &str = "1Gi";
/// Seconds from SIGTERM to SIGKILL: time to write the report, and an artifact that is being written.
const GRACE_PERIOD: i64 = 30;
/// Name of the volume for temporary files.
const SCRATCH: &str = "scratch";

/// The objects of a run.
#[derive(Clone, Debug)]
pub struct Children {
    /// The claim for the artifacts, where the spec names none.
    pub claim: Option<PersistentVolumeClaim>,
    /// What the pod claims of devices, where it does.
    pub devices: Option<ResourceClaimTemplate>,
    /// Names for the pods, where there are several. It belongs to the Job, once that is there.
    pub service: Option<Service>,
    /// Who reaches them, likewise.
    pub policy: Option<NetworkPolicy>,
    /// The Job.
    pub job: Job,
}

/// The objects that carry out a run.
pub fn build(run: &Run<'_>, images: &Images) -> Children {
    Children {
        claim: run.own_claim.as_deref().map(|name| claim(run, name)),
        devices: ResourceClaimTemplate::of(&run.accelerator, metadata(run, &run.identity.job)),
        service: group::service(run, metadata(run, &run.identity.job)),
        policy: group::policy(run, metadata(run, &run.identity.job)),
        job: job(run, images),
    }
}

fn metadata(run: &Run<'_>, name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some(run.namespace.clone()),
        labels: Some(child_labels(run)),
        owner_references: Some(vec![owner::reference::<ModelTraining>(&run.name, &run.uid)]),
        ..ObjectMeta::default()
    }
}

fn child_labels(run: &Run<'_>) -> BTreeMap<String, String> {
    labels::child(labels::TRAINING, &run.name, labels::TRAINER)
}

fn claim(run: &Run<'_>, name: &str) -> PersistentVolumeClaim {
    let output = &run.spec.output;
    let mode = match output.access_mode {
        None | Some(AccessMode::ReadWriteOnce) => "ReadWriteOnce",
        Some(AccessMode::ReadWriteMany) => "ReadWriteMany",
    };
    let size = output
        .size
        .as_ref()
        .map_or_else(|| Quantity(CLAIM_SIZE.to_owned()), Into::into);
    PersistentVolumeClaim {
        metadata: metadata(run, name),
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec![mode.to_owned()]),
            storage_class_name: output.storage_class_name.clone(),
            resources: Some(VolumeResourceRequirements {
                requests: Some([("storage".to_owned(), size)].into()),
                limits: None,
            }),
            ..PersistentVolumeClaimSpec::default()
        }),
        status: None,
    }
}

fn job(run: &Run<'_>, images: &Images) -> Job {
    let mut template = pod::template(Shape {
        labels: child_labels(run),
        program: program(run, images),
        env: environment(run),
        credentials: credentials(run),
        plan: pod::plan(&run.plan),
        devices: &run.identity.job,
        volumes: &run.volumes,
        cpu: &run.spec.resources.cpu,
        memory: &run.spec.resources.memory,
        accelerator: &run.accelerator,
        priority_class_name: run.spec.scheduling.priority_class_name.clone(),
        ports: ports(run),
        startup_probe: None,
        readiness_probe: None,
        liveness_probe: None,
        termination_grace_period_seconds: GRACE_PERIOD,
        restart_policy: "Never",
        drain_delay: None,
        overrides: run.spec.pod_overrides.as_ref(),
    });
    if run.spec.model.custom.is_none() {
        add_scratch(&mut template);
    }
    let mut metadata = metadata(run, &run.identity.job);
    let queue = run.spec.scheduling.queue_name.as_ref();
    if let Some(queue) = queue {
        let labels = metadata.labels.get_or_insert_default();
        labels.insert(kueue::QUEUE_NAME.to_owned(), queue.clone());
    }
    let yielding = run.yielding.as_ref();
    metadata.annotations = yielding.map(|yielding| [(labels::YIELDING.to_owned(), yielding.write())].into());
    let mut job = Job {
        metadata,
        spec: Some(JobSpec {
            backoff_limit: Some(run.spec.failure_policy.backoff_limit),
            active_deadline_seconds: run.spec.active_deadline_seconds,
            suspend: Some(run.spec.suspend || queue.is_some() || yielding.is_some()),
            pod_failure_policy: Some(failure_policy()),
            template,
            ..JobSpec::default()
        }),
        status: None,
    };
    group::divide(run, &mut job);
    job
}

fn ports(run: &Run<'_>) -> Vec<(&'static str, u16)> {
    let of_group = run.spec.nodes.is_group().then_some(("group", GROUP_PORT));
    [("observe", OBSERVABILITY_PORT)]
        .into_iter()
        .chain(of_group)
        .collect()
}

/// A folder of the node for the rows of a table that is larger than the memory: the root of our pods is read only. Nothing
/// bounds it but what the node or the namespace grants a pod of ephemeral storage.
fn add_scratch(template: &mut PodTemplateSpec) {
    let Some(spec) = &mut template.spec else { return };
    spec.volumes.get_or_insert_default().push(Volume {
        name: SCRATCH.to_owned(),
        empty_dir: Some(EmptyDirVolumeSource::default()),
        ..Volume::default()
    });
    for container in &mut spec.containers {
        container.volume_mounts.get_or_insert_default().push(VolumeMount {
            name: SCRATCH.to_owned(),
            mount_path: SCRATCH_PATH.to_owned(),
            ..VolumeMount::default()
        });
    }
}

fn program<'a>(run: &'a Run<'_>, images: &'a Images) -> Program<'a> {
    if let Some(custom) = &run.spec.model.custom {
        return Program::Custom {
            image: &custom.image,
            command: &custom.command,
            args: &custom.args,
        };
    }
    let image = run.accelerator.trainer_image.as_ref();
    Program::Ours {
        image: image.unwrap_or(&images.trainer).clone(),
        pull_policy: &images.pull_policy,
    }
}

fn credentials(run: &Run<'_>) -> Vec<EnvFromSource> {
    let (spec, plan) = (run.spec, &run.plan);
    let checkpoint = &spec.checkpoint;
    let locations = [
        (
            DATASET_CREDENTIALS,
            plan.dataset.uri.as_str(),
            spec.dataset.credentials_ref.as_ref(),
        ),
        (
            CHECKPOINT_CREDENTIALS,
            checkpoint.uri.as_deref().unwrap_or_default(),
            checkpoint.credentials_ref.as_ref(),
        ),
        (
            OUTPUT_CREDENTIALS,
            plan.output.as_str(),
            spec.output.credentials_ref.as_ref(),
        ),
    ];
    pod::credentials(&locations, spec.model.custom.is_some())
}

/// What a trainer that is not ours would otherwise have to read from the plan. Documented in docs/custom.md.
fn environment(run: &Run<'_>) -> Vec<EnvVar> {
    let place = group::environment(run);
    if run.spec.model.custom.is_none() {
        return place;
    }
    let plan = &run.plan;
    let mut all = vec![
        variable("SCONCE_PLAN", sconce_contract::plan::PLAN_PATH),
        variable("SCONCE_REPORT", sconce_contract::report::REPORT_PATH),
        variable("SCONCE_NAME", &plan.name),
        variable("SCONCE_RUN", &plan.run),
        variable("SCONCE_DATASET_URI", &plan.dataset.uri),
        variable("SCONCE_OUTPUT_URI", &plan.output),
    ];
    for (name, uri) in [
        ("SCONCE_DATASET_PATH", &plan.dataset.uri),
        ("SCONCE_OUTPUT_PATH", &plan.output),
    ] {
        let path = run.volumes.path(uri);
        all.extend(path.map(|path| variable(name, path.to_string_lossy())));
    }
    all.extend(place);
    all
}

/// Which failures count. Rules are tried in order, and the first that fits decides: a pod that its node evicts
/// may also have an exit code.
fn failure_policy() -> PodFailurePolicy {
    let on_exit = |action: &str, code: u8| PodFailurePolicyRule {
        action: action.to_owned(),
        on_exit_codes: Some(PodFailurePolicyOnExitCodesRequirement {
            container_name: Some(pod::CONTAINER.to_owned()),
            operator: "In".to_owned(),
            values: vec![i32::from(code)],
        }),
        on_pod_conditions: None,
    };
    let evicted = PodFailurePolicyRule {
        action: "Ignore".to_owned(),
        on_exit_codes: None,
        on_pod_conditions: Some(vec![PodFailurePolicyOnPodConditionsPattern {
            type_: "DisruptionTarget".to_owned(),
            status: "True".to_owned(),
        }]),
    };
    PodFailurePolicy {
        rules: vec![
            evicted,
            on_exit("FailJob", EXIT_BAD_INPUT),
            on_exit("Ignore", EXIT_INTERRUPTED),
        ],
    }
}
