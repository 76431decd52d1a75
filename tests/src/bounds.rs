//! What a field of a schema may hold and what it may not: one case for each, made from the schema and from what its
//! description says, so that a bound that only the description knows of is found missing.

use std::ops::RangeInclusive;
use std::path::Path;

use serde_json::{Value, json};

use crate::{Error, Result};

/// A field of an object, with its schema.
#[derive(Clone, Debug)]
pub struct Place {
    /// As the API server writes it: `spec.podOverrides.env[0].name`.
    pub path: String,
    /// As a JSON pointer.
    pub pointer: String,
    schema: Value,
    required: bool,
    parent: Parent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Parent {
    Object,
    Map,
    List,
}

/// What must become of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The schema or the description rules it out.
    Refused,
    /// Other fields decide; whoever refuses it names the field.
    Either,
}

/// A field with another value.
#[derive(Clone, Debug)]
pub struct Case {
    /// The field.
    pub place: Place,
    /// What is wrong or special with the value.
    pub what: &'static str,
    /// Nothing: the field is taken away.
    pub value: Option<Value>,
    /// What must become of it.
    pub verdict: Verdict,
}

/// Text that no name and no pattern allows.
pub const UNICODE: &str = "数据 \u{202e}💥\u{7f}";
/// Where any text is right: people's own words and programs' own arguments.
const FREE_TEXT: &[&str] = &[
    ".target",
    ".features[]",
    ".categorical.columns[]",
    ".command[]",
    ".args[]",
    ".env[].value",
    ".annotations.*",
    ".rows[]",
    ".choice[]",
];
/// Where no text is right, too.
const EMPTY_TEXT: &[&str] = &[
    ".command[]",
    ".args[]",
    ".env[].value",
    ".annotations.*",
    ".labels.*",
    ".nodeSelector.*",
    ".nodeSelectors[].*",
    "Labels.*",
    ".tolerations[].key",
    ".tolerations[].value",
    ".tolerations[].effect",
    ".rows[]",
    ".choice[]",
];

/// The schema of a kind, as `crds/yaml` has it.
///
/// # Errors
/// When there is no such file.
pub fn schema(kind: &str) -> Result<Value> {
    let name = format!("../crds/yaml/{}s.yaml", kind.to_lowercase());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    let text = std::fs::read_to_string(&path).map_err(Error::file("read", &path))?;
    let mut definition: Value = serde_norway::from_str(&text)
        .map_err(|error| Error::Unmet(format!("{} is no YAML: {error}", path.display())))?;
    Ok(definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"].take())
}

/// A number below `below`, from a sequence that the first state determines (SplitMix64).
pub fn draw(state: &mut u64, below: usize) -> usize {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    usize::try_from((mixed ^ (mixed >> 31)) % below.max(1) as u64).unwrap_or(0)
}

/// Every field that the object fills.
#[must_use]
pub fn places(schema: &Value, object: &Value) -> Vec<Place> {
    let mut all = Vec::new();
    let spec = Place {
        path: "spec".to_owned(),
        pointer: "/spec".to_owned(),
        schema: schema["properties"]["spec"].clone(),
        required: true,
        parent: Parent::Object,
    };
    walk(spec, &object["spec"], &mut all);
    all
}

fn walk(place: Place, value: &Value, into: &mut Vec<Place>) {
    let schema = &place.schema;
    if schema["x-kubernetes-preserve-unknown-fields"] == true {
        return into.push(place);
    }
    for (name, value) in value.as_object().into_iter().flatten() {
        let known = schema["properties"].get(name);
        let required = schema["required"].as_array().into_iter().flatten();
        let child = Place {
            path: format!("{}.{name}", place.path),
            pointer: format!("{}/{}", place.pointer, name.replace('~', "~0").replace('/', "~1")),
            schema: known.unwrap_or(&schema["additionalProperties"]).clone(),
            required: required.into_iter().any(|required| required == name),
            parent: if known.is_some() {
                Parent::Object
            } else {
                Parent::Map
            },
        };
        walk(child, value, into);
    }
    for (index, value) in value.as_array().into_iter().flatten().enumerate() {
        let child = Place {
            path: format!("{}[{index}]", place.path),
            pointer: format!("{}/{index}", place.pointer),
            schema: schema["items"].clone(),
            required: false,
            parent: Parent::List,
        };
        walk(child, value, into);
    }
    into.push(place);
}

/// Every case of a field that has this value.
#[must_use]
pub fn cases(place: &Place, value: &Value) -> Vec<Case> {
    let mut all = Cases {
        place,
        all: Vec::new(),
    };
    // An item that is taken away gives its place to the next.
    if place.parent != Parent::List {
        let verdict = if place.required {
            Verdict::Refused
        } else {
            Verdict::Either
        };
        all.push("absent", None, verdict);
    }
    all.push("null", Some(Value::Null), Verdict::Either);
    if place.schema["x-kubernetes-preserve-unknown-fields"] == true || place.schema.get("type").is_none() {
        all.any_type(value);
        return all.all;
    }
    all.wrong_types();
    match place.schema["type"].as_str().unwrap_or_default() {
        "integer" | "number" => all.numbers(),
        "string" => all.strings(),
        "array" => all.lists(value),
        "object" => all.objects(value),
        _ => all.booleans(),
    }
    all.all
}

struct Cases<'a> {
    place: &'a Place,
    all: Vec<Case>,
}

