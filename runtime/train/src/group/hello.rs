//! What workers say to each other before they work together, and who is let in.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// What all workers of a group must agree on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Purpose {
    /// Version of the trainer: another one may add up otherwise.
    pub trainer: String,
    /// What nobody else knows: the same for all pods of a Job.
    pub token: String,
    /// The run, see [`sconce_contract::TrainingPlan::run`].
    pub run: String,
    /// Hash over what is learned, from which bytes.
    pub subject: String,
    /// How many workers there are to be.
    pub count: u32,
}

/// A worker asks the first one to be taken in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Hello {
    pub(super) purpose: Purpose,
    pub(super) worker: u32,
    /// Where it listens to the worker before it.
    pub(super) port: u16,
}

/// What the first worker answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Answer {
    /// All are there.
    Welcome {
        /// Tells this meeting from those before.
        attempt: String,
        /// Those who take part, in the order of the ring.
        members: Vec<Member>,
    },
    /// It is given work on this connection, whoever else is there.
    TakenIn,
    /// It does not belong here.
    Refused(String),
}

/// One who takes part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Member {
    pub(super) worker: u32,
    pub(super) address: SocketAddr,
}

/// First words on a connection of the ring.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Link {
    pub(super) token: String,
    pub(super) attempt: String,
    pub(super) from: u32,
}

/// What is said to one who does not know the token.
const STRANGER: &str = "it is of another group";

/// Whether the next answer may be another one though the plan and the bytes stay what they are: a name may for a while lead
/// to a pod of another Job.
pub(super) fn may_pass(refusal: &str) -> bool {
    refusal == STRANGER
}

/// Why the first worker does not take one in; nothing where it does.
pub(super) fn refusal(hello: &Hello, ours: &Purpose) -> Option<String> {
    let theirs = &hello.purpose;
    // The rest is nobody's concern who does not know the token.
    if theirs.token != ours.token {
        return Some(STRANGER.to_owned());
    }
    for (holds, what) in [
        (
            theirs.trainer == ours.trainer,
            "has another version of the trainer",
        ),
        (theirs.run == ours.run, "is of another run"),
        (
            theirs.count == ours.count,
            "was told of another number of workers",
        ),
        (
            theirs.subject == ours.subject,
            "was told to learn something else, read other bytes, or has less memory and its rows on disk",
        ),
        (
            (1..ours.count).contains(&hello.worker),
            "has a number that there is not",
        ),
    ] {
        if !holds {
            return Some(format!("worker {} {what}", hello.worker));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_and_what_is_left_of_other_runs_are_refused() {
        let purpose = || Purpose {
            trainer: "t".to_owned(),
            token: "s".to_owned(),
            run: "r".to_owned(),
            subject: "q".to_owned(),
            count: 3,
        };
        let hello = |worker, change: fn(&mut Purpose)| {
            let mut purpose = purpose();
            change(&mut purpose);
            Hello {
                purpose,
                worker,
                port: 1,
            }
        };
        assert_eq!(refusal(&hello(1, |_| {}), &purpose()), None);
        assert_eq!(refusal(&hello(2, |_| {}), &purpose()), None);
        for (hello, says) in [
            (hello(1, |purpose| purpose.token.push('x')), "another group"),
            (hello(1, |purpose| purpose.trainer.push('x')), "another version"),
            (hello(1, |purpose| purpose.run.push('x')), "another run"),
            (hello(1, |purpose| purpose.subject.push('x')), "other bytes"),
            (hello(1, |purpose| purpose.count = 2), "another number of workers"),
            (hello(0, |_| {}), "there is not"),
            (hello(3, |_| {}), "there is not"),
        ] {
            let refused = refusal(&hello, &purpose()).unwrap();
            assert!(refused.contains(says), "{refused}");
            assert_eq!(may_pass(&refused), says == "another group", "{refused}");
        }
    }
}
