//! Connections to a cloud: the client of hyper and the cryptography of rustls that the other programs have, too.

use std::fmt;
use std::io;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use async_trait::async_trait;
use futures::{StreamExt, stream};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector as TcpConnector;
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody, HttpResponse,
    HttpResponseBody, HttpService,
};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio::time::timeout;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);
/// Until an answer begins, beside the time that the request's bytes take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
/// Bytes a second of the poorest line on which a part is still written.
const POOREST: u64 = 128 << 10;
/// Longest silence within an answer.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(10);
/// A machine's metadata service is on the machine, or there is none.
const IDENTITY_TIMEOUT: Duration = Duration::from_secs(2);
/// Addresses of the metadata services of Amazon, Azure and Google.
const IDENTITY_HOSTS: [&str; 3] = ["169.254.169.254", "metadata.google.internal", "metadata"];
/// Services close what is idle for longer.
const IDLE_TIMEOUT: Duration = Duration::from_secs(15);
/// Variables that name a file with authorities besides the public ones, as other programs have them.
const AUTHORITIES: [&str; 2] = ["AWS_CA_BUNDLE", "SSL_CERT_FILE"];

/// Makes clients, which share all connections.
#[derive(Debug)]
pub(super) struct Connector;

impl HttpConnector for Connector {
    fn connect(&self, _options: &object_store::ClientOptions) -> object_store::Result<HttpClient> {
        match &*CLIENT {
            Ok(client) => Ok(HttpClient::new(Transport(client.clone()))),
            Err(reason) => Err(object_store::Error::Generic {
                store: "TLS",
                source: reason.clone().into(),
            }),
        }
    }
}

/// That nobody says who is asking.
#[derive(Debug, thiserror::Error)]
#[error(
    "there are no credentials: credentialsRef names no Secret that has them, the pod's ServiceAccount stands for no one \
     there, and no metadata service answers on this machine"
)]
pub(super) struct NoIdentity;

type Inner = Client<HttpsConnector<TcpConnector>, HttpRequestBody>;

static CLIENT: LazyLock<Result<Inner, String>> = LazyLock::new(|| {
    let mut tcp = TcpConnector::new();
    tcp.enforce_http(false);
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    tcp.set_nodelay(true);
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(tls()?)
        .https_or_http()
        .enable_http1()
        .wrap_connector(tcp);
    Ok(Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_TIMEOUT)
        .build(connector))
});

fn tls() -> Result<ClientConfig, String> {
    let mut roots = RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    for file in AUTHORITIES.iter().filter_map(std::env::var_os) {
        let failed = |reason: &dyn fmt::Display| {
            format!("the authorities in {} cannot be read: {reason}", file.display())
        };
        let opened = std::fs::File::open(&file).map_err(|error| failed(&error))?;
        for certificate in CertificateDer::pem_reader_iter(opened) {
            let certificate = certificate.map_err(|error| failed(&error))?;
            roots.add(certificate).map_err(|error| failed(&error))?;
        }
    }
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

struct Transport(Inner);

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Transport")
    }
}

#[async_trait]
impl HttpService for Transport {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let who = request
            .uri()
            .host()
            .is_some_and(|host| IDENTITY_HOSTS.contains(&host));
        let length = request.body().content_length() as u64;
        let patience = match who {
            true => IDENTITY_TIMEOUT,
            false => ANSWER_TIMEOUT + Duration::from_secs(length / POOREST),
        };
        let answer = match timeout(patience, self.0.request(request)).await {
            Ok(Ok(answer)) => answer,
            _ if who => return Err(HttpError::new(HttpErrorKind::Unknown, NoIdentity)),
            Ok(Err(error)) => return Err(failed(error)),
            Err(_) => return Err(silent("no answer", patience)),
        };
        let (head, body) = answer.into_parts();
        let frames = stream::unfold(Some(body), next).fuse();
        Ok(HttpResponse::from_parts(
            head,
            HttpResponseBody::new(StreamBody::new(frames)),
        ))
    }
}

/// The next frame of a body, and the rest of it.
async fn next(body: Option<Incoming>) -> Option<(Result<Frame<bytes::Bytes>, HttpError>, Option<Incoming>)> {
    let mut body = body?;
    match timeout(SILENCE_TIMEOUT, body.frame()).await {
        Ok(None) => None,
        Ok(Some(Ok(frame))) => Some((Ok(frame), Some(body))),
        Ok(Some(Err(error))) => Some((Err(HttpError::new(HttpErrorKind::Interrupted, error)), None)),
        Err(_) => Some((Err(silent("silence within an answer", SILENCE_TIMEOUT)), None)),
    }
}

fn failed(error: ClientError) -> HttpError {
    let kind = match error.is_connect() {
        true => HttpErrorKind::Connect,
        false => HttpErrorKind::Interrupted,
    };
    HttpError::new(kind, error)
}

fn silent(what: &str, patience: Duration) -> HttpError {
    let reason = format!("{what} for {} s", patience.as_secs());
    HttpError::new(
        HttpErrorKind::Timeout,
        io::Error::new(io::ErrorKind::TimedOut, reason),
    )
}
