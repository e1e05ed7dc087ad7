//! Durations and sizes as people write them in flags and files.

use std::time::Duration;

use crate::error::{Fault, usage};

/// Reads `30s`, `15m`, `8h`, `14d`, or several of them: `1h30m`. At least one
/// second, at most ten years.
///
/// # Errors
/// [`crate::error::Kind::Usage`] for anything else.
pub fn parse_duration(text: &str) -> Result<Duration, Fault> {
    const MOST: u64 = 3650 * 86_400;
    let bad =
        || usage(format!("{text:?} is not a duration")).hint("write a number and s, m, h or d, such as 30s or 8h");
    let mut seconds: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
        let count: u64 = rest[..digits].parse().map_err(|_| bad())?;
        let unit = match rest.as_bytes()[digits] {
            b's' => 1,
            b'm' => 60,
            b'h' => 3600,
            b'd' => 86_400,
            _ => return Err(bad()),
        };
        seconds = count.checked_mul(unit).and_then(|more| seconds.checked_add(more)).ok_or_else(bad)?;
        rest = &rest[digits + 1..];
    }
    if seconds == 0 || seconds > MOST { Err(bad()) } else { Ok(Duration::from_secs(seconds)) }
}

/// A duration for people, in its two largest units: `1h 30m`.
pub fn human_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let parts = [(seconds / 86_400, "d"), (seconds / 3600 % 24, "h"), (seconds / 60 % 60, "m"), (seconds % 60, "s")];
    let first = parts.iter().position(|(count, _)| *count > 0).unwrap_or(3);
    let shown = parts[first..].iter().take(2).filter(|(count, _)| *count > 0);
    let text: Vec<String> = shown.map(|(count, unit)| format!("{count}{unit}")).collect();
    if text.is_empty() { "0s".into() } else { text.join(" ") }
}

/// Reads a number of bytes: `512M`, `8G`; the units are powers of 1024.
///
/// # Errors
/// [`crate::error::Kind::Usage`] for anything else.
pub fn parse_bytes(text: &str) -> Result<u64, Fault> {
    let bad = || usage(format!("{text:?} is not a size")).hint("write a number of bytes, or one with K, M, G or T");
    let (digits, shift) = match text.as_bytes().last() {
        Some(b'K') => (&text[..text.len() - 1], 10),
        Some(b'M') => (&text[..text.len() - 1], 20),
        Some(b'G') => (&text[..text.len() - 1], 30),
        Some(b'T') => (&text[..text.len() - 1], 40),
        _ => (text, 0),
    };
    let plain = !digits.is_empty() && digits.bytes().all(|c| c.is_ascii_digit());
    let count: u64 = if plain { digits.parse().map_err(|_| bad())? } else { return Err(bad()) };
    count.checked_mul(1 << shift).filter(|bytes| *bytes > 0).ok_or_else(bad)
}

/// A byte count for people: `1.2 MB`, decimal units.
pub fn human_bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 { format!("{count} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let seconds = |text| parse_duration(text).map(|duration| duration.as_secs()).ok();
        assert_eq!(seconds("30s"), Some(30));
        assert_eq!(seconds("1h30m"), Some(5400));
        assert_eq!(seconds("14d"), Some(14 * 86_400));
        for bad in ["", "0s", "8", "h", "8 h", "-1s", "1.5h", "1w", "99999999999999999999s", "4000d"] {
            assert_eq!(seconds(bad), None, "{bad:?}");
        }
        let shown = |seconds| human_duration(Duration::from_secs(seconds));
        assert_eq!([shown(0), shown(59), shown(3600), shown(5461)], ["0s", "59s", "1h", "1h 31m"]);
        assert_eq!(shown(14 * 86_400 + 5), "14d");
    }

    #[test]
    fn sizes() {
        assert_eq!(parse_bytes("512M").ok(), Some(512 << 20));
        assert_eq!(parse_bytes("1").ok(), Some(1));
        for bad in ["", "G", "0", "0G", "-1", "1.5G", "1g", "99999999999T"] {
            assert!(parse_bytes(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn bytes_read_well() {
        assert_eq!(human_bytes(999), "999 B");
        assert_eq!(human_bytes(1_234_567), "1.2 MB");
    }
}
