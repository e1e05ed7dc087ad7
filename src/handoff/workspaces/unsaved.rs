//! Whether a workspace holds anything that is nowhere else: whether its state
//! is one that a store has, and what git keeps beside it. What cannot be
//! answered counts as unsaved. Ignored files count where the project lists
//! them; everything else about them can be made again.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use crate::disk::canonical;
use crate::git::Git;
use crate::handoff::app::App;
use crate::handoff::task::{Pin, State};
use crate::snapshot;
use crate::workspace;

/// What is unsaved in a workspace, in words; nothing when a store has it all.
/// `root` is where it lies now. Runs git, and writes nothing into it.
pub(crate) fn unsaved(app: &App, pin: Option<&Pin>, root: &Path) -> Vec<String> {
    let known = pin.map(saved).unwrap_or_default();
    let now = state(app, root);
    let is_known = now.as_ref().is_ok_and(|now| known.contains(now));
    let commits: Vec<String> = known.iter().flat_map(State::commits).collect();
    // What is in progress is part of the state.
    let mut found = match workspace::loose_ends(root, &commits, !is_known) {
        Ok(found) => found,
        Err(error) => return vec![format!("what nobody could look at: {error:#}")],
    };
    match now {
        Ok(_) if is_known => {}
        Ok(now) if known.iter().any(|known| known.tree == now.tree && known.commit == now.commit) => {
            found.push("staged changes".into());
        }
        Ok(_) => found.push("changes".into()),
        // A cause that is told already says enough.
        Err(_) if !found.is_empty() => found.push("changes".into()),
        Err(error) => found.push(format!("what no snapshot carries: {error}")),
    }
    found
}

/// The states of this workspace that a store was seen to have.
fn saved(pin: &Pin) -> Vec<State> {
    let published = pin.published.iter().filter_map(|published| published.state.clone());
    pin.state.iter().cloned().chain(published).collect()
}

/// The state that a publish from here would have. Files that it would leave
/// out are unsaved.
fn state(app: &App, root: &Path) -> Result<State> {
    let git = Git::find(&app.env)?;
    let repo = snapshot::open(root)?;
    let found = repo.workdir().context("it has no working files")?;
    ensure!(canonical(found) == canonical(root), "it is no checkout of its own");
    let project = app.project(root)?.snapshot;
    let max_lfs = project.max_lfs()?;
    let options = snapshot::Options { include: project.include, exclude: Vec::new(), max_lfs };
    let draft = snapshot::draft(&git, &repo, &options)?;
    let packed = draft.pack(&git)?;
    Ok(State::of(&draft.seal(packed)?.document))
}
