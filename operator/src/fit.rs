//! Whether a workload fits the memory of its accelerator, before one is taken. Pure.
//!
//! What is computed is what the arithmetic itself keeps, in bytes of F32 (4 each), for a network of layers
//! with `P` parameters (`in·out + out` of a dense one):
//!
//! ```text
//!   training    weights 4·P and the copy that the network computes with 4·P, gradients as backpropagation leaves
//!               them 4·P and in one piece 4·P, optimiser 0 (SGD), 4·P (momentum) or 8·P (Adam, AdamW),
//!               regularization 4·P where there is one, activations 4·rows·(in₁ + Σ kept) + 8·rows·widest
//!               (rows of a batch that one pod takes)
//!   search      the largest of its trials, and so many of them at a time in a pod
//!   serving     the bytes of the artifact's weights, and what the server computes at a time
//! ```
//!
//! The bytes per parameter are those of Rajbhandari et al. 2020 (ZeRO, section 3.1) for plain F32, and what our trainer
//! holds beside them on a device (`sconce-engine`, `remote.rs`). A pod's programs use the first device of those that it
//! has: however many there are, one of them has to have the memory. Backpropagation
//! keeps of each layer what its derivative needs (Rumelhart, Hinton and Williams 1986): of a dense layer the sum and
//! the activation of it, of dropout the mask and the product, of a convolution its windows too; and two gradients of
//! the widest layer on their way. Each layer says it of itself ([`Outline`]).
//! The memory of the runtime itself (a CUDA context, an allocator's slack) is not in it, so that a workload counts as
//! fitting only where a tenth is left, and as not fitting only where the arithmetic alone is too much.

use sconce_contract::network::Outline;
use sconce_contract::search::{Candidate, Search};
use sconce_contract::{Device, Hyperparameters, Network, OptimizerType};
use sconce_crds::AcceleratorProfile;
use sconce_crds::condition::FITS_ACCELERATOR;
use sconce_crds::resources::Accelerator;

use crate::conditions::{Verdict, no, unknown, yes};
use crate::problem::Problem;
use crate::reason::Reason;

/// Bytes of a number.
const F32: u64 = 4;
/// What a server of ours keeps of values on the way, in bytes: it computes as many rows at a time as keep the widest layer
/// at 4 MiB (`sconce-model`, `Model::rows_per_step`); two layers of that size are there at once, and an answer of 16 MiB.
const SERVING_ACTIVATIONS: u64 = 32 << 20;

/// What a workload needs, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Need {
    /// The weights.
    pub weights: u64,
    /// Gradients, what the optimiser remembers, and copies; 0 for serving.
    pub optimiser: u64,
    /// Values on their way through the network.
    pub activations: u64,
    /// Whether this is all; otherwise it is the least that it can be.
    pub exact: bool,
    /// Of the largest trial of a search: how many may be at work at a time in a pod.
    pub trials: Option<u32>,
}

impl Need {
    /// Of a training of which so many pods share each batch. `inputs` is the number of feature columns; nothing where only
    /// the table tells.
    pub fn of_training(network: &Network, how: &Hyperparameters, pods: u32, inputs: Option<u64>) -> Self {
        let rows = u64::from(how.batch_size.div_ceil(pods.max(1)));
        let told = network
            .input
            .and_then(|input| input.shape().ok())
            .map(|shape| shape.values());
        let inputs = inputs.or(told);
        // What does not fit together is told by the trainer; of it no layer counts.
        let outlines = network.outline(Some(inputs.unwrap_or(1))).unwrap_or_default();
        let sum = |of: fn(&Outline) -> u64| outlines.iter().map(of).fold(0, u64::saturating_add);
        let (parameters, kept) = (sum(Outline::parameters), sum(|outline| outline.kept));
        let kept = kept.saturating_add(inputs.unwrap_or(1));
        let widest = outlines.iter().map(|outline| outline.widest).max().unwrap_or(0);
        let weights = F32.saturating_mul(parameters);
        let states = match how.optimizer.kind {
            OptimizerType::Sgd if how.optimizer.momentum.is_none_or(|momentum| momentum == 0.0) => 0,
            OptimizerType::Sgd | OptimizerType::RmsProp | OptimizerType::Adagrad | OptimizerType::Lion => 1,
            OptimizerType::Adam | OptimizerType::AdamW => 2,
        };
        let pulled = u64::from(how.regularization.is_some());
        let values = kept.saturating_add(widest.saturating_mul(2));
        Need {
            weights,
            optimiser: weights.saturating_mul(3 + states + pulled),
            activations: F32.saturating_mul(rows).saturating_mul(values),
            exact: inputs.is_some() && !outlines.is_empty(),
            trials: None,
        }
    }

