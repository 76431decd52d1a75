//! Reads manifests as `kubectl apply -f` and `-k` would: files, folders, and a kustomization's ConfigMaps.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kube::ResourceExt;
use sconce_crds::{ModelDeployment, ModelTraining, offline};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{RehearsalError, at};

/// What was read.
#[derive(Debug, Default)]
pub struct Manifests {
    /// In the order of the files.
    pub trainings: Vec<ModelTraining>,
    /// In the order of the files.
    pub deployments: Vec<ModelDeployment>,
    /// Name → key → content.
    pub config_maps: BTreeMap<String, BTreeMap<String, Vec<u8>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kustomization {
    #[serde(default)]
    resources: Vec<String>,
    #[serde(default)]
    config_map_generator: Vec<Generator>,
}

#[derive(Deserialize)]
struct Generator {
    name: String,
    #[serde(default)]
    files: Vec<String>,
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
        let kustomization = path.join("kustomization.yaml");
        if kustomization.is_file() {
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
        let text = std::fs::read_to_string(file).map_err(at(file))?;
        let kustomization: Kustomization =
            serde_norway::from_str(&text).map_err(|error| RehearsalError::Yaml {
                path: file.to_owned(),
                message: error.to_string(),
            })?;
        for resource in &kustomization.resources {
            self.read_path(&folder.join(resource))?;
        }
        for generator in kustomization.config_map_generator {
            let data = self.config_maps.entry(generator.name).or_default();
            for file in generator.files {
                // `KEY=PATH`, or a path whose last part is the key.
                let (key, path) = file
                    .split_once('=')
                    .unwrap_or((file.rsplit('/').next().unwrap_or(&file), &file));
                let path = folder.join(path);
                data.insert(key.to_owned(), std::fs::read(&path).map_err(at(path))?);
            }
        }
        Ok(())
    }

    fn read_file(&mut self, path: &Path) -> Result<(), RehearsalError> {
        let text = std::fs::read_to_string(path).map_err(at(path))?;
        for document in serde_norway::Deserializer::from_str(&text) {
            let object = Value::deserialize(document).map_err(|error| RehearsalError::Yaml {
                path: path.to_owned(),
                message: error.to_string(),
            })?;
            if !object.is_null() {
                self.add(&object)?;
            }
        }
        Ok(())
    }

    fn add(&mut self, object: &Value) -> Result<(), RehearsalError> {
        match object["kind"].as_str().unwrap_or_default() {
            "ModelTraining" => self.trainings.push(admitted(object)?),
            "ModelDeployment" => self.deployments.push(admitted(object)?),
            "ConfigMap" => {
                let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
                let data = self.config_maps.entry(name).or_default();
                for (key, value) in object["data"].as_object().into_iter().flatten() {
                    data.insert(
                        key.clone(),
                        value.as_str().unwrap_or_default().as_bytes().to_vec(),
                    );
                }
            }
            // What else a folder holds, such as a Namespace, has no part in a rehearsal.
            _ => {}
        }
        Ok(())
    }
}

fn admitted<K: DeserializeOwned>(object: &Value) -> Result<K, RehearsalError> {
    let kind = object["kind"].as_str().unwrap_or_default();
    let name = object["metadata"]["name"].as_str().unwrap_or("without a name");
    let refused = |complaints| RehearsalError::Refused {
        object: format!("{kind} {name}"),
        complaints,
    };
    let schema = offline::schema(kind).ok_or_else(|| refused(vec!["its kind has no schema".to_owned()]))?;
    let object = offline::admit(&schema, object).map_err(refused)?;
    // Types, enums and bounds of integers.
    serde_path_to_error::deserialize(object).map_err(|error| refused(vec![error.to_string()]))
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
