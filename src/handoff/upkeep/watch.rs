//! Following a store: what waits for somebody is brought before they come.
//!
//! Invariants: a look at a store in which nothing was published costs one request, and
//! what is here is not brought again; no more bytes than a day may have are begun with;
//! nobody is asked anything. Losing what is remembered costs requests.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::prefetch::{Brought, Prefetched, bring, here};
use crate::config::Signal;
use crate::digest::Digest;
use crate::disk::{self, Durability, lock::FileLock};
use crate::error::{failure, usage};
use crate::handoff::app::App;
use crate::handoff::task::{Located, from_store};
use crate::handoff::views::{TaskRow, tasks_of};
use crate::identity::{StoreRef, Target};
use crate::store::{Access, Store};
use crate::ui::human_bytes;

/// So many looks may pass before the whole list is read again, although the store seems to
/// be as it was: a list of tasks may be stale, and a task overdue.
const LOOKS: u32 = 15;

/// What `prefetch --watch` may do.
#[derive(Clone, Debug)]
pub struct WatchOptions {
    /// How long it sleeps between two looks at the store.
    pub every: Duration,
    /// Bytes that it may fetch in a day.
    pub max_bytes: Option<u64>,
    /// Hours of the day, by this machine's clock: from the first, up to the second.
    pub hours: Option<(u8, u8)>,
    /// Looks before it ends by itself; without, it goes on.
    pub rounds: Option<u64>,
}

/// What a watch remembers between two looks, and between two runs.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Memory {
    /// Identities that were brought, and what was here of them then.
    done: BTreeMap<Digest, BTreeSet<String>>,
    /// The day, in days since 1970, and the bytes that were fetched in it.
    day: i64,
    bytes: u64,
    /// What the store said of itself when the list was read.
    mark: Option<String>,
    /// Looks that may pass before the list is read again.
    looks: u32,
    /// How often in a row something could not be brought.
    failed: u32,
    /// Something waits for bytes, when so many were left of the day.
    waits: Option<u64>,
    /// What was wanted, in the words of the configuration.
    signals: String,
    /// On which day what had been removed was brought again.
    again: BTreeMap<Digest, i64>,
    /// Whether an identity is one that is wanted, where a look at it had to say so.
    judged: BTreeMap<Digest, bool>,
}

/// Follows a store: brings each task that waits for somebody, within limits.
/// `told` is given what was brought.
///
/// # Errors
/// When the store is watched already. A store that does not answer is asked
/// again later.
pub fn watch(
    app: &App,
    options: &WatchOptions,
    rate: Option<u64>,
    told: &mut dyn FnMut(&Prefetched) -> Result<()>,
) -> Result<()> {
    // Nobody is there: what would be asked about is not done.
    let mut alone = app.clone();
    alone.options.interactive = false;
    let app = &alone;
    let store = app.store()?;
    app.open_roots()?;
    let lock = app.paths.cache_lock(&format!("watch-{}", store.key()));
    let Some(_lock) = FileLock::attempt(&lock)? else {
        return Err(failure(format!("another envctl watches {store}")).into());
    };
    let place = app.paths.watch(&store.key());
    let mut memory: Memory = disk::read_json(&place).ok().flatten().unwrap_or_default();
    let mut round = 0;
    loop {
        if within(options.hours, hour(app)) {
            match (Watcher { app, options, rate, store: &store }).look(&mut memory, told) {
                Ok(()) => {}
                Err(error) => app.ui.warn(&format!("{store} cannot be followed now: {error:#}")),
            }
            disk::write_json(&place, &memory, Durability::Cached)?;
        }
        round += 1;
        if options.rounds.is_some_and(|rounds| round >= rounds) {
            return Ok(());
        }
        std::thread::sleep(options.every);
    }
}

fn hour(app: &App) -> u8 {
    app.clock.now().to_zoned_datetime(jiff::tz::TimeZone::system()).hour().unsigned_abs()
}

/// Whether an hour is one of those in which something may be fetched; a range
/// may go over midnight.
fn within(hours: Option<(u8, u8)>, hour: u8) -> bool {
    match hours {
        None => true,
        Some((from, to)) if from <= to => (from..to).contains(&hour),
        Some((from, to)) => hour >= from || hour < to,
    }
}

