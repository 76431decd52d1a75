//! One object, all of one version.
//!
//! Large ones come by parts, a few at once: one connection to such a service is slower than the line. A part that
//! breaks off goes on where it was. Each part is asked for on condition that the object is still the one that the first
//! was of.

use futures::{FutureExt, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, GetResult, ObjectMeta, ObjectStore, ObjectStoreExt};

use super::refusal::Trouble;

/// Bytes of a part.
const PART: u64 = 8 << 20;
/// Parts at once; they and the object itself are all that is held in memory.
const AT_ONCE: usize = 4;

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
