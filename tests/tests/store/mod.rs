//! What a store of objects must do, whoever runs it.

#![allow(dead_code)] // Each test file uses a part.

use std::collections::BTreeMap;

use sconce_store::{Store, StoreError};
use tokio::task::spawn_blocking;

pub type Outcome<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

pub const LIMIT: u64 = 64 << 20;
pub const RECORD: &str = "manifest.json";

/// A folder with those weights; the record is neither the first nor the last by its name.
pub fn files(weights: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let all = [(RECORD, b"{}".as_slice()), ("a.json", b""), ("weights", weights)];
    all.map(|(name, bytes)| (name.to_owned(), bytes.to_vec())).into()
}

/// Bytes that tell their place: no two parts of them are alike.
pub fn bytes(length: usize) -> Vec<u8> {
    let words = (0..length.div_ceil(8) as u64)
        .flat_map(|word| word.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    words.take(length).collect()
}

/// Runs what blocks, away from the threads that drive the test.
pub async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Outcome<T> {
    Ok(spawn_blocking(work).await?)
}

/// Folders are written, listed, read and removed; the larger of them has weights of that length.
pub fn keeps_folders(store: &Store, place: &str, length: usize) -> Outcome {
    let large = files(&bytes(length));
    assert_eq!(store.folders(place)?, Vec::<String>::new());
    assert!(!store.exists(place)?);
    for (name, files) in [("one", &files(b"1")), ("two", &large)] {
        let uri = store.write_folder(&format!("{place}/"), name, files, RECORD)?;
        assert_eq!(uri, format!("{place}/{name}"));
        for (file, bytes) in files {
            assert!(store.read(&format!("{uri}/{file}"), LIMIT)? == *bytes, "{file}");
        }
    }
    let mut listed = store.folders(place)?;
    listed.sort_unstable();
    assert_eq!(listed, ["one", "two"]);
    assert!(store.exists(place)? && store.exists(&format!("{place}/one/weights"))?);
    // As a table of several files is read: all of them, or none of what is a file itself.
    let of_both = ["one", "two"].map(|name| files(b"").into_keys().map(move |file| format!("{name}/{file}")));
    let mut paths: Vec<String> = of_both.into_iter().flatten().collect();
    paths.sort_unstable();
    assert_eq!(store.files(place)?, Some(paths));
    assert_eq!(store.files(&format!("{place}/one/weights"))?, None);
    assert_eq!(store.files(&format!("{place}/never"))?, None);
    // Again is fine, and other bytes are not.
    store.write_folder(place, "two", &large, RECORD)?;
    let other = store.write_folder(place, "one", &files(b"2"), RECORD);
    assert!(matches!(other, Err(StoreError::Conflict { .. })), "{other:?}");
    let limited = store.read(&format!("{place}/two/weights"), length as u64 - 1);
    assert!(matches!(limited, Err(StoreError::TooLarge { .. })), "{limited:?}");

    // One file, anew each time that it grows.
    let grown = format!("{place}/one/grown");
    for (bytes, known) in [(&b"one"[..], 0), (b"one two", 3)] {
        store.grow_file(&grown, bytes, known)?;
        assert_eq!(store.read(&grown, LIMIT)?, bytes);
    }

    store.remove_folder(place, "two")?;
    store.remove_folder(place, "never")?;
    assert_eq!(store.folders(place)?, ["one"]);
    let gone = store.read(&format!("{place}/two/weights"), LIMIT);
    assert!(matches!(gone, Err(StoreError::NotFound { .. })), "{gone:?}");
    Ok(())
}
