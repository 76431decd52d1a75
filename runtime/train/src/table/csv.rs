//! Comma-separated values with a header row (RFC 4180). A record ends at a line feed, a carriage return, or both.

use std::ops::Range;

use csv_core::ReadRecordResult;

use super::{Builder, Cell, Input, TableError, Unit};
use crate::TrainError;

/// What spreadsheets write before UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// Most cells of a row: each takes many times the byte that its comma has in the file.
const CELLS: usize = 1_000_000;
/// Rows after which it is known how long one is.
const MEASURED: u64 = 64;

/// Reads a file. Blanks around a cell and empty lines do not count.
pub(super) fn read(input: &mut Input<'_>, builder: &mut Builder<'_>) -> Result<(), TrainError> {
    let mut records = Records::new(input)?;
    let Some(record) = records.next(builder)? else {
        return Err(TableError::Empty.into());
    };
    let header: Vec<String> = record.cells().map(|name| name.trim().to_owned()).collect();
    builder.header(&header, Unit::Line)?;
    let (mut rows, begin) = (0, records.passed());
    while let Some(record) = records.next(builder)? {
        let line = record.line;
        if record.len() == header.len() {
            builder.row(line, |position| Cell::of_text(record.cell(position)))?;
        } else {
            let error = TableError::Ragged {
                place: builder.place(line),
                found: record.len(),
                expected: header.len(),
                hint: hint(&record, header.len()),
            };
            builder.malformed(error)?;
        }
        rows += 1;
        if rows == MEASURED {
            builder.expect(records.left() * MEASURED / (records.passed() - begin).max(1));
        }
    }
    Ok(())
}

/// One after another, the records of a file.
struct Records<'i, 'c> {
    input: &'i mut Input<'c>,
    /// The line that the window begins on, from 1.
    line: u64,
    /// What lines are counted by: the line feed, or the carriage return where the header ends in that alone.
    newline: u8,
    /// Bytes of the window that the last record had.
    taken: usize,
    /// Where its cells are in the window, or in `unquoted`.
    cells: Vec<Range<usize>>,
    core: Box<csv_core::Reader>,
    unquoted: Vec<u8>,
    ends: Vec<usize>,
}

struct Record<'a> {
    line: u64,
    text: &'a str,
    cells: &'a [Range<usize>],
}

impl Record<'_> {
    fn len(&self) -> usize {
        self.cells.len()
    }

    fn cell(&self, position: usize) -> &str {
        let range = self.cells.get(position).cloned();
        range.and_then(|range| self.text.get(range)).unwrap_or_default()
    }

    fn cells(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).map(|position| self.cell(position))
    }
}

impl<'i, 'c> Records<'i, 'c> {
    fn new(input: &'i mut Input<'c>) -> Result<Self, TrainError> {
        while input.window().len() < BYTE_ORDER_MARK.len() && input.more()? {}
        if input.window().starts_with(BYTE_ORDER_MARK) {
            input.pass(BYTE_ORDER_MARK.len());
        }
        let end = input.end(|bytes| memchr::memchr3(b'\n', b'\r', b'"', bytes))?;
        while input.window().len() < end + 2 && input.more()? {}
        let newline = match &input.window()[end..] {
            [b'\r', next, ..] if !matches!(next, b'\r' | b'\n') => b'\r',
            _ => b'\n',
        };
        Ok(Records {
            input,
            line: 1,
            newline,
            taken: 0,
            cells: Vec::new(),
            core: Box::new(csv_core::Reader::new()),
            unquoted: Vec::new(),
            ends: Vec::new(),
        })
    }

    /// Bytes before the record that comes next.
    fn passed(&self) -> u64 {
        self.input.passed() + self.taken as u64
    }

    /// Bytes from there on.
    fn left(&self) -> u64 {
        self.input.size().saturating_sub(self.passed())
    }

