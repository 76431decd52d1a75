//! What a layer is called: in a spec, and in a file of weights. The index counts all layers, dropout too.

/// Path of a layer in the spec of a ModelTraining.
pub fn layer_field(index: usize) -> String {
    format!("model.network.layers[{index}]")
}

/// Name of one of a layer's tensors, see [`sconce_contract::artifact`].
pub(crate) fn weight_name(layer: usize, name: &str) -> String {
    format!("layers.{layer}.{name}")
}
