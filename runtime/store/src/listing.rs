//! The files below a folder.

use std::fs;
use std::io;
use std::path::Path;

use crate::StoreError;
use crate::confined::Confined;

/// Most files that are listed, and deepest folder that is looked into.
const FILES: usize = 1_000_000;
const DEPTH: usize = 32;

/// Paths of all files below the folder, with `/` in between, in the order of their names; nothing where it is no
/// folder.
pub(crate) fn files(folder: &Confined<'_>) -> Result<Option<Vec<String>>, StoreError> {
    let Some(path) = folder.existing()? else {
        return Ok(None);
    };
    if !path.is_dir() {
        return Ok(None);
    }
    let mut found = Vec::new();
    walk(&path, "", 0, &mut found).map_err(|error| folder.error("listing", error))?;
    found.sort_unstable();
    Ok(Some(found))
}

fn walk(folder: &Path, prefix: &str, depth: usize, found: &mut Vec<String>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        // A name that is no text is in no URI.
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        let path = format!("{prefix}{name}");
        // Links are followed, as a mounted ConfigMap consists of them; reading checks where they lead.
        let Ok(about) = fs::metadata(entry.path()) else {
            continue;
        };
        if about.is_dir() && depth < DEPTH {
            walk(&entry.path(), &format!("{path}/"), depth + 1, found)?;
        } else if about.is_file() {
            found.push(path);
        }
        if found.len() > FILES {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("there are more than {FILES} files in the folder"),
            ));
        }
    }
    Ok(())
}