impl Cases<'_> {
    fn push(&mut self, what: &'static str, value: Option<Value>, verdict: Verdict) {
        self.all.push(Case {
            place: self.place.clone(),
            what,
            value,
            verdict,
        });
    }

    fn refused(&mut self, what: &'static str, value: Value) {
        self.push(what, Some(value), Verdict::Refused);
    }

    fn either(&mut self, what: &'static str, value: Value) {
        self.push(what, Some(value), Verdict::Either);
    }

    fn wrong_types(&mut self) {
        let kind = self.place.schema["type"].as_str().unwrap_or_default().to_owned();
        for (what, right, value) in [
            ("a text", "string", json!("7")),
            ("a whole number", "integer", json!(7)),
            ("a fraction", "number", json!(7.5)),
            ("a truth value", "boolean", json!(true)),
            ("a list", "array", json!([])),
            ("an object", "object", json!({})),
        ] {
            let fits = kind == right || (kind == "number" && right == "integer");
            if !fits {
                self.refused(what, value);
            }
        }
    }

    /// A quantity, which is a text or a whole number; or a row of any shape.
    fn any_type(&mut self, value: &Value) {
        let anything = self.place.schema["x-kubernetes-preserve-unknown-fields"] == true;
        if anything {
            for (what, value) in [
                ("a text", json!(UNICODE)),
                ("a number", json!(1e300)),
                ("nothing in it", json!([])),
                ("an object", json!({"a": {"b": [1]}})),
                ("many", json!(vec![value.clone(); 2000])),
            ] {
                self.either(what, value);
            }
            return;
        }
        for (what, value) in [
            ("a truth value", json!(true)),
            ("a list", json!([])),
            ("an object", json!({})),
            ("a fraction", json!(1.5)),
            ("no text", json!("")),
            ("no amount", json!("lots")),
            ("a negative number", json!(-1)),
            ("a negative amount", json!("-1")),
            ("none", json!(0)),
            ("none, as a text", json!("0")),
            ("none, with a unit", json!("0.0Gi")),
            ("unicode", json!(UNICODE)),
            ("a unit that there is not", json!("1Qi")),
            ("blanks", json!("1 Gi")),
            ("an exponent of four digits", json!("1e9999")),
            ("a huge text", json!("9".repeat(100_000))),
        ] {
            self.refused(what, value);
        }
        for (what, value) in [
            ("one", json!(1)),
            ("one, as a text", json!("1")),
            ("the most digits", json!("9".repeat(32))),
            ("a huge number", json!(i64::MAX)),
            ("the largest unit", json!("99999Ei")),
            ("a tiny amount", json!("1n")),
        ] {
            self.either(what, value);
        }
    }

    fn numbers(&mut self) {
        let whole = self.place.schema["type"] == "integer";
        let number = |number: f64| {
            if whole {
                json!(number as i64)
            } else {
                json!(number)
            }
        };
        let step = if whole { 1.0 } else { 0.001 };
        let of_schema = (
            self.place.schema["minimum"].as_f64(),
            self.place.schema["maximum"].as_f64(),
        );
        let (low, high) = self.described();
        for low in [of_schema.0, low].into_iter().flatten() {
            self.refused("below the least", number(low - step));
            self.either("the least", number(low));
        }
        for high in [of_schema.1, high].into_iter().flatten() {
            // A whole step above 2^53 is no other number.
            self.refused("above the most", number(high + step.max(high / 1e12)));
            self.either("the most", number(high));
        }
        if whole {
            self.refused("a fraction", json!(1.5));
            self.refused("more than 64 bits", json!(1e30));
            let bounded = of_schema.1.is_some();
            for value in [json!(i64::MAX), json!(u64::MAX)] {
                self.push(
                    "huge",
                    Some(value),
                    if bounded {
                        Verdict::Refused
                    } else {
                        Verdict::Either
                    },
                );
            }
            self.either("whole, written as a fraction", json!(2.0));
        } else {
            for value in [1e300, -1e300, 5e-324, -0.0] {
                self.either("huge or tiny", json!(value));
            }
        }
    }

    fn strings(&mut self) {
        let schema = self.place.schema.clone();
        let path = general(&self.place.path, self.place.parent);
        let allowed = |list: &[&str]| list.iter().any(|end| path.ends_with(end));
        if let Some(known) = schema["enum"].as_array() {
            known
                .iter()
                .for_each(|value| self.either("each of the values", value.clone()));
            let other = known
                .first()
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_lowercase();
            if !known.contains(&json!(other)) {
                self.refused("in lower case", json!(other));
            }
            self.refused("none of the values", json!("Unheard"));
        }
        let empty = if allowed(EMPTY_TEXT) {
            Verdict::Either
        } else {
            Verdict::Refused
        };
        self.push("empty", Some(json!("")), empty);
        let free = if allowed(FREE_TEXT) {
            Verdict::Either
        } else {
            Verdict::Refused
        };
        self.push("unicode", Some(json!(UNICODE)), free);
        self.push("blanks", Some(json!("  ")), free);
        self.refused("huge", json!("a".repeat(100_000)));
        if let (Some(most), None) = (schema["maxLength"].as_u64(), schema.get("enum")) {
            let most = most as usize;
            self.either("as long as may be", json!("a".repeat(most)));
            self.refused("longer than may be", json!("a".repeat(most + 1)));
        }
        if schema["pattern"]
            .as_str()
            .is_some_and(|pattern| pattern.contains("(ms|s|m|h)"))
        {
            for (what, value) in [
                ("a number", "90"),
                ("another unit", "5d"),
                ("negative", "-5m"),
                ("more than any clock", "99999999999999999999999h"),
                ("not whole", "1h-3m"),
            ] {
                self.refused(what, json!(value));
            }
            for value in ["0s", "1ms", "1s", "2s", "10m", "24h", "1h30m", "1.5h", "2562047h"] {
                self.either("a duration", json!(value));
            }
            let (low, high) = self.described_durations();
            low.into_iter()
                .for_each(|value| self.refused("below what is described", value));
            high.into_iter()
                .for_each(|value| self.refused("above what is described", value));
        }
    }

    fn lists(&mut self, value: &Value) {
        let schema = self.place.schema.clone();
        let items = value.as_array().cloned().unwrap_or_default();
        let fewest = schema["minItems"].as_u64().unwrap_or(0);
        let empty = if fewest > 0 {
            Verdict::Refused
        } else {
            Verdict::Either
        };
        self.push("empty", Some(json!([])), empty);
        // A list of anything may hold these, and whoever reads it decides.
        let anything = schema["items"]["x-kubernetes-preserve-unknown-fields"] == true;
        let verdict = if anything {
            Verdict::Either
        } else {
            Verdict::Refused
        };
        self.push("with a null", Some(json!([null])), verdict);
        self.push("with a list", Some(json!([[[]]])), verdict);
        if let (Some(most), Some(first)) = (schema["maxItems"].as_u64(), items.first()) {
            let many = |count: usize| Value::from(vec![first.clone(); count]);
            self.refused("more than may be", many(most as usize + 1));
            self.either("as many as may be", many(most as usize));
        }
        if let (Some("set" | "map"), Some(first)) = (schema["x-kubernetes-list-type"].as_str(), items.first())
        {
            self.refused("twice the same", json!([first, first]));
        }
        if let Some(high) = self.described().1.filter(|_| schema.get("maxItems").is_none()) {
            let first = items.first().cloned().unwrap_or_default();
            self.refused(
                "more than is described",
                Value::from(vec![first; high as usize + 1]),
            );
        }
    }

    fn objects(&mut self, value: &Value) {
        let schema = self.place.schema.clone();
        let required = schema["required"]
            .as_array()
            .is_some_and(|required| !required.is_empty());
        let some = required || schema["minProperties"].as_u64().unwrap_or(0) > 0;
        self.push(
            "empty",
            Some(json!({})),
            if some { Verdict::Refused } else { Verdict::Either },
        );
        let fields = value.as_object().cloned().unwrap_or_default();
        if let Some(most) = schema["maxProperties"].as_u64() {
            let first = fields.values().next().cloned().unwrap_or_default();
            let many = |count: u64| {
                (0..count)
                    .map(|n| (format!("a.example/k{n}"), first.clone()))
                    .collect::<Value>()
            };
            self.refused("more than may be", many(most + 1));
            self.either("as many as may be", many(most));
        } else {
            let mut other = fields;
            other.insert("unheardOf".to_owned(), json!(1));
            self.refused("with a field that there is not", other.into());
        }
    }

    fn booleans(&mut self) {
        self.either("true", json!(true));
        self.either("false", json!(false));
    }

    /// What the description says of numbers: `(1 to 64)`, `at least 1`, `at most 32`.
    fn described(&self) -> (Option<f64>, Option<f64>) {
        let text = self.place.schema["description"].as_str().unwrap_or_default();
        let number = |text: &str| -> Option<f64> {
            let end = text
                .find(|c: char| !c.is_ascii_digit() && c != '.')
                .unwrap_or(text.len());
            text[..end].trim_end_matches('.').parse().ok()
        };
        let range = text.match_indices('(').find_map(|(at, _)| {
            let (low, high) = text[at + 1..].split_once(" to ")?;
            Some(RangeInclusive::new(low.parse::<f64>().ok()?, number(high)?))
        });
        let after = |word: &str| text.split_once(word).and_then(|(_, rest)| number(rest));
        (
            range
                .as_ref()
                .map(|range| *range.start())
                .or_else(|| after("at least ")),
            range.map(|range| *range.end()).or_else(|| after("at most ")),
        )
    }

    /// Values just outside of `(2s to 10m)`, `at least 1s` and `at most 24h`.
    fn described_durations(&self) -> (Option<Value>, Option<Value>) {
        let text = self.place.schema["description"].as_str().unwrap_or_default();
        let says = |words: &str| text.contains(words);
        let low = if says("(2s to 10m)") {
            Some("1999ms")
        } else {
            says("at least `1s`").then_some("999ms")
        };
        let high = if says("(2s to 10m)") {
            Some("10m1s")
        } else {
            says("(at most\n24h)").then_some("24h1s")
        };
        let high = high.or_else(|| says("(at most 24h)").then_some("24h1s"));
        (low.map(Value::from), high.map(Value::from))
    }
}

