//! Clients that never stop asking, by which it shows whether a request is lost.
//!
//! They come through a Service and the node's own proxy, as clients do, on a NodePort, since the test runs outside
//! the cluster. Half of them keep their connection, half open one for each request.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use k8s_openapi::api::core::v1::Service;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::site::Site;
use crate::workload::{SPECIES, THREE};
use crate::{Error, Result};

/// A request of few rows that is not answered by then is lost.
const LIMIT: Duration = Duration::from_secs(5);

/// How many ask, and for how much.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Clients at a time.
    pub clients: usize,
    /// Flowers in a request: what a server computes on.
    pub rows: usize,
    /// Between an answer and the next request of a client.
    pub pause: Duration,
    /// A request that is not answered by then is lost.
    pub limit: Duration,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            clients: 4,
            rows: 1,
            pause: Duration::from_millis(25),
            limit: LIMIT,
        }
    }
}

/// Clients at work.
pub struct Traffic {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Tally>>,
}

/// What became of their requests.
#[derive(Debug, Default)]
pub struct Tally {
    /// Answers by the revision that gave them.
    pub answered: BTreeMap<String, u64>,
    /// Requests without a right answer, and what came instead.
    pub lost: Vec<String>,
    /// The longest that an answer took.
    pub slowest: Duration,
}

impl Tally {
    /// Answers in all.
    #[must_use]
    pub fn answers(&self) -> u64 {
        self.answered.values().sum()
    }

    fn add(&mut self, other: Tally) {
        for (revision, count) in other.answered {
            *self.answered.entry(revision).or_default() += count;
        }
        self.lost.extend(other.lost);
        self.slowest = self.slowest.max(other.slowest);
    }
}

/// What the clients ask for.
#[derive(Clone)]
enum Question {
    /// What some of the three flowers are.
    Flowers,
    /// A file of this JSON.
    File(Value),
}

impl Traffic {
    /// Starts to ask a deployment of the flowers' model, which must answer already.
    ///
    /// # Errors
    /// When its pods cannot be reached from here.
    pub async fn start(site: &Site, deployment: &str) -> Result<Self> {
        Self::shaped(site, deployment, Shape::default()).await
    }

    /// Starts to ask it in this manner.
    ///
    /// # Errors
    /// When its pods cannot be reached from here.
    pub async fn shaped(site: &Site, deployment: &str, shape: Shape) -> Result<Self> {
        let path = format!("/v2/models/{deployment}/infer");
        Self::asking(site, deployment, &path, Question::Flowers, shape).await
    }

    /// Starts to ask a deployment whose server is not ours for the file `path`, which holds this JSON. Who answered is
    /// told by the header `Server`.
    ///
    /// # Errors
    /// When its pods cannot be reached from here.
    pub async fn for_file(site: &Site, deployment: &str, path: &str, json: &Value) -> Result<Self> {
        let file = Question::File(json.clone());
        Self::asking(site, deployment, path, file, Shape::default()).await
    }

    async fn asking(
        site: &Site,
        deployment: &str,
        path: &str,
        question: Question,
        shape: Shape,
    ) -> Result<Self> {
        let url = expose(site, deployment).await? + path;
        let mut first = Tally::default();
        // The node's proxy needs a moment for a new port.
        site.within(Duration::from_secs(20), &format!("{url} answers"), async {
            while first.answers() == 0 {
                ask(&client(false), &url, &question, 0, Shape::default(), &mut first).await;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Ok(())
        })
        .await
        .map_err(|error| Error::Unmet(format!("{error}: {:?}", first.lost.last())))?;
        let stop = Arc::new(AtomicBool::new(false));
        let clients = (0..shape.clients)
            .map(|number| {
                let work = work(number, url.clone(), question.clone(), shape, Arc::clone(&stop));
                tokio::spawn(work)
            })
            .collect();
        Ok(Self { stop, clients })
    }

    /// Ends it after the requests that are under way.
    ///
    /// # Errors
    /// When a client panicked.
    pub async fn end(self) -> Result<Tally> {
        self.stop.store(true, Ordering::Relaxed);
        let mut tally = Tally::default();
        for client in self.clients {
            tally.add(
                client
                    .await
                    .map_err(|error| Error::Unmet(format!("a client failed: {error}")))?,
            );
        }
        eprintln!(
            "{} requests answered, {} lost, the slowest took {:?}",
            tally.answers(),
            tally.lost.len(),
            tally.slowest
        );
        Ok(tally)
    }
}

/// A port of the node for the deployment's pods, as the beginning of a URL.
async fn expose(site: &Site, deployment: &str) -> Result<String> {
    let name = format!("{deployment}-traffic");
    site.apply(json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
        "spec": {
            "type": "NodePort", "selector": {"sconce.dev/deployment": deployment},
            "ports": [{"port": 80, "targetPort": "http"}],
        },
    }))
    .await?;
    let service: Service = site.get(&name).await?;
    let port = service.spec.and_then(|spec| spec.ports?.first()?.node_port);
    let port = port.ok_or_else(|| Error::Unmet("the Service has no node port".to_owned()))?;
    let (_, node) = site.node().await?;
    Ok(format!("http://{node}:{port}"))
}

