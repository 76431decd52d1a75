//! Questions to a Service through the API server's proxy, which reaches it from wherever kubectl does.

use http_body_util::BodyExt;
use kube::client::Body;
use serde_json::Value;

use crate::site::Site;
use crate::{Error, Result};

impl Site {
    /// `GET` through the API server's proxy of a Service of this namespace.
    ///
    /// # Errors
    /// When the answer is no success, or no JSON.
    pub async fn ask(&self, service: &str, path: &str) -> Result<Value> {
        self.send(http::Request::get(self.proxied(service, path)), Vec::new(), path)
            .await
    }

    /// `POST` through the API server's proxy of a Service of this namespace.
    ///
    /// # Errors
    /// When the answer is no success, or no JSON.
    pub async fn post(&self, service: &str, path: &str, body: &Value) -> Result<Value> {
        let request =
            http::Request::post(self.proxied(service, path)).header("content-type", "application/json");
        self.send(request, body.to_string().into_bytes(), path).await
    }

    /// The bytes that a Service of this namespace answers with to `GET`.
    ///
    /// # Errors
    /// When the answer is no success.
    pub async fn fetch(&self, service: &str, path: &str) -> Result<Vec<u8>> {
        self.bytes(http::Request::get(self.proxied(service, path)), Vec::new(), path)
            .await
    }

    fn proxied(&self, service: &str, path: &str) -> String {
        format!(
            "/api/v1/namespaces/{}/services/http:{service}:80/proxy{path}",
            self.namespace
        )
    }

    async fn send(&self, request: http::request::Builder, body: Vec<u8>, path: &str) -> Result<Value> {
        let body = self.bytes(request, body, path).await?;
        serde_json::from_slice(&body).map_err(|error| {
            let text = String::from_utf8_lossy(&body);
            Error::Unmet(format!("{path} is answered with no JSON ({error}): {text}"))
        })
    }

    /// Not by the client's own `request`: it takes whatever is no success for an answer of the API server's.
    async fn bytes(&self, request: http::request::Builder, body: Vec<u8>, path: &str) -> Result<Vec<u8>> {
        let request = request
            .body(Body::from(body))
            .map_err(|error| Error::Unmet(format!("{path} is no path: {error}")))?;
        let response = self
            .client
            .send(request)
            .await
            .map_err(Error::api(format!("answer {path}")))?;
        let status = response.status();
        let body = response
            .into_body()
            .collect()
            .await
            .map_err(Error::api(format!("answer {path}")))?
            .to_bytes();
        if !status.is_success() {
            let text = String::from_utf8_lossy(&body);
            return Err(Error::Unmet(format!("{path} is answered with {status}: {text}")));
        }
        Ok(body.to_vec())
    }
}
