//! SIGTERM: nothing that was accepted is lost, and the server ends in time.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::{Client, Fixture, draft, until};

const PREDICT: &str = "/v1/models/tumour:predict";
const BODY: &[u8] = b"{\"instances\": [[14, 6]]}";

/// A client as they are: it keeps its connection, goes by `Connection: close`, and opens a new one while the
/// server is among the endpoints that it knows. Returns what was answered and what failed.
fn client(http: &str, known: &AtomicBool, keeps: bool) -> (usize, Vec<String>) {
    let (mut answered, mut failures) = (0, Vec::new());
    let mut kept: Option<Client> = None;
    loop {
        let mut client = match kept.take() {
            Some(client) => client,
            None if known.load(Ordering::Relaxed) => Client::to(http),
            None => return (answered, failures),
        };
        match client.try_send("POST", PREDICT, &[], BODY) {
            Ok(reply) if reply.status == 200 => {
                answered += 1;
                let closes = reply
                    .headers
                    .get("connection")
                    .is_some_and(|value| value == "close");
                kept = (!closes && keeps).then_some(client);
            }
            other => failures.push(format!("{other:?}")),
        }
    }
}

#[test]
fn under_load_no_request_fails() {
    let mut server = Fixture::new(draft(true)).serve(&["--drain-delay", "1s"]);
    let known = AtomicBool::new(true);
    let (http, known) = (&server.http, &known);
    let clients: Vec<(usize, Vec<String>)> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..16)
            .map(|i| scope.spawn(move || client(http, known, i % 2 == 0)))
            .collect();
        std::thread::sleep(Duration::from_millis(500));
        server.terminate();
        // The time that an endpoint takes to reach every proxy.
        std::thread::sleep(Duration::from_millis(800));
        known.store(false, Ordering::Relaxed);
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    let answered: usize = clients.iter().map(|(answered, _)| answered).sum();
    let failures: Vec<&String> = clients.iter().flat_map(|(_, failures)| failures).collect();
    assert!(
        failures.is_empty(),
        "{} of {answered}: {failures:?}",
        failures.len()
    );
    assert!(answered > 500, "{answered}");
    assert!(server.wait().success());
}

#[test]
fn readiness_ends_at_once_and_service_goes_on_for_the_delay() {
    let mut server = Fixture::new(draft(true)).serve(&["--drain-delay", "60m"]);
    let mut kept = server.connect();
    assert_eq!(kept.post(PREDICT, BODY).status, 200);
    server.terminate();
    until("it is not ready", || server.probe("/readyz").status != 200);
    let reason = server.probe("/readyz");
    assert!(
        reason.status == 503 && reason.text().contains("shutting down"),
        "{}",
        reason.text()
    );
    assert_eq!(server.probe("/livez").status, 200);
    assert_eq!(server.get("/v2/health/ready").status, 503);
    let reply = kept.post(PREDICT, BODY);
    assert_eq!(
        (reply.status, reply.headers["connection"].as_str()),
        (200, "close")
    );
    assert_eq!(server.connect().post(PREDICT, BODY).status, 200);
    assert!(
        server.child.try_wait().unwrap().is_none(),
        "the delay is not over"
    );
    // Told again, it does not wait for the rest of the delay.
    server.terminate();
    assert!(server.wait().success());
}

#[test]
fn a_request_that_is_being_sent_is_finished() {
    let mut server = Fixture::new(draft(true)).serve(&[]);
    let mut client = server.connect();
    let head = format!(
        "POST {PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
        BODY.len()
    );
    client.write(head.as_bytes());
    client.write(&BODY[..5]);
    std::thread::sleep(Duration::from_millis(100));
    server.terminate();
    std::thread::sleep(Duration::from_millis(800));
    client.write(&BODY[5..]);
    assert_eq!(client.read(false).unwrap().status, 200);
    assert!(server.wait().success());
}

#[test]
fn a_client_that_never_finishes_does_not_hold_the_end_up() {
    let mut server = Fixture::new(draft(true)).serve(&["--drain-timeout", "1s", "--body-timeout", "60m"]);
    let mut client = server.connect();
    client.write(format!("POST {PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{{").as_bytes());
    std::thread::sleep(Duration::from_millis(100));
    server.terminate();
    assert!(server.wait().success());
}

#[test]
fn a_server_that_still_loads_ends_at_once() {
    let mut fixture = Fixture::new(draft(true));
    // A server that accepts and never answers.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    fixture.plan["model"] = format!("http://{}/model", listener.local_addr().unwrap()).into();
    let mut server = fixture.start(&[]);
    let reason = server.probe("/readyz");
    assert!(
        reason.status == 503 && reason.text().contains("being loaded"),
        "{}",
        reason.text()
    );
    assert_eq!(server.probe("/livez").status, 200);
    let reply = server.connect().post(PREDICT, BODY);
    assert_eq!((reply.status, reply.headers["retry-after"].as_str()), (503, "1"));
    assert_eq!(server.get("/v2/health/live").status, 200);
    assert_eq!(
        server.get("/v1/models/tumour").json()["model_version_status"][0]["state"],
        "LOADING"
    );
    server.terminate();
    // It would fail where it waited for the model.
    assert!(server.wait().success());
}
