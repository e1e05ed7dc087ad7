//! Whether a workspace holds anything that is nowhere else: whether its state
//! is one that a store has, and what git keeps beside it. What cannot be
//! answered counts as unsaved. Ignored files count where the project lists
//! them; everything else about them can be made again.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use super::elsewhere::Elsewhere;
use crate::disk::canonical;
use crate::git::Git;
use crate::handoff::app::App;
use crate::handoff::task::{Pin, State};
use crate::snapshot::{self, Captured};
use crate::workspace::{self, KnownCommits};

/// What is unsaved in a workspace, in words, by what is remembered of its store
/// and its remote; nothing when they had it all. Runs git, and writes nothing into
/// it. `root` is where it lies now.
pub(crate) fn unsaved(app: &App, pin: Option<&Pin>, root: &Path) -> Vec<String> {
    look(app, &pin.map(saved).unwrap_or_default(), KnownCommits::default(), root)
}

/// The same, as far as somebody who goes on wants to know.
pub(crate) fn changed(app: &App, pin: Option<&Pin>, root: &Path) -> Vec<String> {
    look(app, &pin.map(saved).unwrap_or_default(), KnownCommits { rewritten: true, ..KnownCommits::default() }, root)
}

/// The same by what store and remote said just now, before the last copy goes. Who
/// did not answer is named, where that leaves a doubt.
pub(crate) fn unsaved_now(app: &App, pin: &Pin, elsewhere: &Elsewhere, root: &Path) -> Vec<String> {
    let known = KnownCommits { remote: elsewhere.commits.as_deref(), ..KnownCommits::default() };
    let mut found = look(app, &elsewhere.states, known, root);
    if let Some(at) = found.iter().position(|what| what == CHANGES)
        && state(app, root).is_ok_and(|now| saved(pin).contains(&now) && !elsewhere.states.contains(&now))
    {
        // Nobody has changed anything here; somebody has there.
        found.remove(at);
        if !workspace::is_clean(root).unwrap_or(false) {
            found.push("what its store may no longer have".into());
        }
    }
    if !found.is_empty() || elsewhere.commits.is_none() {
        found.extend(elsewhere.silent.iter().cloned());
    }
    found
}

const CHANGES: &str = "changes";

fn look(app: &App, known: &[State], beside: KnownCommits<'_>, root: &Path) -> Vec<String> {
    let now = state(app, root);
    let is_known = now.as_ref().is_ok_and(|now| known.contains(now));
    let saved: Vec<String> = known.iter().flat_map(State::commits).collect();
    // What is in progress is part of the state.
    let mut found = match workspace::loose_ends(root, KnownCommits { saved: &saved, operations: is_known, ..beside }) {
        Ok(found) => found,
        Err(error) => return vec![format!("what could not be looked at: {error:#}")],
    };
    match now {
        Ok(_) if is_known => {}
        Ok(now) if known.iter().any(|known| known.tree == now.tree && known.commit == now.commit) => {
            found.push("staged changes".into());
        }
        Ok(_) => found.push(CHANGES.into()),
        // A cause that is told already says enough.
        Err(_) if !found.is_empty() => found.push(CHANGES.into()),
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
    Ok(State::of(&capture(app, root)?.document))
}

/// What a workspace holds now, as a snapshot of it would. Nothing is written into it.
///
/// # Errors
/// When it is no checkout of its own, or holds what no snapshot carries.
pub(crate) fn capture(app: &App, root: &Path) -> Result<Captured> {
    let git = Git::find(&app.env)?;
    let repo = snapshot::open(root)?;
    let found = repo.workdir().context("it has no working files")?;
    ensure!(canonical(found) == canonical(root), "it is no checkout of its own");
    let project = app.project(root)?.snapshot;
    let max_lfs = project.max_lfs()?;
    let options = snapshot::CaptureOptions { include: project.include, exclude: Vec::new(), max_lfs, stays: true };
    let draft = snapshot::capture(&git, &repo, &options)?;
    let packed = draft.pack(&git)?;
    draft.seal(packed)
}
