//! Old lines of the ledger in compact form: one for each day, or month, and whoever
//! the runs were of. Sums, peaks and counts stay; what a single run was is forgotten.
//! Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::Offset;

use super::entry::LedgerEntry;

/// What becomes one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grain {
    Day,
    Month,
}

impl Grain {
    fn of(self, at: Timestamp) -> Date {
        let day = Offset::UTC.to_datetime(at).date();
        match self {
            Grain::Day => day,
            Grain::Month => day.first_of_month(),
        }
    }
}

/// Folds lines; the order is that of days. What is unknown stays apart from what is
/// known, so that a sum says of how many runs it is.
pub(super) fn fold(entries: &[LedgerEntry], grain: Grain) -> Vec<LedgerEntry> {
    let mut groups: BTreeMap<_, LedgerEntry> = BTreeMap::new();
    for entry in entries {
        let usage = &entry.usage;
        let whose = (&entry.store, &entry.task, &entry.branch, &entry.agent);
        let known = [usage.wall_ms, usage.cpu_ms, usage.written_bytes, entry.pulled_bytes, entry.cache_hits];
        let key = (grain.of(entry.ended_at), whose, known.map(|value| value.is_some()));
        match groups.get_mut(&key) {
            None => {
                groups.insert(key, single(entry));
            }
            Some(row) => add(row, entry),
        }
    }
    groups.into_values().collect()
}

/// What a line of one run, or a folded one, begins as.
fn single(entry: &LedgerEntry) -> LedgerEntry {
    LedgerEntry {
        lease: "folded".into(),
        identity: String::new(),
        reason: "folded".into(),
        exit_code: None,
        started_at: None,
        longest_ms: entry.longest_ms.or(entry.usage.wall_ms),
        ..entry.clone()
    }
}

fn add(row: &mut LedgerEntry, entry: &LedgerEntry) {
    let plus = |a: Option<u64>, b: Option<u64>| a.zip(b).map(|(a, b)| a.saturating_add(b)).or(a).or(b);
    row.runs = row.runs.saturating_add(entry.runs);
    row.longest_ms = row.longest_ms.max(entry.longest_ms.or(entry.usage.wall_ms));
    row.ended_at = row.ended_at.max(entry.ended_at);
    row.usage.wall_ms = plus(row.usage.wall_ms, entry.usage.wall_ms);
    row.usage.cpu_ms = plus(row.usage.cpu_ms, entry.usage.cpu_ms);
    row.usage.written_bytes = plus(row.usage.written_bytes, entry.usage.written_bytes);
    if entry.usage.peak_memory > row.usage.peak_memory {
        (row.usage.peak_memory, row.usage.peak_of) = (entry.usage.peak_memory, entry.usage.peak_of);
    }
    row.pulled_bytes = plus(row.pulled_bytes, entry.pulled_bytes);
    row.scratch_bytes = plus(row.scratch_bytes, entry.scratch_bytes);
    row.cache_hits = plus(row.cache_hits, entry.cache_hits);
    row.cache_misses = plus(row.cache_misses, entry.cache_misses);
}

#[cfg(test)]
mod tests {
    use super::super::entry::sample;
    use super::*;

    fn at(entry: LedgerEntry, when: &str) -> LedgerEntry {
        LedgerEntry { ended_at: when.parse().unwrap(), ..entry }
    }

    #[test]
    fn what_is_summed_up_stays() {
        let entries = [
            at(sample("a", Some(10)), "2026-01-15T10:00:00Z"),
            at(sample("a", Some(30)), "2026-01-15T23:00:00Z"),
            at(sample("a", None), "2026-01-15T23:00:00Z"),
            at(sample("b", Some(5)), "2026-01-15T23:00:00Z"),
            at(sample("a", Some(7)), "2026-01-16T00:00:00Z"),
        ];
        let days = fold(&entries, Grain::Day);
        assert_eq!(days.len(), 4, "{days:?}");
        let first = days.iter().find(|row| row.usage.wall_ms == Some(40)).unwrap();
        assert_eq!((first.runs, first.longest_ms, first.pulled_bytes), (2, Some(30), Some(20)));
        assert_eq!(first.ended_at, entries[1].ended_at);
        // Again, and by the month: nothing is counted twice.
        assert_eq!(fold(&days, Grain::Day), days);
        let months = fold(&days, Grain::Month);
        let runs = |rows: &[LedgerEntry]| rows.iter().map(|row| row.runs).sum::<u64>();
        assert_eq!((months.len(), runs(&days), runs(&months)), (3, 5, 5));
        let text = serde_json::to_string(&months[0]).unwrap();
        assert_eq!(serde_json::from_str::<LedgerEntry>(&text).unwrap(), months[0]);
    }
}
