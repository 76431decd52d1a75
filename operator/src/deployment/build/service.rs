//! The address.

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{metadata, selector};
use crate::deployment::validate::Serving;

/// Port of the Service.
const SERVICE_PORT: i32 = 80;

/// Pods of every revision that are ready answer.
pub(super) fn service(serving: &Serving<'_>) -> Service {
    Service {
        metadata: metadata(serving, serving.name.clone()),
        spec: Some(ServiceSpec {
            selector: Some(selector(serving)),
            ports: Some(vec![ServicePort {
                name: Some("http".to_owned()),
                port: SERVICE_PORT,
                target_port: Some(IntOrString::String("http".to_owned())),
                protocol: Some("TCP".to_owned()),
                app_protocol: Some("http".to_owned()),
                ..ServicePort::default()
            }]),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}
