//! JSON to numbers, without a tree in between.
//!
//! A value of `serde_json` takes 32 bytes where the text takes two, so a large body would need sixteen times
//! its size. These parsers put each number where it belongs as it is read, and stop at the first mistake with
//! a sentence that names the row and the column.

pub mod field;
pub mod list;
pub mod nested;
pub mod number;
pub mod parameters;
pub mod room;
pub mod rows;
pub mod table;
pub mod text;
pub mod value;
pub mod words;

use http::StatusCode;
use serde::de::DeserializeSeed;
use serde_json::error::Category;

use crate::refusal::Refusal;

/// Longest name of the client's that a message repeats.
const SHOWN: usize = 64;
/// Longest sentence: a list of names is the longest of ours, and what serde says should not be longer.
const SENTENCE: usize = 4096;

/// Parses a body by a seed that takes its values' place from the room.
pub fn parse<'de, S: DeserializeSeed<'de>>(
    body: &'de [u8],
    room: &room::Room,
    seed: S,
) -> Result<S::Value, Refusal> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let parsed = seed
        .deserialize(&mut json)
        .and_then(|value| json.end().map(|()| value));
    parsed.map_err(|error| {
        if room.exceeded() {
            return table::too_many();
        }
        let mut sentence = match error.classify() {
            Category::Data => error.to_string(),
            _ => format!("the body is not valid JSON: {error}"),
        };
        if let Some((end, _)) = sentence.char_indices().nth(SENTENCE) {
            sentence.truncate(end);
            sentence.push('…');
        }
        Refusal::new(StatusCode::BAD_REQUEST, sentence)
    })
}

/// A name of the client's in quotes, cut where it is long.
pub fn quoted(name: &str) -> String {
    match name.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{:?}…", &name[..end]),
        None => format!("{name:?}"),
    }
}

/// Names to choose from, cut where there are many.
pub fn listed<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    const LISTED: usize = 32;
    let count = names.len();
    let mut text = names.take(LISTED).map(quoted).collect::<Vec<_>>().join(", ");
    if count > LISTED {
        text.push_str(&format!(" and {} more", count - LISTED));
    }
    text
}
