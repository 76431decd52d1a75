//! The same chart as a PNG.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use plotters::prelude::*;
use plotters::style::register_font;
use sconce_contract::History;

use super::super::PluginError;
use super::terminal::{Frame, points};

/// Pixels across and down: twice what a page in a document is wide.
const SIZE: (u32, u32) = (1200, 750);
/// Colours that people who see no red or no green tell apart (Okabe and Ito, "Color Universal Design").
const LOSS: RGBColor = RGBColor(0, 114, 178);
const VALIDATION: RGBColor = RGBColor(213, 94, 0);

/// Writes the picture.
pub(super) fn write(history: &History, title: &str, path: &Path) -> Result<(), PluginError> {
    let failed = |said: String| PluginError::File {
        path: path.display().to_string(),
        said,
    };
    let pixels = drawn(history, title).map_err(failed)?;
    let file = File::create(path).map_err(|error| failed(error.to_string()))?;
    let mut encoder = png::Encoder::new(BufWriter::new(file), SIZE.0, SIZE.1);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let written = encoder.write_header().and_then(|mut writer| {
        writer.write_image_data(&pixels)?;
        writer.finish()
    });
    written.map_err(|error| failed(error.to_string()))
}

/// Three bytes a pixel, row by row.
fn drawn(history: &History, title: &str) -> Result<Vec<u8>, String> {
    // The font comes along: not every machine has one where it could be found. Registered twice, it is the same.
    register_font("sans-serif", FontStyle::Normal, dejavu::sans::regular())
        .map_err(|_| "the font cannot be read".to_owned())?;
    let mut pixels = vec![0; SIZE.0 as usize * SIZE.1 as usize * 3];
    draw(history, title, &mut pixels).map_err(|error| error.to_string())?;
    Ok(pixels)
}

fn draw(history: &History, title: &str, pixels: &mut [u8]) -> Result<(), Box<dyn std::error::Error>> {
    let area = BitMapBackend::with_buffer(pixels, SIZE).into_drawing_area();
    let result = || -> Result<(), DrawingAreaErrorKind<_>> {
        area.fill(&WHITE)?;
        let frame = Frame::of(history);
        let pad = (frame.losses.1 - frame.losses.0) * 0.05;
        let losses = (frame.losses.0 - pad)..(frame.losses.1 + pad);
        let mut chart = ChartBuilder::on(&area)
            .margin(30)
            .caption(title, ("sans-serif", 28))
            .x_label_area_size(60)
            .y_label_area_size(90)
            .build_cartesian_2d(frame.steps.0..frame.steps.1, losses)?;
        let axes = ("sans-serif", 20);
        chart
            .configure_mesh()
            .light_line_style(WHITE)
            .x_desc("step")
            .y_desc("loss")
            .x_label_formatter(&|step| format!("{step:.0}"))
            .label_style(axes)
            .draw()?;
        for (points, name, colour) in points(history)
            .into_iter()
            .zip(["loss", "validation loss"])
            .zip([LOSS, VALIDATION])
            .map(|((points, name), colour)| (points, name, colour))
        {
            if points.is_empty() {
                continue;
            }
            chart
                .draw_series(LineSeries::new(points, colour.stroke_width(3)))?
                .label(name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 30, y)], colour.stroke_width(3)));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperRight)
            .legend_area_size(40)
            .background_style(WHITE)
            .border_style(BLACK.mix(0.3))
            .label_font(axes)
            .draw()?;
        area.present()
    };
    Ok(result()?)
}

#[cfg(test)]
mod tests {
    use sconce_contract::history::Series;

    use super::*;

    #[test]
    fn the_picture_has_its_size_and_both_colours() {
        let series = Series {
            from: 0,
            every: 10,
            last: 40,
            values: vec![1.0, 0.5, 0.3, 0.2],
        };
        let history = History {
            loss: series.clone(),
            validation_loss: Series {
                values: vec![1.1, 0.7, 0.6, 0.5],
                ..series
            },
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("loss.png");
        write(&history, "ml/tumour: loss over steps", &path).unwrap();
        let decoder = png::Decoder::new(std::io::BufReader::new(File::open(&path).unwrap()));
        let mut reader = decoder.read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        assert_eq!((info.width, info.height), SIZE);
        for colour in [LOSS, VALIDATION] {
            let found = pixels
                .chunks(3)
                .filter(|pixel| *pixel == [colour.0, colour.1, colour.2])
                .count();
            assert!(found > 200, "{found} pixels of {colour:?}");
        }
        // Text was drawn: the letters' edges are grey.
        assert!(
            pixels
                .chunks(3)
                .any(|pixel| pixel[0] < 60 && pixel[0] == pixel[1] && pixel[1] == pixel[2])
        );
    }

    #[test]
    fn a_file_that_cannot_be_written_is_named() {
        let error = write(&History::default(), "x", Path::new("/nowhere/loss.png"))
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("/nowhere/loss.png cannot be written"),
            "{error}"
        );
    }
}
