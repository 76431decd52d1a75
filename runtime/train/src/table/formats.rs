//! The formats, one line each: a format is a file with a function in it that gives rows to a [`Builder`].

use sconce_contract::DatasetFormat;

use super::{Builder, Input, csv, images, jsonl, parquet, texts};
use crate::TrainError;

/// A format.
pub struct Format {
    /// Its name.
    pub name: DatasetFormat,
    /// How the names of its files end, in lower case.
    pub ends: &'static [&'static str],
    /// Reads a file of it.
    pub read: fn(&mut Input<'_>, &mut Builder<'_>) -> Result<(), TrainError>,
}

/// Every format.
#[rustfmt::skip] // A table.
const FORMATS: &[Format] = &[
    Format { name: DatasetFormat::Csv, ends: &[".csv"], read: csv::read },
    Format { name: DatasetFormat::Jsonl, ends: &[".jsonl", ".ndjson"], read: jsonl::read },
    Format { name: DatasetFormat::Parquet, ends: &[".parquet"], read: parquet::read },
    Format { name: DatasetFormat::Images, ends: &[".png", ".jpg", ".jpeg"], read: images::read },
    Format { name: DatasetFormat::Text, ends: &[".txt"], read: texts::read },
];

impl Format {
    /// By its name.
    pub fn named(name: DatasetFormat) -> &'static Format {
        FORMATS
            .iter()
            .find(|format| format.name == name)
            .unwrap_or(&FORMATS[0])
    }

    /// By the end of a file's name.
    pub fn of_path(path: &str) -> Option<&'static Format> {
        let path = path.to_ascii_lowercase();
        FORMATS
            .iter()
            .find(|format| format.ends.iter().any(|end| path.ends_with(end)))
    }

    /// The ends by which a format is inferred, for sentences.
    pub fn ends() -> String {
        let ends: Vec<&str> = FORMATS.iter().flat_map(|format| format.ends).copied().collect();
        ends.join(", ")
    }
}
