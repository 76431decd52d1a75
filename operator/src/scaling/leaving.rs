//! Which replicas go where there are to be fewer: those with the least in flight. Pure.
//!
//! The ReplicaSet chooses (Kubernetes, `pkg/controller/controller_utils.go`): pods that do not answer before those that
//! do, then the cheaper before the dearer by an annotation, then the younger. So the annotation is put on those that are
//! to go; they take it along.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::labels::DELETION_COST;

/// Cost of a pod that is to go.
const CHEAP: &str = "-1";

/// A replica, as far as it matters here.
#[derive(Clone, Debug, PartialEq)]
pub struct Replica {
    /// Whether it answers.
    pub ready: bool,
    /// Requests in flight, where they are known.
    pub in_flight: Option<f64>,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// Whether it is marked already.
    pub marked: bool,
}

/// For each replica, whether it is to go, so that `to` stay.
pub fn leaving(replicas: &[Replica], to: usize) -> Vec<bool> {
    let mut order: Vec<usize> = (0..replicas.len()).collect();
    // Where the load is not known it is taken for high.
    let load = |index: &usize| replicas[*index].in_flight.unwrap_or(f64::INFINITY);
    order.sort_by(|one, other| {
        let (first, second) = (&replicas[*one], &replicas[*other]);
        (first.ready.cmp(&second.ready))
            .then(load(one).total_cmp(&load(other)))
            .then(second.created.cmp(&first.created))
    });
    let mut leaving = vec![false; replicas.len()];
    for &index in order.iter().take(replicas.len().saturating_sub(to)) {
        leaving[index] = true;
    }
    leaving
}

/// What has to change on a replica's pod, so that it goes or stays; nothing where it is right.
pub fn mark(replica: &Replica, leaves: bool) -> Option<Value> {
    // One that does not answer goes first by itself.
    let wanted = leaves && replica.ready;
    if replica.marked == wanted {
        return None;
    }
    let cost = wanted.then_some(CHEAP);
    Some(json!({"metadata": {"annotations": {DELETION_COST: cost}}}))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replica(ready: bool, in_flight: Option<f64>, created: i64) -> Replica {
        Replica {
            ready,
            in_flight,
            created: Timestamp::from_second(created).ok(),
            marked: false,
        }
    }

    #[test]
    fn those_with_the_least_in_flight_go() {
        let replicas = [
            replica(true, Some(3.0), 1),
            replica(true, Some(0.5), 2),
            replica(true, None, 3),
            replica(true, Some(1.0), 4),
        ];
        assert_eq!(leaving(&replicas, 4), [false; 4]);
        assert_eq!(leaving(&replicas, 3), [false, true, false, false]);
        assert_eq!(leaving(&replicas, 2), [false, true, false, true]);
        assert_eq!(leaving(&replicas, 1), [true, true, false, true]);
        assert_eq!(leaving(&replicas, 9), [false; 4]);
    }

    #[test]
    fn who_does_not_answer_goes_first_and_of_equals_the_youngest() {
        let replicas = [
            replica(true, Some(0.0), 1),
            replica(true, Some(0.0), 2),
            replica(false, None, 0),
        ];
        assert_eq!(leaving(&replicas, 2), [false, false, true]);
        assert_eq!(leaving(&replicas, 1), [false, true, true]);
    }

    #[test]
    fn a_pod_is_marked_once_and_unmarked_when_it_stays_after_all() {
        let fresh = replica(true, Some(0.0), 1);
        let marked = Replica {
            marked: true,
            ..fresh.clone()
        };
        assert_eq!(
            mark(&fresh, true),
            Some(json!({"metadata": {"annotations": {DELETION_COST: "-1"}}}))
        );
        assert_eq!(mark(&marked, true), None);
        assert_eq!(mark(&fresh, false), None);
        assert_eq!(
            mark(&marked, false),
            Some(json!({"metadata": {"annotations": {DELETION_COST: null}}}))
        );
        assert_eq!(mark(&replica(false, None, 1), true), None);
    }
}
