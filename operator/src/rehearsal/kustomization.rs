//! A folder's kustomization: the files that it names, and the ConfigMaps that it makes of others.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use super::{RehearsalError, at};

/// What kustomize calls such a file.
const NAMES: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];
/// Fields that change nothing of what is rehearsed.
const WITHOUT_EFFECT: [&str; 11] = [
    "apiVersion",
    "kind",
    "metadata",
    "namespace",
    "labels",
    "commonLabels",
    "commonAnnotations",
    "generatorOptions",
    "secretGenerator",
    "sortOptions",
    "buildMetadata",
];
/// The same, of an entry of `configMapGenerator`.
const WITHOUT_EFFECT_ON_DATA: [&str; 2] = ["namespace", "options"];

/// What a rehearsal follows of a kustomization.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Kustomization {
    /// Files and folders, relative to the kustomization's own.
    #[serde(default)]
    pub resources: Vec<String>,
    /// ConfigMaps to make.
    #[serde(default)]
    pub config_map_generator: Vec<Generator>,
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

/// A ConfigMap that is made of files and texts.
#[derive(Debug, Deserialize)]
pub struct Generator {
    /// Its name, which no hash is added to here.
    pub name: String,
    #[serde(default)]
    files: Vec<String>,
    #[serde(default)]
    literals: Vec<String>,
    #[serde(default)]
    envs: Vec<String>,
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

/// The kustomization of a folder, where it has one.
///
/// # Errors
/// There are several.
pub fn find(folder: &Path) -> Result<Option<PathBuf>, RehearsalError> {
    let mut found = NAMES
        .iter()
        .map(|name| folder.join(name))
        .filter(|file| file.is_file());
    let (first, second) = (found.next(), found.next());
    match second {
        Some(second) => Err(unread(
            &second,
            "the folder has another kustomization, and kustomize takes one alone: remove either".to_owned(),
        )),
        None => Ok(first),
    }
}

/// Reads a kustomization.
///
/// # Errors
/// What cannot be read, and each field that would change what is rehearsed and is not followed.
pub fn read(file: &Path) -> Result<Kustomization, RehearsalError> {
    let text = std::fs::read_to_string(file).map_err(at(file))?;
    let kustomization: Kustomization =
        serde_norway::from_str(&text).map_err(|error| unread(file, error.to_string()))?;
    followed(file, "", &kustomization.rest, &WITHOUT_EFFECT)?;
    for generator in &kustomization.config_map_generator {
        followed(
            file,
            "configMapGenerator.",
            &generator.rest,
            &WITHOUT_EFFECT_ON_DATA,
        )?;
    }
    Ok(kustomization)
}

/// Refuses fields that would have something else rehearsed than what a cluster would get.
fn followed(
    file: &Path,
    prefix: &str,
    rest: &BTreeMap<String, Value>,
    without_effect: &[&str],
) -> Result<(), RehearsalError> {
    let Some(field) = rest.keys().find(|key| !without_effect.contains(&key.as_str())) else {
        return Ok(());
    };
    let message = format!(
        "`{prefix}{field}` is not followed by a rehearsal: write the output of `kubectl kustomize FOLDER` to a \
         file, and give that with -f"
    );
    Err(unread(file, message))
}

impl Generator {
    /// Key → content, as kustomize makes it; `file` is the kustomization.
    ///
    /// # Errors
    /// A file that cannot be read, and a line that is no `KEY=VALUE`.
    pub fn data(&self, file: &Path) -> Result<BTreeMap<String, Vec<u8>>, RehearsalError> {
        let folder = file.parent().unwrap_or(Path::new("."));
        let mut data = BTreeMap::new();
        for source in &self.files {
            // `KEY=PATH`, or a path whose last part is the key.
            let (key, path) = source
                .split_once('=')
                .unwrap_or((source.rsplit('/').next().unwrap_or(source), source));
            let path = folder.join(path);
            data.insert(key.to_owned(), std::fs::read(&path).map_err(at(path))?);
        }
        for literal in &self.literals {
            let (key, value) = self.pair(file, literal)?;
            data.insert(key.to_owned(), without_quotes(value).as_bytes().to_vec());
        }
        for source in &self.envs {
            let path = folder.join(source);
            let text = std::fs::read_to_string(&path).map_err(at(&path))?;
            for line in text.lines().map(str::trim_start) {
                if line.is_empty() || line.starts_with('#') {
                    continue;
                }
                // A key alone has the value of this machine's environment.
                let (key, value) = match line.split_once('=') {
                    Some((key, value)) => (key, value.to_owned()),
                    None => (line, std::env::var(line).unwrap_or_default()),
                };
                data.insert(key.to_owned(), value.into_bytes());
            }
        }
        Ok(data)
    }

