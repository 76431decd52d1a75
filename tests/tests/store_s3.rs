//! Objects in S3, on a real server of it: read, listed, written and removed, and what is told when that cannot be.
#![allow(clippy::unwrap_used)] // A test fails by panicking.

mod store;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sconce_contract::FailureClass;
use sconce_store::{Store, StoreError};
use sconce_tests::clouds::{Cloud, s3_keys, store_by};
use sconce_tests::line::{Line, Verdict};
use store::{LIMIT, Outcome, RECORD, aside, bytes, files, keeps_folders};
use tokio::task::spawn_blocking;

#[tokio::test(flavor = "multi_thread")]
async fn store_s3_what_was_written_is_read_listed_and_removed() -> Outcome {
    let cloud = Cloud::s3().await?;
    let keys = s3_keys(&cloud.address);
    aside(move || -> Outcome<()> {
        // Larger than a part to write, and not a whole number of parts to read.
        keeps_folders(&store_by(&keys, &[]), "s3://models/team a/tumour", (20 << 20) + 5)
    })
    .await?
}

#[tokio::test(flavor = "multi_thread")]
async fn store_s3_what_cannot_be_is_told_in_a_sentence_without_a_secret() -> Outcome {
    let cloud = Cloud::s3().await?;
    let nobody = sconce_tests::ports::free()?;
    let keys = s3_keys(&cloud.address);
    aside(move || -> Outcome<()> {
        let nowhere = format!("http://127.0.0.1:{nobody}");
        let there = "s3://models/table.csv";
        for (changes, uri, words, class) in [
            (
                &[][..],
                there,
                "there is nothing at s3://models/table.csv",
                FailureClass::BadInput,
            ),
            (
                &[],
                "s3://absent/table.csv",
                "there is no bucket for s3://absent/table.csv",
                FailureClass::BadInput,
            ),
            (
                &[],
                "s3://key:secret@models/x",
                "s3://models/x is not usable: a key in a URI",
                FailureClass::BadInput,
            ),
            (
                &[],
                "s3://models/a//b",
                "is not usable: a path has no empty part",
                FailureClass::BadInput,
            ),
            (
                &[("AWS_SECRET_ACCESS_KEY", "wrong-secret")],
                there,
                "forbidden (the service answers 403 SignatureDoesNotMatch",
                FailureClass::BadInput,
            ),
            (
                &[("AWS_ACCESS_KEY_ID", "stranger")],
                there,
                "to what the Secret of credentialsRef shows",
                FailureClass::BadInput,
            ),
            (
                &[("AWS_REGION", "us-west-2")],
                there,
                "correct AWS_REGION",
                FailureClass::BadInput,
            ),
            (
                &[("AWS_ENDPOINT_URL", nowhere.as_str())],
                there,
                "could not be reached (Connection refused",
                FailureClass::Storage,
            ),
            (
                &[("AWS_SECRET_ACCESS_KEY", "")],
                there,
                "cannot be asked for (Missing SecretAccessKey",
                FailureClass::BadInput,
            ),
        ] {
            let error = store_by(&keys, changes).read(uri, LIMIT).unwrap_err();
            let sentence = error.to_string();
            assert!(sentence.contains(words), "{changes:?} {uri}: {sentence}");
            assert!(
                !sentence.contains("secret") || sentence.contains("Secret"),
                "{sentence}"
            );
            assert!(
                !sentence.contains("wrong-secret") && !sentence.contains("key:"),
                "{sentence}"
            );
            assert_eq!(error.class(), class, "{sentence}");
        }
        let store = store_by(&keys, &[]);
        for refused in [
            store.exists("s3://absent/models").map(drop),
            store.folders("s3://absent/models").map(drop),
            store
                .write_folder("s3://absent/models", "a", &files(b""), RECORD)
                .map(drop),
            store.tidy("s3://absent/models", Duration::ZERO),
        ] {
            assert!(matches!(refused, Err(StoreError::NoPlace { .. })), "{refused:?}");
        }
        Ok(())
    })
    .await?
}

#[tokio::test(flavor = "multi_thread")]
async fn store_s3_a_connection_cut_in_the_middle_goes_on_where_it_was() -> Outcome {
    let cloud = Cloud::s3().await?;
    let to = cloud.address.clone();
    aside(move || -> Outcome<()> {
        let weights = bytes(30 << 20);
        store_by(&s3_keys(&to), &[]).write_folder("s3://models/m", "a", &files(&weights), RECORD)?;
        // The first few connections end within a part.
        let line = Line::to(&to, |passing| match (passing.connection, passing.answered) {
            (0..6, 3_000_000..) => Verdict::Cut,
            _ => Verdict::Pass,
        })?;
        let store = store_by(&s3_keys(&line.address.to_string()), &[]);
        assert!(store.read("s3://models/m/a/weights", LIMIT)? == weights);
        // Four parts, and as many more as were cut.
        assert!(line.requests() >= 8, "{} requests", line.requests());
        Ok(())
    })
    .await?
}

