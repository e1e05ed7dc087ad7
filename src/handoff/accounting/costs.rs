//! `costs`: what the ledger says, summed up. Pure, but for reading it.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use jiff::Timestamp;
use jiff::tz::Offset;
use serde::Serialize;

use super::entry::LedgerEntry;
use super::ledger;

use crate::config::Cost;
use crate::handoff::app::App;
use crate::quantity::human_duration;
use crate::runtime::PeakOf;

/// How the suggested limits stand to the peaks that were seen.
const ROOM: u64 = 2;

/// Memory is suggested in steps of so many bytes.
const STEP: u64 = 256 << 20;

/// What is summed up together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum By {
    /// A task of a store.
    #[default]
    Task,
    /// A branch.
    Branch,
    /// Who published.
    Agent,
    /// A week, from Monday on, in UTC.
    Week,
}

/// What is known of a sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Sum {
    /// Of the leases that say; `null` when none does.
    pub known: Option<u64>,
    /// Leases that do not say.
    pub unknown: usize,
}

impl Sum {
    fn add(&mut self, value: Option<u64>, runs: u64) {
        match value {
            Some(value) => self.known = Some(self.known.unwrap_or(0).saturating_add(value)),
            None => self.unknown += usize::try_from(runs).unwrap_or(usize::MAX),
        }
    }
}

/// Limits that the peaks suggest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Suggestion {
    /// For `runtime.limits.memory`.
    pub memory: Option<String>,
    /// For `runtime.timeout`.
    pub timeout: Option<String>,
}

/// One line of the sums.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CostRow {
    /// The task, branch, agent, or the first day of the week; `null` where that
    /// is not known.
    pub name: Option<String>,
    /// Leases.
    pub leases: usize,
    /// Milliseconds that runtimes existed.
    pub wall_ms: Sum,
    /// Milliseconds of processors' time.
    pub cpu_ms: Sum,
    /// The most memory that one of them had, in bytes.
    pub peak_memory: Option<u64>,
    /// Of what that is the peak.
    pub peak_of: Option<PeakOf>,
    /// Bytes fetched.
    pub pulled_bytes: Sum,
    /// Bytes written to disks.
    pub written_bytes: Sum,
    /// Layers and workspaces that were there.
    pub cache_hits: Sum,
    /// Money for the leases whose duration is known; `null` without a rate, or
    /// when none is known.
    pub cost: Option<f64>,
    /// More than `cost.target_per_task`; only of tasks.
    pub above_target: bool,
    /// Limits that would have been enough, twice over.
    pub suggestion: Suggestion,
}

/// The sums.
#[derive(Debug, Serialize)]
pub struct Costs {
    /// What was summed up together.
    pub by: By,
    /// `cost.rate_per_hour`; `null` when it is not set.
    pub rate_per_hour: Option<f64>,
    /// `cost.target_per_task`.
    pub target_per_task: f64,
    /// The dearest first, and those of unknown cost last; by name where there
    /// is no rate.
    pub rows: Vec<CostRow>,
    /// Lines of the ledger that cannot be read.
    pub skipped: usize,
    /// Older runs, which are known by their day or month only.
    pub folded: u64,
}

/// Sums the ledger up.
///
/// # Errors
/// When it cannot be read.
pub fn costs(app: &App, by: By, since: Option<Duration>) -> Result<Costs> {
    let ledger = ledger::read(&app.paths)?;
    let now = app.clock.now().as_second();
    let young = |entry: &&LedgerEntry| {
        since.is_none_or(|since| now.saturating_sub(entry.ended_at.as_second()) <= since.as_secs() as i64)
    };
    let entries: Vec<&LedgerEntry> = ledger.entries.iter().filter(young).collect();
    Ok(sum(&entries, by, &app.user.cost, ledger.skipped))
}

fn sum(entries: &[&LedgerEntry], by: By, rules: &Cost, skipped: usize) -> Costs {
    let mut groups: BTreeMap<Option<String>, Vec<&LedgerEntry>> = BTreeMap::new();
    for entry in entries {
        groups.entry(name(entry, by)).or_default().push(entry);
    }
    let mut rows: Vec<CostRow> =
        groups.into_iter().map(|(name, entries)| row(name, &entries, by == By::Task, rules)).collect();
    rows.sort_by(|a, b| b.cost.unwrap_or(-1.0).total_cmp(&a.cost.unwrap_or(-1.0)));
    let folded = entries.iter().filter(|entry| entry.runs > 1).map(|entry| entry.runs).sum();
    Costs { by, rate_per_hour: rules.rate_per_hour, target_per_task: rules.target_per_task, rows, skipped, folded }
}

fn name(entry: &LedgerEntry, by: By) -> Option<String> {
    match by {
        By::Task => Some(match &entry.store {
            Some(store) => format!("{store}{}{}", if entry.task.contains(':') { '@' } else { ':' }, entry.task),
            None => entry.task.clone(),
        }),
        By::Branch => entry.branch.clone(),
        By::Agent => entry.agent.clone(),
        By::Week => monday(entry.ended_at),
    }
}

fn monday(at: Timestamp) -> Option<String> {
    let day = Offset::UTC.to_datetime(at).date();
    let passed = i64::from(day.weekday().to_monday_zero_offset());
    Some(day.checked_sub(jiff::Span::new().days(passed)).ok()?.to_string())
}

