//! Which cluster a person means: the variable CLUSTER.

use std::env;

use crate::{Error, Result};

/// The cluster that commands and end-to-end tests use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// A cluster of our own, made and deleted by the harness.
    Kind,
    /// The kubeconfig in force; only when asked for by name, as it may be somebody's production.
    Current,
}

impl Choice {
    /// What CLUSTER says; `kind` when it says nothing.
    ///
    /// # Errors
    /// When its value is neither of the two.
    pub fn from_env() -> Result<Self> {
        Self::parse(env::var("CLUSTER").ok().as_deref())
    }

    fn parse(value: Option<&str>) -> Result<Self> {
        match value {
            None | Some("" | "kind") => Ok(Self::Kind),
            Some("current") => Ok(Self::Current),
            Some(other) => Err(Error::Choice(other.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_value_names_the_two() {
        assert_eq!(Choice::parse(None).unwrap(), Choice::Kind);
        assert_eq!(Choice::parse(Some("current")).unwrap(), Choice::Current);
        let text = Choice::parse(Some("minikube")).unwrap_err().to_string();
        assert!(
            text.contains("`kind`") && text.contains("`current`") && text.contains("minikube"),
            "{text}"
        );
    }
}
