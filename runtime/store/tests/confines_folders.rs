//! Claims and ConfigMaps: reading, writing, and no way out.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::symlink;
use std::path::Path;

use sconce_contract::{FailureClass, Mount};
use sconce_store::{Store, StoreError};
use tempfile::TempDir;

const LIMIT: u64 = 1000;

fn store(folder: &Path) -> Store {
    Store::new(vec![
        Mount {
            uri: "pvc://claim".into(),
            path: folder.join("claim"),
        },
        Mount {
            uri: "configmap://table".into(),
            path: folder.join("table"),
        },
    ])
}

/// A claim with a few files, a ConfigMap as the kubelet mounts it, and something secret beside them.
fn machine() -> (TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    fs::create_dir_all(root.join("claim/models")).unwrap();
    fs::write(root.join("claim/data.csv"), "a,b\n").unwrap();
    fs::write(root.join("secret"), "secret").unwrap();
    symlink(root.join("secret"), root.join("claim/absolute")).unwrap();
    symlink("../secret", root.join("claim/relative")).unwrap();
    symlink("..", root.join("claim/up")).unwrap();
    symlink("data.csv", root.join("claim/within")).unwrap();
    symlink("loop", root.join("claim/loop")).unwrap();
    fs::create_dir_all(root.join("table/..2026_01_01")).unwrap();
    fs::write(root.join("table/..2026_01_01/rows.csv"), "rows").unwrap();
    symlink("..2026_01_01", root.join("table/..data")).unwrap();
    symlink("..data/rows.csv", root.join("table/rows.csv")).unwrap();
    let store = store(root);
    (folder, store)
}

fn files(pairs: &[(&str, &str)]) -> BTreeMap<String, Vec<u8>> {
    pairs
        .iter()
        .map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec()))
        .collect()
}

#[test]
fn reads_what_is_there() {
    let (folder, store) = machine();
    let file = format!("file://{}/claim/data.csv", folder.path().display());
    for (uri, text) in [
        ("pvc://claim/data.csv", "a,b\n"),
        ("pvc://claim//data.csv", "a,b\n"),
        ("pvc://claim/within", "a,b\n"),
        ("configmap://table/rows.csv", "rows"),
        (&file, "a,b\n"),
    ] {
        assert_eq!(store.read(uri, LIMIT).unwrap(), text.as_bytes(), "{uri}");
        assert!(store.exists(uri).unwrap(), "{uri}");
    }
    assert!(!store.exists("pvc://claim/nothing").unwrap());
    assert_eq!(store.read("pvc://claim/data.csv", 4).unwrap().len(), 4);
}

#[test]
fn refuses_with_a_sentence_and_calls_it_bad_input() {
    let (_folder, store) = machine();
    for (uri, says) in [
        ("pvc://claim/../secret", "must not hold '..'"),
        ("pvc://claim/models/../../secret", "must not hold '..'"),
        ("pvc://claim/absolute", "leads out of the volume"),
        ("pvc://claim/relative", "leads out of the volume"),
        ("pvc://claim/up/secret", "leads out of the volume"),
        ("pvc://claim/models", "is a folder, not a file"),
        ("pvc://claim/nothing", "there is nothing at pvc://claim/nothing"),
        ("pvc://claim/data.csv/more", "there is nothing at"),
        ("pvc://claim/nul\0byte", "not valid"),
        (
            "pvc://other/data.csv",
            "pvc://other must be among the plan's mounts",
        ),
        ("configmap://table/..data/rows.csv", "configmap://NAME/KEY"),
        ("configmap://table/", "configmap://NAME/KEY"),
        ("pvc:///data.csv", "pvc://CLAIM/PATH"),
        ("file://data.csv", "three slashes"),
        ("file:///dev/null", "a device or pipe"),
        (
            "ftp://host/key",
            "file://, pvc://, configmap://, oci://, http://, https://",
        ),
        ("data.csv", "is not a URI that can be read here"),
        ("http://", "http(s)://HOST/PATH"),
    ] {
        let error = store.read(uri, LIMIT).unwrap_err();
        assert!(error.to_string().contains(says), "{uri}: {error}");
        assert_eq!(error.class(), FailureClass::BadInput, "{uri}: {error}");
    }
    let error = store.read("pvc://claim/data.csv", 3).unwrap_err();
    assert!(matches!(error, StoreError::TooLarge { limit: 3, .. }), "{error}");
    assert_eq!(
        store.read("pvc://claim/loop", LIMIT).unwrap_err().class(),
        FailureClass::Storage
    );
}

