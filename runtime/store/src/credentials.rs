//! What a web server wants to hear before it answers.

use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

/// Sent to the server that a URI names, and to no other that it leads on to.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials(String);

/// Variables that hold no credentials.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the Secret has neither the key token nor the keys username and password (variables {prefix}…): add them"
)]
pub struct NoCredentials {
    prefix: String,
}

impl Credentials {
    /// A token (RFC 6750).
    pub fn bearer(token: &str) -> Self {
        Credentials(format!("Bearer {}", token.trim()))
    }

    /// A name and a password (RFC 7617).
    pub fn basic(username: &str, password: &str) -> Self {
        let pair = format!("{}:{}", username.trim(), password.trim_end_matches(['\r', '\n']));
        Credentials(format!("Basic {}", BASE64_STANDARD.encode(pair)))
    }

    /// From variables that begin with `prefix` and end with `token`, or `username` and `password`. A Secret made of
    /// a file often ends in a newline, which is not part of it.
    ///
    /// # Errors
    /// Where there are none.
    pub fn from_variables(
        prefix: &str,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, NoCredentials> {
        let read = |key: &str| variable(&format!("{prefix}{key}")).filter(|value| !value.trim().is_empty());
        if let Some(token) = read("token") {
            return Ok(Credentials::bearer(&token));
        }
        match (read("username"), read("password")) {
            (Some(username), Some(password)) => Ok(Credentials::basic(&username, &password)),
            _ => Err(NoCredentials {
                prefix: prefix.to_owned(),
            }),
        }
    }

    /// Value of the header `Authorization`.
    pub(crate) fn header(&self) -> &str {
        &self.0
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

    fn from(pairs: &[(&str, &str)]) -> Result<Credentials, NoCredentials> {
        Credentials::from_variables("P_", |name| {
            let found = pairs.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn a_token_or_a_name_and_a_password_are_read_without_the_newline_of_a_file() {
        assert_eq!(from(&[("P_token", "abc\n")]).unwrap().header(), "Bearer abc");
        // The example of RFC 7617.
        let basic = from(&[("P_username", "Aladdin\n"), ("P_password", "open sesame\n")]).unwrap();
        assert_eq!(basic.header(), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        for pairs in [
            &[][..],
            &[("P_username", "a")],
            &[("token", "a")],
            &[("P_token", "\n")],
        ] {
            assert!(from(pairs).is_err());
        }
    }

    #[test]
    fn they_are_not_shown() {
        assert!(!format!("{:?}", Credentials::bearer("secret")).contains("secret"));
    }
}
