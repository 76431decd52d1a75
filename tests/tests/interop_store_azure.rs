//! Azure's protocol, as Azurite speaks it.
#![allow(clippy::unwrap_used)] // A test fails by panicking.

mod store;

use sconce_store::StoreError;
use sconce_tests::clouds::{Cloud, azure_keys, store_by};
use sconce_tests::line::{Line, Verdict};
use store::{LIMIT, Outcome, RECORD, aside, bytes, files, keeps_folders};

#[tokio::test(flavor = "multi_thread")]
async fn store_azure_what_was_written_is_read_listed_and_removed() -> Outcome {
    let cloud = Cloud::azure().await?;
    let keys = azure_keys(&cloud.address);
    aside(move || keeps_folders(&store_by(&keys, &[]), "az://models/team/tumour", (20 << 20) + 5)).await?
}

#[tokio::test(flavor = "multi_thread")]
async fn store_azure_what_is_absent_is_told() -> Outcome {
    let cloud = Cloud::azure().await?;
    let keys = azure_keys(&cloud.address);
    aside(move || {
        let store = store_by(&keys, &[]);
        let error = store.read("az://models/table.csv", LIMIT).unwrap_err();
        assert!(matches!(error, StoreError::NotFound { .. }), "{error:?}");
        let error = store.read("az://absent/table.csv", LIMIT).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("there is no container for az://absent"),
            "{error}"
        );
        Ok(())
    })
    .await?
}

#[tokio::test(flavor = "multi_thread")]
async fn store_azure_a_connection_cut_in_the_middle_goes_on_where_it_was() -> Outcome {
    let cloud = Cloud::azure().await?;
    let to = cloud.address.clone();
    aside(move || {
        let weights = bytes(12 << 20);
        store_by(&azure_keys(&to), &[]).write_folder("az://models/m", "a", &files(&weights), RECORD)?;
        let line = Line::to(&to, |passing| match (passing.connection, passing.answered) {
            (0..3, 1_000_000..) => Verdict::Cut,
            _ => Verdict::Pass,
        })?;
        let store = store_by(&azure_keys(&line.address.to_string()), &[]);
        assert!(store.read("az://models/m/a/weights", LIMIT)? == weights);
        Ok(())
    })
    .await?
}

#[tokio::test(flavor = "multi_thread")]
async fn store_azure_a_wrong_key_is_told_without_it() -> Outcome {
    let cloud = Cloud::azure().await?;
    let keys = azure_keys(&cloud.address);
    aside(move || {
        let stranger = store_by(&keys, &[("AZURE_STORAGE_ACCOUNT_KEY", "c3RyYW5nZXI=")]);
        let error = stranger.read("az://models/table.csv", LIMIT).unwrap_err();
        assert!(matches!(error, StoreError::Forbidden { .. }), "{error:?}");
        assert!(error.to_string().contains("Secret of credentialsRef"), "{error}");
        assert!(!error.to_string().contains("c3Ry"), "{error}");
        let nobody = store_by(&keys, &[("AZURE_STORAGE_ACCOUNT_NAME", "")]);
        let error = nobody.read("az://models/table.csv", LIMIT).unwrap_err();
        assert!(matches!(error, StoreError::Unconfigured { .. }), "{error:?}");
        Ok(())
    })
    .await?
}
