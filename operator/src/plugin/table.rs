//! Text in columns and lines for a terminal.

use jiff::{SignedDuration, Timestamp};

/// Rows under a heading, each column as wide as its widest cell.
pub fn columns(heading: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows
            .iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count());
        cells.chain([heading[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..heading.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded: Vec<String> = cells
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        padded.join("   ").trim_end().to_owned() + "\n"
    };
    let mut text = line(&mut heading.iter().copied());
    for row in rows {
        text += &line(&mut row.iter().map(String::as_str));
    }
    text
}

/// The lines of a text, none wider than `width` characters where a space lets it be broken.
pub fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for paragraph in text.lines() {
        let mut line = String::new();
        for word in paragraph.split(' ') {
            let long = line.chars().count() + 1 + word.chars().count() > width;
            if long && !line.trim().is_empty() {
                lines.push(std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line += word;
        }
        lines.push(line);
    }
    lines
}

/// How long ago, as kubectl writes it: `45s`, `12m`, `3h`, `9d`.
pub fn age(since: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(since).max(SignedDuration::ZERO).as_secs();
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// Characters in a line of the terminal: as its shell says, else 100.
pub fn terminal_width() -> usize {
    let said = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
    said.unwrap_or(100).clamp(40, 240)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [
            vec!["nvidia-l4".to_owned(), "3".to_owned()],
            vec!["é".to_owned(), "12".to_owned()],
        ];
        assert_eq!(
            columns(&["PROFILE", "UNITS"], &rows),
            "PROFILE     UNITS\nnvidia-l4   3\né           12\n"
        );
    }

    #[test]
    fn long_lines_are_broken_at_spaces_only() {
        assert_eq!(wrapped("no node can take", 8), ["no node", "can take"]);
        assert_eq!(
            wrapped("registry.example/image x", 8),
            ["registry.example/image", "x"]
        );
        assert_eq!(wrapped("", 8), Vec::<String>::new());
    }

    #[test]
    fn ages_are_as_kubectl_writes_them() {
        let at = |second| Timestamp::from_second(second).unwrap();
        for (seconds, text) in [
            (-5, "0s"),
            (119, "119s"),
            (150, "2m"),
            (7_300, "2h"),
            (200_000, "2d"),
        ] {
            assert_eq!(age(at(0), at(seconds)), text);
        }
    }
}
