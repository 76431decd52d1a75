//! Rows of raw values in the order of the model's features.

use std::collections::HashMap;
use std::ops::Range;

use http::StatusCode;
use sconce_contract::Feature;
use sconce_model::text::Lookup;

use super::words::Words;
use super::{listed, quoted, value};
use crate::refusal::Refusal;

/// Most values in one request: 64 MiB of F32, which a body of the largest size reaches with 4 bytes per value.
pub const MAX_VALUES: usize = 16 << 20;

/// Name of the input that takes whole rows.
pub const INPUT: &str = "input";

/// Raw values `[rows, width]`, row-major: one for each column, of a text as many as it has integers.
#[derive(Debug, PartialEq)]
pub struct Table {
    /// The values.
    pub values: Vec<f32>,
    /// Number of rows.
    pub rows: usize,
}

/// The model's columns, by name.
#[derive(Debug)]
pub struct Columns {
    features: Vec<Feature>,
    index: HashMap<String, usize>,
    /// The words of each column of texts.
    lookups: Vec<Option<Lookup>>,
    /// Where the raw values of each column end in a row.
    ends: Vec<usize>,
}

/// A tensor of a request: its name, its shape and its values, row-major.
#[derive(Debug)]
pub struct Named {
    /// Name of the input.
    pub name: String,
    /// Length of each dimension.
    pub shape: Vec<usize>,
    /// The values; of words zeros.
    pub values: Vec<f32>,
    /// The words, where they are no numbers.
    pub words: Option<Words>,
}

impl Columns {
    /// Columns in the order of the model's inputs.
    pub fn new(mut features: Vec<Feature>) -> Self {
        let mut lookups = Vec::with_capacity(features.len());
        let mut ends = Vec::with_capacity(features.len());
        let mut width = 0;
        for feature in &mut features {
            width += feature.raw_width();
            ends.push(width);
            lookups.push(feature.text.as_ref().map(Lookup::new));
            // They may be a million, and are looked up elsewhere now.
            if let Some(text) = &mut feature.text {
                text.words = Vec::new();
            }
        }
        let index = features
            .iter()
            .enumerate()
            .map(|(place, feature)| (feature.name.clone(), place))
            .collect();
        Columns {
            features,
            index,
            lookups,
            ends,
        }
    }

    /// Columns of numbers.
    #[cfg(test)]
    pub fn of_numbers(names: Vec<String>) -> Self {
        let number = |name| Feature::number(name, 0.0, 1.0);
        Columns::new(names.into_iter().map(number).collect())
    }

    /// A column by its place, which is below [`Columns::len`].
    pub fn feature(&self, place: usize) -> &Feature {
        &self.features[place]
    }

    /// The words of a column of texts.
    pub fn lookup(&self, place: usize) -> Option<&Lookup> {
        self.lookups[place].as_ref()
    }

    /// The words of the one column that there is, where it is of texts.
    pub fn only_text(&self) -> Option<&Lookup> {
        match self.lookups.as_slice() {
            [only] => only.as_ref(),
            _ => None,
        }
    }

    /// Which of the raw values of a row are a column's.
    pub fn slot(&self, place: usize) -> Range<usize> {
        let start = place.checked_sub(1).map_or(0, |before| self.ends[before]);
        start..self.ends[place]
    }

    /// Raw values of a row.
    pub fn width(&self) -> usize {
        self.ends.last().copied().unwrap_or_default()
    }

    /// Whether one of them holds words or texts.
    pub fn have_words(&self) -> bool {
        self.features.iter().any(Feature::is_told_in_text)
    }

    /// Number of columns.
    pub fn len(&self) -> usize {
        self.features.len()
    }

    /// Whether there is none; a model has at least one.
    pub fn is_empty(&self) -> bool {
        self.features.is_empty()
    }

    /// Name of a column.
    pub fn name(&self, index: usize) -> &str {
        self.features.get(index).map_or("?", |feature| &feature.name)
    }

    /// Place of a column.
    pub fn index(&self, name: &str) -> Option<usize> {
        self.index.get(name).copied()
    }

    /// The names, for messages.
    pub fn list(&self) -> String {
        listed(self.features.iter().map(|feature| feature.name.as_str()))
    }

