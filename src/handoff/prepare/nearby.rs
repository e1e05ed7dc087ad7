//! Clones of the developer's from which objects come before the remote is asked.

use std::path::PathBuf;

use anyhow::Result;

use crate::git::Git;
use crate::handoff::app::App;
use crate::handoff::task::{Door, Resolved};
use crate::identity::Commit;
use crate::ui::human_bytes;
use crate::workspace::{Mirror, Nearby};

/// Copies what the first clone of the task's repository has of a commit's history.
/// One that cannot be used is passed over: the remote has everything.
///
/// # Errors
/// When it cannot be told which clones there are.
pub(super) fn copy(app: &App, resolved: &Resolved, mirror: &Mirror, git: &Git, base: &Commit) -> Result<()> {
    if mirror.has(base) {
        return Ok(());
    }
    let door = Door::of(app, resolved)?;
    let urls = [&resolved.identity.repo.url, door.url()];
    for folder in folders(app)? {
        let shown = folder.display();
        let nearby = match Nearby::look(&folder, &urls) {
            Ok(nearby) => nearby,
            Err(why) => {
                app.ui.detail(&format!("no objects come from {shown}: {why}"));
                continue;
            }
        };
        app.ui.status("Copying", &format!("history from {shown}"));
        let copied = app.ui.progress().during("history", &|| None, || mirror.copy_from(git, &nearby, base));
        match copied {
            Ok(Some(copied)) => {
                app.ui.status("Copied", &format!("{} from {shown}", human_bytes(copied.bytes)));
                return Ok(());
            }
            Ok(None) => return Ok(()),
            Err(error) => app.ui.detail(&format!("no objects come from {shown}: {error:#}")),
        }
    }
    Ok(())
}

/// The checkout in which the command runs, and those that the developer names. A
/// workspace is a task's: what is in it, others wrote.
fn folders(app: &App) -> Result<Vec<PathBuf>> {
    let home = app.env.home.clone().unwrap_or_default();
    let named = app.user.repos.reference.iter().map(|path| match path.strip_prefix("~/") {
        Some(below) => home.join(below),
        None => home.join(path),
    });
    let mut folders = Vec::new();
    for folder in app.checkout().into_iter().chain(named) {
        if !folders.contains(&folder) && app.pins().of_workspace(&folder)?.is_none() {
            folders.push(folder);
        }
    }
    Ok(folders)
}
