//! What people are told of scaling: a part of the status with a field manager of its own.
//!
//! It is written when a decision is made and before anything else is done about it: the reconcile that follows reads
//! from the status how many replicas are wanted, so a crash in between loses nothing. Nothing in it changes with the
//! load alone.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use sconce_contract::Duration;
use sconce_crds::ModelDeploymentStatus;
use sconce_crds::autoscaling::{DECISIONS_KEPT, ScaleDecision, ScaleInputs};
use sconce_crds::condition::{Condition, SCALING_ACTIVE, SCALING_LIMITED};
use serde::Serialize;

use super::decide::{Change, Fleet, Limit, Sight, Verdict, number};
use super::policy::{Policy, count};
use crate::conditions::{self, no, yes};
use crate::reason::Reason;

/// Field manager of this part of the status.
pub const MANAGER: &str = "sconce-scaling";

/// What is told.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Told {
    /// Replicas that are wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub desired_replicas: Option<i32>,
    /// The last decisions, newest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub scale_decisions: Vec<ScaleDecision>,
    /// ScalingActive and ScalingLimited.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

impl Told {
    /// What a status tells of scaling.
    pub fn of(status: &ModelDeploymentStatus) -> Self {
        let conditions = status.conditions.iter();
        Told {
            desired_replicas: status.desired_replicas,
            scale_decisions: status.scale_decisions.clone(),
            conditions: conditions
                .filter(|condition| is_ours(condition))
                .cloned()
                .collect(),
        }
    }

    /// What is to be told after a verdict.
    pub fn after(
        &self,
        verdict: &Verdict,
        policy: &Policy,
        fleet: &Fleet,
        generation: i64,
        now: Timestamp,
    ) -> Self {
        let verdicts = vec![active(verdict.sight), limited(verdict.limit, policy, fleet)];
        let decision = verdict
            .change
            .as_ref()
            .map(|change| decision(change, verdict, fleet, now));
        let decisions = decision.into_iter().chain(self.scale_decisions.iter().cloned());
        Told {
            desired_replicas: Some(count(verdict.to)),
            scale_decisions: decisions.take(DECISIONS_KEPT).collect(),
            conditions: conditions::settle(&self.conditions, verdicts, generation, now),
        }
    }
}

/// Takes what is told of scaling out of a status: the rest is the reconcile's.
pub fn without(mut status: ModelDeploymentStatus) -> ModelDeploymentStatus {
    status.desired_replicas = None;
    status.scale_decisions.clear();
    status.conditions.retain(|condition| !is_ours(condition));
    status
}

fn is_ours(condition: &Condition) -> bool {
    matches!(condition.type_.as_str(), SCALING_ACTIVE | SCALING_LIMITED)
}

fn decision(change: &Change, verdict: &Verdict, fleet: &Fleet, now: Timestamp) -> ScaleDecision {
    let inputs = change.inputs.map(|inputs| ScaleInputs {
        in_flight: number(inputs.in_flight),
        queued: number(inputs.queued),
        target: number(inputs.target),
        window: Duration::from_secs(inputs.window.as_secs()),
        ready_replicas: count(fleet.ready),
        units_allow: fleet.units_allow.map(count),
    });
    ScaleDecision {
        time: Time(now),
        from: count(fleet.desired),
        to: count(verdict.to),
        reason: change.reason.name().to_owned(),
        message: change.message.clone(),
        inputs,
    }
}

fn active(sight: Sight) -> conditions::Verdict {
    match sight {
        Sight::Known => yes(
            SCALING_ACTIVE,
            Reason::LoadKnown,
            "the number of pods follows the load that they tell",
        ),
        Sight::Partly => yes(
            SCALING_ACTIVE,
            Reason::LoadPartlyKnown,
            "not every pod that answers tells its load: until each does there may be more pods, and not fewer",
        ),
        Sight::Unknown => no(
            SCALING_ACTIVE,
            Reason::LoadUnknown,
            "no pod tells its load, and the number of pods stays as it is: the operator asks on port 9090 of the pods, \
             which a NetworkPolicy must allow",
        ),
        Sight::NoReplica => no(
            SCALING_ACTIVE,
            Reason::NoPodAnswers,
            "no pod answers, and the number of pods stays as it is",
        ),
    }
}

