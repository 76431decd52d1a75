//! How workers find each other, and make a ring.
//!
//! ```text
//!   1, 2, …: Hello ──────► 0   who they are, and where they listen; on a connection that stays open
//!   0:       Welcome ────► all, once they are there: a name for this meeting, and who takes part
//!   each:    Link ───────► the next one, who takes it from nobody but the one before, and with that name only
//! ```

use std::{
    collections::BTreeMap,
    hash::{BuildHasher, Hasher, RandomState},
    io::{ErrorKind, Write},
    net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs},
    thread,
    time::{Duration, Instant},
};

use serde::{Serialize, de::DeserializeOwned};

use super::{
    Group, GroupError, Purpose, Seat,
    frame::{self, Kind},
    hello::{Answer, Hello, Link, Member, may_pass, refusal},
    late::Late,
    link::{Inbox, Outbox},
};
use crate::watch::Stop;

/// How long a connection may take to say who it is.
const INTRODUCTION: Duration = Duration::from_secs(1);
/// How long the ring may take to close once all are there.
const CLOSING: Duration = Duration::from_secs(15);
/// How long one try to reach a worker may take.
const CONNECT: Duration = Duration::from_secs(2);
/// Who hears nothing for so long on a connection was not refused: that takes an introduction at most.
const HELD: Duration = Duration::from_secs(5);
/// From one look at who has come to the next.
const PAUSE: Duration = Duration::from_millis(50);
/// At most so many of them from one try to reach the first worker to the next, after one, two, four: all start about the same
/// time, but its name may not be known for a while.
const BETWEEN_TRIES: u32 = 10;

/// Meets the others. The first worker waits until all have come, or after `seat.settle` until as many have as are
/// needed.
pub fn meet(seat: &Seat, purpose: &Purpose, stop: &Stop) -> Result<Group, GroupError> {
    let listener = listen(seat)?;
    match seat.worker {
        0 => lead(seat, purpose, stop, listener),
        _ => join(seat, purpose, stop, &listener),
    }
}

/// Where a worker is reached by the others; nobody waits there.
pub(super) fn listen(seat: &Seat) -> Result<TcpListener, GroupError> {
    let listener = TcpListener::bind(seat.listen);
    let listener = listener.and_then(|listener| listener.set_nonblocking(true).map(|()| listener));
    listener.map_err(|error| GroupError::Deaf {
        address: seat.listen.to_string(),
        why: error.to_string(),
    })
}

/// A worker that waits to be taken in.
pub(super) struct Waiting {
    pub(super) stream: TcpStream,
    address: SocketAddr,
}

fn lead(seat: &Seat, purpose: &Purpose, stop: &Stop, listener: TcpListener) -> Result<Group, GroupError> {
    let begun = Instant::now();
    let (count, least) = (purpose.count as usize, seat.least.max(1) as usize);
    let mut waiting: BTreeMap<u32, Waiting> = BTreeMap::new();
    loop {
        while let Ok((stream, _)) = listener.accept() {
            if let Some((worker, found)) = introduced(stream, purpose) {
                tracing::info!(worker, address = %found.address, "a worker has come");
                waiting.insert(worker, found);
            }
        }
        waiting.retain(|_, worker| is_there(&worker.stream));
        let (there, waited) = (waiting.len() + 1, begun.elapsed());
        if there == count || (there >= least && waited >= seat.settle) {
            break;
        }
        if waited >= seat.wait {
            return Err(GroupError::TooFew {
                came: there,
                count,
                least,
                seconds: seat.wait.as_secs(),
            });
        }
        pause(seat, stop)?;
    }
    let attempt = attempt();
    let own = Member {
        worker: 0,
        address: seat.listen,
    };
    let others = waiting.iter().map(|(&worker, found)| Member {
        worker,
        address: found.address,
    });
    let members: Vec<Member> = std::iter::once(own).chain(others).collect();
    let welcome = Answer::Welcome {
        attempt: attempt.clone(),
        members: members.clone(),
    };
    for (worker, found) in &mut waiting {
        say(&mut found.stream, &welcome).map_err(|error| lost(*worker, &error))?;
    }
    let mut group = ring(seat, &attempt, &members, &listener, stop)?;
    if members.len() < count {
        let known = members.iter().map(|member| member.worker).collect();
        group.late = Late::watch(listener, purpose.clone(), known);
    }
    Ok(group)
}

