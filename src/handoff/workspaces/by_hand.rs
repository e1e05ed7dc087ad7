//! One workspace of this machine, by the name of its task: where it is, and
//! taking it away by hand.

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::Serialize;

use super::elsewhere::Inquiry;
use super::location::{Locks, vacate};
use super::unsaved::unsaved_now;
use super::{retention, salvage};
use crate::error::{failure, not_found, usage};
use crate::handoff::app::{App, StorePlace as _};
use crate::handoff::task::Pin;
use crate::identity::{Lifetime, StoreRef, TaskRef};
use crate::runtime;

/// The workspace of a task, which must be there.
fn find(app: &App, task: &TaskRef) -> Result<Pin> {
    let missing = || {
        let aside = salvage::salvages(app).unwrap_or_default();
        let names = |row: &salvage::SalvageRow| {
            row.task.as_ref().and_then(|of| of.parse::<TaskRef>().ok()).is_some_and(|of| of.target == task.target)
        };
        let fault = not_found(format!("{task} has no workspace here"));
        match aside.into_iter().find(names) {
            Some(row) => fault.hint(format!("one was {}; a fresh one: envctl enter {task}", row.offer(app))),
            None => fault.hint(format!("envctl enter {task}")),
        }
    };
    let pins = app.pins();
    let named = task.store.clone().or_else(|| app.options.store.clone()).map(|store| store.placed(&app.cwd));
    let slug = task.target.slug();
    let ours = |pin: &Pin| pin.slug == slug && named.as_ref().is_none_or(|store| pin.store == store.to_string());
    let mut found: Vec<Pin> = pins.all()?.into_iter().filter(|pin| ours(pin) && pin.workspace.is_dir()).collect();
    // A task may have others in folders that the developer named.
    let managed = found.iter().filter(|pin| pins.is_managed(pin)).count();
    if managed > 0 {
        found.retain(|pin| pins.is_managed(pin));
    }
    // And those of runs that failed: the last one is meant, where there is no other.
    if found.iter().any(|pin| !pins.is_of_run(pin)) {
        found.retain(|pin| !pins.is_of_run(pin));
    } else if let Some(last) = found.iter().max_by_key(|pin| pin.pinned_at).cloned() {
        found = vec![last];
    }
    match (found.len(), found.pop()) {
        (1, Some(pin)) => Ok(pin),
        (_, None) => Err(missing().into()),
        (_, Some(pin)) => Err(usage(format!("{task} has several workspaces here"))
            .hint(format!("name the store, such as {}; envctl workspace ls lists them", pin.quoted()))
            .into()),
    }
}

/// The task of the workspace in which the developer is.
///
/// # Errors
/// [`crate::error::Kind::Usage`] when it is none.
pub fn task_here(app: &App) -> Result<TaskRef> {
    let pin = app.pins().of_workspace(&app.cwd)?;
    let none =
        || usage("no task is named, and this folder is in no workspace").hint("name one; envctl tasks lists them");
    Ok(pin.ok_or_else(none)?.reference().parse()?)
}

/// Where the workspace of a task is.
///
/// # Errors
/// [`crate::error::Kind::NotFound`] when there is none.
pub fn workspace_path(app: &App, task: &TaskRef) -> Result<PathBuf> {
    find(app, task).map(|pin| pin.workspace)
}

/// Keeps a workspace whatever its rule says, or no more.
///
/// # Errors
/// [`crate::error::Kind::NotFound`] when there is none.
pub fn keep_workspace(app: &App, task: &TaskRef, kept: bool) -> Result<PathBuf> {
    let pin = find(app, task)?;
    let _locks = Locks::wait(app, &pin.store.parse()?, &pin.slug, &pin.workspace)?;
    let pin = app
        .pins()
        .again(&pin)?
        .ok_or_else(|| failure("another envctl has just changed it").hint("look again with: envctl workspace ls"))?;
    let used = app.pins().touched(&pin);
    let pin = Pin { kept, ..pin };
    app.pins().put(&pin)?;
    // That it is kept is no use of it.
    used.iter().for_each(|used| app.pins().set_used(&pin, *used));
    Ok(pin.workspace)
}

/// A workspace that is to be taken away.
#[derive(Debug)]
pub struct Leaving {
    pin: Pin,
    /// What is unsaved in it.
    pub unsaved: Vec<String>,
}

impl Leaving {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.pin.workspace
    }
}

/// A workspace that was taken away.
#[derive(Clone, Debug, Serialize)]
pub struct Gone {
    /// Its task, as it can be named from anywhere.
    pub task: String,
    /// Where it was.
    pub path: PathBuf,
    /// The salvage that keeps what was unsaved; `null` when nothing was.
    pub salvage: Option<salvage::SalvageRow>,
}

/// Looks at a workspace that is to be taken away.
///
/// # Errors
/// [`crate::error::Kind::NotFound`] when there is none; when a runtime is live
/// in it; when it is in a folder that the developer named, and so theirs.
pub fn leaving(app: &App, task: &TaskRef) -> Result<Leaving> {
    let pin = find(app, task)?;
    if retention::lifetime(app, &pin) == Lifetime::PerDeveloper {
        return Err(usage(format!("{} is in a folder that you named, and yours to remove", pin.workspace.display()))
            .hint("rm -r removes it, whatever is in it")
            .into());
    }
    vacate(app, &pin.workspace)?;
    let elsewhere = Inquiry::new(app).ask(&pin, &pin.workspace);
    let unsaved = unsaved_now(app, &pin, &elsewhere, &pin.workspace);
    Ok(Leaving { pin, unsaved })
}

/// Takes it away; what is unsaved in it is salvaged. The rest is removed in the
/// background.
///
/// # Errors
/// When somebody has entered it meanwhile, or it cannot be moved.
pub fn take_away(app: &App, leaving: Leaving) -> Result<Gone> {
    let store: StoreRef = leaving.pin.store.parse()?;
    let locks = Locks::wait(app, &store, &leaving.pin.slug, &leaving.pin.workspace)?;
    let pin = app
        .pins()
        .again(&leaving.pin)?
        .ok_or_else(|| failure("another envctl has just changed it").hint("look again with: envctl workspace ls"))?;
    let salvage = salvage::retire(app, &pin, "it was removed by hand", &locks, &mut Inquiry::new(app))?;
    drop(locks);
    runtime::in_background(|| salvage::reap(app));
    Ok(Gone { task: pin.reference(), path: pin.workspace, salvage })
}
