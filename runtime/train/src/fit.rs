//! What is minimised, and whether the last layer fits what is predicted.

use sconce_contract::{Activation, ClassWeights, Dense, Hyperparameters, Loss, Network};
use sconce_engine::names::layer_field;

use crate::{
    TrainError,
    data::{Data, Part},
    target::Target,
};

/// The last layer of a network with its path in the spec; nothing where it is not dense, which the engine refuses.
pub fn last_layer(network: &Network) -> Option<(String, Dense)> {
    let index = network.layers.len().checked_sub(1)?;
    Some((
        format!("{}.dense", layer_field(index)),
        network.layers[index].dense?,
    ))
}

/// The last layer, which must be dense.
pub fn last_dense(network: &Network) -> Result<(String, Dense), TrainError> {
    last_layer(network)
        .ok_or_else(|| TrainError::setting("model.network.layers", "the last layer must be dense"))
}

/// The loss that the spec says or that the last layer implies; nothing where the target decides.
pub fn loss_before_target(explicit: Option<Loss>, last: &Dense) -> Option<Loss> {
    explicit.or(match last.activation {
        Activation::Sigmoid if last.units == 1 => Some(Loss::BinaryCrossEntropy),
        Activation::Softmax => Some(Loss::CrossEntropy),
        _ => None,
    })
}

/// The loss once the target is known.
pub fn loss(before_target: Option<Loss>, target: &Target) -> Loss {
    before_target.unwrap_or(match target {
        Target::Classes { .. } => Loss::CrossEntropy,
        Target::Numbers(_) => Loss::MeanSquaredError,
    })
}

/// Whether a loss is one of numbers.
pub fn of_numbers(loss: Loss) -> bool {
    matches!(
        loss,
        Loss::MeanSquaredError | Loss::MeanAbsoluteError | Loss::Huber
    )
}

/// Refuses hyperparameters that say something of another loss than this, or that need rows which there are not.
pub fn check_settings(settings: &Hyperparameters, loss: Loss, data: &Data) -> Result<(), TrainError> {
    for (holds, field, needed) in [
        (
            settings.huber_delta.is_none() || loss == Loss::Huber,
            "huberDelta",
            "Huber",
        ),
        (
            settings.label_smoothing.is_none() || loss == Loss::CrossEntropy,
            "labelSmoothing",
            "CrossEntropy",
        ),
        (
            settings.class_weights.is_none() || !of_numbers(loss),
            "classWeights",
            "CrossEntropy or BinaryCrossEntropy",
        ),
    ] {
        if !holds {
            let problem =
                format!("works with the loss {needed} only, but the loss is {loss:?}: leave it out");
            return Err(TrainError::setting(format!("hyperparameters.{field}"), problem));
        }
    }
    if settings.early_stopping.is_some() && data.validation.rows() == 0 {
        return Err(TrainError::setting(
            "hyperparameters.earlyStopping",
            "there are no validation rows to look at: set dataset.split.validation above 0",
        ));
    }
    Ok(())
}

/// How much a row of each class counts: nothing where all count the same. A class without training rows counts 1.
pub fn class_weights(settings: &Hyperparameters, training: &Part) -> Vec<f32> {
    let Some(ClassWeights::Balanced) = settings.class_weights else {
        return Vec::new();
    };
    let counts = training.class_counts();
    let (rows, classes) = (training.rows() as f64, counts.len() as f64);
    let weight = |count: u64| {
        if count == 0 {
            1.0
        } else {
            rows / (classes * count as f64)
        }
    };
    counts.into_iter().map(|count| weight(count) as f32).collect()
}

/// Refuses a last layer whose outputs cannot say what the target holds.
pub fn check(loss: Loss, field: &str, last: &Dense, target: &Target, column: &str) -> Result<(), TrainError> {
    let Dense { units, activation } = *last;
    match (loss, target) {
        (loss, _) if of_numbers(loss) && units != 1 => Err(TrainError::setting(
            format!("{field}.units"),
            format!("the last layer has {units} units, but {column:?} is one number: set units to 1"),
        )),
        (loss, _) if of_numbers(loss) && activation == Activation::Softmax => Err(TrainError::setting(
            format!("{field}.activation"),
            "Softmax over one unit is always 1: set activation to Linear to predict a number",
        )),
        // Where a trial's activation implies another loss than the one that the target was read for.
        (Loss::BinaryCrossEntropy | Loss::CrossEntropy, Target::Numbers(_)) => Err(TrainError::setting(
            format!("{field}.activation"),
            format!(
                "the last layer has {units} unit(s) and activation {activation:?}, and so the loss {loss:?}, which is \
                 one of classes, but {column:?} is read as numbers: set activation to Linear, or hyperparameters.loss \
                 to MeanSquaredError"
            ),
        )),
        (Loss::BinaryCrossEntropy, Target::Classes { names, .. }) => check_binary(field, last, names, column),
        (Loss::CrossEntropy, Target::Classes { names, .. }) => check_classes(field, last, names, column),
        _ => Ok(()),
    }
}

fn check_binary(field: &str, last: &Dense, names: &[String], column: &str) -> Result<(), TrainError> {
    let classes = names.len();
    if classes != 2 {
        let problem = format!(
            "the last layer has {} unit(s), which tell two classes apart, but {column:?} holds {}: set units to \
             {classes} and activation to Softmax for classes, or hyperparameters.loss to MeanSquaredError for a number",
            last.units,
            list(names)
        );
        return Err(TrainError::setting(format!("{field}.units"), problem));
    }
    if last.units != 1 {
        let problem = format!(
            "the loss BinaryCrossEntropy needs one unit, but the last layer has {}: set units to 1 and activation \
             to Sigmoid, or hyperparameters.loss to CrossEntropy with activation Softmax",
            last.units
        );
        return Err(TrainError::setting(format!("{field}.units"), problem));
    }
    needs_activation(field, last, Activation::Sigmoid, "the two classes")
}

