//! Real servers that share a cache: one downloads, a crash loses nothing, and damage is never served.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use common::{Fixture, Server, draft};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Serves a folder; counts what was asked for, and can hold answers back.
struct Web {
    address: String,
    state: Arc<(Mutex<State>, Condvar)>,
}

#[derive(Default)]
struct State {
    asked: Vec<String>,
    holding: bool,
}

impl Web {
    fn of(folder: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let state = Arc::new((Mutex::new(State::default()), Condvar::new()));
        let (shared, folder) = (Arc::clone(&state), folder.to_owned());
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (shared, folder) = (Arc::clone(&shared), folder.clone());
                thread::spawn(move || answer(stream.unwrap(), &folder, &shared));
            }
        });
        Web { address, state }
    }

    fn uri(&self) -> String {
        format!("http://{}/model", self.address)
    }

    fn times(&self, file: &str) -> usize {
        let state = self.state.0.lock().unwrap();
        state.asked.iter().filter(|asked| asked.ends_with(file)).count()
    }

    fn hold(&self, holding: bool) {
        self.state.0.lock().unwrap().holding = holding;
        self.state.1.notify_all();
    }

    /// Returns once somebody asked for a file.
    fn asked_for(&self, file: &str) {
        let (state, changed) = &*self.state;
        let state = state.lock().unwrap();
        let asked = |state: &mut State| !state.asked.iter().any(|asked| asked.ends_with(file));
        drop(changed.wait_while(state, asked).unwrap());
    }
}

fn answer(mut stream: TcpStream, folder: &Path, shared: &(Mutex<State>, Condvar)) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let path = lines
        .next()
        .unwrap()
        .unwrap()
        .split(' ')
        .nth(1)
        .unwrap()
        .to_owned();
    for line in lines {
        if line.unwrap().is_empty() {
            break;
        }
    }
    let name = path.rsplit('/').next().unwrap();
    let bytes = std::fs::read(folder.join(name)).unwrap();
    let (state, changed) = shared;
    let mut state = state.lock().unwrap();
    state.asked.push(path.clone());
    changed.notify_all();
    drop(
        changed
            .wait_while(state, |state| state.holding && name.ends_with("safetensors"))
            .unwrap(),
    );
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        bytes.len()
    );
    // A client that was killed takes nothing.
    let _ = stream
        .write_all(head.as_bytes())
        .and_then(|()| stream.write_all(&bytes));
}

/// A model on the web, and a folder in which servers keep it.
struct Site {
    web: Web,
    fixture: Fixture,
    cache: TempDir,
}

impl Site {
    fn new(limit: Option<u64>) -> Self {
        let mut fixture = Fixture::new(draft(true));
        let web = Web::of(&fixture.path);
        let cache = tempfile::tempdir().unwrap();
        fixture.plan["model"] = web.uri().into();
        fixture.plan["cache"] = json!({"path": cache.path(), "scope": "team", "sizeLimit": limit});
        Site { web, fixture, cache }
    }

    fn entry(&self) -> PathBuf {
        let digest = self.fixture.plan["digest"].as_str().unwrap();
        self.cache.path().join("team").join(digest.replace(':', "-"))
    }
}

fn told(server: &Server) -> Value {
    server.probe("/v1/cache").json()
}

fn answers(server: &Server) {
    let asked = json!({"instances": [{"radius": 14, "texture": 4}]});
    assert_eq!(server.post("/v1/models/tumour:predict", &asked).status, 200);
}

#[test]
fn two_processes_that_start_at_once_download_once_and_a_third_not_at_all() {
    let site = Site::new(None);
    site.web.hold(true);
    let (one, two) = (site.fixture.start(&[]), site.fixture.start(&[]));
    site.web.asked_for("model.safetensors");
    site.web.hold(false);
    one.wait_ready();
    two.wait_ready();
    let mut outcomes = [told(&one), told(&two)].map(|told| told["outcome"].as_str().unwrap().to_owned());
    outcomes.sort();
    assert_eq!(outcomes, ["Fetched", "Hit"]);
    let third = site.fixture.serve(&[]);
    assert_eq!(told(&third)["outcome"], "Hit");
    for file in [
        "manifest.json",
        "network.json",
        "preprocess.json",
        "model.safetensors",
    ] {
        assert_eq!(site.web.times(file), 1, "{file}");
    }
    answers(&third);
    let metrics = third.probe("/metrics").text();
    for line in [
        "sconce_model_cache_hits_total 1",
        "sconce_model_cache_misses_total 0",
    ] {
        assert!(metrics.contains(line), "{metrics}");
    }
    let bytes = told(&third)["bytes"].as_u64().unwrap();
    assert!(
        bytes > 0 && metrics.contains(&format!("sconce_model_cache_bytes {bytes}")),
        "{metrics}"
    );
}

#[test]
fn a_server_that_is_killed_while_it_downloads_is_in_nobodys_way() {
    let site = Site::new(None);
    site.web.hold(true);
    let mut killed = site.fixture.start(&[]);
    site.web.asked_for("model.safetensors");
    killed.child.kill().unwrap();
    killed.child.wait().unwrap();
    let name = site.entry().file_name().unwrap().to_str().unwrap().to_owned();
    let left = site.entry().with_file_name(format!(".{name}.tmp"));
    assert!(left.exists() && !site.entry().exists());
    site.web.hold(false);
    let next = site.fixture.serve(&[]);
    assert_eq!(told(&next)["outcome"], "Fetched");
    assert!(!left.exists() && site.entry().exists());
    answers(&next);
}

