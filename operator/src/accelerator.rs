//! An AcceleratorProfile and a count, as a pod needs them.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    EnvVar, NodeAffinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, Toleration,
};
use sconce_contract::Device;
use sconce_contract::digest::short_hash;
use sconce_crds::resources::Accelerator;
use sconce_crds::{AcceleratorProfile, AcceleratorProfileSpec};

use crate::problem::Problem;
use crate::reason::Reason;

/// What a pod is given for its accelerator; the default is the processor alone.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Resolved {
    /// What the image must compute on.
    pub device: Device,
    /// Units of one pod; 0 for the processor alone.
    pub count: u32,
    /// The DeviceClass whose devices the pod claims, where the profile has no resources.
    pub device_class_name: Option<String>,
    /// Extended resources of one pod, already multiplied by the count.
    pub resources: BTreeMap<String, String>,
    /// Labels that the node must carry.
    pub node_selector: BTreeMap<String, String>,
    /// What else is asked of the node's labels.
    pub node_affinity: Option<NodeAffinity>,
    /// Taints that the pod puts up with.
    pub tolerations: Vec<Toleration>,
    /// RuntimeClass of the pod.
    pub runtime_class_name: Option<String>,
    /// Image of the trainer, where the device has one of its own.
    pub trainer_image: Option<String>,
    /// Image of the server, where the device has one of its own.
    pub server_image: Option<String>,
    /// Environment of the container.
    pub env: Vec<EnvVar>,
}

/// Between what stands for a place and how many devices are claimed there. No hash has it.
const TIMES: char = 'x';

/// Whether a node on which a pod of one placement is could take one of another in its stead: the same place, and no more
/// devices.
pub fn is_within(ours: &str, theirs: &str) -> bool {
    let parts = |placement: &str| match placement.split_once(TIMES) {
        Some((place, count)) => (place.to_owned(), count.parse().unwrap_or(1)),
        None => (placement.to_owned(), 1_u32),
    };
    let ((ours, few), (theirs, many)) = (parts(ours), parts(theirs));
    ours == theirs && few <= many
}

impl Resolved {
    /// Stands for what is asked of a node beside its resources, labels and what it lets in, and for how many devices are
    /// claimed; empty where nothing is.
    pub fn placement(&self) -> String {
        match (&self.node_affinity, &self.device_class_name) {
            (None, None) => String::new(),
            asked => match asked.1 {
                // Of devices that are claimed, the requests do not say how many.
                Some(_) if self.count > 1 => format!("{}{TIMES}{}", short_hash(&asked), self.count),
                _ => short_hash(&asked),
            },
        }
    }
}

/// Resolves what the spec asks for. `profile` is what was found under the name it gives.
///
/// # Errors
/// A profile that does not exist.
pub fn resolve(
    asked: Option<&Accelerator>,
    profile: Option<&AcceleratorProfile>,
) -> Result<Resolved, Problem> {
    let Some(asked) = asked else {
        return Ok(Resolved::default());
    };
    let Some(profile) = profile else {
        return Err(Problem::new(
            Reason::ProfileNotFound,
            "spec.accelerator.profile",
            format!(
                "there is no AcceleratorProfile named {:?}; `kubectl get accel` lists those that there are",
                asked.profile
            ),
        ));
    };
    Ok(multiply(&profile.spec, asked.count))
}

/// Makes sure that an image of the device was named. Our own computes on the processor: on another device it
/// would hold the unit and leave it idle. `part` is `trainer` or `server`.
///
/// # Errors
/// A device other than the processor whose profile names no image for the part.
pub fn image_computes_on(
    accelerator: &Resolved,
    profile: Option<&AcceleratorProfile>,
    part: &str,
) -> Result<(), Problem> {
    let image = if part == "server" {
        &accelerator.server_image
    } else {
        &accelerator.trainer_image
    };
    if accelerator.device == Device::Cpu || image.is_some() {
        return Ok(());
    }
    let profile = profile.map(kube::ResourceExt::name_any).unwrap_or_default();
    Err(Problem::new(
        Reason::NoImageForDevice,
        "spec.accelerator.profile",
        format!(
            "the AcceleratorProfile {profile:?} is of another device than the operator's own {part} image computes on (CPU); \
             name an image that does in the profile's spec.images.{part}"
        ),
    ))
}

fn multiply(profile: &AcceleratorProfileSpec, count: u32) -> Resolved {
    let resources = profile
        .resources
        .iter()
        .map(|(name, units)| (name.clone(), (u64::from(units.0) * u64::from(count)).to_string()))
        .collect();
    Resolved {
        device: profile.device,
        count,
        device_class_name: profile.device_class_name.clone(),
        resources,
        node_selector: profile.node_selector.clone(),
        node_affinity: affinity(profile),
        tolerations: profile.tolerations.clone(),
        runtime_class_name: profile.runtime_class_name.clone(),
        trainer_image: profile.images.trainer.clone(),
        server_image: profile.images.server.clone(),
        env: profile.env.clone(),
    }
}

