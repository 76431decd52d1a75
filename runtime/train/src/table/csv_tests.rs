//! Tests of `csv`.

use sconce_contract::Dataset;

use super::super::records::CELLS;
use super::super::{File, NotANumber, Place, read};
use super::*;

fn dataset(target: &str, features: &[&str]) -> Dataset {
    let dataset = serde_json::json!({"uri": "file:///table.csv", "target": target, "features": features});
    serde_json::from_value(dataset).unwrap()
}

fn refuse(text: &str) -> TableError {
    read(text.as_bytes(), &dataset("y", &[])).unwrap_err()
}

#[test]
fn a_table_is_read_with_its_features_in_order() {
    let text = "\u{feff}a,\"b c\", y ,d\r\n1,2.5,cat,-3e2\r\n\r\n4,5,\"dog, big\", 6 \r\n";
    let table = read(text.as_bytes(), &dataset("y", &[])).unwrap();
    let names: Vec<&str> = table
        .features
        .iter()
        .map(|feature| feature.name.as_str())
        .collect();
    assert_eq!(names, ["a", "b c", "d"]);
    assert_eq!(table.values, [1.0, 2.5, -300.0, 4.0, 5.0, 6.0]);
    assert_eq!(table.target.iter().collect::<Vec<_>>(), ["cat", "dog, big"]);
    assert_eq!([0, 1].map(|row| table.target.place(row).number), [2, 4]);
    let chosen = read(text.as_bytes(), &dataset("y", &["d", "a"])).unwrap();
    assert_eq!(chosen.values, [-300.0, 1.0, 6.0, 4.0]);
}

#[test]
fn columns_that_are_not_used_may_hold_anything() {
    let table = read(b"id,a,y\nx7,1,0\n,2,1\n", &dataset("y", &["a"])).unwrap();
    assert_eq!(table.values, [1.0, 2.0]);
}

#[test]
fn each_fault_says_where_it_is() {
    let feature = |line, problem, remedy: &str| TableError::Feature {
        place: Place::line(line),
        column: "a".into(),
        problem,
        remedy: remedy.into(),
    };
    let open = |line| TableError::OpenEnd {
        place: Place::line(line),
    };
    let mend = "mend the cell, or leave the column out of dataset.features";
    for (text, expected) in [
        ("", TableError::Empty),
        ("\n\n", TableError::Empty),
        ("a,y\n", TableError::HeaderOnly),
        ("a,y,a\n1,2,3\n", TableError::DuplicateColumn("a".into())),
        ("y\n1\n", TableError::NoFeatures("y".into())),
        (",y\n0,1\n", TableError::UnnamedColumn { position: 1 }),
        (
            "a,y\n1,2\n3\n",
            TableError::Ragged {
                place: Place::line(3),
                found: 1,
                expected: 2,
                hint: "",
            },
        ),
        (
            "a,y\n1,2,\n",
            TableError::Ragged {
                place: Place::line(2),
                found: 3,
                expected: 2,
                hint: "; is there a comma at its end?",
            },
        ),
        (
            "a,y\n1,\"2\n3,4\"\n5,6\n",
            TableError::OpenQuote {
                place: Place::line(2),
                column: "y".into(),
            },
        ),
        ("a,y\n1,\"2\n3,4\n5,6\n", open(2)),
        // All that is left would be a word.
        ("y,w\n1,\"red\n0,blue\n1,green\n", open(2)),
        ("a,y\n\"1\n\",\"2\n3,4\n", open(3)),
        ("a,\"y\n1,2\n", open(1)),
        // What is wrong with the rows before is said first.
        (
            "a,y\nnan,2\n1,\"2\n",
            feature(2, NotANumber::NotFinite("nan".into()), mend),
        ),
        (
            "a,y\nnan,2\n",
            feature(2, NotANumber::NotFinite("nan".into()), mend),
        ),
        (
            "a,y\n1e39,2\n",
            feature(2, NotANumber::NotFinite("1e39".into()), mend),
        ),
    ] {
        assert_eq!(refuse(text), expected, "{text:?}");
    }
    for text in [
        "a,y\r1,2\r\r3\r",
        "a,y\n1,\"2\r\r\"\n\n3\n",
        "a,y\r\n1,2\r\n\r\n3\r\n",
    ] {
        let expected = TableError::Ragged {
            place: Place::line(4),
            found: 1,
            expected: 2,
            hint: "",
        };
        assert_eq!(refuse(text), expected, "{text:?}");
    }
    let bytes = read(b"a,y\n1,2\n\xff,3\n", &dataset("y", &[])).unwrap_err();
    assert_eq!(
        bytes,
        TableError::NotUtf8 {
            place: Place::line(3)
        }
    );
}

