//! From a text to the integers of its words: one code for what is learned and what is served.
//!
//! ```text
//!   "It's a FINE film!" ─► it's · a · fine · film ─► cut after `length` words ─► 0 … 0 12 2 1 3
//!                          words                                                 padding, then a place per word
//! ```
//!
//! The padding is in front, so that a recurrent layer ends on the last word and not on a stretch of nothing.

use std::collections::HashMap;

use sconce_contract::TextWords;

/// The integer of no word, in front of a text that is shorter.
pub const PADDING: f32 = 0.0;
/// The integer of a word that the vocabulary does not hold.
pub const UNKNOWN: f32 = 1.0;
/// The integer of the most frequent word.
pub const FIRST: usize = 2;

/// Longest piece between two spaces that is put into lower case at a time, in bytes: a copy of it may be three times as long.
/// A word across the end of one that is longer counts as two.
const PIECE: usize = 1 << 20;

/// A text in lower case, as Unicode has it, with every apostrophe the plain one.
pub fn lowered(text: &str) -> String {
    let lowered = text.to_lowercase();
    match lowered.contains('\u{2019}') {
        true => lowered.replace('\u{2019}', "'"),
        false => lowered,
    }
}

/// The words of a text in lower case: what is left of it where it is cut at everything that is neither letter, digit nor
/// apostrophe, without apostrophes at either end.
pub fn words(lowered: &str) -> impl Iterator<Item = &str> {
    let between = |letter: char| !(letter.is_alphanumeric() || letter == '\'');
    let runs = lowered.split(between).map(|run| run.trim_matches('\''));
    runs.filter(|word| !word.is_empty())
}

/// Fills the integers of a text, given those of its first words.
pub fn pad(padding: f32, words: &[f32], row: &mut [f32]) {
    let words = &words[..words.len().min(row.len())];
    let (front, back) = row.split_at_mut(row.len() - words.len());
    front.fill(padding);
    back.copy_from_slice(words);
}

/// The integers of the words of a column, looked up by word.
#[derive(Clone, Debug)]
pub struct Lookup(HashMap<String, f32>);

impl Lookup {
    /// Of a column's words.
    pub fn new(text: &TextWords) -> Self {
        let numbered = text.words.iter().cloned().zip(FIRST..);
        Lookup(numbered.map(|(word, place)| (word, place as f32)).collect())
    }

    /// The integer of a word.
    pub fn place(&self, word: &str) -> f32 {
        self.0.get(word).copied().unwrap_or(UNKNOWN)
    }

    /// Fills the integers of a text, as many as the column's length.
    pub fn encode(&self, text: &str, row: &mut [f32]) {
        // Piece by piece, since what is behind the words that count need not be copied. No word goes on behind a space, and no
        // rule of lower case looks across one.
        let mut places = Vec::with_capacity(row.len());
        for piece in text.split_ascii_whitespace().flat_map(bounded) {
            let left = row.len() - places.len();
            if left == 0 {
                break;
            }
            places.extend(words(&lowered(piece)).take(left).map(|word| self.place(word)));
        }
        pad(PADDING, &places, row);
    }
}

/// A piece in parts of at most [`PIECE`] bytes.
fn bounded(mut piece: &str) -> impl Iterator<Item = &str> {
    std::iter::from_fn(move || {
        let mut end = piece.len().min(PIECE);
        while !piece.is_char_boundary(end) {
            end -= 1;
        }
        let (part, rest) = piece.split_at(end);
        piece = rest;
        (!part.is_empty()).then_some(part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_letters_and_digits_with_apostrophes_between_them() {
        for (text, expected) in [
            ("It's a FINE film!", &["it's", "a", "fine", "film"][..]),
            (
                "'quoted' don\u{2019}t rock'n'roll '' '",
                &["quoted", "don't", "rock'n'roll"],
            ),
            ("4.5 stars, A-1_b", &["4", "5", "stars", "a", "1", "b"]),
            (
                "ÄRGER \u{416}\u{418}\u{417}\u{41d}\u{42c} 映画",
                &["ärger", "жизнь", "映画"],
            ),
            ("\u{feff} \n\t… :-) 💥", &[]),
            ("", &[]),
        ] {
            let lowered = lowered(text);
            assert_eq!(words(&lowered).collect::<Vec<_>>(), expected, "{text:?}");
        }
    }

    #[test]
    fn a_text_becomes_as_many_integers_as_its_column_has() {
        let lookup = Lookup::new(&TextWords {
            length: 4,
            words: ["the", "film", "fine"].map(str::to_owned).to_vec(),
        });
        for (text, expected) in [
            ("The fine film", [0.0, 2.0, 4.0, 3.0]),
            ("no film", [0.0, 0.0, 1.0, 3.0]),
            ("the the film film fine", [2.0, 2.0, 3.0, 3.0]),
            ("?!", [0.0; 4]),
        ] {
            let mut row = [9.0; 4];
            lookup.encode(text, &mut row);
            assert_eq!(row, expected, "{text:?}");
        }
    }

    #[test]
    fn a_text_without_a_space_is_read_by_parts() {
        let lookup = Lookup::new(&TextWords {
            length: 2,
            words: ["ab".to_owned()].to_vec(),
        });
        let mut row = [9.0; 2];
        lookup.encode(&format!("ab{}\u{130}ab", "\u{2026}".repeat(PIECE)), &mut row);
        assert_eq!(row, [2.0, UNKNOWN]);
        let parts: Vec<usize> = bounded(&"\u{2026}".repeat(PIECE)).map(str::len).collect();
        assert_eq!(parts, [PIECE - 1, PIECE - 1, PIECE - 1, 3]);
    }

    #[test]
    fn piece_by_piece_the_words_are_those_of_the_whole() {
        let text = "  It's\u{2019}  a\tΣΑΣ ΣΑΣ.ΟΔΟΣ\nİstanbul a\u{a0}b \u{2003}don\u{2019}t ' 'x' ";
        let lowered = lowered(text);
        let whole: Vec<&str> = words(&lowered).collect();
        let lookup = Lookup::new(&TextWords {
            length: 16,
            words: whole.iter().map(|word| (*word).to_owned()).collect(),
        });
        for length in 0..=whole.len() {
            let mut row = vec![9.0; length];
            lookup.encode(text, &mut row);
            let expected: Vec<f32> = whole[..length].iter().map(|word| lookup.place(word)).collect();
            assert_eq!(row, expected);
            assert!(row.iter().all(|place| *place > UNKNOWN), "{row:?}");
        }
    }
}
