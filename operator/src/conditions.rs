//! Conditions that do not flap: `lastTransitionTime` moves only when the status of a condition does.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use sconce_crds::condition::Condition;

use crate::reason::Reason;

/// Longest message of a condition (Kubernetes' limit is 32768; nobody reads more than this).
const MESSAGE_LIMIT: usize = 2048;

/// What a condition is to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    kind: &'static str,
    status: &'static str,
    reason: Reason,
    message: String,
}

/// The condition holds.
pub fn yes(kind: &'static str, reason: impl Into<Reason>, message: impl Into<String>) -> Verdict {
    verdict(kind, "True", reason, message)
}

/// The condition does not hold.
pub fn no(kind: &'static str, reason: impl Into<Reason>, message: impl Into<String>) -> Verdict {
    verdict(kind, "False", reason, message)
}

/// It cannot be told (yet) whether the condition holds.
pub fn unknown(kind: &'static str, reason: impl Into<Reason>, message: impl Into<String>) -> Verdict {
    verdict(kind, "Unknown", reason, message)
}

fn verdict(
    kind: &'static str,
    status: &'static str,
    reason: impl Into<Reason>,
    message: impl Into<String>,
) -> Verdict {
    let mut message = message.into();
    if message.len() > MESSAGE_LIMIT {
        let end = (0..MESSAGE_LIMIT)
            .rev()
            .find(|&at| message.is_char_boundary(at))
            .unwrap_or(0);
        message.truncate(end);
        message.push('…');
    }
    Verdict {
        kind,
        status,
        reason: reason.into(),
        message,
    }
}

/// The conditions to store: each verdict, of this generation, with the time of `previous` where the status is
/// the same as there.
pub fn settle(
    previous: &[Condition],
    verdicts: Vec<Verdict>,
    generation: i64,
    now: Timestamp,
) -> Vec<Condition> {
    verdicts
        .into_iter()
        .map(|verdict| {
            let before = previous.iter().find(|condition| condition.type_ == verdict.kind);
            let last_transition_time = match before {
                Some(before) if before.status == verdict.status => before.last_transition_time.clone(),
                _ => Time(now),
            };
            Condition {
                type_: verdict.kind.to_owned(),
                status: verdict.status.to_owned(),
                reason: verdict.reason.into(),
                message: verdict.message,
                observed_generation: Some(generation),
                last_transition_time,
            }
        })
        .collect()
}

/// Adds a condition that is told apart from the others to those that are to be stored, as [`settle`] would.
pub fn add(
    conditions: &mut Vec<Condition>,
    previous: &[Condition],
    verdict: Option<Verdict>,
    generation: i64,
    now: Timestamp,
) {
    conditions.extend(settle(previous, verdict.into_iter().collect(), generation, now));
}

/// Keeps the condition of a kind that is told apart from the others as it was, where there was one.
pub fn keep(conditions: &mut Vec<Condition>, previous: &[Condition], kind: &str) {
    conditions.extend(previous.iter().find(|condition| condition.type_ == kind).cloned());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn time_moves_with_the_status_and_with_nothing_else() {
        let first = settle(
            &[],
            vec![no("Ready", Reason::told("Waiting"), "for a pod")],
            1,
            at(10),
        );
        let second = settle(
            &first,
            vec![no("Ready", Reason::told("Pulling"), "the image")],
            2,
            at(20),
        );
        assert_eq!(second[0].last_transition_time, Time(at(10)));
        assert_eq!(
            (second[0].reason.as_str(), second[0].observed_generation),
            ("Pulling", Some(2))
        );
        let third = settle(
            &second,
            vec![yes("Ready", Reason::told("Answers"), "")],
            2,
            at(30),
        );
        assert_eq!(third[0].last_transition_time, Time(at(30)));
    }

    #[test]
    fn a_condition_that_is_no_longer_told_is_dropped() {
        let first = settle(&[], vec![yes("Failed", Reason::told("BadInput"), "x")], 1, at(10));
        assert!(settle(&first, vec![], 2, at(20)).is_empty());
    }

    #[test]
    fn a_very_long_message_is_cut_between_characters() {
        let cut = settle(
            &[],
            vec![no("Ready", Reason::told("Long"), "é".repeat(5000))],
            1,
            at(0),
        );
        assert!(cut[0].message.len() <= MESSAGE_LIMIT + '…'.len_utf8());
    }
}
