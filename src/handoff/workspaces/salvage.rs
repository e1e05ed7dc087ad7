//! Workspaces that had to make room, whole: with index, stashes, operations in
//! progress, ignored files, everything.
//!
//! Invariants: a workspace leaves its place by one rename, and the record of
//! where it goes is written before that, so a crash leaves it in one of two
//! places that are both looked at. Whether it holds anything unsaved is asked
//! after it has left: what was written until then is seen. Only what is
//! nowhere else is kept, for as long as `workspace.keep` says.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::elsewhere::Inquiry;
use super::folders::{children, remove_anyhow};
use super::location::{Locks, vacate};
use super::unsaved::{unsaved, unsaved_now};
use crate::clock::age;
use crate::crash;
use crate::disk::{self, Durability};
use crate::error::{not_found, usage};
use crate::handoff::app::App;
use crate::handoff::task::Pin;
use crate::identity::{Lifetime, StoreRef};
use crate::workspace;

const SCHEMA: u32 = 1;

/// A record whose workspace never came is nobody's after this time.
const DAY: Duration = Duration::from_secs(86_400);

/// A workspace that was set aside.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Salvage {
    schema: u32,
    pub(crate) id: String,
    /// Where it lies.
    pub(crate) path: PathBuf,
    /// Where it was.
    workspace: PathBuf,
    /// The task, where it is known.
    task: Option<String>,
    salvaged_at: Timestamp,
    why: String,
    /// What was unsaved in it, where that was looked at.
    unsaved: Vec<String>,
    pin: Option<Pin>,
}

/// A salvage, for those who look.
#[derive(Clone, Debug, Serialize)]
pub struct SalvageRow {
    /// Its name.
    pub id: String,
    /// Where it lies.
    pub path: PathBuf,
    /// The task, as it can be named from anywhere.
    pub task: Option<String>,
    /// Where it was.
    pub workspace: Option<PathBuf>,
    /// When it was set aside; `null` for what an older envctl left.
    pub salvaged_at: Option<Timestamp>,
    /// Why.
    pub why: Option<String>,
    /// What is unsaved in it, where that was looked at.
    pub unsaved: Vec<String>,
    /// When `gc` may remove it; `null` when it never does.
    pub kept_until: Option<Timestamp>,
}

/// Names a place for the workspace at `place`, which is about to be moved
/// there, and writes that down.
///
/// # Errors
/// When there is no such place.
pub(crate) fn begin(app: &App, pin: Option<&Pin>, slug: &str, place: &Path, why: &str) -> Result<Salvage> {
    let now = app.clock.now();
    let parent = if place.starts_with(app.paths.data()) {
        app.paths.recovery()
    } else {
        // A rename works within one file system only.
        place.parent().context("the workspace has no folder above it")?.to_owned()
    };
    disk::create_private_dir(&parent)?;
    let name = format!("{slug}-{}", now.strftime("%Y%m%dT%H%M%SZ"));
    let id = (0..1000)
        .map(|n| if n == 0 { name.clone() } else { format!("{name}-{n}") })
        .find(|id| !parent.join(id).exists() && !app.paths.salvage(id).exists())
        .context("there is no free name for the old workspace")?;
    let salvage = Salvage {
        schema: SCHEMA,
        path: parent.join(&id),
        id,
        workspace: place.to_owned(),
        task: pin.map(Pin::reference),
        salvaged_at: now,
        why: why.to_owned(),
        unsaved: Vec::new(),
        pin: pin.cloned(),
    };
    salvage.write(app)?;
    Ok(salvage)
}

impl Salvage {
    fn write(&self, app: &App) -> Result<()> {
        disk::write_json(&app.paths.salvage(&self.id), self, Durability::Flushed)
    }

    /// The workspace stayed where it was.
    pub(crate) fn abort(&self, app: &App) {
        if !self.path.exists() {
            let _ = fs::remove_file(app.paths.salvage(&self.id));
        }
    }

