//! The trainer: data set, loop, evaluation, report.
