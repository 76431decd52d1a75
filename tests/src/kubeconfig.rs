//! The text of a kubeconfig, as JSON, which is YAML too.

use serde_json::{Value, json};

/// As whom a client speaks.
pub(crate) enum Identity<'a> {
    /// The bearer of a token.
    Token(&'a str),
    /// Somebody whom the bearer of an administrator's token impersonates. The API server
    /// authorizes the request as that somebody's
    /// (Kubernetes documentation, Authentication, "User impersonation").
    Impersonated {
        token: &'a str,
        user: &'a str,
        groups: &'a [&'a str],
    },
}

/// A kubeconfig with one context that speaks to `server` as `identity`.
pub(crate) fn render(server: &str, authority_file: &str, identity: &Identity<'_>) -> Value {
    let user = match identity {
        Identity::Token(token) => json!({ "token": token }),
        Identity::Impersonated { token, user, groups } => {
            json!({ "token": token, "as": user, "as-groups": groups })
        }
    };
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "loopback",
        "contexts": [{ "name": "loopback", "context": { "cluster": "loopback", "user": "loopback" } }],
        "clusters": [{
            "name": "loopback",
            "cluster": { "server": server, "certificate-authority": authority_file },
        }],
        "users": [{ "name": "loopback", "user": user }],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impersonation_keeps_the_administrators_token() {
        let identity = Identity::Impersonated {
            token: "t",
            user: "eve",
            groups: &["readers"],
        };
        let config = render("https://127.0.0.1:1", "ca.crt", &identity);
        let user = &config["users"][0]["user"];
        assert_eq!(
            user,
            &json!({ "token": "t", "as": "eve", "as-groups": ["readers"] })
        );
        let parsed = kube::config::Kubeconfig::from_yaml(&config.to_string()).unwrap();
        assert_eq!(parsed.current_context.as_deref(), Some("loopback"));
    }
}