    /// Looks at the workspace, which has been moved. Where all of it is saved
    /// elsewhere, as store and remote say now, it goes to the trash; `None` then.
    ///
    /// # Errors
    /// When it can be neither kept nor thrown away.
    pub(crate) fn settle(self, app: &App, inquiry: &mut Inquiry<'_>) -> Result<Option<Self>> {
        let unsaved = match &self.pin {
            Some(pin) => unsaved_now(app, pin, &inquiry.ask(pin, &self.path), &self.path),
            None => unsaved(app, None, &self.path),
        };
        self.settle_with(app, unsaved)
    }

    fn settle_with(mut self, app: &App, unsaved: Vec<String>) -> Result<Option<Self>> {
        self.unsaved = unsaved;
        if self.unsaved.is_empty() && self.path.starts_with(app.paths.data()) {
            self.throw_away(app)?;
            return Ok(None);
        }
        self.write(app)?;
        Ok(Some(self))
    }

    /// Moves it to the trash, which is emptied later.
    fn throw_away(&self, app: &App) -> Result<()> {
        let trash = app.paths.data_trash();
        disk::create_private_dir(&trash)?;
        let place = tempfile::Builder::new().prefix("").tempdir_in(&trash)?.keep();
        fs::rename(&self.path, place.join("entry"))
            .with_context(|| format!("cannot move {} to the trash", self.path.display()))?;
        crash::point("retire.thrown-away");
        fs::remove_file(app.paths.salvage(&self.id)).context("cannot forget what was thrown away")
    }

    /// When `gc` may remove it; never what lies in a folder of the developer's.
    fn kept_until(&self, app: &App) -> Option<Timestamp> {
        let keep = i64::try_from(app.user.keep_salvages().as_secs()).ok()?;
        let end = Timestamp::from_second(self.salvaged_at.as_second().checked_add(keep)?).ok()?;
        self.path.starts_with(app.paths.recovery()).then_some(end)
    }

    fn row(self, app: &App) -> SalvageRow {
        SalvageRow {
            kept_until: self.kept_until(app),
            id: self.id,
            path: self.path,
            task: self.task,
            workspace: Some(self.workspace),
            salvaged_at: Some(self.salvaged_at),
            why: Some(self.why),
            unsaved: self.unsaved,
        }
    }
}

/// Takes a workspace away: salvaged where anything in it is unsaved, thrown
/// away otherwise. Nobody may be in it.
///
/// # Errors
/// When somebody is, or it cannot be moved; then it is as it was.
pub(crate) fn retire(
    app: &App,
    pin: &Pin,
    why: &str,
    _locks: &Locks,
    inquiry: &mut Inquiry<'_>,
) -> Result<Option<SalvageRow>> {
    let salvage = leave_place(app, pin, why)?;
    Ok(salvage.settle(app, inquiry)?.map(|salvage| salvage.row(app)))
}

/// The same for a workspace that was made a moment ago for one run: its store gave
/// what it was made from just now, or has just taken what was published from it,
/// and need not be asked again.
///
/// # Errors
/// As [`retire`].
pub(crate) fn retire_fresh(app: &App, pin: &Pin, why: &str, _locks: &Locks) -> Result<Option<SalvageRow>> {
    let salvage = leave_place(app, pin, why)?;
    let unsaved = unsaved(app, Some(pin), &salvage.path);
    Ok(salvage.settle_with(app, unsaved)?.map(|salvage| salvage.row(app)))
}

/// Moves a workspace away, and lets nobody look for it in its place any more.
fn leave_place(app: &App, pin: &Pin, why: &str) -> Result<Salvage> {
    let salvage = move_away(app, Some(pin), &pin.slug, &pin.workspace, why)?;
    // Unless it names another place by now.
    if app.pins().again(pin)?.is_some() {
        app.pins().forget(pin)?;
    }
    crash::point("retire.forgotten");
    Ok(salvage)
}

