//! The model that is served already, measured on the same held-out rows.
//!
//! It reads the table by its own preprocessing: its columns are found by name, its words by their text, so that it
//! answers as its server would.

use std::collections::HashMap;

use sconce_contract::{Evaluation, Feature, Incumbent, Metric, MetricName, MetricSplit, TrainingPlan};
use sconce_engine::metrics::{self, Predictions, Targets};
use sconce_model::{Model, encode};
use sconce_store::Store;

use crate::TrainError;
use crate::split::Parts;
use crate::table::Table;
use crate::target::Target;

/// The field that asks for it.
const FIELD: &str = "evaluation.gates";

/// What the incumbent reaches in the metrics of gates with `beats`; nothing where no gate has one.
pub fn measure(
    store: &Store,
    plan: &TrainingPlan,
    table: &Table,
    parts: &Parts,
    target: &Target,
    split: MetricSplit,
) -> Result<Option<Incumbent>, TrainError> {
    let asked = asked(&plan.evaluation);
    if asked.is_empty() {
        return Ok(None);
    }
    let Some(served) = &plan.incumbent else {
        return Ok(Some(Incumbent::default()));
    };
    let model = Model::load(store, &served.uri, Some(&served.digest)).map_err(TrainError::Incumbent)?;
    let rows = match split {
        MetricSplit::Validation => &parts.validation,
        _ => &parts.test,
    };
    let outputs = predict(&model, table, rows)?;
    let (numbers, classes);
    let targets = match (target, model.classes()) {
        (Target::Numbers(all), None) => {
            numbers = rows.iter().map(|row| all[*row]).collect::<Vec<_>>();
            Targets::Numbers(&numbers)
        }
        (Target::Classes { names, rows: all }, Some(known)) if names == known => {
            classes = rows.iter().map(|row| all[*row]).collect::<Vec<_>>();
            Targets::Classes(&classes)
        }
        _ => {
            return Err(unlike(
                "it predicts other classes, or numbers where these are classes",
            ));
        }
    };
    let predictions = Predictions {
        outputs: &outputs,
        width: model.outputs(),
        targets,
    };
    // One that these rows leave without a value is missing, and the gate says so.
    let metrics = asked.into_iter().filter_map(|name| {
        let value = metrics::measure(name, &predictions)?;
        Some(Metric { name, value, split })
    });
    Ok(Some(Incumbent {
        digest: Some(served.digest.clone()),
        metrics: metrics.collect(),
    }))
}

fn asked(evaluation: &Evaluation) -> Vec<MetricName> {
    let gates = evaluation.gates.iter().filter(|gate| gate.beats.is_some());
    gates.map(|gate| gate.metric).collect()
}

fn predict(model: &Model, table: &Table, rows: &[usize]) -> Result<Vec<f32>, TrainError> {
    let width = table.features.len();
    let positions: HashMap<&str, usize> = table
        .features
        .iter()
        .map(|column| column.name.as_str())
        .zip(0..)
        .collect();
    let readers = model
        .features()
        .iter()
        .map(|feature| Reader::of(feature, table, &positions));
    let readers = readers.collect::<Result<Vec<_>, _>>()?;
    let mut outputs = Vec::new();
    for piece in rows.chunks(model.rows_per_step()) {
        let mut raw = Vec::with_capacity(piece.len() * readers.len());
        for row in piece {
            raw.extend(
                readers
                    .iter()
                    .map(|reader| reader.read(&table.values[row * width..(row + 1) * width])),
            );
        }
        outputs.extend(model.predict(&raw, piece.len()).map_err(TrainError::Incumbent)?);
    }
    Ok(outputs)
}

/// How the incumbent reads a column of the table.
struct Reader {
    position: usize,
    /// Of words: the incumbent's place of each of the table's.
    words: Option<Vec<f32>>,
}

impl Reader {
    fn of(feature: &Feature, table: &Table, positions: &HashMap<&str, usize>) -> Result<Self, TrainError> {
        let Some(&position) = positions.get(feature.name.as_str()) else {
            return Err(unlike(&format!(
                "it reads the column {:?}, which is no feature here",
                feature.name
            )));
        };
        let words = match (&feature.vocabulary, &table.features[position].words) {
            (None, None) => None,
            (Some(known), Some(words)) => {
                let place =
                    |word: &String| encode::place(&known.words, word).map_or(encode::UNKNOWN, |at| at as f32);
                Some(words.iter().map(place).collect())
            }
            _ => {
                return Err(unlike(&format!(
                    "the column {:?} holds numbers for one of them and words for the other",
                    feature.name
                )));
            }
        };
        Ok(Reader { position, words })
    }

    fn read(&self, row: &[f32]) -> f32 {
        let value = row[self.position];
        match &self.words {
            Some(places) if !value.is_nan() => places.get(value as usize).copied().unwrap_or(encode::UNKNOWN),
            _ => value,
        }
    }
}

fn unlike(problem: &str) -> TrainError {
    let problem = format!(
        "the incumbent cannot be measured on this table: {problem}; take `beats` out of the gates \
         until the new model is served"
    );
    TrainError::setting(FIELD, problem)
}
