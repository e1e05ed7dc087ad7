//! Making the next enter warm: everything that a task needs is brought here,
//! and nothing is pinned, so that an enter still gets what the task is then.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::config::Project;
use crate::digest::Digest;
use crate::disk::{self, Durability, lock::FileLock};
use crate::error::{failure, usage};
use crate::handoff::app::App;
use crate::handoff::caches::Caches;
use crate::handoff::fetch::Here;
use crate::handoff::report::Report;
use crate::handoff::task::{Located, Resolved, Source, Throttle, resolve};
use crate::handoff::views::tasks_of;
use crate::handoff::{caches, fetch, prepare};
use crate::identity::{StoreRef, Target, TaskRef};
use crate::ui::human_bytes;

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

/// What one prefetch did.
#[derive(Clone, Debug, Serialize)]
pub struct Prefetched {
    /// The task.
    pub task: String,
    /// The identity that was brought.
    pub identity: Digest,
    /// Bytes that were fetched.
    pub bytes: u64,
    /// Caches of the task that no store has: the first enter makes them.
    pub unsealed: Vec<String>,
}

/// Brings everything that a task needs now.
///
/// # Errors
/// As `enter`, as far as it fetches.
pub fn prefetch(app: &App, task: &TaskRef, rate: Option<u64>) -> Result<Prefetched> {
    bring(app, app.locate(task)?, rate.map(Throttle::new))
}

fn bring(app: &App, task: Located, throttle: Option<Throttle>) -> Result<Prefetched> {
    if app.options.offline {
        return Err(usage("--offline fetches nothing").into());
    }
    let shown = task.reference();
    app.open_roots()?;
    caches::make_room(app);
    let kept = caches::keep(app)?;
    let source = Source::throttled(app, task, throttle);
    let resolved = resolve(&source, None, true)?;
    let mut report = Report::default();
    let image = report.step("fetch.image", || image(&source, &resolved))?;
    for pinned in &resolved.identity.services {
        report.step("fetch.services", || {
            let (_, pulled) = fetch::service_image(&source, &resolved, pinned, &image.user)?;
            Ok(((), pulled.bytes))
        })?;
    }
    let (snapshot, bytes) = fetch::snapshot(&source, &resolved)?;
    report.note("fetch.snapshot", Duration::ZERO, bytes);
    report.step("fetch.repo", || Ok(((), prepare::fetch_repo(app, &resolved, &snapshot.document)?)))?;
    let nothing = Project::default();
    let mut wanted = Caches::of_identity(app, &resolved, &image, &nothing)?;
    wanted.fetch(&source, &mut report)?;
    let (records, unsealed) = wanted.brought();
    drop((source, kept));
    let diff_ids: Vec<Digest> = image.records.iter().map(|record| record.diff_id).collect();
    image.layers.flush(&diff_ids)?;
    caches::flush(app, &image, &records);
    let bytes = report.bytes();
    app.ui.status("Prefetched", &format!("{shown}, {}", human_bytes(bytes)));
    Ok(Prefetched { task: shown, identity: resolved.digest, bytes, unsealed })
}

fn image(source: &Source<'_>, resolved: &Resolved) -> Result<(crate::image::Pulled, u64)> {
    let known = match fetch::image_here(source.app, resolved)? {
        Here::Whole(whole) => return Ok((whole.1, 0)),
        Here::Documents(image) => Some(*image),
        Here::Nothing => None,
    };
    let (_, pulled) = fetch::pull_image(source, resolved, known)?;
    let bytes = pulled.bytes;
    Ok((pulled, bytes))
}

/// What a watch remembers between two looks, and between two runs.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Memory {
    /// Identities that were brought.
    done: BTreeSet<Digest>,
    /// The day, in days since 1970, and the bytes that were fetched in it.
    day: i64,
    bytes: u64,
}

/// Follows a store: brings each task that waits for a human, within limits.
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
            match look(app, options, rate, &store, &mut memory, told) {
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

fn look(
    app: &App,
    options: &WatchOptions,
    rate: Option<u64>,
    store: &StoreRef,
    memory: &mut Memory,
    told: &mut dyn FnMut(&Prefetched) -> Result<()>,
) -> Result<()> {
    let day = app.clock.now().as_second() / 86_400;
    if memory.day != day {
        (memory.day, memory.bytes) = (day, 0);
    }
    let (rows, mut seen) = (tasks_of(app, store)?, BTreeSet::new());
    for row in rows {
        let identity: Digest = row.identity.parse()?;
        seen.insert(identity);
        if !row.needs_human() || memory.done.contains(&identity) {
            continue;
        }
        if options.max_bytes.is_some_and(|most| memory.bytes >= most) {
            app.ui.status("Waiting", "the bytes of this day are used up");
            break;
        }
        let (_, min_free) = app.user.cache_sizes();
        if disk::free_space(app.paths.cache())?.0 < min_free {
            app.ui.warn("the disk is nearly full: nothing is fetched ahead");
            break;
        }
        let began = Instant::now();
        let located = Located { store: store.clone(), target: Target::Task(row.task.clone()) };
        match bring(app, located, rate.map(Throttle::new)) {
            Ok(done) => {
                memory.bytes += done.bytes;
                memory.done.insert(done.identity);
                app.ui.detail(&format!("{} took {:?}", done.task, began.elapsed()));
                told(&done)?;
            }
            // The next look tries again.
            Err(error) => app.ui.warn(&format!("{} cannot be fetched: {error:#}", row.task)),
        }
    }
    // What the store no longer has need not be remembered.
    memory.done.retain(|identity| seen.contains(identity));
    Ok(())
}

/// Reads `9-18`.
///
/// # Errors
/// [`crate::error::Kind::Usage`].
pub fn parse_hours(text: &str) -> Result<(u8, u8), crate::error::Fault> {
    let bad = || usage(format!("{text:?} are no hours")).hint("write 9-18, or 22-6 over midnight");
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
}
