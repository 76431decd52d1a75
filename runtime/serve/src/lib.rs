//! The server: protocols, batching, probes, drain.
