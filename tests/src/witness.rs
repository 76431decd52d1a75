//! What the cluster knows of a namespace whose test failed.

use std::process::Command;

/// Conditions of our objects, pods, events and the end of the operator's log, as text.
#[must_use]
pub fn account(namespace: &str) -> String {
    let conditions = "jsonpath={range .items[*]}{.kind}/{.metadata.name}: {.status.phase}, generation {.metadata.generation} seen as \
                      {.status.observedGeneration}{\"\\n\"}{range .status.conditions[*]}  {.type}={.status} {.reason}: {.message}{\"\\n\"}{end}{end}";
    let questions: [(&str, &[&str]); 5] = [
        ("conditions", &["get", "mtrain,mdep", "--output", conditions]),
        (
            "objects",
            &[
                "get",
                "jobs,deployments,pods,persistentvolumeclaims,services",
                "--output",
                "wide",
            ],
        ),
        ("events", &["get", "events", "--sort-by", ".lastTimestamp"]),
        (
            "pods' logs",
            &[
                "logs",
                "--selector",
                "app.kubernetes.io/managed-by=sconce",
                "--tail",
                "15",
                "--prefix",
            ],
        ),
        (
            "operator's log",
            &[
                "logs",
                "--namespace",
                "sconce-system",
                "deployment/sconce",
                "--tail",
                "400",
            ],
        ),
    ];
    let sections = questions.iter().map(|(title, arguments)| {
        let mut kubectl = Command::new("kubectl");
        if !arguments.contains(&"--namespace") {
            kubectl.args(["--namespace", namespace]);
        }
        let said = kubectl.args(*arguments).arg("--request-timeout=10s").output();
        let text = said.map_or_else(
            |error| format!("kubectl cannot be run: {error}"),
            |said| {
                String::from_utf8_lossy(&said.stdout).into_owned() + &String::from_utf8_lossy(&said.stderr)
            },
        );
        format!(
            "-- {title}\n{}",
            last(&text, 60, |line| *title != "operator's log"
                || line.contains(namespace))
        )
    });
    sections.collect::<Vec<_>>().join("\n")
}

fn last(text: &str, count: usize, belongs: impl Fn(&str) -> bool) -> String {
    let lines: Vec<&str> = text.trim_end().lines().filter(|line| belongs(line)).collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_that_belong_are_shown() {
        assert_eq!(
            last("a 1\nb 2\na 3\na 4\n", 2, |line| line.starts_with('a')),
            "a 3\na 4"
        );
    }
}
