//! Pictures in a folder per class: PNG and JPEG. A picture is a row; its pixels are the features, row by row and
//! channel by channel within a pixel, 0 for dark and 1 for full. The class is the name of the folder that it lies in.

use std::io::Cursor;

use image::imageops::{FilterType, resize};
use image::{DynamicImage, ImageReader, Limits};
use sconce_contract::Images;

use super::{Builder, Cell, Input, TableError, Unit};
use crate::TrainError;

/// Longest side of a picture, and most bytes while it is decoded: a small file may claim any size.
const SIDE: u32 = 16_384;
const MEMORY: u64 = 1 << 30;

/// Reads a picture.
pub(super) fn read(input: &mut Input<'_>, builder: &mut Builder<'_>) -> Result<(), TrainError> {
    let bytes = &input.whole()?;
    let Some(images) = builder.images() else {
        return Err(TableError::NoImages.into());
    };
    let Some(class) = builder.folder() else {
        return Err(TableError::NoClass {
            place: builder.file_place(),
        }
        .into());
    };
    if !builder.header_again(Unit::File) {
        let target = builder.target().to_owned();
        let names: Vec<String> = names(images).chain([target]).collect();
        builder.header(&names, Unit::File)?;
    }
    match pixels(bytes, images) {
        Ok(pixels) => builder.row(0, |position| match pixels.get(position) {
            Some(value) => Cell::Float(f64::from(*value) / 255.0),
            None => Cell::Text(&class),
        }),
        Err(problem) => {
            let place = builder.file_place();
            Ok(builder.malformed(TableError::NotThatFormat {
                place,
                format: "PNG or JPEG",
                problem,
            })?)
        }
    }
}

/// `pixel[y,x,channel]`.
fn names(images: Images) -> impl Iterator<Item = String> {
    let Images {
        height,
        width,
        channels,
    } = images;
    (0..height).flat_map(move |y| {
        (0..width).flat_map(move |x| (0..channels).map(move |channel| format!("pixel[{y},{x},{channel}]")))
    })
}

/// The values of a picture at the size that is asked for, `[height, width, channels]`.
fn pixels(bytes: &[u8], images: Images) -> Result<Vec<u8>, String> {
    let mut reader = ImageReader::new(Cursor::new(bytes));
    let mut limits = Limits::default();
    limits.max_image_width = Some(SIDE);
    limits.max_image_height = Some(SIDE);
    limits.max_alloc = Some(MEMORY);
    reader.limits(limits);
    let reader = reader.with_guessed_format().map_err(|error| error.to_string())?;
    let picture = reader.decode().map_err(|error| error.to_string())?;
    let Images {
        height,
        width,
        channels,
    } = images;
    let picture = if (picture.width(), picture.height()) == (width, height) {
        picture
    } else {
        DynamicImage::ImageRgba8(resize(&picture.into_rgba8(), width, height, FilterType::Triangle))
    };
    Ok(match channels {
        1 => picture.into_luma8().into_raw(),
        3 => picture.into_rgb8().into_raw(),
        _ => picture.into_rgba8().into_raw(),
    })
}
