//! Tests of `line`: two ends over a connection on loopback, of which one may say anything.

use std::{
    io::Write,
    net::TcpListener,
    sync::atomic::{AtomicBool, Ordering},
};

use super::*;

const MOST: u64 = 1 << 20;

fn streams() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (to, listener.accept().unwrap().0)
}

fn line(stream: TcpStream, ends: Option<Stop>) -> Line {
    Line::new(stream, 2, MOST, || None, ends).unwrap()
}

/// Each waits for the end of the other.
fn close(one: Line, other: Line) {
    thread::scope(|scope| {
        scope.spawn(|| drop(one));
        drop(other);
    });
}

fn heard(line: &Line) -> Result<Heard, GroupError> {
    line.hear(&Stop::default()).map(|heard| heard.unwrap())
}

#[test]
fn messages_of_any_length_come_whole_and_in_order() {
    let (one, other) = streams();
    let (one, other) = (line(one, None), line(other, None));
    let long: Vec<u8> = (0..3 * MOST_PIECE + 7).map(|place| place as u8).collect();
    for bytes in [
        &[][..],
        &[b"a" as &[u8]],
        &[b"", b"b"],
        &[b""],
        &[&long, b"", b"c"],
    ] {
        one.mouth().unwrap().say(&"word", bytes).unwrap();
        let Heard::Message(parts) = heard(&other).unwrap() else {
            panic!("no message")
        };
        assert_eq!(other.parse::<String>(&parts[0]).unwrap(), "word");
        assert_eq!(parts[1..], *bytes);
    }
    // Both ways at once.
    other.mouth().unwrap().say(&1, &[]).unwrap();
    assert_eq!(heard(&one).unwrap(), Heard::Message(vec![b"1".to_vec()]));
    close(one, other);
}

#[test]
fn what_is_said_before_the_end_is_heard_and_the_end_too() {
    let (one, other) = streams();
    let (one, other) = (line(one, None), line(other, None));
    let ended = thread::spawn(move || {
        one.mouth().unwrap().say(&"last", &[&[7; 500_000]]).unwrap();
        drop(one);
    });
    assert!(matches!(heard(&other).unwrap(), Heard::Message(parts) if parts[1].len() == 500_000));
    let error = heard(&other).unwrap_err().to_string();
    assert_eq!(error, "worker 2 was lost: the connection ended");
    drop(other);
    ended.join().unwrap();
}

#[test]
fn an_end_stops_what_is_done_for_the_other_one() {
    for says in [&frame::bye("worker 0 was told to stop")[..], b"GET / HTTP/1.1"] {
        let (mut raw, other) = streams();
        let stop = Stop::default();
        let line = line(other, Some(stop.clone()));
        assert!(!stop.asked());
        raw.write_all(says).unwrap();
        let error = heard(&line).unwrap_err();
        assert!(stop.asked(), "{error}");
        drop(raw);
    }
}

#[test]
fn an_aside_may_come_in_the_middle_of_a_message() {
    let (mut raw, other) = streams();
    let line = line(other, None);
    raw.write_all(&frame::frame(Kind::Words, br#"{"parts":[3]}"#))
        .unwrap();
    raw.write_all(&frame::frame(Kind::Piece, b"\"a")).unwrap();
    raw.write_all(&frame::frame(Kind::Aside, b"5")).unwrap();
    raw.write_all(&frame::frame(Kind::Piece, b"\"")).unwrap();
    assert_eq!(heard(&line).unwrap(), Heard::Aside(b"5".to_vec()));
    assert_eq!(heard(&line).unwrap(), Heard::Message(vec![b"\"a\"".to_vec()]));
    drop(raw);
}

#[test]
fn what_no_worker_of_ours_says_ends_the_line_and_takes_no_memory() {
    let words = |text: &str| frame::frame(Kind::Words, text.as_bytes());
    let piece = |length: usize| frame::frame(Kind::Piece, &vec![0; length]);
    for says in [
        words("no JSON"),
        words(r#"{"parts":[]}"#),
        words(r#"{"parts":[1],"more":1}"#),
        words(r#"{"parts":[1,1,1,1,1]}"#),
        // Beyond the limit, by itself, together, and beyond all numbers.
        words(r#"{"parts":[1048577]}"#),
        words(r#"{"parts":[1048576,1]}"#),
        words(r#"{"parts":[18446744073709551615,2]}"#),
        [words(r#"{"parts":[4]}"#), words(r#"{"parts":[4]}"#)].concat(),
        [words(r#"{"parts":[4]}"#), piece(5)].concat(),
        [words(r#"{"parts":[4]}"#), piece(0)].concat(),
        piece(1),
        frame::frame(Kind::Numbers, &[0; 4]),
    ] {
        let (mut raw, other) = streams();
        let line = line(other, None);
        raw.write_all(&says).unwrap();
        let error = heard(&line).unwrap_err();
        assert!(
            matches!(error, GroupError::OutOfStep { worker: 2, .. }),
            "{error}"
        );
        // Whoever would answer is told at once, not when the other one deigns to go.
        let mouth = line.mouth().unwrap().clone();
        let told = (0..1000).find_map(|_| mouth.say(&"answer", &[&[0; 1000]]).err());
        assert!(told.is_some(), "it is still spoken to");
    }
}

#[test]
fn how_far_one_is_is_said_by_itself_and_nothing_else_while_it_is_silent() {
    let (one, other) = streams();
    let says = Arc::new(AtomicBool::new(true));
    let tells = {
        let says = Arc::clone(&says);
        move || says.swap(false, Ordering::Relaxed).then(|| b"[3]".to_vec())
    };
    let one = Line::new(one, 1, MOST, tells, None).unwrap();
    let other = line(other, None);
    assert_eq!(heard(&other).unwrap(), Heard::Aside(b"[3]".to_vec()));
    other.is_silent().unwrap();
    one.mouth().unwrap().say(&"not asked for", &[]).unwrap();
    let error = loop {
        if let Err(error) = other.is_silent() {
            break error;
        }
    };
    assert!(
        error.to_string().contains("a message where nothing was to come"),
        "{error}"
    );
    close(one, other);
}
