//! Hadoop's own protocol, as a NameNode and two DataNodes of Hadoop speak it.
#![allow(clippy::unwrap_used)] // A test fails by panicking.

mod store;

use std::process::Command;

use sconce_contract::{FailureClass, Report};
use sconce_store::{Credentials, Store, StoreError};
use sconce_tests::binaries;
use sconce_tests::clouds::Cloud;
use serde_json::json;
use store::{LIMIT, Outcome, RECORD, aside, bytes, files, keeps_folders};
use tokio::sync::OnceCell;

/// It takes some seconds to start, and ends with the tests' process.
static HADOOP: OnceCell<Cloud> = OnceCell::const_new();

/// What the URIs of the cluster begin with.
async fn cluster() -> Outcome<String> {
    let hadoop = HADOOP.get_or_try_init(Cloud::hadoop).await?;
    Ok(format!("hdfs://{}", hadoop.address))
}

fn asked_by(user: &str) -> Store {
    Store::default().with_credentials(Credentials::of([("HADOOP_USER_NAME", user)]))
}

#[tokio::test(flavor = "multi_thread")]
async fn store_hdfs_what_was_written_is_read_listed_and_removed() -> Outcome {
    let place = format!("{}/team/tumour", cluster().await?);
    // Many blocks, the last one short.
    aside(move || keeps_folders(&Store::default(), &place, (20 << 20) + 5)).await?
}

#[tokio::test(flavor = "multi_thread")]
async fn store_hdfs_what_is_absent_denied_or_too_large_is_told() -> Outcome {
    let cluster = cluster().await?;
    aside(move || {
        let ours = Store::default();
        let uri = |path: &str| format!("{cluster}{path}");
        let error = ours.read(&uri("/never/table.csv"), LIMIT).unwrap_err();
        assert!(matches!(error, StoreError::NotFound { .. }), "{error:?}");
        let error = ours.read(&uri("/ready"), LIMIT).unwrap_err();
        assert!(matches!(error, StoreError::NotAFile { .. }), "{error:?}");
        assert_eq!(ours.folders(&uri("/never"))?, Vec::<String>::new());

        let denied = asked_by("eve")
            .write_folder(&uri("/"), "hers", &files(b"1"), RECORD)
            .unwrap_err();
        assert!(matches!(denied, StoreError::Forbidden { .. }), "{denied:?}");
        assert!(
            denied.to_string().contains("user=eve") && !denied.to_string().contains("\tat "),
            "{denied}"
        );

        let full = ours
            .write_folder(&uri("/small"), "m", &files(&bytes(4 << 20)), RECORD)
            .unwrap_err();
        assert_eq!(full.class(), FailureClass::Storage, "{full:?}");
        assert!(full.to_string().contains("quota"), "{full}");
        assert_eq!(
            ours.files(&uri("/small"))?,
            Some(Vec::new()),
            "nothing is left of it"
        );

        for (uri, word) in [
            ("hdfs://me@host/a", "HADOOP_USER_NAME"),
            ("hdfs://host/a/../b", "'..'"),
        ] {
            let malformed = ours.read(uri, LIMIT).unwrap_err();
            assert!(matches!(malformed, StoreError::Malformed { .. }), "{malformed:?}");
            assert!(malformed.to_string().contains(word), "{malformed}");
        }
        Ok(())
    })
    .await?
}

#[tokio::test(flavor = "multi_thread")]
async fn store_hdfs_a_name_node_that_does_not_answer_is_told() -> Outcome {
    aside(|| {
        let error = Store::default()
            .read("hdfs://127.0.0.1:9/table.csv", LIMIT)
            .unwrap_err();
        assert!(matches!(error, StoreError::Unreachable { .. }), "{error:?}");
        assert_eq!(error.class(), FailureClass::Storage);
        Ok(())
    })
    .await?
}

