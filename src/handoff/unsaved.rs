//! Whether a workspace holds anything that is nowhere else: whether its state
//! is one that a store has, and what git keeps beside it. What cannot be
//! answered counts as unsaved. Ignored files count where the project lists
//! them; everything else about them can be made again.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use super::context::Context;
use super::pin::{Pin, State};
use super::start::canonical;
use crate::git::Git;
use crate::snapshot;
use crate::workspace;

/// What is unsaved in a workspace, in words; nothing when a store has it all.
/// `root` is where it lies now. Runs git, and writes nothing into it.
pub(super) fn unsaved(ctx: &Context, pin: Option<&Pin>, root: &Path) -> Vec<String> {
    let known = pin.map(|pin| saved(ctx, pin)).unwrap_or_default();
    let commits: Vec<String> = known.iter().map(|state| state.commit.clone()).collect();
    let mut found = match workspace::loose_ends(root, &commits) {
        Ok(found) => found,
        Err(error) => return vec![format!("what nobody could look at: {error:#}")],
    };
    match state(ctx, root) {
        Ok(state) if known.contains(&state) => {}
        Ok(state) if known.iter().any(|known| known.tree == state.tree && known.commit == state.commit) => {
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
fn saved(ctx: &Context, pin: &Pin) -> Vec<State> {
    let made = || -> Option<State> {
        let identity = ctx.pins().identity(&pin.identity).ok()??;
        let parity = pin.parity.as_ref()?;
        let (commit, branch) = (identity.repo.commit.to_string(), identity.repo.branch);
        Some(State { commit, branch, tree: parity.tree.clone(), index: parity.index })
    };
    made().into_iter().chain(pin.published.iter().filter_map(|published| published.state.clone())).collect()
}

/// The state that a publish from here would have. Files that it would leave
/// out are unsaved.
fn state(ctx: &Context, root: &Path) -> Result<State> {
    let git = Git::find(&ctx.env)?;
    let repo = snapshot::open(root)?;
    let found = repo.workdir().context("it has no working files")?;
    ensure!(canonical(found) == canonical(root), "it is no checkout of its own");
    let project = ctx.project(root)?.snapshot;
    let max_lfs = project.max_lfs()?;
    let options = snapshot::Options { include: project.include, exclude: Vec::new(), max_lfs };
    let draft = snapshot::draft(&git, &repo, &options)?;
    let packed = draft.pack(&git)?;
    Ok(State::of(&draft.seal(packed)?.document))
}
