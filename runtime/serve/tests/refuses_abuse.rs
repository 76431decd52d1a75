//! What hostile and hasty clients do, and that good ones do not notice.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use common::{Client, Fixture, Server, draft};
use serde_json::json;

const PREDICT: &str = "/v1/models/tumour:predict";

fn good(server: &Server) {
    let reply = server.post(PREDICT, &json!({"instances": [[14, 6]]}));
    assert_eq!(reply.status, 200, "{}", reply.text());
}

/// Reads until the server closes, and says how long that took.
fn closes(client: &mut Client) -> Duration {
    let start = Instant::now();
    let mut rest = Vec::new();
    let _ = client.stream.read_to_end(&mut rest);
    start.elapsed()
}

#[test]
fn a_body_that_is_too_large_is_refused_before_it_is_read() {
    let server = Fixture::new(draft(true)).serve(&[]);
    let mut client = server.connect();
    let head = format!(
        "POST {PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
        (64 << 20) + 1
    );
    client.write(head.as_bytes());
    let reply = client.read(false).unwrap();
    assert_eq!(
        (reply.status, reply.headers["connection"].as_str()),
        (413, "close")
    );
    assert!(
        reply
            .error()
            .contains("larger than 67108864 bytes: send fewer rows"),
        "{}",
        reply.error()
    );
    good(&server);
}

