//! Whether a training makes way for serving: `scheduling.yieldTo: Serving`.
//!
//! ```text
//!   holds units ──(a server finds no unit, and nobody else makes way for it)──► yields
//!       ▲                                                                        │
//!       └──────────(none has been missed for QUIET, and there is room)───────────┘
//! ```
//!
//! Every training of a namespace that shares a profile decides from the same facts, so that no more of them make way
//! than are needed. What was decided is kept in an annotation of the Job, written together with its `suspend`: a
//! restart of the operator forgets nothing. Pure: time is passed in.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// A server that finds no unit may be about to get the one that another of its pods is leaving.
const PATIENCE: SignedDuration = SignedDuration::from_secs(2);
/// How long none must have been missed before a training that made way goes on: a burst seldom comes alone.
pub const QUIET: SignedDuration = SignedDuration::from_secs(30);
/// How long the units that a training gives up may be on their way: its pod has 30 s to write a checkpoint, and the
/// server's is tried again by the scheduler within half a minute. If it still finds none, they were of no use to it.
const ON_ITS_WAY: SignedDuration = SignedDuration::from_secs(60);

/// That a training makes way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Yielding {
    /// Name of the ModelDeployment that found no unit.
    pub to: String,
    /// Since when the training makes way.
    pub since: Timestamp,
    /// Units that its pods gave up; 0 where they had none yet.
    pub gave: u32,
    /// Since when no unit has been missed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quiet_since: Option<Timestamp>,
}

impl Yielding {
    /// As the annotation says it. One that cannot be read is none.
    pub fn read(annotation: &str) -> Option<Self> {
        serde_json::from_str(annotation).ok()
    }

    /// The annotation.
    pub fn write(&self) -> String {
        // Strings and times always serialise.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// A server's pod that the scheduler finds no unit for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// Its ModelDeployment.
    pub deployment: String,
    /// Units that it asks for.
    pub units: u32,
    /// Since when.
    pub since: Timestamp,
}

/// A training that yields where it must; of one namespace and one profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its name.
    pub name: String,
    /// Units that a pod of it asks for.
    pub of_a_pod: u32,
    /// Its pods.
    pub pods: u32,
    /// Pods without which it does not go on.
    pub least: u32,
    /// Since when its pods have had them; nothing where they have none, or are giving them back.
    pub holds_since: Option<Timestamp>,
    /// That it makes way.
    pub yielding: Option<Yielding>,
}

impl Peer {
    /// Units that all its pods hold.
    fn units(&self) -> u32 {
        self.of_a_pod.saturating_mul(self.pods)
    }

    /// Whether it finds what it needs to go on.
    fn has_room(&self, free: Free) -> bool {
        free.on_one_node >= i64::from(self.of_a_pod)
            && free.in_all >= i64::from(self.of_a_pod.saturating_mul(self.least))
    }
}

/// Units that nobody uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Free {
    /// The most on one node: those of a pod are all on the same.
    pub on_one_node: i64,
    /// On all nodes.
    pub in_all: i64,
}

/// What every training of the namespace and the profile knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contention {
    /// Servers without a unit.
    pub needs: Vec<Need>,
    /// Trainings that yield, the one that decides among them.
    pub peers: Vec<Peer>,
    /// Units that nobody uses, where it is known.
    pub free: Option<Free>,
}

/// What a training does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// That it makes way.
    pub yielding: Option<Yielding>,
    /// When to decide again though nothing is seen to change.
    pub again: Option<Duration>,
}

/// Whether the training of that name makes way.
pub fn decide(name: &str, contention: &Contention, now: Timestamp) -> Decision {
    let Some(me) = contention.peers.iter().find(|peer| peer.name == name) else {
        return Decision::default();
    };
    match &me.yielding {
        Some(yielding) => go_on(me, yielding, contention, now),
        None => make_way(me, contention, now),
    }
}

