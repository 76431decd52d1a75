//! Google's protocol, as far as an emulator of it speaks it: reading and listing.
#![allow(clippy::unwrap_used)] // A test fails by panicking.

mod store;

use sconce_store::StoreError;
use sconce_tests::clouds::{Cloud, gcs_keys, store_by};
use sconce_tests::line::{Line, Verdict};
use store::{LIMIT, Outcome, aside, bytes};

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
