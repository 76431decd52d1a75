//! Each combination once; the last parameter changes first.

use sconce_contract::search::Parameter;
use serde_json::Value;

/// The values of a trial; nothing beyond the last.
pub fn point(space: &[Parameter], trial: u32) -> Option<Vec<Value>> {
    let mut rest = u64::from(trial);
    let mut point = Vec::with_capacity(space.len());
    for parameter in space.iter().rev() {
        let domain = parameter.domain()?;
        let count = domain.count()?;
        point.push(domain.at(rest % count)?);
        rest /= count;
    }
    point.reverse();
    (rest == 0).then_some(point)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;

    #[test]
    fn every_combination_comes_once_and_then_none() {
        let space: Vec<Parameter> = serde_json::from_value(json!([
            {"path": "a", "choice": ["x", "y"]}, {"path": "b", "int": {"min": 2, "max": 4}}, {"path": "c", "choice": [0.5, 1]},
        ]))
        .unwrap();
        let all: Vec<Vec<Value>> = (0..12).map_while(|trial| point(&space, trial)).collect();
        let different: BTreeSet<String> = all.iter().map(|point| format!("{point:?}")).collect();
        assert_eq!((all.len(), different.len()), (12, 12));
        assert_eq!(all[0], [json!("x"), json!(2), json!(0.5)]);
        assert_eq!(all[1], [json!("x"), json!(2), json!(1)]);
        assert_eq!(all[11], [json!("y"), json!(4), json!(1)]);
        assert_eq!(point(&space, 12), None);
    }
}
