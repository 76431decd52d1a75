//! A web server of the claim `models`, at `http://shelf` in the namespace: Python's own, which writes down who asks for
//! what.

use k8s_openapi::api::core::v1::Pod;
use kube::api::LogParams;
use serde_json::json;

use crate::borrowed::PYTHON;
use crate::site::Site;
use crate::{Error, Result};

/// Puts it up.
///
/// # Errors
/// When it does not answer in time.
pub async fn open(site: &Site) -> Result<()> {
    site.apply_all([
        json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "shelf", "labels": {"app": "shelf"}},
            "spec": {
                "automountServiceAccountToken": false, "terminationGracePeriodSeconds": 1,
                "securityContext": {
                    "runAsNonRoot": true, "runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 65532,
                    "seccompProfile": {"type": "RuntimeDefault"},
                },
                "containers": [{
                    "name": "shelf", "image": PYTHON.reference()?,
                    "command": ["python3", "-m", "http.server", "--directory", "/models", "8000"],
                    "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
                    "readinessProbe": {"tcpSocket": {"port": 8000}, "periodSeconds": 1},
                    "volumeMounts": [{"name": "models", "mountPath": "/models", "readOnly": true}],
                }],
                "volumes": [{"name": "models", "persistentVolumeClaim": {"claimName": "models"}}],
            },
        }),
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "shelf"},
            "spec": {"selector": {"app": "shelf"}, "ports": [{"port": 80, "targetPort": 8000}]},
        }),
    ])
    .await?;
    let is_ready = |pod: &Pod| {
        let all = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
        let mut all = all.into_iter().flatten();
        all.any(|found| found.type_ == "Ready" && found.status == "True")
    };
    site.see("shelf", "the web server answers", is_ready).await?;
    Ok(())
}

/// Takes it away.
///
/// # Errors
/// When it is still there in the end.
pub async fn close(site: &Site) -> Result<()> {
    site.delete::<Pod>("shelf").await?;
    site.gone::<Pod>("shelf").await
}

/// How often it was asked for what ends so.
///
/// # Errors
/// When its log cannot be read.
pub async fn times(site: &Site, path: &str) -> Result<usize> {
    let log = site.api::<Pod>().logs("shelf", &LogParams::default()).await;
    let log = log.map_err(Error::api("read the web server's log"))?;
    let asked = format!("{path} HTTP/");
    Ok(log.lines().filter(|line| line.contains(&asked)).count())
}
