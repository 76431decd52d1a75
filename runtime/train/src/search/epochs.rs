//! How long a trial learns: as its own value says where the search varies that, else as its rung does.

use sconce_contract::Search;
use serde_json::Value;

use super::schedule::Job;

/// The field that says so. A search by ASHA, which decides this itself, is refused with it in its space.
const PATH: &str = "hyperparameters.epochs";

/// The last epoch of a job, counted from 1.
pub fn of(search: &Search, job: &Job) -> u32 {
    let mut values = search.space.iter().zip(&job.point);
    let own = values.find(|(parameter, _)| parameter.path == PATH);
    own.and_then(|(_, value)| u32::try_from(value.as_u64()?).ok())
        .unwrap_or(job.epochs)
}

/// Epochs that a trial may be expected to learn before its values are known; nothing where they are not varied.
pub fn mean(search: &Search) -> Option<f64> {
    let parameter = search.space.iter().find(|parameter| parameter.path == PATH)?;
    // Of a range the two ends, whose mean is that of all in between.
    let ends = parameter.domain()?.ends();
    let ends: Vec<f64> = ends.iter().filter_map(Value::as_f64).collect();
    (!ends.is_empty()).then(|| ends.iter().sum::<f64>() / ends.len() as f64)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn search(space: &Value) -> Search {
        serde_json::from_value(json!({"objective": {"metric": "rmse"}, "space": space})).unwrap()
    }

    fn job(point: Vec<Value>) -> Job {
        Job {
            trial: 0,
            rung: 0,
            epochs: 9,
            point,
        }
    }

    #[test]
    fn a_trial_learns_as_its_own_value_says_and_else_as_its_rung_does() {
        let batch = json!({"path": "hyperparameters.batchSize", "int": {"min": 4, "max": 8}});
        let range = json!({"path": PATH, "int": {"min": 2, "max": 20}});
        let others = search(&json!([batch]));
        assert_eq!((of(&others, &job(vec![json!(4)])), mean(&others)), (9, None));
        let varied = search(&json!([batch, range]));
        let found = of(&varied, &job(vec![json!(4), json!(17)]));
        assert_eq!((found, mean(&varied)), (17, Some(11.0)));
        let chosen = search(&json!([{"path": PATH, "choice": [1, 4, 10]}]));
        assert_eq!((of(&chosen, &job(vec![json!(1)])), mean(&chosen)), (1, Some(5.0)));
    }
}
