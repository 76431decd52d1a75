//! Every test that docs/promises.md names exists.

use std::path::Path;

/// What stands between backticks and has the form `file::test`.
fn named(text: &str) -> Vec<(&str, &str)> {
    let quoted = text.split('`').skip(1).step_by(2);
    quoted
        .filter_map(|quoted| quoted.split_once("::"))
        .filter(|(file, _)| *file != "file")
        .collect()
}

#[test]
fn every_promise_names_tests_that_exist() -> Result<(), Box<dyn std::error::Error>> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let promises = std::fs::read_to_string(tests.join("../docs/promises.md"))?;
    let named = named(&promises);
    assert!(named.len() > 10, "{named:?}");
    let mut missing = Vec::new();
    for (file, test) in named {
        let source =
            std::fs::read_to_string(tests.join("tests").join(format!("{file}.rs"))).unwrap_or_default();
        // A test that is left out keeps no promise.
        let before = source.split(&format!("fn {test}(")).next().unwrap_or_default();
        let attributes = before.rsplit("\n\n").next().unwrap_or_default();
        if before.len() == source.len() || attributes.contains("#[ignore") {
            missing.push(format!("{file}::{test}"));
        }
    }
    assert!(
        missing.is_empty(),
        "docs/promises.md names tests that are not in tests/tests: {missing:?}"
    );
    Ok(())
}

#[test]
fn every_row_of_the_promises_names_a_test() -> Result<(), Box<dyn std::error::Error>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/promises.md");
    let promises = std::fs::read_to_string(path)?;
    let rows: Vec<_> = promises
        .lines()
        .filter(|line| line.starts_with("| "))
        .skip(1)
        .collect();
    assert!(rows.len() >= 10, "{rows:?}");
    for row in rows {
        assert!(!named(row).is_empty(), "no test keeps {row}");
    }
    Ok(())
}
