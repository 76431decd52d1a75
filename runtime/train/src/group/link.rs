//! One direction of a connection between two workers.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Shutdown, TcpStream},
    sync::{
        Arc, OnceLock,
        mpsc::{self, RecvTimeoutError, SyncSender},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{
    GroupError,
    frame::{self, HEAD, Kind},
};
use crate::watch::Stop;

/// How often a worker that has nothing to say shows that it is there.
const BEAT: Duration = Duration::from_secs(4);
/// How long one may be silent: a machine that is gone closes no connection. Less than a pod has from SIGTERM to SIGKILL, so
/// that one that is told to stop meanwhile still saves its state.
pub(super) const SILENCE: Duration = Duration::from_secs(20);
/// How often a worker that waits looks whether it was told to stop.
const LOOK: Duration = Duration::from_millis(100);
/// Frames on their way. The rounds of the ring send one and take one, so that two would do.
const QUEUE: usize = 4;

/// What a worker hears.
#[derive(Debug)]
pub(super) struct Inbox {
    stream: TcpStream,
    /// Who speaks.
    worker: u32,
    silence: Duration,
    /// When all must have been said.
    until: Option<Instant>,
    content: Vec<u8>,
}

impl Inbox {
    pub(super) fn new(stream: TcpStream, worker: u32) -> io::Result<Self> {
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(LOOK))?;
        Ok(Inbox {
            stream,
            worker,
            silence: SILENCE,
            until: None,
            content: Vec::new(),
        })
    }

    /// The same of somebody who must have spoken by then, known or not.
    pub(super) fn until(mut self, until: Instant) -> Self {
        (self.until, self.silence) = (Some(until), Duration::MAX);
        self
    }

    /// From now on all must have been said by then.
    pub(super) fn ends_at(&mut self, until: Instant) {
        self.until = Some(until);
    }

    #[cfg(test)]
    fn silent_for(mut self, silence: Duration) -> Self {
        self.silence = silence;
        self
    }

    /// Who speaks.
    pub(super) fn worker(&self) -> u32 {
        self.worker
    }

    /// The connection, to be answered on.
    pub(super) fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// The next content, which is of this kind. Where a stop is given it ends the wait.
    pub(super) fn take(&mut self, kind: Kind, stop: Option<&Stop>) -> Result<&[u8], GroupError> {
        match self.next(stop)? {
            found if found == kind => Ok(&self.content),
            found => Err(self.out_of_step(found, &format!("{kind:?}").to_lowercase())),
        }
    }

    /// What kind comes next; its content is [`Self::content`].
    pub(super) fn next(&mut self, stop: Option<&Stop>) -> Result<Kind, GroupError> {
        loop {
            let mut head = [0; HEAD];
            self.fill(&mut head, stop)?;
            let (found, length) = frame::announced(head).map_err(|error| self.lost(&error))?;
            let mut content = std::mem::take(&mut self.content);
            content.resize(length, 0);
            self.fill(&mut content, stop)?;
            self.content = content;
            match found {
                Kind::Beat => {}
                Kind::Bye => {
                    let why = String::from_utf8_lossy(&self.content).into_owned();
                    return Err(GroupError::Left { why });
                }
                found => return Ok(found),
            }
        }
    }

    /// The content that came last.
    pub(super) fn content(&self) -> &[u8] {
        &self.content
    }

    /// What came is not what was to come.
    pub(super) fn out_of_step(&self, found: Kind, expected: &str) -> GroupError {
        GroupError::OutOfStep {
            worker: self.worker,
            found: format!("{found:?}").to_lowercase(),
            expected: expected.to_owned(),
        }
    }

    fn fill(&mut self, place: &mut [u8], stop: Option<&Stop>) -> Result<(), GroupError> {
        let (mut filled, mut heard) = (0, Instant::now());
        while filled < place.len() {
            match self.stream.read(&mut place[filled..]) {
                Ok(0) => return Err(self.lost("the connection ended")),
                Ok(count) => (filled, heard) = (filled + count, Instant::now()),
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                    ) => {}
                Err(error) => return Err(self.lost(&error)),
            }
            if stop.is_some_and(Stop::asked) {
                return Err(GroupError::Left {
                    why: "this worker was told to stop".to_owned(),
                });
            }
            let now = Instant::now();
            if now - heard >= self.silence || self.until.is_some_and(|until| now >= until) {
                return Err(self.lost("it fell silent"));
            }
        }
        Ok(())
    }

    fn lost(&self, why: &(impl ToString + ?Sized)) -> GroupError {
        GroupError::Lost {
            worker: self.worker,
            why: why.to_string(),
        }
    }
}

/// What a worker says. A thread writes it, so that nobody who takes has to wait until what he sends is taken.
#[derive(Debug)]
pub(super) struct Outbox {
    frames: Option<SyncSender<Vec<u8>>>,
    writer: Option<JoinHandle<()>>,
    /// When it was let go of.
    over: Arc<OnceLock<Instant>>,
    /// Who listens.
    worker: u32,
}

impl Outbox {
    pub(super) fn new(stream: TcpStream, worker: u32) -> io::Result<Self> {
        Self::telling(stream, worker, BEAT, || frame::frame(Kind::Beat, &[]))
    }

