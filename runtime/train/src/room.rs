//! What a training may take of its machine, and where what does not fit into memory goes.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use sconce_contract::plan::SCRATCH_PATH;
use sconce_engine::control_groups::ControlGroups;

use crate::scratch::Scratch;

/// Memory, and a folder for temporary files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Room {
    /// Bytes that the process may use, of which other things than the table need a part.
    pub memory: u64,
    /// Where temporary files are made. They have no names, so that nobody has to remove them.
    pub folder: PathBuf,
}

impl Room {
    /// What is said, else what the machine says: the limit of the control group or, without one, all memory; the folder
    /// that a pod has for this, or that of large temporary files.
    pub fn found(memory: Option<u64>, folder: Option<PathBuf>) -> Self {
        let of_pod = || Some(PathBuf::from(SCRATCH_PATH)).filter(|path| path.is_dir());
        Room {
            memory: memory.unwrap_or_else(|| available(Path::new("/"))),
            folder: folder
                .or_else(of_pod)
                .unwrap_or_else(|| temporary(std::env::var_os("TMPDIR"), Path::new(LARGE))),
        }
    }

    /// Bytes of rows as read, with their targets and places, that are held in memory: what is larger is kept on disk.
    pub fn rows(&self) -> u64 {
        self.memory / 5 * 2
    }

    /// Bytes of rows as read and of the network's inputs that are held together.
    pub fn both(&self) -> u64 {
        self.memory / 5 * 3
    }

    /// Temporary files for what is larger.
    pub fn scratch(&self) -> Scratch {
        Scratch::new(&self.folder, self.rows())
    }

    /// Bytes that another worker may send at a time, such as a state.
    pub fn message(&self) -> u64 {
        self.memory / 2
    }

    /// Bytes of columns that are looked at together of a table on disk.
    pub fn columns(&self) -> u64 {
        self.memory / 10
    }
}

/// Where files go that are too large for memory, which the folder of all temporary files often is.
const LARGE: &str = "/var/tmp";

/// The folder that is set for temporary files, else that of large ones where something can be written there.
fn temporary(set: Option<OsString>, large: &Path) -> PathBuf {
    let is_set = set.is_some_and(|folder| !folder.is_empty());
    match !is_set && tempfile::tempfile_in(large).is_ok() {
        true => large.to_owned(),
        false => std::env::temp_dir(),
    }
}

/// Bytes that this process may use, below that root of the file system.
fn available(root: &Path) -> u64 {
    let read = |file: &str| fs::read_to_string(root.join(file)).ok();
    let groups = ControlGroups::of(root, "memory");
    let second = groups.second.iter().map(|group| group.join("memory.max"));
    let first = groups
        .first
        .iter()
        .map(|group| group.join("memory.limit_in_bytes"));
    let limits = second
        .chain(first)
        .map(|file| fs::read_to_string(file).ok()?.trim().parse().ok());
    let installed = read("proc/meminfo").and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
        Some(kibibytes << 10)
    });
    // Version 1 of control groups says a number beyond all memory where there is no limit.
    let all = limits.chain([installed]).flatten();
    all.min().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_go_to_the_folder_of_large_files_where_none_is_set_and_it_can_be_written() {
        let large = tempfile::tempdir().unwrap();
        let large = large.path();
        let usual = std::env::temp_dir();
        assert_eq!(temporary(None, large), large);
        assert_eq!(temporary(Some("".into()), large), large);
        assert_eq!(temporary(Some("/set".into()), large), usual);
        assert_eq!(temporary(None, &large.join("missing")), usual);
    }

    #[test]
    fn the_least_of_limit_and_memory_counts_and_max_is_no_limit() {
        let folder = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        assert_eq!(available(folder.path()), u64::MAX);
        write("proc/meminfo", "MemFree: 1 kB\nMemTotal:       4096 kB\n");
        assert_eq!(available(folder.path()), 4 << 20);
        for (file, text, expected) in [
            ("memory.max", "max\n", 4 << 20),
            ("memory.max", "1048576\n", 1 << 20),
            ("memory/memory.limit_in_bytes", "9223372036854771712\n", 1 << 20),
        ] {
            write(&format!("sys/fs/cgroup/{file}"), text);
            assert_eq!(available(folder.path()), expected, "{file} {text}");
        }
    }

    #[test]
    fn a_group_within_others_has_the_least_of_all_their_limits() {
        let of_second = "0::/kubepods/burstable/pod1/main\n";
        let of_first = "12:cpu,cpuacct:/other\n4:memory:/docker/1\n1:name=systemd:/x\n";
        for (own, files, expected) in [
            (of_second, &[("kubepods/memory.max", "8388608\n")][..], 8 << 20),
            (
                of_second,
                &[
                    ("kubepods/memory.max", "8388608"),
                    ("kubepods/burstable/pod1/memory.max", "2097152"),
                    ("kubepods/burstable/pod1/main/memory.max", "max"),
                ],
                2 << 20,
            ),
            (
                of_second,
                &[("kubepods/burstable/pod2/memory.max", "1024")],
                64 << 20,
            ),
            (
                of_first,
                &[("memory/docker/memory.limit_in_bytes", "4194304")],
                4 << 20,
            ),
            (
                of_first,
                &[("memory/docker/1/memory.limit_in_bytes", "4194304")],
                4 << 20,
            ),
            (
                of_first,
                &[("memory/other/memory.limit_in_bytes", "4194304")],
                64 << 20,
            ),
            // In a namespace of its own, the group is the root of what it sees.
            ("0::/\n", &[("memory.max", "4194304")], 4 << 20),
            (
                "0::/../main\n",
                &[("memory.max", "4194304"), ("main/memory.max", "1")],
                4 << 20,
            ),
            ("", &[("memory.max", "4194304")], 4 << 20),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let write = |file: String, text: &str| {
                let path = folder.path().join(file);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            };
            write("proc/meminfo".to_owned(), "MemTotal:       65536 kB\n");
            write("proc/self/cgroup".to_owned(), own);
            for (file, text) in files {
                write(format!("sys/fs/cgroup/{file}"), text);
            }
            assert_eq!(available(folder.path()), expected, "{own} {files:?}");
        }
    }
}
