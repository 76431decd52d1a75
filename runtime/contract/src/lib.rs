//! What the operator and the pods say to each other.
