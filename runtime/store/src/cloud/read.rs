//! One object, all of one version.
//!
//! Large ones come by parts, a few at once: one connection to such a service is slower than the line. A part that
//! breaks off goes on where it was. Each part is asked for on condition that the object is still the one that the first
//! was of.

use std::sync::Arc;

use futures::{FutureExt, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, GetResult, ObjectMeta, ObjectStore, ObjectStoreExt};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

use super::refusal::Trouble;

/// Bytes of a part.
const PART: u64 = 8 << 20;
/// Parts at once; they and the object itself are all that is held in memory.
const AT_ONCE: usize = 4;

/// The next parts that are asked for while one of a stream is read.
const AHEAD: usize = 1;

/// An object whose first part is there.
pub(super) struct Begun {
    meta: ObjectMeta,
    beginning: Vec<u8>,
}

/// The size and the beginning of an object of at most `limit` bytes.
pub(super) async fn begin(store: &dyn ObjectStore, path: &Path, limit: u64) -> Result<Begun, Trouble> {
    let first = store.get(path).await?;
    let meta = first.meta.clone();
    if meta.size > limit {
        return Err(Trouble::TooLarge(limit));
    }
    let beginning = part(first, meta.size.min(PART)).await?;
    Ok(Begun { meta, beginning })
}

impl Begun {
    /// Bytes of the object.
    pub(super) fn size(&self) -> u64 {
        self.meta.size
    }

    /// Its parts in order. The next one is on its way while one is taken; those after it wait until it is.
    pub(super) fn parts(
        self,
        store: Arc<dyn ObjectStore>,
        path: Path,
        threads: &Runtime,
    ) -> mpsc::Receiver<Result<Vec<u8>, Trouble>> {
        let (sender, receiver) = mpsc::channel(AHEAD);
        threads.spawn(async move {
            let Begun { meta, beginning } = self;
            if sender.send(Ok(beginning)).await.is_err() {
                return;
            }
            for start in (1..meta.size.div_ceil(PART)).map(|index| index * PART) {
                let part = ranged(&*store, &path, &meta, start..(start + PART).min(meta.size)).await;
                let failed = part.is_err();
                // Nobody listens where the reader gave up.
                if sender.send(part).await.is_err() || failed {
                    return;
                }
            }
        });
        receiver
    }
}

/// All bytes, at most `limit`.
pub(super) async fn read(store: &dyn ObjectStore, path: &Path, limit: u64) -> Result<Vec<u8>, Trouble> {
    let first = store.get(path).await?;
    let meta = first.meta.clone();
    if meta.size > limit {
        return Err(Trouble::TooLarge(limit));
    }
    // The beginning is taken from the first answer, which tells the size besides.
    let beginning = part(first, meta.size.min(PART)).boxed();
    let starts = (1..meta.size.div_ceil(PART)).map(|index| index * PART);
    let rest = starts.map(|start| ranged(store, path, &meta, start..(start + PART).min(meta.size)).boxed());
    let mut parts = futures::stream::iter(std::iter::once(beginning).chain(rest)).buffered(AT_ONCE);
    let mut bytes = Vec::new();
    // The size is what the service claims; where there is no such room, memory grows with the bytes that arrive.
    let _ = bytes.try_reserve_exact(usize::try_from(meta.size).unwrap_or(0));
    while let Some(part) = parts.try_next().await? {
        bytes.extend_from_slice(&part);
    }
    Ok(bytes)
}

async fn ranged(
    store: &dyn ObjectStore,
    path: &Path,
    meta: &ObjectMeta,
    range: std::ops::Range<u64>,
) -> Result<Vec<u8>, Trouble> {
    let length = range.end - range.start;
    let options = GetOptions {
        range: Some(GetRange::Bounded(range)),
        if_match: meta.e_tag.clone(),
        ..GetOptions::default()
    };
    let answer = store.get_opts(path, options).await?;
    // Not every service looks at the condition.
    if answer.meta.e_tag != meta.e_tag || answer.meta.size != meta.size {
        return Err(Trouble::Changed);
    }
    part(answer, length).await
}

/// So many bytes of an answer, which may have more.
async fn part(answer: GetResult, length: u64) -> Result<Vec<u8>, Trouble> {
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    let mut bytes = Vec::new();
    let mut body = answer.into_stream();
    while bytes.len() < length {
        let Some(more) = body.try_next().await? else {
            return Err(Trouble::Short);
        };
        let wanted = more.len().min(length - bytes.len());
        bytes.extend_from_slice(&more[..wanted]);
    }
    Ok(bytes)
}
