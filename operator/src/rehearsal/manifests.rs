//! Reads manifests as `kubectl apply -f` and `-k` would: files, folders, and a kustomization's ConfigMaps.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kube::ResourceExt;
use sconce_crds::{GROUP, ModelDeployment, ModelTraining, VERSION, offline};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{RehearsalError, at, booleans, config_map, kustomization};

/// What was read.
#[derive(Debug, Default)]
pub struct Manifests {
    /// In the order of the files.
    pub trainings: Vec<ModelTraining>,
    /// In the order of the files.
    pub deployments: Vec<ModelDeployment>,
    /// Name → key → content.
    pub config_maps: BTreeMap<String, BTreeMap<String, Vec<u8>>>,
    /// Folders whose kustomizations led to what is being read.
    followed: Vec<PathBuf>,
}

impl Manifests {
    /// Reads files and folders.
    ///
    /// # Errors
    /// What cannot be read, and what the API server would refuse.
    pub fn read(paths: &[PathBuf]) -> Result<Self, RehearsalError> {
        let mut manifests = Manifests::default();
        for path in paths {
            manifests.read_path(path)?;
        }
        Ok(manifests)
    }

    fn read_path(&mut self, path: &Path) -> Result<(), RehearsalError> {
        if !path.is_dir() {
            return self.read_file(path);
        }
        if let Some(kustomization) = kustomization::find(path)? {
            return self.read_kustomization(path, &kustomization);
        }
        let mut files: Vec<PathBuf> = std::fs::read_dir(path)
            .map_err(at(path))?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .collect();
        files.sort();
        for file in files {
            if file
                .extension()
                .is_some_and(|end| end == "yaml" || end == "yml" || end == "json")
            {
                self.read_file(&file)?;
            }
        }
        Ok(())
    }

    fn read_kustomization(&mut self, folder: &Path, file: &Path) -> Result<(), RehearsalError> {
        let kustomization = kustomization::read(file)?;
        let itself = folder.canonicalize().map_err(at(folder))?;
        if self.followed.contains(&itself) {
            let message =
                "`resources` lead back to this kustomization: take the folder out of one of them".to_owned();
            return Err(RehearsalError::Yaml {
                path: file.to_owned(),
                message,
            });
        }
        self.followed.push(itself);
        for resource in &kustomization.resources {
            self.read_path(&folder.join(resource))?;
        }
        self.followed.pop();
        for generator in &kustomization.config_map_generator {
            self.add_data(file, &generator.name, generator.data(file)?)?;
        }
        Ok(())
    }

    fn read_file(&mut self, path: &Path) -> Result<(), RehearsalError> {
        let text = std::fs::read_to_string(path).map_err(at(path))?;
        let unread = |message| RehearsalError::Yaml {
            path: path.to_owned(),
            message,
        };
        if let Some(complaint) = booleans::complaint(&text) {
            return Err(unread(complaint));
        }
        for document in serde_norway::Deserializer::from_str(&text) {
            let object = Value::deserialize(document).map_err(|error| unread(error.to_string()))?;
            if !object.is_null() {
                self.add(path, &object)?;
            }
        }
        Ok(())
    }

    fn add(&mut self, path: &Path, object: &Value) -> Result<(), RehearsalError> {
        let kind = object["kind"].as_str().unwrap_or_default();
        // What else a folder holds, such as a Namespace, has no part in a rehearsal.
        let Some(version) = version_of(kind) else {
            return Ok(());
        };
        if object["apiVersion"] != version.as_str() {
            let complaint = format!(
                "apiVersion: {} has no {kind} that a rehearsal reads: write {version}",
                object["apiVersion"]
            );
            return Err(refused(path, kind, name_of(object), vec![complaint]));
        }
        match kind {
            "ModelTraining" => self.trainings.push(admitted(path, object)?),
            "ModelDeployment" => self.deployments.push(admitted(path, object)?),
            "ConfigMap" => {
                let name = name_of(object);
                let data =
                    config_map::data(object).map_err(|complaints| refused(path, kind, name, complaints))?;
                self.add_data(path, name, data)?;
            }
            _ => {
                for item in object["items"].as_array().into_iter().flatten() {
                    self.add(path, item)?;
                }
            }
        }
        Ok(())
    }

