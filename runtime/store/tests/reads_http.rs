//! A real little web server that fails in the ways that web servers do.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use sconce_contract::FailureClass;
use sconce_store::{Credentials, Store, StoreError};

/// Answers each request by its path; says which requests it saw.
struct Server {
    address: String,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (log, flaky) = (Arc::clone(&seen), Arc::new(AtomicU32::new(0)));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (log, flaky) = (Arc::clone(&log), Arc::clone(&flaky));
                thread::spawn(move || answer(stream.unwrap(), &log, &flaky));
            }
        });
        Server { address, seen }
    }

    fn uri(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn requests(&self, path: &str) -> usize {
        self.seen
            .lock()
            .unwrap()
            .iter()
            .filter(|line| line.contains(&format!(" {path} ")))
            .count()
    }
}

fn answer(mut stream: TcpStream, seen: &Mutex<Vec<String>>, flaky: &AtomicU32) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let request = lines.next().unwrap().unwrap();
    let (mut shown, mut range) = (None, None);
    for line in lines {
        let line = line.unwrap();
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(": ")
            && name.eq_ignore_ascii_case("authorization")
        {
            shown = Some(value.to_owned());
        } else if let Some((name, value)) = line.split_once(": ")
            && name.eq_ignore_ascii_case("range")
        {
            range = value
                .trim_start_matches("bytes=")
                .trim_end_matches('-')
                .parse()
                .ok();
        }
    }
    let local = stream.local_addr().unwrap();
    let path = request.split(' ').nth(1).unwrap().to_owned();
    let first = request.starts_with("HEAD");
    seen.lock().unwrap().push(request);
    if path.starts_with("/breaks") {
        return breaks(&mut stream, &path, range, flaky);
    }
    let plain = |status: &str, body: &str| {
        format!(
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )
    };
    let text = match path.as_str() {
        "/file" => plain("200 OK", "hello"),
        "/gone" => plain("410 Gone", ""),
        "/token" if shown.as_deref() == Some("Bearer letmein") => plain("200 OK", "hello"),
        "/password" if shown.as_deref() == Some("Basic bWU6c2VjcmV0") => plain("200 OK", "hello"),
        "/token" | "/password" => plain("401 Unauthorized", ""),
        "/elsewhere" => {
            // The same server by another name is another server.
            let location = format!("\r\nLocation: http://localhost:{}/bare\r\n\r\n", local.port());
            plain("302 Found", "").replace("\r\n\r\n", &location)
        }
        "/bare" if shown.is_none() => plain("200 OK", "hello"),
        "/bare" => plain("400 Bad Request", ""),
        "/secret" => plain("403 Forbidden", ""),
        "/no-head" if first => plain("405 Method Not Allowed", ""),
        "/no-head" => plain("200 OK", "x"),
        "/flaky" => match flaky.fetch_add(1, Ordering::SeqCst) {
            0 => plain("503 Service Unavailable", ""),
            1 => "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhel".to_owned(),
            _ => plain("200 OK", "hello"),
        },
        "/replaced/marked" | "/replaced/unmarked" | "/replaced/as-long" => {
            replaced(&path, range, flaky.fetch_add(1, Ordering::SeqCst))
        }
        "/busy" => plain("429 Too Many Requests", ""),
        "/once" => plain("302 Found", "").replace("\r\n\r\n", "\r\nLocation: /file\r\n\r\n"),
        "/round" => plain("302 Found", "").replace("\r\n\r\n", "\r\nLocation: /round\r\n\r\n"),
        "/claims" => format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", u64::MAX / 2),
        "/endless" => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(),
        _ => plain("404 Not Found", ""),
    };
    let mut open = stream.write_all(text.as_bytes()).is_ok();
    while open && path == "/endless" {
        open = stream
            .write_all(format!("400\r\n{}\r\n", "x".repeat(1024)).as_bytes())
            .is_ok();
    }
}

/// Bytes of what breaks off, and after how many it does.
const LARGE: usize = 9 << 20;
const PIECE: usize = 3 << 19;

/// What is at a path of [`breaks`]: each byte depends on its place and on the path.
fn content(path: &str) -> Vec<u8> {
    let salt = path.len();
    (0..LARGE).map(|place| (place / 1000 + salt) as u8).collect()
}

