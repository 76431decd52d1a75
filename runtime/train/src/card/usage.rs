//! How to serve and to read the model, and what it cannot do.

use sconce_contract::{Encoding, UnknownWords};

use super::Subject;
use super::markdown::code;

/// Most columns that a sentence names.
const NAMES: usize = 8;

pub(super) fn section(subject: &Subject<'_>) -> String {
    let name = &subject.plan.name;
    let uri = &subject.artifact.uri;
    format!(
        r#"## Use

Serve it on Kubernetes, beside the training:

```yaml
apiVersion: sconce.dev/v1alpha1
kind: ModelDeployment
metadata: {{name: {name}}}
spec: {{model: {{trainingRef: {{name: {name}}}}}}}
```

or by itself, with `model: {{uri: {uri}}}`. Read it in Python, without Sconce:

```python
import json
from safetensors.numpy import load_file

weights = load_file("model.safetensors")         # layers.<index>.<name>, F32
network = json.load(open("network.json"))        # the layers, in order
preprocess = json.load(open("preprocess.json"))  # (value - mean) / scale of each column; words; classes
```
"#
    )
}

pub(super) fn limits(subject: &Subject<'_>) -> String {
    let mut lines = Vec::new();
    let features = &subject.preprocess.features;
    let named = |filter: &dyn Fn(&sconce_contract::Feature) -> bool| {
        let names: Vec<String> = features
            .iter()
            .filter(|feature| filter(feature))
            .map(|feature| code(&feature.name))
            .collect();
        names
    };
    let filled = named(&|feature| feature.missing.is_some());
    lines.push(match filled.len() {
        0 => "No value may be missing: a request with null is refused.".to_owned(),
        count if count == features.len() => {
            "A value that is missing (null) is filled by what the training rows say.".to_owned()
        }
        _ => format!(
            "A value that is missing (null) is filled by what the training rows say in {}, and refused elsewhere.",
            list(&filled)
        ),
    });
    let words = |unknown: UnknownWords| {
        named(&|feature| {
            feature
                .vocabulary
                .as_ref()
                .is_some_and(|words| words.unknown == unknown)
        })
    };
    let refused = words(UnknownWords::Refuse);
    if !refused.is_empty() {
        lines.push(format!(
            "A word that was not in the table is refused, in {}.",
            list(&refused)
        ));
    }
    let ignored = words(UnknownWords::Ignore);
    if !ignored.is_empty() {
        lines.push(format!(
            "A word that was not in the table counts as none, in {}.",
            list(&ignored)
        ));
    }
    let indexed = named(&|feature| {
        feature
            .vocabulary
            .as_ref()
            .is_some_and(|words| words.encoding == Encoding::Index)
    });
    if !indexed.is_empty() {
        lines.push(format!(
            "The words of {} are numbers in alphabetical order to the network.",
            list(&indexed)
        ));
    }
    lines.push(
        "Values far from those that it learned from (the ranges above) are answered all the same, and nothing was \
         measured there."
            .to_owned(),
    );
    if subject.rows[2] == 0 {
        let rows = match subject.rows[1] {
            0 => "No row was held out: how good it is on rows that it has not seen is not known.",
            _ => "No row was held out but those watched while learning: the results flatter it.",
        };
        lines.push(rows.to_owned());
    }
    lines.push(format!(
        "The same seed ({}), table and number of threads give the same bits.",
        subject.manifest.seed
    ));
    let lines: Vec<String> = lines.iter().map(|line| format!("- {line}\n")).collect();
    format!("## Limits\n\n{}", lines.concat())
}

fn list(names: &[String]) -> String {
    match names.len() {
        count if count > NAMES => format!("{} and {} more", names[..NAMES].join(", "), count - NAMES),
        _ => names.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_is_cut() {
        let names: Vec<String> = (0..10).map(|name| name.to_string()).collect();
        assert_eq!(list(&names), "0, 1, 2, 3, 4, 5, 6, 7 and 2 more");
        assert_eq!(list(&names[..2]), "0, 1");
    }
}
