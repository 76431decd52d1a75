//! A look at a node's folder by a pod that mounts it, in Python: what servers keep there, and what others may do.

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams};
use serde_json::{Value, json};

use crate::borrowed::PYTHON;
use crate::site::Site;
use crate::{Error, Result};

/// Who looks.
#[derive(Clone, Copy, Debug)]
pub struct Inspector {
    /// The pod's user; without any capability, also as root.
    pub user: i64,
    /// Whether the folder is mounted so.
    pub read_only: bool,
}

/// What is there before every script: the folder as `root`, and `held(path)`, whether any process has a lock on a file.
const BEFORE: &str = r"
import errno, fcntl, json, os, pathlib, shutil
root = pathlib.Path('/folder')
def held(path):
    with open(path, 'r+b') as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
def refusal(work):
    try:
        work()
    except OSError as error:
        return errno.errorcode[error.errno]
    return ''
";

impl Inspector {
    /// Runs a script beside the node's folder `path`; what it leaves in `answer`.
    ///
    /// # Errors
    /// When the pod is refused, or the script fails, with its last words.
    pub async fn ask(self, site: &Site, path: &str, script: &str) -> Result<Value> {
        let after = "open('/dev/termination-log', 'w').write(json.dumps(answer))";
        let script = format!("{BEFORE}\n{script}\n{after}\n");
        let mount = json!({"name": "folder", "mountPath": "/folder", "readOnly": self.read_only});
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "inspector"},
            "spec": {
                "restartPolicy": "Never", "automountServiceAccountToken": false,
                "securityContext": {"runAsUser": self.user, "runAsGroup": self.user},
                "containers": [{
                    "name": "look", "image": PYTHON.reference()?, "command": ["python3", "-c", script],
                    "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
                    "terminationMessagePolicy": "FallbackToLogsOnError", "volumeMounts": [mount],
                }],
                "volumes": [{"name": "folder", "hostPath": {"path": path, "type": "Directory"}}],
            },
        });
        answer(site, pod).await
    }
}

/// Runs a pod named `inspector` to its end, and takes it away: what it left as its last words.
///
/// # Errors
/// When the pod is refused, or fails, with its last words.
pub(crate) async fn answer(site: &Site, pod: Value) -> Result<Value> {
    site.apply(pod).await?;
    let ended = site
        .see("inspector", "the inspector ends", |pod: &Pod| end(pod).is_some())
        .await?;
    let pods: Api<Pod> = site.api();
    let deleted = pods.delete("inspector", &DeleteParams::default()).await;
    deleted.map_err(Error::api("delete pod inspector"))?;
    site.gone::<Pod>("inspector").await?;
    let (code, said) = end(&ended).unwrap_or_default();
    let answer = serde_json::from_str(&said).ok().filter(|_| code == 0);
    answer.ok_or_else(|| Error::Unmet(format!("the inspector ended with {code}: {said}")))
}

/// With which code a pod ended, and its last words.
fn end(pod: &Pod) -> Option<(i32, String)> {
    let containers = pod.status.as_ref()?.container_statuses.as_ref()?;
    let ended = containers.first()?.state.as_ref()?.terminated.as_ref()?;
    Some((ended.exit_code, ended.message.clone().unwrap_or_default()))
}