    /// Of a search in so many pods: of the trial that needs most, whatever the others are.
    pub fn of_search(
        search: &Search,
        pods: u32,
        network: &Network,
        how: &Hyperparameters,
        inputs: Option<u64>,
    ) -> Self {
        let of = |candidate: &Candidate| {
            Need::of_training(&candidate.network, &candidate.hyperparameters, 1, inputs)
        };
        let base = Candidate::of(network, how);
        let largest = base.greatest(search, inputs, |candidate| of(candidate).total());
        Need {
            trials: Some(search.trials_per_pod(pods)),
            ..of(&largest)
        }
    }

    /// Of a server of an artifact whose weights have so many bytes.
    pub fn of_serving(weights: u64) -> Self {
        Need {
            weights,
            optimiser: 0,
            activations: SERVING_ACTIVATIONS,
            exact: true,
            trials: None,
        }
    }

    /// In all.
    pub fn total(&self) -> u64 {
        self.weights
            .saturating_add(self.optimiser)
            .saturating_add(self.activations)
    }

    /// Of all that may be at work at a time in a pod.
    fn together(&self) -> u64 {
        self.total().saturating_mul(u64::from(self.trials.unwrap_or(1)))
    }

    fn words(&self) -> String {
        let parts = if self.optimiser == 0 {
            format!(
                "weights {}, activations {}",
                size(self.weights),
                size(self.activations)
            )
        } else {
            format!(
                "weights {}, gradients and optimiser {}, activations {}",
                size(self.weights),
                size(self.optimiser),
                size(self.activations)
            )
        };
        let least = if self.exact { "" } else { "at least " };
        format!("{least}{} ({parts})", size(self.total()))
    }
}

/// What a profile has to offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Its name.
    pub name: String,
    /// What its images compute on.
    pub device: Device,
    /// Bytes of one unit, where the profile says.
    pub memory: Option<u64>,
}

impl From<&AcceleratorProfile> for Offer {
    fn from(profile: &AcceleratorProfile) -> Self {
        Offer {
            name: profile.metadata.name.clone().unwrap_or_default(),
            device: profile.spec.device,
            memory: profile
                .spec
                .memory
                .as_ref()
                .and_then(sconce_crds::Quantity::whole),
        }
    }
}

/// What a pod asks for, and what it could ask for instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Room {
    asked: Offer,
    others: Vec<Offer>,
}

impl Room {
    /// Of what the spec asks for; nothing for the processor, whose memory is that of the pod, and for a profile that
    /// does not exist. `profiles` are all that there are.
    pub fn of(asked: Option<&Accelerator>, profiles: impl IntoIterator<Item = Offer>) -> Option<Self> {
        let asked = asked?;
        let (found, others): (Vec<_>, Vec<_>) = profiles
            .into_iter()
            .partition(|profile| profile.name == asked.profile);
        let found = found.into_iter().next()?;
        (found.device != Device::Cpu).then_some(Room { asked: found, others })
    }

