//! Whether every value that a trial may take is one that its field can take.

use serde_json::Value;

use super::address::Address;
use super::{
    Algorithm, CHOICE_LIMIT, Candidate, Domain, MIN_EPOCHS, Parameter, REDUCTION_FACTOR, SPACE_LIMIT, Search,
    TRIALS_LIMIT,
};
use crate::network::Misfit;
use crate::{Hyperparameters, MetricName, Network};

/// Combinations of the other parameters that a value is tried with before it counts as one that fits none.
const COMBINATIONS: usize = 256;
/// What changes what the loss is, and so makes the losses of two trials incomparable.
const OF_THE_LOSS: &[&str] = &["loss", "huberDelta", "labelSmoothing", "classWeights"];

impl Search {
    /// Refuses a search that could not be carried out for rows of so many columns; where that is not known yet, for what
    /// no number of columns would mend.
    ///
    /// # Errors
    /// The first thing that is wrong, by its path in the spec of a ModelTraining.
    pub fn check(
        &self,
        network: &Network,
        hyperparameters: &Hyperparameters,
        columns: Option<u64>,
    ) -> Result<(), Misfit> {
        self.bounds()?;
        for (index, parameter) in self.space.iter().enumerate() {
            domain(parameter).map_err(|misfit| misfit.within(&field(index)))?;
        }
        self.paths()?;
        self.grid()?;
        self.asha(hyperparameters)?;
        self.objective()?;
        let base = Candidate::of(network, hyperparameters);
        for (index, parameter) in self.space.iter().enumerate() {
            self.values(&base, index, parameter, columns)?;
        }
        Ok(())
    }

    fn bounds(&self) -> Result<(), Misfit> {
        for (holds, field, problem) in [
            (
                (1..=TRIALS_LIMIT).contains(&self.max_trials),
                "maxTrials",
                "must be between 1 and 1000",
            ),
            (
                (1..=64).contains(&self.parallel_trials),
                "parallelTrials",
                "must be between 1 and 64",
            ),
            (
                (1..=SPACE_LIMIT).contains(&self.space.len()),
                "space",
                "must have 1 to 16 parameters",
            ),
            (
                self.reduction_factor
                    .is_none_or(|factor| (2..=16).contains(&factor)),
                "reductionFactor",
                "must be between 2 and 16",
            ),
            (
                self.min_epochs
                    .is_none_or(|epochs| (1..=100_000).contains(&epochs)),
                "minEpochs",
                "must be between 1 and 100000",
            ),
        ] {
            if !holds {
                return Err(Misfit::new(format!("search.{field}"), problem));
            }
        }
        Ok(())
    }

    fn paths(&self) -> Result<(), Misfit> {
        let addresses: Vec<_> = self
            .space
            .iter()
            .map(|parameter| Address::parse(&parameter.path))
            .collect();
        for (index, address) in addresses.iter().enumerate() {
            let before = addresses[..index].iter();
            let holds = |other: &Option<Address>| {
                address
                    .as_ref()
                    .zip(other.as_ref())
                    .is_some_and(|(a, b)| a.overlaps(b))
            };
            if let Some(other) = before.into_iter().position(holds) {
                let problem = format!(
                    "{} is varied by {} too: leave one of them out",
                    self.space[index].path,
                    field(other)
                );
                return Err(Misfit::new(format!("{}.path", field(index)), problem));
            }
        }
        Ok(())
    }

    fn grid(&self) -> Result<(), Misfit> {
        if self.algorithm != Algorithm::Grid {
            return Ok(());
        }
        let uncounted = self
            .space
            .iter()
            .position(|parameter| parameter.domain().is_some_and(|domain| domain.count().is_none()));
        if let Some(index) = uncounted {
            let problem = "Grid tries each value: give choice or int, not uniform or logUniform";
            return Err(Misfit::new(field(index), problem));
        }
        match self.combinations() {
            Some(count) if count <= u64::from(self.max_trials) => Ok(()),
            count => Err(Misfit::new(
                "search.maxTrials",
                format!(
                    "the grid has {} combinations, but there are {} trials: raise it, or give fewer values",
                    count.map_or("too many".to_owned(), |count| count.to_string()),
                    self.max_trials
                ),
            )),
        }
    }

    fn asha(&self, hyperparameters: &Hyperparameters) -> Result<(), Misfit> {
        if self.algorithm != Algorithm::Asha {
            let given = [
                (self.reduction_factor, "reductionFactor"),
                (self.min_epochs, "minEpochs"),
            ];
            return match given.iter().find(|(value, _)| value.is_some()) {
                Some((_, name)) => Err(Misfit::new(
                    format!("search.{name}"),
                    "works with algorithm ASHA only",
                )),
                None => Ok(()),
            };
        }
        let epochs = "hyperparameters.epochs";
        if let Some(index) = self.space.iter().position(|parameter| parameter.path == epochs) {
            let problem = format!("ASHA decides how long a trial learns, up to {epochs}: leave it out");
            return Err(Misfit::new(format!("{}.path", field(index)), problem));
        }
        let factor = self.reduction_factor.unwrap_or(REDUCTION_FACTOR);
        let first = self.min_epochs.unwrap_or(MIN_EPOCHS);
        if hyperparameters.epochs < first.saturating_mul(factor) {
            return Err(Misfit::new(
                epochs,
                format!(
                    "{} is too few for ASHA, which first compares trials after {first} and lets the best learn {factor} \
                     times as long: raise it to {} or more, or choose another search.algorithm",
                    hyperparameters.epochs,
                    first.saturating_mul(factor)
                ),
            ));
        }
        Ok(())
    }