/// Who speaks on a connection, where it is one of ours; others are told why not.
pub(super) fn introduced(stream: TcpStream, purpose: &Purpose) -> Option<(u32, Waiting)> {
    let ip = stream.peer_addr().ok()?.ip();
    let (hello, mut stream) = hear::<Hello>(stream)?;
    if let Some(why) = refusal(&hello, purpose) {
        tracing::warn!(%ip, why, "somebody was not taken into the group");
        // It tries again or goes; neither concerns the group.
        let _ = say(&mut stream, &Answer::Refused(why));
        return None;
    }
    let address = SocketAddr::new(ip, hello.port);
    Some((hello.worker, Waiting { stream, address }))
}

/// First words on a connection, where they are such ones.
pub(super) fn hear<T: DeserializeOwned>(stream: TcpStream) -> Option<(T, TcpStream)> {
    let mut inbox = Inbox::new(stream, 0).ok()?.until(Instant::now() + INTRODUCTION);
    let words = serde_json::from_slice(inbox.take(Kind::Words, None).ok()?).ok()?;
    Some((words, inbox.into_stream()))
}

pub(super) fn say(stream: &mut TcpStream, words: &impl Serialize) -> std::io::Result<()> {
    stream.set_write_timeout(Some(CONNECT))?;
    stream.write_all(&frame::frame(Kind::Words, &serde_json::to_vec(words)?))
}

/// Whether the other end is open: it says nothing more until it is welcomed.
fn is_there(stream: &TcpStream) -> bool {
    let looked = stream.set_nonblocking(true).and_then(|()| stream.peek(&mut [0]));
    let restored = stream.set_nonblocking(false);
    restored.is_ok() && looked.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}

fn join(seat: &Seat, purpose: &Purpose, stop: &Stop, listener: &TcpListener) -> Result<Group, GroupError> {
    let port = listener
        .local_addr()
        .map_or(seat.listen.port(), |address| address.port());
    match knock(seat, purpose, port, stop)? {
        (Answer::Welcome { attempt, members }, stream) => {
            let leader = stream.peer_addr().map_err(|error| lost(0, &error))?;
            ring(seat, &attempt, &known(members, leader), listener, stop)
        }
        (other, _) => Err(GroupError::OutOfStep {
            worker: 0,
            found: format!("{other:?}"),
            expected: "who takes part".to_owned(),
        }),
    }
}

/// Asks the first worker to be taken in until it does so; what it answers, and on which connection.
pub(super) fn knock(
    seat: &Seat,
    purpose: &Purpose,
    port: u16,
    stop: &Stop,
) -> Result<(Answer, TcpStream), GroupError> {
    let until = Instant::now() + seat.wait;
    let hello = Hello {
        purpose: purpose.clone(),
        worker: seat.worker,
        port,
    };
    let (mut refused, mut unheard, mut pauses) = (None, "nobody listens there".to_owned(), 1);
    while Instant::now() < until {
        let asked = Instant::now();
        match ask(seat, &hello, until, stop) {
            Ok((Answer::Refused(why), _)) => refused = Some(why),
            Ok(taken) => return Ok(taken),
            // Nobody was there, or nobody answered in time: what was answered before says more. But whoever kept this
            // worker waiting had nothing against it.
            Err(_) if refused.is_some() && asked.elapsed() < HELD => {}
            Err(error) => (refused, unheard) = (None, error.to_string()),
        }
        for _ in 0..pauses {
            pause(seat, stop)?;
        }
        pauses = BETWEEN_TRIES.min(pauses * 2);
    }
    let (address, seconds) = (seat.leader.clone(), seat.wait.as_secs());
    Err(match refused {
        // Within the time another first worker could have come, which learns the same.
        Some(why) if !may_pass(&why) => GroupError::Refused {
            address,
            seconds,
            why,
        },
        refused => GroupError::NoLeader {
            address,
            seconds,
            why: refused.unwrap_or(unheard),
        },
    })
}

