//! How often the workspace's own git folder had to be put right. Each time there
//! was a moment in which git on the host could have been led astray.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// So often, within such a time, no program damages it by mistake.
const LATELY: (usize, Duration) = (10, Duration::from_secs(10));

/// Nor so often in one runtime, however slowly.
const EVER: usize = 25;

#[derive(Debug, Default)]
pub(super) struct Repairs {
    lately: VecDeque<Instant>,
    ever: usize,
}

impl Repairs {
    /// Counts one; whether somebody means it.
    pub(super) fn is_attack(&mut self, now: Instant) -> bool {
        let (often, within) = LATELY;
        self.ever += 1;
        self.lately.push_back(now);
        let first = if self.lately.len() >= often { self.lately.pop_front() } else { None };
        self.ever >= EVER || first.is_some_and(|first| now.duration_since(first) < within)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After how many, each so long after the other, it counts as meant.
    fn after(pause: Duration) -> usize {
        let (mut repairs, begun) = (Repairs::default(), Instant::now());
        (1..).find(|n: &u32| repairs.is_attack(begun + pause * *n)).unwrap() as usize
    }

    #[test]
    fn many_at_once_or_very_many_are_no_mistake() {
        assert_eq!(after(Duration::from_millis(1)), 10);
        assert_eq!(after(Duration::from_secs(1)), 10);
        assert_eq!(after(Duration::from_secs(2)), 25);
        assert_eq!(after(Duration::from_secs(3600)), 25);
    }
}
