//! Words that thousands of objects repeat.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize};

use crate::labels;
use crate::pod::CONTAINER;

/// Those that take no memory of their own.
const KNOWN: &[&str] = &[
    "True",
    "False",
    "Unknown",
    "Ready",
    "PodScheduled",
    "PodReadyToStartContainers",
    "DisruptionTarget",
    "ContainersNotReady",
    "Unschedulable",
    "PodCompleted",
    "Complete",
    "Failed",
    "SuccessCriteriaMet",
    "CompletionsReached",
    "Suspended",
    "Pending",
    "Running",
    "Succeeded",
    "ContainerCreating",
    "Completed",
    "Error",
    "cpu",
    "memory",
    CONTAINER,
    labels::MANAGED_BY,
    labels::APP_NAME,
    labels::COMPONENT,
    labels::TRAINING,
    labels::DEPLOYMENT,
    labels::REVISION,
    labels::JOB_NAME,
    labels::MODEL_URI,
    labels::MODEL_DIGEST,
    labels::TRAINING_UID,
    labels::WANTED_SINCE,
    labels::RETRIED,
    labels::DEPLOYMENT_UID,
];

/// A text of which few different ones are to be expected, as the type of a condition or the key of a label.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Word(Cow<'static, str>);

impl Word {
    fn read(text: &str) -> Self {
        let known = KNOWN.iter().find(|known| **known == text);
        Word(known.map_or_else(|| Cow::Owned(text.to_owned()), |known| Cow::Borrowed(*known)))
    }
}

impl Deref for Word {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl From<&'static str> for Word {
    fn from(text: &'static str) -> Self {
        Word(Cow::Borrowed(text))
    }
}

impl From<String> for Word {
    fn from(text: String) -> Self {
        Word(Cow::Owned(text))
    }
}

impl PartialEq<str> for Word {
    fn eq(&self, other: &str) -> bool {
        self.0 == other
    }
}

impl PartialEq<&str> for Word {
    fn eq(&self, other: &&str) -> bool {
        self.0 == *other
    }
}

impl fmt::Debug for Word {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, formatter)
    }
}

impl fmt::Display for Word {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self)
    }
}

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl Visitor<'_> for Reader {
            type Value = Word;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a text")
            }

            fn visit_str<E>(self, text: &str) -> Result<Word, E> {
                Ok(Word::read(text))
            }
        }

        deserializer.deserialize_str(Reader)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_is_known_takes_no_memory_and_any_other_is_kept_too() {
        for (text, known) in [("True", true), ("example.com/Warm", false), ("", false)] {
            let word: Word = serde_json::from_value(text.into()).unwrap();
            assert_eq!(word, text);
            assert_eq!(matches!(word.0, Cow::Borrowed(_)), known, "{text}");
        }
    }
}
