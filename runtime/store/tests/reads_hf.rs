//! Files of repositories on the Hugging Face Hub, at the addresses that it documents.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::thread;

use sconce_contract::FailureClass;
use sconce_store::{Credentials, Store, StoreError};

/// A server of the Hub's addresses: a table for everybody, a model for whoever has the token. As the Hub does, it leads
/// on from a small file to another path of its own.
fn hub() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let head: Vec<String> = lines
                .map(Result::unwrap)
                .take_while(|line| !line.is_empty())
                .collect();
            let shown = head
                .iter()
                .any(|line| line.eq_ignore_ascii_case("authorization: Bearer hf_secret"));
            let (status, body) = match head[0].split(' ').nth(1).unwrap() {
                "/datasets/org/flowers/resolve/main/data/iris.csv" => ("200 OK", "a,b"),
                "/org/model/resolve/v1.0/manifest.json" if shown => ("200 OK", "{}"),
                "/org/model/resolve/v1.0/config.json" if shown => (
                    "307 Temporary Redirect\r\nLocation: /api/resolve-cache/models/org/model/0a1b/config.json",
                    "",
                ),
                "/api/resolve-cache/models/org/model/0a1b/config.json" if shown => ("200 OK", "[]"),
                path if path.starts_with("/org/model/resolve/v1.0/") || path.starts_with("/api/") => {
                    ("401 Unauthorized", "")
                }
                _ => ("404 Not Found", ""),
            };
            let body = if head[0].starts_with("HEAD") { "" } else { body };
            let length = body.len();
            let answer =
                format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    address
}

#[test]
fn store_hf_reads_a_file_of_a_revision_with_the_token() {
    let hub = hub();
    let endpoint = ("HF_ENDPOINT", hub.as_str());
    let anybody = Store::default().with_credentials(Credentials::of([endpoint]));
    let member = Store::default().with_credentials(Credentials::of([endpoint, ("HF_TOKEN", "hf_secret")]));
    assert_eq!(
        anybody
            .read("hf://datasets/org/flowers/data/iris.csv", 10)
            .unwrap(),
        b"a,b"
    );
    assert_eq!(
        member.read("hf://org/model@v1.0/manifest.json", 10).unwrap(),
        b"{}"
    );
    assert!(member.exists("hf://org/model@v1.0/manifest.json").unwrap());
    assert!(
        !member.exists("hf://org/model/manifest.json").unwrap(),
        "there is no such revision"
    );

    let error = anybody.read("hf://org/model@v1.0/manifest.json", 10).unwrap_err();
    assert!(matches!(error, StoreError::Forbidden { .. }), "{error}");
    let error = member.read("hf://org/model", 10).unwrap_err();
    assert!(error.to_string().contains("write hf://ORG/NAME/PATH"), "{error}");
    assert_eq!(error.class(), FailureClass::BadInput);
    let error = member
        .write_folder("hf://org/model", "a", &std::collections::BTreeMap::new(), "a")
        .unwrap_err();
    assert!(matches!(error, StoreError::ReadOnly { .. }), "{error}");
}

#[test]
fn the_token_goes_along_where_the_hub_leads_on_to_itself() {
    let hub = hub();
    let endpoint = ("HF_ENDPOINT", hub.as_str());
    let anybody = Store::default().with_credentials(Credentials::of([endpoint]));
    let member = Store::default().with_credentials(Credentials::of([endpoint, ("HF_TOKEN", "hf_secret")]));
    let uri = "hf://org/model@v1.0/config.json";
    assert_eq!(member.read(uri, 10).unwrap(), b"[]");
    assert!(member.exists(uri).unwrap());
    let error = anybody.read(uri, 10).unwrap_err();
    assert!(matches!(error, StoreError::Forbidden { .. }), "{error}");
    let said = format!(
        "access to {uri} is forbidden (the Hub refuses it, and the Secret of credentialsRef has no key HF_TOKEN to show it)"
    );
    assert!(error.to_string().starts_with(&said), "{error}");
    let stranger = Store::default().with_credentials(Credentials::of([endpoint, ("HF_TOKEN", "hf_other")]));
    let error = stranger.read(uri, 10).unwrap_err().to_string();
    assert!(
        error.contains("refuses it to the HF_TOKEN in the Secret"),
        "{error}"
    );
}
