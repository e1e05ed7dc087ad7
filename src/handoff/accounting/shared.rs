//! One budget for machines that share a store: each leaves word there of what its owners
//! have spent, and counts what the others left.

use anyhow::Result;
use jiff::Timestamp;

use super::entry::LedgerEntry;
use super::ledger;
use super::spending::{MAX_SPENDING, Spending, Spent};
use crate::digest::random_hex;
use crate::disk::{self, Durability};
use crate::handoff::app::App;
use crate::identity::StoreRef;
use crate::oci::media;
use crate::store::{Access, change_beside, read_beside};

/// Seconds of a day.
const DAY: i64 = 86_400;

/// What other machines have spent that share this store, as lines of a ledger; nothing
/// where nobody has a cap, or where they cannot be asked.
pub(crate) fn elsewhere(app: &App, store: Option<&StoreRef>) -> Vec<LedgerEntry> {
    let Some(store) = store.filter(|_| app.user.cost.cap.is_some() && !app.options.offline) else { return Vec::new() };
    let read = || -> Result<Vec<LedgerEntry>> {
        let store = app.open(store, Access::Read)?;
        let spending = read_beside(&*store, Spending::TAG, MAX_SPENDING, Spending::parse)?.unwrap_or_default();
        let machine = machine(app)?;
        Ok(spending.of_others(&machine).map(line).collect())
    };
    read().unwrap_or_else(|error| {
        app.ui.warn(&format!("what other machines have spent is not known, and does not count: {error:#}"));
        Vec::new()
    })
}

/// Leaves word of what was spent here, where somebody has a cap.
pub(crate) fn share(app: &App, store: Option<&StoreRef>) {
    let Some(store) = store.filter(|_| app.user.cost.cap.is_some() && !app.options.offline) else { return };
    let write = || -> Result<()> {
        let machine = machine(app)?;
        let own = by_day(&ledger::read(&app.paths)?.entries, &machine);
        let (store, today) = (app.open(store, Access::Write)?, day(app.clock.now()));
        let place = (Spending::TAG, media::SPENDING, MAX_SPENDING);
        change_beside(&*store, place, Spending::parse, |known: Option<Spending>| {
            known.unwrap_or_default().with(&machine, own.clone(), today).to_bytes()
        })
    };
    if let Err(error) = write() {
        app.ui.detail(&format!("other machines do not hear what was spent here: {error:#}"));
    }
}

/// This machine, for others: a number that means nothing, made once.
fn machine(app: &App) -> Result<String> {
    let file = app.paths.machine();
    let valid = |text: &str| text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if let Some(known) = disk::read_json::<String>(&file)?.filter(|text| valid(text)) {
        return Ok(known);
    }
    let made = random_hex::<16>()?;
    disk::write_json(&file, &made, Durability::Flushed)?;
    Ok(made)
}

fn day(at: Timestamp) -> i64 {
    at.as_second().div_euclid(DAY)
}

/// The ledger in rows.
fn by_day(entries: &[LedgerEntry], machine: &str) -> Vec<Spent> {
    let mut rows: std::collections::BTreeMap<(i64, Option<&str>), (u64, u64)> = Default::default();
    for entry in entries {
        let Some(wall) = entry.usage.wall_ms else { continue };
        let (total, runs) = rows.entry((day(entry.ended_at), entry.agent.as_deref())).or_default();
        (*total, *runs) = (total.saturating_add(wall), runs.saturating_add(entry.runs));
    }
    let row = |((day, agent), (wall_ms, runs)): ((i64, Option<&str>), (u64, u64))| Spent {
        machine: machine.to_owned(),
        agent: agent.map(str::to_owned),
        day,
        wall_ms,
        runs,
    };
    rows.into_iter().map(row).collect()
}

/// A row as a line, at the end of its day.
fn line(row: &Spent) -> LedgerEntry {
    let at = row.day.saturating_add(1).saturating_mul(DAY).saturating_sub(1);
    LedgerEntry::summed(row.agent.clone(), Timestamp::from_second(at).unwrap_or_default(), (row.wall_ms, row.runs))
}

#[cfg(test)]
mod tests {
    use super::super::entry::sample;
    use super::*;

    #[test]
    fn a_ledger_becomes_rows_and_lines_again() {
        let of = |agent: &str, wall| LedgerEntry { agent: Some(agent.into()), ..sample("t", wall) };
        let entries = [of("a", Some(1000)), of("b", Some(5)), of("a", Some(500)), of("a", None)];
        let rows = by_day(&entries, "m");
        assert_eq!(
            rows.iter().map(|row| (row.agent.as_deref(), row.wall_ms, row.runs)).collect::<Vec<_>>(),
            [(Some("a"), 1500, 2), (Some("b"), 5, 1)]
        );
        let line = line(&rows[0]);
        assert_eq!((line.usage.wall_ms, line.runs, day(line.ended_at)), (Some(1500), 2, rows[0].day));
    }
}
