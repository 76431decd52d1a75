//! Where the kernel says what a process may use.

use std::fs;
use std::path::{Path, PathBuf};

/// Folders with the limits of this process's control groups, as its `/proc/self/cgroup` tells them: its own and those that
/// it is in, which hold it as well. What a namespace hides is not there to be read: a path that leads out of it begins at
/// what can be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlGroups {
    /// Of version 2, outermost first.
    pub second: Vec<PathBuf>,
    /// Of version 1, likewise.
    pub first: Vec<PathBuf>,
}

impl ControlGroups {
    /// Those with this controller (`memory`, `cpu`), below that root of the file system.
    pub fn of(root: &Path, controller: &str) -> Self {
        let own = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
        let mounted = root.join("sys/fs/cgroup");
        ControlGroups {
            second: folders(&own, "", &mounted),
            first: folders(&own, controller, &mounted.join(controller)),
        }
    }
}

/// `controller` is empty in the line of version 2.
fn folders(own: &str, controller: &str, mounted: &Path) -> Vec<PathBuf> {
    let line = own.lines().find_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        controllers
            .split(',')
            .any(|name| name == controller)
            .then_some(path)
    });
    let path = line.filter(|path| !path.contains("..")).unwrap_or_default();
    let steps = path.split('/').filter(|step| !step.is_empty());
    let mut folders = vec![mounted.to_owned()];
    for step in steps {
        let outer = &folders[folders.len() - 1];
        folders.push(outer.join(step));
    }
    folders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_in_all_that_its_path_names() {
        let root = std::env::temp_dir().join(format!("sconce-groups-{}", std::process::id()));
        fs::create_dir_all(root.join("proc/self")).unwrap();
        let of = |own: &str| {
            fs::write(root.join("proc/self/cgroup"), own).unwrap();
            let groups = ControlGroups::of(&root, "cpu");
            let told = |folders: Vec<PathBuf>| -> Vec<String> {
                let within = |folder: &PathBuf| folder.strip_prefix(&root).unwrap().display().to_string();
                folders.iter().map(within).collect()
            };
            (told(groups.second), told(groups.first))
        };
        let (second, first) = of("12:cpu,cpuacct:/docker/1\n4:memory:/other\n0::/a/b\n");
        assert_eq!(second, ["sys/fs/cgroup", "sys/fs/cgroup/a", "sys/fs/cgroup/a/b"]);
        assert_eq!(
            first,
            [
                "sys/fs/cgroup/cpu",
                "sys/fs/cgroup/cpu/docker",
                "sys/fs/cgroup/cpu/docker/1"
            ]
        );
        for own in ["", "0::/\n", "0::/../main\n"] {
            assert_eq!(of(own).0, ["sys/fs/cgroup"], "{own}");
        }
        fs::remove_dir_all(root).unwrap();
    }
}
