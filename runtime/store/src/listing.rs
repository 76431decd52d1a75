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
    walk(folder, &path, "", 0, &mut found)?;
    found.sort_unstable();
    Ok(Some(found))
}

fn walk(
    root: &Confined<'_>,
    folder: &Path,
    prefix: &str,
    depth: usize,
    found: &mut Vec<String>,
) -> Result<(), StoreError> {
    let failed = |error: io::Error| root.error("listing", error);
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        // A name that is no text is in no URI.
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        let path = format!("{prefix}{name}");
        // Links are followed, as a mounted ConfigMap consists of them; reading checks where they lead.
        let about = match fs::metadata(entry.path()) {
            Ok(about) => about,
            // It was removed meanwhile, or is a link to nothing.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            // Left out without a word, a file would be missing from whatever is made of the folder.
            Err(error) => {
                let uri = format!("{}/{path}", root.target.shown().trim_end_matches('/'));
                return Err(StoreError::io(uri, "looking", error));
            }
        };
        if about.is_dir() && depth < DEPTH {
            walk(root, &entry.path(), &format!("{path}/"), depth + 1, found)?;
        } else if about.is_file() {
            found.push(path);
        }
        if found.len() > FILES {
            return Err(failed(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("there are more than {FILES} files in the folder"),
            )));
        }
    }
    Ok(())
}
