//! A connection that ends where its client takes nothing for too long.
//!
//! Otherwise a client that asks and never reads, or reads a byte now and then, would keep the answer in memory for ever.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// A stream with a limit on how long a write may wait.
#[derive(Debug)]
pub struct Stall<S> {
    stream: S,
    patience: Duration,
    whole: Duration,
    /// Runs while a write waits.
    timer: Option<Pin<Box<Sleep>>>,
    /// Runs from the first write that waits until all is written.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl<S> Stall<S> {
    /// A stream whose writes wait no longer than `patience` each, and `whole` together until the next flush.
    pub fn new(stream: S, patience: Duration, whole: Duration) -> Self {
        Stall {
            stream,
            patience,
            whole,
            timer: None,
            deadline: None,
        }
    }

    fn watch<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.timer = None;
            return written;
        }
        let (patience, whole) = (self.patience, self.whole);
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep(whole)));
        let late = deadline.as_mut().poll(cx).is_ready();
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(patience)));
        if !late {
            ready!(timer.as_mut().poll(cx));
        }
        timer.as_mut().reset(Instant::now() + patience);
        self.deadline = None;
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Stall<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Stall<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watch(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.watch(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        if flushed.is_ready() {
            self.deadline = None;
        }
        self.watch(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.watch(cx, shut)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    #[tokio::test]
    async fn a_client_that_reads_a_byte_now_and_then_is_given_up_too() {
        let (ours, mut theirs) = tokio::io::duplex(8);
        let mut stream = Stall::new(ours, LONG, Duration::from_millis(50));
        let reading = tokio::spawn(async move {
            let mut bytes = 0;
            while theirs.read_u8().await.is_ok() {
                bytes += 1;
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            bytes
        });
        let error = stream.write_all(&[b'1'; 10_000]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(stream);
        assert!(reading.await.unwrap() > 0, "it made progress");
    }

    #[tokio::test]
    async fn what_is_flushed_begins_anew() {
        let (ours, mut theirs) = tokio::io::duplex(8);
        let mut stream = Stall::new(ours, LONG, LONG);
        let reading = tokio::spawn(async move {
            let mut bytes = [0; 16];
            theirs.read_exact(&mut bytes).await.map(drop)
        });
        stream.write_all(&[b'1'; 16]).await.unwrap();
        assert!(stream.deadline.is_some(), "a write had to wait");
        stream.flush().await.unwrap();
        assert!(stream.deadline.is_none());
        reading.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_client_that_reads_nothing_is_given_up() {
        let (ours, mut theirs) = tokio::io::duplex(8);
        let mut stream = Stall::new(ours, Duration::from_millis(50), LONG);
        stream.write_all(b"12345678").await.unwrap();
        let error = stream.write_all(b"9").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        let mut read = [0; 8];
        theirs.read_exact(&mut read).await.unwrap();
        stream.write_all(b"9").await.unwrap();
    }
}
