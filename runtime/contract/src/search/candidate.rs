//! A network and hyperparameters with the values of a trial in the place of those of the spec.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Search;
use super::address::{self, Address};
use crate::network::Misfit;
use crate::{Hyperparameters, Network};

/// What a trial trains, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// The network.
    pub network: Network,
    /// How it learns.
    pub hyperparameters: Hyperparameters,
}

/// The part of a spec that a search may change, with its own names.
#[derive(Serialize, Deserialize, JsonSchema)]
struct Changeable {
    hyperparameters: Hyperparameters,
    model: Model,
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Model {
    network: Network,
}

impl Candidate {
    /// The spec's own.
    pub fn of(network: &Network, hyperparameters: &Hyperparameters) -> Self {
        Candidate {
            network: network.clone(),
            hyperparameters: *hyperparameters,
        }
    }

    /// The same with another value at a path.
    ///
    /// # Errors
    /// There is no such field, or it cannot take the value; the field is empty where it is the path's fault, `value` where
    /// it is the value's.
    pub fn with(&self, path: &str, value: &Value) -> Result<Self, Misfit> {
        let Some(address) = Address::parse(path) else {
            let problem = format!(
                "{path:?} is no path: write it as hyperparameters.optimizer.learningRate or \
                 model.network.layers[0].dense.units"
            );
            return Err(Misfit::new("", problem));
        };
        exists(&address)?;
        let changeable = Changeable {
            hyperparameters: self.hyperparameters,
            model: Model {
                network: self.network.clone(),
            },
        };
        let unread = |error: serde_json::Error| {
            let hint = match value.is_f64() {
                true => "; for whole numbers say int or choice",
                false => "",
            };
            Misfit::new("value", format!("{path} cannot be {value}: {error}{hint}"))
        };
        let mut spec = serde_json::to_value(changeable).map_err(unread)?;
        address.set(&mut spec, value.clone()).map_err(|(steps, there)| {
            Misfit::new(
                "",
                format!("there is no {path}: {} in the spec: {there}", address.path(steps)),
            )
        })?;
        let changed: Changeable = serde_json::from_value(spec).map_err(unread)?;
        let understood = serde_json::to_value(&changed).map_err(unread)?;
        let unknown = address
            .get(&understood)
            .and_then(|understood| address::unknown_field(value, understood, path));
        if let Some(field) = unknown {
            return Err(Misfit::new(
                "value",
                format!("there is no field {field}; check its spelling"),
            ));
        }
        Ok(Candidate {
            network: changed.model.network,
            hyperparameters: changed.hyperparameters,
        })
    }

    /// Of what a search may make of it, about the one that has most of what is measured: of each parameter the end that
    /// has most with those before it, for rows of so many columns where that is known. Ends that do not go with the others
    /// do not count.
    pub fn greatest(
        &self,
        search: &Search,
        columns: Option<u64>,
        measure: impl Fn(&Candidate) -> u64,
    ) -> Self {
        search.space.iter().fold(self.clone(), |found, parameter| {
            let ends = parameter.domain().map(|domain| domain.ends()).unwrap_or_default();
            let tried = ends
                .iter()
                .filter_map(|value| found.with(&parameter.path, value).ok());
            let fitting = tried.filter(|candidate| candidate.check(columns).is_ok());
            fitting.max_by_key(&measure).unwrap_or(found)
        })
    }

    /// Refuses what cannot be honoured, for rows of so many columns where that is known.
    ///
    /// # Errors
    /// The first of it, by its path in the spec.
    pub fn check(&self, columns: Option<u64>) -> Result<(), Misfit> {
        self.hyperparameters.check()?;
        self.network.check(columns)
    }
}

/// Refuses a path that no spec has.
fn exists(address: &Address) -> Result<(), Misfit> {
    let schema = schemars::schema_for!(Changeable);
    let schema = schema.as_value();
    let steps = &address.0;
    if address::fields(schema, steps).is_some() {
        return Ok(());
    }
    // The longest part that there is, and what it has.
    let found = (0..steps.len()).rev().find_map(|count| {
        let fields = address::fields(schema, &steps[..count])?;
        Some((count, fields))
    });
    let (count, fields) = found.unwrap_or_default();
    let whole = address.path(steps.len());
    let problem = match (count, fields.is_empty()) {
        (0, _) => format!("{whole} cannot be searched: begin with hyperparameters. or model.network."),
        (_, true) => format!(
            "there is no {whole}: {} has no fields or items",
            address.path(count)
        ),
        (_, false) => format!(
            "there is no {whole}: {} has {}",
            address.path(count),
            fields.join(", ")
        ),
    };
    Err(Misfit::new("", problem))
}
