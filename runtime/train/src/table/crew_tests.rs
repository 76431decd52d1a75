//! Tests of `crew`: however many threads read a file and wherever it is cut, the table is the one of its rows one after
//! another.

use sconce_contract::Dataset;
use sconce_engine::{Purpose, Random};
use serde_json::{Value, json};

use super::super::{Place, Table, TableError, read_by};
use super::*;

/// All that there is in a table, with the bits of its values.
type Told = (
    Vec<super::super::Feature>,
    Vec<u32>,
    super::super::Cells,
    sconce_contract::RowsLeftOut,
);

fn told(table: Table) -> Told {
    let bits = table.values.iter().map(|value| value.to_bits()).collect();
    (table.features, bits, table.target, table.left_out)
}

fn dataset(settings: &Value) -> Dataset {
    let mut dataset = json!({"uri": "file:///table", "target": "y"});
    let settings = settings.as_object().unwrap().clone();
    dataset.as_object_mut().unwrap().extend(settings);
    serde_json::from_value(dataset).unwrap()
}

/// Reads a small file by the crew, and one row after another as the first rows of each are.
fn both(crew: Crew, bytes: &[u8], dataset: &Dataset) -> [Result<Told, TableError>; 2] {
    let one = Crew {
        threads: 1,
        block: usize::MAX,
    };
    assert!(bytes.len() < 64 << 10);
    [crew, one].map(|crew| read_by(crew, bytes, dataset).map(told))
}

fn crews() -> impl Iterator<Item = Crew> {
    let threads = [1, 3].into_iter();
    threads.flat_map(|threads| [1, 40, 700].map(|block| Crew { threads, block }))
}

const SETTINGS: [&str; 6] = [
    r#"{}"#,
    r#"{"missing": "Mean"}"#,
    r#"{"missing": "Drop", "malformedRows": {"skipUpTo": 5}}"#,
    r#"{"missing": "Mean", "malformedRows": {"skipUpTo": 1000}}"#,
    r#"{"missing": "Mean", "malformedRows": {"skipUpTo": 1000}, "features": ["word", "a"],
        "categorical": {"columns": ["word"], "maxWords": 4}}"#,
    r#"{"missing": "Mean", "malformedRows": {"skipUpTo": 1000}, "text": {"column": "word", "length": 3, "vocabulary": 9}}"#,
];

/// A cell of a column of numbers or words: seldom one that nobody would write.
fn cell(random: &mut Random, usual: &[&str]) -> String {
    let odd = [
        "",
        " ",
        " 7 ",
        "\"7\"",
        "\"a, b\"",
        "\"a\nb\"",
        "\"\r\n\"",
        "\"a\"\"b\"",
        "a\"b",
        "1e3",
        "nan",
        "x",
        "\"7\" ",
        "0.1\t",
        "16777217",
        "é",
    ];
    match random.below(30) {
        0 => odd[random.below(odd.len() as u64) as usize].to_owned(),
        1 => String::new(),
        _ => usual[random.below(usual.len() as u64) as usize].to_owned(),
    }
}

fn file(random: &mut Random) -> Vec<u8> {
    let ends = ["\n", "\r\n", "\r", "\n"];
    let usual = random.below(4) as usize;
    let mut text = String::from(["", "\u{feff}"][random.below(2) as usize]);
    text += &"\n".repeat(random.below(3) as usize);
    text += "a,b,word,unused,y";
    text += ends[usual];
    for _ in 0..random.below(60) {
        let numbers = ["1", "-2.5", "0.30471706", "12345678.125"];
        let mut cells = [
            cell(random, &numbers),
            cell(random, &numbers),
            cell(random, &["red", "green", "blue and red"]),
            cell(random, &["u", "v"]),
            cell(random, &["0", "1"]),
        ]
        .to_vec();
        match random.below(50) {
            0 => cells.truncate(3),
            1 => cells.push("9".to_owned()),
            _ => {}
        }
        text += &cells.join(",");
        let odd = ends[random.below(4) as usize];
        text += match random.below(20) {
            0 => odd,
            _ => ends[usual],
        };
        text += &odd.repeat(random.below(20) as usize / 18);
    }
    if random.below(2) == 0 {
        text.truncate(text.trim_end().len());
    }
    let mut bytes = text.into_bytes();
    if random.below(20) == 0 {
        let at = random.below(bytes.len() as u64) as usize;
        bytes[at] = [0xff, b'"'][random.below(2) as usize];
    }
    bytes
}

#[test]
fn csv_is_read_alike_by_any_number_of_threads_wherever_it_is_cut() {
    let (mut random, mut read, mut refused) = (Random::new(1, Purpose::Split, 0), 0, 0);
    let settings: Vec<Dataset> = SETTINGS
        .map(|text| dataset(&serde_json::from_str(text).unwrap()))
        .into();
    for round in 0..300 {
        let bytes = file(&mut random);
        let dataset = &settings[round % settings.len()];
        for crew in crews() {
            let [found, expected] = both(crew, &bytes, dataset);
            match &expected {
                Ok(_) => read += 1,
                Err(_) => refused += 1,
            }
            assert_eq!(found, expected, "{crew:?} {:?}", String::from_utf8_lossy(&bytes));
        }
    }
    assert!(read > 300 && refused > 300, "{read} {refused}");
}

