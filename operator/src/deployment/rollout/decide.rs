//! How many pods each revision is to have now. Numbers in, numbers out.
//!
//! ```text
//!                 pods in all      that answer at least
//!   Surge         wanted + 1       wanted
//!   DrainFirst    wanted           wanted − 1
//! ```
//!
//! Where there are not as many places as pods are wanted, an earlier pod goes for one that finds none: then it is the
//! places, less one, that answer at least.
//!
//! Each decision is a level, not a step: made again from what is then seen, it leads on; made twice from the same, it
//! changes nothing. A view that lags by a write of ours leads to the same numbers.

use std::fmt;

use sconce_crds::rollout::Strategy;

/// Pods of one revision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pods {
    /// That its Deployment asks for.
    pub replicas: i32,
    /// That are there and not on their way out.
    pub there: i32,
    /// That answer.
    pub ready: i32,
    /// That do not answer and are no loss.
    pub broken: i32,
    /// That have found no place for a while.
    pub homeless: i32,
}

impl Pods {
    /// Those that answer and are not already told to go.
    fn answering(&self) -> i32 {
        self.ready.min(self.replicas)
    }

    /// Those that hold a place.
    fn occupied(&self) -> i32 {
        self.replicas.max(self.there)
    }

    /// Those that have a place, or may just find one.
    fn placed(&self) -> i32 {
        (self.there - self.homeless).max(0)
    }

    /// What is left of it when all goes that is no loss: pods that could not be made, and broken ones.
    fn worth(&self) -> i32 {
        let missing = (self.replicas - self.there).max(0);
        (self.replicas - missing - self.broken).max(self.answering())
    }
}

/// Where one pod more would run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Units of the accelerator that nobody holds, where they are counted.
    pub spare: Option<i64>,
    /// Units that a pod asks for; 0 for the processor alone.
    pub units: i64,
    /// Whether a new pod fits where one of an earlier revision runs.
    pub fits_in_exchange: bool,
    /// Whether a new pod has found no place for a while.
    pub blocked: bool,
    /// Whether it has found none for longer than it takes until one that was given back is taken.
    pub stuck: bool,
    /// Whether an earlier pod that answered has gone since the target is asked for.
    pub given: bool,
}

/// What a decision is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// As the user asks.
    pub strategy: Strategy,
    /// Pods that are wanted in all.
    pub wanted: i32,
    /// Of the revision that is to be served.
    pub target: Pods,
    /// Of all others; the first gives up its pods first.
    pub others: Vec<Pods>,
    /// Pods that are on their way out and still hold their place.
    pub leaving: i32,
    /// Where one pod more would run.
    pub place: Place,
}

/// What comes first, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// A new pod first, because the user asks so.
    SurgeAsked,
    /// A new pod first: it needs no accelerator.
    SurgeWithoutUnits,
    /// A new pod first: a unit is spare, or it is not known that none is.
    SurgeIntoSpare,
    /// A new pod first, although it finds no place: an earlier one's would be none for it.
    SurgeTooLarge,
    /// An earlier pod goes first, because the user asks so.
    DrainAsked,
    /// An earlier pod goes first: no unit is spare.
    DrainForUnit,
    /// An earlier pod goes first: the new one has found no place.
    DrainBlocked,
}

impl Manner {
    fn drains(self) -> bool {
        matches!(
            self,
            Manner::DrainAsked | Manner::DrainForUnit | Manner::DrainBlocked
        )
    }
}

impl fmt::Display for Manner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Manner::SurgeAsked | Manner::SurgeWithoutUnits | Manner::SurgeIntoSpare => {
                "a new pod comes before an earlier one goes"
            }
            Manner::SurgeTooLarge => {
                "a new pod asks for more than an earlier one gives back, or for another node, so no earlier one goes for it"
            }
            Manner::DrainAsked => "an earlier pod goes before a new one comes, as spec.rollout.strategy asks",
            Manner::DrainForUnit => {
                "an earlier pod goes before a new one comes, as no unit of the accelerator is spare"
            }
            Manner::DrainBlocked => "an earlier pod goes for a new one that found no room",
        })
    }
}