/// The path without positions: `spec.env[].value`, and `.*` for the values of a map.
fn general(path: &str, parent: Parent) -> String {
    let mut text = String::new();
    for part in path.split_inclusive(']') {
        match part.rsplit_once('[') {
            Some((before, _)) => text.extend([before, "[]"]),
            None => text.push_str(part),
        }
    }
    if parent == Parent::Map {
        // A key has dots of its own: what comes before it is the map, by its own name.
        for map in [
            "annotations",
            "labels",
            "nodeSelector",
            "namespaceLabels",
            "podLabels",
            "resources",
        ] {
            if let Some(at) = text.find(&format!(".{map}.")) {
                return format!("{}.{map}.*", &text[..at]);
            }
        }
        if let Some(at) = text.find(".nodeSelectors[].") {
            return format!("{}.nodeSelectors[].*", &text[..at]);
        }
    }
    text
}

impl Case {
    /// The object with it.
    #[must_use]
    pub fn apply(&self, mut object: Value) -> Value {
        match &self.value {
            Some(value) => {
                if let Some(field) = object.pointer_mut(&self.place.pointer) {
                    *field = value.clone();
                }
            }
            None => {
                let (parent, name) = self.place.pointer.rsplit_once('/').unwrap_or_default();
                let name = name.replace("~1", "/").replace("~0", "~");
                if let Some(fields) = object.pointer_mut(parent).and_then(Value::as_object_mut) {
                    fields.remove(&name);
                }
            }
        }
        object
    }

