//! A search over hyperparameters and structure, said in YAML.
//!
//! ```text
//! Search.space ──► Address (where in the spec) ──► candidate: network and hyperparameters with other values
//!      └── check: every value that a trial may take is one that its field can take
//! ```
//!
//! Operator and trainer check by the same code; what draws the values is the trainer's.

mod address;
mod candidate;
mod check;
mod record;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::MetricName;
use crate::validation::rules;

pub use address::unknown_field;
pub use candidate::Candidate;
pub use record::{BestTrial, SearchRecord, SearchReport, TrialNote, TrialRecord};

/// Most parameters of a space.
pub const SPACE_LIMIT: usize = 16;
/// Most trials.
pub const TRIALS_LIMIT: u32 = 1000;
/// Most values of a choice.
pub const CHOICE_LIMIT: usize = 64;
/// ASHA: one in so many goes on, where nothing else is said.
pub const REDUCTION_FACTOR: u32 = 3;
/// ASHA: epochs before the first comparison, where nothing else is said.
pub const MIN_EPOCHS: u32 = 1;

/// Which values are tried, how they are chosen and by what they are compared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(&[
    ("self.algorithm == 'ASHA' || !(has(self.reductionFactor) || has(self.minEpochs))",
     "search.reductionFactor and minEpochs work with algorithm ASHA only"),
    ("self.algorithm != 'Grid' || !self.space.exists(p, has(p.uniform) || has(p.logUniform))",
     "Grid tries each value: give choice or int in search.space, not uniform or logUniform"),
])))]
pub struct Search {
    /// How the values of a trial are chosen.
    #[serde(default)]
    pub algorithm: Algorithm,
    /// What the trials are compared by.
    pub objective: SearchObjective,
    /// Trials in all (1 to 1000).
    #[serde(default = "max_trials")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_trials: u32,
    /// Trials at a time (1 to 64), as far as the pod has cores, or the pods of `nodes.count` have.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 64))]
    pub parallel_trials: u32,
    /// ASHA only: one trial in so many goes on (2 to 16). Default 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 2, max = 16))]
    pub reduction_factor: Option<u32>,
    /// ASHA only: epochs before trials are first compared (1 to 100000). Default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub min_epochs: Option<u32>,
    /// What is varied (1 to 16 parameters); all else stays as the spec says.
    #[schemars(length(min = 1, max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["path"]))]
    pub space: Vec<Parameter>,
}

fn max_trials() -> u32 {
    20
}

fn one() -> u32 {
    1
}

/// How the values of a trial are chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Algorithm {
    /// Independently of one another.
    Random,
    /// Each combination of `choice` and `int` once.
    Grid,
    /// Where earlier trials were good (tree-structured Parzen estimators, Bergstra et al. 2011).
    #[default]
    #[serde(rename = "TPE")]
    Tpe,
    /// At random, and only the best go on after a few epochs (asynchronous successive halving, Li et al. 2020).
    #[serde(rename = "ASHA")]
    Asha,
}

impl Algorithm {
    /// The name as users write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Algorithm::Random => "Random",
            Algorithm::Grid => "Grid",
            Algorithm::Tpe => "TPE",
            Algorithm::Asha => "ASHA",
        }
    }
}

/// What trials are compared by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SearchObjective {
    /// A metric of the validation rows, of which the better value wins.
    pub metric: MetricName,
}

/// A field, and exactly one of `choice`, `int`, `uniform` and `logUniform`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(&[
    // The API server's rules do not see a list of values of any type, such as choice.
    ("[has(self.int), has(self.uniform), has(self.logUniform)].filter(x, x).size() <= 1",
     "a parameter of search.space has exactly one of: choice, int, uniform, logUniform"),
    ("!has(self.int) || self.int.min < self.int.max", "int.min must be below its max"),
    ("!has(self.uniform) || self.uniform.min < self.uniform.max", "uniform.min must be below its max"),
    ("!has(self.logUniform) || (self.logUniform.min > 0.0 && self.logUniform.min < self.logUniform.max)",
     "logUniform.min must be above 0 and below its max"),
])))]
pub struct Parameter {
    /// A field of the spec, such as `model.network.layers[0].dense.units`.
    #[schemars(
        length(max = 128),
        regex(pattern = r"^(hyperparameters|model\.network)[.][][.a-zA-Z0-9]+$")
    )]
    pub path: String,
    /// One of these values (1 to 64), of any kind; even whole layers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "any_values")]
    pub choice: Vec<Value>,
    /// A whole number from min to max.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub int: Option<IntRange>,
    /// A number from min to max.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uniform: Option<Range>,
    /// A number from min to max, each order of magnitude as likely.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_uniform: Option<Range>,
}

