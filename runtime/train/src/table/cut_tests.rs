//! Tests of `cut`.

use super::*;

/// The blocks of a file, each with its line.
fn blocks(text: &str, size: usize) -> Vec<(String, u64)> {
    let mut input = Input::of(text.as_bytes());
    let mut cutter = Cutter::of_csv(&mut input, b'\n', File::default());
    let mut blocks = Vec::new();
    while let Some(block) = cutter.next(size).unwrap() {
        blocks.push((String::from_utf8(block.bytes).unwrap(), block.line));
    }
    blocks
}

/// A window is read as a whole: only what is longer than that is cut.
fn long(rows: usize) -> String {
    (0..rows)
        .map(|row| format!("{row},\"a\nb\"\"\r\n\",x\"y\n"))
        .collect()
}

#[test]
fn a_block_ends_where_a_row_does_and_not_within_quotation_marks() {
    for (text, ends) in [
        ("1,2\n3,4\n5", 8),
        ("1,\"2\n\"\n3,\"4\n", 7),
        ("1,\"2\"\"\n\"\r3,\"4\n\n\n", 9),
        // It begins no text in quotation marks: it is in the middle of a cell.
        ("1,2\"\n3\"\n4,", 8),
        ("\"1\"2\"\n3,\"\"\n", 11),
        ("1,\"2", 0),
        ("\"\n\"\"\n", 0),
    ] {
        let mut whole = Ends::default();
        whole.look(text.as_bytes());
        assert_eq!(whole.last, ends, "{text:?}");
        // Byte after byte it says the same.
        let mut bytewise = Ends::default();
        (1..=text.len()).for_each(|end| bytewise.look(&text.as_bytes()[..end]));
        assert_eq!(bytewise.last, ends, "{text:?}");
    }
}

#[test]
fn the_blocks_are_the_file_and_say_on_which_line_they_begin() {
    let text = long(200_000);
    let blocks = blocks(&text, 1 << 10);
    assert!(blocks.len() > 5);
    let mut lines = 1;
    for (block, line) in &blocks {
        assert_eq!(*line, lines);
        assert!(block.ends_with(",x\"y\n"), "{:?}", &block[block.len() - 20..]);
        assert!(block.len() < 1 << 20);
        lines += block.matches('\n').count() as u64;
    }
    assert_eq!(
        blocks.into_iter().map(|(block, _)| block).collect::<String>(),
        text
    );
}

#[test]
fn a_row_that_is_longer_than_a_block_is_one() {
    let text = format!("1,\"{}\"\n2,3\n", "\n".repeat(1 << 20));
    let blocks = blocks(&text, 1 << 10);
    assert_eq!(blocks.len(), 1);
    assert_eq!(blocks[0].0, text);
}

#[test]
fn a_row_that_does_not_end_is_refused() {
    let text = format!("1,\"{}", "\n".repeat(65 << 20));
    let mut input = Input::of(text.as_bytes());
    let mut cutter = Cutter::of_csv(&mut input, b'\n', File::default());
    let error = cutter.next(1).unwrap_err();
    assert!(error.to_string().contains("quotation mark left open"), "{error}");
}

#[test]
fn a_file_that_ends_within_quotation_marks_is_refused_behind_the_rows_before() {
    for (text, rows, line) in [
        ("1,\"2", "", 1),
        ("\"", "", 1),
        ("1,2\r\n\n3,\"4\n5,6\n", "1,2\r\n\n", 3),
        // It is told where the quotation mark is, and not where the row begins.
        ("\"1\n2\",\"3\"\",4\n", "", 2),
        ("1,\"\n2\",3\n\"", "1,\"\n2\",3\n", 3),
    ] {
        for size in [1, 7, usize::MAX] {
            let mut input = Input::of(text.as_bytes());
            let mut cutter = Cutter::of_csv(&mut input, b'\n', File::default());
            let mut before = Vec::new();
            let error = loop {
                match cutter.next(size) {
                    Ok(block) => before.extend(block.unwrap().bytes),
                    Err(error) => break error,
                }
            };
            assert_eq!(String::from_utf8(before).unwrap(), rows, "{text:?} {size}");
            let TrainError::Table(told) = &error else {
                panic!("{text:?} {size}: {error}");
            };
            let place = Place::line(line);
            assert_eq!(*told, TableError::OpenEnd { place }, "{text:?} {size}");
        }
    }
}

#[test]
fn a_quotation_mark_that_closes_may_be_the_last_byte_of_a_file() {
    for text in ["1,\"2\"", "\"\"", "1,\"2\"\"\"", "1,\"2\n3\""] {
        for size in [1, usize::MAX] {
            assert_eq!(blocks(text, size), [(text.to_owned(), 1)], "{size}");
        }
    }
}
