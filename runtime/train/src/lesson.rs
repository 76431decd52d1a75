//! What is learned by: a network and hyperparameters on a table that is read.

use candle_core::Device;
use sconce_contract::digest::short_hash;
use sconce_contract::search::Candidate;
use sconce_contract::{Dataset, FileDigest, TrainingPlan};
use sconce_engine::{EngineError, Learner, Objective, Sequential};

use crate::{
    TrainError,
    checkpoint::{Checkpoints, Position, Refusal, Subject},
    data::Data,
    fit,
    group::{Purpose, Seat},
    integers, learn,
    target::Target,
};

/// Version that manifests and checkpoints name.
pub const TRAINER: &str = concat!("sconce-trainer ", env!("CARGO_PKG_VERSION"));

/// A table that is read, and what it is read for.
#[derive(Clone, Debug)]
pub struct Material<'a> {
    /// The plan.
    pub plan: &'a TrainingPlan,
    /// Where it is computed.
    pub device: Device,
    /// Its rows.
    pub data: &'a Data,
    /// What is predicted, without the rows.
    pub target: Target,
    /// Its bytes.
    pub digest: &'a FileDigest,
    /// The greatest of its integers, where an embedding looks them up as they are.
    pub greatest: Option<u32>,
}

impl Material<'_> {
    /// What a checkpoint of this is of.
    pub fn subject(&self, lesson: &Candidate) -> Subject {
        // Who reads the table decides nothing about what is in it.
        let dataset = Dataset {
            credentials_ref: None,
            ..self.plan.dataset.clone()
        };
        Subject {
            name: self.plan.name.clone(),
            run: self.plan.run.clone(),
            // The order of rows on disk is another one.
            asked: match self.data.training.is_on_disk() {
                false => short_hash(&(&lesson.network, &dataset, &lesson.hyperparameters)),
                true => short_hash(&(&lesson.network, &dataset, &lesson.hyperparameters, "on disk")),
            },
            data: self.digest.clone(),
            trainer: TRAINER.to_owned(),
        }
    }

    /// What all who work on this together agree on.
    pub fn purpose(&self, subject: &Subject, seat: &Seat) -> Purpose {
        Purpose {
            trainer: subject.trainer.clone(),
            token: seat.token.clone(),
            run: subject.run.clone(),
            // Where the rows are decides in which order they are taken.
            subject: short_hash(&(subject, self.data.training.is_on_disk())),
            count: self.plan.nodes.unwrap_or_default().count,
        }
    }

    /// What is minimised; a network or hyperparameters that do not fit the table are refused.
    pub fn objective(&self, lesson: &Candidate) -> Result<Objective, TrainError> {
        let Candidate {
            network,
            hyperparameters,
        } = lesson;
        Sequential::check(network)?;
        self.plan.dataset.fits(network)?;
        integers::check_vocabulary(network, self.greatest)?;
        let (field, last) = fit::last_dense(network)?;
        let loss = fit::loss(fit::loss_before_target(hyperparameters.loss, &last), &self.target);
        fit::check(loss, &field, &last, &self.target, &self.plan.dataset.target)?;
        network
            .outline(Some(self.data.width() as u64))
            .map_err(EngineError::from)?;
        fit::check_settings(hyperparameters, loss, self.data)?;
        let weights = fit::class_weights(hyperparameters, &self.data.training);
        Ok(Objective::new(loss, last.activation, hyperparameters, weights))
    }

    /// A learner at the beginning, or where a checkpoint says.
    pub fn begin(
        &self,
        lesson: &Candidate,
        objective: &Objective,
        checkpoints: Option<&mut Checkpoints>,
    ) -> Result<(Learner, Position), TrainError> {
        let (network, settings) = (&lesson.network, &lesson.hyperparameters);
        let width = self.data.width();
        let epochs = settings.epochs;
        let per_epoch = learn::steps_per_epoch(settings, self.data.training.rows());
        let resumed = checkpoints.map(|checkpoints| {
            checkpoints.resume(|saved| {
                let Position {
                    step, epoch, batch, ..
                } = saved.position;
                if epoch >= epochs {
                    let epoch = u64::from(epoch) + 1;
                    let reason = format!("it is in epoch {epoch}, but there are {epochs}");
                    return Err(Refusal::Unfit(reason));
                }
                if batch > per_epoch || u64::from(epoch) * per_epoch + batch != step {
                    let reason = format!("step {step} is not step {batch} of epoch {epoch}");
                    return Err(Refusal::Unfit(reason));
                }
                let model = Sequential::from_weights(network, width, &saved.weights, &self.device);
                let model = model.map_err(refusal)?;
                let learner = Learner::resumed(model, objective, settings, step, &saved.optimiser);
                let learner = learner.map_err(refusal)?;
                Ok((learner, saved.position))
            })
        });
        if let Some((learner, position)) = resumed.transpose()?.flatten() {
            tracing::info!(
                step = position.step,
                epoch = position.epoch,
                "going on from a checkpoint"
            );
            return Ok((learner, position));
        }
        let model = Sequential::initialised(network, width, settings.seed, &self.device)?;
        let learner = Learner::new(model, objective, settings)?;
        Ok((learner, Position::default()))
    }
}

/// What it means that a learner cannot be made of a checkpoint: an operation that fails, as on a device without memory, says
/// nothing against the checkpoint.
fn refusal(error: EngineError) -> Refusal {
    match error {
        EngineError::Tensor(_) => Refusal::Failed(error.into()),
        _ => Refusal::Unfit(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_fails_makes_no_checkpoint_unfit() {
        let device = refusal(EngineError::Tensor(candle_core::Error::Msg(
            "out of memory".into(),
        )));
        assert!(
            matches!(device, Refusal::Failed(TrainError::Engine(_))),
            "{device:?}"
        );
        let said = "DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\")";
        let device: TrainError = EngineError::Tensor(candle_core::Error::Msg(said.into())).into();
        let told = device.failure().message;
        assert!(told.contains("lower hyperparameters.batchSize"), "{told}");
        let other = refusal(EngineError::OptimiserState("it has other moments".to_owned()));
        assert!(matches!(other, Refusal::Unfit(_)), "{other:?}");
    }
}