fn check_classes(field: &str, last: &Dense, names: &[String], column: &str) -> Result<(), TrainError> {
    let classes = names.len();
    if last.units as usize != classes {
        let binary = if classes == 2 {
            ", or units to 1 and activation to Sigmoid"
        } else {
            ""
        };
        let problem = format!(
            "the last layer has {} unit(s), but {column:?} holds {}: set units to {classes} and activation to \
             Softmax{binary}",
            last.units,
            list(names)
        );
        return Err(TrainError::setting(format!("{field}.units"), problem));
    }
    needs_activation(field, last, Activation::Softmax, "classes")
}

/// The outputs of a model of classes are probabilities, and the losses are computed for these activations.
fn needs_activation(field: &str, last: &Dense, needed: Activation, what: &str) -> Result<(), TrainError> {
    if last.activation == needed {
        return Ok(());
    }
    let problem = format!(
        "the last layer has activation {:?}, but its outputs are to be the probabilities of {what}: set activation \
         to {needed:?}",
        last.activation
    );
    Err(TrainError::setting(format!("{field}.activation"), problem))
}

/// `3 classes ("a", "b", "c")`.
fn list(names: &[String]) -> String {
    const SHOWN: usize = 8;
    let shown: Vec<String> = names.iter().take(SHOWN).map(|name| format!("{name:?}")).collect();
    let more = if names.len() > SHOWN { ", …" } else { "" };
    format!("{} classes ({}{more})", names.len(), shown.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classes(count: usize) -> Target {
        Target::Classes {
            names: (0..count).map(|index| format!("c{index}")).collect(),
            rows: vec![],
        }
    }

    #[test]
    fn the_loss_is_said_or_follows_from_layer_and_target() {
        use Activation::{Linear, Sigmoid, Softmax};
        let numbers = Target::Numbers(vec![]);
        for (units, activation, target, expected) in [
            (1, Sigmoid, &numbers, Loss::BinaryCrossEntropy),
            (3, Softmax, &numbers, Loss::CrossEntropy),
            (3, Linear, &classes(3), Loss::CrossEntropy),
            (3, Sigmoid, &classes(3), Loss::CrossEntropy),
            (1, Linear, &numbers, Loss::MeanSquaredError),
        ] {
            let last = Dense { units, activation };
            assert_eq!(
                loss(loss_before_target(None, &last), target),
                expected,
                "{last:?}"
            );
            let said = loss_before_target(Some(Loss::MeanSquaredError), &last);
            assert_eq!(loss(said, target), Loss::MeanSquaredError);
        }
    }

    #[test]
    fn a_layer_that_does_not_fit_is_told_how_to() {
        use Activation::{Linear, Sigmoid, Softmax};
        let numbers = Target::Numbers(vec![]);
        for (loss, units, activation, target, field, says) in [
            (
                Loss::MeanSquaredError,
                3,
                Linear,
                &numbers,
                "units",
                "set units to 1",
            ),
            (
                Loss::MeanSquaredError,
                1,
                Softmax,
                &numbers,
                "activation",
                "set activation to Linear",
            ),
            (
                Loss::BinaryCrossEntropy,
                1,
                Sigmoid,
                &numbers,
                "activation",
                "\"y\" is read as numbers: set activation to Linear",
            ),
            (
                Loss::CrossEntropy,
                3,
                Softmax,
                &numbers,
                "activation",
                "the loss CrossEntropy, which is one of classes",
            ),
            (
                Loss::BinaryCrossEntropy,
                1,
                Sigmoid,
                &classes(3),
                "units",
                "3 classes (\"c0\", \"c1\", \"c2\"): set units to 3",
            ),
            (
                Loss::BinaryCrossEntropy,
                2,
                Sigmoid,
                &classes(2),
                "units",
                "set units to 1",
            ),
            (
                Loss::BinaryCrossEntropy,
                1,
                Linear,
                &classes(2),
                "activation",
                "set activation to Sigmoid",
            ),
            (
                Loss::CrossEntropy,
                1,
                Softmax,
                &classes(2),
                "units",
                "or units to 1 and activation to Sigmoid",
            ),
            (
                Loss::CrossEntropy,
                4,
                Softmax,
                &classes(3),
                "units",
                "set units to 3",
            ),
            (
                Loss::CrossEntropy,
                3,
                Linear,
                &classes(3),
                "activation",
                "set activation to Softmax",
            ),
        ] {
            let last = Dense { units, activation };
            let error = check(loss, "layer", &last, target, "y").unwrap_err();
            assert_eq!(error.failure().field, Some(format!("layer.{field}")), "{error}");
            assert!(error.to_string().contains(says), "{error}");
        }
        check(
            Loss::CrossEntropy,
            "layer",
            &Dense {
                units: 3,
                activation: Softmax,
            },
            &classes(3),
            "y",
        )
        .unwrap();
        check(
            Loss::BinaryCrossEntropy,
            "layer",
            &Dense {
                units: 1,
                activation: Sigmoid,
            },
            &classes(2),
            "y",
        )
        .unwrap();
        check(
            Loss::MeanSquaredError,
            "layer",
            &Dense {
                units: 1,
                activation: Sigmoid,
            },
            &numbers,
            "y",
        )
        .unwrap();
    }
}
