//! A course leaves its state behind, and says from where the next attempt goes on.

use std::time::Instant;

use crate::{
    TrainError,
    checkpoint::Checkpoints,
    learn::{Course, total_steps},
};

impl Course<'_> {
    /// Saves the state, where that is wanted, and tells whether there is a checkpoint of this very step now.
    pub fn save(&mut self) -> bool {
        let Some(checkpoints) = &mut self.checkpoints else {
            return false;
        };
        let started = Instant::now();
        let seen = self.watch.snapshot();
        self.position.losses = seen.losses;
        self.position.validation_losses = seen.validation_losses;
        let saved = checkpoints.save(&self.learner, &self.position).cloned();
        match &saved {
            Ok(mark) => {
                let milliseconds = started.elapsed().as_millis();
                tracing::info!(step = mark.step, uri = mark.uri, milliseconds, "checkpoint");
            }
            Err(error) => tracing::warn!(step = self.position.step, %error, "no checkpoint could be written"),
        }
        let saved_now = saved.is_ok();
        self.watch.update(|seen| {
            seen.progress.checkpoint_failure = saved.as_ref().err().map(ToString::to_string);
            if let Ok(mark) = saved {
                seen.progress.work.last_checkpoint = Some(mark);
            }
        });
        saved_now
    }

    /// Leaves word beside the state that the others are let go, and tells whether it lies there. Where it does not they stay
    /// until the artifact is written: were the last state lost before that, nobody else could take their part.
    pub fn may_let_go(&self) -> bool {
        let Some(checkpoints) = &self.checkpoints else {
            return false;
        };
        let left = checkpoints.let_go();
        if let Err(error) = &left {
            tracing::warn!(%error, "the other workers stay until the artifact is written: no word of it can be left");
        }
        left.is_ok()
    }

    /// Saves the state before the process ends, and says from where the next attempt goes on.
    pub fn interrupted(&mut self) -> TrainError {
        let (at, next) = self.saved_at();
        TrainError::Interrupted { at, next }
    }

    /// The same where the group ends, for a reason.
    pub fn abandoned(&mut self, why: &str) -> TrainError {
        let (at, next) = self.saved_at();
        TrainError::Group {
            why: format!("{why} {at}"),
            next,
        }
    }

    /// Where it is, and what the next attempt does.
    fn saved_at(&mut self) -> (String, String) {
        let total = total_steps(self.hyperparameters, self.data.training.rows());
        let step = self.position.step;
        let saved = step > 0 && self.save();
        let newest = self.checkpoints.as_ref().and_then(Checkpoints::newest);
        let next = match (saved, newest) {
            (true, _) => "the state is saved, and the next attempt goes on from there".to_owned(),
            (false, None) => "the next attempt starts from the beginning".to_owned(),
            (false, Some(mark)) => format!("the next attempt goes on from step {}", mark.step),
        };
        let failure = self.watch.snapshot().progress.checkpoint_failure;
        let failure = failure.map(|why| format!("; the state could not be saved: {why}"));
        let at = format!("at step {step} of {total}");
        (at, next + &failure.unwrap_or_default())
    }
}
