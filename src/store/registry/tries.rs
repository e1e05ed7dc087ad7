//! How often a registry is asked again, and after how long.

use std::time::Duration;

/// Attempts after the first.
const MOST: u32 = 4;

/// The first pause; it doubles.
const BASE: Duration = Duration::from_millis(200);

/// Longer than this nobody waits for a registry that says when to come back.
const PATIENCE: Duration = Duration::from_secs(60);

/// Counts attempts.
#[derive(Debug, Default)]
pub(super) struct Tries {
    made: u32,
}

impl Tries {
    /// How long to wait before the next attempt; `None` when it is enough.
    /// `told` is what the registry asked for.
    pub(super) fn next(&mut self, told: Option<Duration>) -> Option<Duration> {
        if self.made >= MOST || told.is_some_and(|told| told > PATIENCE) {
            return None;
        }
        let own = BASE * 2_u32.pow(self.made);
        self.made += 1;
        // Between half and one and a half of it, so that many clients that
        // failed together do not come back together.
        let own = own / 2 + own.mul_f64(fraction());
        Some(told.map_or(own, |told| told + own / 4))
    }
}

/// A random number from 0 to 1.
pub(super) fn fraction() -> f64 {
    let mut bytes = [0; 4];
    match rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()) {
        Ok(4) => f64::from(u32::from_ne_bytes(bytes)) / f64::from(u32::MAX),
        _ => 0.5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_are_bounded_and_grow() {
        let mut tries = Tries::default();
        let waits: Vec<Duration> = std::iter::from_fn(|| tries.next(None)).collect();
        assert_eq!(waits.len(), MOST as usize);
        for (n, wait) in waits.iter().enumerate() {
            let base = BASE * 2_u32.pow(n as u32);
            assert!(*wait >= base / 2 && *wait <= base * 3 / 2, "{wait:?}");
        }
        assert!(Tries::default().next(Some(Duration::from_secs(3))).unwrap() >= Duration::from_secs(3));
        assert_eq!(Tries::default().next(Some(PATIENCE * 2)), None);
    }
}
