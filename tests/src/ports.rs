//! Free TCP ports on loopback for several control planes at once.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::{Error, Result};

/// Below Linux's default range of ephemeral ports (32768, ip-sysctl's ip_local_port_range), so
/// that no outgoing connection takes a port between our look at it and the server's bind.
const FIRST: u32 = 20_000;
const COUNT: u32 = 12_000;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A port that nobody listens on, and that this process has not handed out before.
///
/// # Errors
/// When every port in the range is taken.
pub fn free() -> Result<u16> {
    // Two processes that start at once begin in different places.
    let start = std::process::id().wrapping_mul(101);
    for _ in 0..COUNT {
        let offset = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        let Ok(port) = u16::try_from(FIRST + offset) else {
            continue;
        };
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    Err(Error::Unmet(format!(
        "no port between {FIRST} and {} is free: stop what listens there",
        FIRST + COUNT
    )))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    #[test]
    fn no_port_is_handed_out_twice() {
        let ports: HashSet<u16> = (0..50).map(|_| super::free().unwrap()).collect();
        assert_eq!(ports.len(), 50);
    }
}
