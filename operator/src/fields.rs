//! For tests: an object's values, one at a time, with another in its place. What such a change leads to is compared
//! with what the object led to before, so that no field is taken and ignored.

use serde_json::{Value, json};

/// The objects of that kind with every field there is (`crds/tests/maximal.yaml`).
pub fn maximal(kind: &str) -> Vec<Value> {
    let all: Vec<Value> = serde_norway::from_str(include_str!("../../crds/tests/maximal.yaml")).unwrap();
    all.into_iter().filter(|object| object["kind"] == kind).collect()
}

/// The object once for every value in its spec, with another value there, and where that is.
pub fn changed(object: &Value) -> Vec<(String, Value)> {
    let mut pointers = Vec::new();
    leaves(&object["spec"], "/spec", &mut pointers);
    let change = |pointer: String| {
        let mut object = object.clone();
        let value = object.pointer(&pointer).cloned().unwrap_or_default();
        match other(&value) {
            Some(other) => *object.pointer_mut(&pointer).unwrap() = other,
            None => {
                let (parent, name) = pointer.rsplit_once('/').unwrap();
                match object.pointer_mut(parent).unwrap() {
                    Value::Object(fields) => drop(fields.remove(name)),
                    Value::Array(items) => drop(items.remove(name.parse().unwrap())),
                    value => panic!("nothing can be taken from {value}"),
                }
            }
        }
        (pointer, object)
    };
    pointers.into_iter().map(change).collect()
}

fn leaves(value: &Value, pointer: &str, into: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let name = name.replace('~', "~0").replace('/', "~1");
                leaves(value, &format!("{pointer}/{name}"), into);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                leaves(value, &format!("{pointer}/{index}"), into);
            }
        }
        _ => into.push(pointer.to_owned()),
    }
}

/// Words of which there are two and more, each with another one; a word of which there is one gives way to nothing.
const WORDS: &[(&str, Option<&str>)] = &[
    ("SGD", Some("Adam")),
    ("AdamW", Some("Adam")),
    ("InverseTime", Some("Constant")),
    ("Sigmoid", Some("ReLU")),
    ("Softmax", Some("Tanh")),
    ("Same", Some("Valid")),
    ("CrossEntropy", Some("MeanSquaredError")),
    ("accuracy", Some("auroc")),
    ("loss", Some("mae")),
    ("ReadWriteMany", Some("ReadWriteOnce")),
    ("Manual", Some("OnGatesPassed")),
    ("Managed", Some("None")),
    ("External", Some("None")),
    ("Surge", Some("DrainFirst")),
    ("CUDA", Some("ROCm")),
    ("Huber", Some("MeanSquaredError")),
    ("Step", Some("Exponential")),
    ("Cosine", Some("Linear")),
    ("SharedVolume", Some("None")),
    ("Balanced", None),
    ("KerasH5", None),
    ("ASHA", Some("TPE")),
    ("Grid", Some("Random")),
    ("Index", Some("OneHot")),
    ("Refuse", Some("Ignore")),
    ("Median", Some("Mean")),
    ("CSV", Some("JSONL")),
    ("Images", Some("CSV")),
    ("logLoss", Some("auprc")),
    ("Incumbent", None),
    ("Memory", None),
    ("Serving", None),
];

fn other(value: &Value) -> Option<Value> {
    let text = match value {
        Value::Bool(value) => return Some(json!(!value)),
        Value::Number(number) => {
            return Some(match number.as_i64() {
                Some(number) => json!(number + 1),
                None => json!(number.as_f64().unwrap() * 1.5),
            });
        }
        Value::String(text) => text,
        _ => panic!("{value} is no value of its own"),
    };
    if let Some((_, other)) = WORDS.iter().find(|(word, _)| word == text) {
        return other.map(Value::from);
    }
    // An amount or a length of time stays one.
    let number = text.starts_with(|first: char| first.is_ascii_digit());
    Some(
        if number {
            format!("1{text}")
        } else {
            format!("{text}x")
        }
        .into(),
    )
}
