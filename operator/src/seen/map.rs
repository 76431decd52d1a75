//! Maps of a few texts, as pairs in one piece: the nodes of a tree have room for eleven.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Word;
use crate::labels::{self, LAST_APPLIED};

/// Texts by key, in the order of the keys; without kubectl's copy of the object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Map(Box<[(Word, String)]>);

impl Map {
    /// The value of this key.
    pub fn get(&self, key: &str) -> Option<&String> {
        self.0
            .iter()
            .find(|(known, _)| known == key)
            .map(|(_, value)| value)
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All pairs.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (&**key, value.as_str()))
    }

    fn change(&mut self, change: impl FnOnce(&mut BTreeMap<Word, String>)) {
        let mut tree = std::mem::take(&mut self.0).into_vec().into_iter().collect();
        change(&mut tree);
        self.0 = tree.into_iter().collect();
    }

    fn read<'de, D>(deserializer: D, counts: impl Fn(&str) -> bool) -> Result<Self, D::Error>
    where
        D: Deserializer<'de>,
    {
        let read: Option<BTreeMap<Word, String>> = Deserialize::deserialize(deserializer)?;
        let pairs = read.into_iter().flatten();
        Ok(Map(pairs.filter(|(key, _)| counts(key)).collect()))
    }
}

impl<'de> Deserialize<'de> for Map {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Map::read(deserializer, |key| key != LAST_APPLIED)
    }
}

impl Serialize for Map {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

/// Labels or annotations, of which only those are kept that are read ([`labels::is_read`]).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Kept(Map);

impl Kept {
    /// The value of this key.
    ///
    /// # Panics
    /// In a debug build, where no value of this key is ever kept: see [`labels::is_read`].
    pub fn get(&self, key: &str) -> Option<&String> {
        debug_assert!(labels::is_read(key), "{key} is not kept: labels::is_read");
        self.0.get(key)
    }

    /// Whether there is a value of this key.
    ///
    /// # Panics
    /// As [`Kept::get`].
    pub fn contains_key(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Puts another value there.
    pub fn insert(&mut self, key: impl Into<Word>, value: String) {
        self.0.change(|all| {
            all.insert(key.into(), value);
        });
    }

    /// Takes a value away.
    pub fn remove(&mut self, key: &str) {
        self.0.change(|all| all.retain(|known, _| known != key));
    }
}

impl<'de> Deserialize<'de> for Kept {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Map::read(deserializer, labels::is_read).map(Kept)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn of_labels_and_annotations_those_are_kept_that_are_read() {
        let all = json!({
            LAST_APPLIED: "{}", labels::PLAN: "{}", "app.kubernetes.io/part-of": "shop",
            labels::TRAINING: "iris", labels::JOB_NAME: "iris-1", labels::DELETION_COST: "-1",
        });
        let kept: Kept = serde_json::from_value(all.clone()).unwrap();
        assert_eq!(
            serde_json::to_value(&kept).unwrap(),
            json!({labels::TRAINING: "iris", labels::JOB_NAME: "iris-1", labels::DELETION_COST: "-1"})
        );
        // What is compared is kept whole.
        let mut whole = all.clone();
        whole.as_object_mut().unwrap().remove(LAST_APPLIED);
        let map: Map = serde_json::from_value(all).unwrap();
        assert_eq!(serde_json::to_value(&map).unwrap(), whole);
    }

    #[test]
    #[should_panic(expected = "app.kubernetes.io/part-of is not kept")]
    fn to_ask_for_what_is_never_kept_is_an_error_of_the_program() {
        Kept::default().get("app.kubernetes.io/part-of");
    }

    #[test]
    fn a_value_is_changed_and_taken_away() {
        let mut kept = Kept::default();
        kept.insert(labels::TRAINING, "iris".to_owned());
        kept.insert(labels::TRAINING, "other".to_owned());
        assert_eq!(kept.get(labels::TRAINING).map(String::as_str), Some("other"));
        kept.remove(labels::TRAINING);
        assert!(kept.is_empty());
    }
}
