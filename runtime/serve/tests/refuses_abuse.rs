//! What hostile and hasty clients do, and that good ones do not notice.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::io::{ErrorKind, Read, Write};
use std::time::Duration;

use common::{Client, Fixture, Server, draft, head, until, wide};
use serde_json::json;

const PREDICT: &str = "/v1/models/tumour:predict";

fn good(server: &Server) {
    let reply = server.post(PREDICT, &json!({"instances": [[14, 6]]}));
    assert_eq!(reply.status, 200, "{}", reply.text());
}

/// Whether the server closes the connection.
fn closes(client: &mut Client) -> bool {
    let mut rest = Vec::new();
    match client.stream.read_to_end(&mut rest) {
        Ok(_) => true,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

/// Whether nothing has come from the server so far.
fn is_silent(client: &mut Client) -> bool {
    let stream = client.stream.get_mut();
    let patience = stream.read_timeout().unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let silent = stream
        .peek(&mut [0])
        .is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
    stream.set_read_timeout(patience).unwrap();
    silent
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
    for _ in 0..50 {
        good(&server);
    }
    assert_eq!(server.load()["inFlight"], 0);
    let grown = server.resident().saturating_sub(before) >> 10;
    assert!(grown <= 64, "{grown} MiB more");
    let timed_out = slow[1].read(false).unwrap();
    assert_eq!(timed_out.status, 408, "{}", timed_out.text());
    for mut client in slow {
        assert!(closes(&mut client));
    }
}

#[test]
fn more_connections_than_allowed_wait_their_turn() {
    let server = Fixture::new(draft(true)).serve(&["--max-connections", "8", "--header-timeout", "60m"]);
    let mut idle: Vec<Client> = (0..8).map(|_| server.connect()).collect();
    let mut ninth = server.connect();
    let body = b"{\"instances\": [[14, 6]]}";
    ninth.write(&head(PREDICT, body.len()));
    ninth.write(body);
    assert_eq!(server.probe("/livez").status, 200);
    assert!(is_silent(&mut ninth), "the ninth is served beside eight");
    // In order: the first to be accepted is there, the ninth is not. Once it was answered, the first gives way.
    assert_eq!(idle[0].post(PREDICT, body).status, 200);
    assert_eq!(ninth.read(false).unwrap().status, 200);
}

#[test]
fn connections_alone_do_not_use_up_the_memory() {
    const CONNECTIONS: usize = 800;
    let server = Fixture::new(draft(true)).serve(&["--max-body", "1048576"]);
    let before = server.resident();
    let mut clients: Vec<Client> = (0..CONNECTIONS).map(|_| server.connect()).collect();
    let header = format!("GET / HTTP/1.1\r\nHost: x\r\nx: {}", "a".repeat(60_000));
    let mut body = head(PREDICT, 1_000_000);
    body.extend([b' '; 60_000]);
    for (index, client) in clients.iter_mut().enumerate() {
        // The server may refuse it before it has read everything.
        let bytes = if index % 2 == 0 { header.as_bytes() } else { &body };
        let _ = client.stream.get_mut().write_all(bytes);
    }
    let grown = (0..50).map(|_| {
        good(&server);
        server.resident().saturating_sub(before)
    });
    // With as many as there may be, a quarter of the memory that a server has by default.
    let each = grown.max().unwrap() / CONNECTIONS as u64;
    assert!(each <= 64, "{each} KiB more for each connection");
}

#[test]
fn idle_connections_keep_no_probe_waiting() {
    let server = Fixture::new(draft(true)).serve(&[]);
    // So many more than have a place that the last would wait for minutes.
    let mut idle: Vec<Client> = (0..900).map(|_| Client::to(&server.observe)).collect();
    assert_eq!(server.probe("/livez").status, 200);
    assert!(closes(&mut idle[0]), "the oldest gives way");
}

#[test]
fn bodies_beyond_the_budget_are_answered_with_429() {
    let server = Fixture::new(draft(true)).serve(&["--max-body", "1048576"]);
    let body = format!("{{\"instances\": [[14, 6]]}}{}", " ".repeat(900_000));
    let mut held = Vec::new();
    until("the body of one keeps that of another out", || {
        // Whichever comes first holds the budget: one that came second is refused, and another one tries.
        let mut holds = server.connect();
        holds.write(&head(PREDICT, 1_000_000));
        holds.write(&body.as_bytes()[..900_000]);
        held.push(holds);
        let reply = server.connect().post(PREDICT, body.as_bytes());
        assert!(matches!(reply.status, 200 | 429), "{}", reply.text());
        reply.status == 429 && reply.headers["retry-after"] == "1"
    });
    drop(held);
    until("its place is free again", || {
        server.connect().post(PREDICT, body.as_bytes()).status == 200
    });
}

#[test]
fn answers_that_nobody_takes_are_bounded_and_free_again_when_their_clients_go() {
    let server = Fixture::new(draft(false)).serve(&["--max-in-flight", "1"]);
    // About 10 MB of an answer each, far more than a socket takes.
    let rows = vec!["[14,6]"; 260_000].join(",");
    let body = format!("{{\"instances\": [{rows}]}}");
    let ask = |asked: u64| {
        let mut client = server.connect();
        client.write(&head(PREDICT, body.len()));
        client.write(body.as_bytes());
        until("it is answered", || server.load()["completed"] == asked);
        client
    };
    let mut clients: Vec<Client> = (1..=8).map(ask).collect();
    let refused = clients.pop().unwrap().read(false).unwrap();
    assert_eq!(
        (refused.status, refused.headers["retry-after"].as_str()),
        (429, "1"),
        "{}",
        refused.text()
    );
    assert!(refused.error().contains("large answers"), "{}", refused.error());
    good(&server);
    drop(clients);
    until("there is room again", || {
        server.connect().post(PREDICT, body.as_bytes()).status == 200
    });
}

#[test]
fn a_shape_without_end_is_refused_and_takes_no_memory() {
    let server = Fixture::new(draft(true)).serve(&[]);
    let before = server.resident();
    let shape = "1,".repeat(30 << 20);
    let input = format!("{{\"name\":\"input\",\"datatype\":\"FP32\",\"data\":[1],\"shape\":[{shape}1]}}");
    let body = format!("{{\"inputs\":[{input}]}}");
    let reply = server.connect().post("/v2/models/tumour/infer", body.as_bytes());
    assert_eq!(reply.status, 400, "{}", reply.text());
    assert!(
        reply.error().contains("more than 8 dimensions"),
        "{}",
        reply.error()
    );
    let grown = server.peak().saturating_sub(before) >> 10;
    // A body is in memory twice when its pieces are put together.
    assert!(grown <= 160, "{grown} MiB more for a body of 60");
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
        assert_eq!(*code, 429, "{codes:?}");
        assert_eq!(retry.as_deref(), Some("1"));
    }
    let load = server.load();
    assert_eq!((&load["inFlight"], &load["queued"]), (&json!(0), &json!(0)));
    assert_eq!(load["completed"], 12);
}

#[test]
fn small_requests_that_wait_are_counted_and_bounded_too() {
    // As many slots as processors, as by default: each is computed where it was read.
    let slots = std::thread::available_parallelism().unwrap().get();
    let limits = ["--max-in-flight", &slots.to_string(), "--max-queue", "2"];
    let server = Fixture::new(wide(512)).serve(&limits);
    let ask = || {
        let mut client = server.connect();
        let body = b"{\"instances\": [[14, 6]]}";
        (0..40)
            .map(|_| client.post(PREDICT, body).status)
            .collect::<Vec<_>>()
    };
    let codes: Vec<u16> = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..8 * slots + 24).map(|_| scope.spawn(ask)).collect();
        asking
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect()
    });
    let count = |status| codes.iter().filter(|code| **code == status).count();
    assert!(count(200) > 32, "{codes:?}");
    assert!(count(429) > 0, "{codes:?}");
    assert_eq!(count(200) + count(429), codes.len(), "{codes:?}");
    let load = server.load();
    assert!(
        load["queuedMicros"].as_u64().is_some_and(|micros| micros > 0),
        "{load}"
    );
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
    // One request alone would take minutes to its end.
    let server = Fixture::new(wide(2048)).serve(&["--max-in-flight", "1"]);
    let rows = vec!["[14,6]"; 2_000_000].join(",");
    let body = format!("{{\"instances\": [{rows}]}}");
    for _ in 0..3 {
        let mut client = server.connect();
        client.write(&head(PREDICT, body.len()));
        client.write(body.as_bytes());
        until("it is computed", || server.load()["inFlight"] == 1);
        drop(client);
        until("its slot is free", || server.load()["inFlight"] == 0);
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
