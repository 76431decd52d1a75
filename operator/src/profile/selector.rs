//! Which devices a DeviceClass selects, where its selectors say so in words that are read here: the driver, and equalities
//! of attributes, joined by `&&`. CEL can say anything; what is not read is not guessed at. Pure.

use std::collections::BTreeMap;

use serde::Deserialize;

/// An attribute of a device.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Value {
    /// Text.
    String(String),
    /// Yes or no.
    Bool(bool),
    /// A number.
    Int(i64),
    /// A version, which CEL compares in a way of its own.
    Version(String),
}

/// One equality.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Term {
    /// `device.driver == "gpu.example"`.
    Driver(String),
    /// `device.attributes["gpu.example"].type == "gpu"`.
    Attribute {
        /// In brackets.
        domain: String,
        /// After the dot.
        name: String,
        /// What it is to be.
        value: Value,
    },
}

/// All equalities of a class' selectors, which all have to hold. Nothing where one of them is of another kind.
pub fn read<'a>(expressions: impl IntoIterator<Item = &'a str>) -> Option<Vec<Term>> {
    expressions
        .into_iter()
        .flat_map(|expression| expression.split("&&"))
        .map(term)
        .collect()
}

/// Whether they select a device. A device without an attribute that is asked for is not selected.
pub fn selects(terms: &[Term], driver: &str, attributes: &BTreeMap<String, Value>) -> bool {
    terms.iter().all(|term| match term {
        Term::Driver(asked) => asked == driver,
        Term::Attribute { domain, name, value } => {
            // A name without a domain is the driver's own.
            let short = || attributes.get(name).filter(|_| domain == driver);
            attributes.get(&format!("{domain}/{name}")).or_else(short) == Some(value)
        }
    })
}

fn term(text: &str) -> Option<Term> {
    let (left, right) = text.split_once("==")?;
    let (left, value) = (left.trim(), literal(right.trim())?);
    if left == "device.driver" {
        let Value::String(driver) = value else { return None };
        return Some(Term::Driver(driver));
    }
    let (domain, name) = left.strip_prefix("device.attributes[")?.split_once("].")?;
    let is_name =
        |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    is_name(name).then_some(Term::Attribute {
        domain: quoted(domain.trim())?.to_owned(),
        name: name.to_owned(),
        value,
    })
}

fn literal(text: &str) -> Option<Value> {
    match text {
        "true" => Some(Value::Bool(true)),
        "false" => Some(Value::Bool(false)),
        _ => match text.parse() {
            Ok(number) => Some(Value::Int(number)),
            Err(_) => quoted(text).map(|text| Value::String(text.to_owned())),
        },
    }
}

fn quoted(text: &str) -> Option<&str> {
    let inner = |quote: char| text.strip_prefix(quote)?.strip_suffix(quote);
    inner('"')
        .or_else(|| inner('\''))
        .filter(|inner| !inner.contains(['"', '\'', '\\']))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attributes(all: &[(&str, Value)]) -> BTreeMap<String, Value> {
        all.iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect()
    }

    #[test]
    fn the_driver_and_attributes_are_read_and_select() {
        let terms = read([
            "device.driver == 'gpu.example' && device.attributes['gpu.example'].type == 'gpu'",
            r#"device.attributes["gpu.example"].index == 3"#,
        ])
        .unwrap();
        assert_eq!(terms.len(), 3);
        let of = |kind: &str| {
            attributes(&[
                ("type", Value::String(kind.to_owned())),
                ("gpu.example/index", Value::Int(3)),
            ])
        };
        assert!(selects(&terms, "gpu.example", &of("gpu")));
        assert!(!selects(&terms, "gpu.example", &of("mig")));
        assert!(!selects(&terms, "other.example", &of("gpu")));
        assert!(!selects(&terms, "gpu.example", &attributes(&[])));
        assert!(
            selects(&read([]).unwrap(), "any.example", &attributes(&[])),
            "no selector selects all"
        );
    }

    #[test]
    fn what_is_said_in_other_words_is_not_guessed_at() {
        for expression in [
            "device.driver != 'a'",
            "device.driver == 'a' || device.driver == 'b'",
            "!(device.driver == 'a')",
            "device.driver in ['a', 'b']",
            "device.driver.startsWith('a')",
            "device.driver == 3",
            "device.capacity['a'].memory == quantity('40Gi')",
            "device.attributes['a'].name.matches('x') == true",
            r#"device.driver == "a\"b""#,
            "",
        ] {
            assert_eq!(read(["device.driver == 'a'", expression]), None, "{expression}");
        }
    }
}
