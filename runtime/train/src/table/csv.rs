//! Comma-separated values with a header row (RFC 4180).

use sconce_contract::Dataset;

use super::{Cells, Table, TableError, columns, number};

/// What spreadsheets write before UTF-8.
const BYTE_ORDER_MARK: &str = "\u{feff}";

/// Reads a table. Blanks around a cell and empty lines do not count.
pub fn read(bytes: &[u8], dataset: &Dataset) -> Result<Table, TableError> {
    let text = std::str::from_utf8(bytes).map_err(|error| TableError::NotUtf8 {
        line: 1 + bytes[..error.valid_up_to()]
            .iter()
            .filter(|&&byte| byte == b'\n')
            .count() as u64,
    })?;
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    // Rows are counted here instead of by the reader, whose sentence would not name the columns.
    let mut reader = csv::ReaderBuilder::new()
        .flexible(true)
        .has_headers(false)
        .from_reader(text.as_bytes());
    let mut record = csv::StringRecord::new();
    if !advance(&mut reader, &mut record)? {
        return Err(TableError::Empty);
    }
    let header: Vec<String> = record.iter().map(|name| name.trim().to_owned()).collect();
    let columns = columns::find(&header, &dataset.target, &dataset.features)?;

    let mut values = Vec::new();
    let mut target = Cells::default();
    while advance(&mut reader, &mut record)? {
        let line = line_of(&record, text);
        if record.len() != columns.count {
            let hint = hint(&record, columns.count);
            return Err(TableError::Ragged {
                line,
                found: record.len(),
                expected: columns.count,
                hint,
            });
        }
        for (name, position) in &columns.features {
            let value = number(record[*position].trim()).map_err(|problem| TableError::Feature {
                line,
                column: name.clone(),
                problem,
            })?;
            values.push(value);
        }
        let cell = record[columns.target].trim();
        if cell.contains('\n') {
            return Err(TableError::OpenQuote {
                line,
                column: dataset.target.clone(),
            });
        }
        target.push(cell, line);
    }
    if target.is_empty() {
        return Err(TableError::HeaderOnly);
    }
    Ok(Table {
        features: columns.features.into_iter().map(|(name, _)| name).collect(),
        values,
        target,
    })
}

fn advance(reader: &mut csv::Reader<&[u8]>, record: &mut csv::StringRecord) -> Result<bool, TableError> {
    reader
        .read_record(record)
        .map_err(|error| TableError::Malformed(error.to_string()))
}

/// The line that a record stands on. The reader counts it from where the record before it ended, which may be
/// some empty lines earlier.
fn line_of(record: &csv::StringRecord, text: &str) -> u64 {
    let Some(position) = record.position() else {
        return 0;
    };
    let from = text
        .as_bytes()
        .get(position.byte() as usize..)
        .unwrap_or_default();
    let empty = from.iter().take_while(|byte| matches!(byte, b'\r' | b'\n'));
    position.line() + empty.filter(|&&byte| byte == b'\n').count() as u64
}

fn hint(record: &csv::StringRecord, columns: usize) -> &'static str {
    if record.iter().any(|cell| cell.contains('\n')) {
        "; is a quotation mark left open?"
    } else if record.len() == columns + 1 && record.iter().next_back() == Some("") {
        "; is there a comma at its end?"
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use sconce_contract::Split;

    use super::*;
    use crate::table::NotANumber;

    fn dataset(target: &str, features: &[&str]) -> Dataset {
        Dataset {
            uri: "file:///table.csv".into(),
            credentials_ref: None,
            format: None,
            target: target.into(),
            features: features.iter().map(ToString::to_string).collect(),
            split: Split::default(),
            standardize: true,
        }
    }

    fn refuse(text: &str) -> TableError {
        read(text.as_bytes(), &dataset("y", &[])).unwrap_err()
    }

    #[test]
    fn a_table_is_read_with_its_features_in_order() {
        let text = "\u{feff}a,\"b c\", y ,d\r\n1,2.5,cat,-3e2\r\n\r\n4,5,\"dog, big\", 6 \r\n";
        let table = read(text.as_bytes(), &dataset("y", &[])).unwrap();
        assert_eq!(table.features, ["a", "b c", "d"]);
        assert_eq!(table.values, [1.0, 2.5, -300.0, 4.0, 5.0, 6.0]);
        assert_eq!(
            table.target.iter().collect::<Vec<_>>(),
            [("cat", 2), ("dog, big", 4)]
        );
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
        let feature = |line, problem| TableError::Feature {
            line,
            column: "a".into(),
            problem,
        };
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
                    line: 3,
                    found: 1,
                    expected: 2,
                    hint: "",
                },
            ),
            (
                "a,y\n1,2,\n",
                TableError::Ragged {
                    line: 2,
                    found: 3,
                    expected: 2,
                    hint: "; is there a comma at its end?",
                },
            ),
            ("a,y\n1,2\n\nx,2\n", feature(4, NotANumber::Text("x".into()))),
            ("a,y\n1,2\n,2\n", feature(3, NotANumber::Empty)),
            (
                "a,y\n1,\"2\n3,4\n5,6\n",
                TableError::OpenQuote {
                    line: 2,
                    column: "y".into(),
                },
            ),
            ("a,y\nnan,2\n", feature(2, NotANumber::NotFinite("nan".into()))),
            ("a,y\n1e39,2\n", feature(2, NotANumber::NotFinite("1e39".into()))),
        ] {
            assert_eq!(refuse(text), expected, "{text:?}");
        }
        let bytes = read(b"a,y\n1,2\n\xff,3\n", &dataset("y", &[])).unwrap_err();
        assert_eq!(bytes, TableError::NotUtf8 { line: 3 });
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

    #[test]
    fn no_bytes_make_it_panic() {
        use sconce_engine::{Purpose, Random};
        let pieces: [&[u8]; 14] = [
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
        let mut random = Random::new(1, Purpose::Split, 0);
        for _ in 0..20_000 {
            let mut bytes = b"a,y\n".to_vec();
            for _ in 0..random.below(24) {
                bytes.extend_from_slice(pieces[random.below(pieces.len() as u64) as usize]);
            }
            if let Ok(table) = read(&bytes, &dataset("y", &[])) {
                assert_eq!(table.values.len(), table.rows() * table.features.len());
                assert_eq!(table.target.iter().count(), table.rows());
            }
        }
    }
}
