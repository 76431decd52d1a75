//! From the URIs of a spec to the volumes of a pod, and to the plan's table of where they are mounted.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use futures::future;
use k8s_openapi::api::core::v1::{
    ConfigMap, ConfigMapVolumeSource, HostPathVolumeSource, ImageVolumeSource, PersistentVolumeClaim,
    PersistentVolumeClaimVolumeSource, Volume, VolumeMount,
};
use kube::{Api, Client};
use sconce_contract::{Mount, digest::short_hash};

use crate::apply::Child;
use crate::error::{Doing, Error};

/// Folder below which volumes are mounted.
const ROOT: &str = "/mnt/sconce";
/// Where the node's folder of models is mounted.
pub const NODE_CACHE: &str = "/mnt/sconce/cache";

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

/// Those of them that are not there; all are asked for at once.
pub async fn missing(
    client: &Client,
    namespace: &str,
    sources: impl IntoIterator<Item = Source>,
) -> Result<BTreeSet<Source>, Error> {
    let asked = sources.into_iter().map(|source| async move {
        let exists = source.exists(client, namespace).await?;
        Ok((!exists).then_some(source))
    });
    let answers = future::try_join_all(asked).await?;
    Ok(answers.into_iter().flatten().collect())
}

async fn exists<K: Child>(client: &Client, namespace: &str, name: &str) -> Result<bool, Error> {
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    let read = api.get_metadata_opt(name).await;
    let read = read.doing(|| format!("get {} {namespace}/{name}", K::kind(&())))?;
    Ok(read.is_some())
}

/// Volumes of a pod; each source is mounted once, writable if any of its uses writes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Volumes {
    sources: BTreeMap<Source, bool>,
    /// An image whose files are read.
    image: Option<String>,
    /// A folder of the node for models.
    node_cache: Option<String>,
}

impl Volumes {
    /// Adds what a URI needs in order to be read.
    pub fn reading(mut self, uri: &str) -> Self {
        if let Some(source) = Source::of(uri) {
            self.sources.entry(source).or_insert(false);
        }
        self
    }

    /// Adds what the URI of a model needs in order to be read: as [`Volumes::reading`], and an image may hold it.
    pub fn reading_model(mut self, uri: &str) -> Self {
        self.image = uri.strip_prefix(OCI).map(str::to_owned);
        self.reading(uri)
    }

    /// Adds a folder of the node, at [`NODE_CACHE`].
    pub fn node_cache(mut self, path: &str) -> Self {
        self.node_cache = Some(path.to_owned());
        self
    }

    /// Adds what a URI needs in order to be written.
    pub fn writing(mut self, uri: &str) -> Self {
        if let Some(source) = Source::of(uri) {
            self.sources.insert(source, true);
        }
        self
    }

    /// The plan's table: which URIs are folders in the pod.
    pub fn mounts(&self) -> Vec<Mount> {
        let sources = self.sources.keys().map(|source| Mount {
            uri: source.uri(),
            path: source.path(),
        });
        let image = self.image.iter().map(|image| Mount {
            uri: format!("{OCI}{image}"),
            path: image_path(image),
        });
        sources.chain(image).collect()
    }

    /// Where the container finds what a URI names; nothing where it is not in a volume.
    pub fn path(&self, uri: &str) -> Option<PathBuf> {
        if let Some(image) = self
            .image
            .as_ref()
            .filter(|image| uri.strip_prefix(OCI) == Some(image))
        {
            return Some(image_path(image));
        }
        let source = Source::of(uri).filter(|source| self.sources.contains_key(source))?;
        let rest = uri.strip_prefix(&source.uri())?.trim_matches('/');
        let path = source.path();
        Some(if rest.is_empty() { path } else { path.join(rest) })
    }

    /// The pod's volumes and the container's mounts.
    pub fn of_pod(&self) -> (Vec<Volume>, Vec<VolumeMount>) {
        let sources = self.sources.iter().map(|(source, writable)| {
            // A volume's name is a DNS label of at most 63 characters, a claim's may be longer.
            let name = format!("data-{}", short_hash(&source.uri()));
            let mount = VolumeMount {
                name: name.clone(),
                mount_path: source.path().to_string_lossy().into_owned(),
                read_only: (!writable).then_some(true),
                ..VolumeMount::default()
            };
            (volume(source, name), mount)
        });
        let image = self.image.iter().map(|image| image_volume(image));
        let node = self.node_cache.iter().map(|path| node_volume(path));
        sources.chain(image).chain(node).unzip()
    }
}

const OCI: &str = "oci://";

/// A reference may hold characters that a path to be typed should not.
fn image_path(image: &str) -> PathBuf {
    PathBuf::from(ROOT).join("oci").join(short_hash(&image))
}

fn image_volume(image: &str) -> (Volume, VolumeMount) {
    let name = "model-image".to_owned();
    let mount = VolumeMount {
        name: name.clone(),
        mount_path: image_path(image).to_string_lossy().into_owned(),
        read_only: Some(true),
        ..VolumeMount::default()
    };
    let volume = Volume {
        name,
        image: Some(ImageVolumeSource {
            reference: Some(image.to_owned()),
            pull_policy: None,
        }),
        ..Volume::default()
    };
    (volume, mount)
}

fn node_volume(path: &str) -> (Volume, VolumeMount) {
    let name = "node-cache".to_owned();
    let mount = VolumeMount {
        name: name.clone(),
        mount_path: NODE_CACHE.to_owned(),
        ..VolumeMount::default()
    };
    let volume = Volume {
        name,
        host_path: Some(HostPathVolumeSource {
            path: path.to_owned(),
            // A node that is new may not have been prepared yet: the server then goes without, and says so.
            type_: Some("DirectoryOrCreate".to_owned()),
        }),
        ..Volume::default()
    };
    (volume, mount)
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

    #[test]
    fn an_image_that_holds_a_model_is_mounted_where_the_plan_says() {
        let uri = "oci://registry.example:5000/a/b@sha256:0";
        let volumes = Volumes::default().reading_model(uri);
        let (pod, container) = volumes.of_pod();
        let image = pod[0].image.clone().unwrap();
        assert_eq!(
            image.reference.as_deref(),
            Some("registry.example:5000/a/b@sha256:0")
        );
        let mount = &volumes.mounts()[0];
        assert_eq!((mount.uri.as_str(), container[0].read_only), (uri, Some(true)));
        assert_eq!(mount.path.to_str(), Some(container[0].mount_path.as_str()));
        assert_eq!(volumes.path(uri), Some(mount.path.clone()));
        // Tables are not read from images.
        assert_eq!(Volumes::default().reading(uri), Volumes::default());
    }

    #[test]
    fn a_folder_of_the_node_is_no_place_of_a_uri() {
        let volumes = Volumes::default().node_cache("/srv/models");
        let (pod, container) = volumes.of_pod();
        assert_eq!(pod[0].host_path.clone().unwrap().path, "/srv/models");
        assert_eq!(
            (container[0].mount_path.as_str(), container[0].read_only),
            (NODE_CACHE, None)
        );
        assert!(volumes.mounts().is_empty());
    }
}
