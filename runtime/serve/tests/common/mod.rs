//! A small model on disk, a real server process, and a client that speaks HTTP by hand.
#![allow(dead_code, reason = "each file of tests uses another part")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use candle_core::{DType, Device, Tensor};
use sconce_contract::{Activation, Feature, FileDigest, Layer, Mount, Network, Preprocess, Target};
use sconce_model::{Draft, save};
use sconce_store::Store;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A model with features `radius` (mean 10, scale 2) and `texture` (mean 5, scale 1). Binary: the sigmoid of
/// `radius − texture`, classes benign and malignant. Otherwise three classes by softmax.
pub fn draft(binary: bool) -> Draft {
    let tensor = |values: &[f32], shape: &[usize]| Tensor::from_slice(values, shape, &Device::Cpu).unwrap();
    let (units, last, weight, classes) = if binary {
        (
            1,
            Activation::Sigmoid,
            &[1.0, -1.0][..],
            &["benign", "malignant"][..],
        )
    } else {
        (
            3,
            Activation::Softmax,
            &[1.0, 0.0, -1.0, 0.0, 1.0, -1.0][..],
            &["a", "b", "c"][..],
        )
    };
    Draft {
        name: "tumour".into(),
        run: "run".into(),
        network: Network {
            input: None,
            layers: vec![Layer::dense(units, last)],
        },
        weights: BTreeMap::from([
            ("layers.0.weight".into(), tensor(weight, &[2, units as usize])),
            (
                "layers.0.bias".into(),
                tensor(&vec![0.0; units as usize], &[units as usize]),
            ),
        ]),
        formats: Vec::new(),
        preprocess: Preprocess {
            features: vec![
                Feature::number("radius", 10.0, 2.0),
                Feature::number("texture", 5.0, 1.0),
            ],
            target: Target {
                name: "diagnosis".into(),
                classes: Some(classes.iter().map(ToString::to_string).collect()),
            },
        },
        metrics: vec![],
        data: FileDigest::of(b"data"),
        rows: 100,
        facts: Default::default(),
        seed: 42,
        hyperparameters: None,
        search: None,
        trainer: "0.1.0".into(),
    }
}

/// A model of two columns of integers, 0 to 2, of which each has a number that they add up to.
pub fn of_integers() -> Draft {
    let tensor = |values: &[f32], shape: &[usize]| Tensor::from_slice(values, shape, &Device::Cpu).unwrap();
    let feature = |name: &str| Feature::number(name, 0.0, 1.0);
    let network = json!({"layers": [
        {"embedding": {"vocabulary": 3, "dimensions": 1}}, {"flatten": {}}, {"dense": {"units": 1}},
    ]});
    let mut draft = Draft {
        network: serde_json::from_value(network).unwrap(),
        weights: BTreeMap::from([
            ("layers.0.weight".into(), tensor(&[1.0, 10.0, 100.0], &[3, 1])),
            ("layers.2.weight".into(), tensor(&[1.0, 1.0], &[2, 1])),
            ("layers.2.bias".into(), tensor(&[0.0], &[1])),
        ]),
        ..draft(true)
    };
    draft.preprocess.features = vec![feature("first"), feature("second")];
    draft.preprocess.target.classes = None;
    draft
}

/// A binary model with two hidden layers of so many units: it takes a while.
pub fn wide(units: usize) -> Draft {
    let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
    let width = u32::try_from(units).unwrap();
    let sizes = [(2, units), (units, units), (units, 1)];
    let tensors = sizes.iter().enumerate().flat_map(|(layer, (inputs, outputs))| {
        [
            (format!("layers.{layer}.weight"), zeros(&[*inputs, *outputs])),
            (format!("layers.{layer}.bias"), zeros(&[*outputs])),
        ]
    });
    Draft {
        network: Network {
            input: None,
            layers: vec![
                Layer::dense(width, Activation::Tanh),
                Layer::dense(width, Activation::Tanh),
                Layer::dense(1, Activation::Sigmoid),
            ],
        },
        weights: tensors.collect(),
        ..draft(true)
    }
}

/// A folder with a model in it and a plan that serves it.
pub struct Fixture {
    pub folder: TempDir,
    pub plan: Value,
    /// Of the artifact.
    pub path: PathBuf,
}

