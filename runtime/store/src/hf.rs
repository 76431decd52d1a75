//! `hf://ORG/NAME[@REVISION]/PATH` and `hf://datasets/ORG/NAME[@REVISION]/PATH`: a file of a repository on the Hugging Face
//! Hub, or on what speaks as one. It is a web server, whose files are at known addresses.

use crate::StoreError;
use crate::credentials::Credentials;
use crate::http;
use crate::scheme::{Scheme, Target};

/// Where the Hub is, where nothing else is said.
const HUB: &str = "https://huggingface.co";
/// Where else it is, as the Hub's own clients look for it.
const ENDPOINT: &str = "HF_ENDPOINT";
const TOKEN: &str = "HF_TOKEN";

pub(crate) struct Hf;

impl Scheme for Hf {
    fn read(&self, target: &Target<'_>, limit: u64) -> Result<Vec<u8>, StoreError> {
        located(target, |target| http::Http.read(target, limit))
    }

    fn exists(&self, target: &Target<'_>) -> Result<bool, StoreError> {
        located(target, |target| http::Http.exists(target))
    }
}

/// Does it to the file's address, with what the Hub is shown.
fn located<T>(
    target: &Target<'_>,
    work: impl FnOnce(&Target<'_>) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let path = file(target.rest).ok_or_else(|| StoreError::Malformed {
        uri: target.shown(),
        reason: "write hf://ORG/NAME/PATH, hf://ORG/NAME@REVISION/PATH or, of a data set, hf://datasets/ORG/NAME/PATH"
            .to_owned(),
    })?;
    let variables = target.variables(&[&[ENDPOINT]]);
    let said = |name: &str| {
        variables
            .get(name)
            .map(|value| value.trim())
            .filter(|value| !value.is_empty())
    };
    let address = format!("{}/{path}", said(ENDPOINT).unwrap_or(HUB).trim_end_matches('/'));
    let token = said(TOKEN).map(Credentials::bearer);
    let done = work(&Target {
        uri: &address,
        rest: address.split_once("://").map_or("", |(_, rest)| rest),
        credentials: token.as_ref(),
        ..*target
    });
    let has_secret = target
        .credentials
        .is_some_and(|given| !given.variables().is_empty());
    done.map_err(|error| match error {
        StoreError::Forbidden { .. } => StoreError::Forbidden {
            uri: target.shown(),
            reason: format!("the Hub refuses it{}", shows(has_secret, token.is_some())),
        },
        error => error,
    })
}

/// To whom the Hub refuses something.
fn shows(has_secret: bool, has_token: bool) -> &'static str {
    match (has_secret, has_token) {
        (true, true) => " to the HF_TOKEN in the Secret of credentialsRef",
        (true, false) => ", and the Secret of credentialsRef has no key HF_TOKEN to show it",
        (false, true) => " to the HF_TOKEN of the pod's own environment",
        (false, false) => ", and credentialsRef names no Secret with an HF_TOKEN to show it",
    }
}

/// The path of a file on the Hub.
fn file(location: &str) -> Option<String> {
    let (kind, repository) = match location.strip_prefix("datasets/") {
        Some(repository) => ("datasets/", repository),
        None => ("", location),
    };
    let mut parts = repository.splitn(3, '/');
    let (owner, name, path) = (parts.next()?, parts.next()?, parts.next()?);
    let (name, revision) = name.split_once('@').unwrap_or((name, "main"));
    let plain = |part: &str| {
        let usual = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        !part.is_empty() && !part.starts_with('.') && part.chars().all(usual)
    };
    let usable = [owner, name, revision].into_iter().all(plain)
        && path.split('/').all(|part| !matches!(part, "" | "." | ".."));
    usable.then(|| format!("{kind}{owner}/{name}/resolve/{revision}/{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_at_the_address_that_the_hub_gives_it() {
        for (location, path) in [
            ("org/name/a/b.json", Some("org/name/resolve/main/a/b.json")),
            ("org/name@v1.0/b", Some("org/name/resolve/v1.0/b")),
            (
                "datasets/org/name/t.csv",
                Some("datasets/org/name/resolve/main/t.csv"),
            ),
            ("org/name", None),
            ("org/name/", None),
            ("org/name/../../x", None),
            ("org/na me/x", None),
            ("org/name@/x", None),
        ] {
            assert_eq!(file(location).as_deref(), path, "{location}");
        }
    }
}
