//! Pieces of Markdown. What comes from a table or a person is shown, never understood.

/// A text in the flow or in a cell of a table: one line, and nothing in it is markup.
pub(super) fn plain(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '~' | '!' => shown.extend(['\\', character]),
            '<' => shown.push_str("&lt;"),
            '&' => shown.push_str("&amp;"),
            _ if character.is_control() => shown.push(' '),
            _ => shown.push(character),
        }
    }
    shown
}

/// A text as code: a name of the spec or of a file.
pub(super) fn code(text: &str) -> String {
    match text.contains(['`', '|', '\n', '\r']) || text.trim().is_empty() {
        true => plain(text),
        false => format!("`{text}`"),
    }
}

/// A text in YAML, whatever is in it.
pub(super) fn quoted(text: &str) -> String {
    // Every string of JSON is one of YAML.
    serde_json::Value::from(text).to_string()
}

/// A number to four significant digits.
pub(super) fn number(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return format!("{value}");
    }
    let short: f64 = format!("{value:.3e}").parse().unwrap_or(value);
    match short.abs() {
        size if (1e-4..1e6).contains(&size) => format!("{short}"),
        _ => format!("{short:e}"),
    }
}

/// A share in percent.
pub(super) fn percent(part: u64, whole: u64) -> String {
    match whole {
        0 => "0 %".to_owned(),
        _ => format!("{:.1} %", 100.0 * part as f64 / whole as f64),
    }
}

/// Whole numbers in groups of three.
pub(super) fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A table; the cells are Markdown already. A column whose title ends in a colon is one of numbers, set to the right.
pub(super) fn table(titles: &[&str], rows: &[Vec<String>]) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let shown: Vec<String> = titles
        .iter()
        .map(|title| title.strip_suffix(':').unwrap_or(title).to_owned())
        .collect();
    let rule: Vec<String> = titles
        .iter()
        .map(|title| if title.ends_with(':') { "--:" } else { "---" }.to_owned())
        .collect();
    let mut text = line(&shown) + &line(&rule);
    for row in rows {
        text += &line(row);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_person_wrote_is_no_markup() {
        for (text, shown) in [
            ("mean radius", "mean radius"),
            ("a|b", "a\\|b"),
            ("<script>", "&lt;script>"),
            ("two\nlines", "two lines"),
            ("*x* [y](z) `c`", "\\*x\\* \\[y\\](z) \\`c\\`"),
        ] {
            assert_eq!(plain(text), shown);
        }
        assert_eq!((code("a_b").as_str(), code("a|b").as_str()), ("`a_b`", "a\\|b"));
        assert_eq!(quoted("a: \"b\"\n"), "\"a: \\\"b\\\"\\n\"");
    }

    #[test]
    fn numbers_are_short() {
        for (value, text) in [
            (0.0, "0"),
            (0.982_456_14, "0.9825"),
            (1.0, "1"),
            (123_456.7, "123500"),
            (0.000_012_3, "1.23e-5"),
            (-2.5e9, "-2.5e9"),
        ] {
            assert_eq!(number(value), text);
        }
        assert_eq!((grouped(1), grouped(1234), grouped(1_234_567)).2, "1,234,567");
        assert_eq!(grouped(123), "123");
        assert_eq!(percent(1, 8), "12.5 %");
    }

    #[test]
    fn a_table_has_its_columns() {
        let text = table(&["name", "rows:"], &[vec!["a".into(), "1".into()]]);
        assert_eq!(text, "| name | rows |\n| --- | --: |\n| a | 1 |\n");
    }
}
