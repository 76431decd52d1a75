//! Devices by dynamic resource allocation: a claim's template for each workload, and whether the cluster knows such
//! things.
//!
//! `resource.k8s.io/v1` is served since Kubernetes 1.34. It is looked for when a profile names a DeviceClass, and
//! nothing else asks for it.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::{ApiResource, DynamicObject, GroupVersionKind, NamespaceResourceScope, Status};
use kube::{Api, Resource};
use sconce_crds::AcceleratorProfile;
use sconce_crds::resources::Accelerator;
use serde::{Deserialize, Serialize};

use crate::accelerator::Resolved;
use crate::context::Context;
use crate::error::{Doing, Error};
use crate::problem::Problem;
use crate::reason::Reason;

const GROUP: &str = "resource.k8s.io";
const VERSION: &str = "v1";
/// Name of the request in the claim, and of the claim in the pod.
pub const CLAIM: &str = "accelerator";
/// Most devices in one claim (k8s.io/api/resource/v1, `AllocationResultsMaxSize`).
const MOST: u32 = 32;

/// Whether a DeviceClass can be had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceClass {
    /// It is there, or none is asked for.
    #[default]
    Found,
    /// There is none of that name.
    Missing,
    /// The API server knows no such kind.
    Unserved,
}

/// Looks for the DeviceClass that a profile names.
pub async fn look_up(context: &Context, profile: Option<&AcceleratorProfile>) -> Result<DeviceClass, Error> {
    let Some(class) = profile.and_then(|profile| profile.spec.device_class_name.as_ref()) else {
        return Ok(DeviceClass::Found);
    };
    let kind = ApiResource::from_gvk_with_plural(
        &GroupVersionKind::gvk(GROUP, VERSION, "DeviceClass"),
        "deviceclasses",
    );
    let api: Api<DynamicObject> = Api::all_with(context.client.clone(), &kind);
    match api.get_metadata(class).await {
        Ok(_) => Ok(DeviceClass::Found),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(absent(&status)),
        Err(error) => Err(error).doing(|| format!("get DeviceClass {class}")),
    }
}

/// Of a kind that it serves, the API server says which object is not there; of another, that there is no such page.
fn absent(status: &Status) -> DeviceClass {
    if status
        .details
        .as_ref()
        .is_some_and(|details| !details.name.is_empty())
    {
        DeviceClass::Missing
    } else {
        DeviceClass::Unserved
    }
}

/// Whether a pod can claim what the profile names.
///
/// # Errors
/// What keeps it from that.
pub fn check(
    asked: Option<&Accelerator>,
    profile: Option<&AcceleratorProfile>,
    class: DeviceClass,
) -> Result<(), Problem> {
    let named = profile.and_then(|profile| profile.spec.device_class_name.as_deref());
    let (Some(asked), Some(name)) = (asked, named) else {
        return Ok(());
    };
    let profile = &asked.profile;
    match class {
        DeviceClass::Found if asked.count > MOST => Err(Problem::new(
            Reason::TooManyDevices,
            "spec.accelerator.count",
            format!("a pod can claim at most {MOST} devices of a DeviceClass; ask for fewer"),
        )),
        DeviceClass::Found => Ok(()),
        DeviceClass::Missing => Err(Problem::new(
            Reason::DeviceClassNotFound,
            "spec.accelerator.profile",
            format!(
                "the AcceleratorProfile {profile:?} names the DeviceClass {name:?}, which does not exist; `kubectl get \
                 deviceclasses` lists those that there are: install the device's driver, or correct the profile's \
                 spec.deviceClassName"
            ),
        )),
        DeviceClass::Unserved => Err(Problem::new(
            Reason::DynamicAllocationUnserved,
            "spec.accelerator.profile",
            format!(
                "the AcceleratorProfile {profile:?} asks for a DeviceClass, and this cluster does not serve {GROUP}/{VERSION} \
                 (Kubernetes does since 1.34); use a profile with spec.resources"
            ),
        )),
    }
}

/// From which each pod's own claim is made; it is deleted with the pod.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResourceClaimTemplate {
    /// Its own metadata.
    pub metadata: ObjectMeta,
    spec: TemplateSpec,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct TemplateSpec {
    spec: ClaimSpec,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct ClaimSpec {
    devices: Devices,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Devices {
    requests: Vec<Request>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Request {
    name: String,
    // Absent in requests of somebody else's template, which may offer alternatives instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    exactly: Option<Exactly>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Exactly {
    device_class_name: String,
    allocation_mode: String,
    #[serde(default)]
    count: i64,
}

impl ResourceClaimTemplate {
    /// For so many devices as a pod is given; nothing where it claims none.
    pub fn of(accelerator: &Resolved, metadata: ObjectMeta) -> Option<Self> {
        let device_class_name = accelerator.device_class_name.clone()?;
        let exactly = Exactly {
            device_class_name,
            allocation_mode: "ExactCount".to_owned(),
            count: i64::from(accelerator.count),
        };
        let requests = vec![Request {
            name: CLAIM.to_owned(),
            exactly: Some(exactly),
        }];
        let spec = ClaimSpec {
            devices: Devices { requests },
        };
        Some(ResourceClaimTemplate {
            metadata,
            spec: TemplateSpec { spec },
        })
    }
}

impl Resource for ResourceClaimTemplate {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind(_: &()) -> Cow<'_, str> {
        "ResourceClaimTemplate".into()
    }

    fn group(_: &()) -> Cow<'_, str> {
        GROUP.into()
    }

    fn version(_: &()) -> Cow<'_, str> {
        VERSION.into()
    }

    fn plural(_: &()) -> Cow<'_, str> {
        "resourceclaimtemplates".into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn profile() -> AcceleratorProfile {
        serde_json::from_value(json!({
            "apiVersion": "sconce.dev/v1alpha1", "kind": "AcceleratorProfile", "metadata": {"name": "dra"},
            "spec": {"device": "CUDA", "deviceClassName": "gpu.nvidia.com"},
        }))
        .unwrap()
    }

    fn asked(count: u32) -> Accelerator {
        Accelerator {
            profile: "dra".to_owned(),
            count,
        }
    }

    #[test]
    fn an_object_that_is_not_there_is_told_from_a_kind_that_is_not_served() {
        let missing: Status = serde_json::from_value(json!({
            "status": "Failure", "code": 404, "reason": "NotFound", "message": "deviceclasses.resource.k8s.io \"x\" not found",
            "details": {"name": "x", "group": "resource.k8s.io", "kind": "deviceclasses"},
        }))
        .unwrap();
        assert_eq!(absent(&missing), DeviceClass::Missing);
        // What kube makes of the API server's "404 page not found".
        let unserved = Status::failure("404 page not found\n", "Failed to parse error data").with_code(404);
        assert_eq!(absent(&unserved), DeviceClass::Unserved);
    }

    #[test]
    fn what_keeps_a_pod_from_its_devices_is_a_sentence() {
        for (count, class, reason, words) in [
            (1, DeviceClass::Missing, "DeviceClassNotFound", "gpu.nvidia.com"),
            (1, DeviceClass::Unserved, "DynamicAllocationUnserved", "1.34"),
            (33, DeviceClass::Found, "TooManyDevices", "32"),
        ] {
            let problem = check(Some(&asked(count)), Some(&profile()), class).unwrap_err();
            assert_eq!(problem.reason, reason);
            assert!(problem.message.contains(words), "{}", problem.message);
        }
        assert_eq!(
            check(Some(&asked(32)), Some(&profile()), DeviceClass::Found),
            Ok(())
        );
        assert_eq!(check(None, None, DeviceClass::Found), Ok(()));
    }
}