#[test]
fn writes_a_folder_whole_and_knows_it_again() {
    let (folder, store) = machine();
    let model = files(&[("manifest.json", "{}"), ("weights", "1 2 3")]);
    let uri = store
        .write_folder("pvc://claim/models/deep/tumour/", "abc", &model, "manifest.json")
        .unwrap();
    assert_eq!(uri, "pvc://claim/models/deep/tumour/abc");
    assert_eq!(store.read(&format!("{uri}/weights"), LIMIT).unwrap(), b"1 2 3");
    assert_eq!(
        store
            .write_folder("pvc://claim/models/deep/tumour", "abc", &model, "manifest.json")
            .unwrap(),
        uri
    );
    for other in [
        files(&[("manifest.json", "{}"), ("weights", "1 2 4")]),
        files(&[("manifest.json", "{}")]),
        files(&[("manifest.json", "{}"), ("weights", "1 2 3"), ("more", "")]),
        files(&[("manifest.json", "{}"), ("weight", "1 2 3")]),
    ] {
        let error = store
            .write_folder("pvc://claim/models/deep/tumour", "abc", &other, "manifest.json")
            .unwrap_err();
        assert!(matches!(error, StoreError::Conflict { .. }), "{error}");
    }
    let beside = fs::read_dir(folder.path().join("claim/models/deep/tumour"))
        .unwrap()
        .count();
    assert_eq!(beside, 1, "temporary folders are left");
}

#[test]
fn refuses_to_write_where_it_must_not() {
    let (folder, store) = machine();
    let some = files(&[("a", "1")]);
    for (parent, name, says) in [
        ("pvc://claim/up", "abc", "leads out of the volume"),
        ("pvc://claim/up/new", "abc", "leads out of the volume"),
        ("pvc://claim/../x", "abc", "must not hold '..'"),
        ("pvc://claim", "../abc", "has no slash"),
        ("pvc://claim", ".abc", "starts with no dot"),
        ("pvc://claim", "", "is not empty"),
        ("configmap://table/x", "abc", "can only be read"),
        ("http://localhost/x", "abc", "can only be read"),
    ] {
        let error = store
            .write_folder(parent, name, &some, "manifest.json")
            .unwrap_err();
        assert!(error.to_string().contains(says), "{parent} {name}: {error}");
        assert_eq!(error.class(), FailureClass::BadInput, "{error}");
    }
    assert!(
        store
            .write_folder("pvc://claim", "abc", &files(&[("../a", "1")]), "../a")
            .is_err()
    );
    assert!(!folder.path().join("new").exists() && !folder.path().join("a").exists());
}

#[test]
fn many_writers_of_one_folder_agree() {
    let (_folder, store) = machine();
    let model = files(&[("a", "1"), ("b", "2")]);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                store
                    .write_folder("pvc://claim/new/place", "abc", &model, "manifest.json")
                    .unwrap()
            });
        }
    });
    assert_eq!(store.read("pvc://claim/new/place/abc/b", LIMIT).unwrap(), b"2");
}

#[test]
fn a_file_that_grows_is_the_same_file_and_is_made_whole_where_it_was_cut_short() {
    let (folder, store) = machine();
    let uri = "pvc://claim/new/place/events";
    let path = folder.path().join("claim/new/place/events");
    store.grow_file(uri, b"one", 0).unwrap();
    let mut open = fs::File::open(&path).unwrap();
    store.grow_file(uri, b"one two", 3).unwrap();
    let mut seen = String::new();
    open.read_to_string(&mut seen).unwrap();
    assert_eq!(seen, "one two", "whoever has it open reads on");
    for there in ["one", "one two, and what a crash left", ""] {
        fs::write(&path, there).unwrap();
        store.grow_file(uri, b"one two three", 7).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text, "one two three", "after {there:?}");
    }
    for uri in ["pvc://claim/absolute", "pvc://claim/up/secret", "pvc://claim"] {
        assert!(store.grow_file(uri, b"x", 0).is_err(), "{uri}");
    }
    assert_eq!(
        fs::read_to_string(folder.path().join("secret")).unwrap(),
        "secret"
    );
    let error = store
        .grow_file("configmap://table/rows.csv", b"x", 0)
        .unwrap_err();
    assert!(matches!(error, StoreError::ReadOnly { .. }), "{error}");
}

#[test]
fn a_listing_leaves_out_what_is_gone_and_says_what_cannot_be_looked_at() {
    let (folder, store) = machine();
    let tables = folder.path().join("claim/tables");
    fs::create_dir_all(tables.join("2024")).unwrap();
    fs::write(tables.join("2024/a.csv"), "a").unwrap();
    symlink("gone.csv", tables.join("2024/b.csv")).unwrap();
    let listed = store.files("pvc://claim/tables").unwrap();
    assert_eq!(listed, Some(vec!["2024/a.csv".to_owned()]));

    // A link to itself fails for root as well, whom no permission stops.
    symlink("c.csv", tables.join("2024/c.csv")).unwrap();
    let error = store.files("pvc://claim/tables/").unwrap_err();
    assert!(
        error.to_string().contains("pvc://claim/tables/2024/c.csv"),
        "{error}"
    );
    assert_eq!(error.class(), FailureClass::Storage, "{error}");
}
