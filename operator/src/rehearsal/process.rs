//! Finds the trainer and the server, and makes room for what they report.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::{RehearsalError, at};

/// The program of this name: the one given, the one beside this program, or the one in PATH.
///
/// # Errors
/// There is none.
pub fn find(name: &'static str, given: Option<&Path>) -> Result<PathBuf, RehearsalError> {
    if let Some(given) = given {
        return Ok(given.to_owned());
    }
    let beside = std::env::current_exe()
        .ok()
        .and_then(|exe| Some(exe.parent()?.join(name)));
    let in_path = std::env::var_os("PATH").into_iter().flat_map(|path| {
        std::env::split_paths(&path)
            .map(|folder| folder.join(name))
            .collect::<Vec<_>>()
    });
    beside
        .into_iter()
        .chain(in_path)
        .find(|candidate| candidate.is_file())
        .ok_or(RehearsalError::NoProgram(name))
}

/// Removes what an earlier rehearsal left in this place: a program that is killed before it reports would otherwise
/// seem to have reported that.
///
/// # Errors
/// A file that is there and cannot be removed.
pub fn remove_earlier(report: &Path) -> Result<(), RehearsalError> {
    match std::fs::remove_file(report) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(at(report)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_of_an_earlier_rehearsal_is_removed_where_there_is_one() {
        let folder = tempfile::tempdir().unwrap();
        let report = folder.path().join("iris.report.json");
        std::fs::write(&report, "{}").unwrap();
        remove_earlier(&report).unwrap();
        assert!(!report.exists());
        remove_earlier(&report).unwrap();
        let said = remove_earlier(folder.path()).unwrap_err().to_string();
        assert!(said.starts_with(&folder.path().display().to_string()), "{said}");
    }
}
