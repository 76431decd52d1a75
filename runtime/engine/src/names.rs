//! What a layer is called: in a spec, and in a file of weights. The index counts all layers, dropout too.

pub use sconce_contract::network::layer_field;

/// What stands before the names of a layer's tensors, see [`sconce_contract::artifact`].
pub(crate) fn layer_prefix(index: usize) -> String {
    format!("layers.{index}.")
}
