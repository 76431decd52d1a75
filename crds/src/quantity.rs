//! Kubernetes' way to write an amount, as users write it: `500m`, `4Gi`, or the bare number 2.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, de};

/// An amount of a resource, kept as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Quantity(pub String);

impl Quantity {
    /// From its text.
    pub fn new(text: impl Into<String>) -> Self {
        Quantity(text.into())
    }

    /// The amount in whole units of the resource (bytes, cores, devices), a fraction rounded up. Nothing where the
    /// text is no quantity, or too large for any machine.
    pub fn whole(&self) -> Option<u64> {
        let (dividend, divisor) = self.fraction()?;
        u64::try_from(dividend.div_ceil(divisor)).ok()
    }

    /// Whether it is more or less than another, as amounts: `1000m` is `1`. Nothing where one is no quantity, or too
    /// large for any machine.
    pub fn compare(&self, other: &Quantity) -> Option<Ordering> {
        let ((ours, our_parts), (theirs, their_parts)) = (self.fraction()?, other.fraction()?);
        Some(
            ours.checked_mul(their_parts)?
                .cmp(&theirs.checked_mul(our_parts)?),
        )
    }

    /// The amount as a dividend and a divisor.
    fn fraction(&self) -> Option<(u128, u128)> {
        let text = self.0.strip_prefix('+').unwrap_or(&self.0);
        let end = text
            .find(|character: char| !character.is_ascii_digit() && character != '.')
            .unwrap_or(text.len());
        let (number, suffix) = text.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let (base, exponent): (u128, i32) = match suffix {
            "" => (10, 0),
            "n" => (10, -9),
            "u" => (10, -6),
            "m" => (10, -3),
            "k" => (10, 3),
            "M" => (10, 6),
            "G" => (10, 9),
            "T" => (10, 12),
            "P" => (10, 15),
            "E" => (10, 18),
            "Ki" => (2, 10),
            "Mi" => (2, 20),
            "Gi" => (2, 30),
            "Ti" => (2, 40),
            "Pi" => (2, 50),
            "Ei" => (2, 60),
            _ => (10, suffix.strip_prefix(['e', 'E'])?.parse().ok()?),
        };
        let digits: u128 = format!("{whole}{fraction}").parse().ok()?;
        let scale = |base: u128, exponent: i32| base.checked_pow(exponent.unsigned_abs());
        let divisor = scale(10, i32::try_from(fraction.len()).ok()?)?;
        if exponent < 0 {
            return Some((digits, divisor.checked_mul(scale(base, exponent)?)?));
        }
        Some((digits.checked_mul(scale(base, exponent)?)?, divisor))
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&Quantity> for k8s_openapi::apimachinery::pkg::api::resource::Quantity {
    fn from(quantity: &Quantity) -> Self {
        k8s_openapi::apimachinery::pkg::api::resource::Quantity(quantity.0.clone())
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Quantity;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a quantity such as 2, 500m or 4Gi")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Quantity, E> {
                Ok(Quantity(text.to_owned()))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Quantity, E> {
                Ok(Quantity(number.to_string()))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Quantity, E> {
                Ok(Quantity(number.to_string()))
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Quantity, E> {
                Ok(Quantity(number.to_string()))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl JsonSchema for Quantity {
    fn schema_name() -> Cow<'static, str> {
        "Quantity".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        // The grammar of k8s.io/apimachinery/pkg/api/resource for amounts above 0: no field of ours means anything
        // with none, and Kubernetes takes a limit of 0 for none at all.
        json_schema!({
            "x-kubernetes-int-or-string": true,
            "minimum": 1,
            "maxLength": 32,
            "pattern": r"^\+?(0*[1-9][0-9]*(\.[0-9]*)?|[0-9]*\.0*[1-9][0-9]*)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]{1,2})?$",
        })
    }
}

/// A whole number of a device plugin's resource: extended resources cannot be divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnitCount(pub u32);

impl Serialize for UnitCount {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for UnitCount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let quantity = Quantity::deserialize(deserializer)?;
        quantity
            .0
            .parse()
            .map(UnitCount)
            .map_err(|_| de::Error::custom(format!("{quantity} is not a whole number")))
    }
}

impl JsonSchema for UnitCount {
    fn schema_name() -> Cow<'static, str> {
        "UnitCount".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "x-kubernetes-int-or-string": true,
            "minimum": 1,
            "maximum": 4096,
            "maxLength": 4,
            "pattern": "^([1-9][0-9]{0,2}|[1-3][0-9]{3}|40[0-8][0-9]|409[0-6])$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_numbers() {
        for (text, number) in [
            ("8", Some(8)),
            ("+2", Some(2)),
            ("1500m", Some(2)),
            ("4Gi", Some(4 << 30)),
            ("1.5Ki", Some(1536)),
            ("23034Mi", Some(23_034 << 20)),
            ("1e3", Some(1000)),
            ("2E", Some(2_000_000_000_000_000_000)),
            (".5", Some(1)),
            ("0", Some(0)),
            ("99Ei", None),
            ("4Q", None),
            ("", None),
        ] {
            assert_eq!(Quantity::new(text).whole(), number, "{text}");
        }
    }

    #[test]
    fn quantities_are_compared_as_amounts_and_not_as_they_are_written() {
        for (one, other, ordering) in [
            ("1000m", "1", Some(Ordering::Equal)),
            ("1.5Gi", "1536Mi", Some(Ordering::Equal)),
            ("1e3", "1k", Some(Ordering::Equal)),
            ("1001m", "1", Some(Ordering::Greater)),
            ("1G", "1Gi", Some(Ordering::Less)),
            ("1n", "1", Some(Ordering::Less)),
            ("8Ei", "0.001", Some(Ordering::Greater)),
            ("4Q", "1", None),
            ("1", "", None),
        ] {
            assert_eq!(
                Quantity::new(one).compare(&Quantity::new(other)),
                ordering,
                "{one} {other}"
            );
        }
    }
}
