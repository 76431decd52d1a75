//! Azure Blob Storage.

use std::sync::Arc;

use object_store::ObjectStore;
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};

use super::transport::Connector;
use crate::credentials::Variables;

/// Where it is; names for the same thing together.
pub(super) const SETTINGS: &[&[&str]] = &[
    &["AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_ACCOUNT_NAME"],
    &["AZURE_STORAGE_ENDPOINT"],
    &["AZURE_AUTHORITY_HOST"],
];

/// By the variables of Azure's own clients: the account with its key or a shared access signature, a client with its
/// secret, the token of a ServiceAccount (AKS workload identity), and else the machine's managed identity.
pub(super) fn connect(variables: &Variables, container: &str) -> object_store::Result<Arc<dyn ObjectStore>> {
    let mut builder = MicrosoftAzureBuilder::new();
    for (name, value) in variables {
        // The command line's names for the same.
        let key = match name.as_str() {
            "AZURE_STORAGE_ACCOUNT" => Some(AzureConfigKey::AccountName),
            "AZURE_STORAGE_KEY" => Some(AzureConfigKey::AccessKey),
            name if name.starts_with("AZURE_") => name.to_ascii_lowercase().parse().ok(),
            _ => None,
        };
        if let Some(key) = key {
            builder = builder.with_config(key, value);
        }
    }
    let store = builder
        .with_container_name(container)
        .with_retry(super::patience())
        .with_http_connector(Connector)
        .build()?;
    Ok(Arc::new(store))
}