impl Fixture {
    pub fn new(draft: Draft) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mount = Mount {
            uri: "pvc://models".into(),
            path: folder.path().to_owned(),
        };
        let store = Store::new(vec![mount.clone()]);
        let (_, artifact) = save(&store, "pvc://models/tumour", draft).unwrap();
        let path = folder
            .path()
            .join("tumour")
            .join(artifact.digest.trim_start_matches("sha256:"));
        let plan = json!({
            "name": "tumour", "revision": "r1", "model": artifact.uri, "digest": artifact.digest,
            "mounts": [mount],
        });
        Fixture { folder, plan, path }
    }

    pub fn report(&self) -> Value {
        serde_json::from_slice(&std::fs::read(self.folder.path().join("report")).unwrap()).unwrap()
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let plan = self.folder.path().join("plan.json");
        std::fs::write(&plan, self.plan.to_string()).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_sconce-server"));
        command
            .env("SCONCE_LISTEN", "127.0.0.1:0")
            .env("SCONCE_OBSERVE", "127.0.0.1:0")
            .env("SCONCE_DRAIN_DELAY", "0s")
            .env("SCONCE_PLAN", plan)
            .env("SCONCE_REPORT", self.folder.path().join("report"))
            .args(arguments)
            .stderr(Stdio::piped());
        command
    }

    /// Starts a server and waits until it is ready.
    pub fn serve(&self, arguments: &[&str]) -> Server {
        let server = self.start(arguments);
        server.wait_ready();
        server
    }

    /// Starts a server that may not become ready.
    pub fn start(&self, arguments: &[&str]) -> Server {
        let mut child = self.command(arguments).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let listening: Value = loop {
            let line = lines.next().expect("the server ended").unwrap();
            let line: Value = serde_json::from_str(&line).expect(&line);
            if line["message"] == "listening" {
                break line;
            }
        };
        std::thread::spawn(move || lines.for_each(|line| eprintln!("{}", line.unwrap_or_default())));
        let address = |name: &str| listening[name].as_str().unwrap().to_owned();
        Server {
            child,
            http: address("http"),
            observe: address("observe"),
        }
    }

    /// Runs a server that is expected to end by itself.
    pub fn fails(&self, arguments: &[&str]) -> (i32, Value) {
        let output = self.command(arguments).output().unwrap();
        assert!(
            !String::from_utf8_lossy(&output.stderr).contains("panicked"),
            "{output:?}"
        );
        (output.status.code().unwrap(), self.report())
    }
}

/// Looks until it is so; gives up where nothing will come any more.
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(
            start.elapsed() < Duration::from_secs(120),
            "waited in vain until {what}"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The head of a request to predict, whose body has so many bytes.
pub fn head(path: &str, length: usize) -> Vec<u8> {
    format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n").into_bytes()
}

/// A running server; killed when dropped.
pub struct Server {
    pub child: Child,
    pub http: String,
    pub observe: String,
}

impl Server {
    pub fn wait_ready(&self) {
        until("the server is ready", || self.probe("/readyz").status == 200);
    }

    pub fn connect(&self) -> Client {
        Client::to(&self.http)
    }

    pub fn get(&self, path: &str) -> Reply {
        self.connect().send("GET", path, &[], b"")
    }

    pub fn post(&self, path: &str, body: &Value) -> Reply {
        self.connect().post(path, body.to_string().as_bytes())
    }

    pub fn probe(&self, path: &str) -> Reply {
        Client::to(&self.observe).send("GET", path, &[], b"")
    }

    pub fn load(&self) -> Value {
        self.probe("/v1/load").json()
    }

    pub fn terminate(&self) {
        let kill = Command::new("kill")
            .args(["-TERM", &self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(kill.success());
    }

    /// Waits until the process has ended.
    pub fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        until("the server ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    /// Resident memory in KiB.
    pub fn resident(&self) -> u64 {
        self.memory("VmRSS")
    }

    /// The most resident memory that it ever had, in KiB.
    pub fn peak(&self) -> u64 {
        self.memory("VmHWM")
    }

    fn memory(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(field)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One keep-alive connection.
pub struct Client {
    pub stream: BufReader<TcpStream>,
}

/// An answer.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn error(&self) -> String {
        self.json()["error"]
            .as_str()
            .unwrap_or_else(|| panic!("no error: {}", self.text()))
            .to_owned()
    }
}

impl Client {
    pub fn to(address: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.set_nodelay(true).unwrap();
        Client {
            stream: BufReader::new(stream),
        }
    }

    pub fn post(&mut self, path: &str, body: &[u8]) -> Reply {
        self.send("POST", path, &[("Content-Type", "application/json")], body)
    }

    pub fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        self.try_send(method, path, headers, body).unwrap()
    }

    pub fn try_send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> std::io::Result<Reply> {
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n",
            body.len()
        );
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let mut bytes = format!("{head}\r\n").into_bytes();
        bytes.extend(body);
        // A server may answer and close before it has read everything.
        let written = self.stream.get_mut().write_all(&bytes);
        self.read(method == "HEAD")
            .or_else(|error| written.and(Err(error)))
    }

    /// Writes bytes as they are.
    pub fn write(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).unwrap();
    }

    /// Reads an answer with a Content-Length.
    pub fn read(&mut self, head: bool) -> std::io::Result<Reply> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| std::io::Error::other(format!("no answer: {line:?}")))?;
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(": ") else {
                break;
            };
            headers.insert(name.to_ascii_lowercase(), value.to_owned());
        }
        let length = headers
            .get("content-length")
            .map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; if head { 0 } else { length }];
        self.stream.read_exact(&mut body)?;
        Ok(Reply {
            status,
            headers,
            body,
        })
    }
}
