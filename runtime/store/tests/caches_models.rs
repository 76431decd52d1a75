//! A cache on a real disk: fetched once, never evicted while served, and whole after a crash.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, SystemTime};

use sconce_store::cache::{Cache, CacheError, Entry, FillError, Place};

fn digest(model: usize) -> String {
    format!("sha256:{model:064x}")
}

fn folder(root: &Path, scope: &str, model: usize) -> PathBuf {
    root.join(scope).join(digest(model).replace(':', "-"))
}

/// The model, fetched where it is not there, as one file of that size.
fn obtain(cache: &Cache, model: usize, size: u64) -> Result<(Entry, bool), CacheError> {
    match cache.open(&digest(model))? {
        Place::Held(entry) => Ok((entry, false)),
        Place::Empty(slot) => {
            let sizes = BTreeMap::from([("weights".to_owned(), size)]);
            let bytes = vec![7; usize::try_from(size).unwrap()];
            match slot.fill(&sizes, |_| Ok::<_, Infallible>(bytes.clone())) {
                Ok((entry, _)) => Ok((entry, true)),
                Err(FillError::Cache(error)) => Err(error),
                Err(FillError::Source(never)) => match never {},
            }
        }
    }
}

/// Sets when an entry was last used: a test has no time to wait.
fn used(root: &Path, model: usize, second: u64) {
    let file = fs::File::options()
        .write(true)
        .open(folder(root, "a", model).join(".use"))
        .unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(second))
        .unwrap();
}

#[test]
fn of_many_that_want_a_model_at_once_one_fetches_it() {
    let root = tempfile::tempdir().unwrap();
    let cache = Cache::new(root.path().to_owned(), "a", None).unwrap();
    let (fetched, start) = (Arc::new(AtomicUsize::new(0)), Arc::new(Barrier::new(8)));
    let all: Vec<_> = (0..8)
        .map(|_| {
            let (cache, fetched, start) = (cache.clone(), Arc::clone(&fetched), Arc::clone(&start));
            thread::spawn(move || {
                start.wait();
                let (entry, was_fetched) = obtain(&cache, 1, 100_000).unwrap();
                fetched.fetch_add(usize::from(was_fetched), Ordering::SeqCst);
                fs::read(entry.path().join("weights")).unwrap()
            })
        })
        .collect();
    for one in all {
        assert_eq!(one.join().unwrap(), vec![7; 100_000]);
    }
    assert_eq!(fetched.load(Ordering::SeqCst), 1);
}

#[test]
fn what_a_crash_left_is_removed_by_the_next_and_never_taken_for_a_model() {
    let root = tempfile::tempdir().unwrap();
    let cache = Cache::new(root.path().to_owned(), "a", None).unwrap();
    let (own, others) = (folder(root.path(), "a", 1), folder(root.path(), "a", 2));
    let hidden = |path: &Path, end: &str| {
        let name = path.file_name().unwrap().to_str().unwrap();
        path.with_file_name(format!(".{name}{end}"))
    };
    let left = [
        hidden(&own, ".tmp"),
        hidden(&others, ".tmp"),
        hidden(&others, ".1.gone"),
    ];
    for left in &left {
        fs::create_dir_all(left).unwrap();
        fs::write(left.join("weights"), "half").unwrap();
    }
    // A folder under the name of a model that no server can hold is none either.
    fs::create_dir(&own).unwrap();
    let (entry, fetched) = obtain(&cache, 1, 10).unwrap();
    assert!(fetched);
    assert_eq!(fs::read(entry.path().join("weights")).unwrap(), [7; 10]);
    for left in &left {
        assert!(!left.exists(), "{}", left.display());
    }
    assert!(!obtain(&cache, 1, 10).unwrap().1);
}

#[test]
fn what_a_crash_left_is_removed_also_where_a_model_does_not_fit() {
    let root = tempfile::tempdir().unwrap();
    let cache = Cache::new(root.path().to_owned(), "a", Some(100)).unwrap();
    let leave = |model: usize, end: &str| {
        let whole = folder(root.path(), "a", model);
        let name = whole.file_name().unwrap().to_str().unwrap();
        let left = whole.with_file_name(format!(".{name}{end}"));
        fs::create_dir_all(&left).unwrap();
        fs::write(left.join("weights"), "half").unwrap();
        left
    };
    let left = [leave(1, ".tmp"), leave(2, ".tmp"), leave(3, ".1.gone")];
    assert!(matches!(obtain(&cache, 1, 101), Err(CacheError::TooLarge { .. })));
    assert!(left.iter().all(|left| !left.exists()));

    let held = obtain(&cache, 1, 60).unwrap().0;
    let left = leave(4, ".tmp");
    assert!(matches!(obtain(&cache, 2, 60), Err(CacheError::InUse { .. })));
    assert!(!left.exists());
    drop(held);
}

