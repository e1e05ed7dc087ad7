//! What deletes each workspace of this machine, when, and why. `status` tells
//! it and `gc` carries it out, by the same words.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use jiff::Timestamp;
use serde::Serialize;

use super::folders::written_at;
use super::location::{tenant, ttl};
use crate::clock::age;
use crate::handoff::app::App;
use crate::handoff::task::{Looks, Pin};
use crate::identity::{Identity, Lifetime};
use crate::quantity::human_duration;

/// A workspace on this machine.
#[derive(Clone, Debug, Serialize)]
pub struct WorkspaceRow {
    /// The task, or the identity.
    pub task: String,
    /// Its store.
    pub store: String,
    /// Digest of the identity.
    pub identity: String,
    /// When it was pinned.
    pub pinned_at: Timestamp,
    /// Where it is.
    pub path: String,
    /// What it belongs to.
    pub lifetime: Lifetime,
    /// When it was used last.
    pub last_used: Option<Timestamp>,
    /// Whether a runtime is live in it; then nothing deletes it.
    pub in_use: bool,
    /// Who deletes it: `gc` or `developer`.
    pub deleted_by: &'static str,
    /// By which rule.
    pub rule: String,
    /// When, where a time is known.
    pub deleted_at: Option<Timestamp>,
    /// The newer identity that its store was last seen to have.
    pub newer: Option<String>,
    /// When that was.
    pub newer_seen_at: Option<Timestamp>,
}

/// All workspaces that are there.
///
/// # Errors
/// When the state cannot be read.
pub fn workspaces(app: &App) -> Result<Vec<WorkspaceRow>> {
    let pins = app.pins().all()?.into_iter().filter(|pin| pin.workspace.exists());
    let looks = Looks::read(app);
    pins.map(|pin| row(app, &looks, pin)).collect()
}

fn row(app: &App, looks: &Looks, pin: Pin) -> Result<WorkspaceRow> {
    let identity = app.pins().identity(&pin.identity).ok().flatten();
    let lifetime = lifetime(app, &pin);
    let (spared, whose) = ttl(app, identity.as_ref());
    let last_used = last_used(app, &pin, spared);
    let closed = looks.closed(&pin);
    let (deleted_by, rule, deleted_at) = match lifetime {
        _ if pin.kept => ("developer", format!("by hand: envctl workspace keep --off {}", pin.quoted()), None),
        Lifetime::PerTask if closed.is_some() => {
            ("gc", "by the next collection: its task is closed".to_owned(), closed)
        }
        Lifetime::PerTask => {
            let later = if app.pins().is_of_run(&pin) { "when a later run of its task fails, " } else { "when " };
            let rule = format!("{later}its task is closed, or unused for {} ({whose})", human_duration(spared));
            ("gc", rule, last_used.and_then(|used| after(used, spared)))
        }
        Lifetime::PerBranch => {
            let branch = branch(identity.as_ref()).unwrap_or("its branch");
            ("gc", format!("when {branch} is merged, or deleted on the remote"), None)
        }
        Lifetime::PerProject => ("developer", format!("by hand: envctl workspace rm {}", pin.quoted()), None),
        Lifetime::PerDeveloper => ("developer", "never: it is in a folder that you named".into(), None),
    };
    let newer = looks.newer(&pin);
    Ok(WorkspaceRow {
        newer: newer.map(|look| look.identity.to_string()),
        newer_seen_at: newer.map(|look| look.at),
        in_use: tenant(app, &pin.workspace)?.is_some(),
        task: pin.name(),
        store: pin.store,
        identity: pin.identity.to_string(),
        pinned_at: pin.pinned_at,
        path: pin.workspace.display().to_string(),
        lifetime,
        last_used,
        deleted_by,
        rule,
        deleted_at,
    })
}

impl WorkspaceRow {
    /// When it was used last, in words.
    pub fn used(&self, now: Timestamp) -> String {
        if self.in_use {
            return "in use now".into();
        }
        self.last_used.map_or_else(|| "never used".into(), |used| format!("used {}", age(used, now)))
    }

