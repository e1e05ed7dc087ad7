//! When a runtime ends by itself: at its deadline, or because nothing is done in it;
//! and when that is said before. Pure, but for the looks of [`Signs`].

use std::os::fd::AsFd;
use std::time::Duration;

use rustix::fs::{AtFlags, Dir};
use rustix::process::Pid;

use super::inside::Inside;

/// A warning comes so many milliseconds before the end.
const NOTICE: u64 = 5 * 60_000;

/// And no sooner than at so many parts of the time that is left.
const PARTS: u64 = 5;

/// The most milliseconds between two looks at what is done.
const LOOK: u64 = 30_000;

/// Of a second, so many ticks of processors' time are nothing (there are 100,
/// `proc_pid_stat(5)`).
const NOTHING: u64 = 1;

/// What comes of a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EndVerdict {
    /// Nothing.
    Fine,
    /// The end is so many milliseconds away; said once.
    Soon(u64),
    /// It is there.
    Over,
}

/// A deadline, on the monotonic clock.
pub(super) struct Deadline {
    at: u64,
    /// When it is said; `None` when it was.
    notice: Option<u64>,
}

impl Deadline {
    pub(super) fn new(at: u64) -> Self {
        Self::set(at, crate::runtime::deadline::monotonic_now())
    }

    fn set(at: u64, now: u64) -> Self {
        Deadline { at, notice: Some(at.saturating_sub(notice(at.saturating_sub(now)))) }
    }

    /// When to look next.
    pub(super) fn next(&self) -> u64 {
        self.notice.unwrap_or(self.at)
    }

    pub(super) fn look(&mut self, now: u64) -> EndVerdict {
        match self.notice {
            _ if self.at <= now => EndVerdict::Over,
            Some(notice) if notice <= now => {
                self.notice = None;
                EndVerdict::Soon(self.at - now)
            }
            _ => EndVerdict::Fine,
        }
    }
}

/// How long before the end of such a time a warning comes.
fn notice(time: u64) -> u64 {
    NOTICE.min(time / PARTS)
}

/// What shows that something is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Signs {
    /// Ticks of processors' time that were used so far.
    cpu: u64,
    /// When a terminal was last typed or printed on, by its own times.
    terminals: i128,
}

impl Signs {
    /// Looks at processes and terminals.
    pub(super) fn of(processes: &[Pid], inside: &Inside) -> Self {
        Signs {
            cpu: processes.iter().filter_map(|pid| ticks(*pid)).sum::<u64>() + reaped(),
            terminals: touched(inside),
        }
    }
}

/// Processors' time of a process and of those that it has waited for,
/// `proc_pid_stat(5)`.
fn ticks(pid: Pid) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    let fields = stat.rsplit_once(") ")?.1.split(' ').skip(11).take(4);
    Some(fields.filter_map(|field| field.parse::<u64>().ok()).sum())
}

/// The same of all that pid 1 has waited for.
fn reaped() -> u64 {
    Pid::from_raw(1)
        .and_then(|own| {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", own.as_raw_nonzero())).ok()?;
            let fields = stat.rsplit_once(") ")?.1.split(' ').skip(13).take(2);
            Some(fields.filter_map(|field| field.parse::<u64>().ok()).sum())
        })
        .unwrap_or(0)
}

/// The kernel notes on a terminal when it was read and written.
fn touched(inside: &Inside) -> i128 {
    let mut newest = 0;
    for entry in Dir::read_from(inside.terminals.as_fd()).into_iter().flatten().flatten() {
        if let Ok(stat) = rustix::fs::statat(&inside.terminals, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) {
            let time = |seconds: i128, nanos: i128| seconds * 1_000_000_000 + nanos;
            newest = newest.max(time(stat.st_atime.into(), stat.st_atime_nsec.into()));
            newest = newest.max(time(stat.st_mtime.into(), stat.st_mtime_nsec.into()));
        }
    }
    newest
}

/// The time for which nothing may be done.
pub(super) struct Idle {
    limit: u64,
    /// Since when nothing was done.
    since: u64,
    /// When it was looked at last, and what was seen.
    looked: u64,
    seen: Signs,
    warned: bool,
}

impl Idle {
    pub(super) fn new(limit: Duration) -> Self {
        let limit = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        Self::begin(limit, crate::runtime::deadline::monotonic_now())
    }

    fn begin(limit: u64, now: u64) -> Self {
        Idle { limit, since: now, looked: now, seen: Signs::default(), warned: false }
    }

    /// When to look next.
    pub(super) fn next(&self) -> u64 {
        self.looked + LOOK.min(self.limit / (2 * PARTS)).max(100)
    }

    pub(super) fn look(&mut self, now_seen: Signs, now: u64) -> EndVerdict {
        let passed = now.saturating_sub(self.looked);
        let used = now_seen.cpu.saturating_sub(self.seen.cpu);
        if now_seen.terminals != self.seen.terminals || used > NOTHING.max(passed * NOTHING / 1000) {
            (self.since, self.warned) = (now, false);
        }
        (self.looked, self.seen) = (now, now_seen);
        let left = (self.since.saturating_add(self.limit)).saturating_sub(now);
        if left == 0 {
            return EndVerdict::Over;
        }
        if left <= notice(self.limit) && !self.warned {
            self.warned = true;
            return EndVerdict::Soon(left);
        }
        EndVerdict::Fine
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_said_once_before_it_comes() {
        let hour = 3_600_000;
        let mut deadline = Deadline::set(hour, 0);
        assert_eq!((deadline.next(), deadline.look(1000)), (hour - NOTICE, EndVerdict::Fine));
        assert_eq!(deadline.look(hour - NOTICE), EndVerdict::Soon(NOTICE));
        assert_eq!((deadline.look(hour - 1), deadline.next()), (EndVerdict::Fine, hour));
        assert_eq!(deadline.look(hour), EndVerdict::Over);
        // A short one in its last fifth.
        assert_eq!(Deadline::set(1000, 0).next(), 800);
    }

    #[test]
    fn what_is_done_puts_the_end_off() {
        let minute = 60_000;
        let mut idle = Idle::begin(60 * minute, 0);
        let quiet = Signs { cpu: 10, terminals: 5 };
        assert_eq!(idle.look(quiet, 30_000), EndVerdict::Fine);
        for at in (1..=54).map(|n| 30_000 + n * minute) {
            assert_eq!(idle.look(quiet, at), EndVerdict::Fine, "{at}");
        }
        assert_eq!(idle.look(quiet, 30_000 + 56 * minute), EndVerdict::Soon(4 * minute));
        assert_eq!(idle.look(quiet, 30_000 + 57 * minute), EndVerdict::Fine, "it is said once");
        // Somebody types; then a compiler works without a word.
        let typed = Signs { terminals: 6, ..quiet };
        assert_eq!(idle.look(typed, 30_000 + 59 * minute), EndVerdict::Fine);
        let computed = Signs { cpu: 10_000, ..typed };
        assert_eq!(idle.look(computed, 100 * minute), EndVerdict::Fine);
        // A program that only waits for the next second does nothing.
        let ticked = Signs { cpu: 10_001, ..computed };
        assert_eq!(idle.look(ticked, 160 * minute), EndVerdict::Over);
    }
}
