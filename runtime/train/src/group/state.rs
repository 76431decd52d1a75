//! All workers begin with what the first one has.

use sconce_engine::Learner;

use super::{Group, GroupError, Word};
use crate::{TrainError, checkpoint::Position};

/// The first worker gives the others weights, what the optimiser remembers, and where the run is.
pub fn hand_out(group: &mut Group, learner: &Learner, position: &Position) -> Result<(), TrainError> {
    group.tell(Word::Start {
        step: position.step,
        epoch: position.epoch,
        batch: position.batch,
    })?;
    group.broadcast(&mut learner.flat_weights()?)?;
    for values in learner.optimiser().state()?.values() {
        group.broadcast(&mut values.to_vec())?;
    }
    Ok(())
}

/// Each other one takes it up.
pub fn take_over(group: &mut Group, learner: &mut Learner) -> Result<Position, TrainError> {
    let word = group.hear()?;
    let Word::Start { step, epoch, batch } = word else {
        return Err(TrainError::from(GroupError::OutOfStep {
            worker: 0,
            found: format!("{word:?}"),
            expected: "the state".to_owned(),
        }));
    };
    let mut weights = learner.flat_weights()?;
    group.broadcast(&mut weights)?;
    learner.set_flat_weights(&weights)?;
    let state = learner.optimiser().state()?.into_iter();
    let mut state = state.map(|(name, values)| (name, values.into_owned())).collect();
    for values in std::collections::BTreeMap::values_mut(&mut state) {
        group.broadcast(values)?;
    }
    learner.restore(step, &state)?;
    Ok(Position {
        step,
        epoch,
        batch,
        ..Position::default()
    })
}
