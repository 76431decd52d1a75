//! Amazon S3, and what speaks its protocol.

use std::sync::Arc;

use object_store::ObjectStore;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};

use super::transport::Connector;
use crate::credentials::Variables;

/// Where it is; names for the same thing together.
pub(super) const SETTINGS: &[&[&str]] = &[
    &["AWS_REGION", "AWS_DEFAULT_REGION"],
    &["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"],
    &["AWS_ENDPOINT_URL_STS"],
    &["AWS_VIRTUAL_HOSTED_STYLE_REQUEST"],
];

/// By the variables of Amazon's own clients: keys, the token of a ServiceAccount (IRSA), the agent of a container (EKS
/// Pod Identity), and else the machine's metadata service.
pub(super) fn connect(variables: &Variables, bucket: &str) -> object_store::Result<Arc<dyn ObjectStore>> {
    let mut builder = AmazonS3Builder::new();
    for (name, value) in variables {
        let key = name.starts_with("AWS_").then(|| name.to_ascii_lowercase());
        if let Some(Ok(key)) = key.map(|key| key.parse::<AmazonS3ConfigKey>()) {
            builder = builder.with_config(key, value);
        }
    }
    let store = builder
        .with_bucket_name(bucket)
        // Whether one of many may not be deleted is told within an answer of success; we delete one at a time anyway.
        .with_disable_bulk_delete(true)
        .with_retry(super::patience())
        .with_http_connector(Connector)
        .build()?;
    Ok(Arc::new(store))
}
