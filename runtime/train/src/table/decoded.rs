//! Rows that come as decoded columns, as of Parquet: several threads make rows of them.

use std::ops::Range;

use parquet::data_type::ByteArray;
use rayon::prelude::*;

use super::stretch::Stretch;
use super::{Builder, Cell, TableError, column};
use crate::TrainError;

/// Rows that a thread takes at once.
const PIECE: usize = 512;
/// Of these, those that are put together while they are close to the processor.
const AT_HAND: usize = 64;

/// The values of a column in some rows.
#[derive(Default)]
pub(super) struct Column {
    pub(super) values: Values,
    /// The place of each row's value among the values; nothing where all rows have one.
    pub(super) places: Option<Vec<Option<u32>>>,
}

pub(super) enum Values {
    Flags(Vec<bool>),
    Integers(Vec<i64>),
    Singles(Vec<f32>),
    Floats(Vec<f64>),
    Texts(Vec<ByteArray>),
}

impl Default for Values {
    fn default() -> Self {
        Values::Flags(Vec::new())
    }
}

impl Column {
    fn cell(&self, row: usize) -> Cell<'_> {
        let place = match &self.places {
            None => row,
            Some(places) => match places.get(row).copied().flatten() {
                Some(place) => place as usize,
                None => return Cell::Missing,
            },
        };
        let cell = match &self.values {
            Values::Flags(all) => all.get(place).map(|flag| Cell::Flag(*flag)),
            Values::Integers(all) => all.get(place).map(|number| Cell::Integer(*number)),
            Values::Singles(all) => all.get(place).map(|number| Cell::Float(f64::from(*number))),
            Values::Floats(all) => all.get(place).map(|number| Cell::Float(*number)),
            // None is anything but UTF-8: whoever decodes them refuses that.
            Values::Texts(all) => all
                .get(place)
                .and_then(|text| std::str::from_utf8(text.data()).ok())
                .map(Cell::of_text),
        };
        cell.unwrap_or(Cell::Missing)
    }

    /// Puts the numbers of some rows; false where one is none that may be put.
    fn fill<'v>(&self, rows: Range<usize>, fills: bool, values: impl Iterator<Item = &'v mut f32>) -> bool {
        fn all<'v, T: Copy>(
            numbers: Option<&[T]>,
            values: impl Iterator<Item = &'v mut f32>,
            single: impl Fn(T) -> f32,
        ) -> bool {
            let mut finite = numbers.is_some();
            for (value, number) in values.zip(numbers.unwrap_or_default()) {
                *value = single(*number);
                finite &= value.is_finite();
            }
            finite
        }
        match (&self.places, &self.values) {
            (None, Values::Integers(integers)) => all(integers.get(rows), values, |number| number as f32),
            (None, Values::Singles(singles)) => all(singles.get(rows), values, |number| number),
            (None, Values::Floats(floats)) => all(floats.get(rows), values, |number| number as f32),
            (Some(_), Values::Integers(_) | Values::Singles(_) | Values::Floats(_)) => {
                let mut good = true;
                for (value, row) in values.zip(rows) {
                    match self.cell(row).number() {
                        Ok(Some(number)) => *value = number,
                        Ok(None) => {
                            *value = f32::NAN;
                            good &= fills;
                        }
                        Err(_) => good = false,
                    }
                }
                good
            }
            (_, Values::Flags(_) | Values::Texts(_)) => false,
        }
    }
}

/// Gives the next so many rows to the table; so many are before them.
pub(super) fn give(
    columns: &[Column],
    count: usize,
    before: u64,
    builder: &mut Builder<'_>,
) -> Result<(), TrainError> {
    let Some(fork) = builder.fork() else {
        return Err(TableError::Empty.into());
    };
    let number = |row: usize| before + row as u64 + 1;
    let pieces = (0..count.div_ceil(PIECE)).into_par_iter().map(|piece| {
        let rows = piece * PIECE..count.min((piece + 1) * PIECE);
        let mut stretch = fork.stretch();
        if !numbers(columns, rows.clone(), number(rows.start), &mut stretch) {
            for row in rows {
                if !stretch.row(number(row), |position| columns[position].cell(row)) {
                    stretch.leave(row..row, number(row));
                }
            }
        }
        stretch
    });
    for stretch in pieces.collect::<Vec<_>>() {
        builder.append(stretch, |builder, left| {
            builder.row(left.number, |position| columns[position].cell(left.bytes.start))
        })?;
    }
    Ok(())
}

/// Takes rows whose features are numbers, column after column; false where they are to be taken one by one.
fn numbers(columns: &[Column], rows: Range<usize>, number: u64, stretch: &mut Stretch<'_>) -> bool {
    let rules = stretch.rules.clone();
    let fills = rules.dataset.missing.fills();
    let target = columns.get(rules.columns.target);
    let are_numbers = stretch.features.iter().all(column::Column::is_numbers);
    let Some(target) = target.filter(|_| are_numbers) else {
        return false;
    };
    let (first, width) = (stretch.values.len(), stretch.width);
    stretch.values.resize(first + rows.len() * width, 0.0);
    // Rows that the processor has at hand while one column after the other comes.
    let mut filled = true;
    for some in rows.clone().step_by(AT_HAND) {
        let some = some..rows.end.min(some + AT_HAND);
        let values = &mut stretch.values[first + (some.start - rows.start) * width..];
        for (place, (_, position)) in rules.columns.features.iter().enumerate() {
            let places = values.chunks_exact_mut(width).map(|row| &mut row[place]);
            let column = columns.get(*position);
            filled &= column.is_some_and(|column| column.fill(some.clone(), fills, places));
        }
    }
    // All that can be missing of these rows is seen before the first of them is taken.
    if !filled || rows.clone().any(|row| target.cell(row) == Cell::Missing) {
        stretch.values.truncate(first);
        return false;
    }
    for (row, number) in rows.zip(number..) {
        let cell = target.cell(row).word().unwrap_or_default();
        stretch.target.push(&cell, &rules.place(number));
    }
    true
}
