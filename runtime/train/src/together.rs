//! What a course has to do with the others of its group: all stop, go on and end alike.

use crate::{
    TrainError,
    display::Display,
    group::{GroupError, Word},
    learn::{Course, is_enough},
    track::Pace,
};

impl Course<'_> {
    /// Workers of a group hear of a stop in the sum of a step, all in the same.
    pub(crate) fn may_go_on(&self) -> Result<(), TrainError> {
        let stops = match &self.group {
            Some(group) => group.stops(),
            None => self.stop.asked(),
        };
        match stops {
            true => Err(TrainError::interrupted("between two steps")),
            false => Ok(()),
        }
    }

    /// What comes after an epoch, and whether another one does. The first worker of a group decides for all.
    pub(crate) fn goes_on(
        &mut self,
        is_last: bool,
        pace: &mut Pace,
        display: &mut Display,
    ) -> Result<bool, TrainError> {
        if let Some(group) = self.group.as_mut().filter(|group| !group.leads()) {
            return match group.hear()? {
                Word::Next => Ok(true),
                Word::Done => Ok(false),
                word @ Word::Start { .. } => Err(TrainError::from(GroupError::OutOfStep {
                    worker: 0,
                    found: format!("{word:?}"),
                    expected: "what comes after an epoch".to_owned(),
                })),
            };
        }
        self.validate(pace)?;
        display.epoch(&self.watch.snapshot());
        let goes_on = !is_last && !is_enough(self.hyperparameters, &self.position);
        if let (true, Some(group)) = (goes_on, &mut self.group) {
            group.tell(Word::Next)?;
        }
        Ok(goes_on)
    }

    /// The others are done.
    pub fn release(&mut self) {
        if let Some(mut group) = self.group.take()
            && let Err(error) = group.tell(Word::Done)
        {
            tracing::warn!(%error, "the other workers do not know that they are done");
        }
    }

    /// The others end too, and know why.
    pub fn leave(&mut self, error: &TrainError) {
        if let Some(group) = self.group.take() {
            let why = match error {
                TrainError::Group { why, .. } => why.clone(),
                error => format!("worker {} ended: {error}", group.worker()),
            };
            group.leave(&why);
        }
    }

    /// Who was told to stop, as far as this worker knows.
    pub fn told_to_stop(&self) -> String {
        match &self.group {
            Some(group) if self.stop.asked() => format!("worker {} was told to stop", group.worker()),
            _ => "a worker of the group was told to stop".to_owned(),
        }
    }
}
