//! The curve of a run for the tools in which people look at curves.
//!
//! ```text
//!   learn ── a point after an epoch ──► Tracker ──► a thread: TensorBoard ──► OUTPUT/tensorboard/NAME/RUN/events…
//!                                          │
//!                                          └──────► a thread: MLflow, where MLFLOW_TRACKING_URI is set
//! ```
//!
//! What goes wrong there is a warning, and never costs a training more than [`PATIENCE`]. Who went on from a checkpoint
//! knows the curve before it, and each tool is asked what it has: no step is told twice.

mod curve;
pub mod events;
mod mlflow;
mod mlflow_client;
mod tensorboard;
mod told;

use std::{
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread,
    time::{Duration, Instant},
};

use sconce_contract::{FailureClass, Report, TrainingPlan};
use sconce_store::Store;

pub use curve::{Curve, Pace, Point};
pub use told::Told;
pub(crate) use told::flatten;

use crate::TrainError;

/// How long a training that is over waits for what is still to be told.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long to wait after something went wrong.
const AGAIN: Duration = Duration::from_secs(30);

/// One tool.
trait Sink: Send {
    /// Its name, for warnings.
    fn name(&self) -> &'static str;

    /// How long points are gathered before they are sent.
    fn pause(&self) -> Duration;

    /// Sends points, and at last how the run ended. What failed is sent again with what came after it: a point that has
    /// arrived is passed over.
    fn send(&mut self, points: &[Point], ended: Option<&Ended>) -> Result<(), String>;
}

/// How a run ended.
#[derive(Clone, Debug)]
pub enum Ended {
    /// With an artifact.
    Trained(Box<Report>),
    /// It was told to stop; another pod goes on.
    Interrupted,
    /// It failed, with a sentence.
    Failed(String),
}

impl Ended {
    /// Of what came of a run.
    pub fn of(result: &Result<Report, TrainError>) -> Self {
        match result {
            Ok(report) => Ended::Trained(Box::new(report.clone())),
            Err(error) if error.class() == FailureClass::Interrupted => Ended::Interrupted,
            Err(error) => Ended::Failed(error.to_string()),
        }
    }
}

enum Word {
    Point(Point),
    End(Ended),
}

/// Tells the tools.
#[derive(Debug)]
pub struct Tracker {
    listeners: Vec<(&'static str, Sender<Word>, Receiver<()>)>,
    is_over: bool,
}

impl Tracker {
    /// Of a run that has this curve behind it.
    pub fn start(plan: &TrainingPlan, output: &Store, told: &Told, curve: &Curve) -> Self {
        let mut sinks: Vec<Box<dyn Sink>> = vec![Box::new(tensorboard::Board::new(plan, output, told))];
        match mlflow::Settings::from_environment() {
            Ok(Some(settings)) => sinks.push(Box::new(mlflow::Runs::new(settings, told))),
            Ok(None) => {}
            Err(problem) => tracing::warn!(problem, "the run is not told to MLflow"),
        }
        let mut listeners = Vec::new();
        for sink in sinks {
            let name = sink.name();
            let (sender, words) = mpsc::channel();
            let (ends, ended) = mpsc::channel();
            let points = curve.points().to_vec();
            let started = thread::Builder::new().name("tracker".into()).spawn(move || {
                listen(sink, points, &words);
                // Whoever waits is told, or gone.
                let _ = ends.send(());
            });
            match started {
                Ok(_) => listeners.push((name, sender, ended)),
                Err(error) => tracing::warn!(%error, "the run is not told to {name}"),
            }
        }
        Tracker {
            listeners,
            is_over: false,
        }
    }

    /// Tells of a point.
    pub fn tell(&self, point: &Point) {
        self.send(&|| Word::Point(point.clone()));
    }

    /// Tells how the run ended, and waits until the tools know it, but not for long.
    pub fn end(&mut self, ended: &Ended) {
        if std::mem::replace(&mut self.is_over, true) {
            return;
        }
        self.send(&|| Word::End(ended.clone()));
        let until = Instant::now() + PATIENCE;
        for (name, _, ended) in &self.listeners {
            let left = until.saturating_duration_since(Instant::now());
            if let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(left) {
                tracing::warn!("the end of the run is not told to {name}: it takes too long");
            }
        }
    }

    fn send(&self, word: &dyn Fn() -> Word) {
        for (_, sender, _) in &self.listeners {
            // Who no longer listens has said why.
            let _ = sender.send(word());
        }
    }
}

impl Drop for Tracker {
    /// A panic is an end, too.
    fn drop(&mut self) {
        self.end(&Ended::Failed("the trainer is at fault".to_owned()));
    }
}

/// Gathers points and sends them, until the run has ended.
fn listen(mut sink: Box<dyn Sink>, points: Vec<Point>, words: &Receiver<Word>) {
    let mut waiting = points;
    let mut warned = false;
    // Where a run begins can be seen before its first point.
    let mut due = Some(Instant::now());
    loop {
        let left = due.map_or(AGAIN, |due| due.saturating_duration_since(Instant::now()));
        let ended = match words.recv_timeout(left) {
            Ok(Word::Point(point)) => {
                waiting.push(point);
                due = due.or_else(|| Some(Instant::now() + sink.pause()));
                None
            }
            Ok(Word::End(ended)) => Some(ended),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        if ended.is_none() && due.is_none_or(|due| due > Instant::now()) {
            continue;
        }
        match sink.send(&waiting, ended.as_ref()) {
            Ok(()) => {
                waiting.clear();
                due = None;
            }
            Err(error) => {
                if !std::mem::replace(&mut warned, true) {
                    tracing::warn!(
                        error,
                        "the run is not told to {}; the training goes on",
                        sink.name()
                    );
                }
                due = Some(Instant::now() + AGAIN);
            }
        }
        if ended.is_some() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex, PoisonError};

    use super::*;

    /// The steps of each attempt, and whether it was the end.
    type Arrived = Arc<Mutex<Vec<(Vec<u64>, bool)>>>;

    /// What arrives where the first attempts fail.
    struct Deaf {
        failures: usize,
        arrived: Arrived,
    }

    impl Sink for Deaf {
        fn name(&self) -> &'static str {
            "Deaf"
        }

        fn pause(&self) -> Duration {
            Duration::ZERO
        }

        fn send(&mut self, points: &[Point], ended: Option<&Ended>) -> Result<(), String> {
            if self.failures > 0 {
                self.failures -= 1;
                return Err("nobody there".to_owned());
            }
            let steps = points.iter().map(|point| point.step).collect();
            let mut arrived = self.arrived.lock().unwrap_or_else(PoisonError::into_inner);
            arrived.push((steps, ended.is_some()));
            Ok(())
        }
    }

    #[test]
    fn what_failed_is_sent_again_and_the_end_is_the_last_attempt() {
        for (failures, expected) in [(1, vec![(vec![1, 2, 3], true)]), (2, vec![])] {
            let arrived = Arrived::default();
            let sink = Deaf {
                failures,
                arrived: Arc::clone(&arrived),
            };
            let (sender, words) = mpsc::channel();
            for word in [
                Word::Point(Point::at(2)),
                Word::Point(Point::at(3)),
                Word::End(Ended::Interrupted),
            ] {
                sender.send(word).unwrap();
            }
            listen(Box::new(sink), vec![Point::at(1)], &words);
            assert_eq!(*arrived.lock().unwrap(), expected, "after {failures} failures");
        }
    }
}
