//! Parquet as Spark, pandas and pyarrow write it: flat columns of numbers, text and booleans, compressed by Snappy,
//! Zstandard or gzip. Only the columns that are used are read, some rows of a group after others.
//!
//! A decimal becomes a number; a date the days since 1970, a time what it is stored as. Lists, structs, INT96 and
//! decimals of more than 18 digits are refused where they are asked for.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use parquet::basic::{ConvertedType, LogicalType};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{ByteArray, DataType};
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, FileReader, SerializedFileReader};
use parquet::schema::types::{ColumnDescPtr, ColumnDescriptor};
use rayon::prelude::*;

use super::decoded::{Column, Values, give};
use super::positioned::Positioned;
use super::{Builder, Input, TableError, Unit};
use crate::TrainError;

/// Rows that are decoded at once.
const ROWS: usize = 4096;
/// Most values of a file: a few bytes may stand for any number of equal ones.
const VALUES: i64 = 1 << 31;

/// Reads a file.
pub(super) fn read(input: &mut Input<'_>, builder: &mut Builder<'_>) -> Result<(), TrainError> {
    match input.file()? {
        Some(file) => {
            let rows = Positioned::new(file, input.size());
            match builder.crew().threads {
                1 => take(rows, builder),
                _ => input.hash_beside(|| take(rows, builder)),
            }
        }
        None => take(input.whole()?, builder),
    }
}

fn take(bytes: impl ChunkReader + 'static, builder: &mut Builder<'_>) -> Result<(), TrainError> {
    let file = guarded(|| SerializedFileReader::new(bytes)).map_err(|problem| malformed(builder, problem))?;
    let about = file.metadata().file_metadata();
    let schema = about.schema_descr();
    let names: Vec<String> = about
        .schema()
        .get_fields()
        .iter()
        .map(|field| field.name().to_owned())
        .collect();
    builder.header(&names, Unit::Row)?;
    let used: Vec<usize> = (0..names.len())
        .filter(|position| builder.uses(*position))
        .collect();
    let mut leaves = Vec::with_capacity(used.len());
    for &position in &used {
        let leaf = (0..schema.num_columns()).find(|leaf| {
            let column = schema.column(*leaf);
            column.path().parts() == [names[position].clone()] && column.max_rep_level() == 0
        });
        let Some(leaf) = leaf else {
            return Err(unusable(builder, &names[position], "a list or a struct").into());
        };
        leaves.push((position, leaf));
    }
    // What the file says of all rows is not asked for: its groups are what is read.
    let groups = file.metadata().row_groups().iter();
    let rows = groups.fold(0_i64, |rows, group| rows.saturating_add(group.num_rows().max(0)));
    if rows.saturating_mul(used.len() as i64) > VALUES {
        return Err(malformed(
            builder,
            format!("it says that it holds more than {VALUES} values"),
        )
        .into());
    }
    builder.expect(u64::try_from(rows).unwrap_or_default());
    let mut blocks = Blocks {
        file: &file,
        leaves,
        columns: names.len(),
        groups: 0..file.num_row_groups(),
        readers: Vec::new(),
        left: 0,
    };
    let (mut number, mut next) = (0, blocks.next());
    while let Some(block) = next {
        let block = block.map_err(|(position, problem)| match problem {
            Problem::Damaged(problem) => malformed(builder, problem),
            Problem::Kind(kind) => unusable(builder, &names[position], kind),
            Problem::NotUtf8(row) => TableError::CellNotUtf8 {
                place: builder.place(number + row as u64 + 1),
                column: names[position].clone(),
            },
        })?;
        // The next rows are decoded while these go into the table.
        let given;
        (given, next) = rayon::join(
            || give(&block.columns, block.rows, number, builder),
            || blocks.next(),
        );
        given?;
        number += block.rows as u64;
    }
    Ok(())
}