/// Alternatives and forbidden labels, as the scheduler takes them: of the terms one must hold, of a term all.
fn affinity(profile: &AcceleratorProfileSpec) -> Option<NodeAffinity> {
    let expression = |key: &str, operator: &str, values: Option<Vec<String>>| NodeSelectorRequirement {
        key: key.to_owned(),
        operator: operator.to_owned(),
        values,
    };
    let without = profile
        .without_node_labels
        .iter()
        .map(|label| expression(label, "DoesNotExist", None));
    let term = |carries: &BTreeMap<String, String>| {
        let carries = carries
            .iter()
            .map(|(key, value)| expression(key, "In", Some(vec![value.clone()])));
        NodeSelectorTerm {
            match_expressions: Some(carries.chain(without.clone()).collect()),
            match_fields: None,
        }
    };
    let terms: Vec<_> = match profile.node_selectors.as_slice() {
        [] if profile.without_node_labels.is_empty() => return None,
        [] => vec![term(&BTreeMap::new())],
        alternatives => alternatives.iter().map(term).collect(),
    };
    Some(NodeAffinity {
        required_during_scheduling_ignored_during_execution: Some(NodeSelector {
            node_selector_terms: terms,
        }),
        preferred_during_scheduling_ignored_during_execution: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile() -> AcceleratorProfile {
        serde_json::from_value(serde_json::json!({
            "apiVersion": "sconce.dev/v1alpha1", "kind": "AcceleratorProfile", "metadata": {"name": "l4"},
            "spec": {"device": "CUDA", "resources": {"nvidia.com/gpu": "2"}, "runtimeClassName": "nvidia"}
        }))
        .unwrap()
    }

    #[test]
    fn nothing_asked_is_the_processor() {
        assert_eq!(resolve(None, None).unwrap(), Resolved::default());
    }

    #[test]
    fn units_are_multiplied_by_the_count() {
        let asked = Accelerator {
            profile: "l4".into(),
            count: 3,
        };
        let resolved = resolve(Some(&asked), Some(&profile())).unwrap();
        assert_eq!(resolved.resources["nvidia.com/gpu"], "6");
        assert_eq!(resolved.device, Device::Cuda);
    }

    #[test]
    fn alternatives_become_terms_and_each_forbids_the_same_labels() {
        let mut profile = profile();
        assert_eq!(affinity(&profile.spec), None);
        profile.spec.without_node_labels = vec!["shared".to_owned()];
        let terms = |profile: &AcceleratorProfile| {
            serde_json::to_value(affinity(&profile.spec)).unwrap()["requiredDuringSchedulingIgnoredDuringExecution"]
                ["nodeSelectorTerms"]
                .clone()
        };
        let absent = serde_json::json!({"key": "shared", "operator": "DoesNotExist"});
        assert_eq!(
            terms(&profile),
            serde_json::json!([{"matchExpressions": [absent]}])
        );
        profile.spec.node_selectors = ["a", "b"]
            .map(|key| [(key.to_owned(), "1".to_owned())].into())
            .into();
        let carries = |key: &str| serde_json::json!({"key": key, "operator": "In", "values": ["1"]});
        assert_eq!(
            terms(&profile),
            serde_json::json!([
                {"matchExpressions": [carries("a"), absent]}, {"matchExpressions": [carries("b"), absent]}
            ])
        );
    }

    #[test]
    fn how_many_devices_are_claimed_is_part_of_where_a_pod_can_be() {
        let placement = |class: Option<&str>, count| {
            let asked = Resolved {
                count,
                device_class_name: class.map(str::to_owned),
                ..Resolved::default()
            };
            asked.placement()
        };
        let [one, two, other] =
            [("gpu", 1), ("gpu", 2), ("tpu", 1)].map(|(class, count)| placement(Some(class), count));
        for (ours, theirs, fits) in [
            (&one, &two, true),
            (&two, &two, true),
            (&two, &one, false),
            (&other, &two, false),
        ] {
            assert_eq!(is_within(ours, theirs), fits, "{ours} {theirs}");
        }
        // Of extended resources, the requests say it.
        assert_eq!(placement(None, 1), placement(None, 2));
    }

    #[test]
    fn an_unknown_profile_names_the_field() {
        let asked = Accelerator {
            profile: "l5".into(),
            count: 1,
        };
        let problem = resolve(Some(&asked), None).unwrap_err();
        assert_eq!(
            (problem.reason.as_str(), problem.field.as_str()),
            ("ProfileNotFound", "spec.accelerator.profile")
        );
        assert!(problem.message.contains("\"l5\""));
    }
}
