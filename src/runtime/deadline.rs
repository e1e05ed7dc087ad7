//! When a runtime has to end: an instant of the monotonic clock, which stands
//! still while the machine sleeps.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Milliseconds of the monotonic clock (`clock_gettime(2)`), which begins anew
/// with each boot.
pub fn monotonic_now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1000 + now.tv_nsec as u64 / 1_000_000
}

/// `after` from now on the monotonic clock.
pub fn monotonic_after(after: Duration) -> u64 {
    monotonic_now().saturating_add(u64::try_from(after.as_millis()).unwrap_or(u64::MAX))
}

/// How long until `at`; nothing when it has passed.
pub fn until(at: u64) -> Duration {
    Duration::from_millis(at.saturating_sub(monotonic_now()))
}
