//! How a model reads the rows of a table: its columns by their names, its words by their text, wherever they stand there.

use std::collections::HashMap;

use sconce_contract::{Feature, TextWords};
use sconce_model::{encode, text};

use crate::table::{self, Table};

/// How a model reads a column of the table.
pub struct Reader {
    /// Where the raw values of the column begin in a row.
    start: usize,
    kind: Kind,
}

enum Kind {
    Number,
    /// The model's place of each of the table's words.
    Word(Vec<f32>),
    /// The model's integer of each of the table's words.
    Text {
        /// Raw values of the table.
        of_table: usize,
        /// Integers of the model.
        length: usize,
        places: Vec<f32>,
    },
}

impl Reader {
    /// Of each column of a model.
    ///
    /// # Errors
    /// What the table does not have.
    pub fn of(features: &[Feature], table: &Table) -> Result<Vec<Self>, String> {
        let mut start = 0;
        let mut columns = HashMap::new();
        for column in &table.features {
            columns.insert(column.name.as_str(), (start, column));
            start += column.width();
        }
        let reader = |feature: &Feature| {
            let Some((start, column)) = columns.get(feature.name.as_str()) else {
                return Err(format!(
                    "it reads the column {:?}, which is no feature here",
                    feature.name
                ));
            };
            Ok(Reader {
                start: *start,
                kind: kind(feature, column)?,
            })
        };
        features.iter().map(reader).collect()
    }

    /// Appends the raw values of the model for a row of those of the table.
    pub fn read(&self, row: &[f32], raw: &mut Vec<f32>) {
        let value = row[self.start];
        match &self.kind {
            Kind::Number => raw.push(value),
            Kind::Word(_) if value.is_nan() => raw.push(value),
            Kind::Word(places) => raw.push(places.get(value as usize).copied().unwrap_or(encode::UNKNOWN)),
            Kind::Text { length, .. } if value.is_nan() => raw.resize(raw.len() + length, value),
            Kind::Text {
                of_table,
                length,
                places,
            } => {
                let words = row[self.start..self.start + of_table].iter();
                let words = words.filter(|place| **place != table::NOWHERE);
                let words: Vec<f32> = words.map(|place| places[*place as usize]).collect();
                let start = raw.len();
                raw.resize(start + length, text::PADDING);
                text::pad(text::PADDING, &words, &mut raw[start..]);
            }
        }
    }
}

fn kind(feature: &Feature, column: &table::Feature) -> Result<Kind, String> {
    match (&feature.vocabulary, &feature.text, &column.words, &column.texts) {
        (None, None, None, None) => Ok(Kind::Number),
        (Some(known), None, Some(words), None) => {
            let place =
                |word: &String| encode::place(&known.words, word).map_or(encode::UNKNOWN, |at| at as f32);
            Ok(Kind::Word(words.iter().map(place).collect()))
        }
        (None, Some(known), None, Some(texts)) => of_texts(&feature.name, known, texts),
        _ => {
            let names = ["numbers", "words", "texts"];
            let mut kinds = [
                rank(feature.vocabulary.is_some(), feature.text.is_some()),
                rank(column.words.is_some(), column.texts.is_some()),
            ];
            kinds.sort_unstable();
            Err(format!(
                "the column {:?} holds {} for one of them and {} for the other",
                feature.name, names[kinds[0]], names[kinds[1]]
            ))
        }
    }
}

/// Which of numbers, words and texts a column holds.
fn rank(words: bool, texts: bool) -> usize {
    match (words, texts) {
        (_, true) => 2,
        (true, false) => 1,
        (false, false) => 0,
    }
}

fn of_texts(name: &str, known: &TextWords, texts: &table::Texts) -> Result<Kind, String> {
    let length = known.length as usize;
    if length > texts.length {
        return Err(format!(
            "it reads {length} words of the column {name:?}, but dataset.text.length is {}",
            texts.length
        ));
    }
    let lookup = text::Lookup::new(known);
    Ok(Kind::Text {
        of_table: texts.length,
        length,
        places: texts.words.iter().map(|word| lookup.place(word)).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feature(length: u32, words: &[&str]) -> Feature {
        Feature {
            text: Some(TextWords {
                length,
                words: words.iter().map(ToString::to_string).collect(),
            }),
            ..Feature::number("text", 0.0, 1.0)
        }
    }

    #[test]
    fn a_text_of_the_table_is_read_by_the_words_and_the_length_of_the_model() {
        let dataset =
            serde_json::json!({"uri": "x.csv", "target": "y", "missing": "Mean", "text": {"length": 3}});
        let dataset = serde_json::from_value(dataset).unwrap();
        let csv = "text,y\nThe fine film is,1\nfilm,0\n,1\n...,0\n";
        let table = table::read(csv.as_bytes(), &dataset).unwrap();
        let read = |feature: Feature| {
            let readers = Reader::of(&[feature], &table)?;
            let rows = table.values.chunks(table.width()).map(|row| {
                let mut raw = Vec::new();
                readers[0].read(row, &mut raw);
                raw.iter()
                    .map(|value| if value.is_nan() { 99.0 } else { *value })
                    .collect()
            });
            Ok::<Vec<Vec<f32>>, String>(rows.collect())
        };
        let expected = [[3.0, 1.0, 2.0], [0.0, 0.0, 2.0], [99.0; 3], [0.0; 3]];
        assert_eq!(read(feature(3, &["film", "the"])).unwrap(), expected);
        let expected = [[1.0, 1.0], [0.0, 2.0], [99.0; 2], [0.0; 2]];
        assert_eq!(read(feature(2, &["film"])).unwrap(), expected);
        let longer = read(feature(4, &["film"])).unwrap_err();
        assert!(
            longer.contains("it reads 4 words of the column \"text\""),
            "{longer}"
        );
        let number = read(Feature::number("text", 0.0, 1.0)).unwrap_err();
        assert!(
            number.contains("holds numbers for one of them and texts for the other"),
            "{number}"
        );
    }
}