#[test]
fn a_missing_column_is_told_from_the_ones_there_are() {
    let error = read(b"a,why\n1,2\n", &dataset("whys", &[])).unwrap_err();
    assert_eq!(error.field(), "dataset.target");
    assert!(error.to_string().contains("did you mean \"why\"?"), "{error}");
    let error = read(b"a,y\n1,2\n", &dataset("y", &["b"])).unwrap_err();
    assert_eq!(error.field(), "dataset.features");
    // A table with semicolons has one column, and the sentence shows it.
    let error = read(b"a;y\n1;2\n", &dataset("y", &[])).unwrap_err();
    assert!(error.to_string().contains("its columns are \"a;y\""), "{error}");
}

/// A data set of which up to so many rows that cannot be read are left out.
fn skipping(rows: u64) -> Dataset {
    let mut dataset = dataset("y", &[]);
    let skipped = serde_json::json!({"skipUpTo": rows});
    dataset.malformed_rows = Some(serde_json::from_value(skipped).unwrap());
    dataset
}

#[test]
fn rows_behind_a_quotation_mark_left_open_are_not_left_out_however_many_may_be() {
    let rows = (2..100).map(|line| match line {
        10 => "3,\"foo,1\n",
        _ => "1,bar,0\n",
    });
    let text: String = std::iter::once("a,w,y\n").chain(rows).collect();
    let error = read(text.as_bytes(), &skipping(1_000_000)).unwrap_err();
    assert_eq!(
        error,
        TableError::OpenEnd {
            place: Place::line(10)
        }
    );
    assert_eq!(error.field(), "dataset.uri");
    let remedy = "line 10: nothing up to the end of the file closes the quotation mark that a cell begins with; close it";
    assert!(error.to_string().starts_with(remedy), "{error}");
}

#[test]
fn a_row_that_is_left_out_counts_as_many_rows_as_it_has_lines() {
    for (row, lines) in [
        ("1\n", 1),
        ("1,\"2\",\n", 1),
        ("\"1\",x,\"2\"\n", 1),
        // A quotation mark too many, which a later one closes.
        ("1,\"2\n3,4\n5\",6\n", 3),
        ("1,2,\"\n\n\"\n", 3),
        // As many cells as there are columns, one of which is no number.
        ("\"x\n1,2\n\",3\n", 3),
    ] {
        for end in ["\n", "\r\n", "\r"] {
            for text in [format!("a,y\n7,0\n{row}8,1\n"), format!("a,y\n7,0\n8,1\n{row}")] {
                let text = text.replace('\n', end);
                let table = read(text.as_bytes(), &skipping(lines)).unwrap();
                assert_eq!((table.rows(), table.left_out.malformed), (2, lines), "{text:?}");
                if lines > 1 {
                    let error = read(text.as_bytes(), &skipping(lines - 1)).unwrap_err();
                    let TableError::TooManyMalformed { allowed, first, .. } = &error else {
                        panic!("{text:?}: {error}");
                    };
                    assert_eq!((*allowed, first.as_str()), (lines - 1, ""), "{text:?}");
                }
            }
        }
    }
    // A target over several lines is none.
    let table = read(b"a,y\n7,0\n1,\"2\n3\"\n", &skipping(2)).unwrap();
    assert_eq!((table.rows(), table.left_out.malformed), (1, 2));
}

#[test]
fn lines_that_count_as_rows_are_told() {
    let text = b"a,y\n7,0\n1\n1,\"2\n3,4\n5\",6\n";
    let row = "line 4: the row has 3 cells, but the header has 2 columns; is a quotation mark left open? (it has 3 lines, \
               and each counts as a row)";
    let error = read(text, &skipping(3)).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "more than 3 rows cannot be read: first line 3: the row has 1 cells, but the header has 2 columns; then \
             {row}"
        )
    );
    assert_eq!(read(text, &skipping(4)).unwrap().left_out.malformed, 4);
    // It is the first, and one too many.
    let text = b"a,y\n7,0\n8,1\n1,\"2\n3,4\n5\",6\n";
    let error = read(text, &skipping(2)).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("more than 2 rows cannot be read: {row}")
    );
    let table = read(text, &skipping(3)).unwrap();
    assert_eq!(table.left_out.first, row);
}