type Asker = Client<HttpConnector, Full<Bytes>>;

fn client(keeps: bool) -> Asker {
    let mut builder = Client::builder(TokioExecutor::new());
    if !keeps {
        builder.pool_max_idle_per_host(0);
    }
    builder.build(HttpConnector::new())
}

async fn work(number: usize, url: String, question: Question, shape: Shape, stop: Arc<AtomicBool>) -> Tally {
    let client = client(number.is_multiple_of(2));
    let mut tally = Tally::default();
    for turn in number.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        ask(&client, &url, &question, turn, shape, &mut tally).await;
        tokio::time::sleep(shape.pause).await;
    }
    tally
}

/// Asks once, and holds the answer against the right one.
async fn ask(client: &Asker, url: &str, question: &Question, turn: usize, shape: Shape, tally: &mut Tally) {
    let flowers: Vec<usize> = (turn..turn + shape.rows).map(|row| row % THREE.len()).collect();
    let limit = shape.limit;
    let started = Instant::now();
    let answered = async {
        match question {
            Question::Flowers => infer(client, url, &flowers).await,
            Question::File(json) => read(client, url, json).await,
        }
    };
    let outcome = match tokio::time::timeout(limit, answered).await {
        Ok(outcome) => outcome,
        Err(_) => Err(format!("no answer within {limit:?}")),
    };
    tally.slowest = tally.slowest.max(started.elapsed());
    match outcome {
        Ok(revision) => *tally.answered.entry(revision).or_default() += 1,
        Err(why) => tally.lost.push(why),
    }
}

/// The revision that knows what the flowers are.
async fn infer(client: &Asker, url: &str, flowers: &[usize]) -> std::result::Result<String, String> {
    let data: Vec<f64> = flowers.iter().flat_map(|&flower| THREE[flower]).collect();
    let input = json!({"name": "input", "shape": [flowers.len(), 4], "datatype": "FP32", "data": data});
    let request = http::Request::post(url)
        .header("content-type", "application/json")
        .body(Full::from(json!({"inputs": [input]}).to_string()))
        .map_err(|error| error.to_string())?;
    let (head, text) = send(client, request).await?;
    let answer: Value =
        serde_json::from_str(&text).map_err(|error| format!("{}: {error}: {text}", head.status))?;
    let species: Vec<&str> = flowers.iter().map(|&flower| SPECIES[flower]).collect();
    let right = answer["outputs"][1]["data"]
        .as_array()
        .is_some_and(|labels| *labels == species);
    match answer["model_version"].as_str() {
        Some(revision) if head.status.is_success() && right => Ok(revision.to_owned()),
        _ => Err(wrong(&head, &text)),
    }
}

/// The server that has the file.
async fn read(client: &Asker, url: &str, wanted: &Value) -> std::result::Result<String, String> {
    let request = http::Request::get(url)
        .body(Full::default())
        .map_err(|error| error.to_string())?;
    let (head, text) = send(client, request).await?;
    let server = head.headers.get(http::header::SERVER);
    let right = serde_json::from_str::<Value>(&text).is_ok_and(|json| json == *wanted);
    match server.and_then(|server| server.to_str().ok()) {
        Some(server) if head.status.is_success() && right => Ok(server.to_owned()),
        _ => Err(wrong(&head, &text)),
    }
}

async fn send(
    client: &Asker,
    request: http::Request<Full<Bytes>>,
) -> std::result::Result<(http::response::Parts, String), String> {
    let response = client.request(request).await.map_err(|error| chain(&error))?;
    let (head, body) = response.into_parts();
    let body = body.collect().await.map_err(|error| chain(&error))?.to_bytes();
    Ok((head, String::from_utf8_lossy(&body).into_owned()))
}

fn wrong(head: &http::response::Parts, text: &str) -> String {
    format!("{}: {}", head.status, text.chars().take(500).collect::<String>())
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