    /// Whether a refusal is about this field: it has its path, or a rule's sentence names it.
    #[must_use]
    pub fn is_named(&self, message: &str) -> bool {
        let path = match self.place.parent {
            // A key is the reader's own word: where it is missing, the map is named.
            Parent::Map if self.value.as_ref().is_none_or(Value::is_null) => self
                .place
                .path
                .rsplit_once("].")
                .map_or(self.place.path.as_str(), |(map, _)| {
                    &self.place.path[..=map.len()]
                }),
            _ => self.place.path.as_str(),
        };
        let is_position = |text: &str| text.ends_with(']');
        let field = if is_position(path) {
            path.rsplit_once('[').map_or(path, |(field, _)| field)
        } else {
            path
        };
        let name = field.rsplit('.').next().unwrap_or(field);
        let is_there = |words: &str| {
            let letter = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
            let mut all = message.match_indices(words);
            all.any(|(at, found)| {
                !letter(message[..at].chars().next_back())
                    && !letter(message[at + found.len()..].chars().next())
            })
        };
        is_there(path) || is_there(name)
    }

    /// Whether two cases are of fields of which neither holds the other.
    #[must_use]
    pub fn is_apart(&self, other: &Case) -> bool {
        let (one, other) = (
            format!("{}/", self.place.pointer),
            format!("{}/", other.place.pointer),
        );
        !one.starts_with(&other) && !other.starts_with(&one)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_and_keys_are_left_out_of_a_general_path() {
        assert_eq!(
            general("spec.podOverrides.env[3].value", Parent::Object),
            "spec.podOverrides.env[].value"
        );
        assert_eq!(
            general("spec.nodeSelectors[1].a.example/b", Parent::Map),
            "spec.nodeSelectors[].*"
        );
        assert_eq!(
            general("spec.podOverrides.labels.a.b/c", Parent::Map),
            "spec.podOverrides.labels.*"
        );
    }

    #[test]
    fn a_bound_that_only_the_description_knows_of_is_tried() {
        let schema = json!({"properties": {"spec": {"properties": {"count": {
            "type": "integer", "description": "Units per pod (1 to 64).",
        }}}}});
        let object = json!({"spec": {"count": 2}});
        let place = places(&schema, &object)
            .into_iter()
            .find(|place| place.path == "spec.count");
        let all = cases(&place.unwrap(), &json!(2));
        let refused = |value: Value| {
            all.iter()
                .any(|case| case.verdict == Verdict::Refused && case.value.as_ref() == Some(&value))
        };
        assert!(refused(json!(0)) && refused(json!(65)) && !refused(json!(64)));
    }

    #[test]
    fn a_field_is_named_by_its_path_or_by_its_name_as_a_word() {
        let object = json!({"spec": {"max": 1}});
        let place = places(&json!({}), &object).remove(0);
        let case = Case {
            place,
            what: "",
            value: None,
            verdict: Verdict::Either,
        };
        assert!(case.is_named("spec.max: Required value") && case.is_named("a gate needs min, max or beats"));
        assert!(!case.is_named("spec.maximum: Required value"));
    }
}
