//! Folders of a bucket as other programs leave them, on a little server that answers as Amazon's does.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use sconce_store::{Credentials, Store};

/// Keys of the bucket `tables`, and what is at them. Consoles and Hadoop mark a folder by an empty object whose key ends
/// in a slash.
const OBJECTS: [(&str, &str); 6] = [
    ("marked/", ""),
    ("marked/2024/", ""),
    ("marked/2024/part-0.csv", "a,b\n"),
    ("marked/2025/", ""),
    ("marked/none.csv", ""),
    ("new/", ""),
];

fn bucket() -> Store {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || answer(stream.unwrap()));
        }
    });
    Store::default().with_credentials(Credentials::of([
        ("AWS_ENDPOINT_URL", endpoint.as_str()),
        ("AWS_ACCESS_KEY_ID", "sconce"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_REGION", "eu-central-1"),
    ]))
}

/// A list of the keys that begin as asked, or the object that has exactly this key.
fn answer(mut stream: TcpStream) {
    let lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let head: Vec<String> = lines
        .map(Result::unwrap)
        .take_while(|line| !line.is_empty())
        .collect();
    let asked = head[0].split(' ').nth(1).unwrap();
    let (status, body) = match asked.split_once("prefix=") {
        Some((_, prefix)) => ("200 OK", list(&prefix.replace("%2F", "/"))),
        None => {
            let key = asked.strip_prefix("/tables/").unwrap();
            match OBJECTS.iter().find(|(known, _)| *known == key) {
                Some((_, text)) => ("200 OK", (*text).to_owned()),
                None => ("404 Not Found", String::new()),
            }
        }
    };
    let length = body.len();
    let body = if head[0].starts_with("HEAD") { "" } else { &body };
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nETag: \"a\"\r\n\
         Last-Modified: Wed, 21 Oct 2015 07:28:00 GMT\r\nConnection: close\r\n\r\n{body}"
    );
    stream.write_all(answer.as_bytes()).unwrap();
}

fn list(prefix: &str) -> String {
    let listed = OBJECTS.iter().filter(|(key, _)| key.starts_with(prefix));
    let contents = listed.map(|(key, text)| {
        format!(
            "<Contents><Key>{key}</Key><Size>{}</Size><LastModified>2015-10-21T07:28:00.000Z</LastModified>\
             <ETag>\"a\"</ETag></Contents>",
            text.len()
        )
    });
    let contents: String = contents.collect();
    format!("<ListBucketResult>{contents}</ListBucketResult>")
}

#[test]
fn what_marks_a_folder_is_none_of_its_files() {
    let store = bucket();
    let files = store.files("s3://tables/marked").unwrap().unwrap();
    assert_eq!(files, ["2024/part-0.csv", "none.csv"]);
    for (file, text) in files.iter().zip(["a,b\n", ""]) {
        let read = store.read(&format!("s3://tables/marked/{file}"), 10).unwrap();
        assert_eq!(read, text.as_bytes(), "{file}");
    }
    assert_eq!(
        store.files("s3://tables/new").unwrap(),
        None,
        "nothing is in the folder"
    );
}