/// The rows of a file in their order, some of a group at a time.
struct Blocks<'f, R: ChunkReader> {
    file: &'f SerializedFileReader<R>,
    /// The columns that are used: place in the header, and leaf of the schema.
    leaves: Vec<(usize, usize)>,
    /// Columns of the header.
    columns: usize,
    /// Those that are still to come.
    groups: Range<usize>,
    /// Of the group: place in the header, and what reads the column.
    readers: Vec<(usize, ColumnReader, ColumnDescPtr)>,
    /// Rows of the group that are still to come.
    left: usize,
}

/// Some rows.
struct Block {
    /// By their place in the header; those that are not used are empty.
    columns: Vec<Column>,
    rows: usize,
}

impl<R: ChunkReader + 'static> Iterator for Blocks<'_, R> {
    /// What is wrong, and the place in the header of the column in which it is.
    type Item = Result<Block, (usize, Problem)>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.left == 0 {
            let group = self.groups.next()?;
            if let Err(problem) = self.begin(group) {
                return Some(Err((0, Problem::Damaged(problem))));
            }
        }
        let rows = ROWS.min(self.left);
        self.left -= rows;
        let decode = |(_, reader, about): &mut (_, _, ColumnDescPtr)| column(reader, about, rows);
        let decoded: Vec<_> = self.readers.par_iter_mut().map(decode).collect();
        let mut columns: Vec<Column> = (0..self.columns).map(|_| Column::default()).collect();
        for ((position, ..), values) in self.readers.iter().zip(decoded) {
            match values {
                Ok(values) => columns[*position] = values,
                Err(problem) => return Some(Err((*position, problem))),
            }
        }
        Some(Ok(Block { columns, rows }))
    }
}

impl<R: ChunkReader + 'static> Blocks<'_, R> {
    /// Goes to the beginning of a group.
    fn begin(&mut self, group: usize) -> Result<(), String> {
        let group = guarded(|| self.file.get_row_group(group))?;
        self.left = usize::try_from(group.metadata().num_rows()).unwrap_or_default();
        self.readers.clear();
        for &(position, leaf) in &self.leaves {
            let reader = guarded(|| group.get_column_reader(leaf))?;
            self.readers
                .push((position, reader, group.metadata().column(leaf).column_descr_ptr()));
        }
        Ok(())
    }
}

