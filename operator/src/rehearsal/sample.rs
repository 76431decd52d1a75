//! A few rows of the table, to ask the server for.

use sconce_contract::Dataset;
use serde_json::{Map, Value};

/// Rows keyed by column name, without the target, and the target of each. Spread over the table, since a table
/// is often sorted by its target; none where it cannot be read here.
pub fn rows(table: &[u8], dataset: &Dataset, count: usize) -> Vec<(Value, String)> {
    let mut reader = csv::Reader::from_reader(table);
    let Ok(header) = reader.headers().cloned() else {
        return Vec::new();
    };
    let records: Vec<_> = reader.records().filter_map(Result::ok).collect();
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
                } else if let Ok(number) = cell.trim().parse::<f64>()
                    && (dataset.features.is_empty()
                        || dataset.features.iter().any(|feature| feature == column))
                {
                    row.insert(column.to_owned(), number.into());
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
}
