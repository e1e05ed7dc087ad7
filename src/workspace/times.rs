//! Times of a workspace's files, where something in it is built by a tool that
//! compares them.
//!
//! A fresh workspace has one time for all its files, years back: older than
//! whatever is built, so that nothing is built again for being cloned. It is
//! that of the tree, so that two trees have two times: a tool that remembers the
//! time and size of a file does not take one content for another. Its fraction
//! tells that nobody has written the file since.

use rustix::fs::{Timespec, Timestamps};

use crate::digest::Digest;

/// Seconds and nanoseconds.
pub type Time = (i64, u32);

/// The first second of trees, in 2001.
const FIRST: i64 = 1_000_000_000;

/// So many seconds they have among them, about six years.
const SPAN: u64 = 200_000_000;

/// The time of a tree's files.
pub fn of_tree(tree: &str) -> Time {
    let seconds = FIRST + (number(&Digest::of(format!("envctl tree time {tree}").as_bytes())) % SPAN) as i64;
    (seconds, fraction(seconds))
}

/// Whether a file has the time of a tree.
pub(super) fn is_of_a_tree((seconds, nanoseconds): Time) -> bool {
    (FIRST..FIRST + SPAN as i64).contains(&seconds) && nanoseconds == fraction(seconds)
}

fn fraction(seconds: i64) -> u32 {
    (number(&Digest::of(format!("envctl tree fraction {seconds}").as_bytes())) % 1_000_000_000) as u32
}

fn number(digest: &Digest) -> u64 {
    digest.as_bytes()[..8].iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// As the kernel takes it; when it was read last is not touched.
pub(super) fn stamps((seconds, nanoseconds): Time) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT },
        last_modification: Timespec { tv_sec: seconds, tv_nsec: nanoseconds.into() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_has_a_time_that_no_other_file_has_by_chance() {
        let (a, b) = (of_tree("a"), of_tree("b"));
        assert!(a != b && a == of_tree("a") && is_of_a_tree(a) && is_of_a_tree(b));
        for other in
            [(a.0, 0), (a.0, a.1 ^ 1), (a.0 + 1, a.1), (0, fraction(0)), (1_700_000_000, fraction(1_700_000_000))]
        {
            assert!(!is_of_a_tree(other), "{other:?}");
        }
    }
}
