//! A few rows of the table, to ask the server for.

use sconce_contract::{Dataset, DatasetFormat};
use serde_json::{Map, Value};

/// Rows keyed by column name, without the target, and the target of each. Spread over the table, since a table
/// is often sorted by its target; none where it cannot be read here, or is no CSV. Rows that the training may have left
/// out are left out.
pub fn rows(table: &[u8], dataset: &Dataset, count: usize) -> Vec<(Value, String)> {
    let is_csv = dataset.format.map_or_else(
        || dataset.uri.to_ascii_lowercase().ends_with(".csv"),
        |format| format == DatasetFormat::Csv,
    );
    if !is_csv {
        return Vec::new();
    }
    let mut reader = csv::Reader::from_reader(table);
    let Ok(header) = reader.headers().cloned() else {
        return Vec::new();
    };
    let is_used = |column: &str| match &dataset.text {
        Some(text) => text.column == column,
        None => dataset.features.is_empty() || dataset.features.iter().any(|name| name == column),
    };
    let is_whole = |record: &csv::StringRecord| {
        let mut cells = header.iter().zip(record);
        dataset.missing.fills() || cells.all(|(column, cell)| !cell.trim().is_empty() || !is_used(column))
    };
    let records: Vec<_> = reader.records().filter_map(Result::ok).filter(is_whole).collect();
    let step = (records.len() / count.max(1)).max(1);
    records
        .iter()
        .step_by(step)
        .take(count)
        .map(|record| {
            let mut row = Map::new();
            let mut label = String::new();
            for (column, cell) in header.iter().zip(record) {
                if column == dataset.target {
                    cell.clone_into(&mut label);
                } else if is_used(column) {
                    let words = dataset.categorical.as_ref();
                    let words = words.is_some_and(|words| words.columns.iter().any(|name| name == column));
                    let words = words || dataset.text.is_some();
                    let value = match (cell.trim(), cell.trim().parse::<f64>()) {
                        ("", _) => Value::Null,
                        (_, Ok(number)) if !words => number.into(),
                        (word, _) => word.into(),
                    };
                    row.insert(column.to_owned(), value);
                }
            }
            (Value::Object(row), label)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_spread_and_without_the_target() {
        let table = b"a,b,y\n1,2,no\n3,4,no\n5,6,yes\n7,8,yes\n";
        let dataset: Dataset = serde_json::from_value(
            serde_json::json!({"uri": "file:///x.csv", "target": "y", "features": ["a"]}),
        )
        .unwrap();
        let rows = rows(table, &dataset, 2);
        assert_eq!(rows[0], (serde_json::json!({"a": 1.0}), "no".to_owned()));
        assert_eq!(rows[1], (serde_json::json!({"a": 5.0}), "yes".to_owned()));
    }

    #[test]
    fn words_stay_words_and_rows_that_were_left_out_are_not_asked_for() {
        let table = b"a,zip,y\n1,01234,no\n,1,no\nred,2,yes\n";
        let of = |settings: Value| {
            let mut dataset = serde_json::json!({"uri": "file:///x.csv", "target": "y"});
            dataset
                .as_object_mut()
                .unwrap()
                .extend(settings.as_object().unwrap().clone());
            let dataset: Dataset = serde_json::from_value(dataset).unwrap();
            rows(table, &dataset, 3)
                .into_iter()
                .map(|(row, _)| row)
                .collect::<Vec<_>>()
        };
        let words = of(serde_json::json!({"categorical": {"columns": ["zip"]}}));
        assert_eq!(words[0], serde_json::json!({"a": 1.0, "zip": "01234"}));
        assert_eq!(words[1], serde_json::json!({"a": "red", "zip": "2"}));
        let texts = of(serde_json::json!({"text": {"column": "zip"}}));
        assert_eq!(texts[1], serde_json::json!({"zip": "1"}));
        let filled = of(serde_json::json!({"missing": "Mean"}));
        assert_eq!(filled[1], serde_json::json!({"a": null, "zip": 1.0}));
        assert!(of(serde_json::json!({"format": "JSONL"})).is_empty());
    }
}