#[test]
fn a_fetch_that_fails_leaves_nothing_and_can_be_tried_again() {
    let root = tempfile::tempdir().unwrap();
    let cache = Cache::new(root.path().to_owned(), "a", None).unwrap();
    let Place::Empty(slot) = cache.open(&digest(1)).unwrap() else {
        panic!()
    };
    let sizes = BTreeMap::from([("a".to_owned(), 3), ("b".to_owned(), 3)]);
    let failed = slot.fill(&sizes, |name| {
        if name == "a" {
            Ok(vec![1; 3])
        } else {
            Err("broken")
        }
    });
    assert!(matches!(failed, Err(FillError::Source("broken"))));
    assert_eq!(cache.bytes().unwrap(), 0);
    assert!(obtain(&cache, 1, 3).unwrap().1);
}

#[test]
fn those_used_longest_ago_make_room_and_those_being_served_never_do() {
    let root = tempfile::tempdir().unwrap();
    let cache = Cache::new(root.path().to_owned(), "a", Some(100)).unwrap();
    let oldest = obtain(&cache, 1, 30).unwrap().0;
    for model in [2, 3] {
        drop(obtain(&cache, model, 30).unwrap());
    }
    for model in [1, 2, 3] {
        used(root.path(), model, model as u64);
    }
    // 3 was used again: 2 goes first, and 1 is held.
    used(root.path(), 2, 0);
    let another = Cache::new(root.path().to_owned(), "b", Some(100)).unwrap();
    let fourth = obtain(&another, 4, 30).unwrap().0;
    let there = |scope: &str, model| folder(root.path(), scope, model).exists();
    assert!(there("a", 1) && !there("a", 2) && there("a", 3) && there("b", 4));

    // It would not fit even without 3: 3 stays.
    let error = obtain(&another, 5, 60).unwrap_err();
    assert!(
        matches!(
            error,
            CacheError::InUse {
                needed: 60,
                limit: 100,
                held: 60
            }
        ),
        "{error}"
    );
    assert!(there("a", 3));
    let error = obtain(&another, 6, 101).unwrap_err().to_string();
    assert!(
        error.contains("101 bytes") && error.contains("cache.sizeLimit allows 100"),
        "{error}"
    );
    drop((oldest, fourth));
    assert!(obtain(&another, 5, 60).unwrap().1);
    assert!(there("b", 5) && !there("a", 1));
}

#[test]
fn any_sequence_keeps_to_the_limit_and_to_what_is_held() {
    let root = tempfile::tempdir().unwrap();
    let cache = Cache::new(root.path().to_owned(), "a", Some(1000)).unwrap();
    let mut held: Vec<(usize, Entry)> = Vec::new();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |below: u64| {
        // xorshift64: the same sequence each time.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let (mut fetched, mut refused) = (0, 0);
    for _ in 0..400 {
        let model = usize::try_from(next(24)).unwrap();
        match obtain(&cache, model, 40 + 17 * (model as u64 % 13)) {
            Ok((entry, new)) => {
                fetched += usize::from(new);
                if next(3) == 0 {
                    held.push((model, entry));
                }
            }
            Err(CacheError::InUse { .. }) => refused += 1,
            Err(error) => panic!("{error}"),
        }
        if !held.is_empty() && next(4) == 0 {
            let one = usize::try_from(next(held.len() as u64)).unwrap();
            held.swap_remove(one);
        }
        assert!(cache.bytes().unwrap() <= 1000);
        for (model, entry) in &held {
            assert!(
                entry.path().join("weights").exists(),
                "{model} was evicted while held"
            );
        }
    }
    assert!(fetched > 20 && refused > 0, "{fetched} {refused}");
}

#[test]
fn a_copy_is_discarded_once_and_not_the_one_that_took_its_place() {
    let root = tempfile::tempdir().unwrap();
    let cache = Cache::new(root.path().to_owned(), "a", None).unwrap();
    let first = obtain(&cache, 1, 10).unwrap().0;
    let second = obtain(&cache, 1, 10).unwrap().0;
    first.discard().unwrap();
    assert!(obtain(&cache, 1, 10).unwrap().1);
    second.discard().unwrap();
    assert!(!obtain(&cache, 1, 10).unwrap().1);
}

#[test]
fn what_else_lies_on_the_volume_is_neither_counted_nor_removed() {
    let root = tempfile::tempdir().unwrap();
    let other = root.path().join("a").join("results");
    fs::create_dir_all(&other).unwrap();
    fs::write(other.join("table.csv"), vec![0; 500]).unwrap();
    let cache = Cache::new(root.path().to_owned(), "a", Some(100)).unwrap();
    obtain(&cache, 1, 90).unwrap();
    obtain(&cache, 2, 90).unwrap();
    assert!(other.join("table.csv").exists());
    assert_eq!(cache.bytes().unwrap(), 90);
}

#[test]
fn a_folder_that_cannot_be_written_is_a_sentence() {
    // Not even root makes a folder there.
    let cache = Cache::new(PathBuf::from("/proc/sconce"), "a", None).unwrap();
    let error = cache.open(&digest(1)).unwrap_err().to_string();
    assert!(
        error.starts_with("creating a folder in the cache /proc/sconce"),
        "{error}"
    );
    for scope in ["", "..", "a/b", ".a"] {
        assert!(Cache::new(PathBuf::from("/tmp"), scope, None).is_err(), "{scope}");
    }
}