    fn next(&mut self, builder: &Builder<'_>) -> Result<Option<Record<'_>>, TrainError> {
        self.go_past(self.taken);
        self.taken = 0;
        if !self.skip_empty()? {
            return Ok(None);
        }
        let line = self.line;
        let end = self.input.end(|bytes| memchr::memchr2(b'\n', b'\r', bytes))?;
        // Most have no quotation mark, and are where they are read.
        let plain = memchr::memchr(b'"', &self.input.window()[..end]).is_none();
        let newline = self.newline;
        let many = || TableError::TooManyCells {
            place: builder.place(line),
            limit: CELLS,
        };
        let not_utf8 = |window: &[u8], invalid: std::str::Utf8Error| {
            let lines = memchr::memchr_iter(newline, &window[..invalid.valid_up_to()]).count();
            TableError::NotUtf8 {
                place: builder.place(line + lines as u64),
            }
        };
        if plain {
            self.taken = end;
            self.cells.clear();
            let text = &self.input.window()[..end];
            let mut start = 0;
            for comma in memchr::memchr_iter(b',', text) {
                if self.cells.len() + 1 == CELLS {
                    return Err(many().into());
                }
                self.cells.push(start..comma);
                start = comma + 1;
            }
            self.cells.push(start..end);
            let text = std::str::from_utf8(text).map_err(|error| not_utf8(text, error))?;
            return Ok(Some(Record {
                line,
                text,
                cells: &self.cells,
            }));
        }
        if !self.unquote()? {
            return Err(many().into());
        }
        let read = &self.input.window()[..self.taken];
        std::str::from_utf8(read).map_err(|error| not_utf8(read, error))?;
        let text = std::str::from_utf8(&self.unquoted).map_err(|error| not_utf8(&self.unquoted, error))?;
        Ok(Some(Record {
            line,
            text,
            cells: &self.cells,
        }))
    }

    /// Passes so many bytes of the window, and counts their lines.
    fn go_past(&mut self, count: usize) {
        self.line += memchr::memchr_iter(self.newline, &self.input.window()[..count]).count() as u64;
        self.input.pass(count);
    }

    /// Passes empty lines; false where nothing is behind them.
    fn skip_empty(&mut self) -> Result<bool, TrainError> {
        loop {
            if self.input.is_empty()? {
                return Ok(false);
            }
            let window = self.input.window();
            let filled = window.iter().position(|byte| !matches!(byte, b'\r' | b'\n'));
            self.go_past(filled.unwrap_or(window.len()));
            if filled.is_some() {
                return Ok(true);
            }
        }
    }

    /// Takes the record at the beginning of the window apart as RFC 4180 has it; false where it has too many cells.
    fn unquote(&mut self) -> Result<bool, TrainError> {
        self.core.reset();
        let (mut read, mut written, mut ended) = (0, 0, 0);
        self.unquoted.clear();
        loop {
            self.unquoted.resize(self.unquoted.len().max(1 << 10), 0);
            self.ends.resize(self.ends.len().max(64), 0);
            let (result, bytes, output, ends) = self.core.read_record(
                &self.input.window()[read..],
                &mut self.unquoted[written..],
                &mut self.ends[ended..],
            );
            read += bytes;
            written += output;
            ended += ends;
            match result {
                // The core takes no bytes for the end, which only an empty window is.
                ReadRecordResult::InputEmpty if self.input.more()? => {}
                ReadRecordResult::InputEmpty => {
                    // The last cell has its end here, and may be the first that has no place for it.
                    if ended == self.ends.len() {
                        self.ends.push(0);
                    }
                    let (_, _, output, ends) =
                        self.core
                            .read_record(&[], &mut self.unquoted[written..], &mut self.ends[ended..]);
                    written += output;
                    ended += ends;
                    break;
                }
                ReadRecordResult::OutputFull => self.unquoted.resize(2 * self.unquoted.len(), 0),
                ReadRecordResult::OutputEndsFull if ended >= CELLS => return Ok(false),
                ReadRecordResult::OutputEndsFull => self.ends.resize(2 * self.ends.len(), 0),
                ReadRecordResult::Record | ReadRecordResult::End => break,
            }
        }
        self.taken = read;
        self.unquoted.truncate(written);
        self.cells.clear();
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        self.cells
            .extend(starts.zip(&self.ends[..ended]).map(|(start, &end)| start..end));
        Ok(ended <= CELLS)
    }
}

fn hint(record: &Record<'_>, columns: usize) -> &'static str {
    if record.cells().any(|cell| cell.contains('\n')) {
        "; is a quotation mark left open?"
    } else if record.len() == columns + 1 && record.cells().last() == Some("") {
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
        (0..20_000).map(move |_| {
            let mut bytes = b"a,y\n".to_vec();
            for _ in 0..random.below(24) {
                bytes.extend_from_slice(PIECES[random.below(PIECES.len() as u64) as usize]);
            }
            bytes
        })
    }

    #[test]
    fn records_are_those_of_the_csv_crate() {
        let dataset = dataset("y", &[]);
        let builder = Builder::new(&dataset, None);
        let mut quoted = 0;
        for bytes in odd_files().filter(|bytes| std::str::from_utf8(bytes).is_ok()) {
            let mut reader = csv::ReaderBuilder::new();
            let mut reader = reader.flexible(true).has_headers(false).from_reader(&bytes[..]);
            let expected: Vec<Vec<String>> = reader
                .records()
                .map(|record| record.unwrap().iter().map(str::to_owned).collect())
                .collect();
            let mut input = Input::of(&bytes);
            let mut records = Records::new(&mut input).unwrap();
            let mut found = Vec::new();
            while let Some(record) = records.next(&builder).unwrap() {
                found.push(record.cells().map(str::to_owned).collect::<Vec<_>>());
            }
            assert_eq!(found, expected, "{:?}", String::from_utf8_lossy(&bytes));
            quoted += usize::from(bytes.contains(&b'"'));
        }
        assert!(quoted > 1000);
    }

    #[test]
    fn the_last_row_of_a_file_has_its_last_cell_however_many_there_are() {
        let dataset = dataset("y", &[]);
        let builder = Builder::new(&dataset, None);
        for columns in [1, 2, 63, 64, 65, 66, 128, 129, 257] {
            let mut input = Input::of(format!("\"1\"{}", ",".repeat(columns - 1)).as_bytes());
            let mut records = Records::new(&mut input).unwrap();
            let record = records.next(&builder).unwrap().unwrap();
            assert_eq!((record.len(), record.cell(0)), (columns, "1"));
            assert!(records.next(&builder).unwrap().is_none());
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
    fn records_that_end_in_a_carriage_return_alone_are_read_one_by_one() {
        let dataset = dataset("y", &[]);
        let builder = Builder::new(&dataset, None);
        let rows = 300_000;
        let mut input = Input::of(format!("a,y\r{}", "1,\"2\"\r1,2\r".repeat(rows / 2)).as_bytes());
        let mut records = Records::new(&mut input).unwrap();
        for number in 0..=rows {
            let record = records.next(&builder).unwrap().unwrap();
            let cells: Vec<&str> = record.cells().collect();
            assert_eq!(cells, if number == 0 { ["a", "y"] } else { ["1", "2"] });
            // What was not asked for yet is not looked at.
            let held = records.input.window().len();
            assert!(held < 1 << 20, "{held} bytes at record {number}");
        }
        assert!(records.next(&builder).unwrap().is_none());
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
}
