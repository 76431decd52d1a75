//! The bounds and the aim of a deployment's scaling, with what the spec leaves out filled in.

use std::time::Duration;

use sconce_crds::accelerator::Units;
use sconce_crds::autoscaling::Autoscaling;
use sconce_crds::{ModelDeploymentSpec, ModelDeploymentStatus};

/// Time over which the load is averaged where the spec does not say.
const WINDOW: Duration = Duration::from_secs(30);
/// Part of the window that counts as soon as requests wait.
const SHORT: u32 = 10;
/// Shortest span that says anything: two polls.
const SHORTEST: Duration = Duration::from_secs(2);
/// Time for which fewer pods must have been enough where the spec does not say.
const SCALE_DOWN_DELAY: Duration = Duration::from_secs(120);
/// Share of what a server computes at a time that is aimed at where the spec names no target: a server whose slots are
/// all taken makes the next request wait.
const UTILISATION: f64 = 0.7;

/// What a spec asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Fewest replicas.
    pub min: u32,
    /// Most replicas.
    pub max: u32,
    /// Requests per replica that are aimed at. Nothing: a share of what the servers say that they compute at a time.
    pub target: Option<f64>,
    /// Time over which the load is averaged.
    pub window: Duration,
    /// The same while requests wait.
    pub short: Duration,
    /// Time for which fewer replicas must have been enough.
    pub scale_down_delay: Duration,
}

impl From<&Autoscaling> for Policy {
    fn from(spec: &Autoscaling) -> Self {
        let window = spec
            .window
            .as_ref()
            .map_or(WINDOW, sconce_contract::Duration::get);
        let min = replicas(spec.min_replicas.unwrap_or(1)).max(1);
        Policy {
            min,
            max: replicas(spec.max_replicas.unwrap_or(1)).max(min),
            target: spec.target.as_ref().map(|target| target.in_flight_per_replica),
            window,
            short: Duration::from_secs((window / SHORT).as_secs()).max(SHORTEST),
            scale_down_delay: spec
                .scale_down_delay
                .as_ref()
                .map_or(SCALE_DOWN_DELAY, sconce_contract::Duration::get),
        }
    }
}

impl Policy {
    /// Requests per replica that are aimed at, where a server computes `slots` at a time (0: it does not say).
    pub fn target(&self, slots: f64) -> f64 {
        self.target.unwrap_or(UTILISATION * slots.max(1.0))
    }
}

/// Replicas that a deployment wants in all, of whichever revision. Pure: what was decided is in the status, so that it
/// survives the operator.
///
/// Where nothing was decided yet, as many as there are go on; in the middle of a rollout, when pods of two revisions are
/// there, as many as answered before it.
pub fn wanted(spec: &ModelDeploymentSpec, status: Option<&ModelDeploymentStatus>) -> i32 {
    let Some(autoscaling) = spec.managed() else {
        return spec.replicas;
    };
    let policy = Policy::from(autoscaling);
    let decided = status.map_or(0, |status| {
        status.desired_replicas.unwrap_or_else(|| there(status))
    });
    count(replicas(decided).clamp(policy.min, policy.max))
}

fn there(status: &ModelDeploymentStatus) -> i32 {
    let settled = status
        .settled_replicas
        .filter(|_| status.updated_replicas != status.replicas);
    settled.unwrap_or(status.replicas)
}

/// Fewest replicas of a deployment that the operator scales.
pub fn fewest(spec: &Autoscaling) -> i32 {
    count(Policy::from(spec).min)
}

/// Pods that there are units for: those that have theirs, and as many as the free ones make at `each`.
pub(super) fn units_allow(units: Units, each: u32, placed: usize) -> u32 {
    let free = units.capacity.saturating_sub(units.allocated).max(0) / i64::from(each.max(1));
    let placed = i64::try_from(placed).unwrap_or(i64::MAX);
    u32::try_from(placed.saturating_add(free)).unwrap_or(u32::MAX)
}