#[tokio::test(flavor = "multi_thread")]
async fn store_s3_an_object_that_changes_while_it_is_read_is_refused() -> Outcome {
    let cloud = Cloud::s3().await?;
    let to = cloud.address.clone();
    let object = cloud.file("models/m/a/weights");
    aside(move || -> Outcome<()> {
        let keys = s3_keys(&to);
        let direct = store_by(&keys, &[]);
        direct.write_folder("s3://models/m", "a", &files(&bytes(30 << 20)), RECORD)?;
        assert!(object.exists());
        let writer = direct.clone();
        let changed = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&changed);
        let line = Line::to(&to, move |passing| {
            // Before the first answer arrives, it is one of an object that is there no more.
            if passing.answered > 0 && !flag.swap(true, Ordering::SeqCst) {
                let mut other = bytes(30 << 20);
                other.reverse();
                let rewritten = rewrite(&writer, &other);
                assert!(rewritten.is_ok(), "{rewritten:?}");
            }
            Verdict::Pass
        })?;
        let read = store_by(&s3_keys(&line.address.to_string()), &[]).read("s3://models/m/a/weights", LIMIT);
        let error = read.unwrap_err();
        assert!(changed.load(Ordering::SeqCst));
        assert!(error.to_string().contains("changed while it was read"), "{error}");
        assert_eq!(error.class(), FailureClass::Storage);
        Ok(())
    })
    .await?
}

fn rewrite(store: &Store, weights: &[u8]) -> Result<String, StoreError> {
    store.remove_folder("s3://models/m", "a")?;
    store.write_folder("s3://models/m", "a", &files(weights), RECORD)
}

#[tokio::test(flavor = "multi_thread")]
async fn store_s3_a_crash_between_two_files_leaves_nothing_that_is_seen() -> Outcome {
    let cloud = Cloud::s3().await?;
    let to = cloud.address.clone();
    // How many requests a folder takes.
    let all = {
        let to = to.clone();
        aside(move || -> Outcome<usize> {
            let line = Line::to(&to, |_| Verdict::Pass)?;
            let store = store_by(&s3_keys(&line.address.to_string()), &[]);
            store.write_folder("s3://models/whole", "a", &files(b"1"), RECORD)?;
            Ok(line.requests())
        })
        .await??
    };
    assert!(all >= 6, "a list, a mark, three files, the mark's end: {all}");
    let crashes = (1..=all).map(|last| {
        let to = to.clone();
        // Whoever writes is gone after so many requests, each of which arrived.
        spawn_blocking(move || crash(&to, last).map_err(|error| error.to_string()))
    });
    for crashed in crashes.collect::<Vec<_>>() {
        crashed.await??;
    }
    Ok(())
}

fn crash(to: &str, last: usize) -> Outcome {
    let place = format!("s3://models/crash-{last}");
    let line = Line::to(to, move |passing| match passing.requests > last {
        true => Verdict::Cut,
        false => Verdict::Pass,
    })?;
    let dying = store_by(&s3_keys(&line.address.to_string()), &[]);
    let died = dying.write_folder(&place, "a", &files(b"1"), RECORD);
    let direct = store_by(&s3_keys(to), &[]);
    let seen = direct.folders(&place)?;
    let listed = direct.exists(&format!("{place}/a/{RECORD}"))?;
    let weights = direct.exists(&format!("{place}/a/weights"))?;
    // Whoever begins with the record finds all that it lists, and whoever lists the parent finds whole folders.
    assert!(!listed || weights, "after {last} requests");
    assert!(seen.is_empty() || listed, "after {last} requests");
    assert!(died.is_ok() || seen.is_empty(), "after {last} requests: {died:?}");
    // The next writer is not hindered, and what nobody goes on with is cleared away.
    if last.is_multiple_of(2) {
        direct
            .write_folder(&place, "a", &files(b"2"), RECORD)
            .or_else(|error| match died {
                // It was whole, and is somebody else's.
                Ok(_) if matches!(error, StoreError::Conflict { .. }) => Ok(String::new()),
                _ => Err(error),
            })?;
        assert_eq!(direct.folders(&place)?, ["a"]);
    } else {
        direct.tidy(&place, Duration::ZERO)?;
        assert_eq!(direct.exists(&place)?, died.is_ok(), "after {last} requests");
    }
    Ok(())
}