    /// What would do instead: the profile of the same device with the least memory.
    fn instead(&self, need: &Need) -> String {
        let smallest = self
            .others
            .iter()
            .filter(|other| other.device == self.asked.device)
            .filter_map(|other| Some((other.memory?, &other.name)))
            .filter(|(memory, _)| fits(need.total(), *memory))
            .min();
        match smallest {
            Some((memory, name)) => format!(
                "the smallest profile that would do is {name} ({} per unit)",
                size(memory)
            ),
            None => "no profile of this device would do".to_owned(),
        }
    }
}

/// A tenth is left to what is not computed here.
fn fits(need: u64, has: u64) -> bool {
    need <= has / 10 * 9
}

/// What a pod asks for and what it needs, as far as they are known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Question {
    /// What it asks for.
    pub room: Option<Room>,
    /// What it needs.
    pub need: Option<Need>,
}

impl Question {
    /// Why the workload is not started, where it cannot fit.
    ///
    /// # Errors
    /// When the arithmetic alone needs more than the accelerator has.
    pub fn check(&self) -> Result<(), Problem> {
        let (Some(room), Some(need)) = (&self.room, &self.need) else {
            return Ok(());
        };
        match room.asked.memory {
            Some(memory) if need.total() > memory => Err(Problem::new(
                Reason::DoesNotFit,
                "spec.accelerator",
                sentence(room, memory, need) + "; " + &room.instead(need),
            )),
            _ => Ok(()),
        }
    }

    /// The condition; none for a pod without an accelerator.
    pub fn verdict(&self) -> Option<Verdict> {
        let room = self.room.as_ref()?;
        let Some(memory) = room.asked.memory else {
            let message = format!(
                "the AcceleratorProfile {:?} does not say its spec.memory",
                room.asked.name
            );
            return Some(unknown(FITS_ACCELERATOR, Reason::MemoryUnknown, message));
        };
        let Some(need) = &self.need else {
            let message = "what the model needs is not known before it is loaded";
            return Some(unknown(FITS_ACCELERATOR, Reason::NeedUnknown, message));
        };
        if let Err(problem) = self.check() {
            return Some(no(FITS_ACCELERATOR, problem.reason, problem.message));
        }
        let sentence = sentence(room, memory, need);
        Some(if !fits(need.total(), memory) {
            let message = format!("{sentence}, which leaves less than a tenth to what is not computed here");
            unknown(FITS_ACCELERATOR, Reason::Tight, message)
        } else if !fits(need.together(), memory) {
            let message = format!(
                "{sentence}; {} of them at a time may need {}: lower spec.search.parallelTrials where they do",
                need.trials.unwrap_or(1),
                size(need.together())
            );
            unknown(FITS_ACCELERATOR, Reason::Tight, message)
        } else if need.exact {
            yes(FITS_ACCELERATOR, Reason::Fits, sentence)
        } else {
            let more =
                "how much more depends on the table's columns, unless spec.dataset.features names them";
            unknown(
                FITS_ACCELERATOR,
                Reason::ColumnsUnknown,
                format!("{sentence}; {more}"),
            )
        })
    }
}

fn sentence(room: &Room, memory: u64, need: &Need) -> String {
    format!(
        "{} needs {} and a unit of {} has {}",
        match need.trials {
            None => "a pod",
            Some(_) => "the largest trial of spec.search",
        },
        need.words(),
        room.asked.name,
        size(memory)
    )
}

/// Bytes for people, in binary units with three digits.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let power = (bytes.max(1).ilog2() / 10) as usize;
    let value = bytes as f64 / 1024_f64.powi(i32::try_from(power).unwrap_or(0));
    let decimals = match value {
        _ if power == 0 => 0,
        value if value >= 100.0 => 0,
        value if value >= 10.0 => 1,
        _ => 2,
    };
    format!("{value:.decimals$} {}", UNITS[power.min(6)])
}

#[cfg(test)]
#[path = "fit_tests.rs"]
mod tests;
