//! The controllers of ModelTraining and ModelDeployment.
