//! From the URIs of a data set to one table.
//!
//! ```text
//!   uri ──────────► its file, or the files of its folder ─► Builder ─┬► rows of the split
//!   validationUri ► …                                               ├► rows to watch
//!   testUri ──────► …                                               └► rows held out
//! ```
//!
//! A folder is read as Spark and Hive write one: files in the order of their paths; names that begin with `_` or a dot,
//! or end in `_$folder$`, are not of the table; a folder named `COLUMN=VALUE` is a column.

use std::sync::Arc;

use sconce_contract::digest::sha256_hex;
use sconce_contract::{Dataset, DatasetFormat, FileDigest};
use sconce_store::{Content, Store, StoreError, shown};

use crate::room::Room;
use crate::table::{Builder, Format, Input, Table};
use crate::watch::Stop;
use crate::{TrainError, locations};

/// Most bytes of all files together: a number that only a mistake reaches.
const LIMIT: u64 = 16 << 40;
/// The field of the table itself.
const URI: &str = "dataset.uri";
/// What Hive writes for a value that is missing.
const NULL: &str = "__HIVE_DEFAULT_PARTITION__";
/// How the empty files end by which Hadoop, as on EMR, marks a folder in an object store.
const MARK: &str = "_$folder$";

/// A table with where it came from.
#[derive(Debug)]
pub struct Source {
    /// All rows: those of `uri`, then those of `validationUri`, then those of `testUri`.
    pub table: Table,
    /// The bytes.
    pub digest: FileDigest,
    /// Rows of each of the three URIs; nothing for one that is not given.
    pub rows: [Option<usize>; 3],
}

/// Reads all that a data set names.
pub fn read(store: &Store, dataset: &Dataset, room: &Room, stop: &Stop) -> Result<Source, TrainError> {
    let mut reader = Reader {
        store,
        stop,
        left: LIMIT,
        digests: Vec::new(),
    };
    let mut builder = Builder::new(dataset, Some(room.clone()));
    let uris = [
        (URI, Some(&dataset.uri)),
        ("dataset.validationUri", dataset.validation_uri.as_ref()),
        ("dataset.testUri", dataset.test_uri.as_ref()),
    ];
    let mut rows = [None; 3];
    for (rows, (field, uri)) in rows.iter_mut().zip(uris) {
        let Some(uri) = uri else { continue };
        let before = builder.rows();
        reader.uri(dataset, field, uri, &mut builder)?;
        *rows = Some(builder.rows() - before);
    }
    let table = builder.finish()?;
    for (rows, field) in rows.iter().zip(uris.map(|(field, _)| field)) {
        if *rows == Some(0) {
            return Err(TrainError::setting(field, "the table has no rows"));
        }
    }
    Ok(Source {
        table,
        digest: reader.digest(),
        rows,
    })
}

struct Reader<'a> {
    store: &'a Store,
    stop: &'a Stop,
    /// Bytes that may still be read.
    left: u64,
    /// Of each file, with its path.
    digests: Vec<(String, FileDigest)>,
}

impl Reader<'_> {
    fn uri(
        &mut self,
        dataset: &Dataset,
        field: &'static str,
        uri: &str,
        builder: &mut Builder<'_>,
    ) -> Result<(), TrainError> {
        let listed = self
            .store
            .files(uri)
            .map_err(|error| failed(dataset, field, error))?;
        let Some(listed) = listed else {
            let format = format(
                dataset,
                field,
                uri,
                uri.split(['?', '#']).next().unwrap_or_default(),
            )?;
            builder.begin(None, Vec::new());
            return self.file(dataset, field, uri, "", format, builder);
        };
        let paths = of_table(&listed).map_err(|problem| {
            let problem = format!("{}: {problem}", shown(uri));
            TrainError::setting(field, problem)
        })?;
        let Some(first) = paths.first() else {
            let problem = format!("there is no file of a table in the folder {}", shown(uri));
            return Err(TrainError::setting(field, problem));
        };
        let format = format(dataset, field, uri, first)?;
        for path in paths {
            let file = format!("{}/{path}", uri.trim_end_matches('/'));
            builder.begin(Some(Arc::from(path)), partitions(path));
            self.file(dataset, field, &file, path, format, builder)?;
        }
        Ok(())
    }

    fn file(
        &mut self,
        dataset: &Dataset,
        field: &'static str,
        uri: &str,
        path: &str,
        format: &Format,
        builder: &mut Builder<'_>,
    ) -> Result<(), TrainError> {
        if self.stop.asked() {
            return Err(TrainError::interrupted("while reading the table"));
        }
        let opened = self.store.open(uri, self.left);
        let content = opened.map_err(|error| failed(dataset, field, error))?;
        let refused = |error| failed(dataset, field, Content::refused(uri, error));
        let mut input = Input::new(content, Some(self.stop), Box::new(refused));
        // A part without any row, as Spark writes one: only lines may be none at all. A text that is empty is a row; of a
        // picture or of Parquet nothing is left where its writer was stopped.
        let may_have_no_row = matches!(format.name, DatasetFormat::Csv | DatasetFormat::Jsonl);
        if path.is_empty() || !may_have_no_row || !input.is_empty()? {
            (format.read)(&mut input, builder)?;
        }
        let digest = input.digest()?;
        self.left = self.left.saturating_sub(digest.size);
        // Which rows are for validation and test is of the data as well.
        let of = if field == URI { "" } else { field };
        self.digests.push((format!("{of}{path}"), digest));
        Ok(())
    }

    /// Of the one file itself; of several, over their digests and paths.
    fn digest(self) -> FileDigest {
        match self.digests.as_slice() {
            [(path, only)] if path.is_empty() => only.clone(),
            several => {
                let lines: String = several
                    .iter()
                    .map(|(path, file)| format!("{}  {path}\n", file.sha256))
                    .collect();
                FileDigest {
                    sha256: sha256_hex(lines.as_bytes()),
                    size: several.iter().map(|(_, file)| file.size).sum(),
                }
            }
        }
    }
}