#[tokio::test(flavor = "multi_thread")]
async fn store_hdfs_a_file_that_another_takes_the_place_of_is_never_mixed_with_it() -> Outcome {
    let cluster = cluster().await?;
    aside(move || {
        let ours = Store::default();
        let place = format!("{cluster}/replaced");
        let versions = [files(&bytes(6 << 20)), files(&vec![7; 6 << 20])];
        ours.write_folder(&place, "m", &versions[0], RECORD)?;
        let writer = std::thread::spawn({
            let (ours, place, versions) = (ours.clone(), place.clone(), versions.clone());
            move || {
                for version in versions.iter().cycle().skip(1).take(12) {
                    ours.remove_folder(&place, "m").unwrap();
                    ours.write_folder(&place, "m", version, RECORD).unwrap();
                }
            }
        });
        let mut whole = 0;
        while !writer.is_finished() || whole == 0 {
            match ours.read(&format!("{place}/m/weights"), LIMIT) {
                Ok(read) => {
                    assert!(
                        versions.iter().any(|version| version["weights"] == read),
                        "a mixture"
                    );
                    whole += 1;
                }
                Err(
                    StoreError::NotFound { .. } | StoreError::Changed { .. } | StoreError::Unreachable { .. },
                ) => {}
                Err(error) => panic!("{error:?}"),
            }
        }
        writer.join().unwrap();
        Ok(())
    })
    .await?
}

#[tokio::test(flavor = "multi_thread")]
async fn store_hdfs_a_folder_of_a_table_is_learned_from_and_the_artifact_lies_beside_it() -> Outcome {
    let cluster = cluster().await?;
    aside(move || {
        let ours = Store::default();
        // As Spark leaves a table: parts, and a mark that they are whole.
        let part = |from: u32| {
            (from..from + 40).fold("a,b,y\n".to_owned(), |all, row| {
                all + &format!("{}.5,{},{}\n", row % 17, row % 5, row % 3)
            })
        };
        let parts = [
            ("part-00000.csv", part(0)),
            ("part-00001.csv", part(40)),
            ("_SUCCESS", String::new()),
        ];
        let parts = parts.map(|(name, text)| (name.to_owned(), text.into_bytes()));
        ours.write_folder(&format!("{cluster}/tables"), "rows", &parts.into(), "_SUCCESS")?;

        let folder = tempfile::tempdir()?;
        let (plan, report) = (folder.path().join("plan.json"), folder.path().join("report.json"));
        let spec = json!({
            "name": "model", "run": "r", "output": format!("{cluster}/out"), "mounts": [],
            "network": {"layers": [{"dense": {"units": 1, "activation": "Linear"}}]},
            "dataset": {"uri": format!("{cluster}/tables/rows"), "target": "y"},
            "hyperparameters": {"epochs": 20},
            "checkpoint": {"uri": format!("{cluster}/out/checkpoints/model"), "every": {"steps": 10}},
        });
        std::fs::write(&plan, spec.to_string())?;
        let mut trainer = Command::new(binaries::path("sconce-trainer")?);
        let trainer = trainer.arg("--plan").arg(&plan).arg("--report").arg(&report);
        let ended = trainer.args(["--listen", "127.0.0.1:0"]).output()?;
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        let text = std::fs::read_to_string(&report).map_err(|error| format!("{error}: {said}"))?;
        let Report::Trained { artifact, .. } = serde_json::from_str(&text)? else {
            return Err(format!("{text}: {said}").into());
        };
        let digest = artifact.digest.trim_start_matches("sha256:");
        assert_eq!(artifact.uri, format!("{cluster}/out/{digest}"));
        let manifest = ours.read(&format!("{}/manifest.json", artifact.uri), LIMIT)?;
        assert!(String::from_utf8(manifest)?.contains("safetensors"));
        let curves = ours
            .files(&format!("{cluster}/out/tensorboard"))?
            .unwrap_or_default();
        assert!(
            curves.iter().any(|file| file.contains("events.out.tfevents")),
            "{curves:?}: {said}"
        );
        Ok(())
    })
    .await?
}
