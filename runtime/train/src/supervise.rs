//! Runs the work on its own thread and turns however it ends into a report.

use std::{
    any::Any,
    panic::{self, AssertUnwindSafe},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use sconce_contract::{Report, TrainingPhase};

use crate::{
    TrainError,
    watch::{Stop, Watch},
};

/// How often to look whether the process was told to stop while it waits for the network.
const LOOK: Duration = Duration::from_millis(100);
/// How long reading the table may go on after the process was told to stop: well within the 30 seconds that
/// Kubernetes gives a pod.
const PATIENCE: Duration = Duration::from_secs(5);

/// Name of the thread that does the work.
pub(crate) const WORKER: &str = "trainer";

/// Waits for the work. A panic becomes a failure of ours; a read that hangs is left behind when the process is
/// told to stop.
pub fn supervise(
    watch: &Watch,
    stop: &Stop,
    work: impl FnOnce() -> Result<Report, TrainError> + Send + 'static,
) -> Result<Report, TrainError> {
    let place = remember_place_of_panics();
    let (sender, receiver) = mpsc::channel();
    let worker = thread::Builder::new().name(WORKER.into()).spawn(move || {
        // Nothing that the work could have left half changed is used afterwards but the progress.
        let ended = panic::catch_unwind(AssertUnwindSafe(work));
        // The receiver is gone only where the process is about to end.
        let _ = sender.send(ended);
    });
    if let Err(error) = worker {
        return Err(TrainError::Panic(format!("no thread could be started: {error}")));
    }
    let mut asked_at = None;
    loop {
        match receiver.recv_timeout(LOOK) {
            Ok(Ok(result)) => return result,
            Ok(Err(payload)) => {
                let place = place.lock().unwrap_or_else(PoisonError::into_inner).clone();
                return Err(TrainError::Panic(format!("{}{place}", message(&*payload))));
            }
            Err(RecvTimeoutError::Disconnected) => {
                return Err(TrainError::Panic("the thread ended without a result".into()));
            }
            Err(RecvTimeoutError::Timeout) if stop.asked() => {
                let asked_at: &mut Instant = asked_at.get_or_insert_with(Instant::now);
                let loading = watch.snapshot().progress.phase == TrainingPhase::Loading;
                if loading && asked_at.elapsed() >= PATIENCE {
                    return Err(TrainError::interrupted("while reading the table"));
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

/// Where the last panic of the work was, as the end of a sentence. Panics elsewhere are told as ever.
fn remember_place_of_panics() -> Arc<Mutex<String>> {
    let place = Arc::new(Mutex::new(String::new()));
    let remembered = Arc::clone(&place);
    let otherwise = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if thread::current().name() != Some(WORKER) {
            return otherwise(info);
        }
        let at = info
            .location()
            .map(|at| format!(" ({}:{})", at.file(), at.line()))
            .unwrap_or_default();
        tracing::error!("panic: {}{at}", message(info.payload()));
        *remembered.lock().unwrap_or_else(PoisonError::into_inner) = at;
    }));
    place
}

pub(crate) fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic".into())
}

#[cfg(test)]
mod tests {
    use sconce_contract::FailureClass;

    use super::*;

    #[test]
    fn a_panic_becomes_a_failure_with_its_message_and_place() {
        let error = supervise(&Watch::default(), &Stop::default(), || {
            panic!("index {} is out", 7)
        })
        .unwrap_err();
        let failure = error.failure();
        assert_eq!(failure.class, FailureClass::Internal);
        assert!(
            failure
                .message
                .contains("index 7 is out (runtime/train/src/supervise.rs:"),
            "{}",
            failure.message
        );
    }

    #[test]
    fn a_read_that_hangs_is_left_behind() {
        let stop = Stop::default();
        stop.ask();
        // The read ends only after it was left behind.
        let (end, ends) = mpsc::channel::<()>();
        let error = supervise(&Watch::default(), &stop, move || {
            let _ = ends.recv();
            Err(TrainError::Panic("too late".into()))
        });
        assert_eq!(error.unwrap_err().class(), FailureClass::Interrupted);
        drop(end);
    }
}
