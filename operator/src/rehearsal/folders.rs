//! Folders that stand in for claims and ConfigMaps.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sconce_contract::Mount;

use super::manifests::Manifests;
use super::{RehearsalError, at};
use crate::volumes::Source;

/// Where things are on this machine.
pub struct Folders {
    root: PathBuf,
    given: BTreeMap<String, PathBuf>,
}

impl Folders {
    /// Below `root`; `given` names folders of the user's own, by `pvc://CLAIM` or `configmap://NAME`.
    ///
    /// # Errors
    /// A folder that cannot be written.
    pub fn prepare(
        root: &Path,
        given: BTreeMap<String, PathBuf>,
        manifests: &Manifests,
    ) -> Result<Self, RehearsalError> {
        let folders = Folders {
            root: root.to_owned(),
            given,
        };
        for (name, data) in &manifests.config_maps {
            let source = Source::ConfigMap(name.clone());
            // A folder of the user's own stands in for the ConfigMap, and stays as it is.
            if folders.given.contains_key(&source.uri()) {
                continue;
            }
            let folder = folders.path(&source);
            std::fs::create_dir_all(&folder).map_err(at(&folder))?;
            for (key, content) in data {
                let file = folder.join(key);
                std::fs::write(&file, content).map_err(at(file))?;
            }
        }
        Ok(folders)
    }

    /// The plan's table for these URIs; a claim's folder is made where there is none.
    ///
    /// # Errors
    /// A folder that cannot be made.
    pub fn mounts(&self, uris: &[&str]) -> Result<Vec<Mount>, RehearsalError> {
        let mut mounts = Vec::new();
        for source in uris.iter().filter_map(|uri| Source::of(uri)) {
            let path = self.path(&source);
            if matches!(source, Source::Claim(_)) {
                std::fs::create_dir_all(&path).map_err(at(&path))?;
            }
            let mount = Mount {
                uri: source.uri(),
                path,
            };
            if !mounts.contains(&mount) {
                mounts.push(mount);
            }
        }
        Ok(mounts)
    }

    /// The bytes behind a URI that is a file here; nothing for one that is not, or cannot be read.
    pub fn read(&self, uri: &str) -> Option<Vec<u8>> {
        let path = match Source::of(uri) {
            Some(source) => self
                .path(&source)
                .join(uri.strip_prefix(&format!("{}/", source.uri()))?),
            None => PathBuf::from(uri.strip_prefix("file://")?),
        };
        std::fs::read(path).ok()
    }

    fn path(&self, source: &Source) -> PathBuf {
        let uri = source.uri();
        self.given
            .get(&uri)
            .cloned()
            .unwrap_or_else(|| self.root.join(uri.replace("://", "/")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patients() -> Manifests {
        let data = BTreeMap::from([("patients.csv".to_owned(), b"generated".to_vec())]);
        let mut manifests = Manifests::default();
        manifests.config_maps.insert("patients".to_owned(), data);
        manifests
    }

    #[test]
    fn a_config_map_is_written_below_the_root() {
        let root = tempfile::tempdir().unwrap();
        let folders = Folders::prepare(root.path(), BTreeMap::new(), &patients()).unwrap();
        let read = folders.read("configmap://patients/patients.csv");
        assert_eq!(read.as_deref(), Some(b"generated".as_slice()));
        assert!(root.path().join("configmap/patients/patients.csv").is_file());
    }

    #[test]
    fn nothing_is_written_into_a_folder_of_the_users_own() {
        let (root, own) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(own.path().join("patients.csv"), "mine").unwrap();
        let given = BTreeMap::from([("configmap://patients".to_owned(), own.path().to_owned())]);
        let folders = Folders::prepare(root.path(), given, &patients()).unwrap();
        let read = folders.read("configmap://patients/patients.csv");
        assert_eq!(read.as_deref(), Some(b"mine".as_slice()));
        assert!(!root.path().join("configmap/patients").exists());
    }
}
