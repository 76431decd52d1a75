//! How loss and metrics went, as a picture.

use std::collections::BTreeSet;

use sconce_chart::{ChartError, Line, Panel};
use sconce_contract::MetricName;
use sconce_contract::history::Series;

use super::Subject;

/// Lines that have a colour of their own.
const LINES: usize = 6;

/// A PNG; nothing where no step was seen.
pub(super) fn drawn(subject: &Subject<'_>) -> Result<Option<Vec<u8>>, ChartError> {
    let panels = panels(subject);
    match panels.is_empty() {
        true => Ok(None),
        false => sconce_chart::png(&panels).map(Some),
    }
}

fn panels(subject: &Subject<'_>) -> Vec<Panel> {
    let mut panels = Vec::new();
    let history = subject.history;
    if !history.is_empty() {
        panels.push(Panel {
            title: format!("{}: loss", subject.plan.name),
            y: "loss".to_owned(),
            lines: vec![
                of_series("training", &history.loss),
                of_series("validation", &history.validation_loss),
            ],
        });
    }
    let points = subject.curve.points();
    let names: BTreeSet<MetricName> = points
        .iter()
        .flat_map(|point| point.metrics.keys().copied())
        .collect();
    let lines: Vec<Line> = names
        .into_iter()
        .take(LINES)
        .map(|name| Line {
            name: name.to_string(),
            points: points
                .iter()
                .filter_map(|point| Some((point.step as f64, *point.metrics.get(&name)?)))
                .collect(),
        })
        .collect();
    if !lines.is_empty() {
        panels.push(Panel {
            title: format!("{}: metrics on the validation rows", subject.plan.name),
            y: "metric".to_owned(),
            lines,
        });
    }
    panels
}

fn of_series(name: &str, series: &Series) -> Line {
    Line {
        name: name.to_owned(),
        points: series.points().map(|(step, loss)| (step as f64, loss)).collect(),
    }
}