    /// When it goes, in few words; nothing where no rule takes it away.
    pub fn goes(&self, now: Timestamp) -> Option<String> {
        let left = self.deleted_at?.as_second() - now.as_second();
        let left = Duration::from_secs(u64::try_from(left).unwrap_or_default());
        Some(if left.is_zero() { "goes now".into() } else { format!("goes in {}", human_duration(left)) })
    }

    /// How it is used, and when it goes and why: a line each, for people.
    pub fn fate(&self, now: Timestamp) -> [String; 2] {
        let used = self.used(now);
        let when = match self.deleted_at {
            Some(at) if at <= now => ", which is now".to_owned(),
            Some(at) => {
                let left = u64::try_from(at.as_second() - now.as_second()).unwrap_or_default();
                format!(", which is in {}", human_duration(Duration::from_secs(left)))
            }
            None => String::new(),
        };
        [format!("{}, {used}", self.lifetime), format!("deleted {}{when}", self.rule)]
    }
}

/// What a workspace belongs to. What is not in a folder of envctl's is the
/// developer's, whatever its pin says.
pub(crate) fn lifetime(app: &App, pin: &Pin) -> Lifetime {
    if app.pins().is_managed(pin) { pin.lifetime } else { Lifetime::PerDeveloper }
}

/// The branch whose tasks share a workspace.
pub(crate) fn branch(identity: Option<&Identity>) -> Option<&str> {
    identity?.repo.branch.as_deref()
}

/// When a workspace was used last: entered, or changed by git on the host. Costs
/// a few looks at files.
fn last_seen(app: &App, pin: &Pin) -> Option<Timestamp> {
    let now = app.clock.now();
    let git = ["index", "HEAD", "logs/HEAD"].map(|name| pin.workspace.join(".git").join(name));
    // Times of files inside can be anything; those to come say nothing.
    let times = git.iter().filter_map(|file| written_at(file)).filter(|at| *at <= now);
    // That of an enter is envctl's own: then the clock has been set back since.
    times.chain(app.pins().touched(pin).map(|at| at.min(now))).max()
}

/// When a workspace was used last. An editor at work counts as well, which is
/// looked for only where it makes a difference: in one that would be due.
pub(crate) fn last_used(app: &App, pin: &Pin, spared: Duration) -> Option<Timestamp> {
    let (seen, now) = (last_seen(app, pin)?, app.clock.now());
    if after(seen, spared).is_none_or(|due| due > now) {
        return Some(seen);
    }
    let edited = |at: Timestamp| at <= now && after(at, spared).is_some_and(|due| due > now);
    Some(written_below(&pin.workspace, &edited).map_or(seen, |at| at.max(seen)))
}

/// The time of the first file below a folder, as far as one finds them, for which
/// this holds. Goes through no link.
fn written_below(folder: &Path, wanted: &dyn Fn(Timestamp) -> bool) -> Option<Timestamp> {
    let mut pending = vec![folder.to_owned()];
    while let Some(folder) = pending.pop() {
        // What cannot be read is no work of anybody's who stands here.
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let Ok(kind) = entry.file_type() else { continue };
            // What envctl does itself, such as a look by git, is no use.
            if kind.is_dir() && entry.file_name() != ".git" {
                pending.push(entry.path());
            } else if kind.is_file()
                && let Some(at) = written_at(&entry.path()).filter(|at| wanted(*at))
            {
                return Some(at);
            }
        }
    }
    None
}

/// Why a workspace of a task is due by time alone; `None` when it is not.
pub(crate) fn unused(app: &App, pin: &Pin, identity: Option<&Identity>) -> Option<String> {
    let (spared, whose) = ttl(app, identity);
    let used = last_used(app, pin, spared)?;
    let now = app.clock.now();
    (after(used, spared)? <= now)
        .then(|| format!("it was used {}, longer ago than {} ({whose})", age(used, now), human_duration(spared)))
}

fn after(then: Timestamp, span: Duration) -> Option<Timestamp> {
    Timestamp::from_second(then.as_second().checked_add(i64::try_from(span.as_secs()).ok()?)?).ok()
}
