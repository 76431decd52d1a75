//! Texts in a folder per class: a file is a row, its content the text, and the name of the folder that it lies in the class.

use super::{Builder, Cell, Input, TableError, Unit};
use crate::TrainError;

/// Reads a text, which may be empty.
pub(super) fn read(input: &mut Input<'_>, builder: &mut Builder<'_>) -> Result<(), TrainError> {
    let bytes = &input.whole()?;
    let Some(column) = builder.text().map(|text| text.column.clone()) else {
        return Err(TableError::NoText.into());
    };
    let Some(class) = builder.folder() else {
        return Err(TableError::NoClass {
            place: builder.file_place(),
        }
        .into());
    };
    if !builder.header_again(Unit::File) {
        let target = builder.target().to_owned();
        builder.header(&[column, target], Unit::File)?;
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => builder.row(0, |position| match position {
            0 => Cell::Text(text),
            _ => Cell::Text(&class),
        }),
        Err(_) => {
            let place = builder.file_place();
            Ok(builder.malformed(TableError::NotUtf8 { place })?)
        }
    }
}