/// The files that are of the table.
fn of_table(listed: &[String]) -> Result<Vec<&str>, String> {
    // Spark writes into it and moves the files out when it is done.
    if let Some(unfinished) = listed
        .iter()
        .find(|path| path.split('/').any(|part| part == "_temporary"))
    {
        return Err(format!(
            "{unfinished:?} says that the folder is still being written, or that its writer was stopped: wait, or \
             write it again"
        ));
    }
    let hidden = |part: &str| {
        part.starts_with('.') || (part.starts_with('_') && !part.contains('=')) || part.ends_with(MARK)
    };
    let of_table = listed.iter().map(String::as_str);
    Ok(of_table.filter(|path| !path.split('/').any(hidden)).collect())
}

/// The columns that the folders of a path give: `year=2024/part-0.csv`. Values are written as in a URI.
fn partitions(path: &str) -> Vec<(String, String)> {
    let mut folders: Vec<&str> = path.split('/').collect();
    folders.pop();
    let pairs = folders.into_iter().filter_map(|folder| folder.split_once('='));
    pairs
        .map(|(name, value)| match value {
            NULL => (decoded(name), String::new()),
            value => (decoded(name), decoded(value)),
        })
        .collect()
}

/// Text with `%41` for `A`; what is no such escape stays.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match hex.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) if *first == b'%' => {
                bytes.push(byte);
                rest = &after[2..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn format(dataset: &Dataset, field: &str, uri: &str, path: &str) -> Result<&'static Format, TrainError> {
    if let Some(name) = dataset.format {
        return Ok(Format::named(name));
    }
    Format::of_path(path).ok_or_else(|| {
        let problem = format!(
            "{} ({field}) does not end in one of {}: say which format it has, such as CSV",
            if path.is_empty() || uri.starts_with(path) {
                shown(uri)
            } else {
                path.to_owned()
            },
            Format::ends()
        );
        TrainError::setting("dataset.format", problem)
    })
}

fn failed(dataset: &Dataset, field: &'static str, source: StoreError) -> TrainError {
    let given = dataset.credentials_ref.is_some();
    locations::refused(field, "dataset.credentialsRef", given, source)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(paths: &[&str]) -> Vec<String> {
        paths.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn folder_files_that_are_hidden_are_not_of_the_table() {
        let all = listed(&[
            ".part-0.csv.crc",
            "_SUCCESS",
            "_delta_log/0.json",
            "_year=2024/part-0.csv",
            "part-0.csv",
            "year=2024/day=1_$folder$",
            "year=2024/part-1.csv",
            "year=2024_$folder$",
        ]);
        assert_eq!(
            of_table(&all).unwrap(),
            ["_year=2024/part-0.csv", "part-0.csv", "year=2024/part-1.csv"]
        );
        let unfinished = listed(&["_temporary/0/task/part-0.csv", "part-0.csv"]);
        assert!(of_table(&unfinished).unwrap_err().contains("still being written"));
    }

    #[test]
    fn folder_names_become_columns() {
        let pairs = partitions("year=2024/city=S%C3%A3o%20Paulo/odd/part-0.csv");
        let expected = [("year", "2024"), ("city", "São Paulo")];
        assert_eq!(
            pairs,
            expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
        assert_eq!(partitions("a=__HIVE_DEFAULT_PARTITION__/x")[0].1, "");
        assert_eq!(decoded("100%"), "100%");
        assert_eq!(decoded("%zz%2"), "%zz%2");
    }
}
