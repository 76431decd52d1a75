//! Words that kubectl reads as true or false, and this program as text.
//!
//! kubectl reads YAML 1.1, where a bare `y`, `no` or `on` is a boolean, which the API server then refuses where it
//! wants a text; this program reads YAML 1.2. What is in quotes, in a comment or in a block of text is text to both.

/// As kubectl's parser has them, but for those that YAML 1.2 has too.
const WORDS: [&str; 16] = [
    "y", "Y", "yes", "Yes", "YES", "n", "N", "no", "No", "NO", "on", "On", "ON", "off", "Off", "OFF",
];
/// The kinds that a rehearsal reads: in others, such as a Pod, a field may well be a boolean.
const KINDS: [&str; 4] = ["ModelTraining", "ModelDeployment", "ConfigMap", "List"];
/// What ends a bare word between brackets or braces.
const FLOW: &str = ",[]{}";

/// What to mend first in a file of one or more documents; nothing where there is no such word.
pub fn complaint(text: &str) -> Option<String> {
    let lines: Vec<(usize, &str)> = (1..).zip(text.lines()).collect();
    let (line, word) = lines
        .split(|(_, line)| line.starts_with("--- ") || line.trim_end() == "---")
        .filter(|document| is_read(document))
        .find_map(first_word)?;
    Some(format!(
        "line {line}: kubectl reads `{word}` as true or false: write it in quotes, or as `true` or `false` if that \
         is meant"
    ))
}

/// Whether a document is of a kind that a rehearsal reads, or does not say its kind on a line of its own.
fn is_read(document: &[(usize, &str)]) -> bool {
    let kind = document.iter().find_map(|(_, line)| line.strip_prefix("kind:"));
    kind.is_none_or(|kind| {
        let kind = kind.split('#').next().unwrap_or_default();
        KINDS.contains(&kind.trim().trim_matches(['"', '\'']))
    })
}

fn first_word<'a>(document: &[(usize, &'a str)]) -> Option<(usize, &'a str)> {
    let mut scanner = Scanner {
        expects: true,
        ..Scanner::default()
    };
    document.iter().enumerate().find_map(|(at, &(number, line))| {
        let word = scanner.word(line)?;
        let next = document[at + 1..]
            .iter()
            .find(|(_, line)| !line.trim().is_empty());
        if line.trim_end().ends_with(word) && next.is_some_and(|(_, next)| scanner.goes_on(next)) {
            scanner.expects = false;
            return None;
        }
        Some((number, word))
    })
}

/// What is known of a document after some of its lines.
#[derive(Default)]
struct Scanner {
    /// Brackets and braces that are open.
    depth: usize,
    /// The quotation mark that is open.
    quote: Option<char>,
    /// A block of text is under way: what is indented deeper than this.
    block: Option<usize>,
    /// The column of the last key or dash, which a block of text would be deeper than.
    parent: usize,
    /// The column of the last word or quotation.
    start: usize,
    /// A value is due; anything else would go on with the one before.
    expects: bool,
    /// The value that is due has a tag, such as `!!str`, that says what it is.
    tagged: bool,
}

impl Scanner {
    /// Whether this line goes on with the text at the end of the one before.
    fn goes_on(&self, line: &str) -> bool {
        let text = line.trim_start_matches(' ');
        self.depth == 0 && line.len() - text.len() > self.parent && !text.starts_with('#')
    }

    /// The first word of a line that kubectl reads as a boolean.
    fn word<'a>(&mut self, line: &'a str) -> Option<&'a str> {
        if self.is_in_block(line) {
            return None;
        }
        let mut rest = line;
        loop {
            rest = self.bare(rest)?;
            let column = line.len() - rest.len();
            rest = match self.sign(rest, column) {
                Some(after) => after,
                None if self.block.is_some() => return None,
                None => {
                    let end = word_end(rest, self.depth > 0);
                    let word = rest[..end].trim_end();
                    let is_key = rest[end..].starts_with(':');
                    if WORDS.contains(&word) && (self.expects || is_key) && !self.tagged {
                        return Some(word);
                    }
                    self.take(column);
                    &rest[end..]
                }
            };
        }
    }

    /// Whether a line belongs to a block of text, which ends at the first line that is not deep enough.
    fn is_in_block(&mut self, line: &str) -> bool {
        let Some(parent) = self.block else {
            return false;
        };
        let indentation = line.len() - line.trim_start_matches(' ').len();
        if line.trim().is_empty() || indentation > parent {
            return true;
        }
        self.block = None;
        false
    }

    /// What of a line comes next that is neither in quotes, space nor a comment.
    fn bare<'a>(&mut self, rest: &'a str) -> Option<&'a str> {
        let rest = match self.quote {
            Some(mark) => after_quote(rest, mark)?,
            None => rest,
        };
        self.quote = None;
        Some(rest.trim_start()).filter(|rest| !rest.is_empty() && !rest.starts_with('#'))
    }

    /// What comes after a sign at the beginning of `rest`; nothing where a word begins there, or a block of text
    /// below this line.
    fn sign<'a>(&mut self, rest: &'a str, column: usize) -> Option<&'a str> {
        let first = rest.chars().next()?;
        let after = &rest[first.len_utf8()..];
        let is_apart = after.chars().next().is_none_or(char::is_whitespace);
        let in_flow = self.depth > 0;
        match first {
            '"' | '\'' => {
                self.take(column);
                self.quote = Some(first);
            }
            '[' | '{' if self.expects || in_flow => {
                self.depth += 1;
                self.expects = true;
            }
            ']' | '}' if in_flow => {
                self.depth -= 1;
                self.expects = false;
            }
            ',' if in_flow => self.expects = true,
            ':' if is_apart || in_flow => {
                self.parent = self.start;
                self.expects = true;
            }
            '-' | '?' if is_apart => {
                self.parent = column;
                self.expects = true;
            }
            '!' | '&' => {
                self.tagged |= first == '!';
                return Some(&rest[rest.find(char::is_whitespace).unwrap_or(rest.len())..]);
            }
            '|' | '>' if self.expects && !in_flow => {
                self.take(column);
                self.block = Some(self.parent);
                return None;
            }
            _ => return None,
        }
        Some(after)
    }

    /// A value or key begins in this column.
    fn take(&mut self, column: usize) {
        self.start = column;
        self.expects = false;
        self.tagged = false;
    }
}

