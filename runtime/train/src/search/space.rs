//! Values of parameters, and their places between 0 and 1.

use sconce_contract::search::{Domain, Parameter};
use sconce_engine::Random;
use serde_json::Value;

/// Significant digits of a number that is drawn: enough for any field, and short to read.
const DIGITS: usize = 5;

/// A value for each parameter.
pub fn drawn(space: &[Parameter], random: &mut Random) -> Vec<Value> {
    // One number for each, so that a parameter that is added last changes none before it.
    let places = space.iter().map(|parameter| (parameter, random.unit()));
    places.map(|(parameter, place)| at(parameter, place)).collect()
}

/// The value at a place from 0 to 1.
pub fn at(parameter: &Parameter, place: f64) -> Value {
    let place = place.clamp(0.0, 1.0);
    match parameter.domain() {
        Some(Domain::Uniform(range)) => {
            number(range.min + place * (range.max - range.min), range.min, range.max)
        }
        Some(Domain::LogUniform(range)) => {
            let (low, high) = (range.min.ln(), range.max.ln());
            number((low + place * (high - low)).exp(), range.min, range.max)
        }
        Some(domain) => {
            let count = domain.count().unwrap_or(1).max(1);
            let index = ((place * count as f64) as u64).min(count - 1);
            domain.at(index).unwrap_or_default()
        }
        None => Value::Null,
    }
}

/// The place of a value from 0 to 1, in the middle of its share where they are counted; nothing where it is none.
pub fn place(parameter: &Parameter, value: &Value) -> Option<f64> {
    match parameter.domain()? {
        Domain::Uniform(range) => Some((value.as_f64()? - range.min) / (range.max - range.min)),
        Domain::LogUniform(range) => {
            let (low, high) = (range.min.ln(), range.max.ln());
            Some((value.as_f64()?.ln() - low) / (high - low))
        }
        Domain::Int(range) => {
            let count = f64::from(range.max - range.min) + 1.0;
            Some((value.as_f64()? - f64::from(range.min) + 0.5) / count)
        }
        Domain::Choice(values) => {
            let index = values.iter().position(|other| other == value)?;
            Some((index as f64 + 0.5) / values.len() as f64)
        }
    }
}

fn number(value: f64, min: f64, max: f64) -> Value {
    let digits = DIGITS - 1;
    let rounded: f64 = format!("{value:.digits$e}").parse().unwrap_or(value);
    // Rounding may not lead out of the range.
    rounded.clamp(min, max).into()
}

#[cfg(test)]
mod tests {
    use sconce_engine::Purpose;
    use serde_json::json;

    use super::*;

    fn parameters() -> Vec<Parameter> {
        serde_json::from_value(json!([
            {"path": "a", "uniform": {"min": -1.0, "max": 3.0}},
            {"path": "b", "logUniform": {"min": 0.0001, "max": 0.1}},
            {"path": "c", "int": {"min": 3, "max": 9}},
            {"path": "d", "choice": ["x", {"y": 1}, 7]},
        ]))
        .unwrap()
    }

    #[test]
    fn values_lie_in_their_domains_and_the_seed_decides() {
        let space = parameters();
        let draw = |seed, trial| drawn(&space, &mut Random::new(seed, Purpose::Search, trial));
        for trial in 0..200 {
            let point = draw(1, trial);
            let [a, b, c] = [0, 1, 2].map(|index: usize| point[index].as_f64().unwrap());
            assert!((-1.0..=3.0).contains(&a) && (0.0001..=0.1).contains(&b) && (3.0..=9.0).contains(&c));
            assert!(
                point[2].is_u64() && space[3].choice.contains(&point[3]),
                "{point:?}"
            );
        }
        assert_eq!(draw(1, 0), draw(1, 0));
        assert_ne!(draw(1, 0), draw(2, 0));
        assert_ne!(draw(1, 0), draw(1, 1));
        let more: Vec<Value> = drawn(&space[..2], &mut Random::new(1, Purpose::Search, 0));
        assert_eq!(
            more[..],
            draw(1, 0)[..2],
            "a parameter more changes none before it"
        );
    }

    #[test]
    fn each_order_of_magnitude_is_as_likely_as_another() {
        let space = parameters();
        let below = |bound: f64| {
            let values = (0..2000).map(|trial| drawn(&space, &mut Random::new(3, Purpose::Search, trial)));
            values.filter(|point| point[1].as_f64().unwrap() < bound).count()
        };
        assert!((550..780).contains(&below(0.001)), "{}", below(0.001));
        assert!((1200..1460).contains(&below(0.01)), "{}", below(0.01));
    }

    #[test]
    fn a_value_is_found_at_its_place() {
        for parameter in parameters() {
            for step in 0..=20 {
                let value = at(&parameter, f64::from(step) / 20.0);
                let again = at(&parameter, place(&parameter, &value).unwrap());
                let same = match (value.as_f64(), again.as_f64()) {
                    (Some(one), Some(other)) => (one - other).abs() <= 1e-4 * one.abs().max(1e-4),
                    _ => value == again,
                };
                assert!(same, "{value} {again}");
            }
        }
    }
}
