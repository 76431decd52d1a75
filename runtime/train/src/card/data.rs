//! What the model learned from.

use sconce_contract::{ColumnFacts, RowsLeftOut};
use sconce_store::shown;

use super::Subject;
use super::markdown::{code, grouped, number, percent, plain, table};

/// Most columns, and most classes, that a page has room for; the manifest has more.
const LINES: usize = 40;

pub(super) fn section(subject: &Subject<'_>) -> String {
    let manifest = subject.manifest;
    let [train, validation, test] = subject.rows.map(grouped);
    let mut text = format!(
        "## Data\n\n{}, SHA-256 {}: {} rows, of which {train} to learn from, {validation} watched while learning and \
         {test} held out.\n",
        code(&shown(&subject.plan.dataset.uri)),
        code(&manifest.data.sha256),
        grouped(manifest.rows),
    );
    for (rows, uri) in [
        ("validation", &subject.plan.dataset.validation_uri),
        ("test", &subject.plan.dataset.test_uri),
    ] {
        if let Some(uri) = uri {
            text += &format!("The {rows} rows are those of {}.\n", code(&shown(uri)));
        }
    }
    text += &left_out(&manifest.facts.left_out);
    text += &classes(subject);
    if !subject.is_of_images() {
        text += &columns(subject);
    }
    text
}

fn left_out(rows: &RowsLeftOut) -> String {
    let mut text = String::new();
    if rows.malformed > 0 {
        text += &format!(
            "\nLeft out: {} row(s) that cannot be read, the first because: {}\n",
            rows.malformed,
            plain(&rows.first)
        );
    }
    if rows.missing > 0 {
        text += &format!("\nLeft out: {} row(s) that lack a value.\n", rows.missing);
    }
    text
}

fn classes(subject: &Subject<'_>) -> String {
    let classes = &subject.manifest.facts.classes;
    if classes.is_empty() {
        return String::new();
    }
    let all: u64 = classes.iter().map(|class| class.train).sum();
    let rows: Vec<Vec<String>> = classes
        .iter()
        .take(LINES)
        .map(|class| {
            vec![
                plain(&class.name),
                grouped(class.train),
                percent(class.train, all),
                grouped(class.validation),
                grouped(class.test),
            ]
        })
        .collect();
    let table = table(
        &[
            "class",
            "training rows:",
            "share:",
            "validation rows:",
            "test rows:",
        ],
        &rows,
    );
    format!("\n{table}{}", more(subject.classes().len(), LINES, "classes"))
}

fn columns(subject: &Subject<'_>) -> String {
    let facts = &subject.manifest.facts;
    let rows: Vec<Vec<String>> = facts.columns.iter().take(LINES).map(column).collect();
    if rows.is_empty() {
        return String::new();
    }
    let titles = [
        "column",
        "holds",
        "least:",
        "mean:",
        "greatest:",
        "deviation:",
        "missing:",
    ];
    let count = subject.preprocess.features.len();
    format!(
        "\nThe columns, on the rows to learn from:\n\n{}{}",
        table(&titles, &rows),
        more(count, LINES, "columns")
    )
}

fn column(column: &ColumnFacts) -> Vec<String> {
    let holds = match column.words {
        Some(words) => format!("{words} words"),
        None => "numbers".to_owned(),
    };
    let numbers = match &column.numbers {
        Some(facts) => [facts.min, facts.mean, facts.max, facts.deviation].map(number),
        None => [(); 4].map(|()| String::new()),
    };
    let mut cells = vec![code(&column.name), holds];
    cells.extend(numbers);
    cells.push(column.missing.to_string());
    cells
}

fn more(count: usize, shown: usize, what: &str) -> String {
    match count.saturating_sub(shown) {
        0 => String::new(),
        more => format!("\n{more} more {what} are in `manifest.json` and `preprocess.json`.\n"),
    }
}