#[test]
fn chunks_are_counted_while_they_arrive() {
    let server = Fixture::new(draft(true)).serve(&[]);
    let before = server.resident();
    let mut client = server.connect();
    let head = format!("POST {PREDICT} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.write(head.as_bytes());
    let chunk = format!("100000\r\n{}\r\n", " ".repeat(1 << 20));
    let mut sent = 0;
    // Up to 1 GiB, of which the server takes 64 MiB and throws the rest away for two seconds.
    while sent < 1024 && client.stream.get_mut().write_all(chunk.as_bytes()).is_ok() {
        sent += 1;
    }
    assert!(sent >= 64, "closed after {sent} MiB");
    if let Ok(reply) = client.read(false) {
        assert_eq!(reply.status, 413);
    }
    drop(client);
    good(&server);
    std::thread::sleep(Duration::from_millis(500));
    let grown = server.resident().saturating_sub(before) >> 10;
    assert!(grown <= 100, "{grown} MiB more");
}

#[test]
fn a_large_body_that_is_allowed_is_answered() {
    let server = Fixture::new(draft(true)).serve(&[]);
    let rows = 500_000;
    let body = format!(
        "{{\"instances\": [{}]}}",
        vec!["[14.000000, 6.000000]"; rows].join(",")
    );
    let reply = server.connect().post(PREDICT, body.as_bytes());
    assert_eq!(reply.status, 200);
    assert_eq!(reply.json()["predictions"].as_array().unwrap().len(), rows);
    let small = "[1,2]".to_owned() + &",[1,2]".repeat(5 << 20);
    let reply = server
        .connect()
        .post(PREDICT, format!("{{\"instances\": [{small}]}}").as_bytes());
    assert_eq!(reply.status, 413, "{}", reply.text());
    assert!(
        reply.error().contains("send at most 4194304 rows"),
        "{}",
        reply.error()
    );
}

#[test]
fn many_slow_headers_and_bodies_take_nothing_from_others() {
    let server = Fixture::new(draft(true)).serve(&["--header-timeout", "2s", "--body-timeout", "2s"]);
    let before = server.resident();
    let mut slow = Vec::new();
    for i in 0..400 {
        let mut client = server.connect();
        match i % 3 {
            0 => client.write(b"POST /v1/mod"),
            1 => client.write(
                format!("POST {PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Length: 5000000\r\n\r\n{{").as_bytes(),
            ),
            _ => {}
        }
        slow.push(client);
    }
    let start = Instant::now();
    for _ in 0..50 {
        good(&server);
    }
    assert!(
        start.elapsed() < Duration::from_secs(2),
        "good requests took {:?}",
        start.elapsed()
    );
    assert_eq!(server.load()["inFlight"], 0);
    let grown = server.resident().saturating_sub(before) >> 10;
    assert!(grown <= 64, "{grown} MiB more");
    let timed_out = slow[1].read(false).unwrap();
    assert_eq!(timed_out.status, 408, "{}", timed_out.text());
    for mut client in slow {
        assert!(closes(&mut client) < Duration::from_secs(5));
    }
}

#[test]
fn more_connections_than_allowed_wait_their_turn() {
    let server = Fixture::new(draft(true)).serve(&["--max-connections", "8", "--header-timeout", "1s"]);
    let idle: Vec<Client> = (0..16).map(|_| server.connect()).collect();
    let start = Instant::now();
    good(&server);
    assert!(start.elapsed() < Duration::from_secs(5));
    assert_eq!(server.probe("/livez").status, 200);
    drop(idle);
}

#[test]
fn overload_is_answered_with_429_and_the_admitted_are_served() {
    let server = Fixture::new(draft(true)).serve(&["--max-in-flight", "1", "--max-queue", "2"]);
    let rows = vec!["[14.0, 6.0]"; 300_000].join(",");
    let body = format!("{{\"instances\": [{rows}]}}");
    let codes: Vec<(u16, Option<String>)> = std::thread::scope(|scope| {
        let ask = || {
            let reply = server.connect().post(PREDICT, body.as_bytes());
            (reply.status, reply.headers.get("retry-after").cloned())
        };
        let asking: Vec<_> = (0..12).map(|_| scope.spawn(ask)).collect();
        asking.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let served = codes.iter().filter(|(code, _)| *code == 200).count();
    assert!((3..12).contains(&served), "{codes:?}");
    for (code, retry) in codes.iter().filter(|(code, _)| *code != 200) {
        assert!([429, 503].contains(code), "{codes:?}");
        assert_eq!(retry.as_deref(), Some("1"));
    }
    let load = server.load();
    assert_eq!((&load["inFlight"], &load["queued"]), (&json!(0), &json!(0)));
    assert_eq!(load["completed"], 12);
}

#[test]
fn a_refusal_reaches_a_client_that_still_sends_and_its_connection_lives_on() {
    let server = Fixture::new(draft(true)).serve(&[]);
    let mut client = server.connect();
    let body = vec![b' '; 8 << 20];
    for _ in 0..8 {
        let refused = client.send("POST", "/v1/models/other:predict", &[], &body);
        assert_eq!(refused.status, 404, "{}", refused.text());
        let refused = client.send("POST", PREDICT, &[("Content-Type", "text/plain")], &body);
        assert_eq!(refused.status, 415, "{}", refused.text());
    }
    assert_eq!(client.post(PREDICT, b"{\"instances\": [[14, 6]]}").status, 200);
}

#[test]
fn a_client_that_goes_away_frees_its_slot() {
    let server = Fixture::new(draft(true)).serve(&["--max-in-flight", "1"]);
    let rows = vec!["[14.0, 6.0]"; 500_000].join(",");
    let body = format!("{{\"instances\": [{rows}]}}");
    for _ in 0..8 {
        let mut client = server.connect();
        client.write(
            format!(
                "POST {PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
                body.len()
            )
            .as_bytes(),
        );
        client.write(body.as_bytes());
        drop(client);
    }
    let start = Instant::now();
    while server.load()["inFlight"] != 0 || server.load()["queued"] != 0 {
        assert!(start.elapsed() < Duration::from_secs(20), "{}", server.load());
        std::thread::sleep(Duration::from_millis(5));
    }
    good(&server);
}

#[test]
fn nonsense_is_answered_or_closed() {
    let server = Fixture::new(draft(true)).serve(&[]);
    let long = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(200_000));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(5000));
    for bytes in [
        &b"\0\0\0\0\0\0\0\0\r\n\r\n"[..],
        b"GET\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"POST /v2 HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /v2 HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST /v2 HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        b"POST /v1/models/tumour:predict HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        long.as_bytes(),
        many.as_bytes(),
    ] {
        let mut client = server.connect();
        let _ = client.stream.get_mut().write_all(bytes);
        if let Ok(reply) = client.read(false) {
            assert!(
                (400..500).contains(&reply.status),
                "{}",
                String::from_utf8_lossy(&bytes[..20.min(bytes.len())])
            );
        }
    }
    for path in [
        "/%00",
        "/v2/models/%74umour",
        "//",
        "/v1/models/",
        "/v1/models/:predict",
        "/v2/models//infer",
    ] {
        assert_eq!(server.get(path).status, 404, "{path}");
    }
    for method in ["PUT", "DELETE", "OPTIONS", "TRACE", "FOO"] {
        assert_eq!(
            server.connect().send(method, PREDICT, &[], b"").status,
            405,
            "{method}"
        );
    }
    good(&server);
}
