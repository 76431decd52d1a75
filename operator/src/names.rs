//! Names of children: always derivable from the parent, so that a crash between two writes leaves nothing lost.
//!
//! Parents' names are limited to 52 characters by a CEL rule; a child's name adds `-` and ten digits, which
//! keeps it within the 63 of a DNS label (RFC 1123) that Service names and label values must keep.

use sconce_contract::digest::short_hash;
use serde::Serialize;

/// `<parent>-<ten hexadecimal digits over the value>`.
pub fn hashed(parent: &str, value: &impl Serialize) -> String {
    format!("{parent}-{}", short_hash(value))
}

/// The claim that holds a training's artifacts where `spec.output.uri` names none.
pub fn artifacts_claim(training: &str) -> String {
    format!("{training}-artifacts")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_parent_has_children_within_a_dns_label() {
        let parent = "a".repeat(sconce_crds::training::NAME_LIMIT);
        assert_eq!(hashed(&parent, &1).len(), 63);
        assert!(artifacts_claim(&parent).len() <= 63);
    }

    #[test]
    fn the_same_value_has_the_same_name_and_another_has_another() {
        assert_eq!(hashed("x", &("a", 1)), hashed("x", &("a", 1)));
        assert_ne!(hashed("x", &("a", 1)), hashed("x", &("a", 2)));
    }
}
