//! Google's protocol: read and listed as an emulator of it speaks it, and written as a server of what it has in common
//! with Amazon's does, since the emulator takes no upload by that interface.
#![allow(clippy::unwrap_used)] // A test fails by panicking.

mod store;

use std::io::Read;

use sconce_store::{Content, StoreError};
use sconce_tests::clouds::{Cloud, gcs_keys, store_by};
use sconce_tests::line::{Line, Verdict};
use store::{LIMIT, Outcome, RECORD, aside, bytes, files, keeps_folders};

#[tokio::test(flavor = "multi_thread")]
async fn store_gcs_what_is_there_is_read_and_listed_and_what_is_absent_is_told() -> Outcome {
    let weights = bytes((20 << 20) + 5);
    let cloud = Cloud::gcs(&[("m/one/weights", &weights), ("m/two/manifest.json", b"{}")]).await?;
    let keys = gcs_keys(&cloud.address);
    aside(move || {
        let store = store_by(&keys, &[]);
        assert!(store.read("gs://models/m/one/weights", LIMIT)? == weights);
        let mut listed = store.folders("gs://models/m")?;
        listed.sort_unstable();
        assert_eq!(listed, ["one", "two"]);
        assert!(store.exists("gs://models/m/two")? && !store.exists("gs://models/m/three")?);
        let error = store.read("gs://models/table.csv", LIMIT).unwrap_err();
        assert!(matches!(error, StoreError::NotFound { .. }), "{error:?}");
        let error = store.read("gs://models/m/one/weights", 20 << 20).unwrap_err();
        assert!(matches!(error, StoreError::TooLarge { .. }), "{error:?}");
        Ok(())
    })
    .await?
}

#[tokio::test(flavor = "multi_thread")]
async fn store_gcs_a_connection_cut_in_the_middle_goes_on_where_it_was() -> Outcome {
    let weights = bytes(12 << 20);
    let cloud = Cloud::gcs(&[("m/one/weights", &weights)]).await?;
    let to = cloud.address.clone();
    aside(move || {
        let line = Line::to(&to, |passing| match (passing.connection, passing.answered) {
            (0..3, 1_000_000..) => Verdict::Cut,
            _ => Verdict::Pass,
        })?;
        let store = store_by(&gcs_keys(&line.address.to_string()), &[]);
        assert!(store.read("gs://models/m/one/weights", LIMIT)? == weights);
        Ok(())
    })
    .await?
}

#[tokio::test(flavor = "multi_thread")]
async fn store_gcs_what_was_written_is_read_listed_and_removed() -> Outcome {
    let cloud = Cloud::gcs_to_write().await?;
    let keys = gcs_keys(&cloud.address);
    // Larger than a part to write, and not a whole number of parts to read.
    aside(move || keeps_folders(&store_by(&keys, &[]), "gs://models/team/tumour", (20 << 20) + 5)).await?
}

#[tokio::test(flavor = "multi_thread")]
async fn store_gcs_what_a_crash_left_incomplete_is_hidden_and_written_again() -> Outcome {
    let cloud = Cloud::gcs_to_write().await?;
    let keys = gcs_keys(&cloud.address);
    aside(move || {
        let store = store_by(&keys, &[]);
        // What a writer leaves that ends between two files.
        store.grow_file("gs://models/m/.a.incomplete", b"", 0)?;
        store.grow_file("gs://models/m/a/old", b"old", 0)?;
        assert_eq!(store.folders("gs://models/m")?, Vec::<String>::new());
        store.write_folder("gs://models/m", "a", &files(b"1"), RECORD)?;
        assert_eq!(store.folders("gs://models/m")?, ["a"]);
        let old = store.read("gs://models/m/a/old", LIMIT).unwrap_err();
        assert!(matches!(old, StoreError::NotFound { .. }), "{old:?}");
        Ok(())
    })
    .await?
}

#[tokio::test(flavor = "multi_thread")]
async fn store_gcs_a_bucket_that_is_not_there_or_not_ones_own_is_told() -> Outcome {
    let cloud = Cloud::gcs_to_write().await?;
    // It lets nobody in whom it does not know.
    let guarded = Cloud::s3().await?;
    let keys = [gcs_keys(&cloud.address), gcs_keys(&guarded.address)];
    aside(move || {
        let [store, stranger] = keys.map(|keys| store_by(&keys, &[]));
        for error in [
            store.read("gs://absent/table.csv", LIMIT).unwrap_err(),
            store
                .write_folder("gs://absent/m", "a", &files(b"1"), RECORD)
                .unwrap_err(),
        ] {
            assert!(
                error.to_string().contains("there is no bucket for gs://absent"),
                "{error}"
            );
        }
        for error in [
            stranger.read("gs://models/table.csv", LIMIT).unwrap_err(),
            stranger
                .write_folder("gs://models/m", "a", &files(b"1"), RECORD)
                .unwrap_err(),
        ] {
            assert!(matches!(error, StoreError::Forbidden { .. }), "{error:?}");
        }
        Ok(())
    })
    .await?
}

#[tokio::test(flavor = "multi_thread")]
async fn store_gcs_a_stream_is_of_one_version() -> Outcome {
    let cloud = Cloud::gcs_to_write().await?;
    let keys = gcs_keys(&cloud.address);
    aside(move || {
        let store = store_by(&keys, &[]);
        let uri = "gs://models/table.csv";
        let before = bytes((40 << 20) + 3);
        store.grow_file(uri, &before, 0)?;
        let mut read = Vec::new();
        store.open(uri, LIMIT)?.read_to_end(&mut read)?;
        assert!(read == before);

        let mut content = store.open(uri, LIMIT)?;
        assert_eq!(content.size(), before.len() as u64);
        content.read_exact(&mut [0; 100])?;
        store.grow_file(uri, &vec![7; before.len()], 0)?;
        let error = content.read_to_end(&mut Vec::new()).unwrap_err();
        let error = Content::refused(uri, error);
        assert!(matches!(error, StoreError::Changed { .. }), "{error:?}");

        let error = store.open(uri, 40 << 20).err().unwrap();
        assert!(matches!(error, StoreError::TooLarge { .. }), "{error:?}");
        let error = store.open("gs://models/none.csv", LIMIT).err().unwrap();
        assert!(matches!(error, StoreError::NotFound { .. }), "{error:?}");
        Ok(())
    })
    .await?
}
