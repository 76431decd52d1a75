//! Clients that are not the administrator, so that a test meets the real RBAC.

use std::path::{Path, PathBuf};
use std::{fs, io};

use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::client::ConfigExt;
use kube::client::retry::RetryPolicy;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use tower::retry::RetryLayer;
use tower::{BoxError, ServiceBuilder};

use crate::kubeconfig::{Identity, render};
use crate::{ControlPlane, Error, Result};

impl ControlPlane {
    /// A client that is authorized as `user` in `groups` and has none of the administrator's
    /// rights: `client_as("eve", &[])`.
    ///
    /// # Errors
    /// When the kubeconfig cannot be written or read.
    pub async fn client_as(&self, user: &str, groups: &[&str]) -> Result<Client> {
        let identity = Identity::Impersonated {
            token: self.token(),
            user,
            groups,
        };
        let file = self.write_kubeconfig(&format!("as-{user}"), &identity)?;
        client(&file).await
    }

    /// A client with a token of that service account, as a pod of it would have.
    ///
    /// # Errors
    /// When there is no such service account.
    pub async fn client_of_service_account(&self, namespace: &str, name: &str) -> Result<Client> {
        client(&self.kubeconfig_of_service_account(namespace, name).await?).await
    }

    /// A kubeconfig with a token of that service account, valid for an hour: for a process that
    /// runs outside the cluster with the rights that the chart gives it.
    ///
    /// # Errors
    /// When there is no such service account, or the file cannot be written.
    pub async fn kubeconfig_of_service_account(&self, namespace: &str, name: &str) -> Result<PathBuf> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client(), namespace);
        let spec = TokenRequestSpec {
            expiration_seconds: Some(3_600),
            ..Default::default()
        };
        let request = TokenRequest {
            spec,
            ..Default::default()
        };
        let answer = accounts
            .create_token_request(name, &kube::api::PostParams::default(), &request)
            .await
            .map_err(Error::api(format!(
                "give a token to service account {namespace}/{name}"
            )))?;
        let token = answer.status.map(|status| status.token).unwrap_or_default();
        self.write_kubeconfig(&format!("{namespace}-{name}"), &Identity::Token(&token))
    }

    pub(crate) fn write_kubeconfig(&self, name: &str, identity: &Identity<'_>) -> Result<PathBuf> {
        let name: String = name
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
            .collect();
        let file = self.folder().join(format!("{name}.kubeconfig"));
        let authority = self.layout().authority();
        let config = render(self.url(), &authority.display().to_string(), identity);
        write_private(&file, &config.to_string()).map_err(Error::file("write", &file))?;
        Ok(file)
    }
}

/// A client that speaks as a kubeconfig says.
///
/// # Errors
/// When the file is not a kubeconfig that can be used.
pub async fn client(kubeconfig: &Path) -> Result<Client> {
    let unusable = |source| Error::Kubeconfig {
        path: kubeconfig.to_owned(),
        source: Box::new(source),
    };
    let parsed = Kubeconfig::read_from(kubeconfig).map_err(unusable)?;
    let config = Config::from_custom_kubeconfig(parsed, &KubeConfigOptions::default())
        .await
        .map_err(unusable)?;
    prompt(config).map_err(Error::api("accept a client"))
}

/// As the operator's own connection (`operator/src/connection.rs`): kube's leaves Nagle's algorithm on, and each write
/// would take 40 ms longer.
fn prompt(config: Config) -> kube::Result<Client> {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    let connector = config.rustls_https_connector_with_connector(connector)?;
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(
            config
                .default_retry
                .then(|| RetryLayer::new(RetryPolicy::server_retry())),
        )
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(HttpClient::builder(TokioExecutor::new()).build(connector));
    Ok(Client::new(service, config.default_namespace))
}

/// A kubeconfig beside the administrator's, as `user`, whose context is in `namespace`: what a person has.
///
/// # Errors
/// When the administrator's cannot be read or the file cannot be written.
pub fn kubeconfig_as(administrator: &Path, user: &str, namespace: &str) -> Result<PathBuf> {
    let text = fs::read_to_string(administrator).map_err(Error::file("read", administrator))?;
    let mut config: serde_json::Value = serde_json::from_str(&text)
        .map_err(|error| Error::Unmet(format!("{} is none of ours: {error}", administrator.display())))?;
    config["users"][0]["user"]["as"] = user.into();
    config["contexts"][0]["context"]["namespace"] = namespace.into();
    let file = administrator.with_file_name(format!("{user}-{namespace}.kubeconfig"));
    write_private(&file, &config.to_string()).map_err(Error::file("write", &file))?;
    Ok(file)
}

/// Writes a file that only its owner may read: it holds a token.
fn write_private(file: &Path, text: &str) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::write(file, text)?;
    fs::set_permissions(file, fs::Permissions::from_mode(0o600))
}
