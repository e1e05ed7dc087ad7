//! `envctl cache`

use std::time::Duration;

use anyhow::Result;
use clap::{Args, Subcommand};
use serde::Serialize;

use super::call::VerbCall;
use super::parse_task;
use crate::clock::age;
use crate::error::Fault;
use crate::handoff::{
    App, Explained, KeyRow, PruneOptions, Tended, VerifiedEntry, cache_diff, cache_key, cache_reasons, cache_retry,
    cache_why, caches, promote, prune, verify_caches,
};
use crate::identity::TaskRef;
use crate::quantity::{parse_bytes, parse_duration};
use crate::ui::{counted, human_bytes};

/// Look at caches: list, check, share or remove them
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List the entries of this machine
    Ls,
    Verify(Verify),
    Prune(Prune),
    Key(Key),
    Why(Why),
    Diff(Diff),
    Promote(Promote),
    Retry(Retry),
}

/// Hash entries and image layers again, and move away what is damaged
#[derive(Debug, Args)]
struct Verify {
    /// Only so many, chosen at random
    #[arg(long, value_name = "COUNT")]
    sample: Option<usize>,
}

/// Remove entries and image layers that no runtime and no workspace needs
///
/// Without options: what `[cache]` of config.toml says.
#[derive(Debug, Args)]
struct Prune {
    /// What was not used for so long
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    older_than: Option<Duration>,
    /// What was not used longest, until the rest has at most this size
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    max_size: Option<u64>,
    /// Everything
    #[arg(long, conflicts_with_all = ["older_than", "max_size", "key"])]
    all: bool,
    /// One entry
    #[arg(long, value_name = "KEY", conflicts_with_all = ["older_than", "max_size"])]
    key: Option<String>,
    /// Show what would be removed
    #[arg(long)]
    dry_run: bool,
}

/// Print the keys of a task's caches, and what they are made of
#[derive(Debug, Args)]
struct Key {
    /// TASK, STORE:TASK or STORE@sha256:...; without, the workspace of the
    /// working directory
    #[arg(value_parser = parse_task)]
    task: Option<TaskRef>,
    /// Say why two keys differ; each is a task, or the beginning of a key
    #[arg(long, num_args = 2, value_names = ["A", "B"], conflicts_with = "task")]
    why: Option<Vec<String>>,
}

/// Say why a task's caches are made anew, or were: which packages differ from the
/// entry before
#[derive(Debug, Args)]
struct Why {
    /// TASK, STORE:TASK or STORE@sha256:...; without, the workspace of the
    /// working directory
    #[arg(value_parser = parse_task)]
    task: Option<TaskRef>,
}

/// Show how a later result of an entry's setup differs from the entry
#[derive(Debug, Args)]
struct Diff {
    /// The entry's key, or its beginning
    key: String,
}

/// Give what a task sealed to all tasks of its store, here and there
#[derive(Debug, Args)]
struct Promote {
    /// TASK, STORE:TASK or STORE@sha256:...
    #[arg(value_parser = parse_task)]
    task: TaskRef,
    /// Only these caches
    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

/// Let setups run again that have failed
///
/// One that failed is not tried again until something that decides its content
/// changes. This forgets the failure; the next enter tries it.
#[derive(Debug, Args)]
struct Retry {
    /// TASK, STORE:TASK or STORE@sha256:...; without, the workspace of the
    /// working directory
    #[arg(value_parser = parse_task)]
    task: Option<TaskRef>,
    /// Only these caches
    #[arg(value_name = "NAME", requires = "task")]
    names: Vec<String>,
}

fn duration(text: &str) -> Result<Duration, Fault> {
    parse_duration(text)
}

fn bytes(text: &str) -> Result<u64, Fault> {
    parse_bytes(text)
}

#[derive(Serialize)]
struct Caches<T> {
    caches: Vec<T>,
}

#[derive(Serialize)]
struct Checks<'a> {
    ok: bool,
    checked: &'a [VerifiedEntry],
}

#[derive(Serialize)]
struct RemovedEntry {
    dry_run: bool,
    removed: Vec<Tended>,
}

impl Arguments {
    pub(super) fn run(&self, VerbCall { app, .. }: VerbCall<'_>) -> Result<u8> {
        match &self.verb {
            Verb::Ls => list(app)?,
            Verb::Verify(verify) => verify.run(app)?,
            Verb::Prune(prune) => prune.run(app)?,
            Verb::Key(key) => key.run(app)?,
            Verb::Why(why) => why.run(app)?,
            Verb::Diff(diff) => diff.run(app)?,
            Verb::Promote(promote) => promote.run(app)?,
            Verb::Retry(retry) => retry.run(app)?,
        }
        Ok(0)
    }
}

fn list(app: &App) -> Result<()> {
    let rows = caches(app)?;
    if app.ui.is_json() {
        return app.ui.json(&Caches { caches: rows });
    }
    if rows.is_empty() {
        app.ui.status("Found", "no cache on this machine");
    }
    let width = rows.iter().map(|row| row.name.len()).max().unwrap_or_default();
    let now = app.clock.now();
    for row in rows {
        let used = row.last_use.map_or_else(|| "never used".into(), |at| format!("used {}", age(at, now)));
        let hits = counted(row.hits, "hit", "hits");
        let (size, kept) = (human_bytes(row.bytes), row.kept.unwrap_or("-"));
        let differs = if row.differs { "  differs" } else { "" };
        let line = format!(
            "{:<width$}  {}  {size:>9}  {used:<18}  {hits:<9}  {:<7}  {kept:<9}  {}{differs}",
            row.name,
            row.key.short(),
            row.scope,
            row.of
        );
        app.ui.data(&line)?;
    }
    Ok(())
}

