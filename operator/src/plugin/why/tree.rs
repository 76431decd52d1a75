//! Lines with children, drawn as a tree.

use crate::plugin::table::wrapped;

/// Something, what is said of it, and what hangs on it.
#[derive(Clone, Debug, Default)]
pub(super) struct Branch {
    /// One line.
    pub title: String,
    /// Sentences.
    pub says: Vec<String>,
    /// What hangs on it.
    pub children: Vec<Branch>,
}

impl Branch {
    pub(super) fn new(title: String) -> Self {
        Branch {
            title,
            ..Branch::default()
        }
    }

    /// The tree in lines of at most `width` characters.
    pub(super) fn drawn(&self, width: usize) -> String {
        let mut text = String::new();
        self.draw("", "", width, &mut text);
        text
    }

    fn draw(&self, first: &str, rest: &str, width: usize, text: &mut String) {
        let mut put = |prefix: &str, hang: &str, words: &str| {
            let room = width.saturating_sub(prefix.chars().count()).max(20);
            for (at, line) in wrapped(words, room).iter().enumerate() {
                let line = format!("{}{line}", if at == 0 { prefix } else { hang });
                *text += line.trim_end();
                text.push('\n');
            }
        };
        let bar = if self.children.is_empty() { "  " } else { "│ " };
        put(first, &format!("{rest}{bar}"), &self.title);
        for sentence in &self.says {
            put(&format!("{rest}{bar}"), &format!("{rest}{bar}  "), sentence);
        }
        for (at, child) in self.children.iter().enumerate() {
            let last = at + 1 == self.children.len();
            let (branch, below) = if last {
                ("└─ ", "   ")
            } else {
                ("├─ ", "│  ")
            };
            child.draw(&format!("{rest}{branch}"), &format!("{rest}{below}"), width, text);
        }
    }
}