enum Problem {
    Damaged(String),
    Kind(&'static str),
    /// Of the text in this row of those that were asked for.
    NotUtf8(usize),
}

/// The values of the next so many rows.
fn column(reader: &mut ColumnReader, about: &ColumnDescriptor, rows: usize) -> Result<Column, Problem> {
    let optional = about.max_def_level() > 0;
    let scale = match (about.logical_type_ref(), about.converted_type()) {
        (Some(LogicalType::Decimal(_)), _) | (_, ConvertedType::DECIMAL) => Some(about.type_scale()),
        _ => None,
    };
    let (values, places) = match reader {
        ColumnReader::BoolColumnReader(reader) => {
            let (values, places) = all(reader, rows, optional)?;
            (Values::Flags(values), places)
        }
        ColumnReader::Int32ColumnReader(reader) => {
            let (values, places) = all(reader, rows, optional)?;
            let unsigned = about.converted_type() == ConvertedType::UINT_32;
            let whole = values.into_iter().map(|value| match unsigned {
                true => i64::from(value as u32),
                false => i64::from(value),
            });
            (integers(whole.collect(), scale), places)
        }
        ColumnReader::Int64ColumnReader(reader) => {
            let (values, places) = all(reader, rows, optional)?;
            match about.converted_type() {
                ConvertedType::UINT_64 => {
                    let floats = values.into_iter().map(|value| value as u64 as f64);
                    (Values::Floats(floats.collect()), places)
                }
                _ => (integers(values, scale), places),
            }
        }
        ColumnReader::FloatColumnReader(reader) => {
            let (values, places) = all(reader, rows, optional)?;
            (Values::Singles(values), places)
        }
        ColumnReader::DoubleColumnReader(reader) => {
            let (values, places) = all(reader, rows, optional)?;
            (Values::Floats(values), places)
        }
        ColumnReader::ByteArrayColumnReader(reader) if scale.is_none() => {
            let (values, places) = all(reader, rows, optional)?;
            let not_utf8 = |text: &ByteArray| std::str::from_utf8(text.data()).is_err();
            // Nobody would miss it if it were taken for a value that is not there.
            if let Some(value) = values.iter().position(not_utf8) {
                let is_it = |place: &Option<u32>| place.is_some_and(|place| place as usize == value);
                let row = places.and_then(|places| places.iter().position(is_it));
                return Err(Problem::NotUtf8(row.unwrap_or(value)));
            }
            (Values::Texts(values), places)
        }
        ColumnReader::Int96ColumnReader(_) => return Err(Problem::Kind("a time as INT96")),
        ColumnReader::ByteArrayColumnReader(_) | ColumnReader::FixedLenByteArrayColumnReader(_) => {
            return Err(Problem::Kind("bytes or a long decimal"));
        }
    };
    Ok(Column { values, places })
}

fn integers(values: Vec<i64>, scale: Option<i32>) -> Values {
    match scale {
        None => Values::Integers(values),
        Some(scale) => {
            let unit = 10f64.powi(scale);
            Values::Floats(values.into_iter().map(|value| value as f64 / unit).collect())
        }
    }
}

/// The values of so many rows of a column, and the place of each row's among them where some have none.
#[allow(clippy::type_complexity)] // It is taken apart at once.
fn all<T: DataType>(
    reader: &mut ColumnReaderImpl<T>,
    rows: usize,
    optional: bool,
) -> Result<(Vec<T::T>, Option<Vec<Option<u32>>>), Problem> {
    let (mut values, mut levels) = (Vec::new(), Vec::new());
    let mut done = 0;
    while done < rows {
        let read =
            guarded(|| reader.read_records(rows - done, optional.then_some(&mut levels), None, &mut values));
        let (records, _, _) = read.map_err(Problem::Damaged)?;
        if records == 0 {
            let problem = format!("a column ends after {done} of {rows} rows");
            return Err(Problem::Damaged(problem));
        }
        done += records;
    }
    if levels.iter().all(|level| *level > 0) {
        return Ok((values, None));
    }
    let mut next = 0;
    let places = levels.iter().map(|level| {
        (*level > 0).then(|| {
            next += 1;
            next - 1
        })
    });
    Ok((values, Some(places.collect())))
}

/// What the library says; on files that contradict themselves it may panic.
fn guarded<T>(read: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(read) => read.map_err(|error| error.to_string()),
        Err(_) => Err("its parts contradict each other".to_owned()),
    }
}

fn malformed(builder: &Builder<'_>, problem: String) -> TableError {
    TableError::NotThatFormat {
        place: builder.file_place(),
        format: "Parquet",
        problem,
    }
}

