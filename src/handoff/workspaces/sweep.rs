//! Deleting workspaces by their rules, as `gc` does: a task's when the task is
//! closed or it is unused, a branch's when that is merged or deleted on the
//! remote. What a store or remote does not answer deletes nothing. Each is
//! asked once, and only here.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::elsewhere::Inquiry;
use super::folders::{DAY, children, is_older};
use super::location::{Locks, tenant};
use super::retention::{lifetime, unused};
use super::salvage;
use super::unsaved::{unsaved, unsaved_now};
use crate::error::{Kind, failure, kind_of};
use crate::handoff::app::App;
use crate::handoff::task::{Located, Pin, from_store};
use crate::identity::{Lifetime, Status, StoreRef, Target};
use crate::paths::Paths;
use crate::workspace::is_workspace;

/// A workspace that stays, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeptWorkspace {
    /// Its task, as it can be named from anywhere.
    pub task: String,
    /// Where it is.
    pub path: PathBuf,
    /// Why.
    pub why: String,
}

impl KeptWorkspace {
    pub(crate) fn new(pin: &Pin, why: &anyhow::Error) -> Self {
        KeptWorkspace { task: pin.reference(), path: pin.workspace.clone(), why: format!("{why:#}") }
    }
}

/// One thing that was removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Removed {
    /// `lease`, `draft`, `trash`, `receipt`, `log`, `artifact`, `cache`, `layer`,
    /// `blob`, `note`, `mirror`, `identity`, `pin`, `workspace` or `salvage`.
    pub kind: &'static str,
    /// Which one.
    pub path: PathBuf,
    /// Whose workspace it was, as the task can be named from anywhere.
    pub task: Option<String>,
    /// Why.
    pub why: String,
    /// What was unsaved in it.
    pub unsaved: Vec<String>,
    /// The salvage that keeps that.
    pub salvage: Option<String>,
}

impl Removed {
    pub(crate) fn new(kind: &'static str, path: PathBuf, why: &str) -> Self {
        Removed { kind, path, task: None, why: why.to_owned(), unsaved: Vec::new(), salvage: None }
    }
}

/// A workspace that is to go.
struct Due {
    pin: Pin,
    why: String,
    /// Because of its age, which one use changes.
    by_time: bool,
}

/// Deletes the workspaces whose time has come; says which, and which are kept
/// against their rule or for want of an answer. With `dry` nothing happens;
/// without `steady` nobody knows how long ago anything was.
///
/// # Errors
/// When what is here cannot be read.
pub(crate) fn workspaces(app: &App, dry: bool, steady: bool) -> Result<(Vec<Removed>, Vec<KeptWorkspace>)> {
    let mut removed = Vec::new();
    for pin in app.pins().all()?.into_iter().filter(|pin| app.pins().is_managed(pin) && !pin.workspace.exists()) {
        // A person removed the folder: what it needed is free.
        removed.push(Removed { task: Some(pin.reference()), ..Removed::new("pin", pin.workspace.clone(), REMOVED) });
        if !dry && let Some(_locks) = Locks::attempt(app, &pin)? {
            // It may be there again.
            match app.pins().again(&pin)? {
                Some(pin) if !pin.workspace.exists() => app.pins().forget(&pin)?,
                _ => {
                    removed.pop();
                }
            }
        }
    }
    let mut judge = DueJudge { app, steady, inquiry: Inquiry::new(app) };
    let (mut due, mut kept) = (Vec::new(), Vec::new());
    for pin in app.pins().all()?.into_iter().filter(|pin| pin.workspace.exists()) {
        match judge.verdict(&pin) {
            Ok(None) => {}
            Ok(Some((why, by_time))) => due.push(Due { pin, why, by_time }),
            Err(error) => kept.push(KeptWorkspace::new(&pin, &error)),
        }
    }
    if !dry {
        judge.inquiry.remotes.remember()?;
    }
    let orphans = if steady { orphans(app)? } else { Vec::new() };
    // All of it is told before any of it is done.
    for Due { pin, why, .. } in due.iter().filter(|_| !dry) {
        app.ui
            .status("Deleting", &format!("the workspace of {}, because {why}: {}", pin.slug, pin.workspace.display()));
    }
    for place in orphans {
        match forget_orphan(app, &place, dry) {
            Ok(None) => {}
            Ok(Some((unsaved, salvage))) => {
                removed.push(Removed { unsaved, salvage, ..Removed::new("workspace", place, ORPHANED) });
            }
            Err(error) => app.ui.detail(&format!("{} stays: {error:#}", place.display())),
        }
    }
    for due in due {
        match due.delete(app, dry, &mut judge.inquiry) {
            Ok((unsaved, salvage)) => {
                let task = Some(due.pin.reference());
                let gone = Removed::new("workspace", due.pin.workspace, &due.why);
                removed.push(Removed { task, unsaved, salvage, ..gone });
            }
            Err(error) => kept.push(KeptWorkspace::new(&due.pin, &error)),
        }
    }
    Ok((removed, kept))
}