    fn objective(&self) -> Result<(), Misfit> {
        if self.objective.metric != MetricName::Loss {
            return Ok(());
        }
        let changes = |parameter: &&Parameter| {
            let name = parameter.path.strip_prefix("hyperparameters.");
            name.is_some_and(|name| name.is_empty() || OF_THE_LOSS.contains(&name))
        };
        match self.space.iter().find(changes) {
            Some(parameter) => Err(Misfit::new(
                "search.objective.metric",
                format!(
                    "the losses of trials with another {} cannot be compared: choose another metric, such as logLoss, \
                     accuracy, rmse or mae",
                    parameter.path
                ),
            )),
            None => Ok(()),
        }
    }

    /// Each value must be right with some values of the others: what goes with what is the trials' to find out.
    fn values(
        &self,
        base: &Candidate,
        index: usize,
        parameter: &Parameter,
        columns: Option<u64>,
    ) -> Result<(), Misfit> {
        let Some(domain) = parameter.domain() else {
            return Ok(());
        };
        let within = field(index);
        for (place, value) in domain.ends().iter().enumerate() {
            let named = named(&within, &domain, place);
            let of_path = |misfit: Misfit| match misfit.field.as_str() {
                "" => Misfit::new(format!("{within}.path"), misfit.problem),
                "value" => Misfit::new(named.clone(), misfit.problem),
                _ => {
                    let problem = format!("{value} does not do: {}: {}", misfit.field, misfit.problem);
                    Misfit::new(named.clone(), problem)
                }
            };
            let candidate = base.with(&parameter.path, value).map_err(of_path)?;
            let Err(first) = candidate.check(columns) else {
                continue;
            };
            if !self.fits_with_others(base, index, value, columns) {
                return Err(of_path(first));
            }
        }
        Ok(())
    }

    fn fits_with_others(&self, base: &Candidate, index: usize, value: &Value, columns: Option<u64>) -> bool {
        let others: Vec<(&str, Vec<Value>)> = self
            .space
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != index)
            .filter_map(|(_, other)| Some((other.path.as_str(), other.domain()?.ends())))
            .collect();
        let counts = others.iter().map(|(_, values)| values.len().max(1));
        let all = counts.fold(1, usize::saturating_mul).min(COMBINATIONS);
        (0..all).any(|mut number| {
            let with_others = others.iter().try_fold(base.clone(), |candidate, (path, values)| {
                let value = &values[number % values.len().max(1)];
                number /= values.len().max(1);
                candidate.with(path, value)
            });
            let candidate = with_others.and_then(|candidate| candidate.with(&self.space[index].path, value));
            candidate.is_ok_and(|candidate| candidate.check(columns).is_ok())
        })
    }
}

/// Path of a parameter.
fn field(index: usize) -> String {
    format!("search.space[{index}]")
}

/// Path of one of a domain's ends.
fn named(within: &str, domain: &Domain<'_>, place: usize) -> String {
    let end = if place == 0 { "min" } else { "max" };
    match domain {
        Domain::Choice(_) => format!("{within}.choice[{place}]"),
        Domain::Int(_) => format!("{within}.int.{end}"),
        Domain::Uniform(_) => format!("{within}.uniform.{end}"),
        Domain::LogUniform(_) => format!("{within}.logUniform.{end}"),
    }
}

fn domain(parameter: &Parameter) -> Result<(), Misfit> {
    let Some(domain) = parameter.domain() else {
        let problem = "exactly one of choice, int, uniform and logUniform is needed";
        return Err(Misfit::new("", problem));
    };
    match domain {
        Domain::Choice(values) if values.len() > CHOICE_LIMIT => Err(Misfit::new(
            "choice",
            format!("{} values are too many: give 1 to {CHOICE_LIMIT}", values.len()),
        )),
        Domain::Int(range) if range.min >= range.max => Err(Misfit::new("int", "min must be below max")),
        Domain::Uniform(range) if !(range.min < range.max && (range.max - range.min).is_finite()) => {
            Err(Misfit::new("uniform", "min must be below max"))
        }
        Domain::LogUniform(range) if !(range.min > 0.0 && range.min < range.max && range.max.is_finite()) => {
            Err(Misfit::new("logUniform", "min must be above 0 and below max"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
