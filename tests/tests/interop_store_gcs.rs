//! Google's protocol, as an emulator of it speaks it.
#![allow(clippy::unwrap_used)] // A test fails by panicking.

mod store;

use sconce_store::StoreError;
use sconce_tests::clouds::{Cloud, gcs_keys, store_by};
use sconce_tests::line::{Line, Verdict};
use store::{LIMIT, Outcome, RECORD, aside, bytes, files, keeps_folders};

#[tokio::test(flavor = "multi_thread")]
async fn store_gcs_what_was_written_is_read_listed_and_removed() -> Outcome {
    let cloud = Cloud::gcs().await?;
    let keys = gcs_keys(&cloud.address);
    aside(move || keeps_folders(&store_by(&keys, &[]), "gs://models/team/tumour", 16 << 20)).await?
}

#[tokio::test(flavor = "multi_thread")]
async fn store_gcs_what_is_absent_is_told() -> Outcome {
    let cloud = Cloud::gcs().await?;
    let keys = gcs_keys(&cloud.address);
    aside(move || {
        let store = store_by(&keys, &[]);
        let error = store.read("gs://models/table.csv", LIMIT).unwrap_err();
        assert!(matches!(error, StoreError::NotFound { .. }), "{error:?}");
        let error = store.read("gs://absent/table.csv", LIMIT).unwrap_err();
        assert!(
            error.to_string().contains("there is no bucket for gs://absent"),
            "{error}"
        );
        Ok(())
    })
    .await?
}

#[tokio::test(flavor = "multi_thread")]
async fn store_gcs_a_connection_cut_in_the_middle_goes_on_where_it_was() -> Outcome {
    let cloud = Cloud::gcs().await?;
    let to = cloud.address.clone();
    aside(move || {
        let weights = bytes(12 << 20);
        store_by(&gcs_keys(&to), &[]).write_folder("gs://models/m", "a", &files(&weights), RECORD)?;
        let line = Line::to(&to, |passing| match (passing.connection, passing.answered) {
            (0..3, 1_000_000..) => Verdict::Cut,
            _ => Verdict::Pass,
        })?;
        let store = store_by(&gcs_keys(&line.address.to_string()), &[]);
        assert!(store.read("gs://models/m/a/weights", LIMIT)? == weights);
        Ok(())
    })
    .await?
}