fn any_values(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "array", "minItems": 1, "maxItems": CHOICE_LIMIT,
        "items": {"x-kubernetes-preserve-unknown-fields": true}
    })
}

/// Two ends, both included.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Range {
    /// The lowest.
    pub min: f64,
    /// The highest.
    pub max: f64,
}

/// Two ends, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IntRange {
    /// The lowest.
    #[schemars(range(min = 0, max = 2_147_483_647))]
    pub min: u32,
    /// The highest.
    #[schemars(range(min = 0, max = 2_147_483_647))]
    pub max: u32,
}

/// What a parameter may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Domain<'a> {
    /// One of these.
    Choice(&'a [Value]),
    /// A whole number.
    Int(IntRange),
    /// A number.
    Uniform(Range),
    /// A number, even by its logarithm.
    LogUniform(Range),
}

impl Parameter {
    /// What it may be; nothing where none or more than one is given.
    pub fn domain(&self) -> Option<Domain<'_>> {
        let choice = (!self.choice.is_empty()).then_some(Domain::Choice(&self.choice));
        let mut given = [
            choice,
            self.int.map(Domain::Int),
            self.uniform.map(Domain::Uniform),
            self.log_uniform.map(Domain::LogUniform),
        ]
        .into_iter()
        .flatten();
        given.next().filter(|_| given.next().is_none())
    }
}

impl Domain<'_> {
    /// How many values there are; nothing where they are not counted.
    pub fn count(&self) -> Option<u64> {
        match self {
            Domain::Choice(values) => Some(values.len() as u64),
            Domain::Int(range) => Some(u64::from(range.max.saturating_sub(range.min)) + 1),
            Domain::Uniform(_) | Domain::LogUniform(_) => None,
        }
    }

    /// The value with this place, from 0, among those that are counted.
    pub fn at(&self, place: u64) -> Option<Value> {
        match self {
            Domain::Choice(values) => values.get(usize::try_from(place).ok()?).cloned(),
            Domain::Int(range) => {
                let value = u64::from(range.min) + place;
                (value <= u64::from(range.max)).then(|| value.into())
            }
            Domain::Uniform(_) | Domain::LogUniform(_) => None,
        }
    }

    /// All values of a choice, else the two ends: what must be right for all to be.
    pub fn ends(&self) -> Vec<Value> {
        match self {
            Domain::Choice(values) => values.to_vec(),
            Domain::Int(range) => vec![range.min.into(), range.max.into()],
            Domain::Uniform(range) | Domain::LogUniform(range) => vec![range.min.into(), range.max.into()],
        }
    }
}

impl Search {
    /// Combinations of a grid; nothing where they are not counted or too many to be.
    pub fn combinations(&self) -> Option<u64> {
        let counts = self.space.iter().map(|parameter| parameter.domain()?.count());
        counts
            .into_iter()
            .try_fold(1, |product, count| u64::checked_mul(product, count?))
    }

    /// Trials in all.
    pub fn trials(&self) -> u32 {
        match self.algorithm {
            Algorithm::Grid => self
                .combinations()
                .and_then(|count| u32::try_from(count).ok())
                .map_or(self.max_trials, |count| count.min(self.max_trials)),
            _ => self.max_trials,
        }
    }

    /// Trials at a time in each of so many pods, as far as it has cores.
    pub fn trials_per_pod(&self, pods: u32) -> u32 {
        self.parallel_trials.max(1).div_ceil(pods.max(1))
    }

    /// Epochs after which trials are compared, the last of which is all of them.
    pub fn rungs(&self, epochs: u32) -> Vec<u32> {
        if self.algorithm != Algorithm::Asha {
            return vec![epochs];
        }
        let factor = self.reduction_factor.unwrap_or(REDUCTION_FACTOR).max(2);
        let mut rungs = Vec::new();
        let mut next = self.min_epochs.unwrap_or(MIN_EPOCHS).max(1);
        while next < epochs {
            rungs.push(next);
            next = next.saturating_mul(factor);
        }
        rungs.push(epochs);
        rungs
    }
}
