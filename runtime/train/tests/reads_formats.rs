//! Tables in every format, as other programs write them, give the same model as plain CSV; folders are read as Spark
//! and Hive write them. The files are made by `golden/tables.py`.

#![allow(clippy::unwrap_used, clippy::panic)] // A test fails by panicking.

mod rehearsal;

use std::fs;

use rehearsal::{Rehearsal, metric, separable};
use sconce_contract::{MetricName, MetricSplit, Report};
use serde_json::{Value, json};

const FEATURES: [&str; 9] = [
    "double", "float", "int8", "uint32", "int64", "price", "flag", "word", "level",
];

fn of(uri: &str) -> Rehearsal {
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden");
    let rehearsal = Rehearsal::of("").layers(&[(8, "Tanh"), (1, "Sigmoid")]);
    let models = rehearsal.path("");
    rehearsal
        .with("dataset.uri", json!(uri))
        .with(
            "mounts",
            json!([{"uri": "pvc://golden", "path": golden}, {"uri": "pvc://data", "path": models}]),
        )
        .with("hyperparameters", json!({"epochs": 15, "batchSize": 8}))
}

fn preprocess(rehearsal: &Rehearsal) -> Value {
    let artifact = rehearsal
        .models()
        .into_iter()
        .find(|name| name != "checkpoints")
        .unwrap();
    let path = rehearsal.path("models").join(artifact).join("preprocess.json");
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn manifest(rehearsal: &Rehearsal) -> Value {
    let artifact = rehearsal
        .models()
        .into_iter()
        .find(|name| name != "checkpoints")
        .unwrap();
    let path = rehearsal.path("models").join(artifact).join("manifest.json");
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn golden_parquet_of_every_type_and_codec_gives_the_model_of_the_same_csv() {
    let typed = |uri: &str| {
        of(uri)
            .with("dataset.features", json!(FEATURES))
            .with("dataset.missing", json!("Mean"))
    };
    let (expected, _) = typed("pvc://golden/types.csv").train();
    for codec in ["none", "snappy", "zstd", "gzip"] {
        let parquet = typed(&format!("pvc://golden/types-{codec}.parquet"));
        assert_eq!(parquet.train().0, expected, "{codec}");
        let features = preprocess(&parquet)["features"].clone();
        assert_eq!(features[4]["name"], "int64");
        assert!(features[4]["missing"].is_number(), "{features}");
        assert_eq!(features[6]["vocabulary"]["words"], json!(["false", "true"]));
        assert_eq!(
            features[7]["vocabulary"]["words"],
            json!(["blue", "green", "red"])
        );
    }
}

#[test]
fn parquet_that_cannot_be_read_is_told_with_the_column() {
    let nested = of("pvc://golden/types-zstd.parquet").with("dataset.features", json!(["double", "list"]));
    let failure = nested.refuse();
    assert!(
        failure
            .message
            .contains("column \"list\": it holds a list or a struct"),
        "{failure:?}"
    );
    let failure = of("pvc://golden/pandas.parquet").refuse();
    assert!(
        failure.message.contains("row 2, column \"a\": the cell is empty"),
        "{failure:?}"
    );

    let whole = fs::read(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/golden/types-snappy.parquet"
    ))
    .unwrap();
    let broken = of("pvc://data/broken.parquet").with("dataset.features", json!(["double", "int64", "word"]));
    let mut refused = 0;
    for cut in (0..whole.len()).step_by(whole.len() / 40) {
        for bytes in [
            whole[..cut].to_vec(),
            [&whole[..cut], &[0xff; 16], &whole[(cut + 16).min(whole.len())..]].concat(),
        ] {
            fs::write(broken.path("broken.parquet"), bytes).unwrap();
            // What is damaged may still be read where nothing of it is used; it must never be our fault.
            if let Err(error) = broken.run() {
                refused += 1;
                assert_eq!(
                    error.failure().class,
                    sconce_contract::FailureClass::BadInput,
                    "{error}"
                );
            }
        }
    }
    assert!(refused > 40, "{refused}");
}

#[test]
fn folder_of_spark_is_read_whole_and_its_partitions_are_columns() {
    let spark = of("pvc://golden/spark").with("hyperparameters.epochs", json!(60));
    let (metrics, _) = spark.train();
    assert!(metric(&metrics, MetricName::Accuracy) > 0.8, "{metrics:?}");
    let names: Vec<Value> = preprocess(&spark)["features"]
        .as_array()
        .unwrap()
        .iter()
        .map(|feature| feature["name"].clone())
        .collect();
    assert_eq!(names, ["a", "year"]);
    assert_eq!(manifest(&spark)["rows"], 80);
    // A value of a path is a number like any other; as a word it is one where the spec says so.
    let words = of("pvc://golden/spark").with("dataset.categorical", json!({"columns": ["year"]}));
    words.train();
    assert_eq!(
        preprocess(&words)["features"][1]["vocabulary"]["words"],
        json!(["2023", "2024"])
    );
}

#[test]
fn folder_that_is_still_written_or_empty_or_uneven_is_refused() {
    let rehearsal = of("pvc://data/parts");
    let parts = rehearsal.path("parts");
    fs::create_dir(&parts).unwrap();
    let says = |rehearsal: &Rehearsal, text: &str| {
        let failure = rehearsal.refuse();
        assert!(failure.message.contains(text), "{failure:?}");
        assert_eq!(failure.class, sconce_contract::FailureClass::BadInput);
    };
    says(
        &rehearsal,
        "there is no file of a table in the folder pvc://data/parts",
    );
    fs::write(parts.join("part-0.csv"), separable(40)).unwrap();
    // Spark writes the marker last, but not every writer is Spark.
    rehearsal.train();
    fs::write(parts.join("part-1.csv"), "b,y,a\n1,no,0.5\n2,yes,x\n").unwrap();
    fs::remove_dir_all(rehearsal.path("models")).unwrap();
    fs::create_dir(rehearsal.path("models")).unwrap();
    says(
        &rehearsal,
        "part-1.csv, line 3, column \"a\": \"x\" is not a number",
    );
    fs::write(parts.join("part-1.csv"), "b,y\n1,no\n").unwrap();
    says(
        &rehearsal,
        "the table has no column \"a\"; part-1.csv differs from the files before it",
    );
    fs::create_dir(parts.join("_temporary")).unwrap();
    fs::write(parts.join("_temporary/part-2.csv"), "").unwrap();
    says(&rehearsal, "still being written");
}

#[test]
fn files_of_a_folder_that_are_empty_are_left_out_only_where_they_may_have_no_row() {
    let parts = || {
        let rehearsal = of("pvc://data/parts");
        fs::create_dir(rehearsal.path("parts")).unwrap();
        rehearsal
    };
    let csv = parts()
        .write("parts/part-0.csv", &separable(40))
        .write("parts/part-1.csv", "")
        // A mark of a folder in an object store, whose name comes first and says no format.
        .write("parts/a_$folder$", "");
    csv.train();
    assert_eq!(manifest(&csv)["rows"], 40);

    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden");
    let parquet = parts()
        .write("parts/part-1.parquet", "")
        .with("dataset.features", json!(FEATURES))
        .with("dataset.missing", json!("Mean"));
    fs::copy(
        format!("{golden}/types-snappy.parquet"),
        parquet.path("parts/part-0.parquet"),
    )
    .unwrap();
    let pictures = parts()
        .with("dataset.format", json!("Images"))
        .with("dataset.images", json!({"height": 4, "width": 6, "channels": 1}));
    for class in ["bright", "dark"] {
        let folder = pictures.path("parts").join(class);
        fs::create_dir(&folder).unwrap();
        for picture in fs::read_dir(format!("{golden}/pictures/{class}")).unwrap() {
            let picture = picture.unwrap();
            fs::copy(picture.path(), folder.join(picture.file_name())).unwrap();
        }
    }
    let pictures = pictures.write("parts/bright/0.png", "");
    for (rehearsal, says) in [
        (parquet, "part-1.parquet is not Parquet that can be read"),
        (pictures, "bright/0.png is not PNG or JPEG that can be read"),
    ] {
        let failure = rehearsal.refuse();
        assert!(failure.message.contains(says), "{failure:?}");
        assert_eq!(failure.class, sconce_contract::FailureClass::BadInput);
    }
}

#[test]
fn jsonl_gives_the_model_of_the_same_csv() {
    let csv = separable(80);
    let (expected, _) = of("pvc://data/table.csv").write("table.csv", &csv).train();
    let lines: Vec<String> = csv
        .lines()
        .skip(1)
        .map(|line| {
            let cells: Vec<&str> = line.split(',').collect();
            format!(
                r#"{{"b": {}, "y": "{}", "a": {}, "more": [1]}}"#,
                cells[1], cells[2], cells[0]
            )
        })
        .collect();
    let jsonl = of("pvc://data/table.jsonl")
        .write("table.jsonl", &lines.join("\n"))
        .with("dataset.features", json!(["a", "b"]));
    assert_eq!(jsonl.train().0, expected);
    for (line, says) in [
        (
            "{\"a\": 1, \"b\":",
            "line 3: the line is not a JSON object (EOF while parsing a value at column 13)",
        ),
        ("[1, 2]", "line 3: the line is not a JSON object"),
        (
            "{\"a\": [1], \"b\": 1, \"y\": \"no\"}",
            "line 3, column \"a\": the value is a list or an object",
        ),
        (
            "{\"b\": 1, \"y\": \"no\"}",
            "line 3, column \"a\": the cell is empty",
        ),
        (
            "{\"a\": true, \"b\": 1, \"y\": \"no\"}",
            "line 3, column \"a\": \"true\" is not a number",
        ),
    ] {
        let text = format!("{}\n{}\n{line}\n", lines[0], lines[1]);
        let failure = of("pvc://data/table.jsonl")
            .write("table.jsonl", &text)
            .with("dataset.features", json!(["a", "b"]))
            .refuse();
        assert!(failure.message.contains(says), "{failure:?}");
    }
}

#[test]
fn images_of_a_folder_per_class_are_learned_at_the_size_that_is_asked_for() {
    let pictures = |channels: u32| {
        of("pvc://golden/pictures")
            .with("dataset.format", json!("Images"))
            .with(
                "dataset.images",
                json!({"height": 4, "width": 6, "channels": channels}),
            )
            .with("dataset.standardize", json!(false))
            .with("dataset.split", json!({"validation": 0.0, "test": 0.25}))
            .with(
                "hyperparameters",
                json!({"epochs": 60, "batchSize": 4, "optimizer": {"learningRate": 0.01}}),
            )
    };
    for channels in [1, 3, 4] {
        let rehearsal = pictures(channels);
        let (metrics, _) = rehearsal.train();
        assert_eq!(
            metric(&metrics, MetricName::Accuracy),
            1.0,
            "{channels}: {metrics:?}"
        );
        let preprocess = preprocess(&rehearsal);
        assert_eq!(preprocess["target"]["classes"], json!(["bright", "dark"]));
        let features = preprocess["features"].as_array().unwrap();
        assert_eq!(features.len() as u32, 4 * 6 * channels);
        assert_eq!(features[channels as usize]["name"], "pixel[0,1,0]");
    }
    let unclear = pictures(1).with("dataset.images", Value::Null).refuse();
    assert_eq!(unclear.field.as_deref(), Some("dataset.images"));
    let loose = pictures(1)
        .write("one.png", "")
        .with("dataset.uri", json!("pvc://data/one.png"));
    assert!(
        loose
            .refuse()
            .message
            .contains("the file lies in no folder within dataset.uri")
    );
    let broken = pictures(1).with("dataset.uri", json!("pvc://data/broken"));
    fs::create_dir_all(broken.path("broken/bright")).unwrap();
    let broken = broken.write("broken/bright/1.png", "no picture");
    assert!(
        broken
            .refuse()
            .message
            .contains("bright/1.png is not PNG or JPEG that can be read")
    );
}

#[test]
fn rows_of_their_own_uri_are_watched_and_held_out() {
    let rehearsal = of("pvc://data/table.csv")
        .write("table.csv", &separable(50))
        .write("watched.csv", &separable(20))
        .write("held-out.csv", &separable(31))
        .with("dataset.validationUri", json!("pvc://data/watched.csv"))
        .with("dataset.testUri", json!("pvc://data/held-out.csv"));
    rehearsal.train();
    let manifest = manifest(&rehearsal);
    let of_part = |part: &str| {
        let classes = manifest["facts"]["classes"].as_array().unwrap();
        classes
            .iter()
            .map(|class| class[part].as_u64().unwrap())
            .sum::<u64>()
    };
    assert_eq!(
        (of_part("train"), of_part("validation"), of_part("test")),
        (50, 20, 31)
    );
    let cells: u64 = manifest["facts"]["confusion"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|row| row.as_array().unwrap())
        .map(|count| count.as_u64().unwrap())
        .sum();
    assert_eq!(cells, 31);
}

#[test]
fn bad_rows_are_skipped_up_to_a_bound_and_reported() {
    let mut text = separable(60);
    text.push_str("1,2\nx,1,no\n1,,yes\n1,2,\n1,inf,no\n");
    let of = |most: u32| {
        of("pvc://data/table.csv")
            .write("table.csv", &text)
            .with("dataset.malformedRows", json!({"skipUpTo": most}))
    };
    let clean = of(1).write("table.csv", &separable(60));
    let expected = clean.train().0;
    let rehearsal = of(5);
    let Report::Trained {
        metrics, left_out, ..
    } = rehearsal.run().unwrap()
    else {
        panic!("not trained")
    };
    assert_eq!(metrics, expected, "as if they were not there");
    assert_eq!((left_out.malformed, left_out.missing), (5, 0));
    assert_eq!(
        left_out.first,
        "line 62: the row has 2 cells, but the header has 3 columns"
    );
    assert_eq!(manifest(&rehearsal)["facts"]["leftOut"]["malformed"], 5);
    let failure = of(4).refuse();
    assert_eq!(failure.field.as_deref(), Some("dataset.malformedRows.skipUpTo"));
    assert!(
        failure
            .message
            .contains("more than 4 rows cannot be read: first line 62: the row has 2 cells")
            && failure
                .message
                .contains("then line 66, column \"b\": \"inf\" is not a finite number"),
        "{failure:?}"
    );
}

#[test]
fn bad_rows_are_not_those_that_a_quotation_mark_swallows() {
    let of = |rows: &str| {
        let text = format!("{}{rows}", separable(60));
        of("pvc://data/table.csv")
            .write("table.csv", &text)
            .with("dataset.malformedRows", json!({"skipUpTo": 3}))
    };
    // To the end of the file: how many are lost is not asked.
    let failure = of("\"1,2,no\n1,2,yes\n").refuse();
    assert_eq!(failure.class, sconce_contract::FailureClass::BadInput);
    assert_eq!(failure.field.as_deref(), Some("dataset.uri"));
    assert!(
        failure
            .message
            .contains("line 62: nothing up to the end of the file closes the quotation mark"),
        "{failure:?}"
    );
    // To a later one: each line counts.
    let three = of("1,\"2,no\n1,2,yes\n1,2\",yes,\n");
    let Report::Trained { left_out, .. } = three.run().unwrap() else {
        panic!("not trained")
    };
    assert_eq!(left_out.malformed, 3);
    let four = of("1,\"2,no\n1,2,yes\n1,2,no\n1,2\",yes,\n").refuse();
    assert_eq!(four.field.as_deref(), Some("dataset.malformedRows.skipUpTo"));
    assert!(four.message.contains("it has 4 lines"), "{four:?}");
}

#[test]
fn bad_rows_of_mixed_columns_name_row_column_and_remedy() {
    let of = |rows: &str| of("pvc://data/table.csv").write("table.csv", &format!("a,b,y\n{rows}"));
    for (rows, field, says) in [
        (
            "1,x,no\n2,3,yes\n",
            "dataset.features",
            "line 3, column \"b\": \"3\" is a number, but the column holds words since line 2 (\"x\"); mend the cell",
        ),
        (
            "1,2,no\n2,x,yes\n",
            "dataset.features",
            "line 3, column \"b\": \"x\" is not a number; the column holds numbers since line 2; mend the cell, leave \
             the column out of dataset.features, or name it in dataset.categorical.columns",
        ),
        (
            "1,,no\n2,,yes\n",
            "dataset.features",
            "line 2, column \"b\": the cell is empty; fill it in, set dataset.missing",
        ),
        (
            "1,NaN,no\n",
            "dataset.features",
            "line 2, column \"b\": \"NaN\" is not a finite number",
        ),
    ] {
        let failure = of(rows).refuse();
        assert!(failure.message.contains(says), "{says}\n{failure:?}");
        assert_eq!(failure.field.as_deref(), Some(field));
    }
    let empty = of("1,,no\n2,,yes\n")
        .with("dataset.missing", json!("Mean"))
        .refuse();
    assert!(
        empty.message.contains("the column \"b\" has no value in any row"),
        "{empty:?}"
    );
    let rows: String = (0..12).map(|row| format!("{row},w{row},no\n")).collect();
    let many = of(&rows)
        .with("dataset.categorical", json!({"maxWords": 10}))
        .refuse();
    assert!(
        many.message.contains("\"b\" holds more than 10 different words"),
        "{many:?}"
    );
    let unknown = of("1,x,no\n")
        .with("dataset.categorical", json!({"columns": ["c"]}))
        .refuse();
    assert_eq!(unknown.field.as_deref(), Some("dataset.categorical.columns"));
    let gone = of("1,,no\n").with("dataset.missing", json!("Drop")).refuse();
    assert!(
        gone.message
            .contains("no row is left: 0 cannot be read and 1 lack a value"),
        "{gone:?}"
    );
}

#[test]
fn rows_that_lack_a_value_are_dropped_where_the_spec_says_so() {
    let text = format!("{},1,no\n1,2,\n", separable(60));
    let rehearsal = of("pvc://data/table.csv")
        .write("table.csv", &text)
        .with("dataset.missing", json!("Drop"));
    let Report::Trained { left_out, .. } = rehearsal.run().unwrap() else {
        panic!("not trained")
    };
    assert_eq!((left_out.malformed, left_out.missing), (0, 2));
    assert_eq!(manifest(&rehearsal)["rows"], 60);
}

#[test]
fn metrics_of_every_part_are_in_the_manifest() {
    let rehearsal = of("pvc://data/table.csv").write("table.csv", &separable(80));
    let (metrics, _) = rehearsal.train();
    assert!(
        metrics.iter().all(|metric| metric.split == MetricSplit::Test),
        "{metrics:?}"
    );
    let manifest = manifest(&rehearsal);
    for part in ["Test", "Validation", "Train"] {
        let of_part = manifest["metrics"].as_array().unwrap().iter();
        let names: Vec<&Value> = of_part
            .filter(|metric| metric["split"] == part)
            .map(|metric| &metric["name"])
            .collect();
        assert!(
            names.contains(&&json!("f1")) && names.contains(&&json!("loss")),
            "{part}: {names:?}"
        );
    }
    let column = &manifest["facts"]["columns"][0];
    assert_eq!(column["name"], "a");
    assert!(
        column["numbers"]["min"].as_f64() < column["numbers"]["mean"].as_f64(),
        "{column}"
    );
}
