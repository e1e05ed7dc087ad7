//! Making room: what becomes of a workspace that is in the way of a new one.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::hydrate::Workspace;
use crate::handoff::app::App;
use crate::handoff::task::{Pin, Resolved};
use crate::handoff::workspaces;
use crate::handoff::workspaces::{Inquiry, Locks, Place, Salvage, vacate};

/// The place of a workspace that is about to be made.
pub(crate) struct Room {
    /// Where what is there goes.
    old: Option<Salvage>,
    /// Another task's pin, which named this place.
    other: Option<Pin>,
    why: String,
    /// Nobody gets in meanwhile.
    vacant: Option<File>,
}

impl Room {
    /// Prepares for what was found at a place. Nothing moves yet.
    ///
    /// # Errors
    /// When somebody is in it.
    pub(crate) fn at(app: &App, found: &Workspace, resolved: &Resolved, place: &Path) -> Result<Self> {
        let (slug, why, owner, other) = match found {
            Workspace::Ready(_) | Workspace::Missing => {
                return Ok(Room { old: None, other: None, why: String::new(), vacant: None });
            }
            Workspace::Stale(why) => (resolved.task.slug(), (*why).to_owned(), resolved.pin.as_ref(), None),
            Workspace::Taken(other) => {
                let why = format!("{} takes its place", resolved.task.target);
                (other.slug.clone(), why, Some(&**other), Some((**other).clone()))
            }
        };
        let vacant = Some(vacate(app, place)?);
        let old = Some(workspaces::begin_salvage(app, owner, &slug, place, &why)?);
        if let Some(other) = &other {
            // Before it could name what is not its own.
            app.pins().forget(other)?;
        }
        Ok(Room { old, other, why, vacant })
    }

    /// Where what is there goes.
    pub(crate) fn path(&self) -> Option<&Path> {
        self.old.as_ref().map(|salvage| salvage.path.as_path())
    }

    /// The new one was not made, and the old one never left.
    pub(crate) fn give_back(self, app: &App, error: anyhow::Error) -> anyhow::Error {
        if let Some(salvage) = &self.old {
            salvage.abort(app);
        }
        match self.other.map(|other| app.pins().put(&other)) {
            Some(Err(second)) => error.context(format!("{second:#}")),
            _ => error,
        }
    }

    /// The new one is in place. What is saved elsewhere need not be kept, where
    /// it was another task's; says where it is otherwise.
    ///
    /// # Errors
    /// When it can be neither kept nor thrown away.
    pub(crate) fn settle(&mut self, app: &App) -> Result<Option<PathBuf>> {
        self.vacant = None;
        let Some(old) = self.old.take() else { return Ok(None) };
        let whose = self.other.as_ref().map_or("the old workspace".into(), |other| format!("that of {}", other.slug));
        let kept = match &self.other {
            None => Some(old),
            Some(_) => old.settle(app, &mut Inquiry::new(app))?,
        };
        match &kept {
            Some(salvage) => {
                let (id, at) = (&salvage.id, salvage.path.display());
                let back = format!("envctl workspace recover {id} brings it back");
                app.ui.status("Set aside", &format!("{whose}, because {}: {at}; {back}", self.why));
            }
            None => app.ui.status("Removed", &format!("{whose}, because {}; nothing in it was unsaved", self.why)),
        }
        Ok(kept.map(|salvage| salvage.path))
    }
}

/// A task that has moved to another place leaves its old one. A failure is
/// told, and leaves it there.
pub(crate) fn leave_old_place(app: &App, before: Option<&Pin>, place: &Place, locks: &Locks) {
    let old = before.filter(|pin| pin.workspace != place.path && app.pins().is_managed(pin) && pin.workspace.exists());
    let Some(old) = old else { return };
    match workspaces::retire(app, old, "its task has moved to another place", locks, &mut Inquiry::new(app)) {
        Ok(Some(salvage)) => app.ui.status("Set aside", &format!("its old workspace: {}", salvage.path.display())),
        Ok(None) => {}
        Err(error) => app.ui.warn(&format!("{} stays: {error:#}", old.workspace.display())),
    }
}