    /// One table from either the one tensor `input` `[rows, features]` or one tensor `[rows]` or `[rows, 1]`
    /// for each column.
    pub fn assemble(&self, mut tensors: Vec<Named>) -> Result<Table, Refusal> {
        if tensors.len() == 1 && tensors[0].name == INPUT && self.index(INPUT).is_none_or(|_| self.len() > 1)
        {
            return self.whole(tensors.remove(0));
        }
        let mut columns: Vec<Option<Named>> = self.features.iter().map(|_| None).collect();
        for tensor in tensors {
            let Some(place) = self.index(&tensor.name) else {
                return Err(refuse(format!(
                    "there is no input {}: send either {INPUT:?} with whole rows, or each of the columns {}",
                    quoted(&tensor.name),
                    self.list()
                )));
            };
            if columns[place].is_some() {
                return Err(refuse(format!(
                    "the input {} is given twice",
                    quoted(&tensor.name)
                )));
            }
            columns[place] = Some(tensor);
        }
        self.interleave(columns)
    }

    /// Fills the raw values of a column with the value at a place of a tensor.
    fn fill(
        &self,
        column: usize,
        place: usize,
        number: f32,
        words: Option<&Words>,
        values: &mut [f32],
    ) -> Result<(), Refusal> {
        let feature = self.feature(column);
        let shown = || format!("value {place} of the column {}", quoted(&feature.name));
        if let Some(lookup) = self.lookup(column) {
            let Some(words) = words else {
                return Err(refuse(format!("{} is a number, not a text", shown())));
            };
            lookup.encode(words.get(place).unwrap_or_default(), values);
            return Ok(());
        }
        let text;
        let word = match words {
            Some(words) => words.get(place).unwrap_or_default(),
            None if feature.vocabulary.is_none() => {
                values.fill(number);
                return Ok(());
            }
            // From 2^24 on, F32 does not tell every integer from the next one: another word would be looked up.
            None if number.abs() >= 16_777_216.0 => {
                return Err(refuse(format!(
                    "{} is a number too large to be told exactly, and the column holds words: send it as a text",
                    shown()
                )));
            }
            None => {
                text = number.to_string();
                text.as_str()
            }
        };
        values.fill(value::word(feature, &shown(), word).map_err(refuse)?);
        Ok(())
    }

    fn whole(&self, tensor: Named) -> Result<Table, Refusal> {
        match tensor.shape[..] {
            [rows, columns] if columns == self.len() => {
                if !self.have_words() && tensor.words.is_none() {
                    return filled(Table {
                        values: tensor.values,
                        rows,
                    });
                }
                let mut table = self.room_for(rows)?;
                for (place, number) in tensor.values.iter().enumerate() {
                    let (row, column) = (place / columns, place % columns);
                    let values = &mut table.values[row * self.width()..][self.slot(column)];
                    self.fill(column, place, *number, tensor.words.as_ref(), values)?;
                }
                filled(table)
            }
            _ => Err(refuse(format!(
                "the input {INPUT:?} has shape {:?}, but the model takes [-1, {}]: {}",
                tensor.shape,
                self.len(),
                self.list()
            ))),
        }
    }

    /// Rows that are to be filled.
    fn room_for(&self, rows: usize) -> Result<Table, Refusal> {
        if rows.saturating_mul(self.width()) > MAX_VALUES {
            return Err(too_many());
        }
        Ok(Table {
            values: vec![0.0; rows * self.width()],
            rows,
        })
    }

    fn interleave(&self, columns: Vec<Option<Named>>) -> Result<Table, Refusal> {
        let mut table: Option<Table> = None;
        for (place, column) in columns.into_iter().enumerate() {
            let Some(column) = column else {
                return Err(refuse(format!(
                    "the input for the column {} is missing: send either {INPUT:?} with whole rows, or each of \
                     the columns {}",
                    quoted(self.name(place)),
                    self.list()
                )));
            };
            let ([rows] | [rows, 1]) = column.shape[..] else {
                return Err(refuse(format!(
                    "the input {} has shape {:?}, but a column has [-1] or [-1, 1]",
                    quoted(&column.name),
                    column.shape
                )));
            };
            let table = match &mut table {
                Some(table) => table,
                none => none.insert(self.room_for(rows)?),
            };
            if rows != table.rows {
                return Err(refuse(format!(
                    "the input {} has {rows} rows, but {} has {}",
                    quoted(&column.name),
                    quoted(self.name(0)),
                    table.rows
                )));
            }
            for (row, value) in column.values.iter().take(rows).enumerate() {
                let values = &mut table.values[row * self.width()..][self.slot(place)];
                self.fill(place, row, *value, column.words.as_ref(), values)?;
            }
        }
        filled(table.unwrap_or(Table {
            values: Vec::new(),
            rows: 0,
        }))
    }
}

