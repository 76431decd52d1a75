//! A model that answers.

use candle_core::{Device, Tensor};
use sconce_contract::{Feature, Manifest, Preprocess};
use sconce_engine::{EngineError, Sequential, device};

use crate::signature::Signature;
use crate::{ModelError, encode};

/// Values that the widest layer may hold in one step: 4 MiB, which stays in a processor's cache.
const STEP_VALUES: usize = 1 << 20;

/// A trained model, loaded and checked.
#[derive(Debug)]
pub struct Model {
    manifest: Manifest,
    preprocess: Preprocess,
    signature: Signature,
    network: Sequential,
    device: Device,
}

impl Model {
    pub(crate) fn new(
        manifest: Manifest,
        preprocess: Preprocess,
        signature: Signature,
        network: Sequential,
    ) -> Self {
        Model {
            manifest,
            preprocess,
            signature,
            network,
            device: Device::Cpu,
        }
    }

    /// The same model, computed on a device.
    pub fn on(mut self, device: sconce_contract::Device) -> Result<Self, EngineError> {
        self.device = device::open(device)?;
        if !self.device.is_cpu() {
            self.network = self.network.to_device(&self.device)?;
        }
        Ok(self)
    }

    /// The outputs `[batch, outputs]`, row-major, for raw feature values `[batch, features]` (see [`encode`]; a text is
    /// several), row-major, in the order of [`Model::features`]. An output is not finite where the values are too large for F32.
    pub fn predict(&self, rows: &[f32], batch: usize) -> Result<Vec<f32>, ModelError> {
        let features = encode::raw_width(&self.preprocess.features);
        if batch.checked_mul(features) != Some(rows.len()) {
            return Err(ModelError::Rows {
                found: rows.len(),
                batch,
                features,
            });
        }
        if batch == 0 {
            return Ok(Vec::new());
        }
        let inputs = self.signature.inputs;
        let mut encoded = Vec::with_capacity(batch * inputs);
        for row in rows.chunks_exact(features) {
            encode::row(&self.preprocess.features, row, &mut encoded);
        }
        self.known(&encoded)?;
        let input = Tensor::from_vec(encoded, (batch, inputs), &self.device)?;
        Ok(self.network.forward(&input)?.flatten_all()?.to_vec1()?)
    }

    /// Refuses what the model has no vector for, among the inputs of its network.
    fn known(&self, rows: &[f32]) -> Result<(), ModelError> {
        let Some(vocabulary) = self.signature.vocabulary else {
            return Ok(());
        };
        let unknown = |value: &f32| !(*value >= 0.0 && *value < vocabulary as f32 && value.fract() == 0.0);
        match rows.iter().position(unknown) {
            None => Ok(()),
            Some(place) => Err(ModelError::Unknown {
                row: place / self.signature.inputs,
                column: encode::column(&self.preprocess.features, place % self.signature.inputs).to_owned(),
                value: rows[place],
                greatest: vocabulary - 1,
            }),
        }
    }

    /// How many rows to predict at a time, so that the values on the way stay within a few megabytes.
    pub fn rows_per_step(&self) -> usize {
        (STEP_VALUES / self.signature.widest).max(1)
    }

    /// The columns, in order, with the mean and scale that the training rows had.
    pub fn features(&self) -> &[Feature] {
        &self.preprocess.features
    }

    /// Number of outputs of a row.
    pub fn outputs(&self) -> usize {
        self.signature.outputs
    }

    /// Number of weights and biases.
    pub fn parameters(&self) -> usize {
        self.signature.parameters
    }

    /// Multiplications for a row, about.
    pub fn work(&self) -> usize {
        self.signature.work
    }

    /// Name of the column that is predicted.
    pub fn target(&self) -> &str {
        &self.preprocess.target.name
    }

    /// The classes in the order of the outputs; nothing where a number is predicted.
    pub fn classes(&self) -> Option<&[String]> {
        self.preprocess.target.classes.as_deref()
    }

    /// The class that an output row `[outputs]` means; nothing where a number is predicted.
    ///
    /// One unit means the second class from 0.5 on, several mean the class of the largest; the same rules by which
    /// the trainer measured accuracy.
    pub fn label(&self, output: &[f32]) -> Option<&str> {
        self.classes()?.get(Signature::class(output)).map(String::as_str)
    }

    /// What is in the artifact and where it came from.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }
}