    /// The same of one that says something of its own as often as this where it has nothing to send.
    pub(super) fn telling(
        mut stream: TcpStream,
        worker: u32,
        often: Duration,
        mut tells: impl FnMut() -> Vec<u8> + Send + 'static,
    ) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(LOOK))?;
        let (frames, queue) = mpsc::sync_channel::<Vec<u8>>(QUEUE);
        let over = Arc::new(OnceLock::new());
        let last = over.clone();
        let write = move || {
            loop {
                let frame = match queue.recv_timeout(often) {
                    Ok(frame) => frame,
                    Err(RecvTimeoutError::Timeout) => tells(),
                    Err(RecvTimeoutError::Disconnected) => break,
                };
                if write_all(&mut stream, &frame, &last).is_err() {
                    // Who sends next is told by the closed queue.
                    return;
                }
            }
            // Whoever listens sees the end all the same.
            let _ = stream.shutdown(Shutdown::Write);
        };
        Ok(Outbox {
            frames: Some(frames),
            writer: Some(thread::Builder::new().name("ring".into()).spawn(write)?),
            over,
            worker,
        })
    }

    /// Puts a frame behind those that are on their way.
    pub(super) fn send(&self, frame: Vec<u8>) -> Result<(), GroupError> {
        let sent = self.frames.as_ref().map(|frames| frames.send(frame));
        match sent {
            Some(Ok(())) => Ok(()),
            _ => Err(GroupError::Lost {
                worker: self.worker,
                why: "it takes nothing any more".to_owned(),
            }),
        }
    }
}

/// Writes all, however long whoever listens computes or saves meanwhile: that one is gone is found by the worker that
/// listens to it, and comes round the ring. After the end there is no such hope.
fn write_all(stream: &mut TcpStream, mut rest: &[u8], over: &OnceLock<Instant>) -> io::Result<()> {
    while !rest.is_empty() {
        match stream.write(rest) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => rest = &rest[count..],
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                ) =>
            {
                if over.get().is_some_and(|over| over.elapsed() >= SILENCE) {
                    return Err(error);
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

impl Drop for Outbox {
    /// Returns when all is written, or cannot be.
    fn drop(&mut self) {
        let _ = self.over.set(Instant::now());
        self.frames = None;
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn pair() -> (Outbox, Inbox, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let raw = to.try_clone().unwrap();
        let from = listener.accept().unwrap().0;
        (Outbox::new(to, 1).unwrap(), Inbox::new(from, 2).unwrap(), raw)
    }

    #[test]
    fn what_is_sent_before_the_end_is_heard() {
        let (outbox, mut inbox, _) = pair();
        outbox.send(frame::frame(Kind::Beat, &[])).unwrap();
        outbox.send(frame::frame(Kind::Words, b"{}")).unwrap();
        outbox
            .send(frame::frame(Kind::Bye, b"worker 2 was told to stop"))
            .unwrap();
        drop(outbox);
        assert_eq!(inbox.take(Kind::Words, None).unwrap(), b"{}");
        let error = inbox.take(Kind::Words, None).unwrap_err();
        assert_eq!(error.to_string(), "worker 2 was told to stop");
        let error = inbox.take(Kind::Words, None).unwrap_err();
        assert_eq!(error.to_string(), "worker 2 was lost: the connection ended");
    }

    #[test]
    fn what_nobody_takes_for_a_while_is_not_lost() {
        let (outbox, mut inbox, _) = pair();
        let content: Vec<u8> = (0..200_000).map(|place| place as u8).collect();
        // More than what lies between two sockets.
        let writer = thread::spawn(move || {
            for _ in 0..100 {
                outbox.send(frame::frame(Kind::Numbers, &content)).unwrap();
            }
            content
        });
        thread::sleep(3 * LOOK);
        let taken: Vec<Vec<u8>> = (0..100)
            .map(|_| inbox.take(Kind::Numbers, None).unwrap().to_vec())
            .collect();
        let content = writer.join().unwrap();
        assert!(taken.iter().all(|taken| *taken == content));
    }

    #[test]
    fn whoever_falls_silent_is_lost_even_in_the_middle_of_a_message() {
        for said in [&b""[..], b"sg1", &frame::frame(Kind::Words, b"{}")[..9]] {
            let (_outbox, inbox, mut raw) = pair();
            raw.write_all(said).unwrap();
            let mut inbox = inbox.silent_for(Duration::from_millis(1));
            let error = inbox.take(Kind::Words, None).unwrap_err().to_string();
            assert_eq!(error, "worker 2 was lost: it fell silent");
        }
    }

    #[test]
    fn a_stop_ends_the_wait_and_another_kind_is_out_of_step() {
        let (outbox, mut inbox, _) = pair();
        outbox.send(frame::frame(Kind::Numbers, &[0; 4])).unwrap();
        let error = inbox.take(Kind::Words, None).unwrap_err().to_string();
        assert_eq!(error, "worker 2 sent numbers where words was to come");
        let stop = Stop::default();
        stop.ask();
        let error = inbox.take(Kind::Words, Some(&stop)).unwrap_err().to_string();
        assert_eq!(error, "this worker was told to stop");
    }
}
