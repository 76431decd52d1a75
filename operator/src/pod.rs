//! The pod that both workloads run in: restricted by Pod Security's measure, without a token, with a plan.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Affinity, Capabilities, Container, ContainerPort, DownwardAPIVolumeFile, DownwardAPIVolumeSource,
    EnvFromSource, EnvVar, EnvVarSource, Lifecycle, LifecycleHandler, ObjectFieldSelector, PodResourceClaim,
    PodSecurityContext, PodSpec, PodTemplateSpec, Probe, ResourceClaim, ResourceFieldSelector,
    ResourceRequirements, SeccompProfile, SecretEnvSource, SecurityContext, SleepAction, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use sconce_contract::credentials::{CredentialsRef, is_cloud};
use sconce_crds::overrides::PodOverrides;
use serde::Serialize;

use crate::accelerator::Resolved;
use crate::devices::CLAIM;
use crate::labels;
use crate::overrides;
use crate::problem::Problem;
use crate::reason::Reason;
use crate::volumes::Volumes;

/// User and group of every container of ours ("nonroot" in the field's minimal images).
const NON_ROOT: i64 = 65532;
/// Folder of the plan.
const PLAN_FOLDER: &str = "/etc/sconce";
/// The plan's file in it.
const PLAN_FILE: &str = "plan.json";
/// Bytes of the longest plan.
const PLAN_LIMIT: usize = 192 * 1024;
/// Name of the only container.
pub const CONTAINER: &str = "sconce";

/// What differs between a trainer's pod and a server's.
pub struct Shape<'a> {
    /// Labels of the pod.
    pub labels: BTreeMap<String, String>,
    /// What runs in the container.
    pub program: Program<'a>,
    /// Variables of the environment beside those that every pod has.
    pub env: Vec<EnvVar>,
    /// Secrets whose keys become variables.
    pub credentials: Vec<EnvFromSource>,
    /// What the program is to do: the contract's plan, as JSON ([`plan`]).
    pub plan: String,
    /// Name of the template of the pod's claim of devices, where it has one.
    pub devices: &'a str,
    /// Volumes that the plan's URIs need.
    pub volumes: &'a Volumes,
    /// Processor, requested and limited.
    pub cpu: &'a sconce_crds::Quantity,
    /// Memory, requested and limited.
    pub memory: &'a sconce_crds::Quantity,
    /// Accelerator.
    pub accelerator: &'a Resolved,
    /// PriorityClass.
    pub priority_class_name: Option<String>,
    /// Ports, by name.
    pub ports: Vec<(&'static str, u16)>,
    /// When the container has started for good.
    pub startup_probe: Option<Probe>,
    /// When the container may get requests.
    pub readiness_probe: Option<Probe>,
    /// When the container must be restarted.
    pub liveness_probe: Option<Probe>,
    /// Seconds between the wish that the pod ends and its end.
    pub termination_grace_period_seconds: i64,
    /// `Never` in a Job, `Always` in a Deployment.
    pub restart_policy: &'static str,
    /// Seconds between the end of a pod and the signal that tells its container, in which requests still arrive; for
    /// programs that do not wait by themselves.
    pub drain_delay: Option<i64>,
    /// What the spec adds.
    pub overrides: Option<&'a PodOverrides>,
}

/// What runs in the container.
pub enum Program<'a> {
    /// An image of ours, or one that a profile names in its place: it writes nowhere but to its volumes.
    Ours {
        /// The image.
        image: String,
        /// When it is pulled.
        pull_policy: &'a str,
    },
    /// An image that knows nothing of Sconce. It runs as the same user and without privileges, but may write where
    /// that user may.
    Custom {
        /// The image; pulled as Kubernetes' default is.
        image: &'a str,
        /// Its program; empty for the image's own.
        command: &'a [String],
        /// Its arguments; empty for the image's own.
        args: &'a [String],
    },
}

/// A plan as the pod carries it: in an annotation, which the kubelet shows to the container as a file. A pod and its
/// plan are one object that way, and neither can be there, or change, without the other.
pub fn plan(plan: &impl Serialize) -> String {
    // Structs and maps with string keys always serialise; the programs refuse an empty plan.
    serde_json::to_string(plan).unwrap_or_default()
}