/// Who looks.
struct Watcher<'a> {
    app: &'a App,
    options: &'a WatchOptions,
    rate: Option<u64>,
    store: &'a StoreRef,
}

impl Watcher<'_> {
    fn look(&self, memory: &mut Memory, told: &mut dyn FnMut(&Prefetched) -> Result<()>) -> Result<()> {
        let app = self.app;
        self.begin(memory);
        self.forget_evicted(memory);
        let mark = app.open(self.store, Access::Read)?.mark(memory.mark.as_deref())?;
        if memory.mark.as_ref() == Some(&mark) && memory.looks > 0 {
            memory.looks -= 1;
            return Ok(());
        }
        let rows = tasks_of(app, self.store)?;
        let seen: BTreeSet<Digest> = rows.iter().filter_map(|row| row.identity.parse().ok()).collect();
        let mut failed = false;
        for row in self.wanted(&rows, memory)? {
            let identity: Digest = row.identity.parse()?;
            if memory.done.contains_key(&identity) {
                continue;
            }
            let (_, min_free) = app.user.cache_sizes();
            if disk::free_space(app.paths.cache())?.0 < min_free {
                app.ui.warn("the disk is nearly full: nothing is fetched ahead");
                failed = true;
                break;
            }
            failed |= !self.bring(row, memory, told)?;
        }
        // What the store no longer has need not be remembered.
        memory.done.retain(|identity, _| seen.contains(identity));
        memory.judged.retain(|identity, _| seen.contains(identity));
        memory.again.retain(|identity, _| seen.contains(identity));
        memory.failed = if failed { memory.failed.saturating_add(1) } else { 0 };
        memory.looks = pause(memory.failed);
        memory.mark = Some(mark);
        Ok(())
    }

    /// A new day has its bytes anew; who may fetch more, or other tasks, looks again.
    fn begin(&self, memory: &mut Memory) {
        let app = self.app;
        let day = app.clock.now().as_second() / 86_400;
        if memory.day != day {
            (memory.day, memory.bytes) = (day, 0);
        }
        let signals = format!("{:?}", app.user.prefetch);
        if memory.waits.is_some_and(|then| self.left(memory) > then) || memory.signals != signals {
            (memory.looks, memory.waits) = (0, None);
            memory.judged.clear();
        }
        memory.signals = signals;
    }

    /// Bytes that may still be fetched today.
    fn left(&self, memory: &Memory) -> u64 {
        self.options.max_bytes.map_or(u64::MAX, |most| most.saturating_sub(memory.bytes))
    }

    /// Brings one task; whether it could be had, or waits for another day.
    fn bring(
        &self,
        row: &TaskRow,
        memory: &mut Memory,
        told: &mut dyn FnMut(&Prefetched) -> Result<()>,
    ) -> Result<bool> {
        let app = self.app;
        let most = self.options.max_bytes.map(|_| self.left(memory));
        let began = Instant::now();
        let located = Located { store: self.store.clone(), target: Target::Task(row.task.clone()) };
        match bring(app, located, self.rate, most) {
            Ok(Brought::Here(done)) => {
                memory.bytes += done.bytes;
                let parts = here(app, self.store, &done.identity)?;
                memory.done.insert(done.identity, parts);
                app.ui.detail(&format!("{} took {:?}", done.task, began.elapsed()));
                told(&done)?;
            }
            // A smaller one may still have room.
            Ok(Brought::TooMuch(bytes)) => {
                memory.waits = most;
                let (needs, left) = (human_bytes(bytes), human_bytes(most.unwrap_or_default()));
                app.ui.status("Waiting", &format!("{} needs {needs}, of this day {left} are left", row.task));
            }
            Err(error) => {
                app.ui.warn(&format!("{} cannot be fetched: {error:#}", row.task));
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What was removed since it was brought is brought again, once a day.
    fn forget_evicted(&self, memory: &mut Memory) {
        let day = memory.day;
        let all_here = |identity: &Digest, parts: &BTreeSet<String>| {
            here(self.app, self.store, identity).is_ok_and(|here| parts.is_subset(&here))
        };
        for (identity, parts) in std::mem::take(&mut memory.done) {
            if memory.again.get(&identity) == Some(&day) || all_here(&identity, &parts) {
                memory.done.insert(identity, parts);
            } else {
                memory.again.insert(identity, day);
                memory.looks = 0;
            }
        }
    }

    /// Those that any signal takes.
    fn wanted<'r>(&self, rows: &'r [TaskRow], memory: &mut Memory) -> Result<Vec<&'r TaskRow>> {
        let usual = [Signal::usual()];
        let signals = if self.app.user.prefetch.is_empty() { &usual[..] } else { &self.app.user.prefetch };
        let mut judge = Judged { watcher: self, store: None, known: &mut memory.judged };
        let mut wanted = Vec::new();
        for row in rows {
            let may = |signal: &&Signal| {
                signal.may_take(row.needs_human(), row.status, row.agent.as_deref(), row.message.as_deref())
            };
            let fitting: Vec<&Signal> = signals.iter().filter(may).collect();
            let at_once = fitting.iter().any(|signal| !signal.asks_for_identity());
            if at_once || (!fitting.is_empty() && judge.takes(row, &fitting)?) {
                wanted.push(row);
            }
        }
        Ok(wanted)
    }
}

