//! A model on disk: network, weights, preprocessing and manifest.
