//! Curves as a picture in PNG: panels of lines over steps, one below the other.
//!
//! Pure: numbers in, bytes out. The font comes along, because not every machine has one where it could be found, and a
//! container has none; of DejaVu's the one of fixed width, which has half the bytes of the other.

#![forbid(unsafe_code)]

mod draw;
mod frame;

use std::io::Cursor;

pub use frame::{Frame, Line, Panel};

/// Pixels across: twice what a page in a document is wide.
const WIDTH: u32 = 1200;
/// Pixels down, of a panel.
const HEIGHT: u32 = 640;

/// Why there is no picture.
#[derive(Debug, thiserror::Error)]
pub enum ChartError {
    /// The font is not what it was when it was built in.
    #[error("the font cannot be read")]
    Font,
    /// A line could not be drawn.
    #[error("the curves cannot be drawn: {0}")]
    Draw(String),
    /// The pixels could not be put into a file.
    #[error("the picture cannot be encoded: {0}")]
    Encode(#[from] png::EncodingError),
}

/// The panels as a PNG of 1200 × 640 pixels each.
///
/// # Errors
/// When it cannot be drawn; no numbers lead there.
pub fn png(panels: &[Panel]) -> Result<Vec<u8>, ChartError> {
    let size = (WIDTH, HEIGHT * u32::try_from(panels.len().max(1)).unwrap_or(1));
    let pixels = draw::pixels(panels, size)?;
    let mut bytes = Cursor::new(Vec::new());
    let mut encoder = png::Encoder::new(&mut bytes, size.0, size.1);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&pixels)?;
    writer.finish()?;
    Ok(bytes.into_inner())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // A test fails by panicking.
mod tests {
    use super::*;

    fn line(name: &str, values: &[f64]) -> Line {
        let points = (1..).zip(values).map(|(step, value)| (f64::from(step), *value));
        Line {
            name: name.to_owned(),
            points: points.collect(),
        }
    }

    fn panel(lines: Vec<Line>) -> Panel {
        Panel {
            title: "ml/tumour: loss over steps".to_owned(),
            y: "loss".to_owned(),
            lines,
        }
    }

    fn decoded(bytes: &[u8]) -> (u32, u32, Vec<u8>) {
        let mut reader = png::Decoder::new(Cursor::new(bytes)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        (info.width, info.height, pixels)
    }

    #[test]
    fn the_picture_has_its_size_and_a_colour_for_each_line() {
        let one = panel(vec![
            line("training", &[1.0, 0.5, 0.3, 0.2]),
            line("validation", &[1.1, 0.7, 0.6, 0.5]),
        ]);
        let (width, height, pixels) = decoded(&png(&[one.clone(), one]).unwrap());
        assert_eq!((width, height), (WIDTH, 2 * HEIGHT));
        for half in pixels.chunks(pixels.len() / 2) {
            for colour in &draw::COLOURS[..2] {
                let found = half
                    .chunks(3)
                    .filter(|pixel| *pixel == [colour.0, colour.1, colour.2])
                    .count();
                assert!(found > 200, "{found} pixels of {colour:?}");
            }
        }
        // Text was drawn: the letters' edges are grey.
        let grey = |pixel: &[u8]| pixel[0] < 60 && pixel[0] == pixel[1] && pixel[1] == pixel[2];
        assert!(pixels.chunks(3).any(grey));
    }

    #[test]
    fn whatever_the_numbers_are_there_is_a_picture_and_always_the_same() {
        for values in [
            &[][..],
            &[0.5],
            &[0.0, 0.0],
            &[f64::NAN, 1.0],
            &[f64::INFINITY],
            &[-1e300, 1e300],
            &[1e-300, 2e-300],
        ] {
            let panels = [panel(vec![line("loss", values)])];
            assert_eq!(png(&panels).unwrap(), png(&panels).unwrap(), "{values:?}");
        }
        assert_eq!(decoded(&png(&[]).unwrap()).1, HEIGHT);
    }
}