/// The table, unless it has no row.
pub fn filled(table: Table) -> Result<Table, Refusal> {
    if table.rows == 0 {
        Err(refuse("there is no row to predict: send at least one".to_owned()))
    } else {
        Ok(table)
    }
}

/// That a request is too large.
pub fn too_many() -> Refusal {
    Refusal::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        format!("the request holds more than {MAX_VALUES} values: send fewer rows per request"),
    )
}

fn refuse(sentence: String) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, sentence)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str, shape: &[usize], values: &[f32]) -> Named {
        Named {
            name: name.into(),
            shape: shape.to_vec(),
            values: values.to_vec(),
            words: None,
        }
    }

    #[test]
    fn rows_and_columns_give_the_same_table() {
        let columns = Columns::of_numbers(vec!["a".into(), "b".into()]);
        let table = Table {
            values: vec![1.0, 2.0, 3.0, 4.0],
            rows: 2,
        };
        assert_eq!(
            columns
                .assemble(vec![named("input", &[2, 2], &[1.0, 2.0, 3.0, 4.0])])
                .unwrap(),
            table
        );
        let by_column = vec![named("b", &[2, 1], &[2.0, 4.0]), named("a", &[2], &[1.0, 3.0])];
        assert_eq!(columns.assemble(by_column).unwrap(), table);
    }

    #[test]
    fn a_column_may_be_called_input() {
        let one = Columns::of_numbers(vec!["input".into()]);
        assert_eq!(
            one.assemble(vec![named("input", &[2], &[1.0, 2.0])])
                .unwrap()
                .rows,
            2
        );
        assert_eq!(
            one.assemble(vec![named("input", &[2, 1], &[1.0, 2.0])])
                .unwrap()
                .rows,
            2
        );
        let two = Columns::of_numbers(vec!["input".into(), "b".into()]);
        assert_eq!(
            two.assemble(vec![named("input", &[1, 2], &[1.0, 2.0])])
                .unwrap()
                .rows,
            1
        );
        let both = vec![named("input", &[1], &[1.0]), named("b", &[1], &[2.0])];
        assert_eq!(two.assemble(both).unwrap().values, [1.0, 2.0]);
    }

    #[test]
    fn wrong_tensors_are_refused_with_the_alternatives() {
        let columns = Columns::of_numbers(vec!["a".into(), "b".into()]);
        for (tensors, says) in [
            (
                vec![named("c", &[1], &[1.0])],
                "there is no input \"c\": send either \"input\"",
            ),
            (vec![named("a", &[1], &[1.0])], "the column \"b\" is missing"),
            (
                vec![named("a", &[1], &[1.0]), named("a", &[1], &[1.0])],
                "\"a\" is given twice",
            ),
            (
                vec![named("a", &[1], &[1.0]), named("b", &[2], &[1.0, 2.0])],
                "\"b\" has 2 rows, but \"a\" has 1",
            ),
            (
                vec![named("a", &[1, 2], &[1.0, 2.0]), named("b", &[1], &[1.0])],
                "a column has [-1] or [-1, 1]",
            ),
            (
                vec![named("input", &[2], &[1.0, 2.0])],
                "has shape [2], but the model takes [-1, 2]",
            ),
            (
                vec![named("input", &[1, 3], &[1.0, 2.0, 3.0])],
                "has shape [1, 3], but the model takes [-1, 2]",
            ),
            (vec![named("input", &[0, 2], &[])], "there is no row"),
            (vec![], "the column \"a\" is missing"),
        ] {
            let refusal = columns.assemble(tensors).unwrap_err();
            assert!(refusal.sentence.contains(says), "{}", refusal.sentence);
        }
    }
}
