//! What is kept of the objects that are watched, thousands of each: our own types, with the fields that are read.
//!
//! ```text
//!   API server ──JSON──► seen::Pod, Job, Deployment ──────► watches (stores) ──► the pure steps
//!                        Compared<Service, …>                      │
//!   k8s_openapi's Job, Deployment, Service ◄── build ◄─────────────┘
//!        └──► apply ──► API server
//! ```
//!
//! Kubernetes' own types have every field there is, empty or not: a container alone has 2,120 bytes of them, and a map
//! with one label a node of 544. What is written is made of them still; what is read is not. [`Pod`], [`Job`] and
//! [`Deployment`] have the names and shapes of theirs, less what nobody here reads: serde skips the rest while it reads,
//! and the compiler refuses a field that is not kept. [`Compared`] is for kinds of which nothing is read: it holds as
//! text what is stored, to be held against what should be. [`Own`] reads our own kinds, which stay as they are.
//!
//! Labels and annotations cannot be checked by the compiler: [`Kept`] keeps those of [`crate::labels::is_read`], and asking it
//! for any other is an error that a debug build panics of. They are [`Metadata`]'s own, because `ObjectMeta` has trees:
//! code that is generic over [`kube::Resource`] sees none, while `pod.labels()` and `pod.metadata.labels` are right.

mod compared;
mod condition;
mod deployment;
mod job;
mod map;
mod metadata;
mod own;
mod pod;
mod word;

pub use self::compared::Compared;
pub use self::condition::Condition;
pub use self::deployment::{Deployment, DeploymentSpec, DeploymentStatus, TemplateSpec};
pub use self::job::{Job, JobSpec, JobStatus};
pub use self::map::{Kept, Map};
pub use self::metadata::Metadata;
pub use self::own::{Own, OwnKind};
pub use self::pod::{Container, ContainerState, ContainerStatus, Pod, PodSpec, PodStatus};
pub use self::word::Word;

use kube::Resource;
use serde::{Deserialize, Deserializer};

/// As what a kind is seen that is written as `K`: as itself, or as one of the types here.
pub trait Seen<K> {}

impl<K: Resource> Seen<K> for K {}

/// Reads a list without room for more: one is read into room for four.
fn list<'de, D, T>(deserializer: D) -> Result<Option<Vec<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let mut list = Option::<Vec<T>>::deserialize(deserializer)?;
    if let Some(list) = &mut list {
        list.shrink_to_fit();
    }
    Ok(list)
}

/// The same, of the items that count; nothing where none does.
fn list_of<'de, D, T>(deserializer: D, counts: impl Fn(&T) -> bool) -> Result<Option<Vec<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let mut all = Option::<Vec<T>>::deserialize(deserializer)?.unwrap_or_default();
    all.retain(counts);
    all.shrink_to_fit();
    Ok(Some(all).filter(|all| !all.is_empty()))
}

/// For tests: what is seen of an object once it is stored.
#[cfg(test)]
pub fn of<K: serde::Serialize, S: Seen<K> + serde::de::DeserializeOwned>(made: &K) -> S {
    serde_json::from_value(serde_json::to_value(made).unwrap()).unwrap()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Service;

    use super::*;

    #[test]
    fn what_is_kept_of_an_object_is_small() {
        // Thousands of each are held. Kubernetes' own have 2,176, 2,592 and 2,400 bytes.
        let sizes = [
            size_of::<Pod>(),
            size_of::<Job>(),
            size_of::<Deployment>(),
            size_of::<Compared<Service>>(),
        ];
        assert!(sizes.iter().all(|size| *size <= 800), "{sizes:?}");
    }
}