fn row(name: Option<String>, entries: &[&LedgerEntry], is_task: bool, rules: &Cost) -> CostRow {
    let [mut wall, mut cpu, mut pulled, mut written, mut hits] = [Sum::default(); 5];
    for entry in entries {
        wall.add(entry.usage.wall_ms, entry.runs);
        cpu.add(entry.usage.cpu_ms, entry.runs);
        pulled.add(entry.pulled_bytes, entry.runs);
        written.add(entry.usage.written_bytes, entry.runs);
        hits.add(entry.cache_hits, entry.runs);
    }
    let peak = entries.iter().filter(|entry| entry.usage.peak_memory.is_some()).max_by_key(|e| e.usage.peak_memory);
    let longest = entries.iter().filter_map(|entry| entry.longest_ms.or(entry.usage.wall_ms)).max();
    let cost = money(entries, rules);
    let peak_memory = peak.and_then(|entry| entry.usage.peak_memory);
    CostRow {
        name,
        leases: usize::try_from(entries.iter().map(|entry| entry.runs).sum::<u64>()).unwrap_or(usize::MAX),
        wall_ms: wall,
        cpu_ms: cpu,
        peak_memory,
        peak_of: peak.and_then(|entry| entry.usage.peak_of),
        pulled_bytes: pulled,
        written_bytes: written,
        cache_hits: hits,
        cost,
        above_target: is_task && cost.is_some_and(|cost| cost > rules.target_per_task),
        suggestion: Suggestion {
            memory: peak_memory.map(|peak| format!("{}M", (peak * ROOM).div_ceil(STEP) * (STEP >> 20))),
            timeout: longest.map(|longest| {
                let minutes = (longest * ROOM).div_ceil(60_000).max(1);
                human_duration(Duration::from_secs(minutes * 60)).replace(' ', "")
            }),
        },
    }
}

/// The leases of a task on this machine, oldest first, and what they cost.
///
/// # Errors
/// When the ledger cannot be read.
pub(crate) fn of_task(app: &App, store: &str, task: &str) -> Result<(Vec<LedgerEntry>, Option<f64>)> {
    let is_its = |entry: &LedgerEntry| entry.task == task && entry.store.as_deref() == Some(store);
    let entries: Vec<LedgerEntry> = ledger::read(&app.paths)?.entries.into_iter().filter(is_its).collect();
    let cost = money(&entries.iter().collect::<Vec<_>>(), &app.user.cost);
    Ok((entries, cost))
}

/// Per second, each lease at least the minimum.
pub(super) fn money(entries: &[&LedgerEntry], rules: &Cost) -> Option<f64> {
    let rate = rules.rate_per_hour?;
    let seconds = entries.iter().filter_map(|entry| Some((entry.usage.wall_ms?, entry.runs))).map(|(wall, runs)| {
        let minimum = rules.minimum_seconds as f64 * runs as f64;
        (wall as f64 / 1000.0).max(minimum)
    });
    let (count, total) = seconds.fold((0_usize, 0.0), |(count, total), seconds| (count + 1, total + seconds));
    (count > 0).then_some(total * rate / 3600.0)
}

#[cfg(test)]
mod tests {
    use super::super::entry::sample;
    use super::*;
    use crate::runtime::Usage;

    fn of(entries: &[LedgerEntry], by: By, rules: &Cost) -> Costs {
        sum(&entries.iter().collect::<Vec<_>>(), by, rules, 0)
    }

    #[test]
    fn unknown_is_never_nothing() {
        let rules = Cost { rate_per_hour: Some(3.6), ..Cost::default() };
        let costs = of(&[sample("a", None)], By::Task, &rules);
        let row = &costs.rows[0];
        assert_eq!((row.cost, row.wall_ms, row.peak_memory), (None, Sum { known: None, unknown: 1 }, None));
        let costs = of(&[sample("a", None), sample("a", Some(2000))], By::Task, &rules);
        let row = &costs.rows[0];
        assert_eq!((row.leases, row.wall_ms), (2, Sum { known: Some(2000), unknown: 1 }));
        assert!((row.cost.unwrap() - 0.002).abs() < 1e-9, "{row:?}");
    }

    #[test]
    fn each_lease_costs_its_seconds_and_at_least_the_minimum() {
        let rules = Cost { rate_per_hour: Some(36.0), minimum_seconds: 5, target_per_task: 0.1, cap: None };
        let entries = [sample("a", Some(1000)), sample("a", Some(20_000)), sample("b", Some(1))];
        let costs = of(&entries, By::Task, &rules);
        let rows: Vec<_> = costs.rows.iter().map(|row| (row.cost.unwrap(), row.above_target)).collect();
        assert!((rows[0].0 - 0.25).abs() < 1e-9 && rows[0].1, "{rows:?}");
        assert!((rows[1].0 - 0.05).abs() < 1e-9 && !rows[1].1, "{rows:?}");
        // A branch has no target.
        let costs = of(&entries, By::Branch, &rules);
        assert_eq!((costs.rows.len(), costs.rows[0].above_target), (1, false));
        assert!(of(&entries, By::Task, &Cost::default()).rows.iter().all(|row| row.cost.is_none()));
    }

    #[test]
    fn limits_are_suggested_from_the_peaks() {
        let usage = Usage { wall_ms: Some(61_000), peak_memory: Some(200 << 20), ..Usage::default() };
        let costs = of(&[LedgerEntry { usage, ..sample("a", None) }], By::Task, &Cost::default());
        let suggestion = &costs.rows[0].suggestion;
        assert_eq!((suggestion.memory.as_deref(), suggestion.timeout.as_deref()), (Some("512M"), Some("3m")));
        assert!(crate::quantity::parse_duration("3m").is_ok());
    }

    #[test]
    fn weeks_begin_on_monday() {
        for (at, monday_of) in [("2026-11-22T23:59:59Z", "2026-11-16"), ("2026-11-23T00:00:00Z", "2026-11-23")] {
            assert_eq!(monday(at.parse().unwrap()).as_deref(), Some(monday_of));
        }
    }
}