/// Where the bare word at the beginning of a text ends; it has at least one character.
fn word_end(text: &str, in_flow: bool) -> usize {
    let mut before = ' ';
    for (at, character) in text.char_indices() {
        let next = text[at + character.len_utf8()..].chars().next();
        let ends = match character {
            '#' => before.is_whitespace(),
            ':' => next.is_none_or(|next| next.is_whitespace() || (in_flow && FLOW.contains(next))),
            _ => in_flow && FLOW.contains(character),
        };
        if at > 0 && ends {
            return at;
        }
        before = character;
    }
    text.len()
}

/// What comes after a quotation; nothing where it goes on in the next line.
fn after_quote(text: &str, mark: char) -> Option<&str> {
    let mut is_escaped = false;
    for (at, character) in text.char_indices() {
        if is_escaped {
            is_escaped = false;
        } else if character == '\\' && mark == '"' {
            is_escaped = true;
        } else if character == mark {
            return Some(&text[at + character.len_utf8()..]);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_word_is_told_with_its_line_wherever_it_stands() {
        for (text, line, word) in [
            ("spec:\n  target: y\n", 2, "y"),
            ("a: true\nb: NO # not\n", 2, "NO"),
            ("features:\n- x\n- n\n", 3, "n"),
            ("dataset: {uri: x, target: y}\n", 1, "y"),
            ("features: [a,\n  on]\n", 2, "on"),
            ("weights:\n  y: 1\n", 2, "y"),
            ("target:\n  Off\n", 2, "Off"),
            ("'a': yes\n", 1, "yes"),
            ("a: ok\n---\n# second\nb: No\n", 4, "No"),
            ("kind: \"ModelTraining\" # ours\nb: No\n", 2, "No"),
            ("a: |\n  y\nb: y\n", 3, "y"),
            ("- a: |\n    y\n  b: y\n", 3, "y"),
        ] {
            let found = complaint(text).unwrap_or_default();
            let start = format!("line {line}: kubectl reads `{word}` as true or false: write it in quotes");
            assert!(found.starts_with(&start), "{text}: {found:?}");
        }
    }

    #[test]
    fn text_to_both_is_left_alone() {
        for text in [
            "a: true\nb: False\nc: yesterday\nd: no idea\n",
            "a: 'y'\nb: \"no\"\nc: [\"y\", 'n']\n'on': 1\n",
            "a: \"he said\n  no\n  on: off\"\nb: 'it''s\n  yes'\n",
            "a: \"a \\\" quote\n  y: 1\"\n",
            "a: !!str y\nb: x # y\n# c: y\n",
            "a: http://y.example/no\nb: x:y\nc: -y\n",
            "a: see\n  on\n",
            "a: no\n  further rows\nb: 1\n",
            "{\"a\": \"y\", \"b\":[\"no\"]}\n",
        ] {
            assert_eq!(complaint(text), None, "{text}");
        }
    }

    #[test]
    fn a_table_in_a_block_of_text_is_left_alone() {
        let table = "kind: ConfigMap\ndata:\n  a.csv: |\n    x,label\n\n    1,y\n    y\n    - no\n    key: on\n  b: >-\n      n\n\
                     \x20     'open\n  c.csv: &rows |2\n    y\nmetadata: {name: a}\n";
        assert_eq!(complaint(table), None);
        let list = "- |\n  y\n- b: |\n    y\n-\n  c:\n  - |-\n    no\n";
        assert_eq!(complaint(list), None);
    }

    #[test]
    fn booleans_of_other_kinds_are_theirs() {
        let pod = "kind: Pod\nspec:\n  hostNetwork: yes\n";
        assert_eq!(complaint(pod), None);
        let both = format!("{pod}---\nkind: ModelTraining\nspec: {{target: y}}\n");
        assert!(complaint(&both).is_some_and(|found| found.starts_with("line 6: ")));
    }
}