/// What only identities can tell, each looked at once.
struct Judged<'a> {
    watcher: &'a Watcher<'a>,
    store: Option<Box<dyn Store>>,
    known: &'a mut BTreeMap<Digest, bool>,
}

impl Judged<'_> {
    fn takes(&mut self, row: &TaskRow, signals: &[&Signal]) -> Result<bool> {
        let digest: Digest = row.identity.parse()?;
        if let Some(known) = self.known.get(&digest) {
            return Ok(*known);
        }
        let (app, name) = (self.watcher.app, self.watcher.store);
        let store = match self.store.take() {
            Some(store) => store,
            None => app.open(name, Access::Read)?,
        };
        let found = from_store(&*store, &Located { store: name.clone(), target: Target::Identity(digest) });
        self.store = Some(store);
        // It may just have gone; the next look knows.
        let Ok((_, _, identity)) = found else { return Ok(false) };
        let (branch, url) = (identity.repo.branch.as_deref(), identity.repo.url.to_string());
        let takes = signals.iter().any(|signal| signal.takes(branch, &url));
        self.known.insert(digest, takes);
        Ok(takes)
    }
}

/// Looks that pass until the list is read again, after so many failures in a row.
fn pause(failed: u32) -> u32 {
    match failed {
        0 => LOOKS,
        failed => 2_u32.saturating_pow(failed.min(8)).saturating_sub(2).min(LOOKS),
    }
}

/// Reads `9-18`.
///
/// # Errors
/// [`crate::error::Kind::Usage`].
pub fn parse_hours(text: &str) -> Result<(u8, u8), crate::error::Fault> {
    let bad = || usage(format!("{text:?} names no hours of the day")).hint("write 9-18, or 22-6 over midnight");
    let (from, to) = text.split_once('-').ok_or_else(bad)?;
    let hour = |text: &str| text.parse::<u8>().ok().filter(|hour| *hour <= 24).ok_or_else(bad);
    let hours = (hour(from)?, hour(to)?);
    if hours.0 == hours.1 { Err(bad()) } else { Ok(hours) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_may_go_over_midnight() {
        assert_eq!(parse_hours("9-18").unwrap(), (9, 18));
        for bad in ["9", "a-b", "9-25", "9-9", "-1-5"] {
            assert!(parse_hours(bad).is_err(), "{bad}");
        }
        assert!(within(Some((9, 18)), 9) && !within(Some((9, 18)), 18) && !within(Some((9, 18)), 3));
        assert!(within(Some((22, 6)), 23) && within(Some((22, 6)), 5) && !within(Some((22, 6)), 6));
        assert!(within(None, 0));
    }

    #[test]
    fn what_fails_is_tried_again_at_once_and_then_ever_more_seldom() {
        assert_eq!([0, 1, 2, 3, 4, 5, 99].map(pause), [LOOKS, 0, 2, 6, 14, LOOKS, LOOKS]);
    }
}
