//! Every value that a field is tried with: of each type, at each bound, and past it.

use serde_json::{Value, json};

use super::texts::UNICODE;
use super::{Case, Parent, Place, Verdict};

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

pub(super) struct Cases<'a> {
    pub(super) place: &'a Place,
    all: Vec<Case>,
}

impl Cases<'_> {
    pub(super) fn push(&mut self, what: &'static str, value: Option<Value>, verdict: Verdict) {
        self.all.push(Case {
            place: self.place.clone(),
            what,
            value,
            verdict,
        });
    }

    pub(super) fn refused(&mut self, what: &'static str, value: Value) {
        self.push(what, Some(value), Verdict::Refused);
    }

    pub(super) fn either(&mut self, what: &'static str, value: Value) {
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bounds::places;

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
}
