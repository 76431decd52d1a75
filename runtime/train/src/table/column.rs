//! A feature while it is read: its first value says whether it holds numbers or words; that it holds texts says the spec.

use std::collections::HashMap;

use sconce_model::text;

use super::{Cell, NOWHERE, NotANumber, Place, TableError, Texts};

/// A feature.
#[derive(Clone, Debug)]
pub(super) struct Column {
    pub(super) name: String,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    /// No value was seen yet.
    Open,
    Numbers {
        /// The first of them.
        since: Place,
    },
    Words {
        /// In the order in which they came.
        list: Vec<String>,
        index: HashMap<String, u32>,
        /// The first of them, and where; nothing where the spec says that they are words.
        since: Option<(String, Place)>,
    },
    Texts {
        length: usize,
        /// Their words, in the order in which they came.
        list: Vec<String>,
        index: HashMap<String, u32>,
    },
}

/// Most different words of texts: more cannot be told apart by F32.
const MOST_WORDS: usize = 1 << 24;

/// A value that is known to fit its column.
#[derive(Debug, PartialEq)]
pub(super) enum Value {
    Missing,
    Number(f32),
    Word(String),
    /// In lower case.
    Text(String),
}

impl Column {
    /// Of texts, of which so many words count.
    pub(super) fn of_texts(name: String, length: usize) -> Self {
        let kind = Kind::Texts {
            length,
            list: Vec::new(),
            index: HashMap::new(),
        };
        Column { name, kind }
    }

    pub(super) fn new(name: String, words: bool) -> Self {
        let kind = match words {
            true => Kind::words(None),
            false => Kind::Open,
        };
        Column { name, kind }
    }

    /// The same, with no word yet, for rows that are read beside others.
    pub(super) fn fork(&self) -> Self {
        let (list, index) = (Vec::new(), HashMap::new());
        let kind = match &self.kind {
            Kind::Open => Kind::Open,
            Kind::Numbers { since } => Kind::Numbers { since: since.clone() },
            Kind::Words { since, .. } => Kind::words(since.clone()),
            Kind::Texts { length, .. } => Kind::Texts {
                length: *length,
                list,
                index,
            },
        };
        Column {
            name: self.name.clone(),
            kind,
        }
    }