/// Refuses a plan that does not fit beside what else a pod is told: a pod has at most 256 KiB of annotations.
///
/// # Errors
/// The field that makes it long.
pub fn plan_fits(plan: &impl Serialize, field: &str) -> Result<(), Problem> {
    let length = self::plan(plan).len();
    if length <= PLAN_LIMIT {
        return Ok(());
    }
    Err(Problem::new(
        Reason::PlanTooLarge,
        field,
        format!(
            "it makes the plan {} KiB long, and a pod carries one of at most {} KiB; shorten it",
            length.div_ceil(1024),
            PLAN_LIMIT / 1024
        ),
    ))
}

/// The template of the pod.
pub fn template(shape: Shape<'_>) -> PodTemplateSpec {
    let (mut volumes, mut volume_mounts) = shape.volumes.of_pod();
    volumes.push(Volume {
        name: "plan".to_owned(),
        downward_api: Some(DownwardAPIVolumeSource {
            items: Some(vec![DownwardAPIVolumeFile {
                path: PLAN_FILE.to_owned(),
                field_ref: Some(ObjectFieldSelector {
                    field_path: format!("metadata.annotations['{}']", labels::PLAN),
                    api_version: None,
                }),
                ..DownwardAPIVolumeFile::default()
            }]),
            ..DownwardAPIVolumeSource::default()
        }),
        ..Volume::default()
    });
    volume_mounts.push(VolumeMount {
        name: "plan".to_owned(),
        mount_path: PLAN_FOLDER.to_owned(),
        read_only: Some(true),
        ..VolumeMount::default()
    });
    let custom = matches!(shape.program, Program::Custom { .. });
    let env = environment(&shape.accelerator.env, shape.env, custom);
    let container = Container {
        name: CONTAINER.to_owned(),
        env: Some(env),
        env_from: (!shape.credentials.is_empty()).then_some(shape.credentials),
        ports: Some(
            shape
                .ports
                .iter()
                .map(|&(name, port)| container_port(name, port))
                .collect(),
        ),
        resources: Some(resources(shape.cpu, shape.memory, shape.accelerator)),
        security_context: Some(container_security(custom)),
        startup_probe: shape.startup_probe,
        readiness_probe: shape.readiness_probe,
        liveness_probe: shape.liveness_probe,
        volume_mounts: Some(volume_mounts),
        lifecycle: shape.drain_delay.map(|seconds| Lifecycle {
            pre_stop: Some(LifecycleHandler {
                sleep: Some(SleepAction { seconds }),
                ..LifecycleHandler::default()
            }),
            ..Lifecycle::default()
        }),
        ..container(shape.program)
    };
    let accelerator = shape.accelerator;
    let mut template = PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(shape.labels),
            annotations: Some([(labels::PLAN.to_owned(), shape.plan)].into()),
            ..ObjectMeta::default()
        }),
        spec: Some(PodSpec {
            containers: vec![container],
            volumes: Some(volumes),
            restart_policy: Some(shape.restart_policy.to_owned()),
            automount_service_account_token: Some(false),
            enable_service_links: Some(false),
            security_context: Some(pod_security()),
            priority_class_name: shape.priority_class_name,
            runtime_class_name: accelerator.runtime_class_name.clone(),
            node_selector: (!accelerator.node_selector.is_empty()).then(|| accelerator.node_selector.clone()),
            affinity: accelerator.node_affinity.clone().map(|affinity| Affinity {
                node_affinity: Some(affinity),
                ..Affinity::default()
            }),
            tolerations: (!accelerator.tolerations.is_empty()).then(|| accelerator.tolerations.clone()),
            termination_grace_period_seconds: Some(shape.termination_grace_period_seconds),
            resource_claims: accelerator.device_class_name.as_ref().map(|_| {
                vec![PodResourceClaim {
                    name: CLAIM.to_owned(),
                    resource_claim_template_name: Some(shape.devices.to_owned()),
                    resource_claim_name: None,
                }]
            }),
            ..PodSpec::default()
        }),
    };
    if let Some(given) = shape.overrides {
        overrides::add(&mut template, given);
    }
    template
}

fn container(program: Program<'_>) -> Container {
    let given = |words: &[String]| (!words.is_empty()).then(|| words.to_vec());
    match program {
        Program::Ours { image, pull_policy } => Container {
            image: Some(image),
            image_pull_policy: Some(pull_policy.to_owned()),
            args: Some(Vec::new()),
            ..Container::default()
        },
        Program::Custom { image, command, args } => Container {
            image: Some(image.to_owned()),
            command: given(command),
            args: given(args),
            // It may know nothing of reports: then the end of its log tells why it failed.
            termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
            ..Container::default()
        },
    }
}