fn limited(limit: Option<Limit>, policy: &Policy, fleet: &Fleet) -> conditions::Verdict {
    match limit {
        None => no(
            SCALING_LIMITED,
            Reason::WithinLimits,
            "there are as many pods as the load asks for, or will be",
        ),
        Some(Limit::Maximum) => yes(
            SCALING_LIMITED,
            Reason::MaxReplicas,
            format!(
                "the load asks, or lately asked, for more pods than autoscaling.maxReplicas, which is {}",
                policy.max
            ),
        ),
        Some(Limit::Units) => yes(
            SCALING_LIMITED,
            Reason::NoFreeUnits,
            format!(
                "the load asks, or lately asked, for more pods than there are units of the accelerator for, which is {}: \
                 the next one waits; add nodes, let others give way (scheduling.priorityClassName, yieldTo), or take a \
                 smaller accelerator.count",
                fleet.units_allow.unwrap_or_default()
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use sconce_crds::condition::find;

    use super::super::decide::{Inputs, Reason};
    use super::*;

    fn policy() -> Policy {
        Policy {
            min: 1,
            max: 4,
            target: None,
            window: std::time::Duration::from_secs(30),
            short: std::time::Duration::from_secs(3),
            scale_down_delay: std::time::Duration::from_secs(120),
        }
    }

    fn fleet() -> Fleet {
        Fleet {
            desired: 1,
            ready: 1,
            units_allow: None,
        }
    }

    fn raised() -> Verdict {
        Verdict {
            to: 4,
            change: Some(Change {
                reason: Reason::Queueing,
                message: "why".to_owned(),
                inputs: Some(Inputs {
                    in_flight: 3.251_59,
                    queued: 2.0,
                    target: 0.7,
                    window: std::time::Duration::from_secs(3),
                }),
            }),
            limit: Some(Limit::Maximum),
            sight: Sight::Known,
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_decision_is_told_with_its_inputs() {
        let told = Told::default().after(&raised(), &policy(), &fleet(), 7, at(10));
        assert_eq!(told.desired_replicas, Some(4));
        let decision = serde_json::to_value(&told.scale_decisions[0]).unwrap();
        assert_eq!(
            decision,
            serde_json::json!({
                "time": "1970-01-01T00:00:10Z", "from": 1, "to": 4, "reason": "Queueing", "message": "why",
                "inputs": {"inFlight": 3.25, "queued": 2.0, "target": 0.7, "window": "3s", "readyReplicas": 1}
            })
        );
        let limited = find(&told.conditions, SCALING_LIMITED).unwrap();
        assert_eq!(
            (limited.status.as_str(), limited.reason.as_str()),
            ("True", "MaxReplicas")
        );
        assert_eq!(limited.observed_generation, Some(7));
    }

    #[test]
    fn nothing_new_changes_nothing_and_ten_decisions_stay() {
        let quiet = Verdict {
            change: None,
            ..raised()
        };
        let mut told = Told::default();
        for second in 0..20 {
            told = told.after(&raised(), &policy(), &fleet(), 1, at(second));
        }
        assert_eq!(told.scale_decisions.len(), DECISIONS_KEPT);
        assert_eq!(told.scale_decisions[0].time, Time(at(19)));
        assert_eq!(told.after(&quiet, &policy(), &fleet(), 1, at(99)), told);
    }

    #[test]
    fn the_two_parts_of_a_status_are_told_apart() {
        let told = Told::default().after(&raised(), &policy(), &fleet(), 1, at(1));
        let rest = ModelDeploymentStatus {
            replicas: 3,
            conditions: conditions::settle(
                &[],
                vec![yes("Ready", crate::reason::Reason::Serving, "")],
                1,
                at(1),
            ),
            ..ModelDeploymentStatus::default()
        };
        let mut all = rest.clone();
        all.conditions.extend(told.conditions.clone());
        all.desired_replicas = told.desired_replicas;
        all.scale_decisions = told.scale_decisions.clone();
        assert_eq!(Told::of(&all), told);
        assert_eq!(without(all), rest);
    }
}
