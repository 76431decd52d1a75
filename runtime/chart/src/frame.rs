//! What is drawn, and the ranges that it needs.

/// Lines over the same steps.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Panel {
    /// Above it.
    pub title: String,
    /// What the values are.
    pub y: String,
    /// At most six have a colour of their own.
    pub lines: Vec<Line>,
}

/// One curve.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Line {
    /// In the legend.
    pub name: String,
    /// Step and value, in the order of steps; what is not finite is left out.
    pub points: Vec<(f64, f64)>,
}

impl Line {
    /// The points that can be drawn.
    pub fn drawable(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        let finite = |(step, value): &(f64, f64)| step.is_finite() && value.is_finite();
        self.points.iter().copied().filter(finite)
    }
}

/// The ranges that are drawn; neither is empty.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Frame {
    /// From 0 to the last step.
    pub steps: (f64, f64),
    /// Of all lines.
    pub values: (f64, f64),
}

impl Frame {
    /// Around all that can be drawn.
    pub fn around(lines: &[Line]) -> Self {
        let all = || lines.iter().flat_map(Line::drawable);
        Frame {
            steps: (0.0, range(all().map(|point| point.0)).1),
            values: range(all().map(|point| point.1)),
        }
    }
}

impl Frame {
    /// Whether most of the right quarter is in the upper half, where a legend would hide it.
    pub fn ends_high(&self, lines: &[Line]) -> bool {
        let right = self.steps.0 + (self.steps.1 - self.steps.0) * 0.75;
        let middle = self.values.0 / 2.0 + self.values.1 / 2.0;
        let all = || {
            lines
                .iter()
                .flat_map(Line::drawable)
                .filter(|point| point.0 >= right)
        };
        all().filter(|point| point.1 > middle).count() * 2 > all().count()
    }
}

fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = values.fold((f64::MAX, f64::MIN), |(low, high), value| {
        (low.min(value), high.max(value))
    });
    if low > high {
        return (0.0, 1.0);
    }
    // Half of what there is, so that a distance can be told at any size.
    let room = (low.abs() * 0.5).max(f64::MIN_POSITIVE);
    match high - low < low.abs() * 1e-9 || low == high {
        true if low == 0.0 => (-0.5, 0.5),
        true => (low - room, high + room),
        false => (low, high),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_high_is_told_from_what_ends_low() {
        for (values, high) in [([1.0, 0.2, 0.1, 0.1], false), ([0.1, 0.8, 0.9, 1.0], true)] {
            let points = (1..).zip(values).map(|(step, value)| (f64::from(step), value));
            let lines = [Line {
                name: String::new(),
                points: points.collect(),
            }];
            assert_eq!(Frame::around(&lines).ends_high(&lines), high, "{values:?}");
        }
        assert!(!Frame::around(&[]).ends_high(&[]));
    }

    #[test]
    fn no_range_is_empty() {
        for (values, expected) in [
            (&[][..], (0.0, 1.0)),
            (&[0.0], (-0.5, 0.5)),
            (&[4.0, 4.0], (2.0, 6.0)),
            (&[-1.0, f64::NAN, 3.0], (-1.0, 3.0)),
        ] {
            let line = Line {
                name: String::new(),
                points: values.iter().map(|value| (7.0, *value)).collect(),
            };
            let frame = Frame::around(&[line]);
            assert_eq!(frame.values, expected, "{values:?}");
            assert!(frame.steps.0 < frame.steps.1, "{frame:?}");
        }
    }
}
