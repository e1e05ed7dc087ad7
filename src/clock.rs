//! Time, passed in so that tests can fix it.

use jiff::Timestamp;

/// Where "now" comes from.
#[derive(Clone, Copy, Debug)]
pub enum Clock {
    /// The system's wall clock.
    System,
    /// Always the same instant.
    Fixed(Timestamp),
}

impl Clock {
    /// The current instant, cut to whole seconds as documents carry it.
    pub fn now(self) -> Timestamp {
        let now = match self {
            Clock::System => Timestamp::now(),
            Clock::Fixed(instant) => instant,
        };
        Timestamp::from_second(now.as_second()).unwrap_or(now)
    }
}

/// What time a test says that it is, in seconds since 1970.
#[cfg(debug_assertions)]
pub fn told() -> Option<i64> {
    #[allow(clippy::disallowed_methods, reason = "no part of what users can set")]
    let told = std::env::var("ENVCTL_TEST_NOW");
    told.ok()?.parse().ok()
}

/// Nothing.
#[cfg(not(debug_assertions))]
pub fn told() -> Option<i64> {
    None
}

/// How long ago `then` was, in words for a person: `3 minutes ago`.
pub fn age(then: Timestamp, now: Timestamp) -> String {
    let seconds = now.as_second().saturating_sub(then.as_second());
    let (count, unit) = match seconds {
        ..0 => return "in the future".into(),
        0..60 => return "just now".into(),
        60..3600 => (seconds / 60, "minute"),
        3600..86_400 => (seconds / 3600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    format!("{count} {unit}{} ago", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_read_as_words() {
        let at = |s| Timestamp::from_second(s).unwrap();
        assert_eq!(age(at(100), at(130)), "just now");
        assert_eq!(age(at(0), at(60)), "1 minute ago");
        assert_eq!(age(at(0), at(7200)), "2 hours ago");
        assert_eq!(age(at(0), at(86_400 * 3)), "3 days ago");
        assert_eq!(age(at(10), at(0)), "in the future");
    }
}
