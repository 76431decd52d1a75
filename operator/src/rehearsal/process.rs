//! Finds the trainer and the server, and runs them.

use std::path::{Path, PathBuf};

use super::RehearsalError;

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
