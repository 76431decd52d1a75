//! Which networks Keras has the layers for.

use super::{LayerKind, Misfit, Network, layer_field};

impl Network {
    /// Whether a file for Keras can hold the network.
    ///
    /// # Errors
    /// The first layer that Keras has under no name, by its path in the spec of a ModelTraining.
    pub fn held_by_keras(&self) -> Result<(), Misfit> {
        for (index, layer) in self.layers.iter().enumerate() {
            let Some(
                kind @ (LayerKind::PositionEmbedding(_)
                | LayerKind::Attention(_)
                | LayerKind::TransformerBlock(_)
                | LayerKind::Residual(_)),
            ) = layer.kind()
            else {
                continue;
            };
            let problem = format!(
                "a chain of Keras' layers has none that does what {} does: leave KerasH5 out of output.formats, or the \
                 layer out of the network",
                kind.name()
            );
            return Err(Misfit::new(layer_field(index), problem));
        }
        Ok(())
    }
}