/// How many pods each revision is to have now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The revision that is to be served.
    pub target: i32,
    /// The others, in the order in which they were given.
    pub others: Vec<i32>,
    /// What comes first, and why.
    pub manner: Manner,
}

/// Decides.
pub fn decide(view: &View) -> Decision {
    let manner = manner(view);
    let held: i32 = view.others.iter().map(|other| other.replicas).sum();
    let answering = view.target.answering().min(view.wanted);
    let (most, fewest) = if manner.drains() {
        (view.wanted, floor(view) - 1)
    } else {
        (view.wanted + 1, view.wanted)
    };
    let others = keep(&view.others, (fewest - answering).max(0));
    let in_place = if manner.drains() {
        // A pod that goes holds its unit until it is gone, and one that is to go does not go at once.
        view.others.iter().map(Pods::occupied).sum::<i32>() + view.leaving
    } else {
        held
    };
    let target = if in_place == 0 {
        view.wanted
    } else {
        let room = (most - view.target.replicas - in_place).max(0);
        (view.target.replicas + room).min(view.wanted)
    };
    Decision {
        target,
        others,
        manner,
    }
}

/// Pods that may be had at once: as many as are wanted, but where one of the target finds no place and none is about to
/// be given back, no more than have one. Not where another place would be given in vain, as the last one was.
fn floor(view: &View) -> i32 {
    let place = view.place;
    let in_vain = !place.fits_in_exchange || (place.given && view.target.placed() == 0);
    if !place.stuck || in_vain || going(view) > 0 {
        return view.wanted;
    }
    let placed: i32 = view.others.iter().map(Pods::placed).sum();
    (view.target.placed() + placed).min(view.wanted)
}

/// Places that our own pods are about to give back.
fn going(view: &View) -> i32 {
    let to_go = |other: &Pods| other.occupied() - other.replicas;
    view.others.iter().map(to_go).sum::<i32>() + view.leaving
}

fn manner(view: &View) -> Manner {
    let place = view.place;
    let held: i32 = view.others.iter().map(|other| other.replicas).sum();
    let surged = view.target.replicas > 0 && view.target.replicas + held > view.wanted;
    // What our own pods are about to give back is spare as well: a surge that began goes on.
    let going = going(view);
    let blocked = place.blocked && surged && going == 0;
    match view.strategy {
        Strategy::Surge => Manner::SurgeAsked,
        Strategy::DrainFirst => Manner::DrainAsked,
        Strategy::Auto if blocked && place.fits_in_exchange => Manner::DrainBlocked,
        Strategy::Auto if blocked => Manner::SurgeTooLarge,
        Strategy::Auto if place.units == 0 => Manner::SurgeWithoutUnits,
        // A pod more has taken the unit that was spare: it is waited for.
        Strategy::Auto if surged => Manner::SurgeIntoSpare,
        Strategy::Auto => match place.spare.map(|spare| spare + i64::from(going) * place.units) {
            Some(spare) if spare < place.units && place.fits_in_exchange => Manner::DrainForUnit,
            Some(spare) if spare < place.units => Manner::SurgeTooLarge,
            Some(_) | None => Manner::SurgeIntoSpare,
        },
    }
}

/// Shares `most` pods among revisions: those that answer first, then the last given first.
fn keep(others: &[Pods], most: i32) -> Vec<i32> {
    let mut kept = vec![0; others.len()];
    let mut left = most;
    for answering in [true, false] {
        for (kept, other) in kept.iter_mut().zip(others).rev() {
            let may = if answering {
                other.answering()
            } else {
                other.worth() - *kept
            };
            let more = may.clamp(0, left);
            *kept += more;
            left -= more;
        }
    }
    kept
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
