//! Comma-separated values with a header row (RFC 4180).

use bytes::Bytes;

use super::{Builder, Cell, TableError, Unit};

/// What spreadsheets write before UTF-8.
const BYTE_ORDER_MARK: &str = "\u{feff}";

/// Reads a file. Blanks around a cell and empty lines do not count.
pub(super) fn read(bytes: &Bytes, builder: &mut Builder<'_>) -> Result<(), TableError> {
    let text = std::str::from_utf8(bytes).map_err(|error| TableError::NotUtf8 {
        place: builder.place(
            1 + bytes[..error.valid_up_to()]
                .iter()
                .filter(|&&byte| byte == b'\n')
                .count() as u64,
        ),
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
    builder.header(&header, Unit::Line)?;
    while advance(&mut reader, &mut record)? {
        let line = line_of(&record, text);
        if record.len() == header.len() {
            builder.row(line, |position| Cell::of_text(&record[position]))?;
        } else {
            let error = TableError::Ragged {
                place: builder.place(line),
                found: record.len(),
                expected: header.len(),
                hint: hint(&record, header.len()),
            };
            builder.malformed(error)?;
        }
    }
    Ok(())
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
    use sconce_contract::Dataset;

    use super::super::{NotANumber, Place, read};
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
                "a,y\n1,\"2\n3,4\n5,6\n",
                TableError::OpenQuote {
                    place: Place::line(2),
                    column: "y".into(),
                },
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
