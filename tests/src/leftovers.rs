//! What a Docker daemon leaves behind when it ends, by the book or not: mounts, control groups, and
//! folders in places that no configuration moves.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Result, process};

/// What dockerd and its containerd make in fixed places whatever their configuration says; removed
/// when empty.
const FIXED_FOLDERS: [&str; 7] = [
    "/run/docker/plugins",
    "/run/docker",
    "/run/containerd/s",
    "/run/containerd",
    "/opt/containerd/bin",
    "/opt/containerd/lib",
    "/opt/containerd",
];

/// Removes what a daemon that has ended left on the machine, with every mount below the folders.
pub(crate) fn remove(folders: &[&Path]) -> Result<()> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    for mount in mounts_under(&mounts, folders) {
        process::output(Command::new("umount").arg("--lazy").arg(mount))?;
    }
    remove_empty_groups(Path::new("/sys/fs/cgroup"));
    for folder in FIXED_FOLDERS {
        // One that is in use, or was never made, is not to be removed.
        let _ = fs::remove_dir(folder);
    }
    Ok(())
}

/// Removes the groups called `docker` of each cgroup v1 hierarchy, or of v2: rmdir refuses one
/// that is in use, by another daemon for instance.
fn remove_empty_groups(root: &Path) {
    let hierarchies = fs::read_dir(root)
        .into_iter()
        .flatten()
        .flatten()
        .map(|item| item.path());
    for group in hierarchies
        .chain([root.to_owned()])
        .map(|hierarchy| hierarchy.join("docker"))
    {
        for inner in fs::read_dir(&group).into_iter().flatten().flatten() {
            // Files are no folders and stay; so does a group in use.
            let _ = fs::remove_dir(inner.path());
        }
        let _ = fs::remove_dir(group);
    }
}

/// The mount points below one of the folders, the deepest first.
fn mounts_under(mounts: &str, folders: &[&Path]) -> Vec<PathBuf> {
    let points = mounts
        .lines()
        .filter_map(|line| line.split(' ').nth(1))
        .map(PathBuf::from);
    let mut found: Vec<PathBuf> = points
        .filter(|point| folders.iter().any(|folder| point.starts_with(folder)))
        .collect();
    found.sort_by_key(|point| std::cmp::Reverse(point.components().count()));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inner_mounts_go_first() {
        let mounts = "overlay /run/sconce/exec overlay rw 0 0\nnsfs /run/sconce/exec/netns/1 nsfs rw 0 0\nx /run/sconces y";
        let found = mounts_under(mounts, &[Path::new("/run/sconce")]);
        assert_eq!(
            found,
            [
                Path::new("/run/sconce/exec/netns/1"),
                Path::new("/run/sconce/exec")
            ]
        );
    }
}