/// The first worker does not know its own address; whoever reached it does.
fn known(mut members: Vec<Member>, leader: SocketAddr) -> Vec<Member> {
    if let Some(first) = members.first_mut() {
        first.address = leader;
    }
    members
}

/// What the first worker answers, and on which connection.
pub(super) fn ask(
    seat: &Seat,
    hello: &Hello,
    until: Instant,
    stop: &Stop,
) -> Result<(Answer, TcpStream), GroupError> {
    let mut stream = reach(&seat.leader, 0)?;
    say(&mut stream, hello).map_err(|error| lost(0, &error))?;
    let inbox = Inbox::new(stream, 0).map_err(|error| lost(0, &error))?;
    let mut inbox = inbox.until(until);
    let answer = inbox.take(Kind::Words, Some(stop))?;
    let answer = serde_json::from_slice(answer).map_err(|error| lost(0, &error))?;
    Ok((answer, inbox.into_stream()))
}

/// Where a name leads may change with each pod.
fn reach(address: &str, worker: u32) -> Result<TcpStream, GroupError> {
    let mut why = "its name leads nowhere".to_owned();
    let found = address.to_socket_addrs().map_err(|error| lost(worker, &error))?;
    for address in found {
        match TcpStream::connect_timeout(&address, CONNECT) {
            Ok(stream) => return Ok(stream),
            Err(error) => why = error.to_string(),
        }
    }
    Err(GroupError::Lost { worker, why })
}

/// Closes the ring: each speaks to the next worker and listens to the one before.
fn ring(
    seat: &Seat,
    attempt: &str,
    members: &[Member],
    listener: &TcpListener,
    stop: &Stop,
) -> Result<Group, GroupError> {
    let place = members.iter().position(|member| member.worker == seat.worker);
    let Some(place) = place else {
        let why = format!("worker {} was forgotten", seat.worker);
        return Err(GroupError::Left { why });
    };
    let workers = members.len();
    if workers == 1 {
        return Ok(Group::alone(stop));
    }
    let (next, before) = (
        &members[(place + 1) % workers],
        members[(place + workers - 1) % workers].worker,
    );
    let mut stream = reach(&next.address.to_string(), next.worker)?;
    let link = Link {
        token: seat.token.clone(),
        attempt: attempt.to_owned(),
        from: seat.worker,
    };
    say(&mut stream, &link).map_err(|error| lost(next.worker, &error))?;
    let outbox = Outbox::new(stream, next.worker).map_err(|error| lost(next.worker, &error))?;
    let expected = Link { from: before, ..link };
    let until = Instant::now() + CLOSING;
    while Instant::now() < until {
        if let Ok((stream, _)) = listener.accept()
            && let Some((_, stream)) = hear::<Link>(stream).filter(|(link, _)| *link == expected)
        {
            let inbox = Inbox::new(stream, before).map_err(|error| lost(before, &error))?;
            return Ok(Group::new(seat.worker, [place, workers], inbox, outbox, stop));
        }
        pause(seat, stop)?;
    }
    Err(lost(before, "it did not reach this worker"))
}

fn pause(seat: &Seat, stop: &Stop) -> Result<(), GroupError> {
    if stop.asked() {
        return Err(GroupError::Stopped { worker: seat.worker });
    }
    thread::sleep(PAUSE);
    Ok(())
}

fn lost(worker: u32, why: &(impl ToString + ?Sized)) -> GroupError {
    GroupError::Lost {
        worker,
        why: why.to_string(),
    }
}

/// A name that no meeting before had: each process draws its own keys.
fn attempt() -> String {
    let draw = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", draw(), draw())
}
