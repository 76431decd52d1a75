//! The cluster and the namespace that a person means, and what commands read there.

use std::fmt::Debug;
use std::time::Duration;

use kube::api::{Api, ListParams};
use kube::config::KubeConfigOptions;
use kube::core::NamespaceResourceScope;
use kube::{Client, Config, Resource, ResourceExt};
use sconce_crds::{ModelDeployment, ModelTraining};
use serde::de::DeserializeOwned;

use super::PluginError;
use super::error::is_absent;
use crate::seen::Pod;
use crate::{connection, labels};

/// An API server that does not answer by then is said not to.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Which cluster and which namespace: as kubectl has it, by KUBECONFIG and its current context.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Target {
    /// Namespace. By default that of the kubeconfig's context.
    #[arg(short, long, global = true)]
    pub namespace: Option<String>,
    /// Context of the kubeconfig. By default the current one.
    #[arg(long, global = true)]
    pub context: Option<String>,
}

/// A connection, and the namespace that is looked at.
pub struct Cluster {
    /// Speaks as the kubeconfig says.
    pub client: Client,
    /// Where objects are looked for.
    pub namespace: String,
}

impl Cluster {
    /// Reads the kubeconfig.
    ///
    /// # Errors
    /// When it cannot be used.
    pub async fn connect(target: &Target) -> Result<Self, PluginError> {
        let options = KubeConfigOptions {
            context: target.context.clone(),
            ..KubeConfigOptions::default()
        };
        let mut config = Config::from_kubeconfig(&options).await?;
        // A person who waits is told at once, and tries again as they like; a controller would go on for minutes.
        config.default_retry = false;
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        let namespace = target
            .namespace
            .clone()
            .unwrap_or_else(|| config.default_namespace.clone());
        let client = connection::client(config).map_err(PluginError::api("accept the kubeconfig"))?;
        Ok(Cluster { client, namespace })
    }

    /// Objects of a kind in the namespace.
    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// An object, if it is there.
    ///
    /// # Errors
    /// When the API server does not answer, refuses, or does not know the kind.
    pub async fn find<K>(&self, name: &str) -> Result<Option<K>, PluginError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        let read = self.api::<K>().get(name).await;
        found(read, format!("read {} {name}", K::plural(&())))
    }

    /// The objects of a kind with a label, or all.
    ///
    /// # Errors
    /// When the API server does not answer, or refuses.
    pub async fn labelled<K>(&self, selector: &str) -> Result<Vec<K>, PluginError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        let parameters = ListParams::default().labels(selector);
        let list = self.api::<K>().list(&parameters).await;
        let list = list.map_err(PluginError::api(format!("list {}", K::plural(&()))))?;
        Ok(list.items)
    }

    /// The object that a person means: by kind and name, or by a name that a deployment or a training has.
    ///
    /// # Errors
    /// When there is none of that name.
    pub async fn subject(&self, asked: &Asked) -> Result<Subject, PluginError> {
        let name = &asked.name;
        if asked.kind != Some(Kind::Training)
            && let Some(deployment) = self.find::<ModelDeployment>(name).await?
        {
            return Ok(Subject::Deployment(Box::new(deployment)));
        }
        if asked.kind != Some(Kind::Deployment)
            && let Some(training) = self.find::<ModelTraining>(name).await?
        {
            return Ok(Subject::Training(Box::new(training)));
        }
        Err(self.not_found(asked))
    }

    /// That there is none of that name.
    pub fn not_found(&self, asked: &Asked) -> PluginError {
        PluginError::NotFound {
            kind: match asked.kind {
                Some(Kind::Training) => "ModelTraining",
                Some(Kind::Deployment) => "ModelDeployment",
                None => "ModelDeployment or ModelTraining",
            },
            name: asked.name.clone(),
            namespace: self.namespace.clone(),
        }
    }

    /// The pods of the current run or revision, newest first; those of earlier ones where it has none.
    ///
    /// # Errors
    /// When the API server does not answer, or refuses.
    pub async fn pods(&self, subject: &Subject) -> Result<Vec<Pod>, PluginError> {
        let pods = self.labelled::<Pod>(&subject.selector()).await?;
        Ok(newest(pods, subject.current()))
    }
}

/// Nothing where the object is not there. Where its kind is not there either, that is what is wrong.
fn found<K>(read: Result<K, kube::Error>, what: String) -> Result<Option<K>, PluginError> {
    match read {
        Ok(object) => Ok(Some(object)),
        Err(kube::Error::Api(status)) if is_absent(&status) => Ok(None),
        Err(error) => Err(PluginError::api(what)(error)),
    }
}

