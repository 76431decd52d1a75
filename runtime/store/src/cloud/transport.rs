//! Connections to a cloud: the client of hyper and the cryptography of rustls that the other programs have, too.

use std::fmt;
use std::io;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use async_trait::async_trait;
use futures::{StreamExt, stream};
use http_body_util::{BodyExt, StreamBody};
use hyper::Response;
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
use tokio::time::{sleep, timeout};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);
/// Until an answer begins, beside the time that the request's bytes take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
/// Bytes a second of the poorest line on which a part is still written.
const POOREST: u64 = 128 << 10;
/// Longest silence within an answer.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(10);
/// A machine's metadata service is on the machine, or there is none.
const IDENTITY_TIMEOUT: Duration = Duration::from_secs(2);
/// Pauses before it is asked again: in a pod's first seconds the way to it may not be there yet.
const IDENTITY_PAUSES: [Duration; 3] = [
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
];
/// How often it may stay silent: where there is none, that is told soon.
const IDENTITY_SILENCES: u32 = 2;
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
        let answer = match who {
            true => identity(&self.0, request).await?,
            false => object(&self.0, request).await?,
        };
        let (head, body) = answer.into_parts();
        let frames = stream::unfold(Some(body), next).fuse();
        Ok(HttpResponse::from_parts(
            head,
            HttpResponseBody::new(StreamBody::new(frames)),
        ))
    }
}

/// An answer of a machine's metadata service. Nobody else tries again: that there is none is final.
async fn identity(client: &Inner, request: HttpRequest) -> Result<Response<Incoming>, HttpError> {
    let mut pauses = IDENTITY_PAUSES.into_iter();
    let mut silences = 0;
    loop {
        match timeout(IDENTITY_TIMEOUT, client.request(request.clone())).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(_)) => {}
            Err(_) => silences += 1,
        }
        match pauses.next() {
            Some(pause) if silences < IDENTITY_SILENCES => sleep(pause).await,
            _ => return Err(HttpError::new(HttpErrorKind::Unknown, NoIdentity)),
        }
    }
}

/// An answer of any other service. The client of objects tries again.
async fn object(client: &Inner, request: HttpRequest) -> Result<Response<Incoming>, HttpError> {
    let length = request.body().content_length() as u64;
    let patience = ANSWER_TIMEOUT + Duration::from_secs(length / POOREST);
    match timeout(patience, client.request(request)).await {
        Ok(answer) => answer.map_err(failed),
        Err(_) => Err(silent("no answer", patience)),
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

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    #[tokio::test]
    async fn a_metadata_service_that_is_not_there_yet_is_asked_again() {
        let closed = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = closed.local_addr().unwrap();
        drop(closed);
        let service = thread::spawn(move || {
            thread::sleep(Duration::from_millis(200));
            let mut stream = TcpListener::bind(address).unwrap().accept().unwrap().0;
            let head = BufReader::new(stream.try_clone().unwrap()).lines();
            let head = head.map(Result::unwrap).take_while(|line| !line.is_empty());
            assert!(head.count() > 0);
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                .unwrap();
        });
        let mut request = HttpRequest::new(HttpRequestBody::empty());
        *request.uri_mut() = format!("http://{address}/token").parse().unwrap();
        let answer = identity(CLIENT.as_ref().unwrap(), request).await.unwrap();
        assert!(answer.status().is_success());
        service.join().unwrap();
    }
}
