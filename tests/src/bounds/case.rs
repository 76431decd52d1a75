//! A field with another value, and what must become of it.

use serde_json::Value;

use super::{Parent, Place};

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
    use serde_json::json;

    use super::*;
    use crate::bounds::places;

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