    fn pair<'a>(&self, file: &Path, text: &'a str) -> Result<(&'a str, &'a str), RehearsalError> {
        let name = &self.name;
        text.split_once('=').ok_or_else(|| {
            let message = format!("{text:?}, of the ConfigMap {name}, has no `=`: write KEY=VALUE");
            unread(file, message)
        })
    }
}

/// A literal's value without the quotation marks around it, which kustomize takes off.
fn without_quotes(value: &str) -> &str {
    ['"', '\'']
        .into_iter()
        .find_map(|mark| value.strip_prefix(mark)?.strip_suffix(mark))
        .unwrap_or(value)
}

fn unread(file: &Path, message: String) -> RehearsalError {
    RehearsalError::Yaml {
        path: file.to_owned(),
        message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(name: &str, text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(name);
        std::fs::write(&file, text).unwrap();
        (folder, file)
    }

    fn refused(text: &str) -> String {
        let (_folder, file) = written("kustomization.yaml", text);
        read(&file).unwrap_err().to_string()
    }

    #[test]
    fn each_of_kustomizes_names_is_found_and_two_are_refused() {
        for name in NAMES {
            let (folder, file) = written(name, "resources: []\n");
            assert_eq!(find(folder.path()).unwrap(), Some(file));
        }
        let (folder, _) = written("kustomization.yml", "resources: []\n");
        std::fs::write(folder.path().join("kustomization.yaml"), "resources: []\n").unwrap();
        let said = find(folder.path()).unwrap_err().to_string();
        assert!(
            said.contains("kustomization.yml: the folder has another kustomization"),
            "{said}"
        );
        let (folder, _) = written("training.yaml", "");
        assert_eq!(find(folder.path()).unwrap(), None);
    }

    #[test]
    fn what_would_change_the_objects_is_refused() {
        for field in ["patches", "namePrefix", "components", "images", "bases"] {
            let said = refused(&format!("kind: Kustomization\nresources: []\n{field}: [x]\n"));
            let wanted =
                format!("kustomization.yaml: `{field}` is not followed by a rehearsal: write the output of");
            assert!(said.contains(&wanted), "{said}");
        }
        let said = refused("configMapGenerator:\n- {name: a, behavior: merge}\n");
        assert!(
            said.contains("`configMapGenerator.behavior` is not followed"),
            "{said}"
        );
    }

    #[test]
    fn what_changes_nothing_of_a_rehearsal_is_taken() {
        let text = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nnamespace: a\n\
                    commonLabels: {team: ml}\nsecretGenerator: [{name: s}]\ngeneratorOptions: {disableNameSuffixHash: true}\n\
                    configMapGenerator:\n- {name: a, namespace: a, options: {labels: {b: c}}}\nresources: [a.yaml]\n";
        let (_folder, file) = written("kustomization.yaml", text);
        let kustomization = read(&file).unwrap();
        assert_eq!(kustomization.resources, ["a.yaml"]);
        assert_eq!(kustomization.config_map_generator[0].name, "a");
    }

    #[test]
    fn a_config_map_is_made_of_files_literals_and_envs() {
        let text = "configMapGenerator:\n- name: a\n  files: [x.csv, z=x.csv]\n  literals: [\"b=1=2\", \"c='3'\", \"d='4\"]\n\
                    \x20 envs: [settings.env]\n";
        let (folder, file) = written("kustomization.yaml", text);
        std::fs::write(folder.path().join("x.csv"), "1,2\n").unwrap();
        std::fs::write(
            folder.path().join("settings.env"),
            "# a comment\n\n  e=\"5\"\nNO_VARIABLE_HAS_THIS_NAME\n",
        )
        .unwrap();
        let generators = read(&file).unwrap().config_map_generator;
        let data: Vec<_> = generators[0].data(&file).unwrap().into_iter().collect();
        let wanted = [
            ("NO_VARIABLE_HAS_THIS_NAME", ""),
            ("b", "1=2"),
            ("c", "3"),
            ("d", "'4"),
            ("e", "\"5\""),
            ("x.csv", "1,2\n"),
            ("z", "1,2\n"),
        ];
        let wanted: Vec<_> = wanted
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec()))
            .collect();
        assert_eq!(data, wanted);
    }

    #[test]
    fn a_literal_without_a_value_is_refused() {
        let (_folder, file) = written(
            "kustomization.yaml",
            "configMapGenerator:\n- {name: a, literals: [b]}\n",
        );
        let generators = read(&file).unwrap().config_map_generator;
        let said = generators[0].data(&file).unwrap_err().to_string();
        assert!(
            said.contains("\"b\", of the ConfigMap a, has no `=`: write KEY=VALUE"),
            "{said}"
        );
    }
}