#[test]
fn a_damaged_copy_is_fetched_anew_and_never_served() {
    let site = Site::new(None);
    drop(site.fixture.serve(&[]));
    let weights = site.entry().join("model.safetensors");
    let mut bytes = std::fs::read(&weights).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&weights, bytes).unwrap();
    let next = site.fixture.serve(&[]);
    let told = told(&next);
    assert_eq!(told["outcome"], "Fetched");
    let reason = told["reason"].as_str().unwrap();
    assert!(
        reason.contains("a copy in the cache was removed") && reason.contains("model.safetensors"),
        "{reason}"
    );
    assert_eq!(site.web.times("model.safetensors"), 2);
    assert_eq!(
        std::fs::read(weights).unwrap(),
        std::fs::read(site.fixture.path.join("model.safetensors")).unwrap()
    );
    answers(&next);
}

#[test]
fn a_cache_that_cannot_take_the_model_costs_the_download_and_says_so() {
    for (change, words) in [
        (json!({"sizeLimit": 10}), "cache.sizeLimit allows 10"),
        (json!({"path": "/proc/sconce"}), "in the cache /proc/sconce"),
    ] {
        let mut site = Site::new(None);
        for (key, value) in change.as_object().unwrap() {
            site.fixture.plan["cache"][key] = value.clone();
        }
        let server = site.fixture.serve(&[]);
        let told = told(&server);
        assert_eq!(told["outcome"], "NotCached");
        assert!(told["reason"].as_str().unwrap().contains(words), "{told}");
        answers(&server);
        assert!(
            server
                .probe("/metrics")
                .text()
                .contains("sconce_model_cache_misses_total 1")
        );
    }
}

#[test]
fn a_model_that_is_served_stays_and_one_that_is_not_makes_room() {
    let first = Site::new(None);
    let served = first.fixture.serve(&[]);
    let size = told(&served)["bytes"].as_u64().unwrap();
    let mut other = Fixture::new(draft(false));
    let web = Web::of(&other.path);
    other.plan["model"] = web.uri().into();
    other.plan["cache"] = json!({"path": first.cache.path(), "scope": "other", "sizeLimit": size + size / 2});
    let refused = other.serve(&[]);
    assert_eq!(told(&refused)["outcome"], "NotCached");
    assert!(first.entry().exists());
    drop((served, refused));
    let fits = other.serve(&[]);
    assert_eq!(
        (told(&fits)["outcome"].clone(), told(&fits)["evicted"].clone()),
        (json!("Fetched"), json!(1))
    );
    assert!(!first.entry().exists());
    assert!(
        fits.probe("/metrics")
            .text()
            .contains("sconce_model_cache_evictions_total 1")
    );
}

#[test]
fn a_server_without_a_cache_has_nothing_to_tell_and_one_without_a_digest_no_cache() {
    let mut fixture = Fixture::new(draft(true));
    let server = fixture.serve(&[]);
    assert_eq!(server.probe("/v1/cache").status, 404);
    drop(server);
    fixture.plan["cache"] = json!({"path": fixture.folder.path(), "scope": "team"});
    fixture.plan["digest"] = Value::Null;
    let (code, report) = fixture.fails(&[]);
    assert_eq!((code, report["field"].as_str()), (65, Some("model.digest")));
}

#[test]
fn a_model_in_an_image_is_read_where_the_image_is_mounted() {
    let mut fixture = Fixture::new(draft(true));
    let image = "oci://registry.example:5000/models/tumour@sha256:aa";
    fixture.plan["model"] = image.into();
    fixture.plan["mounts"] = json!([{"uri": image, "path": fixture.path}]);
    answers(&fixture.serve(&[]));
    fixture.plan["mounts"] = json!([{"uri": "oci://registry.example:5000/models/tum", "path": fixture.path}]);
    let (code, report) = fixture.fails(&[]);
    assert_eq!(code, 65);
    assert!(
        report["message"]
            .as_str()
            .unwrap()
            .contains("is not mounted here"),
        "{report}"
    );
}

#[test]
fn a_folder_is_prepared_for_the_servers_user() {
    use std::os::unix::fs::MetadataExt;
    use std::process::Command;

    let root = tempfile::tempdir().unwrap();
    let own = std::fs::metadata(root.path()).unwrap().uid();
    let path = root.path().join("cache");
    let prepare = |user: u32| {
        let user = user.to_string();
        let mut command = Command::new(env!("CARGO_BIN_EXE_sconce-server"));
        command.args(["prepare-cache", path.to_str().unwrap(), "--user", &user]);
        command.output().unwrap()
    };
    // Only root gives folders away.
    let user = if own == 0 { 65532 } else { own };
    for _ in 0..2 {
        let output = prepare(user);
        assert!(output.status.success(), "{output:?}");
        let made = std::fs::metadata(&path).unwrap();
        assert_eq!((made.uid(), made.gid(), made.mode() & 0o777), (user, user, 0o700));
    }
}