fn unusable(builder: &Builder<'_>, column: &str, kind: &'static str) -> TableError {
    TableError::NotReadable {
        place: builder.file_place(),
        column: column.to_owned(),
        kind,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parquet::data_type::{ByteArrayType, DoubleType};
    use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader, ParquetMetaDataWriter};
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;
    use sconce_contract::Dataset;

    use super::super::read;
    use super::*;

    const GOLDEN: &[u8] = include_bytes!("../../tests/golden/types-snappy.parquet");

    fn metadata(bytes: &[u8]) -> ParquetMetaData {
        let bytes = bytes::Bytes::copy_from_slice(bytes);
        ParquetMetaDataReader::new().parse_and_finish(&bytes).unwrap()
    }

    /// The golden file, whose three groups each say that they have as many rows as a file may have values, and which itself
    /// says 1.
    fn forged() -> Vec<u8> {
        let golden = metadata(GOLDEN);
        let groups = golden.row_groups().iter().map(|group| {
            let group = group.clone().into_builder().set_num_rows(VALUES);
            group.build().unwrap()
        });
        let of_groups = ParquetMetaData::new(golden.file_metadata().clone(), groups.collect());
        let mut bytes = GOLDEN.to_vec();
        ParquetMetaDataWriter::new(&mut bytes, &of_groups)
            .finish()
            .unwrap();
        // It writes the sum of the groups for the file as well, before them: a zigzag varint of five bytes.
        let (sum, one) = ([0x80, 0x80, 0x80, 0x80, 0x30], [0x82, 0x80, 0x80, 0x80, 0x00]);
        let found = bytes[GOLDEN.len()..].windows(5).position(|bytes| bytes == sum);
        let start = GOLDEN.len() + found.unwrap();
        bytes[start..start + 5].copy_from_slice(&one);
        let forged = metadata(&bytes);
        assert_eq!(forged.file_metadata().num_rows(), 1);
        assert!(forged.row_groups().iter().all(|group| group.num_rows() == VALUES));
        bytes
    }

    #[test]
    fn values_are_counted_by_the_groups_that_are_read() {
        let dataset: Dataset = serde_json::from_value(serde_json::json!({
            "uri": "file:///table.parquet", "target": "double", "features": ["int8"], "format": "Parquet",
            "missing": "Drop"
        }))
        .unwrap();
        let whole = read(GOLDEN, &dataset).unwrap().rows();
        assert!(whole > 0);
        let TableError::NotThatFormat { problem, .. } = read(&forged(), &dataset).unwrap_err() else {
            panic!("the file is not refused as Parquet");
        };
        assert!(problem.contains("more than 2147483648 values"), "{problem}");
    }

    /// A file with the numbers `n` and `y`, which count the rows, and these words, which it says are UTF-8.
    fn of_words(words: &[Option<&[u8]>]) -> Vec<u8> {
        let schema = "message table {
            REQUIRED DOUBLE n;
            REQUIRED DOUBLE y;
            OPTIONAL BYTE_ARRAY word (UTF8);
        }";
        let schema = Arc::new(parse_message_type(schema).unwrap());
        let mut bytes = Vec::new();
        let mut file = SerializedFileWriter::new(&mut bytes, schema, Arc::default()).unwrap();
        let mut group = file.next_row_group().unwrap();
        let numbers: Vec<f64> = (0..words.len()).map(|row| row as f64).collect();
        for _ in 0..2 {
            let mut column = group.next_column().unwrap().unwrap();
            let values = column.typed::<DoubleType>();
            values.write_batch(&numbers, None, None).unwrap();
            column.close().unwrap();
        }
        let levels: Vec<i16> = words.iter().map(|word| i16::from(word.is_some())).collect();
        let words = words.iter().flatten();
        let words: Vec<ByteArray> = words.map(|word| ByteArray::from(word.to_vec())).collect();
        let mut column = group.next_column().unwrap().unwrap();
        let values = column.typed::<ByteArrayType>();
        values.write_batch(&words, Some(&levels), None).unwrap();
        column.close().unwrap();
        group.close().unwrap();
        file.close().unwrap();
        bytes
    }

    #[test]
    fn a_text_that_is_not_utf8_is_refused_and_no_missing_value() {
        let dataset = |feature: &str, missing: &str| -> Dataset {
            serde_json::from_value(serde_json::json!({
                "uri": "file:///table.parquet", "target": "y", "features": [feature], "format": "Parquet",
                "missing": missing, "malformedRows": {"skipUpTo": 20}
            }))
            .unwrap()
        };
        let (utf8, latin1): (&[u8], &[u8]) = (b"caf\xc3\xa9", b"caf\xe9");
        let mut words = vec![Some(utf8); ROWS + 10];
        words[1] = None;
        let table = read(&of_words(&words), &dataset("word", "Mean")).unwrap();
        assert_eq!(table.rows(), words.len());
        assert_eq!(table.features[0].words, Some(vec!["café".to_owned()]));
        // Behind a row without a word, and among rows that all have one.
        for at in [5, ROWS + 7] {
            let mut words = words.clone();
            words[at] = Some(latin1);
            let bytes = of_words(&words);
            for missing in ["Refuse", "Mean", "Drop"] {
                let told = read(&bytes, &dataset("word", missing)).unwrap_err().to_string();
                let expected = format!("row {}, column \"word\": the text is not UTF-8; write", at + 1);
                assert!(told.starts_with(&expected), "{told}");
            }
            // It may be anything where nobody asks for it.
            let table = read(&bytes, &dataset("n", "Refuse")).unwrap();
            assert_eq!(table.rows(), words.len());
        }
    }
}