#[test]
fn lines_of_json_are_read_alike_by_any_number_of_threads_wherever_they_are_cut() {
    let (mut random, mut read, mut refused) = (Random::new(2, Purpose::Split, 0), 0, 0);
    for round in 0..300 {
        let lines = (0..random.below(60)).map(|_| {
            let a = ["1", "-2.5", "3e2", "null", "\" 7 \""][random.below(5) as usize];
            let word = ["\"red\"", "\"green\\n\"", "\"blue\"", "null"][random.below(4) as usize];
            match random.below(60) {
                0 => String::new(),
                1 => "{".to_owned(),
                2 => format!("{{\"a\": [1], \"word\": {word}, \"y\": 1}}"),
                3 => format!("{{\"y\": \"1\", \"more\": {{}}, \"word\": {word}}}"),
                _ => format!("{{\"a\": {a}, \"word\": {word}, \"y\": {}}}", random.below(2)),
            }
        });
        let text = lines.collect::<Vec<_>>().join(["\n", "\r\n"][round % 2]);
        let (skipped, missing) = ([0, 2, 1000][round % 3], ["Drop", "Mean"][round % 2]);
        let dataset = dataset(&json!({
            "format": "JSONL", "missing": missing, "malformedRows": {"skipUpTo": skipped},
        }));
        for crew in crews() {
            let [found, expected] = both(crew, text.as_bytes(), &dataset);
            match &expected {
                Ok(_) => read += 1,
                Err(_) => refused += 1,
            }
            assert_eq!(found, expected, "{crew:?} {text:?}");
        }
    }
    assert!(read > 300 && refused > 300, "{read} {refused}");
}

#[test]
fn a_row_at_fault_far_behind_is_told_by_its_line_and_the_first_of_them_is_told() {
    let rows = 100_000;
    let mut text = String::from("a,y\n");
    for row in 0..rows {
        text += match row {
            // Blank lines and texts over several lines count.
            20_000 => "\n\"1\",\"0\"\n\n",
            80_000 => "x,1\n",
            80_001 | 99_999 => "1\n",
            _ => "1.5,1\n",
        };
    }
    for crew in [(1, 64 << 10), (2, 512 << 10), (4, 16 << 10)] {
        let (threads, block) = crew;
        let crew = Crew { threads, block };
        let TableError::Feature { place, .. } =
            read_by(crew, text.as_bytes(), &dataset(&json!({}))).unwrap_err()
        else {
            panic!("another fault was told first");
        };
        assert_eq!(place, Place::line(80_000 + 2 + 2), "{crew:?}");
        let skipped = dataset(&json!({"malformedRows": {"skipUpTo": 3}}));
        let table = read_by(crew, text.as_bytes(), &skipped).unwrap();
        assert_eq!((table.rows(), table.left_out.malformed), (rows - 3, 3));
        assert!(table.left_out.first.starts_with("line 80004, column \"a\""));
        let two = dataset(&json!({"malformedRows": {"skipUpTo": 2}}));
        let error = read_by(crew, text.as_bytes(), &two).unwrap_err().to_string();
        assert!(error.contains("then line 100003: the row has 1 cells"), "{error}");
    }
}

#[test]
fn a_quotation_mark_left_open_far_behind_is_told_by_its_line_behind_what_is_wrong_before() {
    let text = |before: &str| -> String {
        let rows = (0..60_000).map(|row| match row {
            40_000 => before,
            50_000 => "\"1.5,1\n",
            _ => "1.5,1\n",
        });
        std::iter::once("a,y\n").chain(rows).collect()
    };
    let skipped = json!({"malformedRows": {"skipUpTo": 1000}});
    let open = TableError::OpenEnd {
        place: Place::line(50_002),
    };
    for (threads, block) in [(1, 64 << 10), (2, 512 << 10), (4, 16 << 10)] {
        let crew = Crew { threads, block };
        let refuse = |before: &str, settings: &Value| {
            read_by(crew, text(before).as_bytes(), &dataset(settings)).unwrap_err()
        };
        assert_eq!(refuse("1.5,1\n", &json!({})), open, "{crew:?}");
        // It is not one of the rows that may be left out.
        assert_eq!(refuse("x,1\n", &skipped), open, "{crew:?}");
        let TableError::Feature { place, .. } = refuse("x,1\n", &json!({})) else {
            panic!("{crew:?}: another fault was told first");
        };
        assert_eq!(place, Place::line(40_002), "{crew:?}");
    }
}

#[test]
fn words_are_counted_over_the_whole_file() {
    let rows: String = (0..20_000)
        .map(|row| format!("w{},1\nw0,0\n", row / 4_000))
        .collect();
    let text = format!("a,y\n{rows}");
    for (most, fits) in [(5, true), (4, false)] {
        let dataset = dataset(&json!({"categorical": {"maxWords": most}}));
        let crew = Crew {
            threads: 3,
            block: 8 << 10,
        };
        let read = read_by(crew, text.as_bytes(), &dataset);
        match fits {
            true => assert_eq!(read.unwrap().features[0].words.as_ref().unwrap().len(), 5),
            false => assert_eq!(
                read.unwrap_err(),
                TableError::TooManyWords {
                    column: "a".into(),
                    limit: 4
                }
            ),
        }
    }
}