    /// Whether it is not known what it holds.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.kind, Kind::Open)
    }

    /// Whether it holds numbers.
    pub(super) fn is_numbers(&self) -> bool {
        matches!(self.kind, Kind::Numbers { .. })
    }

    /// The value of a word that came before.
    pub(super) fn known(&self, word: &str) -> Option<f32> {
        match &self.kind {
            Kind::Words { index, .. } => index.get(word).map(|place| *place as f32),
            _ => None,
        }
    }

    /// Whether its values are places of words.
    pub(super) fn has_words(&self) -> bool {
        matches!(self.kind, Kind::Words { .. } | Kind::Texts { .. })
    }

    /// Puts its own places of words where those of a fork are: the values of a row. `places` are those that are known
    /// already, by the fork's.
    pub(super) fn adopt(
        &mut self,
        fork: &Column,
        values: &mut [f32],
        places: &mut Vec<Option<u32>>,
        most_words: usize,
    ) -> Result<(), TableError> {
        let (list, index, theirs, most) = match (&mut self.kind, &fork.kind) {
            (Kind::Words { list, index, .. }, Kind::Words { list: theirs, .. }) => {
                (list, index, theirs, Some(most_words))
            }
            (Kind::Texts { list, index, .. }, Kind::Texts { list: theirs, .. }) => {
                let is_missing = values.first().is_some_and(|value| value.is_nan());
                if list.len() >= MOST_WORDS && !is_missing {
                    return Err(too_many_of_texts(&self.name));
                }
                (list, index, theirs, None)
            }
            _ => return Ok(()),
        };
        places.resize(theirs.len(), None);
        // Neither NaN, where nothing is, nor `NOWHERE`.
        for value in values.iter_mut().filter(|value| **value >= 0.0) {
            let place = *value as usize;
            if places[place].is_none() {
                let word = &theirs[place];
                if let Some(most) = most.filter(|most| index.len() >= *most && !index.contains_key(word)) {
                    return Err(TableError::TooManyWords {
                        column: self.name.clone(),
                        limit: most,
                    });
                }
                places[place] = Some(interned(word, list, index));
            }
            if let Some(place) = places[place] {
                *value = place as f32;
            }
        }
        Ok(())
    }

    /// The value of a cell, where it fits what was seen so far.
    pub(super) fn check(
        &self,
        cell: Cell<'_>,
        place: &Place,
        most_words: usize,
    ) -> Result<Value, TableError> {
        let fault = |problem, remedy| TableError::Feature {
            place: place.clone(),
            column: self.name.clone(),
            problem,
            remedy,
        };
        if cell == Cell::Missing {
            return Ok(Value::Missing);
        }
        match (&self.kind, cell.number()) {
            (Kind::Texts { list, .. }, _) => return self.text(list, cell, place),
            (Kind::Words { since: None, .. }, _) => {}
            // Neither a number nor a word.
            (_, Err(problem @ NotANumber::NotFinite(_))) => return Err(fault(problem, NOT_FINITE.into())),
            (
                Kind::Words {
                    since: Some((word, first)),
                    ..
                },
                Ok(_),
            ) => {
                let problem = NotANumber::Number(format!(
                    "{:?} is a number, but the column holds words since {first} ({word:?})",
                    cell.shown()
                ));
                return Err(fault(problem, MIXED.into()));
            }
            (Kind::Numbers { since }, Err(problem)) => {
                let remedy = format!("the column holds numbers since {since}; {MIXED}");
                return Err(fault(problem, remedy));
            }
            (Kind::Open | Kind::Numbers { .. }, Ok(number)) => {
                return Ok(number.map_or(Value::Missing, Value::Number));
            }
            (Kind::Open | Kind::Words { .. }, Err(_)) => {}
        }
        let word = cell.word().unwrap_or_default();
        if let Kind::Words { index, .. } = &self.kind
            && !index.contains_key(word.as_ref())
            && index.len() >= most_words
        {
            return Err(TableError::TooManyWords {
                column: self.name.clone(),
                limit: most_words,
            });
        }
        Ok(Value::Word(word.into_owned()))
    }

    fn text(&self, list: &[String], cell: Cell<'_>, place: &Place) -> Result<Value, TableError> {
        let Cell::Text(text) = cell else {
            return Err(TableError::Text {
                place: place.clone(),
                column: self.name.clone(),
                problem: NotANumber::NotAText(cell.shown()),
                remedy: NOT_A_TEXT,
            });
        };
        if list.len() >= MOST_WORDS {
            return Err(too_many_of_texts(&self.name));
        }
        Ok(Value::Text(text::lowered(text)))
    }

    /// Raw values of the column in a row.
    pub(super) fn width(&self) -> usize {
        match self.kind {
            Kind::Texts { length, .. } => length,
            _ => 1,
        }
    }

    /// Takes a value that was checked, and appends what the table has of it.
    pub(super) fn take(&mut self, value: Value, place: &Place, values: &mut Vec<f32>) {
        match (&mut self.kind, value) {
            (Kind::Texts { length, list, index }, Value::Text(lowered)) => {
                let words = text::words(&lowered).take(*length);
                let places: Vec<f32> = words.map(|word| interned(word, list, index) as f32).collect();
                let start = values.len();
                values.resize(start + *length, NOWHERE);
                text::pad(NOWHERE, &places, &mut values[start..]);
            }
            (Kind::Texts { length, .. }, _) => values.resize(values.len() + *length, f32::NAN),
            (_, value) => values.push(self.one(value, place)),
        }
    }

    /// The number, the place of the word among those so far, or NaN.
    fn one(&mut self, value: Value, place: &Place) -> f32 {
        match value {
            Value::Missing | Value::Text(_) => f32::NAN,
            Value::Number(number) => {
                if matches!(self.kind, Kind::Open) {
                    self.kind = Kind::Numbers { since: place.clone() };
                }
                number
            }
            Value::Word(word) => {
                if matches!(self.kind, Kind::Open) {
                    self.kind = Kind::words(Some((super::shortened(&word), place.clone())));
                }
                let Kind::Words { list, index, .. } = &mut self.kind else {
                    return f32::NAN;
                };
                interned(&word, list, index) as f32
            }
        }
    }

    /// Whether no value was seen.
    pub(super) fn is_empty(&self) -> bool {
        match &self.kind {
            Kind::Open => true,
            Kind::Words { list, .. } => list.is_empty(),
            // That texts hold no word is told in words of its own.
            Kind::Numbers { .. } | Kind::Texts { .. } => false,
        }
    }

    /// The words of texts, in the order in which they came.
    pub(super) fn texts(&mut self) -> Option<Texts> {
        let Kind::Texts { length, list, .. } = &mut self.kind else {
            return None;
        };
        Some(Texts {
            length: *length,
            words: std::mem::take(list),
        })
    }

    /// The words in alphabetical order, and the new place of each by its old one; nothing for numbers.
    pub(super) fn words(self) -> Option<(Vec<String>, Vec<u32>)> {
        let Kind::Words { mut list, index, .. } = self.kind else {
            return None;
        };
        list.sort_unstable();
        let mut moved = vec![0; list.len()];
        for (new, word) in list.iter().enumerate() {
            if let Some(old) = index.get(word) {
                moved[*old as usize] = new as u32;
            }
        }
        Some((list, moved))
    }
}

const NOT_FINITE: &str = "mend the cell, or leave the column out of dataset.features";
const NOT_A_TEXT: &str = "write it as a text, or name another column in dataset.text.column";
const MIXED: &str = "mend the cell, leave the column out of dataset.features, or name it in \
                     dataset.categorical.columns to take every value as a word";

impl Kind {
    fn words(since: Option<(String, Place)>) -> Self {
        Kind::Words {
            list: Vec::new(),
            index: HashMap::new(),
            since,
        }
    }
}

fn too_many_of_texts(column: &str) -> TableError {
    TableError::TooManyTextWords {
        column: column.to_owned(),
        limit: MOST_WORDS,
    }
}

/// The place of a word among those so far, of which it is one from now on.
fn interned(word: &str, list: &mut Vec<String>, index: &mut HashMap<String, u32>) -> u32 {
    if let Some(known) = index.get(word) {
        return *known;
    }
    let next = list.len() as u32;
    list.push(word.to_owned());
    index.insert(word.to_owned(), next);
    next
}
