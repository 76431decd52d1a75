//! A future that is asked only when it has something to say.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures::task::AtomicWaker;

/// Passes a poll on only where the future was woken since the last one.
///
/// kube's controller keeps the reconciles that are under way in a table and polls every one whenever any is woken
/// (`FutureHashMap`, kube-runtime 5.0): with hundreds that wait for their turn, that is most of what they cost.
pub struct Woken<F> {
    future: Pin<Box<F>>,
    bell: Arc<Bell>,
    waker: Waker,
}

struct Bell {
    rang: AtomicBool,
    owner: AtomicWaker,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rang.store(true, Ordering::Release);
        self.owner.wake();
    }
}

impl<F: Future> Woken<F> {
    /// Of this future, which is polled once in any case.
    pub fn new(future: F) -> Self {
        let bell = Arc::new(Bell {
            rang: AtomicBool::new(true),
            owner: AtomicWaker::new(),
        });
        Woken {
            future: Box::pin(future),
            waker: Waker::from(Arc::clone(&bell)),
            bell,
        }
    }
}

impl<F: Future> Future for Woken<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        // First the owner, then the look: a ring in between is seen, or wakes the owner.
        self.bell.owner.register(context.waker());
        if !self.bell.rang.swap(false, Ordering::AcqRel) {
            return Poll::Pending;
        }
        let this = &mut *self;
        this.future.as_mut().poll(&mut Context::from_waker(&this.waker))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::time::Duration;

    use futures::future::poll_fn;
    use futures::task::noop_waker;
    use tokio::sync::Semaphore;

    use super::*;

    #[test]
    fn a_future_is_polled_only_after_it_was_woken() {
        let polls = Arc::new(AtomicUsize::new(0));
        let (seen, mut given) = (Arc::clone(&polls), None);
        let (sender, receiver) = std::sync::mpsc::channel();
        let mut woken = Woken::new(poll_fn(move |context| {
            sender.send(context.waker().clone()).unwrap();
            match seen.fetch_add(1, Ordering::Relaxed) {
                0 => Poll::Pending,
                _ => Poll::Ready(()),
            }
        }));
        let waker = noop_waker();
        let mut context = Context::from_waker(&waker);
        for _ in 0..3 {
            assert!(Pin::new(&mut woken).poll(&mut context).is_pending());
            given = receiver.try_recv().ok().or(given);
        }
        assert_eq!(polls.load(Ordering::Relaxed), 1);
        given.unwrap().wake();
        assert!(Pin::new(&mut woken).poll(&mut context).is_ready());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn many_that_wait_for_a_few_turns_all_have_theirs() {
        let turns = Arc::new(Semaphore::new(3));
        let mut table: Vec<_> = (0..2_000)
            .map(|number| {
                let turns = Arc::clone(&turns);
                Some(Woken::new(async move {
                    let turn = turns.acquire().await.unwrap();
                    tokio::task::yield_now().await;
                    if number % 100 == 0 {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                    drop(turn);
                }))
            })
            .collect();
        // As kube's table: every one is polled whenever any is woken.
        let all = poll_fn(|context| {
            for slot in &mut table {
                if slot
                    .as_mut()
                    .is_some_and(|future| Pin::new(future).poll(context).is_ready())
                {
                    *slot = None;
                }
            }
            if table.iter().all(Option::is_none) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        });
        tokio::time::timeout(Duration::from_secs(60), all).await.unwrap();
    }
}