/// Takes a workspace away that no pin names: a command was killed on the way.
/// It is always salvaged, because nobody knows what it was made from.
///
/// # Errors
/// As [`retire`].
pub(crate) fn retire_orphan(app: &App, place: &Path, why: &str, _locks: &Locks) -> Result<Option<SalvageRow>> {
    let name = place.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let salvage = move_away(app, None, &name, place, why)?;
    Ok(salvage.settle(app, &mut Inquiry::new(app))?.map(|salvage| salvage.row(app)))
}

fn move_away(app: &App, pin: Option<&Pin>, slug: &str, place: &Path, why: &str) -> Result<Salvage> {
    let _vacant = vacate(app, place)?;
    let salvage = begin(app, pin, slug, place, why)?;
    crash::point("retire.noted");
    if let Err(error) = fs::rename(place, &salvage.path) {
        salvage.abort(app);
        return Err(error).with_context(|| format!("cannot move {} away", place.display()));
    }
    crash::point("retire.moved");
    Ok(salvage)
}

/// All salvages, newest first.
///
/// # Errors
/// Never for now; the signature is that of what reads the disk.
pub fn salvages(app: &App) -> Result<Vec<SalvageRow>> {
    let known = records(app);
    let paths: Vec<PathBuf> = known.iter().map(|salvage| salvage.path.clone()).collect();
    let mut rows: Vec<SalvageRow> =
        known.into_iter().filter(|salvage| salvage.path.exists()).map(|salvage| salvage.row(app)).collect();
    rows.sort_by(|a, b| (b.salvaged_at, &a.id).cmp(&(a.salvaged_at, &b.id)));
    let left = fs::read_dir(app.paths.recovery()).into_iter().flatten().flatten().map(|entry| entry.path());
    let left = left.filter(|path| !paths.contains(path) && workspace::is_workspace(path));
    rows.extend(left.map(|path| SalvageRow {
        id: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        path,
        task: None,
        workspace: None,
        salvaged_at: None,
        why: None,
        unsaved: Vec::new(),
        kept_until: None,
    }));
    Ok(rows)
}

fn records(app: &App) -> Vec<Salvage> {
    let files = fs::read_dir(app.paths.salvages()).into_iter().flatten().flatten().map(|entry| entry.path());
    files.filter_map(|file| disk::read_json(&file).ok().flatten()).collect()
}

/// The salvages of a task, newest first.
pub(crate) fn of_task(app: &App, task: &str) -> Vec<SalvageRow> {
    let rows = salvages(app).unwrap_or_default().into_iter();
    rows.filter(|row| row.task.as_deref() == Some(task)).collect()
}

impl SalvageRow {
    /// What it is and how it comes back, in a line.
    pub(crate) fn offer(&self, app: &App) -> String {
        let when = self.salvaged_at.map_or_else(|| "earlier".into(), |at| age(at, app.clock.now()));
        let holds = if self.unsaved.is_empty() { "not looked at".into() } else { self.unsaved.join(", ") };
        format!("set aside {when} ({holds}); envctl workspace recover {} brings it back", self.id)
    }
}

/// What was brought back.
#[derive(Clone, Debug, Serialize)]
pub struct Recovered {
    /// Which salvage it was.
    pub id: String,
    /// The task, where it is known.
    pub task: Option<String>,
    /// Where it is now.
    pub workspace: PathBuf,
}

