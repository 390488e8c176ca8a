//! A clock that all processes of this host share and that continues while the machine sleeps.

use nix::time::{ClockId, clock_gettime};

#[cfg(any(target_os = "linux", target_os = "android"))]
const CLOCK: ClockId = ClockId::CLOCK_BOOTTIME;
/// On macOS this clock continues during sleep, too; elsewhere there is no better one.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const CLOCK: ClockId = ClockId::CLOCK_MONOTONIC;

/// Milliseconds since an unspecified moment that is the same for all processes of this host.
pub fn now_ms() -> u64 {
    let now = clock_gettime(CLOCK).map_or(0, |time| time.tv_sec() * 1_000 + time.tv_nsec() / 1_000_000);
    u64::try_from(now).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_advances() {
        let before = super::now_ms();
        std::thread::sleep(std::time::Duration::from_millis(5));
        let after = super::now_ms();
        assert!(before > 0 && (before + 5..before + 10_000).contains(&after), "{before} {after}");
    }
}
