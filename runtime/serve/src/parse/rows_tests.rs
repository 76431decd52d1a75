use super::*;
use crate::parse::parse;

fn rows(json: &str) -> Result<Table, String> {
    let columns = Columns::of_numbers(vec!["age".into(), "size".into()]);
    let room = Room::default();
    let seed = Rows {
        name: "instances",
        columns: &columns,
        room: &room,
    };
    parse(json.as_bytes(), &room, seed).map_err(|refusal| refusal.sentence)
}

#[test]
fn one_row_more_than_there_is_room_for_is_too_large_and_no_mistake() {
    let columns = Columns::of_numbers(vec!["age".into(), "size".into()]);
    for (row, status) in [
        ("[1, 2]", 413),
        (r#"{"age": 1, "size": 2}"#, 413),
        (r#"{"input": [1, 2]}"#, 413),
        ("[1]", 400),
    ] {
        let room = Room::of(5);
        let seed = Rows {
            name: "instances",
            columns: &columns,
            room: &room,
        };
        let body = format!("[{row}, {row}, {row}]");
        let refusal = parse(body.as_bytes(), &room, seed).unwrap_err();
        assert_eq!(refusal.status.as_u16(), status, "{row}: {}", refusal.sentence);
    }
    let room = Room::of(4);
    let seed = Rows {
        name: "instances",
        columns: &columns,
        room: &room,
    };
    let body = br#"[{"input": [1, 2]}, [3, 4]]"#;
    assert_eq!(parse(body, &room, seed).unwrap().rows, 2);
}

#[test]
fn lists_and_objects_give_the_same_rows() {
    let table = Table {
        values: vec![1.0, 2.5, -3.0, 4.0],
        rows: 2,
    };
    for json in [
        "[[1, 2.5], [-3, 4e0]]",
        r#"[{"age": 1, "size": 2.5}, {"size": 4, "age": -3}]"#,
        r#"[{"input": [1, 2.5]}, [-3, 4]]"#,
    ] {
        assert_eq!(rows(json).unwrap(), table, "{json}");
    }
    assert_eq!(rows("[]").unwrap().rows, 0);
}

#[test]
fn words_and_missing_values_are_taken_as_their_columns_say() {
    use sconce_contract::{Encoding, Feature, UnknownWords, Vocabulary};

    let words = |name: &str, words: &[&str], unknown| Feature {
        vocabulary: Some(Vocabulary {
            words: words.iter().map(ToString::to_string).collect(),
            encoding: Encoding::OneHot,
            unknown,
        }),
        ..Feature::number(name, 0.0, 1.0)
    };
    let filled = Feature {
        missing: Some(7.0),
        ..Feature::number("size", 0.0, 1.0)
    };
    let columns = Columns::new(vec![
        words("colour", &["blue", "red"], UnknownWords::Refuse),
        words("code", &["007", "12", "true"], UnknownWords::Ignore),
        filled,
    ]);
    let read = |json: &str| {
        let room = Room::default();
        let seed = Rows {
            name: "instances",
            columns: &columns,
            room: &room,
        };
        parse(json.as_bytes(), &room, seed).map_err(|refusal| refusal.sentence)
    };
    let table =
        read(r#"[["red", "007", 1], {"code": 12, "colour": "blue"}, ["red", "13", null], ["red", true, 2]]"#);
    let values = table.unwrap().values;
    assert_eq!(values[..5], [1.0, 0.0, 1.0, 0.0, 1.0]);
    assert!(values[5].is_nan() && values[8].is_nan(), "{values:?}");
    assert_eq!(values[6..8], [1.0, -1.0]);
    assert_eq!(values[9..], [1.0, 2.0, 2.0]);
    for (json, says) in [
        (
            r#"[["pink", "12", 1]]"#,
            r#"instances[0], column "colour", is "pink", a word that the model did not learn; it knows "blue", "red""#,
        ),
        (r#"[[null, "12", 1]]"#, r#"column "colour", is null, not a word"#),
        (r#"[{"code": "12"}]"#, r#"lacks the column "colour""#),
        (
            r#"[["red", "12", "x"]]"#,
            r#"column "size", is the text "x", not a number"#,
        ),
    ] {
        let error = read(json).unwrap_err();
        assert!(error.contains(says), "{json}: {error}");
    }
}

#[test]
fn mistakes_are_named() {
    for (json, says) in [
        (
            "[[1, 2], [1]]",
            "instances[1] has 1 values, but the model takes 2: \"age\", \"size\"",
        ),
        (
            "[[1, 2, 3, 4]]",
            "instances[0] has 4 values, but the model takes 2",
        ),
        (
            "[[1, null]]",
            "instances[0], column \"size\", is null, not a number",
        ),
        (
            "[[1, \"2\"]]",
            "instances[0], column \"size\", is the text \"2\", not a number",
        ),
        ("[[[1], 2]]", "instances[0], column \"age\", is a list"),
        ("[[true, 2]]", "column \"age\", is true"),
        ("[[1, {}]]", "column \"size\", is an object"),
        (
            "[[1, 1e39]]",
            "column \"size\", is 1e39, which is beyond the range of FP32",
        ),
        ("[[1, 1e999]]", "the body is not valid JSON: number out of range"),
        (
            "[[1, NaN]]",
            "the body is not valid JSON: expected value at line 1 column 6",
        ),
        (
            "[1, 2]",
            "instances[0] is a number; a row is a list of 2 numbers or an object",
        ),
        ("[null]", "instances[0] is null"),
        ("[\"a\"]", "instances[0] is text"),
        ("[true]", "instances[0] is a boolean"),
        ("{}", "\"instances\" as a list of rows"),
        (r#"[{"age": 1}]"#, "instances[0] lacks the column \"size\""),
        (
            r#"[{"age": 1, "size": 2, "more": 3}]"#,
            "a column \"more\" that the model does not know",
        ),
        (r#"[{"age": 1, "age": 2}]"#, "has the column \"age\" twice"),
        (
            r#"[{"age": null, "size": 2}]"#,
            "instances[0], column \"age\", is null",
        ),
        (r#"[{"input": [1]}]"#, "instances[0] has 1 values"),
        (r#"[{"input": {"input": [1, 2]}}]"#, "instances[0] is an object"),
        (r#"[{"input": [1, 2], "age": 1}]"#, "has more beside \"input\""),
        ("[[1, 2]", "EOF"),
        ("[[1, 2]] x", "trailing characters"),
    ] {
        let error = rows(json).unwrap_err();
        assert!(error.contains(says), "{json}: {error}");
    }
    let deep = format!("[[1, {}", "[".repeat(100_000));
    assert!(rows(&deep).is_err());
    let deep = format!("[[1, 2, {}", "[".repeat(100_000));
    assert!(rows(&deep).is_err());
}

#[test]
fn a_long_name_is_cut() {
    let error = rows(&format!(r#"[{{"{}": 1}}]"#, "é".repeat(100_000))).unwrap_err();
    assert!(error.len() < 500, "{}", error.len());
}
