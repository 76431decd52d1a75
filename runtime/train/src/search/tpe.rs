//! Tree-structured Parzen estimators (Bergstra et al. 2011): values are drawn where good trials lie close and bad ones do
//! not, each parameter for itself.

use sconce_contract::Goal;
use sconce_contract::search::{Domain, Parameter};
use sconce_engine::Random;
use serde_json::Value;

use super::schedule::{Outcome, Slot};
use super::space;

/// Trials at random before there is something to learn from.
const STARTUP: usize = 8;
/// Share of the trials that count as good, and the most of them.
const GOOD: f64 = 0.2;
const MOST_GOOD: usize = 25;
/// Values that are drawn of which the most promising one is taken.
const CANDIDATES: usize = 24;

/// The values of the next trial.
pub fn point(space: &[Parameter], goal: Goal, known: &[Slot], random: &mut Random) -> Vec<Value> {
    let mut ended: Vec<(&[Value], Option<f64>)> = known
        .iter()
        .filter_map(|slot| {
            let job = slot.job.as_ref()?;
            Some((
                job.point.as_slice(),
                slot.outcome.as_ref().and_then(Outcome::value),
            ))
        })
        .collect();
    if ended.len() < STARTUP {
        return space::drawn(space, random);
    }
    // The sort keeps the order of equals: the earlier is the better one. Those that failed come last.
    ended.sort_by(|one, other| goal.compare(one.1, other.1));
    let reached = ended.iter().filter(|(_, value)| value.is_some()).count();
    let good = ((GOOD * ended.len() as f64).ceil() as usize)
        .clamp(1, MOST_GOOD)
        .min(reached);
    if good == 0 {
        return space::drawn(space, random);
    }
    let (good, bad) = ended.split_at(good);
    let values = space.iter().enumerate().map(|(index, parameter)| {
        let places = |trials: &[(&[Value], Option<f64>)]| {
            let found = trials
                .iter()
                .filter_map(|(point, _)| space::place(parameter, point.get(index)?));
            found.collect::<Vec<f64>>()
        };
        let [good, bad] = [good, bad].map(|trials| Density::of(parameter, places(trials)));
        let mut best = (f64::NEG_INFINITY, 0.5);
        for _ in 0..CANDIDATES {
            let place = good.draw(random);
            let promise = good.at(place).ln() - bad.at(place).ln();
            if promise > best.0 {
                best = (promise, place);
            }
        }
        space::at(parameter, best.1)
    });
    values.collect()
}

/// How likely a place from 0 to 1 is, given some places.
enum Density {
    /// Among so many values: a share for each.
    Shares(Vec<f64>),
    /// Bells around the places, and one over all: centre, width and what of it lies between 0 and 1.
    Bells(Vec<(f64, f64, f64)>),
}

impl Density {
    fn of(parameter: &Parameter, mut places: Vec<f64>) -> Self {
        if let Some(Domain::Choice(values)) = parameter.domain() {
            let count = values.len();
            // Each value counts as seen once, so that none is ruled out.
            let mut shares = vec![1.0; count];
            for place in &places {
                shares[((place * count as f64) as usize).min(count - 1)] += 1.0;
            }
            let all: f64 = shares.iter().sum();
            return Density::Shares(shares.into_iter().map(|share| share / all).collect());
        }
        places.sort_by(f64::total_cmp);
        let narrowest = 1.0 / (places.len() as f64 + 1.0).min(100.0);
        let mut bells = vec![bell(0.5, 1.0)];
        for (index, place) in places.iter().enumerate() {
            let before = index.checked_sub(1).map_or(0.0, |before| places[before]);
            let after = places.get(index + 1).copied().unwrap_or(1.0);
            let width = (place - before).max(after - place).clamp(narrowest * 0.5, 1.0);
            bells.push(bell(*place, width));
        }
        Density::Bells(bells)
    }

    fn draw(&self, random: &mut Random) -> f64 {
        match self {
            Density::Shares(shares) => {
                let mut left = random.unit();
                let found = shares.iter().position(|share| {
                    left -= share;
                    left < 0.0
                });
                (found.unwrap_or(shares.len() - 1) as f64 + 0.5) / shares.len() as f64
            }
            Density::Bells(bells) => {
                let chosen = random.below(bells.len() as u64) as usize;
                let (centre, width, _) = bells[chosen];
                // At least a third of a bell lies inside, so this ends; the last resort is its centre.
                (0..64)
                    .map(|_| centre + width * normal(random))
                    .find(|place| (0.0..=1.0).contains(place))
                    .unwrap_or(centre)
            }
        }
    }

    fn at(&self, place: f64) -> f64 {
        match self {
            Density::Shares(shares) => shares[((place * shares.len() as f64) as usize).min(shares.len() - 1)],
            Density::Bells(bells) => {
                let height = |&(centre, width, inside): &(f64, f64, f64)| {
                    let distance = (place - centre) / width;
                    (-0.5 * distance * distance).exp() / (width * inside)
                };
                bells.iter().map(height).sum::<f64>() / bells.len() as f64
            }
        }
    }
}

fn bell(centre: f64, width: f64) -> (f64, f64, f64) {
    let inside = below((1.0 - centre) / width) - below(-centre / width);
    (centre, width, inside.max(1e-3))
}

/// A standard normal number (Box and Muller).
fn normal(random: &mut Random) -> f64 {
    let radius = (-2.0 * (1.0 - random.unit()).ln()).sqrt();
    radius * (std::f64::consts::TAU * random.unit()).cos()
}

/// How much of the standard normal distribution lies below, to 1e-4: the logistic approximation of Bowling et al. (2009).
fn below(value: f64) -> f64 {
    1.0 / (1.0 + (-(0.07056 * value.powi(3) + 1.5976 * value)).exp())
}
