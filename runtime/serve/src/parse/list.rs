//! A list that is refused as soon as it is too long: each element may take more memory than its text.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeSeed, Deserializer, Error, SeqAccess, Visitor};

use super::field::no_text;

/// Parses a list.
#[derive(Clone, Copy, Debug)]
pub struct AtMost<S> {
    /// Most elements.
    pub limit: usize,
    /// What they are, for messages.
    pub what: &'static str,
    /// Parses one.
    pub element: S,
}

impl<T> AtMost<PhantomData<T>> {
    /// Elements that need nothing to be parsed.
    pub fn of(limit: usize, what: &'static str) -> Self {
        let element = PhantomData;
        AtMost { limit, what, element }
    }
}

impl<'de, S: DeserializeSeed<'de> + Copy> DeserializeSeed<'de> for AtMost<S> {
    type Value = Vec<S::Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, S: DeserializeSeed<'de> + Copy> Visitor<'de> for AtMost<S> {
    type Value = Vec<S::Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of {}", self.what)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Self::Value, E> {
        Err(no_text(&self))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = list.next_element_seed(self.element)? {
            if elements.len() == self.limit {
                return Err(A::Error::custom(format_args!(
                    "there are more than {} {}",
                    self.limit, self.what
                )));
            }
            elements.push(element);
        }
        Ok(elements)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_more_than_the_limit_is_refused() {
        let parse = |json: &str| {
            let list = AtMost::<PhantomData<u64>>::of(2, "dimensions");
            list.deserialize(&mut serde_json::Deserializer::from_str(json))
        };
        assert_eq!(parse("[3, 4]").unwrap(), [3, 4]);
        let error = parse("[3, 4, 5, no JSON any more").unwrap_err().to_string();
        assert!(error.starts_with("there are more than 2 dimensions"), "{error}");
    }
}
