//! The workspace of one run of a task: as the task is published, and gone afterwards.
//!
//! Invariants: it has a place and a pin of its own, so neither the task's workspace
//! nor another run ever meets it. It goes when the run was a success; what nobody
//! else has of it is salvaged then. After a failure it stays in its place, the last
//! one of each task, until the task is closed or it is unused for as long as any
//! workspace of a task.

use anyhow::Result;

use crate::digest::random_hex;
use crate::handoff::app::App;
use crate::handoff::task::{Pin, Resolved};
use crate::handoff::words::quote;
use crate::handoff::workspaces;
use crate::handoff::workspaces::{Inquiry, Locks, Place, empty_trash, retire, retire_fresh};
use crate::runtime;

/// Settles where it will be.
///
/// # Errors
/// When the kernel gives no random bytes.
pub(crate) fn place(app: &App, resolved: &Resolved) -> Result<Place> {
    Ok(Place::of_run(app, resolved, &random_hex::<8>()?))
}

/// Takes it away after a run, or leaves it where the run `failed`, and says so;
/// whether it is still there. What cannot be done is told.
pub(crate) fn leave(app: &App, resolved: &Resolved, place: &Place, failed: bool) -> bool {
    let left = if failed { keep(app, resolved, place) } else { discard(app, resolved, place) };
    left.unwrap_or_else(|error| {
        app.ui.warn(&format!("the run's workspace {} stays: {error:#}", place.path.display()));
        true
    })
}

fn discard(app: &App, resolved: &Resolved, place: &Place) -> Result<bool> {
    let locks = workspaces::lock(app, resolved, &place.path)?;
    let Some(pin) = app.pins().read(&resolved.task, place.into())? else { return Ok(false) };
    if let Some(row) = retire_fresh(app, &pin, "its run is over", &locks)? {
        let (what, at, id) = (row.unsaved.join(", "), row.path.display(), &row.id);
        let back = format!("envctl workspace recover {id} --into DIR brings it back");
        app.ui.status("Set aside", &format!("what the run made and did not publish ({what}): {at}; {back}"));
    }
    drop(locks);
    runtime::in_background(|| empty_trash(app));
    Ok(false)
}

fn keep(app: &App, resolved: &Resolved, place: &Place) -> Result<bool> {
    let Some(pin) = app.pins().read(&resolved.task, place.into())? else { return Ok(false) };
    let (task, at) = (resolved.task.quoted(), place.path.display());
    app.ui.status("Kept", &format!("the workspace of the run that failed: {at}"));
    app.ui.status("Enter it", &format!("envctl enter {task} --into {}", quote(&at.to_string())));
    let older =
        app.pins().all()?.into_iter().filter(|other| {
            app.pins().is_of_run(other) && other.is_of(&resolved.task) && other.workspace != pin.workspace
        });
    for other in older.filter(|other| !other.kept && other.workspace.exists()) {
        if let Err(error) = make_room(app, &other) {
            app.ui.detail(&format!("{} stays: {error:#}", other.workspace.display()));
        }
    }
    runtime::in_background(|| empty_trash(app));
    Ok(true)
}

/// The workspace of an earlier run that failed goes as every workspace does.
fn make_room(app: &App, pin: &Pin) -> Result<()> {
    let Some(locks) = Locks::attempt(app, pin)? else { return Ok(()) };
    if let Some(row) = retire(app, pin, "a later run of its task failed", &locks, &mut Inquiry::new(app))? {
        let (at, id) = (row.path.display(), &row.id);
        app.ui.status(
            "Set aside",
            &format!("that of an earlier run: {at}; envctl workspace recover {id} brings it back"),
        );
    }
    Ok(())
}
