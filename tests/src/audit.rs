//! Who wrote how often: the API server's own record of the writes of service accounts, exact and cheap.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use crate::{Error, Result};

/// A write as the API server recorded it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The user, such as `system:serviceaccount:sconce-system:sconce`.
    pub user: String,
    /// `create`, `update`, `patch` or `delete`.
    pub verb: String,
    /// Plural of the kind, with the subresource where there is one: `jobs`, `modeltrainings/status`.
    pub resource: String,
    /// Name of the object; empty where the API server was asked to make one up.
    pub name: String,
    /// Status code of the answer.
    pub code: u16,
}

/// Writes, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Writes(pub Vec<Write>);

impl Writes {
    /// Those of one user, without the Lease by which it leads.
    #[must_use]
    pub fn of(&self, user: &str) -> Writes {
        let of = |write: &&Write| write.user == user && write.resource != "leases";
        Writes(self.0.iter().filter(of).cloned().collect())
    }

    /// Those after the first `count`.
    #[must_use]
    pub fn since(&self, count: usize) -> Writes {
        Writes(self.0.iter().skip(count).cloned().collect())
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// How many there are of each verb and resource, as `create jobs`.
    #[must_use]
    pub fn by_kind(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for write in &self.0 {
            *counts
                .entry(format!("{} {}", write.verb, write.resource))
                .or_insert(0) += 1;
        }
        counts
    }
}

/// Reads and the administrator's writes are not recorded.
pub(crate) fn write_policy(file: &Path) -> Result<()> {
    let policy = json!({
        "apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"],
        "rules": [
            {"level": "None", "userGroups": ["system:serviceaccounts:kube-system"]},
            {
                "level": "Metadata", "userGroups": ["system:serviceaccounts"],
                "verbs": ["create", "update", "patch", "delete", "deletecollection"],
            },
            {"level": "None"},
        ],
    });
    std::fs::write(file, policy.to_string()).map_err(Error::file("write", file))
}

pub(crate) fn read(log: &Path) -> Result<Writes> {
    let text = std::fs::read_to_string(log).map_err(Error::file("read", log))?;
    Ok(Writes(text.lines().filter_map(parse).collect()))
}

/// A line of the log; nothing where it is cut off or tells of no answer.
fn parse(line: &str) -> Option<Write> {
    let event: Value = serde_json::from_str(line).ok()?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let object = &event["objectRef"];
    let resource = match object["subresource"].as_str() {
        Some(part) => format!("{}/{part}", text(&object["resource"])),
        None => text(&object["resource"]),
    };
    Some(Write {
        user: text(&event["user"]["username"]),
        verb: text(&event["verb"]),
        resource,
        name: text(&object["name"]),
        code: u16::try_from(event["responseStatus"]["code"].as_u64()?).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recorded_write_is_read_and_the_lease_is_not_counted() {
        let line = |resource: &str| {
            json!({
                "verb": "patch", "user": {"username": "u"}, "responseStatus": {"code": 200},
                "objectRef": {"resource": resource, "subresource": "status", "name": "n"},
            })
            .to_string()
        };
        let write = parse(&line("jobs")).unwrap();
        assert_eq!(
            (write.resource.as_str(), write.name.as_str(), write.code),
            ("jobs/status", "n", 200)
        );
        let lease = Write {
            resource: "leases".to_owned(),
            ..write.clone()
        };
        assert_eq!(Writes(vec![write, lease]).of("u").count(), 1);
        assert_eq!(parse("{\"verb\":"), None);
    }
}
