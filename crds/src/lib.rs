//! The three kinds of the API group sconce.dev.
