//! A process of a pod that is stopped where it stands: it is there, holds what it held and answers nobody.

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use serde_json::json;

use crate::borrowed::PYTHON;
use crate::inspector::answer;
use crate::site::Site;
use crate::{Error, Result};

/// The processes of the pod `UID` that run `PROGRAM` are sent SIGSTOP, which none can decline; how many there were.
const SCRIPT: &str = r"
import json, os, pathlib, signal
stopped = 0
for process in pathlib.Path('/proc').glob('[0-9]*'):
    try:
        group = (process / 'cgroup').read_text().replace('_', '-')
        if UID in group and PROGRAM in (process / 'cmdline').read_text():
            os.kill(int(process.name), signal.SIGSTOP)
            stopped += 1
    except (FileNotFoundError, ProcessLookupError):
        pass
open('/dev/termination-log', 'w').write(json.dumps(stopped))
";

/// Stops the processes of a pod that run `program`. It is done by a pod beside it on its node, by the same user, for
/// which the test's namespace must allow pods that see the node's processes.
///
/// # Errors
/// When that pod is refused, or found no such process.
pub async fn freeze(site: &Site, pod: &Pod, program: &str) -> Result<()> {
    let spec = pod.spec.as_ref();
    let user = spec.and_then(|spec| spec.security_context.as_ref()?.run_as_user);
    let script = SCRIPT
        .replace("UID", &format!("{:?}", pod.uid().unwrap_or_default()))
        .replace("PROGRAM", &format!("{program:?}"));
    let stopper = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "inspector"},
        "spec": {
            "restartPolicy": "Never", "automountServiceAccountToken": false, "hostPID": true,
            "nodeName": spec.and_then(|spec| spec.node_name.as_ref()),
            "securityContext": {"runAsUser": user, "runAsGroup": user},
            "containers": [{
                "name": "stop", "image": PYTHON.reference()?, "command": ["python3", "-c", script],
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
                "terminationMessagePolicy": "FallbackToLogsOnError",
            }],
        },
    });
    match answer(site, stopper).await?.as_u64() {
        Some(1..) => Ok(()),
        found => Err(Error::Unmet(format!(
            "no process of {program} was stopped: {found:?}"
        ))),
    }
}
