//! From the rows of a table to the inputs of the network: where the rows stand, beside them, or on disk.

use std::sync::Arc;

use rayon::prelude::*;
use sconce_contract::Feature;
use sconce_model::encode::{self, Scaling};

use crate::part::{Held, Part};
use crate::scratch::Writer;
use crate::{TrainError, reader::Reader, room::Room, split::Parts, table::Table, target::Target};

/// Rows that a thread takes at least: fewer are done before it is awake.
const ROWS: usize = 1024;

/// The three parts of a table. They are on disk where the table is, or where both together do not fit into memory.
pub fn of(
    table: Table,
    parts: Parts,
    features: &[Feature],
    target: &Target,
    room: &Room,
) -> Result<[Part; 3], TrainError> {
    let mut encoder = Encoder::of(features, &table)?;
    let Parts {
        training,
        validation,
        test,
    } = parts;
    let parts = [training, validation, test];
    let in_place = encoder.readers.is_none() && encode::width(features) == table.width();
    let both = table.rows() as u64 * 4 * (encode::width(features) + table.width()) as u64;
    if table.stored.is_some() || (!in_place && both > room.both()) {
        return on_disk(&table, parts, &mut encoder, target, room);
    }
    let inputs = Arc::new(match in_place {
        true => encoder.in_place(table),
        false => encoder.beside(&table)?,
    });
    Ok(parts.map(|rows| {
        let answers = target.of(&rows);
        let held = Held::Memory {
            inputs: inputs.clone(),
            rows,
        };
        Part::new(held, encode::width(features), answers)
    }))
}

/// Each part in a file of its own, in the order of the table.
fn on_disk(
    table: &Table,
    mut parts: [Vec<usize>; 3],
    encoder: &mut Encoder<'_>,
    target: &Target,
    room: &Room,
) -> Result<[Part; 3], TrainError> {
    let width = encode::width(encoder.features);
    let mut part_of = vec![0_u8; table.rows()];
    for (part, rows) in (0..).zip(&mut parts) {
        rows.sort_unstable();
        rows.iter().for_each(|row| part_of[*row] = part);
    }
    let scratch = room.scratch();
    let mut writers = [(); 3].map(|()| Writer::new(&scratch, width));
    let mut inputs = Vec::with_capacity(width);
    table.each(|row, values| {
        inputs.clear();
        encoder.row(values, &mut inputs);
        match &mut writers[usize::from(part_of[row])] {
            Ok(writer) => writer.add(&inputs),
            Err(error) => Err(error.clone()),
        }
    })?;
    let mut made = Vec::with_capacity(3);
    for (writer, rows) in writers.into_iter().zip(parts) {
        let stored = writer?.finish()?;
        made.push(Part::new(Held::Disk(Arc::new(stored)), width, target.of(&rows)));
    }
    made.try_into()
        .map_err(|_| TrainError::Panic("three parts became other than three".to_owned()))
}

/// What a row becomes.
struct Encoder<'a> {
    features: &'a [Feature],
    /// Where the columns do not stand in the table as the network takes them: the words of texts get their integers by
    /// the training rows.
    readers: Option<Vec<Reader>>,
    raw: Vec<f32>,
}

impl<'a> Encoder<'a> {
    fn of(features: &'a [Feature], table: &Table) -> Result<Self, TrainError> {
        let readers = match features.iter().any(|feature| feature.text.is_some()) {
            true => Some(
                Reader::of(features, table)
                    .map_err(|problem| TrainError::setting("dataset.text", problem))?,
            ),
            false => None,
        };
        Ok(Encoder {
            features,
            readers,
            raw: Vec::new(),
        })
    }

    /// Appends the inputs for a row.
    fn row(&mut self, values: &[f32], inputs: &mut Vec<f32>) {
        let Some(readers) = &self.readers else {
            return encode::row(self.features, values, inputs);
        };
        self.raw.clear();
        readers
            .iter()
            .for_each(|reader| reader.read(values, &mut self.raw));
        encode::row(self.features, &self.raw, inputs);
    }

    fn in_place(&self, table: Table) -> Vec<f32> {
        let width = table.width().max(1);
        let mut values = table.values;
        if let Some(columns) = Scaling::of_numbers(self.features) {
            if !columns.iter().all(Scaling::keeps) {
                let rows = values.par_chunks_exact_mut(width).with_min_len(ROWS);
                rows.for_each(|row| {
                    for (value, column) in row.iter_mut().zip(&columns) {
                        *value = column.input(*value);
                    }
                });
            }
            return values;
        }
        let rows = values.par_chunks_exact_mut(width).with_min_len(ROWS);
        rows.for_each_init(Vec::new, |inputs, row| {
            inputs.clear();
            encode::row(self.features, row, inputs);
            row.copy_from_slice(inputs);
        });
        values
    }

    fn beside(&mut self, table: &Table) -> Result<Vec<f32>, TrainError> {
        let mut inputs = Vec::with_capacity(table.rows() * encode::width(self.features));
        table.each(|_, values| {
            self.row(values, &mut inputs);
            Ok::<(), TrainError>(())
        })?;
        Ok(inputs)
    }
}