/// Answers, and closes the connection within the body. One that marks its content answers with the rest too.
fn breaks(stream: &mut TcpStream, path: &str, from: Option<usize>, asked: &AtomicU32) {
    let tries = asked.fetch_add(1, Ordering::SeqCst);
    let tag = match (path, tries) {
        ("/breaks/unmarked", _) => "",
        // It changes while it is read.
        ("/breaks/changes", 2..) => "ETag: \"b\"\r\n",
        ("/breaks/weak", _) => "ETag: W/\"a\"\r\n",
        _ => "ETag: \"a\"\r\n",
    };
    let from = from.filter(|_| path != "/breaks/changes" || tries != 2);
    let bytes = content(if path == "/breaks/changes" && tries >= 2 {
        "/other"
    } else {
        path
    });
    // One gives less of the rest than it is asked for.
    let end = match from {
        Some(from) if path == "/breaks/short" => from + PIECE,
        _ => LARGE,
    };
    let rest = &bytes[from.unwrap_or(0)..end];
    let status = from.map_or("200 OK\r\n".to_owned(), |from| {
        format!(
            "206 Partial Content\r\nContent-Range: bytes {from}-{}/{LARGE}\r\n",
            end - 1
        )
    });
    let length = rest.len();
    let head = format!("HTTP/1.1 {status}{tag}Content-Length: {length}\r\nConnection: close\r\n\r\n");
    let sent = stream.write_all(head.as_bytes());
    let _ = sent.and_then(|()| stream.write_all(&rest[..length.min(PIECE)]));
}

/// Breaks off within the first answer, and has another file from then on: one as long, whose parts are marked or not, or
/// a longer one, whose parts are not. It answers with the rest to whoever asks for a rest, on whatever condition.
fn replaced(path: &str, from: Option<usize>, tries: u32) -> String {
    let (tag, text) = match (tries, path) {
        (0, _) => ("ETag: \"a\"\r\n", "first file"),
        (_, "/replaced/as-long") if from.is_some() => ("", "other text"),
        (_, "/replaced/marked" | "/replaced/as-long") => ("ETag: \"b\"\r\n", "other text"),
        _ if from.is_some() => ("", "other texts"),
        _ => ("ETag: \"b\"\r\n", "other texts"),
    };
    let whole = text.len();
    let status = from.map_or("200 OK\r\n".to_owned(), |from| {
        format!(
            "206 Partial Content\r\nContent-Range: bytes {from}-{}/{whole}\r\n",
            whole - 1
        )
    });
    let rest = &text[from.unwrap_or(0)..];
    let length = rest.len();
    let sent = if tries == 0 { &rest[..5] } else { rest };
    format!("HTTP/1.1 {status}{tag}Content-Length: {length}\r\nConnection: close\r\n\r\n{sent}")
}

#[test]
fn joins_no_parts_of_two_files_where_a_server_ignores_the_condition() {
    for (path, of) in [
        ("/replaced/marked", "other text"),
        ("/replaced/unmarked", "other texts"),
        ("/replaced/as-long", "other text"),
    ] {
        let server = Server::start();
        let read = Store::default().read(&server.uri(path), 100).unwrap();
        assert_eq!(String::from_utf8(read).unwrap(), of, "{path}");
        assert_eq!(server.requests(path), 3, "{path}");
    }
}

#[test]
fn goes_on_where_a_download_broke_off_however_often_it_does() {
    for (path, of) in [
        ("/breaks/marked", "/breaks/marked"),
        ("/breaks/short", "/breaks/short"),
        ("/breaks/changes", "/other"),
    ] {
        let server = Server::start();
        let read = Store::default().read(&server.uri(path), LARGE as u64).unwrap();
        assert!(read == content(of), "{path}: other bytes came");
        let whole = LARGE / PIECE;
        let restarts = if path == "/breaks/changes" { 2 } else { 0 };
        assert_eq!(server.requests(path), whole + restarts, "{path}");
    }
}

