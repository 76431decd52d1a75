//! Which of the known artifacts a person means by the annotation.

use sconce_crds::deployment::PROMOTE_ANNOTATION;

use super::revision::{Model, short};
use crate::problem::Problem;
use crate::reason::Reason;

/// Fewest hexadecimal digits that name an artifact: as many as people are shown.
const SHORTEST: usize = 12;
/// Hexadecimal digits of a SHA-256.
const WHOLE: usize = 64;

/// What a person chose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Promoted<'a> {
    /// Nothing: there is no annotation, or an empty one.
    Nothing,
    /// This artifact.
    This(&'a Model),
    /// Something that cannot be followed.
    Wrong(Problem),
}

/// Finds what the annotation names among what is known. It is a digest or its beginning, with or without
/// `sha256:`.
pub fn choose<'a>(annotation: Option<&str>, known: &'a [Model]) -> Promoted<'a> {
    let asked = annotation.unwrap_or_default().trim().to_ascii_lowercase();
    let hex = asked.strip_prefix("sha256:").unwrap_or(&asked);
    if asked.is_empty() {
        return Promoted::Nothing;
    }
    if !(SHORTEST..=WHOLE).contains(&hex.len()) || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Promoted::Wrong(problem(
            Reason::PromotionInvalid,
            format!(
                "{asked:?} is no digest: write sha256: and 64 hexadecimal digits, or at least the first {SHORTEST}"
            ),
        ));
    }
    let begins = |model: &Model| {
        model
            .digest
            .as_deref()
            .and_then(|digest| digest.strip_prefix("sha256:"))
            .is_some_and(|digest| digest.starts_with(hex))
    };
    let mut fitting = known.iter().filter(|model| begins(model));
    let Some(first) = fitting.next() else {
        return Promoted::Wrong(problem(
            Reason::PromotionUnknown,
            format!(
                "no artifact of the training has the digest {asked:?}; {}",
                listed(known)
            ),
        ));
    };
    if fitting.any(|other| other.digest != first.digest) {
        return Promoted::Wrong(problem(
            Reason::PromotionAmbiguous,
            format!("{asked:?} is the beginning of more than one digest; write more of it"),
        ));
    }
    Promoted::This(first)
}

fn problem(reason: Reason, message: String) -> Problem {
    Problem::new(
        reason,
        format!("metadata.annotations[{PROMOTE_ANNOTATION}]"),
        message,
    )
}

fn listed(known: &[Model]) -> String {
    let mut digests: Vec<&str> = known
        .iter()
        .filter_map(|model| model.digest.as_deref())
        .map(short)
        .collect();
    digests.sort_unstable();
    digests.dedup();
    if digests.is_empty() {
        "it has left none yet".to_owned()
    } else {
        format!("known are {}", digests.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn artifact(hex: &str) -> Model {
        Model {
            uri: format!("pvc://out/{hex}"),
            digest: Some(format!("sha256:{hex}")),
            training: None,
        }
    }

    #[test]
    fn a_digest_or_its_beginning_names_an_artifact() {
        let (a, b) = ("a1".repeat(32), format!("a1a1a1a1a1a1{}", "b".repeat(52)));
        let known = [artifact(&a), artifact(&b), artifact(&a)];
        for (annotation, expected) in [
            (a.clone(), 0),
            (format!("sha256:{a}"), 0),
            (format!(" SHA256:{} ", a.to_uppercase()), 0),
            (b[..13].to_owned(), 1),
            (format!("sha256:{}", &a[..14]), 0),
        ] {
            assert_eq!(
                choose(Some(&annotation), &known),
                Promoted::This(&known[expected]),
                "{annotation}"
            );
        }
    }

    #[test]
    fn what_cannot_be_followed_says_why() {
        let (a, b) = ("a1".repeat(32), format!("a1a1a1a1a1a1{}", "b".repeat(52)));
        let known = [artifact(&a), artifact(&b)];
        for (annotation, reason) in [
            ("a1a1a1a1a1a", "PromotionInvalid"),
            ("sha256:", "PromotionInvalid"),
            ("latest-please", "PromotionInvalid"),
            (&format!("{a}0"), "PromotionInvalid"),
            ("a1a1a1a1a1a1", "PromotionAmbiguous"),
            ("cccccccccccc", "PromotionUnknown"),
        ] {
            let Promoted::Wrong(problem) = choose(Some(annotation), &known) else {
                panic!("{annotation}")
            };
            assert_eq!(problem.reason, reason, "{annotation}");
            assert_eq!(problem.field, "metadata.annotations[sconce.dev/promote]");
        }
        let Promoted::Wrong(problem) = choose(Some("cccccccccccc"), &known) else {
            panic!()
        };
        assert!(
            problem.message.ends_with("known are sha256:a1a1a1a1a1a1"),
            "{}",
            problem.message
        );
    }

    #[test]
    fn no_annotation_and_an_empty_one_choose_nothing() {
        assert_eq!(choose(None, &[]), Promoted::Nothing);
        assert_eq!(choose(Some("  "), &[artifact("ab")]), Promoted::Nothing);
    }
}
