//! What is wrong with the last word of a trainer that is not ours, so that whoever wrote it can mend it.

use std::sync::Arc;

use kube::ResourceExt;
use sconce_contract::report::{REPORT_LIMIT, REPORT_PATH};
use sconce_contract::{Artifact, Report};
use sconce_crds::ModelTraining;

use super::situation::Situation;
use crate::reason::Reason;
use crate::seen::Pod;
use crate::{names, observed};

/// The run of a pod that ended well and left no report that could be read; nothing where no pod ended well. Of several
/// that learn together, the first one's report counts.
pub fn missing(pods: &[Arc<Pod>]) -> Option<Situation> {
    let leads = |pod: &&Arc<Pod>| observed::leads(pod) && observed::ended_well(pod);
    let pod = pods.iter().rev().find(leads)?;
    let why = match observed::last_word(pod).map(str::trim) {
        None | Some("") => "it is empty".to_owned(),
        Some(said) => match Report::parse(said) {
            Err(why) => why,
            Ok(_) => "it says \"failed\", and the exit code is 0 instead of 65, 75 or 1".to_owned(),
        },
    };
    Some(no_report(&format!(
        "the trainer ended well and left no report that could be read in {REPORT_PATH}: {why}"
    )))
}

/// What the artifact that a trainer of the user's own reports cannot be found by.
pub fn unusable(training: &ModelTraining, artifact: &Artifact) -> Option<Situation> {
    training.spec.model.custom.as_ref()?;
    let Artifact { uri, digest, .. } = artifact;
    let hex = digest.strip_prefix("sha256:").filter(|hex| is_sha256(hex));
    let output = training
        .spec
        .output
        .uri
        .clone()
        .unwrap_or_else(|| format!("pvc://{}", names::artifacts_claim(&training.name_any())));
    let why = match hex {
        None => format!("artifact.digest is {digest:?}, not sha256: and 64 lower-case hexadecimal digits"),
        Some(hex) => {
            let right = format!("{}/{hex}", output.trim_end_matches('/'));
            if *uri == right {
                return None;
            }
            format!("artifact.uri is {uri:?}, not $SCONCE_OUTPUT_URI and the digest, {right:?}")
        }
    };
    Some(no_report(&format!("the trainer's report cannot be used: {why}")))
}

fn is_sha256(hex: &str) -> bool {
    hex.len() == 64
        && hex
            .bytes()
            .all(|digit| digit.is_ascii_digit() || (b'a'..=b'f').contains(&digit))
}

fn no_report(what: &str) -> Situation {
    Situation::Failed {
        reason: Reason::NoReport,
        message: format!(
            "{what}; it must be the JSON of docs/custom.md, with \"outcome\": \"trained\", in at most {REPORT_LIMIT} \
             bytes; correct spec.model.custom"
        ),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn ended(message: &Value) -> Vec<Arc<Pod>> {
        let state = json!({"terminated": {"exitCode": 0, "message": message}});
        let status = json!({"containerStatuses": [
            {"name": "sconce", "image": "i", "imageID": "", "ready": false, "restartCount": 0, "state": state},
        ]});
        let pod = json!({"metadata": {"name": "a"}, "status": status});
        vec![Arc::new(serde_json::from_value(pod).unwrap())]
    }

    fn sentence(situation: Option<Situation>) -> String {
        match situation {
            Some(Situation::Failed { reason, message }) => format!("{reason}: {message}"),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn what_a_report_lacks_is_named() {
        let failed = r#"{"outcome": "failed", "class": "Internal", "message": "m"}"#;
        for (message, says) in [
            (json!(null), "/dev/termination-log: it is empty"),
            (json!("all is well"), "expected value at line 1 column 1"),
            (
                json!(r#"{"outcome": "trained", "run": "r"}"#),
                "missing field `metrics`",
            ),
            (json!(failed), "it says \"failed\", and the exit code is 0"),
        ] {
            let told = sentence(missing(&ended(&message)));
            assert!(told.starts_with("NoReport: ") && told.contains(says), "{told}");
        }
        assert_eq!(missing(&[]), None);
        // One that helped has nothing to report, and the first one may still be on its way.
        let mut helper = (*ended(&json!(null))[0]).clone();
        let index = serde_json::from_value(json!({"batch.kubernetes.io/job-completion-index": "1"}));
        helper.metadata.labels = index.unwrap();
        assert_eq!(missing(&[Arc::new(helper)]), None);
    }

    #[test]
    fn an_artifact_must_lie_where_its_digest_says() {
        let training = |model: Value| -> ModelTraining {
            serde_json::from_value(json!({
                "apiVersion": "sconce.dev/v1alpha1", "kind": "ModelTraining", "metadata": {"name": "forest"},
                "spec": {"model": model, "dataset": {"uri": "file:///a.csv", "target": "y"}},
            }))
            .unwrap()
        };
        let custom = training(json!({"custom": {"image": "a"}}));
        let artifact = |uri: &str, digest: &str| Artifact {
            uri: uri.to_owned(),
            digest: digest.to_owned(),
            size_bytes: 1,
            weights_bytes: None,
        };
        let hex = "a".repeat(64);
        let digest = format!("sha256:{hex}");
        assert_eq!(
            unusable(
                &custom,
                &artifact(&format!("pvc://forest-artifacts/{hex}"), &digest)
            ),
            None
        );
        for (uri, digest, says) in [
            ("pvc://forest-artifacts/a", "abc", "artifact.digest is \"abc\""),
            (
                "pvc://other/x",
                digest.as_str(),
                "artifact.uri is \"pvc://other/x\"",
            ),
        ] {
            let told = sentence(unusable(&custom, &artifact(uri, digest)));
            assert!(
                told.contains(says) && told.contains("spec.model.custom"),
                "{told}"
            );
        }
        // Ours is right by construction.
        let ours = training(json!({"network": {"layers": [{"dense": {"units": 1}}]}}));
        assert_eq!(unusable(&ours, &artifact("pvc://other/x", "abc")), None);
    }
}
