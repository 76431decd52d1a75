//! The model that is served already, measured on the same held-out rows.
//!
//! It reads the table by its own preprocessing: its columns are found by name, its words by their text, so that it
//! answers as its server would.

use std::borrow::Cow;

use sconce_contract::{Evaluation, Incumbent, Metric, MetricName, MetricSplit, TrainingPlan};
use sconce_engine::metrics::{self, Predictions, Targets};
use sconce_model::Model;
use sconce_store::Store;

use crate::TrainError;
use crate::reader::Reader;
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
    let mut rows = Cow::from(match split {
        MetricSplit::Validation => &parts.validation,
        _ => &parts.test,
    });
    if table.stored.is_some() {
        rows.to_mut().sort_unstable();
    }
    let outputs = predict(&model, table, &rows)?;
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
    let readers = Reader::of(model.features(), table).map_err(|problem| unlike(&problem))?;
    let mut outputs = Vec::new();
    for piece in rows.chunks(model.rows_per_step()) {
        let mut raw = Vec::with_capacity(piece.len() * readers.len());
        table.some(piece, |row| {
            readers.iter().for_each(|reader| reader.read(row, &mut raw));
        })?;
        outputs.extend(model.predict(&raw, piece.len()).map_err(TrainError::Incumbent)?);
    }
    Ok(outputs)
}

fn unlike(problem: &str) -> TrainError {
    let problem = format!(
        "the incumbent cannot be measured on this table: {problem}; take `beats` out of the gates \
         until the new model is served"
    );
    TrainError::setting(FIELD, problem)
}