impl Verify {
    fn run(&self, app: &App) -> Result<()> {
        let checked = verify_caches(app, self.sample)?;
        let verdict = VerifiedEntry::verdict(&checked);
        if app.ui.is_json() {
            if verdict.is_ok() {
                app.ui.json(&Checks { ok: true, checked: &checked })?;
            }
        } else {
            for one in &checked {
                let verdict = one.fault.as_deref().unwrap_or("ok");
                app.ui.data(&format!("{}  {}  {}  {verdict}", one.kind, one.key.short(), one.name))?;
            }
        }
        for one in checked.iter().filter(|one| one.fault.is_some()) {
            if let Some(place) = &one.quarantine {
                app.ui.warn(&format!("{} {} was damaged and is now in {}", one.kind, one.name, place.display()));
            }
        }
        Ok(verdict?)
    }
}

impl Prune {
    fn run(&self, app: &App) -> Result<()> {
        let options = PruneOptions {
            older_than: self.older_than,
            max_size: self.max_size,
            all: self.all,
            key: self.key.clone(),
            dry_run: self.dry_run,
        };
        let removed = prune(app, &options)?;
        let freed: u64 = removed.iter().map(|one| one.bytes).sum();
        if app.ui.is_json() {
            return app.ui.json(&RemovedEntry { dry_run: self.dry_run, removed });
        }
        for one in &removed {
            let size = human_bytes(one.bytes);
            app.ui.data(&format!("{}  {}  {size:>9}  {}: {}", one.kind, one.key.short(), one.name, one.why))?;
        }
        let verb = if self.dry_run { "Would free" } else { "Freed" };
        app.ui.status(verb, &human_bytes(freed));
        Ok(())
    }
}

impl Key {
    fn run(&self, app: &App) -> Result<()> {
        if let Some([a, b]) = self.why.as_deref() {
            return explain(app, cache_why(app, a, b)?);
        }
        let rows = cache_key(app, self.task.as_ref())?;
        if app.ui.is_json() {
            return app.ui.json(&Caches { caches: rows });
        }
        if rows.is_empty() {
            app.ui.status("Found", "no [[cache]] in envctl.toml");
        }
        rows.iter().try_for_each(|row| show(app, row))
    }
}

fn show(app: &App, row: &KeyRow) -> Result<()> {
    let here = row.here.map_or_else(|| "not here".to_owned(), |scope| format!("here, {scope} scope"));
    app.ui.data(&format!("{}  {}  ({here})", row.name, row.key))?;
    app.ui.list(row.components.iter().map(|(name, value)| format!("    {name}: {}", value.trim())))
}

fn explain(app: &App, all: Vec<Explained>) -> Result<()> {
    if app.ui.is_json() {
        return app.ui.json(&Caches { caches: all });
    }
    let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".into());
    app.ui.list(all.iter().flat_map(|one| {
        let same = one.differs.is_empty().then(|| format!("{}: the keys are the same", one.name));
        same.into_iter().chain(
            one.differs.iter().map(|(component, a, b)| {
                format!("{}: {component}: {} / {}", one.name, shown(a).trim(), shown(b).trim())
            }),
        )
    }))
}

impl Why {
    fn run(&self, app: &App) -> Result<()> {
        let rows = cache_reasons(app, self.task.as_ref())?;
        if app.ui.is_json() {
            return app.ui.json(&Caches { caches: rows });
        }
        app.ui.list(rows.iter().map(|row| match &row.before {
            Some(before) => format!("{}: {} ({} → {})", row.name, row.why, before.short(), row.key.short()),
            None => format!("{}: no other entry of it is here", row.name),
        }))
    }
}

impl Diff {
    fn run(&self, app: &App) -> Result<()> {
        let compared = cache_diff(app, &self.key)?;
        if app.ui.is_json() {
            return app.ui.json(&compared);
        }
        app.ui.list(compared.paths.iter().map(|(how, path)| format!("{how} {path}")))?;
        if compared.more {
            app.ui.warn("more differs than is listed");
        }
        Ok(())
    }
}

impl Retry {
    fn run(&self, app: &App) -> Result<()> {
        let rows = cache_retry(app, self.task.as_ref(), &self.names)?;
        if app.ui.is_json() {
            return app.ui.json(&Caches { caches: rows });
        }
        app.ui.status("Forgot", "that these setups failed; the next enter or run tries them again");
        rows.iter().try_for_each(|row| app.ui.data(&format!("{}  {}", row.name, row.key)))
    }
}

impl Promote {
    fn run(&self, app: &App) -> Result<()> {
        let promoted = promote(app, &self.task, &self.names)?;
        if app.ui.is_json() {
            return app.ui.json(&promoted);
        }
        promoted.caches.iter().try_for_each(|row| app.ui.data(&format!("{}  {}", row.name, row.key)))
    }
}
