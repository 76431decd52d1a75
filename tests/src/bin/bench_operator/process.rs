//! What a process has used, as Linux tells it (proc(5)).

use std::fs;

use crate::Result;

/// Ticks per second of the times in `/proc/PID/stat`: `sysconf(_SC_CLK_TCK)`, which is 100 on every Linux that
/// Kubernetes runs on.
const TICKS: f64 = 100.0;

/// Of one process, since it started.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Processor time, user and system, in seconds.
    pub cpu: f64,
    /// Largest resident set so far, in MiB.
    pub peak: f64,
    /// Resident set now, in MiB.
    pub resident: f64,
}

impl Usage {
    /// # Errors
    /// When there is no such process.
    pub fn of(pid: u32) -> Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The name of the program, in parentheses, may hold spaces.
        let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let field = |index: usize| -> f64 {
            rest.split_whitespace()
                .nth(index)
                .and_then(|text| text.parse().ok())
                .unwrap_or_default()
        };
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let size = |name: &str| -> f64 {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
            kib.unwrap_or_default() / 1024.0
        };
        Ok(Self {
            // utime and stime are the 14th and 15th field, and the state, the first after the name, is the third.
            cpu: (field(11) + field(12)) / TICKS,
            peak: size("VmHWM:"),
            resident: size("VmRSS:"),
        })
    }
}