/// Brings a salvage back as it was, to its place or to a folder that the
/// developer names.
///
/// # Errors
/// [`crate::error::Kind::NotFound`] when there is none of this name; when the
/// place is taken.
pub fn recover(app: &App, id: &str, into: Option<&Path>) -> Result<Recovered> {
    let row = salvages(app)?.into_iter().find(|row| row.id == id);
    let row = row.ok_or_else(|| {
        not_found(format!("there is no salvage {id}")).hint("envctl workspace recover lists what was set aside")
    })?;
    let record = records(app).into_iter().find(|salvage| salvage.id == row.id);
    let pin = record.and_then(|salvage| salvage.pin);
    let into = into.map(|into| app.named(into));
    let here = || format!("envctl workspace recover {id} --into DIR");
    let Some(target) = into.clone().or(row.workspace) else {
        return Err(usage(format!("it is not known where {id} was")).hint(here()).into());
    };
    app.open_roots()?;
    let pin = pin.map(|pin| Pin {
        workspace: target.clone(),
        lifetime: if into.is_some() { Lifetime::PerDeveloper } else { pin.lifetime },
        unflushed_boot: None,
        ..pin
    });
    let _locks = match &pin {
        Some(pin) => Some(Locks::wait(app, &pin.store.parse::<StoreRef>()?, &pin.slug, &target)?),
        None => None,
    };
    let pinned = pin.as_ref().filter(|_| into.is_none());
    if let Some(why) = why_not_to(app, &target, pinned) {
        return Err(usage(why).hint(here()).into());
    }
    match move_back(&row.path, &target) {
        Err(error) if error.raw_os_error() == Some(libc::EXDEV) => {
            return Err(usage(format!("{} is on another file system", target.display()))
                .hint(format!("name a folder on that of {}", row.path.display()))
                .into());
        }
        other => other.with_context(|| format!("cannot move {} to {}", row.path.display(), target.display()))?,
    }
    crash::point("recover.moved");
    if let Some(pin) = &pin {
        // Who had this place before has left it.
        for other in app.pins().all()?.iter().filter(|other| other.workspace == target) {
            app.pins().forget(other)?;
        }
        app.pins().put(pin)?;
        app.pins().touch(pin, app.clock.now());
    }
    let _ = fs::remove_file(app.paths.salvage(id));
    Ok(Recovered { id: row.id, task: row.task, workspace: target })
}

/// Moves a salvage to its place, whose folder is made. A collection may take that away
/// while it is empty.
fn move_back(from: &Path, to: &Path) -> io::Result<()> {
    let once = || {
        to.parent().map_or(Ok(()), fs::create_dir_all)?;
        fs::rename(from, to)
    };
    once().or_else(|error| if error.kind() == io::ErrorKind::NotFound { once() } else { Err(error) })
}

/// Why nothing can be brought back to a place: it is taken, or its task (`pin`) has
/// another workspace by now.
fn why_not_to(app: &App, target: &Path, pin: Option<&Pin>) -> Option<String> {
    let occupied = fs::read_dir(target).is_ok_and(|mut entries| entries.next().is_some()) || target.is_file();
    if occupied {
        return Some(format!("{} is not empty", target.display()));
    }
    let pin = pin?;
    let all = app.pins().all().unwrap_or_default();
    let other = all.into_iter().find(|other| {
        app.pins().is_managed(other)
            && !app.pins().is_of_run(other)
            && other.reference() == pin.reference()
            && other.workspace.exists()
    })?;
    Some(format!("{} has another workspace, {}", other.slug, other.workspace.display()))
}

/// Salvages that were kept long enough, and records of what was never moved.
/// With `dry` nothing is done.
///
/// # Errors
/// When one cannot be removed.
pub(crate) fn expire(app: &App, dry: bool) -> Result<Vec<PathBuf>> {
    let now = app.clock.now();
    let mut gone = Vec::new();
    for salvage in records(app) {
        if !salvage.path.exists() {
            if !dry && now.as_second() - salvage.salvaged_at.as_second() > DAY.as_secs() as i64 {
                salvage.abort(app);
            }
            continue;
        }
        if salvage.kept_until(app).is_some_and(|end| end < now) {
            if !dry {
                salvage.throw_away(app)?;
            }
            gone.push(salvage.path);
        }
    }
    Ok(gone)
}

/// Lets all salvages be kept as long from now as if they were made now.
///
/// # Errors
/// When one cannot be noted.
pub(crate) fn renew(app: &App) -> Result<()> {
    records(app).into_iter().try_for_each(|salvage| Salvage { salvaged_at: app.clock.now(), ..salvage }.write(app))
}

/// Empties the trash that workspaces go to. What cannot be removed waits for
/// the next time.
pub(crate) fn reap(app: &App) {
    for path in children(&app.paths.data_trash()) {
        if let Err(error) = remove_anyhow(app, &path) {
            app.ui.detail(&format!("{error:#}"));
        }
    }
}
