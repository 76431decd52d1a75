//! The network and how it learned.

use sconce_contract::network::{LayerKind, Outline};
use serde_json::Value;

use super::Subject;
use super::markdown::{code, grouped, plain, table};
use crate::track::flatten;

/// The layers with their shapes and parameters.
pub(super) fn network(subject: &Subject<'_>) -> String {
    let inputs: usize = subject
        .preprocess
        .features
        .iter()
        .map(sconce_contract::Feature::width)
        .sum();
    let outlines = subject.network.outline(Some(inputs as u64)).unwrap_or_default();
    let mut rows = Vec::new();
    for (index, (layer, outline)) in subject.network.layers.iter().zip(&outlines).enumerate() {
        let name = layer.kind().map_or("", LayerKind::name);
        let given = serde_json::to_value(layer).unwrap_or_default();
        let mut settings = Vec::new();
        flatten("", &given[name], &mut settings);
        let settings: Vec<String> = settings
            .iter()
            .map(|(path, value)| format!("{path} {value}"))
            .collect();
        let shape: Vec<String> = outline.output.dims().iter().map(ToString::to_string).collect();
        rows.push(vec![
            index.to_string(),
            format!("{} {}", code(name), plain(&settings.join(", ")))
                .trim_end()
                .to_owned(),
            shape.join(" × "),
            grouped(outline.parameters()),
        ]);
    }
    let total = outlines.iter().map(Outline::parameters).sum();
    format!(
        "## Network\n\n{inputs} input(s), {} parameters.\n\n{}",
        grouped(total),
        table(&["", "layer", "output", "parameters:"], &rows)
    )
}

/// The hyperparameters, and the search that found them.
pub(super) fn settings(subject: &Subject<'_>) -> String {
    let mut leaves = Vec::new();
    let given = serde_json::to_value(subject.manifest.hyperparameters).unwrap_or(Value::Null);
    flatten("", &given, &mut leaves);
    let rows: Vec<Vec<String>> = leaves
        .iter()
        .map(|(path, value)| vec![code(path), code(value)])
        .collect();
    let mut text = format!("## Hyperparameters\n\n{}", table(&["field", "value"], &rows));
    if let Some(search) = &subject.manifest.search {
        text += &format!(
            "\nFound by a search of {} trials, which are in `manifest.json`.\n",
            search.trials.len()
        );
    }
    text
}
