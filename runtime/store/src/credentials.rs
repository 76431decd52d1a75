//! What a server wants to hear before it answers: variables, as a Secret has keys.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

/// Variables by name.
pub(crate) type Variables = BTreeMap<String, String>;

/// Shown to the server that a URI names, and to no other that it leads on to.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials(Variables);

/// The variables of this process; those that are no text are none of ours.
pub(crate) fn environment() -> Variables {
    let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    std::env::vars_os().filter_map(text).collect()
}

impl Credentials {
    /// A token (RFC 6750).
    pub fn bearer(token: &str) -> Self {
        Credentials::of([("token", token)])
    }

    /// A name and a password (RFC 7617).
    pub fn basic(username: &str, password: &str) -> Self {
        Credentials::of([("username", username), ("password", password)])
    }

    /// By the keys of a Secret: `token`, or `username` and `password`, for a web server, and for a cloud the variables
    /// that its own clients read. A Secret made of a file often ends in a newline, which is not part of it.
    pub fn of<'a>(keys: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let plain =
            |(key, value): (&str, &str)| (key.to_owned(), value.trim_end_matches(['\r', '\n']).to_owned());
        let all = keys.into_iter().map(plain);
        Credentials(all.filter(|(_, value)| !value.trim().is_empty()).collect())
    }

    /// From the environment's variables that begin with `prefix`; the rest of a name is the Secret's key.
    pub fn from_environment(prefix: &str) -> Self {
        let all = environment();
        let keys = all
            .iter()
            .filter_map(|(name, value)| Some((name.strip_prefix(prefix)?, value.as_str())));
        Credentials::of(keys)
    }

    /// As they are.
    pub(crate) fn variables(&self) -> &Variables {
        &self.0
    }

    /// Value of the header `Authorization`; nothing where there is neither a token nor a name and a password.
    pub(crate) fn header(&self) -> Option<String> {
        let read = |key: &str| self.0.get(key);
        if let Some(token) = read("token") {
            return Some(format!("Bearer {}", token.trim()));
        }
        let pair = format!("{}:{}", read("username")?.trim(), read("password")?);
        Some(format!("Basic {}", BASE64_STANDARD.encode(pair)))
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_or_a_name_and_a_password_are_read_without_the_newline_of_a_file() {
        let header = |keys: &[(&str, &str)]| Credentials::of(keys.iter().copied()).header();
        assert_eq!(header(&[("token", "abc\n")]).unwrap(), "Bearer abc");
        // The example of RFC 7617.
        let basic = header(&[("username", "Aladdin\n"), ("password", "open sesame\n")]).unwrap();
        assert_eq!(basic, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        for keys in [
            &[][..],
            &[("username", "a")],
            &[("AWS_TOKEN", "a")],
            &[("token", "\n")],
        ] {
            assert!(header(keys).is_none());
        }
    }

    #[test]
    fn they_are_not_shown() {
        assert!(!format!("{:?}", Credentials::bearer("secret")).contains("secret"));
    }
}