const PIECES: [&[u8]; 14] = [
    b"a",
    b"y",
    b",",
    b"\n",
    b"\r",
    b"\"",
    b"1",
    b"-",
    b".",
    b"e",
    b" ",
    b"\xff",
    b"\0",
    "é".as_bytes(),
];

/// Thousands of files that nobody would write.
fn odd_files() -> impl Iterator<Item = Vec<u8>> {
    use sconce_engine::{Purpose, Random};
    let mut random = Random::new(1, Purpose::Split, 0);
    (0..8_000).map(move |_| {
        let mut bytes = b"a,y\n".to_vec();
        for _ in 0..random.below(24) {
            bytes.extend_from_slice(PIECES[random.below(PIECES.len() as u64) as usize]);
        }
        bytes
    })
}

/// The records as the `csv` crate has them.
fn records_of(bytes: &[u8]) -> Vec<Vec<String>> {
    let mut reader = csv::ReaderBuilder::new();
    let mut reader = reader.flexible(true).has_headers(false).from_reader(bytes);
    reader
        .records()
        .map(|record| record.unwrap().iter().map(str::to_owned).collect())
        .collect()
}

#[test]
fn records_are_those_of_the_csv_crate_but_for_one_that_ends_within_quotation_marks() {
    let (mut quoted, mut left_open) = (0, 0);
    for bytes in odd_files().filter(|bytes| std::str::from_utf8(bytes).is_ok()) {
        let expected = records_of(&bytes);
        // A line behind the end is a row of its own then, and to the crate part of the last one otherwise.
        let behind = records_of(&[&bytes[..], b"\nz"].concat());
        let open = behind.last().is_none_or(|last| *last != ["z"]);
        let whole = &expected[..expected.len() - usize::from(open)];
        for block in [usize::MAX, 1] {
            let (mut input, mut found) = (Input::of(&bytes), Vec::new());
            let mut cutter = Cutter::of_csv(&mut input, b'\n', File::default());
            let refused = loop {
                let block = match cutter.next(block) {
                    Ok(Some(block)) => block,
                    Ok(None) => break false,
                    Err(_) => break true,
                };
                let mut records = Records::new(&block.bytes, block.line, b'\n', File::default());
                while let Some(record) = records.next().unwrap() {
                    found.push(record.cells().map(str::to_owned).collect::<Vec<_>>());
                }
            };
            assert_eq!(found, whole, "{:?}", String::from_utf8_lossy(&bytes));
            assert_eq!(refused, open, "{:?}", String::from_utf8_lossy(&bytes));
        }
        quoted += usize::from(bytes.contains(&b'"') && !open);
        left_open += usize::from(open);
    }
    assert!(quoted > 1000 && left_open > 100, "{quoted} {left_open}");
}

#[test]
fn the_last_row_of_a_file_has_its_last_cell_however_many_there_are() {
    for columns in [1, 2, 63, 64, 65, 66, 128, 129, 257] {
        let text = format!("\"1\"{}", ",".repeat(columns - 1));
        let mut records = Records::new(text.as_bytes(), 1, b'\n', File::default());
        let record = records.next().unwrap().unwrap();
        assert_eq!((record.len(), record.cell(0)), (columns, "1"));
        assert!(records.next().unwrap().is_none());
    }
}

#[test]
fn a_row_of_more_cells_than_a_table_may_have_is_refused() {
    let many = TableError::TooManyCells {
        place: Place::line(1),
        limit: CELLS,
    };
    let commas = |count| ",".repeat(count);
    for begin in ["y", "\"y\""] {
        assert_eq!(refuse(&format!("{begin}{}\n", commas(CELLS))), many);
        let most = refuse(&format!("{begin}{}\n", commas(CELLS - 1)));
        assert_eq!(most, TableError::UnnamedColumn { position: 2 });
    }
}

#[test]
fn no_bytes_make_it_panic() {
    for bytes in odd_files() {
        if let Ok(table) = read(&bytes, &dataset("y", &[])) {
            assert_eq!(table.values.len(), table.rows() * table.features.len());
            assert_eq!(table.target.iter().count(), table.rows());
        }
    }
}
