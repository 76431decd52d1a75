//! How many threads arithmetic may use.
//!
//! candle counts the processors of the machine, not those that the container may use, and looks at
//! `/proc/cpuinfo` on every product of matrices unless `RAYON_NUM_THREADS` is set; so both variables must be set
//! before the first tensor. In a pod the operator sets them. Elsewhere [`ensure`] does, and because a process
//! may not change its environment safely once it could have threads, it starts the same program again in its
//! own place: same process, same arguments.

use std::{env, fs, path::Path, thread};

use crate::control_groups::ControlGroups;

/// Variables by which rayon and candle are told how many threads to use.
pub const THREAD_VARIABLES: [&str; 2] = ["RAYON_NUM_THREADS", "CANDLE_NUM_THREADS"];

/// Returns at once where the variables are set to a number; else replaces this process by itself with them set
/// to [`available`]. To be called first in `main`. Where the program cannot be started again the error is
/// returned; going on is slower but right.
#[cfg(unix)]
pub fn ensure() -> std::io::Result<()> {
    use std::os::unix::process::CommandExt;

    let is_set = |name: &&str| env::var(name).is_ok_and(|value| value.parse::<usize>().is_ok_and(|n| n > 0));
    if THREAD_VARIABLES.iter().all(is_set) {
        return Ok(());
    }
    let given = THREAD_VARIABLES
        .iter()
        .find(|name| is_set(name))
        .and_then(|name| env::var(name).ok());
    let threads = given.unwrap_or_else(|| available().to_string());
    let mut arguments = env::args_os();
    let mut program = std::process::Command::new(env::current_exe()?);
    if let Some(name) = arguments.next() {
        program.arg0(name);
    }
    // `exec` only returns where it failed.
    Err(program
        .args(arguments)
        .envs(THREAD_VARIABLES.map(|name| (name, threads.clone())))
        .exec())
}

/// Threads that arithmetic has been granted: those of the pool that it works in, else what [`THREAD_VARIABLES`] say, else
/// [`available`].
pub fn granted() -> usize {
    if rayon::current_thread_index().is_some() {
        return rayon::current_num_threads();
    }
    let said = |name: &&str| {
        env::var(name)
            .ok()?
            .parse()
            .ok()
            .filter(|&count: &usize| count > 0)
    };
    THREAD_VARIABLES.iter().find_map(said).unwrap_or_else(available)
}

/// Threads that this process can keep busy: its CPU quota rounded up or the processors that it may run on,
/// whichever is less, and at least 1.
pub fn available() -> usize {
    // `available_parallelism` knows quotas too, but rounds 1.5 processors down to 1.
    let processors = fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|status| allowed(&status))
        .unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from));
    quota(Path::new("/"))
        .map_or(processors, |quota| quota.min(processors))
        .max(1)
}

/// The processors that the kernel lets this process run on, from the mask in its status.
fn allowed(status: &str) -> Option<usize> {
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed:"))?;
    let bits: u32 = mask
        .chars()
        .filter_map(|digit| digit.to_digit(16))
        .map(u32::count_ones)
        .sum();
    (bits > 0).then_some(bits as usize)
}

/// The least CPU quota of this process's control groups, in whole processors, rounded up. Nothing where there is none.
fn quota(root: &Path) -> Option<usize> {
    let groups = ControlGroups::of(root, "cpu");
    let read = |folder: &Path, file: &str| fs::read_to_string(folder.join(file)).ok();
    let second = groups.second.iter().filter_map(|folder| {
        let both = read(folder, "cpu.max")?;
        let (quota, period) = both.trim().split_once(' ')?;
        processors(quota, period)
    });
    let first = groups.first.iter().filter_map(|folder| {
        let (quota, period) = (
            read(folder, "cpu.cfs_quota_us")?,
            read(folder, "cpu.cfs_period_us")?,
        );
        processors(&quota, &period)
    });
    second.chain(first).min()
}

/// A quota that is a word, or -1, is none.
fn processors(quota: &str, period: &str) -> Option<usize> {
    let (quota, period) = (
        quota.trim().parse::<u64>().ok()?,
        period.trim().parse::<u64>().ok()?,
    );
    (period > 0).then(|| (quota.div_ceil(period) as usize).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotas_of_both_versions_are_rounded_up_and_the_least_of_all_groups_counts() {
        let of_second = "0::/slice/main\n";
        let of_first = "3:cpu,cpuacct:/slice/main\n";
        for (number, (own, files, expected)) in [
            (of_second, &[("cpu.max", "150000 100000\n")][..], Some(2)),
            (of_second, &[("cpu.max", "50000 100000\n")], Some(1)),
            (of_second, &[("cpu.max", "max 100000\n")], None),
            (
                of_second,
                &[
                    ("slice/cpu.max", "300000 100000\n"),
                    ("slice/main/cpu.max", "max 100000\n"),
                ],
                Some(3),
            ),
            (
                of_second,
                &[
                    ("slice/cpu.max", "300000 100000\n"),
                    ("slice/main/cpu.max", "200000 100000\n"),
                ],
                Some(2),
            ),
            (of_second, &[("other/cpu.max", "100000 100000\n")], None),
            (
                of_first,
                &[
                    ("cpu/slice/cpu.cfs_quota_us", "300000\n"),
                    ("cpu/slice/cpu.cfs_period_us", "100000\n"),
                ],
                Some(3),
            ),
            (
                of_first,
                &[
                    ("cpu/cpu.cfs_quota_us", "-1\n"),
                    ("cpu/cpu.cfs_period_us", "100000\n"),
                ],
                None,
            ),
            ("", &[], None),
        ]
        .into_iter()
        .enumerate()
        {
            let root = env::temp_dir().join(format!("sconce-threads-{}-{number}", std::process::id()));
            let write = |file: String, text: &str| {
                let path = root.join(file);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            };
            write("proc/self/cgroup".to_owned(), own);
            for (file, text) in files {
                write(format!("sys/fs/cgroup/{file}"), text);
            }
            assert_eq!(quota(&root), expected, "{own} {files:?}");
            fs::remove_dir_all(root).unwrap();
        }
    }

    #[test]
    fn processors_are_counted_in_the_mask() {
        assert_eq!(
            allowed("Name:\tx\nCpus_allowed:\tff,0000000f\nCpus_allowed_list:\t0-3,32-39\n"),
            Some(12)
        );
        assert_eq!(allowed("Name:\tx\n"), None);
    }

    #[test]
    fn who_works_in_a_pool_has_its_threads() {
        for threads in [1, 3] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            assert_eq!(pool.unwrap().install(granted), threads);
        }
    }

    #[test]
    fn there_is_always_a_thread() {
        assert!(available() >= 1);
    }
}
