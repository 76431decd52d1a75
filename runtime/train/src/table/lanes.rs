//! Rows of CSV without quotation marks, whose cells are looked at once each: what a column holds is known by then.
//!
//! Only what is surely right is taken so; every other row is read as the first ones were.

use std::ops::Range;

use super::decimal;
use super::stretch::Stretch;
use super::{Cell, Place};

/// How the cells of the file's columns are read, in the order of the file.
pub(super) struct Lanes<'b> {
    text: &'b str,
    lanes: Vec<Lane>,
    /// The values of a cell.
    values: Vec<f32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lane {
    /// Nobody asks for it.
    Skip,
    /// A number, by its place in a row.
    Number(usize),
    /// Any other feature, by its place among them and that of its values in a row.
    Feature(usize, usize),
    Target,
}

impl<'b> Lanes<'b> {
    /// Of a block of a file with so many columns; nothing where rows cannot be read so.
    pub(super) fn of(stretch: &Stretch<'_>, block: &'b [u8], count: usize) -> Option<Self> {
        let text = std::str::from_utf8(block).ok()?;
        let columns = &stretch.rules.columns;
        let mut lanes = vec![Lane::Skip; count];
        // What is not in the file is in its path.
        *lanes.get_mut(columns.target)? = Lane::Target;
        let mut place = 0;
        for (index, (_, position)) in columns.features.iter().enumerate() {
            let column = &stretch.features[index];
            let lane = lanes.get_mut(*position).filter(|lane| **lane == Lane::Skip)?;
            *lane = match column.is_numbers() {
                true => Lane::Number(place),
                false => Lane::Feature(index, place),
            };
            place += column.width();
        }
        Some(Lanes {
            text,
            lanes,
            values: Vec::new(),
        })
    }

    /// Takes a row that is these bytes of the block; false where it is to be read otherwise.
    #[must_use]
    pub(super) fn row(&mut self, stretch: &mut Stretch<'_>, line: Range<usize>, number: u64) -> bool {
        let place = stretch.rules.place(number);
        let first = stretch.values.len();
        stretch.values.resize(first + stretch.width, 0.0);
        let Some(target) = self.cells(stretch, first, line, &place) else {
            stretch.values.truncate(first);
            return false;
        };
        stretch.target.push(target, &place);
        true
    }

    /// Puts the values of a row from the one at `first` on, and says what its target is.
    fn cells(
        &mut self,
        stretch: &mut Stretch<'_>,
        first: usize,
        line: Range<usize>,
        place: &Place,
    ) -> Option<&'b str> {
        let (text, bytes, last) = (self.text, self.text.as_bytes(), self.lanes.len() - 1);
        let (mut at, mut target) = (line.start, None);
        let end_of = |at: usize| memchr::memchr(b',', &bytes[at..line.end]).map_or(line.end, |end| at + end);
        for (position, lane) in self.lanes.iter().enumerate() {
            let end = match *lane {
                Lane::Skip => end_of(at),
                Lane::Number(to) => {
                    let (value, end) = match decimal::leading(&bytes[at..]) {
                        Some((value, length)) if bytes.get(at + length) == Some(&b',') => {
                            (value, at + length)
                        }
                        Some((value, length)) if at + length == line.end => (value, line.end),
                        _ => {
                            let end = end_of(at);
                            (number(stretch, text.get(at..end)?)?, end)
                        }
                    };
                    stretch.values[first + to] = value;
                    end
                }
                Lane::Feature(index, to) => {
                    let end = end_of(at);
                    self.values.clear();
                    feature(stretch, index, text.get(at..end)?, place, &mut self.values)?;
                    stretch.values[first + to..][..self.values.len()].copy_from_slice(&self.values);
                    end
                }
                Lane::Target => {
                    let end = end_of(at);
                    target = Some(text.get(at..end)?.trim()).filter(|target| !target.is_empty());
                    end
                }
            };
            // As many cells as the header has, and no more.
            if (end == line.end) != (position == last) {
                return None;
            }
            at = end + 1;
        }
        target
    }
}

/// A number that is written otherwise than most, or missing.
fn number(stretch: &Stretch<'_>, cell: &str) -> Option<f32> {
    match cell.trim() {
        "" => stretch.rules.dataset.missing.fills().then_some(f32::NAN),
        cell => super::number(cell).ok(),
    }
}

/// Appends the values of a word or a text.
fn feature(
    stretch: &mut Stretch<'_>,
    index: usize,
    cell: &str,
    place: &Place,
    values: &mut Vec<f32>,
) -> Option<()> {
    let cell = Cell::of_text(cell);
    let column = &mut stretch.features[index];
    if let Cell::Text(word) = cell
        && let Some(known) = column.known(word)
    {
        values.push(known);
        return Some(());
    }
    let is_new = match cell {
        Cell::Missing => !stretch.rules.dataset.missing.fills(),
        _ => column.is_open(),
    };
    if is_new {
        return None;
    }
    let value = column.check(cell, place, stretch.rules.most_words()).ok()?;
    column.take(value, place, values);
    Some(())
}
