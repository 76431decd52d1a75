//! Which disk the servers keep the model on, and what of it goes into their plan.

use std::path::{Path, PathBuf};

use sconce_contract::{CacheOutcome, CachePlan};
use sconce_crds::cache::CacheStrategy;
use sconce_crds::condition::CACHED;
use sconce_crds::deployment::ColdStart;
use sconce_crds::{ModelDeploymentSpec, Quantity};

use crate::conditions::{Verdict, no, unknown, yes};
use crate::problem::Problem;
use crate::reason::Reason;
use crate::training::validate::absent;
use crate::volumes::{NODE_CACHE, Source, Volumes};

/// Folder of the models in a claim, which may hold other things as well.
const FOLDER: &str = "sconce-models";

/// The folder of every node that this operator's cluster lets servers write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeCache {
    /// Its path on the nodes.
    pub path: String,
    /// Most bytes of all models in it.
    pub size_limit: Option<u64>,
}

/// The claim that the spec keeps models in.
pub fn claim(spec: &ModelDeploymentSpec) -> Option<Source> {
    let name = spec.caching()?.claim_name.clone()?;
    Some(Source::Claim(name))
}

/// The cache as the spec asks for it, and the volumes with what it needs.
///
/// # Errors
/// What a person has to mend.
pub fn resolve(
    spec: &ModelDeploymentSpec,
    namespace: &str,
    node: Option<&NodeCache>,
    claim_is_missing: bool,
    volumes: Volumes,
) -> Result<(Volumes, Option<CachePlan>), Problem> {
    let Some(asked) = spec.caching() else {
        return Ok((volumes, None));
    };
    let plan = |path: PathBuf, size_limit| CachePlan {
        path,
        scope: namespace.to_owned(),
        size_limit,
    };
    match (asked.strategy, claim(spec)) {
        (CacheStrategy::Node, _) => {
            let node = node.ok_or_else(|| {
                Problem::new(
                    Reason::NodeCacheDisabled,
                    "spec.cache.strategy",
                    "Node keeps models in a folder of each node, which this cluster does not allow: have the chart's \
                     value nodeCache.enabled set, or choose SharedVolume or None",
                )
            })?;
            let plan = plan(NODE_CACHE.into(), node.size_limit);
            Ok((volumes.node_cache(&node.path), Some(plan)))
        }
        (_, Some(claim)) => {
            if claim_is_missing {
                return Err(absent("spec.cache.claimName", &claim));
            }
            let limit = asked.size_limit.as_ref().map(bytes).transpose()?;
            let volumes = volumes.writing(&claim.uri());
            let root = volumes.path(&claim.uri()).unwrap_or_default();
            Ok((volumes, Some(plan(root.join(FOLDER), limit))))
        }
        // The schema has it that SharedVolume names a claim.
        _ => Ok((volumes, None)),
    }
}

fn bytes(limit: &Quantity) -> Result<u64, Problem> {
    limit.whole().ok_or_else(|| {
        Problem::new(
            Reason::InvalidSizeLimit,
            "spec.cache.sizeLimit",
            format!("{limit} is no number of bytes: write one such as 20Gi"),
        )
    })
}

/// Whether a path can be the folder of a node.
///
/// # Errors
/// Why it cannot.
pub fn node_path(text: &str) -> Result<String, String> {
    let path = Path::new(text);
    if path.is_absolute() && path.components().count() > 2 && !text.contains("..") {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "{text:?} is no folder for models: name one of its own, such as /var/lib/sconce/cache"
        ))
    }
}

