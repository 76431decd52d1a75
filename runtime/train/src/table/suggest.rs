//! Names that may have been meant.

/// Most names listed in a sentence.
const LISTED: usize = 20;

/// `; did you mean "diagnosis"? It has: …`, as the end of a sentence.
pub(super) fn suggestion(wanted: &str, columns: &[String]) -> String {
    let mut close: Vec<(usize, &String)> = columns
        .iter()
        .map(|column| (distance(&wanted.to_lowercase(), &column.to_lowercase()), column))
        .filter(|(distance, column)| *distance <= column.chars().count().max(wanted.chars().count()) / 3)
        .collect();
    close.sort();
    let quoted = |names: &mut dyn Iterator<Item = &String>| {
        names
            .map(|name| format!("{name:?}"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let meant = match close.len() {
        0 => String::new(),
        _ => format!(
            "; did you mean {}?",
            quoted(&mut close.iter().take(3).map(|(_, name)| *name))
        ),
    };
    let rest = match columns.len().saturating_sub(LISTED) {
        0 => String::new(),
        rest => format!(" and {rest} more"),
    };
    let separator = if meant.is_empty() { ":" } else { "" };
    format!(
        "{meant}{separator} its columns are {}{rest}",
        quoted(&mut columns.iter().take(LISTED))
    )
}

/// Edits of one character between two words (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let change = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = change.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_count_edits() {
        for (a, b, expected) in [("", "abc", 3), ("kitten", "sitting", 3), ("same", "same", 0)] {
            assert_eq!(distance(a, b), expected, "{a} {b}");
        }
    }

    #[test]
    fn the_closest_name_comes_first() {
        let columns = ["radius", "diagnosis", "texture"].map(str::to_owned);
        let says = suggestion("Diagnoses", &columns);
        assert_eq!(
            says,
            r#"; did you mean "diagnosis"? its columns are "radius", "diagnosis", "texture""#
        );
        assert!(
            suggestion("zzz", &columns).starts_with(": its columns are"),
            "no false friends"
        );
        let many: Vec<String> = (0..30).map(|index| format!("column{index}")).collect();
        assert!(suggestion("zzz", &many).ends_with(" and 10 more"));
    }
}