    /// Takes a ConfigMap, whose name and keys become a folder and files.
    fn add_data(
        &mut self,
        path: &Path,
        name: &str,
        data: BTreeMap<String, Vec<u8>>,
    ) -> Result<(), RehearsalError> {
        let misnamed_keys = data.keys().filter_map(|key| config_map::misnamed(key));
        let complaints: Vec<String> = misnamed(name).into_iter().chain(misnamed_keys).collect();
        if !complaints.is_empty() {
            return Err(refused(path, "ConfigMap", name, complaints));
        }
        self.config_maps.entry(name.to_owned()).or_default().extend(data);
        Ok(())
    }
}

/// The `apiVersion` of a kind that a rehearsal reads; nothing for another kind.
fn version_of(kind: &str) -> Option<String> {
    match kind {
        "ModelTraining" | "ModelDeployment" => Some(format!("{GROUP}/{VERSION}")),
        "ConfigMap" | "List" => Some("v1".to_owned()),
        _ => None,
    }
}

/// The name of an object; empty where it has none.
fn name_of(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

/// What is wrong with a name, which becomes a part of paths here.
fn misnamed(name: &str) -> Option<String> {
    let is_named = (1..=253).contains(&name.len()) && name.split('.').all(is_label);
    (!is_named).then(|| {
        format!(
            "metadata.name: {name:?} must be 1 to 253 characters of a-z, 0-9, `-` and `.`, with one of a-z and 0-9 at \
             the beginning, at the end and on both sides of each `.`"
        )
    })
}

fn is_label(label: &str) -> bool {
    let is_plain = |character: char| character.is_ascii_lowercase() || character.is_ascii_digit();
    label.starts_with(is_plain)
        && label.ends_with(is_plain)
        && label
            .chars()
            .all(|character| is_plain(character) || character == '-')
}

fn admitted<K: DeserializeOwned>(path: &Path, object: &Value) -> Result<K, RehearsalError> {
    let kind = object["kind"].as_str().unwrap_or_default();
    let name = name_of(object);
    let refused = |complaints| refused(path, kind, name, complaints);
    if let Some(complaint) = misnamed(name) {
        return Err(refused(vec![complaint]));
    }
    let schema = offline::schema(kind).ok_or_else(|| refused(vec!["its kind has no schema".to_owned()]))?;
    let object = offline::admit(&schema, object).map_err(refused)?;
    // Types, and fields that must be there.
    serde_path_to_error::deserialize(object).map_err(|error| refused(vec![error.to_string()]))
}

fn refused(path: &Path, kind: &str, name: &str, complaints: Vec<String>) -> RehearsalError {
    let name = if name.is_empty() { "without a name" } else { name };
    RehearsalError::Refused {
        object: format!("{}: {kind} {name}", path.display()),
        complaints,
    }
}

/// The deployments that serve what a training leaves behind.
pub fn serving<'a>(
    manifests: &'a Manifests,
    training: &'a ModelTraining,
) -> impl Iterator<Item = &'a ModelDeployment> {
    let name = training.name_any();
    manifests.deployments.iter().filter(move |deployment| {
        deployment
            .spec
            .model
            .training_ref
            .as_ref()
            .is_some_and(|reference| reference.name == name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRAINING: &str = "apiVersion: sconce.dev/v1alpha1\nkind: ModelTraining\nmetadata: {name: iris}\nspec:\n  \
                            model: {network: {layers: [{dense: {units: 3, activation: Softmax}}]}}\n  \
                            dataset: {uri: \"configmap://flowers/iris.csv\", target: species}\n";

    fn read(text: &str) -> Result<Manifests, RehearsalError> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("all.yaml");
        std::fs::write(&file, text).unwrap();
        Manifests::read(&[file])
    }

    fn said(text: &str) -> String {
        read(text).unwrap_err().to_string()
    }

    fn flowers(rest: &str) -> String {
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: flowers}}\n{rest}")
    }

    #[test]
    fn what_is_wrong_with_a_config_map_is_told_with_its_file() {
        let text = said(&flowers("data: {seed: 1, ../x: a}\n"));
        assert!(
            text.contains("all.yaml: ConfigMap flowers would be refused:\n  data.seed: 1 is no text"),
            "{text}"
        );
        let text = said(&flowers("data: {../../x: a}\n"));
        assert!(
            text.contains("refused:\n  data: the key \"../../x\" must be"),
            "{text}"
        );
    }

    #[test]
    fn a_name_that_leaves_its_folder_is_refused() {
        for name in ["../x", "", "Iris", "-a", "a..b", "a_b"] {
            let name = format!("name: \"{name}\"");
            let text = said(&TRAINING.replace("name: iris", &name));
            assert!(text.contains("would be refused:\n  metadata.name: "), "{text}");
            let text = said(&flowers("").replace("name: flowers", &name));
            assert!(text.contains("would be refused:\n  metadata.name: "), "{text}");
        }
        assert_eq!(misnamed("a-1.b"), None);
        assert!(misnamed(&"a".repeat(254)).is_some());
    }

    #[test]
    fn another_api_version_is_refused() {
        let text = said(&TRAINING.replace("v1alpha1", "v1"));
        let wanted = "all.yaml: ModelTraining iris would be refused:\n  apiVersion: \"sconce.dev/v1\" has no \
                      ModelTraining that a rehearsal reads: write sconce.dev/v1alpha1";
        assert!(text.contains(wanted), "{text}");
        let other = "apiVersion: v9\nkind: Namespace\nmetadata: {name: a}\n";
        assert!(read(other).unwrap().trainings.is_empty());
    }

    #[test]
    fn the_items_of_a_list_are_read() {
        let item = TRAINING.trim_end().replace('\n', "\n  ");
        let list = format!("apiVersion: v1\nkind: List\nitems:\n- {item}\n");
        let manifests = read(&list).unwrap();
        assert_eq!(manifests.trainings.len(), 1);
        assert_eq!(manifests.trainings[0].name_any(), "iris");
    }

    #[test]
    fn a_word_that_kubectl_reads_as_a_boolean_is_refused() {
        let text = said(&TRAINING.replace("target: species", "target: y"));
        assert!(
            text.contains("all.yaml: line 6: kubectl reads `y` as true or false"),
            "{text}"
        );
        let quoted = read(&TRAINING.replace("target: species", "target: 'y'")).unwrap();
        assert_eq!(quoted.trainings[0].spec.dataset.target, "y");
    }

    #[test]
    fn kustomizations_that_name_each_other_are_refused_and_one_may_be_named_twice() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, resources: &str| {
            std::fs::create_dir_all(folder.path().join(name)).unwrap();
            let text = format!("resources: [{resources}]\n");
            std::fs::write(folder.path().join(name).join("kustomization.yaml"), text).unwrap();
        };
        write("a", "../b, ../b");
        write("b", "");
        Manifests::read(&[folder.path().join("a")]).unwrap();
        write("b", "../a");
        let said = Manifests::read(&[folder.path().join("a")])
            .unwrap_err()
            .to_string();
        assert!(
            said.contains("`resources` lead back to this kustomization"),
            "{said}"
        );
    }

    #[test]
    fn a_kustomization_of_any_name_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("training.txt"), TRAINING).unwrap();
        let text =
            "resources: [training.txt]\nconfigMapGenerator:\n- {name: flowers, literals: [iris.csv=a]}\n";
        std::fs::write(folder.path().join("Kustomization"), text).unwrap();
        let manifests = Manifests::read(&[folder.path().to_owned()]).unwrap();
        assert_eq!(manifests.trainings.len(), 1);
        assert_eq!(manifests.config_maps["flowers"]["iris.csv"], b"a");
    }
}
