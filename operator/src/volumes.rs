//! From the URIs of a spec to the volumes of a pod, and to the plan's table of where they are mounted.

use std::collections::BTreeMap;
use std::path::PathBuf;

use k8s_openapi::api::core::v1::{
    ConfigMap, ConfigMapVolumeSource, PersistentVolumeClaim, PersistentVolumeClaimVolumeSource, Volume,
    VolumeMount,
};
use kube::{Api, Client};
use sconce_contract::{Mount, digest::short_hash};

use crate::apply::Child;
use crate::error::{Doing, Error};

/// Folder below which volumes are mounted.
const ROOT: &str = "/mnt/sconce";

/// The object behind a URI that a pod reads or writes through a volume.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// `pvc://CLAIM/…`
    Claim(String),
    /// `configmap://NAME/…`
    ConfigMap(String),
}

impl Source {
    /// The object that a URI names; nothing where the URI needs no volume.
    pub fn of(uri: &str) -> Option<Source> {
        let name = |rest: &str| rest.split('/').next().unwrap_or_default().to_owned();
        if let Some(rest) = uri.strip_prefix("pvc://") {
            Some(Source::Claim(name(rest)))
        } else {
            uri.strip_prefix("configmap://")
                .map(|rest| Source::ConfigMap(name(rest)))
        }
    }

    /// The URI of the whole volume, without a slash at the end.
    pub fn uri(&self) -> String {
        match self {
            Source::Claim(name) => format!("pvc://{name}"),
            Source::ConfigMap(name) => format!("configmap://{name}"),
        }
    }

    /// Whether the object is there.
    ///
    /// # Errors
    /// The API server does not answer.
    pub async fn exists(&self, client: &Client, namespace: &str) -> Result<bool, Error> {
        match self {
            Source::Claim(name) => exists::<PersistentVolumeClaim>(client, namespace, name).await,
            Source::ConfigMap(name) => exists::<ConfigMap>(client, namespace, name).await,
        }
    }

    fn path(&self) -> PathBuf {
        let (kind, name) = match self {
            Source::Claim(name) => ("pvc", name),
            Source::ConfigMap(name) => ("configmap", name),
        };
        PathBuf::from(ROOT).join(kind).join(name)
    }
}

async fn exists<K: Child>(client: &Client, namespace: &str, name: &str) -> Result<bool, Error> {
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    let read = api.get_metadata_opt(name).await;
    let read = read.doing(|| format!("get {} {namespace}/{name}", K::kind(&())))?;
    Ok(read.is_some())
}

/// Volumes of a pod; each source is mounted once, writable if any of its uses writes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Volumes(BTreeMap<Source, bool>);

impl Volumes {
    /// Adds what a URI needs in order to be read.
    pub fn reading(mut self, uri: &str) -> Self {
        if let Some(source) = Source::of(uri) {
            self.0.entry(source).or_insert(false);
        }
        self
    }

    /// Adds what a URI needs in order to be written.
    pub fn writing(mut self, uri: &str) -> Self {
        if let Some(source) = Source::of(uri) {
            self.0.insert(source, true);
        }
        self
    }

    /// The plan's table: which URIs are folders in the pod.
    pub fn mounts(&self) -> Vec<Mount> {
        self.0
            .keys()
            .map(|source| Mount {
                uri: source.uri(),
                path: source.path(),
            })
            .collect()
    }

    /// Where the container finds what a URI names; nothing where it is not in a volume.
    pub fn path(&self, uri: &str) -> Option<PathBuf> {
        let source = Source::of(uri).filter(|source| self.0.contains_key(source))?;
        let rest = uri.strip_prefix(&source.uri())?.trim_matches('/');
        let path = source.path();
        Some(if rest.is_empty() { path } else { path.join(rest) })
    }

    /// The pod's volumes and the container's mounts.
    pub fn of_pod(&self) -> (Vec<Volume>, Vec<VolumeMount>) {
        self.0
            .iter()
            .map(|(source, writable)| {
                // A volume's name is a DNS label of at most 63 characters, a claim's may be longer.
                let name = format!("data-{}", short_hash(&source.uri()));
                let mount = VolumeMount {
                    name: name.clone(),
                    mount_path: source.path().to_string_lossy().into_owned(),
                    read_only: (!writable).then_some(true),
                    ..VolumeMount::default()
                };
                (volume(source, name), mount)
            })
            .unzip()
    }
}

fn volume(source: &Source, name: String) -> Volume {
    match source {
        Source::Claim(claim) => Volume {
            name,
            persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
                claim_name: claim.clone(),
                read_only: None,
            }),
            ..Volume::default()
        },
        Source::ConfigMap(map) => Volume {
            name,
            config_map: Some(ConfigMapVolumeSource {
                name: map.clone(),
                ..ConfigMapVolumeSource::default()
            }),
            ..Volume::default()
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_that_is_read_and_written_is_one_writable_volume() {
        let volumes = Volumes::default()
            .writing("pvc://data/out")
            .reading("pvc://data/in.csv");
        let (pod, container) = volumes.of_pod();
        assert_eq!((pod.len(), container.len()), (1, 1));
        assert_eq!(container[0].read_only, None);
        assert_eq!(volumes.mounts()[0].uri, "pvc://data");
    }

    #[test]
    fn what_a_uri_names_is_found_below_its_volume() {
        let volumes = Volumes::default().reading("pvc://data/a/b.csv");
        for (uri, path) in [
            ("pvc://data/a/b.csv", Some("/mnt/sconce/pvc/data/a/b.csv")),
            ("pvc://data/", Some("/mnt/sconce/pvc/data")),
            ("pvc://other/a", None),
            ("https://host/a", None),
        ] {
            assert_eq!(volumes.path(uri), path.map(PathBuf::from), "{uri}");
        }
    }

    #[test]
    fn what_is_only_read_is_mounted_read_only_and_the_web_needs_no_volume() {
        let volumes = Volumes::default()
            .reading("configmap://flowers/iris.csv")
            .reading("https://host/x.csv");
        let (_, container) = volumes.of_pod();
        assert_eq!(container.len(), 1);
        assert_eq!(container[0].read_only, Some(true));
        assert_eq!(container[0].mount_path, "/mnt/sconce/configmap/flowers");
    }
}