#[test]
fn begins_a_download_that_cannot_go_on_three_times_again() {
    for path in ["/breaks/unmarked", "/breaks/weak"] {
        let server = Server::start();
        let error = Store::default()
            .read(&server.uri(path), LARGE as u64)
            .unwrap_err();
        assert!(matches!(error, StoreError::Network { tries: 4, .. }), "{error}");
        assert!(
            error.to_string().contains("broke off after 1572864 bytes"),
            "{error}"
        );
        assert_eq!(server.requests(path), 4, "{path}");
    }
}

#[test]
fn a_password_in_a_uri_is_refused_and_not_told() {
    let server = Server::start();
    let uri = server
        .uri("/file?sig=signed")
        .replace("http://", "http://me:hidden@");
    for error in [
        Store::default().read(&uri, 5).unwrap_err(),
        Store::default().exists(&uri).unwrap_err(),
    ] {
        let text = error.to_string();
        assert!(text.contains("credentialsRef"), "{text}");
        assert!(!text.contains("hidden") && !text.contains("signed"), "{text}");
        assert_eq!(error.class(), FailureClass::BadInput);
    }
    assert_eq!(server.seen.lock().unwrap().len(), 0, "it was sent");
}

#[test]
fn reads_a_file_and_follows_a_redirect() {
    let server = Server::start();
    let store = Store::default();
    assert_eq!(store.read(&server.uri("/file"), 5).unwrap(), b"hello");
    assert_eq!(store.read(&server.uri("/once"), 5).unwrap(), b"hello");
    for (path, there) in [("/file", true), ("/nothing", false), ("/no-head", true)] {
        assert_eq!(store.exists(&server.uri(path)).unwrap(), there, "{path}");
    }
}

#[test]
fn shows_its_credentials_to_the_server_that_asks_and_to_no_other() {
    let server = Server::start();
    let token = Store::default().with_credentials(Credentials::bearer("letmein"));
    let password = Store::default().with_credentials(Credentials::basic("me", "secret"));
    assert_eq!(token.read(&server.uri("/token"), 5).unwrap(), b"hello");
    assert!(token.exists(&server.uri("/token")).unwrap());
    assert_eq!(password.read(&server.uri("/password"), 5).unwrap(), b"hello");
    assert_eq!(token.read(&server.uri("/elsewhere"), 5).unwrap(), b"hello");
    for (store, path) in [
        (&password, "/token"),
        (&token, "/password"),
        (&Store::default(), "/token"),
    ] {
        let error = store.read(&server.uri(path), 5).unwrap_err();
        assert!(matches!(error, StoreError::Forbidden { .. }), "{error}");
        assert_eq!(error.class(), FailureClass::BadInput);
    }
    assert_eq!(server.requests("/token"), 4, "what is refused is not asked again");
}

#[test]
fn tries_again_after_a_server_error_and_a_broken_body() {
    let server = Server::start();
    assert_eq!(
        Store::default().read(&server.uri("/flaky"), 100).unwrap(),
        b"hello"
    );
    assert_eq!(server.requests("/flaky"), 3);
}

#[test]
fn gives_up_on_what_does_not_pass() {
    let server = Server::start();
    let store = Store::default();
    let busy = store.read(&server.uri("/busy"), 100).unwrap_err();
    assert!(matches!(busy, StoreError::Network { tries: 4, .. }), "{busy}");
    assert_eq!(busy.class(), FailureClass::Storage);
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let refused = store.read(&format!("http://{closed}/x"), 100).unwrap_err();
    assert_eq!(refused.class(), FailureClass::Storage, "{refused}");
}

#[test]
fn does_not_retry_what_the_user_must_change() {
    let server = Server::start();
    let store = Store::default();
    for (path, says) in [
        ("/nothing", "there is nothing at"),
        ("/secret", "is forbidden (the server answers 403"),
        ("/gone", "answered with 410 Gone"),
        ("/round", "more than 5 times"),
        ("/claims", "larger than the limit of 100 bytes"),
        ("/endless", "larger than the limit of 100 bytes"),
    ] {
        let error = store.read(&server.uri(path), 100).unwrap_err();
        assert!(error.to_string().contains(says), "{path}: {error}");
        assert_eq!(error.class(), FailureClass::BadInput, "{path}");
    }
    assert_eq!(server.requests("/nothing"), 1);
}