/// A number of replicas as the API writes it.
pub(super) fn count(replicas: u32) -> i32 {
    i32::try_from(replicas).unwrap_or(i32::MAX)
}

/// A number of replicas as the API writes it, which is never negative.
pub(super) fn replicas(count: i32) -> u32 {
    u32::try_from(count).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn spec(autoscaling: &Value, replicas: i32) -> ModelDeploymentSpec {
        let spec = json!({"model": {"uri": "pvc://a/b"}, "replicas": replicas, "autoscaling": autoscaling});
        serde_json::from_value(spec).unwrap()
    }

    fn status(desired: Option<i32>, replicas: i32) -> ModelDeploymentStatus {
        ModelDeploymentStatus {
            desired_replicas: desired,
            replicas,
            ..ModelDeploymentStatus::default()
        }
    }

    #[test]
    fn what_the_spec_leaves_out_is_filled_in() {
        let asked = spec(&json!({"mode": "Managed", "maxReplicas": 8}), 1);
        let policy = Policy::from(asked.managed().unwrap());
        assert_eq!((policy.min, policy.max), (1, 8));
        assert_eq!((policy.window.as_secs(), policy.short.as_secs()), (30, 3));
        assert_eq!(policy.scale_down_delay.as_secs(), 120);
        assert!((policy.target(4.0) - 2.8).abs() < 1e-9);
        assert!((policy.target(0.0) - 0.7).abs() < 1e-9);
        let short = spec(&json!({"mode": "Managed", "maxReplicas": 8, "window": "5s"}), 1);
        assert_eq!(Policy::from(short.managed().unwrap()).short, SHORTEST);
    }

    #[test]
    fn there_are_units_for_those_that_have_them_and_for_what_is_free() {
        let units = |capacity, allocated| Units { capacity, allocated };
        for (units, each, placed, allow) in [
            (units(8, 2), 1, 2, 8),
            (units(8, 2), 4, 0, 1),
            (units(8, 8), 1, 3, 3),
            // Nodes went away: their pods are counted until they are gone.
            (units(0, 4), 1, 4, 4),
        ] {
            assert_eq!(
                units_allow(units, each, placed),
                allow,
                "{units:?} {each} {placed}"
            );
        }
    }

    #[test]
    fn replicas_are_what_the_spec_says_unless_the_operator_scales() {
        for mode in ["None", "External"] {
            let asked = spec(&json!({ "mode": mode }), 3);
            assert_eq!(wanted(&asked, Some(&status(Some(7), 5))), 3, "{mode}");
        }
        assert_eq!(wanted(&spec(&Value::Null, 0), None), 0);
    }

    #[test]
    fn a_scaler_that_starts_in_the_middle_of_a_rollout_counts_no_pod_twice() {
        let asked = spec(&json!({"mode": "Managed", "maxReplicas": 8}), 1);
        let told = |updated, replicas, settled| ModelDeploymentStatus {
            updated_replicas: updated,
            settled_replicas: settled,
            ..status(None, replicas)
        };
        for (status, expected) in [
            (told(1, 4, Some(3)), 3),
            (told(2, 4, Some(3)), 3),
            // Another autoscaler has asked for five and three answer yet; no rollout is under way.
            (told(5, 5, Some(3)), 5),
            // An operator before this one did not remember it.
            (told(1, 4, None), 4),
        ] {
            assert_eq!(wanted(&asked, Some(&status)), expected, "{status:?}");
        }
    }

    #[test]
    fn what_was_decided_survives_and_keeps_within_new_bounds() {
        let asked = spec(&json!({"mode": "Managed", "minReplicas": 2, "maxReplicas": 4}), 1);
        for (status, expected) in [
            (None, 2),
            (Some(status(None, 3)), 3),
            (Some(status(Some(3), 1)), 3),
            (Some(status(Some(9), 9)), 4),
            (Some(status(Some(1), 1)), 2),
        ] {
            assert_eq!(wanted(&asked, status.as_ref()), expected, "{status:?}");
        }
    }
}
