//! Whatever a field holds, the API server refuses it with a sentence that names the field, or stores an object that
//! the operator can read: an object that it could not read would hold up the watch of all.

use futures::{StreamExt, TryStreamExt, stream};
use kube::Client;
use sconce_crds::{AcceleratorProfile, ModelDeployment, ModelTraining};
use sconce_tests::bounds::{Case, Verdict, cases, draw, places, schema};
use sconce_tests::room::Room;
use sconce_tests::world::Extent;
use serde_json::Value;

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// Specs in all.
const SPECS: usize = 12_000;
/// Requests under way at a time: the API server is the limit.
const AT_A_TIME: usize = 16;
/// Of the combinations: another one tries others.
const SEED: u64 = 20_260_301;

/// A spec that is tried: an object with one or more fields changed.
struct Trial {
    object: Value,
    cases: Vec<Case>,
}

fn maximal() -> Outcome<Vec<Value>> {
    Ok(serde_norway::from_str(include_str!(
        "../../crds/tests/maximal.yaml"
    ))?)
}

/// Every case of every field of every object, one at a time.
fn singles() -> Outcome<Vec<Vec<Trial>>> {
    let mut all = Vec::new();
    for object in maximal()? {
        let schema = schema(object["kind"].as_str().unwrap_or_default())?;
        let mut trials = Vec::new();
        for place in places(&schema, &object) {
            let value = object.pointer(&place.pointer).unwrap_or(&Value::Null);
            for case in cases(&place, value) {
                let object = case.apply(object.clone());
                trials.push(Trial {
                    object,
                    cases: vec![case],
                });
            }
        }
        all.push(trials);
    }
    Ok(all)
}

/// Two to four cases of one object, of fields that do not hold one another.
fn combined(singles: &[Vec<Trial>], objects: &[Value], state: &mut u64) -> Trial {
    let which = draw(state, objects.len());
    let (object, trials) = (&objects[which], &singles[which]);
    let mut chosen: Vec<Case> = Vec::new();
    for _ in 0..2 + draw(state, 3) {
        let case = &trials[draw(state, trials.len())].cases[0];
        if chosen.iter().all(|other| other.is_apart(case)) {
            chosen.push(case.clone());
        }
    }
    let changed = chosen
        .iter()
        .fold(object.clone(), |object, case| case.apply(object));
    Trial {
        object: changed,
        cases: chosen,
    }
}

/// What is wrong with the API server's answer, if anything.
async fn attempt(client: &Client, namespace: &str, trial: &Trial) -> Outcome<Option<String>> {
    let kind = trial.object["kind"].as_str().unwrap_or_default();
    let place = match kind {
        "AcceleratorProfile" => "acceleratorprofiles".to_owned(),
        _ => format!("namespaces/{namespace}/{}s", kind.to_lowercase()),
    };
    let request = http::Request::post(format!(
        "/apis/sconce.dev/v1alpha1/{place}?dryRun=All&fieldValidation=Strict"
    ))
    .header("Content-Type", "application/json")
    .body(trial.object.to_string().into_bytes())?;
    match client.request::<Value>(request).await {
        Ok(stored) => {
            let wrong = trial.cases.iter().any(|case| case.verdict == Verdict::Refused);
            let unread = read(kind, stored)
                .err()
                .map(|error| format!("the operator cannot read it: {error}"));
            Ok(wrong.then(|| "was let through".to_owned()).or(unread))
        }
        Err(kube::Error::Api(status)) if status.code != 422 && status.code != 400 => {
            Ok(Some(format!("{}: {}", status.code, status.message)))
        }
        Err(kube::Error::Api(status)) => {
            let named = trial.cases.iter().any(|case| case.is_named(&status.message));
            Ok((!named).then(|| format!("does not name the field: {}", status.message)))
        }
        Err(error) => Ok(Some(error.to_string())),
    }
}

fn read(kind: &str, stored: Value) -> Result<(), serde_json::Error> {
    match kind {
        "ModelTraining" => serde_json::from_value::<ModelTraining>(stored).map(drop),
        "ModelDeployment" => serde_json::from_value::<ModelDeployment>(stored).map(drop),
        _ => serde_json::from_value::<AcceleratorProfile>(stored).map(drop),
    }
}

fn told(trial: &Trial, problem: &str) -> String {
    let short = |value: &Value| value.to_string().chars().take(80).collect::<String>();
    let cases = trial.cases.iter().map(|case| {
        let value = case.value.as_ref().map_or_else(String::new, short);
        format!("{} {} ({value})", case.place.path, case.what)
    });
    let (kind, name) = (&trial.object["kind"], &trial.object["metadata"]["name"]);
    let problem: String = problem.chars().take(400).collect();
    format!(
        "{kind} {name}: {}: {problem}",
        cases.collect::<Vec<_>>().join(" and ")
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn each_value_of_each_field_is_refused_by_its_name_or_read_by_the_operator() -> Outcome {
    let room = Room::within(Extent::Admission).await?;
    let objects = maximal()?;
    for object in &objects {
        let unchanged = Trial {
            object: object.clone(),
            cases: Vec::new(),
        };
        assert_eq!(
            attempt(&room.client, &room.namespace, &unchanged).await?,
            None,
            "{object}"
        );
    }
    let singles = singles()?;
    let mut state = SEED;
    let count: usize = singles.iter().map(Vec::len).sum();
    let combined: Vec<Trial> = (count..SPECS)
        .map(|_| combined(&singles, &objects, &mut state))
        .collect();
    let all: Vec<Trial> = singles.into_iter().flatten().chain(combined).collect();
    assert!(
        all.len() >= 10_000 && count > 2_000,
        "{} specs, {count} of one field",
        all.len()
    );

    let problems: Vec<Option<String>> = stream::iter(&all)
        .map(|trial| async {
            let problem = attempt(&room.client, &room.namespace, trial).await?;
            Outcome::Ok(problem.map(|problem| told(trial, &problem)))
        })
        .buffered(AT_A_TIME)
        .try_collect()
        .await?;
    let problems: Vec<String> = problems.into_iter().flatten().collect();
    assert!(
        problems.is_empty(),
        "{} of {}:\n{}",
        problems.len(),
        all.len(),
        problems[..problems.len().min(200)].join("\n")
    );
    Ok(room.close()?)
}
