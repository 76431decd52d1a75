//! Panels to pixels.

use plotters::prelude::*;
use plotters::style::register_font;

use crate::{ChartError, Frame, Line, Panel};

/// Colours that people who see no red or no green tell apart (Okabe and Ito, "Color Universal Design").
pub(crate) const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
];
/// Values beyond are drawn at the edge: a difference of two of them is still a number.
const MOST: f64 = 1e100;

/// Three bytes a pixel, row by row.
pub(crate) fn pixels(panels: &[Panel], size: (u32, u32)) -> Result<Vec<u8>, ChartError> {
    // Registered twice, it is the same.
    register_font("sans-serif", FontStyle::Normal, dejavu::sans_mono::regular())
        .map_err(|_| ChartError::Font)?;
    let mut pixels = vec![0; size.0 as usize * size.1 as usize * 3];
    draw(panels, size, &mut pixels).map_err(|error| ChartError::Draw(error.to_string()))?;
    Ok(pixels)
}

type Area<'a> = DrawingArea<BitMapBackend<'a>, plotters::coord::Shift>;
type Outcome = Result<(), Box<dyn std::error::Error>>;

fn draw(panels: &[Panel], size: (u32, u32), pixels: &mut [u8]) -> Outcome {
    let area = BitMapBackend::with_buffer(pixels, size).into_drawing_area();
    let all = || -> Result<(), Box<dyn std::error::Error>> {
        area.fill(&WHITE).map_err(|error| error.to_string())?;
        for (panel, area) in panels.iter().zip(area.split_evenly((panels.len().max(1), 1))) {
            draw_panel(panel, &area)?;
        }
        area.present().map_err(|error| error.to_string())?;
        Ok(())
    };
    all()
}

fn draw_panel(panel: &Panel, area: &Area<'_>) -> Outcome {
    let told = |error: DrawingAreaErrorKind<_>| -> Box<dyn std::error::Error> { error.to_string().into() };
    let lines: Vec<Line> = panel.lines.iter().map(bounded).collect();
    let frame = Frame::around(&lines);
    let pad = (frame.values.1 - frame.values.0) * 0.05;
    let values = (frame.values.0 - pad)..(frame.values.1 + pad);
    let mut chart = ChartBuilder::on(area)
        .margin(30)
        .caption(&panel.title, ("sans-serif", 26))
        .x_label_area_size(60)
        .y_label_area_size(110)
        .build_cartesian_2d(frame.steps.0..frame.steps.1, values)
        .map_err(told)?;
    let axes = ("sans-serif", 19);
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .x_desc("step")
        .y_desc(&panel.y)
        .x_label_formatter(&|step| format!("{step:.0}"))
        .y_label_formatter(&label)
        .label_style(axes)
        .draw()
        .map_err(told)?;
    for (line, colour) in lines.iter().zip(COLOURS.iter().cycle()) {
        let points: Vec<(f64, f64)> = line.drawable().collect();
        if points.is_empty() {
            continue;
        }
        chart
            .draw_series(LineSeries::new(points, colour.stroke_width(3)))
            .map_err(told)?
            .label(&line.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 30, y)], colour.stroke_width(3)));
    }
    chart
        .configure_series_labels()
        .position(match frame.ends_high(&lines) {
            true => SeriesLabelPosition::LowerRight,
            false => SeriesLabelPosition::UpperRight,
        })
        .legend_area_size(40)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .label_font(axes)
        .draw()
        .map_err(told)?;
    Ok(())
}

fn bounded(line: &Line) -> Line {
    Line {
        name: line.name.clone(),
        points: line
            .drawable()
            .map(|(step, value)| (step, value.clamp(-MOST, MOST)))
            .collect(),
    }
}

/// A value at the axis: as short as it can be read.
fn label(value: &f64) -> String {
    let size = value.abs();
    match value {
        _ if size < 1e-12 => "0".to_owned(),
        _ if !(1e-3..1e5).contains(&size) => format!("{value:.1e}"),
        _ => {
            let text = format!("{value:.4}");
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::label;

    #[test]
    fn labels_are_short() {
        for (value, text) in [
            (0.0, "0"),
            (1e-17, "0"),
            (0.25, "0.25"),
            (2.0, "2"),
            (-0.1 - 0.2, "-0.3"),
            (100.0, "100"),
            (123_456.0, "1.2e5"),
            (0.000_12, "1.2e-4"),
        ] {
            assert_eq!(label(&value), text);
        }
    }
}
