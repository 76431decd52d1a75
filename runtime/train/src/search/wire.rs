//! What the first worker of a search and the others say to each other.
//!
//! ```text
//!   0 ──► Word::Task, with the state from which the trial goes on      Word::Done
//!   0 ◄── Pace …, Said::State (the state), …, Said::Reached or Said::Failed, or Said::Left
//! ```

use sconce_contract::search::{Domain, Parameter};
use sconce_contract::{Failure, Search};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::schedule::Job;

/// The first worker says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Word {
    /// Carry this out.
    Task(Task),
    /// Nothing is left to do.
    Done,
}

/// Another worker says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Said {
    /// The trial's state, in two parts behind it: keep it under this name.
    State(String),
    /// The bits of the value that the trial reached.
    Reached(u64),
    /// The trial failed, which is its own fault.
    Failed(Failure),
    /// The worker goes, and why; the trial is not done.
    Left(String),
}

/// How far a worker is with its task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Pace {
    /// Finished steps of the trial.
    pub step: u64,
    /// Steps of the trial in all.
    pub total_steps: u64,
    /// Epochs of the trial in all.
    pub epochs: u32,
}

/// A job, said so that it comes to the bit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Task {
    trial: u32,
    rung: usize,
    epochs: u32,
    point: Vec<Coordinate>,
    /// Name of the state from which it goes on, which is in two parts behind it.
    pub state: Option<String>,
}

/// A value of a parameter. JSON's decimal digits need not come back as they went, so a value that both know is said by its
/// place, and a number by its bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
enum Coordinate {
    Choice(usize),
    Whole(u64),
    Number(u64),
}

impl Task {
    /// To carry out this job of the search; nothing where it is none of its space.
    pub fn of(search: &Search, job: &Job, state: Option<String>) -> Option<Self> {
        let values = search.space.iter().zip(&job.point);
        let point = values.map(|(parameter, value)| said(parameter, value));
        Some(Task {
            trial: job.trial,
            rung: job.rung,
            epochs: job.epochs,
            point: point.collect::<Option<_>>()?,
            state,
        })
    }

    /// The job; nothing where the search has no such one.
    pub fn job(&self, search: &Search, rungs: &[u32]) -> Option<Job> {
        let is_one = self.trial < search.trials()
            && rungs.get(self.rung) == Some(&self.epochs)
            && self.point.len() == search.space.len();
        let values = search.space.iter().zip(&self.point);
        let point = values.map(|(parameter, place)| heard(parameter, *place));
        Some(Job {
            trial: self.trial,
            rung: self.rung,
            epochs: self.epochs,
            point: point.collect::<Option<_>>()?,
        })
        .filter(|_| is_one)
    }
}

fn said(parameter: &Parameter, value: &Value) -> Option<Coordinate> {
    Some(match parameter.domain()? {
        Domain::Choice(values) => Coordinate::Choice(values.iter().position(|other| other == value)?),
        Domain::Int(_) => Coordinate::Whole(value.as_u64()?),
        Domain::Uniform(_) | Domain::LogUniform(_) => Coordinate::Number(value.as_f64()?.to_bits()),
    })
}

fn heard(parameter: &Parameter, place: Coordinate) -> Option<Value> {
    match (parameter.domain()?, place) {
        (Domain::Choice(values), Coordinate::Choice(index)) => values.get(index).cloned(),
        (Domain::Int(range), Coordinate::Whole(value)) => {
            let range = u64::from(range.min)..=u64::from(range.max);
            range.contains(&value).then(|| value.into())
        }
        (Domain::Uniform(range) | Domain::LogUniform(range), Coordinate::Number(bits)) => {
            let value = f64::from_bits(bits);
            (range.min..=range.max).contains(&value).then(|| value.into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn search() -> Search {
        serde_json::from_value(json!({
            "objective": {"metric": "loss"}, "maxTrials": 9,
            "space": [
                {"path": "a", "logUniform": {"min": 0.0001, "max": 0.3}},
                {"path": "b", "choice": [[{"dense": {"units": 1}}], 0.3, "c", null]},
                {"path": "c", "int": {"min": 3, "max": 7}},
            ],
        }))
        .unwrap()
    }

    fn job(point: Value) -> Job {
        Job {
            trial: 8,
            rung: 1,
            epochs: 9,
            point: serde_json::from_value(point).unwrap(),
        }
    }

    fn through(task: &Task) -> Task {
        serde_json::from_slice(&serde_json::to_vec(task).unwrap()).unwrap()
    }

    #[test]
    fn a_task_is_the_job_to_the_bit() {
        let search = search();
        // The last of them does not come back from JSON's digits.
        for rate in [
            0.0001,
            0.3,
            0.1 + 0.2 - 1e-16,
            0.012_345,
            0.047_835_720_614_582_675,
        ] {
            for chosen in [
                json!([{"dense": {"units": 1}}]),
                json!(0.3),
                json!("c"),
                json!(null),
            ] {
                let mut job = job(json!([0, chosen, 5]));
                job.point[0] = rate.into();
                let task = through(&Task::of(&search, &job, Some("step-1".to_owned())).unwrap());
                let found = task.job(&search, &[3, 9]).unwrap();
                assert_eq!(found, job);
                assert_eq!(found.point[0].as_f64().unwrap().to_bits(), f64::to_bits(rate));
                assert_eq!(task.state.as_deref(), Some("step-1"));
            }
        }
    }

    #[test]
    fn a_task_that_the_search_cannot_give_is_none() {
        let search = search();
        let good = Task::of(&search, &job(json!([0.01, "c", 5])), None).unwrap();
        assert!(good.job(&search, &[3, 9]).is_some());
        let changed = |change: fn(&mut Task)| {
            let mut task = good.clone();
            change(&mut task);
            task.job(&search, &[3, 9])
        };
        for found in [
            changed(|task| task.trial = 9),
            changed(|task| task.rung = 0),
            changed(|task| task.rung = usize::MAX),
            changed(|task| task.epochs = 8),
            changed(|task| task.point.truncate(2)),
            changed(|task| task.point.push(Coordinate::Whole(5))),
            changed(|task| task.point[1] = Coordinate::Choice(4)),
            changed(|task| task.point[2] = Coordinate::Whole(8)),
            changed(|task| task.point[2] = Coordinate::Choice(0)),
            changed(|task| task.point[0] = Coordinate::Number(f64::NAN.to_bits())),
            changed(|task| task.point[0] = Coordinate::Number(1.0_f64.to_bits())),
        ] {
            assert_eq!(found, None);
        }
        assert_eq!(Task::of(&search, &job(json!([0.01, "d", 5])), None), None);
    }
}
