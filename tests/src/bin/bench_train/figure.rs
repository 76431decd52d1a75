//! What is printed: a line per figure, and notes where figures are not looked for.

use std::cmp::Ordering;

/// What each contender took, turn by turn; ours is the first.
pub struct Turns {
    names: Vec<String>,
    values: Vec<Vec<f64>>,
}

impl Turns {
    /// Of these contenders.
    pub fn of(names: &[String]) -> Self {
        Self {
            names: names.to_vec(),
            values: vec![Vec::new(); names.len()],
        }
    }

    /// Adds what a contender took at this turn.
    pub fn add(&mut self, contender: usize, value: f64) {
        self.values[contender].push(value);
    }

    /// Each contender's values, with its name.
    pub fn each(&self) -> impl Iterator<Item = (&str, &[f64])> {
        self.names
            .iter()
            .map(String::as_str)
            .zip(self.values.iter().map(Vec::as_slice))
    }

    /// Ours, the peer with the least median, and the median of the ratios turn by turn. The other peers are a note.
    pub fn print(&self, name: &str, unit: &str) {
        self.print_beside(name, unit, f64::total_cmp);
    }

    /// The same where more is better: the peer with the greatest median.
    pub fn print_most(&self, name: &str, unit: &str) {
        self.print_beside(name, unit, |one, other| other.total_cmp(one));
    }

    fn print_beside(&self, name: &str, unit: &str, order: impl Fn(&f64, &f64) -> Ordering) {
        let medians: Vec<f64> = self.values.iter().map(|values| median(values.clone())).collect();
        let all: Vec<String> = self
            .each()
            .map(|(contender, values)| {
                let best = values.iter().copied().min_by(&order).unwrap_or(f64::NAN);
                format!("{contender} {:.3} (best {best:.3})", median(values.to_vec()))
            })
            .collect();
        note(&format!("{name}, {unit}: {}", all.join(", ")));
        let best = (1..medians.len()).min_by(|one, other| order(&medians[*one], &medians[*other]));
        let Some(best) = best else {
            return println!("{name} {:.3} {unit}", medians[0]);
        };
        let pairs = self.values[0].iter().zip(&self.values[best]);
        println!(
            "{name} {:.3} {unit} peer={}:{:.3} ratio={:.3}",
            medians[0],
            self.names[best],
            medians[best],
            median(pairs.map(|(ours, peer)| ours / peer).collect())
        );
    }
}

/// The middle of them, or the mean of the two in the middle; not a number where there is none.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        count => f64::midpoint(values[(count - 1) / 2], values[count / 2]),
    }
}

/// What is no figure goes where figures are not looked for.
pub fn note(text: &str) {
    eprintln!("# {text}");
}
