//! Event files for TensorBoard, in a folder of the run's own beside the artifacts.
//!
//! ```text
//! OUTPUT/tensorboard/NAME/RUN/events.out.tfevents.SECONDS.sconce-DATA.N   one for each pod that worked on the run
//! ```

use std::collections::BTreeSet;
use std::time::Duration;

use sconce_contract::{MetricSplit, Report, TrainingPlan};
use sconce_store::Store;

use super::events::{self, Event};
use super::{Ended, Point, Sink, Told};

/// Name of the folder beside the artifacts.
const FOLDER: &str = "tensorboard";
/// Longest file of an earlier pod that is read; ours have less than 200 KB.
const LIMIT: u64 = 16 << 20;

/// The event files of a run.
pub(super) struct Board {
    store: Store,
    /// URI of the run's folder.
    folder: String,
    /// What is known of the run, in Markdown.
    about: String,
    /// What the names of this pod's files have in them: of which data they tell.
    mark: String,
    /// URI of this pod's file, once it is known what others have written.
    file: Option<String>,
    bytes: Vec<u8>,
    written: usize,
    /// Tags and steps that are there, in this file or another.
    there: BTreeSet<(String, u64)>,
}

impl Board {
    pub(super) fn new(plan: &TrainingPlan, output: &Store, told: &Told) -> Self {
        Board {
            store: output.clone(),
            folder: format!(
                "{}/{FOLDER}/{}/{}",
                plan.output.trim_end_matches('/'),
                plan.name,
                plan.run
            ),
            about: about(told),
            mark: format!(".sconce-{:.12}.", told.data),
            file: None,
            bytes: Vec::new(),
            written: 0,
            there: BTreeSet::new(),
        }
    }

    /// Looks at what earlier pods wrote, and begins a file of its own: theirs may end in the middle of a record.
    fn open(&mut self) -> Result<String, String> {
        if let Some(file) = &self.file {
            return Ok(file.clone());
        }
        let names = self
            .store
            .files(&self.folder)
            .map_err(|error| error.to_string())?;
        let names = names.unwrap_or_default();
        for name in &names {
            // A run whose table became another one begins again: what was told of the other is not of this one.
            if !name.contains(&self.mark) {
                continue;
            }
            let uri = format!("{}/{name}", self.folder);
            let bytes = self.store.read(&uri, LIMIT).map_err(|error| error.to_string())?;
            self.there.extend(events::scalars(&bytes));
        }
        let now = Point::now();
        let file = format!(
            "{}/events.out.tfevents.{:010}{}{}",
            self.folder,
            now / 1000,
            self.mark,
            names.len()
        );
        events::append(&Event::Version, now, &mut self.bytes);
        let last = self.there.iter().map(|(_, step)| *step).max();
        if !names.is_empty() {
            // Whoever reads takes what follows for the same run, which went on here.
            let step = last.map_or(0, |last| last + 1);
            events::append(&Event::Start { step }, now, &mut self.bytes);
        }
        let text = Event::Text {
            tag: "run",
            text: &self.about,
        };
        events::append(&text, now, &mut self.bytes);
        self.file = Some(file.clone());
        Ok(file)
    }

    /// Those that are not there yet.
    fn add(&mut self, step: u64, time: i64, values: Vec<(String, f64)>) {
        let mut fresh = Vec::new();
        for (tag, value) in values {
            if value.is_finite() && self.there.insert((tag.clone(), step)) {
                fresh.push((tag, value));
            }
        }
        if !fresh.is_empty() {
            events::append(&Event::Scalars { step, values: &fresh }, time, &mut self.bytes);
        }
    }
}

impl Sink for Board {
    fn name(&self) -> &'static str {
        "TensorBoard"
    }

    fn pause(&self) -> Duration {
        let is_here = ["pvc://", "file://"]
            .iter()
            .any(|scheme| self.folder.starts_with(scheme));
        // In a cloud the whole file is written each time.
        Duration::from_secs(if is_here { 1 } else { 30 })
    }

    fn send(&mut self, points: &[Point], ended: Option<&Ended>) -> Result<(), String> {
        let file = self.open()?;
        for point in points {
            self.add(point.step, point.time, of_point(point));
        }
        if let Some(Ended::Trained(report)) = ended
            && let Report::Trained { metrics, steps, .. } = &**report
        {
            let values = metrics.iter().map(|metric| {
                let rows = match metric.split {
                    MetricSplit::Train => "train",
                    // The curve has it, as it was before the best weights were put back.
                    MetricSplit::Validation => "final_validation",
                    MetricSplit::Test => "test",
                };
                (format!("{}/{rows}", metric.name), metric.value)
            });
            self.add(*steps, Point::now(), values.collect());
        }
        let written = self.store.grow_file(&file, &self.bytes, self.written);
        written.map_err(|error| error.to_string())?;
        self.written = self.bytes.len();
        Ok(())
    }
}

fn of_point(point: &Point) -> Vec<(String, f64)> {
    let mut values = vec![("loss/train".to_owned(), point.loss)];
    values.extend(
        point
            .validation_loss
            .map(|loss| ("loss/validation".to_owned(), loss)),
    );
    let metrics = point.metrics.iter();
    values.extend(metrics.map(|(name, value)| (format!("{name}/validation"), *value)));
    values.push(("learning_rate".to_owned(), point.learning_rate));
    values.extend(
        point
            .rows_per_second
            .map(|rows| ("rows_per_second".to_owned(), rows)),
    );
    values
}

fn about(told: &Told) -> String {
    let mut text = format!(
        "{}, run {}, {}, data sha256:{}\n\n| field | value |\n|---|---|\n",
        told.name, told.run, told.trainer, told.data
    );
    for (field, value) in &told.settings {
        text += &format!(
            "| {field} | {} |\n",
            value.replace(['\n', '\r'], " ").replace('|', "\\|")
        );
    }
    text
}