/// The condition Cached, from what the newest pod's server told; nothing without a cache.
pub fn verdict(spec: &ModelDeploymentSpec, cold_start: Option<&ColdStart>) -> Option<Verdict> {
    spec.caching()?;
    let Some((pod, told)) = cold_start.and_then(|cold| Some((&cold.pod, cold.cache.as_ref()?))) else {
        return Some(unknown(
            CACHED,
            Reason::NoPodTold,
            "no server has told yet where its model came from",
        ));
    };
    let because = told
        .reason
        .as_deref()
        .map(|reason| format!(": {reason}"))
        .unwrap_or_default();
    Some(match told.outcome {
        CacheOutcome::Hit => yes(
            CACHED,
            Reason::Hit,
            format!("the pod {pod} found its model in the cache{because}"),
        ),
        CacheOutcome::Fetched => yes(
            CACHED,
            Reason::Fetched,
            format!("the pod {pod} fetched its model into the cache{because}"),
        ),
        CacheOutcome::NotCached => no(
            CACHED,
            Reason::NotCached,
            format!("spec.cache: the pod {pod} serves its model without the cache{because}"),
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn spec(cache: &Value) -> ModelDeploymentSpec {
        serde_json::from_value(json!({"model": {"uri": "https://host/a"}, "cache": cache})).unwrap()
    }

    fn resolved(cache: &Value, node: bool, missing: bool) -> Result<(Volumes, Option<CachePlan>), Problem> {
        let node = node.then(|| NodeCache {
            path: "/srv/models".to_owned(),
            size_limit: Some(5),
        });
        resolve(&spec(cache), "ml", node.as_ref(), missing, Volumes::default())
    }

    #[test]
    fn each_strategy_has_its_disk_and_its_limit() {
        for none in [json!({}), json!({"strategy": "None"}), Value::Null] {
            assert_eq!(resolved(&none, true, false), Ok((Volumes::default(), None)));
        }
        let plan = |cache, node| resolved(&cache, node, false).unwrap().1.unwrap();
        let node = plan(json!({"strategy": "Node"}), true);
        assert_eq!(
            (node.path.to_str(), node.size_limit),
            (Some("/mnt/sconce/cache"), Some(5))
        );
        let shared = json!({"strategy": "SharedVolume", "claimName": "models", "sizeLimit": "1Ki"});
        let shared = plan(shared, false);
        assert_eq!(shared.path.to_str(), Some("/mnt/sconce/pvc/models/sconce-models"));
        assert_eq!((shared.scope.as_str(), shared.size_limit), ("ml", Some(1024)));
    }

    #[test]
    fn what_a_person_must_mend_is_told_by_its_field() {
        let shared = json!({"strategy": "SharedVolume", "claimName": "models"});
        let endless = json!({"strategy": "SharedVolume", "claimName": "models", "sizeLimit": "9e99"});
        for (cache, missing, reason, field) in [
            (
                json!({"strategy": "Node"}),
                false,
                Reason::NodeCacheDisabled,
                "spec.cache.strategy",
            ),
            (shared, true, Reason::ClaimNotFound, "spec.cache.claimName"),
            (endless, false, Reason::InvalidSizeLimit, "spec.cache.sizeLimit"),
        ] {
            let problem = resolved(&cache, false, missing).unwrap_err();
            assert_eq!((problem.reason, problem.field.as_str()), (reason, field));
        }
        for (path, holds) in [
            ("/srv/models", true),
            ("/", false),
            ("/srv", false),
            ("srv/a", false),
            ("/a/../b", false),
        ] {
            assert_eq!(node_path(path).is_ok(), holds, "{path}");
        }
    }

    #[test]
    fn what_the_newest_server_did_is_a_condition_where_there_is_a_cache() {
        let cold = |cache: Value| -> ColdStart {
            let created = "2026-01-01T00:00:00Z";
            let told = json!({"pod": "a", "created": created, "total": "1s", "phases": [], "cache": cache});
            serde_json::from_value(told).unwrap()
        };
        let told = |cache: &Value, cold: Option<&ColdStart>| {
            let verdict = verdict(&spec(cache), cold);
            let now = jiff::Timestamp::UNIX_EPOCH;
            let settled = crate::conditions::settle(&[], verdict.into_iter().collect(), 1, now);
            settled
                .first()
                .map(|told| format!("{} {}: {}", told.status, told.reason, told.message))
        };
        let node = json!({"strategy": "Node"});
        let starts = |cold: Option<&ColdStart>, words: &str| {
            let told = told(&node, cold).unwrap();
            assert!(told.contains(words), "{told}");
        };
        starts(None, "Unknown NoPodTold");
        starts(Some(&cold(Value::Null)), "Unknown NoPodTold");
        starts(
            Some(&cold(json!({"outcome": "Hit"}))),
            "True Hit: the pod a found",
        );
        starts(
            Some(&cold(json!({"outcome": "Fetched"}))),
            "True Fetched: the pod a fetched",
        );
        let full = cold(json!({"outcome": "NotCached", "reason": "it is full"}));
        starts(
            Some(&full),
            "False NotCached: spec.cache: the pod a serves its model without the cache: it is full",
        );
        assert_eq!(told(&json!({}), Some(&full)), None);
    }
}
