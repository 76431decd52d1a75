//! What every tool is told of a run besides its curve.

use sconce_contract::search::Candidate;
use sconce_contract::{FileDigest, TrainingPlan};
use sconce_store::shown;
use serde_json::Value;

use crate::data::Data;
use crate::lesson::TRAINER;

/// A run, without secrets.
#[derive(Clone, Debug)]
pub struct Told {
    /// Name of the training.
    pub name: String,
    /// The run.
    pub run: String,
    /// Version of the trainer.
    pub trainer: String,
    /// SHA-256 of the table.
    pub data: String,
    /// What was asked for, by the path of its field: `optimizer.learningRate`.
    pub settings: Vec<(String, String)>,
}

impl Told {
    /// Of what is learned.
    pub fn of(plan: &TrainingPlan, lesson: &Candidate, data: &Data, digest: &FileDigest) -> Self {
        let mut settings = Vec::new();
        let asked = serde_json::to_value(lesson.hyperparameters).unwrap_or_default();
        flatten("", &asked, &mut settings);
        for (index, layer) in lesson.network.layers.iter().enumerate() {
            let layer = serde_json::to_value(layer).unwrap_or_default();
            settings.push((format!("layers.{index}"), layer.to_string()));
        }
        for (name, rows) in [
            ("train", &data.training),
            ("validation", &data.validation),
            ("test", &data.test),
        ] {
            settings.push((format!("rows.{name}"), rows.rows().to_string()));
        }
        settings.push(("dataset".to_owned(), shown(&plan.dataset.uri)));
        settings.push(("target".to_owned(), plan.dataset.target.clone()));
        Told {
            name: plan.name.clone(),
            run: plan.run.clone(),
            trainer: TRAINER.to_owned(),
            data: digest.sha256.clone(),
            settings,
        }
    }
}

/// The leaves of a value with their paths.
pub(crate) fn flatten(path: &str, value: &Value, leaves: &mut Vec<(String, String)>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let path = match path {
                    "" => name.clone(),
                    path => format!("{path}.{name}"),
                };
                flatten(&path, value, leaves);
            }
        }
        Value::String(text) => leaves.push((path.to_owned(), text.clone())),
        other => leaves.push((path.to_owned(), other.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_have_their_paths() {
        let mut leaves = Vec::new();
        let value = json!({"epochs": 3, "optimizer": {"type": "Adam", "learningRate": 0.5}});
        flatten("", &value, &mut leaves);
        leaves.sort();
        let found: Vec<_> = leaves
            .iter()
            .map(|(path, text)| format!("{path}={text}"))
            .collect();
        assert_eq!(
            found,
            ["epochs=3", "optimizer.learningRate=0.5", "optimizer.type=Adam"]
        );
    }
}