/// Of a training that makes way: until when.
fn go_on(me: &Peer, yielding: &Yielding, contention: &Contention, now: Timestamp) -> Decision {
    let no_room = contention.free.is_some_and(|free| !me.has_room(free));
    if let Some(need) = contention.needs.first() {
        return stay(yielding, &need.deployment, None, None);
    }
    if no_room {
        // What becomes free elsewhere tells nobody here.
        return stay(yielding, &yielding.to, None, Some(QUIET.unsigned_abs()));
    }
    let since = yielding.quiet_since.unwrap_or(now);
    match left(since, QUIET, now) {
        Some(left) => stay(yielding, &yielding.to, Some(since), Some(left)),
        None => Decision::default(),
    }
}

fn stay(yielding: &Yielding, to: &str, quiet_since: Option<Timestamp>, again: Option<Duration>) -> Decision {
    Decision {
        yielding: Some(Yielding {
            to: to.to_owned(),
            quiet_since,
            ..yielding.clone()
        }),
        again,
    }
}

/// Of a training that does not make way: whether it has to.
fn make_way(me: &Peer, contention: &Contention, now: Timestamp) -> Decision {
    let (ripe, young): (Vec<&Need>, Vec<&Need>) = contention
        .needs
        .iter()
        .partition(|need| left(need.since, PATIENCE, now).is_none());
    let soonest = young
        .iter()
        .filter_map(|need| left(need.since, PATIENCE, now))
        .min();
    let uncovered = uncovered(&ripe, &contention.peers, now);
    let Some(first) = uncovered
        .first()
        .or_else(|| ripe.first().filter(|_| me.holds_since.is_none()))
    else {
        let expiry = (!ripe.is_empty()).then(|| whole(ON_ITS_WAY));
        return Decision {
            yielding: None,
            again: soonest.into_iter().chain(expiry).min(),
        };
    };
    // One that waits for a unit would take the next that is given up; it gives none.
    let chosen = me.holds_since.is_none() || chosen(&uncovered, &contention.peers).contains(me.name.as_str());
    Decision {
        yielding: chosen.then(|| Yielding {
            to: first.deployment.clone(),
            since: now,
            gave: if me.holds_since.is_some() { me.units() } else { 0 },
            quiet_since: None,
        }),
        again: (!chosen).then(|| whole(ON_ITS_WAY)),
    }
}

/// Needs for which no units are on their way.
fn uncovered<'a>(needs: &[&'a Need], peers: &[Peer], now: Timestamp) -> Vec<&'a Need> {
    let mut needs = needs.to_vec();
    needs.sort_by_key(|need| need.since);
    let mut given: Vec<(Timestamp, u32)> = peers
        .iter()
        .filter_map(|peer| peer.yielding.as_ref())
        .map(|yielding| (yielding.since, yielding.gave))
        .filter(|&(since, _)| left(since, ON_ITS_WAY, now).is_some())
        .collect();
    given.sort_unstable();
    needs.retain(|need| {
        // Given up after the need arose, and so because of it or of one like it.
        let mut open = need.units;
        for (since, units) in &mut given {
            if *since >= need.since {
                let taken = open.min(*units);
                *units -= taken;
                open -= taken;
            }
        }
        open > 0
    });
    needs
}

/// Who makes way for these needs: those that lose the least, which began last.
fn chosen<'a>(needs: &[&Need], peers: &'a [Peer]) -> BTreeSet<&'a str> {
    let mut holders: Vec<&Peer> = peers
        .iter()
        .filter(|peer| peer.holds_since.is_some() && peer.yielding.is_none())
        .collect();
    holders.sort_by(|one, other| (other.holds_since, &one.name).cmp(&(one.holds_since, &other.name)));
    let mut open: u32 = needs.iter().map(|need| need.units).sum();
    let mut chosen = BTreeSet::new();
    for holder in holders {
        if open == 0 {
            break;
        }
        open = open.saturating_sub(holder.units());
        chosen.insert(holder.name.as_str());
    }
    chosen
}

/// What is left of a time that began then; nothing where it is over.
fn left(since: Timestamp, length: SignedDuration, now: Timestamp) -> Option<Duration> {
    let left = length - now.duration_since(since);
    left.is_positive().then(|| whole(left))
}

fn whole(length: SignedDuration) -> Duration {
    Duration::try_from(length).unwrap_or_default()
}

#[cfg(test)]
#[path = "yielding_tests.rs"]
mod tests;
