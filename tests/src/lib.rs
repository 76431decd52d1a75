//! Clusters to test on, and the promises that Sconce keeps.