/// Newest first, and of the current run or revision alone where it has any.
fn newest(mut pods: Vec<Pod>, current: Option<(&str, &str)>) -> Vec<Pod> {
    let is_current = |pod: &Pod| {
        current.is_some_and(|(label, value)| pod.labels().get(label).is_some_and(|is| is == value))
    };
    if pods.iter().any(is_current) {
        pods.retain(is_current);
    }
    pods.sort_by_key(|pod| std::cmp::Reverse((pod.creation_timestamp(), pod.name_any())));
    pods
}

/// `KIND/NAME` or `NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Where it is said.
    pub kind: Option<Kind>,
    /// The object's name.
    pub name: String,
}

/// Which of our kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// ModelTraining.
    Training,
    /// ModelDeployment.
    Deployment,
}

impl std::str::FromStr for Asked {
    type Err = PluginError;

    fn from_str(text: &str) -> Result<Self, PluginError> {
        let (kind, name) = match text.split_once('/') {
            None => (None, text),
            Some((kind, name)) => {
                let kind = match kind
                    .split('.')
                    .next()
                    .unwrap_or_default()
                    .to_ascii_lowercase()
                    .as_str()
                {
                    "modeltraining" | "modeltrainings" | "mtrain" => Kind::Training,
                    "modeldeployment" | "modeldeployments" | "mdep" => Kind::Deployment,
                    _ => return Err(PluginError::UnknownKind(text.to_owned())),
                };
                (Some(kind), name)
            }
        };
        Ok(Asked {
            kind,
            name: name.to_owned(),
        })
    }
}

/// A training or a deployment.
#[derive(Clone, Debug)]
pub enum Subject {
    /// A ModelTraining.
    Training(Box<ModelTraining>),
    /// A ModelDeployment.
    Deployment(Box<ModelDeployment>),
}

impl Subject {
    /// Name of the object.
    pub fn name(&self) -> String {
        match self {
            Subject::Training(training) => training.name_any(),
            Subject::Deployment(deployment) => deployment.name_any(),
        }
    }

    /// Label selector of what the operator made for it.
    pub fn selector(&self) -> String {
        let label = match self {
            Subject::Training(_) => labels::TRAINING,
            Subject::Deployment(_) => labels::DEPLOYMENT,
        };
        format!("{label}={}", self.name())
    }

    /// The label by which pods of the current run or revision are told from others.
    fn current(&self) -> Option<(&str, &str)> {
        match self {
            Subject::Training(training) => {
                Some((labels::JOB_NAME, training.status.as_ref()?.job.as_deref()?))
            }
            Subject::Deployment(deployment) => Some((
                labels::REVISION,
                &deployment.status.as_ref()?.revisions.first()?.name,
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_cluster_without_our_kinds_is_not_one_without_the_object() {
        let answer = |said: &str, code: u16| {
            let status = Status::failure(said, "").with_code(code);
            found::<Pod>(Err(kube::Error::Api(status.boxed())), "read it".to_owned())
        };
        let absent = answer("modeldeployments.sconce.dev \"iris\" not found", 404);
        assert!(matches!(absent, Ok(None)), "{absent:?}");
        let unserved = answer("404 page not found", 404);
        assert!(matches!(unserved, Err(PluginError::NotInstalled)), "{unserved:?}");
        let forbidden = answer("modeldeployments.sconce.dev \"iris\" is forbidden", 403);
        assert!(
            matches!(&forbidden, Err(error) if error.is_forbidden()),
            "{forbidden:?}"
        );
    }

    #[test]
    fn an_object_is_named_as_kubectl_names_it() {
        for (text, kind) in [
            ("tumour", None),
            ("mtrain/tumour", Some(Kind::Training)),
            ("ModelTraining/tumour", Some(Kind::Training)),
            ("modeldeployments.sconce.dev/tumour", Some(Kind::Deployment)),
        ] {
            let asked: Asked = text.parse().unwrap();
            assert_eq!((asked.kind, asked.name.as_str()), (kind, "tumour"), "{text}");
        }
        let error = "pod/tumour".parse::<Asked>().unwrap_err().to_string();
        assert!(error.contains("mtrain/NAME"), "{error}");
    }

    #[test]
    fn pods_of_an_earlier_revision_are_left_out_where_the_current_one_has_any() {
        let pod = |name: &str, revision: &str, second: u32| -> Pod {
            serde_json::from_value(json!({"metadata": {
                "name": name, "labels": {"sconce.dev/revision": revision},
                "creationTimestamp": format!("2026-01-01T00:00:{second:02}Z"),
            }}))
            .unwrap()
        };
        let pods = vec![pod("a", "old", 1), pod("b", "new", 2), pod("c", "new", 3)];
        let names = |current| -> Vec<String> {
            newest(pods.clone(), Some(("sconce.dev/revision", current)))
                .iter()
                .map(ResourceExt::name_any)
                .collect()
        };
        assert_eq!(names("new"), ["c", "b"]);
        assert_eq!(names("newer"), ["c", "b", "a"]);
    }
}
