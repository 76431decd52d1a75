//! A chart of characters: the loss as a line of Braille dots, the validation's as circles. Pure.

use sconce_contract::History;

use crate::training::gates::short;

/// Lines of the plot itself.
const HEIGHT: usize = 16;
/// Dots of a Braille character, across and down (Unicode, block "Braille Patterns").
const DOTS: (usize, usize) = (2, 4);
/// The bit of each dot, by row and column.
const BITS: [[u32; 2]; 4] = [[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]];

/// A curve as points of (step, loss).
type Points = Vec<(f64, f64)>;

/// The range that is drawn; never empty.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Frame {
    pub steps: (f64, f64),
    pub losses: (f64, f64),
}

impl Frame {
    pub(super) fn of(history: &History) -> Self {
        let all: Points = points(history).into_iter().flatten().collect();
        let range = |of: fn(&(f64, f64)) -> f64| {
            let (low, high) = all
                .iter()
                .map(of)
                .fold((f64::MAX, f64::MIN), |(low, high), value| {
                    (low.min(value), high.max(value))
                });
            if low > high {
                (0.0, 1.0)
            } else if low == high {
                (low - 0.5, high + 0.5)
            } else {
                (low, high)
            }
        };
        let (_, last) = range(|point| point.0);
        Frame {
            steps: (0.0, last),
            losses: range(|point| point.1),
        }
    }
}

/// The curves of learning and of validation.
pub(super) fn points(history: &History) -> [Points; 2] {
    // A step above 2⁵³ is nobody's.
    let of = |series: &sconce_contract::history::Series| {
        series.points().map(|(step, loss)| (step as f64, loss)).collect()
    };
    [of(&history.loss), of(&history.validation_loss)]
}

/// The chart in lines of at most `width` characters.
pub(super) fn chart(history: &History, title: &str, width: usize) -> String {
    let frame = Frame::of(history);
    let labels: Vec<String> = (0..HEIGHT)
        .map(|row| match row % 5 {
            0 => short(frame.losses.1 - (frame.losses.1 - frame.losses.0) * row as f64 / (HEIGHT - 1) as f64),
            _ => String::new(),
        })
        .collect();
    let margin = labels
        .iter()
        .map(|label| label.chars().count())
        .max()
        .unwrap_or(0);
    let columns = width.saturating_sub(margin + 3).max(20);
    let cells = cells(history, &frame, columns);

    let mut text = format!("{title}\n\n");
    for (label, row) in labels.iter().zip(&cells) {
        let axis = if label.is_empty() { '│' } else { '┤' };
        let line: String = row.iter().collect();
        text += format!("{label:>margin$} {axis}{line}").trim_end();
        text.push('\n');
    }
    let end = format!("{:.0}", frame.steps.1);
    text += &format!("{:>margin$} └{}\n", "", "─".repeat(columns));
    text += &format!("{:>margin$}  0{end:>room$}\n", "", room = columns - 1);
    let last = |points: &Points| points.last().map(|point| short(point.1)).unwrap_or_default();
    let [loss, validation] = points(history);
    text += &format!("\n⣀ loss {}", last(&loss));
    if !validation.is_empty() {
        text += &format!("   ○ validation loss {}", last(&validation));
    }
    text.push('\n');
    text
}

fn cells(history: &History, frame: &Frame, columns: usize) -> Vec<Vec<char>> {
    let (wide, high) = (columns * DOTS.0, HEIGHT * DOTS.1);
    // Both are within the frame, so a dot is never negative and small.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let place = |(step, loss): (f64, f64)| {
        let across = (step - frame.steps.0) / (frame.steps.1 - frame.steps.0);
        let down = (frame.losses.1 - loss) / (frame.losses.1 - frame.losses.0);
        (
            (across * (wide - 1) as f64).round() as usize,
            (down * (high - 1) as f64).round() as usize,
        )
    };
    let [loss, validation] = points(history);
    let mut bits = vec![vec![0_u32; columns]; HEIGHT];
    let mut dot = |x: usize, y: usize| bits[y / DOTS.1][x / DOTS.0] |= BITS[y % DOTS.1][x % DOTS.0];
    for pair in loss.windows(2) {
        line(place(pair[0]), place(pair[1]), &mut dot);
    }
    if let [only] = loss.as_slice() {
        let (x, y) = place(*only);
        dot(x, y);
    }
    let mut cells: Vec<Vec<char>> = bits
        .iter()
        .map(|row| {
            row.iter()
                .map(|&bits| if bits == 0 { ' ' } else { braille(bits) })
                .collect()
        })
        .collect();
    for point in validation {
        let (x, y) = place(point);
        cells[y / DOTS.1][x / DOTS.0] = '○';
    }
    cells
}

fn braille(bits: u32) -> char {
    char::from_u32(0x2800 + bits).unwrap_or(' ')
}

/// The dots of a straight line, both ends among them.
fn line((x0, y0): (usize, usize), (x1, y1): (usize, usize), dot: &mut impl FnMut(usize, usize)) {
    let steps = x0.abs_diff(x1).max(y0.abs_diff(y1)).max(1);
    // Between two values that fit, and so are those between.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let between = |from: usize, to: usize, at: usize| {
        (from as f64 + (to as f64 - from as f64) * at as f64 / steps as f64).round() as usize
    };
    for at in 0..=steps {
        dot(between(x0, x1, at), between(y0, y1, at));
    }
}

#[cfg(test)]
mod tests {
    use sconce_contract::history::Series;

    use super::*;

    fn falling() -> History {
        let series = |every: u64, count: u32, floor: f64| Series {
            from: 0,
            every,
            last: every * u64::from(count),
            values: (1..=count).map(|at| floor + 1.0 / f64::from(at)).collect(),
        };
        History {
            loss: series(10, 40, 0.05),
            validation_loss: series(50, 8, 0.2),
        }
    }

    #[test]
    fn a_loss_that_falls_is_drawn_from_the_upper_left_to_the_lower_right() {
        insta::assert_snapshot!(chart(&falling(), "ml/tumour: loss over steps, so far", 72));
    }

    #[test]
    fn one_value_and_equal_values_are_drawn_too() {
        for values in [vec![0.5], vec![0.5, 0.5, 0.5]] {
            let loss = Series {
                from: 0,
                every: 1,
                last: values.len() as u64,
                values,
            };
            let history = History {
                loss,
                ..History::default()
            };
            let text = chart(&history, "x", 60);
            assert!(
                text.chars().any(|c| ('\u{2801}'..='\u{28ff}').contains(&c)),
                "{text}"
            );
            assert!(text.contains("loss 0.5"), "{text}");
        }
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        for width in [40, 72, 200] {
            let text = chart(&falling(), "x", width);
            assert!(text.lines().all(|line| line.chars().count() <= width), "{text}");
        }
    }
}
