use std::collections::BTreeSet;

use super::*;

/// What docs/troubleshoot.md explains: the reasons in the first cell of its tables, and in the sections without tables.
fn told_of() -> BTreeSet<String> {
    let page = include_str!("../../docs/troubleshoot.md");
    let section = |line: &str| line.starts_with("## ");
    let mut words = BTreeSet::new();
    let mut reads = false;
    for line in page.lines() {
        if section(line) {
            reads = [
                "A ModelTraining",
                "A ModelDeployment",
                "Reasons that tell no fault",
                "An accelerator",
                "The operator",
            ]
            .contains(&line.trim_start_matches("## "));
        }
        if !reads {
            continue;
        }
        let told = match line.strip_prefix("| ") {
            Some(row) => row.split('|').next().unwrap_or_default(),
            None => line,
        };
        words.extend(told.split('`').skip(1).step_by(2).map(str::to_owned));
    }
    words
}

#[test]
fn the_docs_explain_each_reason() {
    let told = told_of();
    let missing: Vec<&str> = Reason::ALL
        .iter()
        .map(Reason::as_str)
        .filter(|reason| !told.contains(*reason))
        .collect();
    assert!(
        missing.is_empty(),
        "docs/troubleshoot.md does not explain {missing:?}"
    );
}

#[test]
fn the_docs_explain_no_reason_that_nobody_tells() {
    let page = include_str!("../../docs/troubleshoot.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    for row in rows {
        let cell = row.split('|').next().unwrap_or_default();
        // What stands in brackets is no reason: a phase, or a condition.
        let cell = cell.split('(').next().unwrap_or_default();
        for word in format!("`{cell}")
            .split('`')
            .skip(1)
            .step_by(2)
            .filter(|word| !word.contains(' '))
        {
            assert!(
                !matches!(Reason::told(word), Reason::Other(_)),
                "{word} is nobody's reason"
            );
        }
    }
}

#[test]
fn a_reason_is_read_as_it_is_told_and_a_foreign_word_stays() {
    for reason in Reason::ALL {
        assert_eq!(Reason::told(reason.as_str()), *reason);
    }
    let foreign = Reason::told("PodsReadyTimeout");
    assert_eq!(
        (
            foreign.as_str(),
            foreign == Reason::Other("PodsReadyTimeout".to_owned())
        ),
        ("PodsReadyTimeout", true)
    );
    let stored = serde_json::to_string(&Reason::BadInput).unwrap();
    assert_eq!(stored, r#""BadInput""#);
    assert_eq!(serde_json::from_str::<Reason>(&stored).unwrap(), Reason::BadInput);
}