const REMOVED: &str = "its folder was removed";

const ORPHANED: &str = "no task knows it: a command was killed while it was made";

/// Workspaces that no pin names, for a day or longer.
fn orphans(app: &App) -> Result<Vec<PathBuf>> {
    // Of thousands, each is looked for.
    let known: HashSet<PathBuf> = app.pins().all()?.into_iter().map(|pin| pin.workspace).collect();
    let mut places = Vec::new();
    for repository in children(&app.paths.workspaces()) {
        places.extend(Paths::workspace_folders(&repository).iter().flat_map(|folder| children(folder)));
        places.push(repository.join("project"));
    }
    // Drafts are cleared elsewhere, and lock themselves.
    places.retain(|place| is_workspace(place) && !known.contains(place) && is_older(app, place, DAY));
    places.retain(|place| !place.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".envctl-")));
    Ok(places)
}

/// Takes one away, unless a pin names it by now.
fn forget_orphan(app: &App, place: &Path, dry: bool) -> Result<Option<(Vec<String>, Option<String>)>> {
    let Some(locks) = Locks::of_orphan(app, place)? else { return Ok(None) };
    if app.pins().all()?.iter().any(|pin| pin.workspace == place) {
        return Ok(None);
    }
    if dry {
        return Ok(Some((unsaved(app, None, place), None)));
    }
    let salvage = salvage::retire_orphan(app, place, ORPHANED, &locks)?;
    Ok(Some(salvage.map(|salvage| (salvage.unsaved, Some(salvage.id))).unwrap_or_default()))
}

impl Due {
    /// Deletes it; what was unsaved in it, and the salvage that keeps that.
    fn delete(&self, app: &App, dry: bool, inquiry: &mut Inquiry<'_>) -> Result<(Vec<String>, Option<String>)> {
        let place = &self.pin.workspace;
        if tenant(app, place)?.is_some() {
            return Err(failure("a runtime is live in it").into());
        }
        // Nobody sits in front of a collection: it waits for an answer.
        let elsewhere = inquiry.ask(&self.pin, place);
        if let Some(silent) = elsewhere.silent.first() {
            return Err(failure(silent.clone())
                .hint(format!("envctl workspace rm {} salvages and removes it", self.pin.quoted()))
                .into());
        }
        if dry {
            return Ok((unsaved_now(app, &self.pin, &elsewhere, place), None));
        }
        let locks = Locks::attempt(app, &self.pin)?.ok_or_else(|| failure("another envctl is busy with it"))?;
        // It may have been made anew, or used, since it was judged.
        let pin = app.pins().again(&self.pin)?.ok_or_else(|| failure("another envctl has just changed it"))?;
        let identity = app.pins().identity(&pin.identity).ok().flatten();
        if self.by_time && unused(app, &pin, identity.as_ref()).is_none() {
            return Err(failure("it has just been used").into());
        }
        let retired = salvage::retire(app, &pin, &self.why, &locks, inquiry)?;
        Ok(retired.map(|salvage| (salvage.unsaved, Some(salvage.id))).unwrap_or_default())
    }
}

struct DueJudge<'a> {
    app: &'a App,
    steady: bool,
    inquiry: Inquiry<'a>,
}

impl DueJudge<'_> {
    /// Why a workspace is due, and whether by time; `None` when it is not.
    fn verdict(&mut self, pin: &Pin) -> Result<Option<(String, bool)>> {
        if pin.kept {
            return Ok(None);
        }
        let identity = self.app.pins().identity(&pin.identity)?;
        match lifetime(self.app, pin) {
            Lifetime::PerTask => {
                if let Some(why) = unused(self.app, pin, identity.as_ref()).filter(|_| self.steady) {
                    return Ok(Some((why, true)));
                }
                let closed = self.is_closed(pin).context("its store does not say whether the task is closed")?;
                Ok(closed.then(|| ("its task is closed".to_owned(), false)))
            }
            Lifetime::PerBranch => {
                let identity = identity.context("its identity is not on this machine")?;
                let fate = self
                    .inquiry
                    .remotes
                    .fate(pin, &identity)
                    .context("its remote does not say what became of the branch")?;
                Ok(fate.map(|why| (why, false)))
            }
            Lifetime::PerProject | Lifetime::PerDeveloper => Ok(None),
        }
    }

    /// Whether a task is closed, by its store. One that was removed there is
    /// not.
    fn is_closed(&mut self, pin: &Pin) -> Result<bool> {
        let Ok(task) = pin.slug.parse() else { return Ok(false) };
        let task = Located { store: pin.store.parse::<StoreRef>()?, target: Target::Task(task) };
        match from_store(self.inquiry.store(pin)?, &task) {
            Ok((_, _, identity)) => Ok(identity.handoff.status == Status::Closed),
            Err(error) if kind_of(&error) == Kind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}
