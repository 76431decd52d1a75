//! Google Cloud Storage.

use std::sync::Arc;

use object_store::ObjectStore;
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};

use super::transport::Connector;
use crate::credentials::Variables;

/// Where Google's own clients look for an emulator.
const EMULATOR: &str = "STORAGE_EMULATOR_HOST";

/// What an emulator is shown by who writes.
const EMULATOR_TOKEN: &str = "emulator";

/// Where it is.
pub(super) const SETTINGS: &[&[&str]] = &[&[EMULATOR]];

/// By the variables of Google's own clients: the file of a service account (GOOGLE_APPLICATION_CREDENTIALS) or its text
/// (GOOGLE_SERVICE_ACCOUNT_KEY), and else the metadata service, which on GKE speaks for the ServiceAccount.
pub(super) fn connect(variables: &Variables, bucket: &str) -> object_store::Result<Arc<dyn ObjectStore>> {
    let mut builder = GoogleCloudStorageBuilder::new();
    for (name, value) in variables {
        let key = name.starts_with("GOOGLE_").then(|| name.to_ascii_lowercase());
        if let Some(Ok(key)) = key.map(|key| key.parse::<GoogleConfigKey>()) {
            builder = builder.with_config(key, value);
        }
    }
    if let Some(host) = variables.get(EMULATOR) {
        let host = host.trim_end_matches('/');
        let url = if host.contains("://") {
            host.to_owned()
        } else {
            format!("http://{host}")
        };
        // An emulator asks for no credentials, and there are none to show: without a token of its own, the client would ask
        // the metadata service for one before it writes.
        builder = builder.with_base_url(&url).with_skip_signature(true);
        builder = builder.with_config(GoogleConfigKey::BearerToken, EMULATOR_TOKEN);
    }
    let store = builder
        .with_bucket_name(bucket)
        .with_retry(super::patience())
        .with_http_connector(Connector)
        .build()?;
    Ok(Arc::new(store))
}