/// Requests equal limits: a pod is never evicted for using what it asked for, and never gets more.
fn resources(
    cpu: &sconce_crds::Quantity,
    memory: &sconce_crds::Quantity,
    accelerator: &Resolved,
) -> ResourceRequirements {
    let all = amounts(cpu, memory, &accelerator.resources);
    ResourceRequirements {
        limits: Some(all.clone()),
        requests: Some(all),
        claims: accelerator.device_class_name.as_ref().map(|_| {
            vec![ResourceClaim {
                name: CLAIM.to_owned(),
                request: None,
            }]
        }),
    }
}

/// What a pod asks for.
pub fn amounts(
    cpu: &sconce_crds::Quantity,
    memory: &sconce_crds::Quantity,
    extended: &BTreeMap<String, String>,
) -> BTreeMap<String, Quantity> {
    let extended = extended.iter();
    [
        ("cpu".to_owned(), cpu.into()),
        ("memory".to_owned(), memory.into()),
    ]
    .into_iter()
    .chain(extended.map(|(name, amount)| (name.clone(), Quantity(amount.clone()))))
    .collect()
}

/// Thread pools size themselves by the machine; the downward API rounds the container's share up to whole cores.
fn environment(profile: &[EnvVar], own: Vec<EnvVar>, custom: bool) -> Vec<EnvVar> {
    let threads = |name: &str| EnvVar {
        name: name.to_owned(),
        value_from: Some(EnvVarSource {
            resource_field_ref: Some(ResourceFieldSelector {
                container_name: Some(CONTAINER.to_owned()),
                resource: "limits.cpu".to_owned(),
                divisor: Some(Quantity("1".to_owned())),
            }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    };
    let mut all = vec![threads("RAYON_NUM_THREADS"), threads("CANDLE_NUM_THREADS")];
    all.extend(profile.iter().cloned());
    all.extend(own);
    // The user has no entry in most images' /etc/passwd, and programs that find no home write to the root.
    if custom && !all.iter().any(|variable| variable.name == "HOME") {
        all.push(variable("HOME", "/tmp"));
    }
    all
}

/// A variable with a plain value.
pub fn variable(name: &str, value: impl Into<String>) -> EnvVar {
    EnvVar {
        name: name.to_owned(),
        value: Some(value.into()),
        value_from: None,
    }
}

/// What a location's Secret is given for: what the names of its variables begin with, and the location.
pub type Guarded<'a> = (&'static str, &'a str, Option<&'a CredentialsRef>);

/// The variables of these Secrets, each with its own prefix, so that one never hides another. A program that is not ours
/// uses a cloud's own client, which knows the variables without any prefix: it gets them so too, and the last counts.
pub fn credentials(locations: &[Guarded<'_>], custom: bool) -> Vec<EnvFromSource> {
    let variables = |prefix: Option<&str>, secret: &CredentialsRef| EnvFromSource {
        prefix: prefix.map(str::to_owned),
        secret_ref: Some(SecretEnvSource {
            name: secret.name.clone(),
            optional: None,
        }),
        config_map_ref: None,
    };
    let named = locations
        .iter()
        .filter_map(|(prefix, uri, secret)| Some((*prefix, *uri, (*secret)?)));
    let prefixed = named
        .clone()
        .map(|(prefix, _, secret)| variables(Some(prefix), secret));
    let plain = named.filter(|(_, uri, _)| custom && is_cloud(uri));
    prefixed
        .chain(plain.map(|(_, _, secret)| variables(None, secret)))
        .collect()
}

fn container_port(name: &str, port: u16) -> ContainerPort {
    ContainerPort {
        name: Some(name.to_owned()),
        container_port: i32::from(port),
        ..ContainerPort::default()
    }
}

fn pod_security() -> PodSecurityContext {
    PodSecurityContext {
        run_as_non_root: Some(true),
        run_as_user: Some(NON_ROOT),
        run_as_group: Some(NON_ROOT),
        fs_group: Some(NON_ROOT),
        fs_group_change_policy: Some("OnRootMismatch".to_owned()),
        seccomp_profile: Some(SeccompProfile {
            type_: "RuntimeDefault".to_owned(),
            localhost_profile: None,
        }),
        ..PodSecurityContext::default()
    }
}

fn container_security(custom: bool) -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        read_only_root_filesystem: Some(!custom),
        capabilities: Some(Capabilities {
            drop: Some(vec!["ALL".to_owned()]),
            add: None,
        }),
        ..SecurityContext::default()
    }
}
