//! What a snapshot does not carry although somebody may miss it: it is named,
//! never dropped in silence. Ignored files and hooks are documented instead.

use std::collections::HashSet;

use anyhow::Result;
use serde::Serialize;

use super::history::Position;
use super::lfs::capture::Missing;
use super::submodule::Unpushed;

/// One thing that stays behind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// What it is.
    pub kind: Kind,
    /// Which one.
    pub name: String,
    /// More about it, for people.
    pub detail: Option<String>,
}

/// Kinds of things that stay behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// An entry of the stash.
    Stash,
    /// Another local branch with commits that no remote holds.
    Branch,
    /// A socket, a pipe or a device.
    SpecialFile,
    /// A submodule whose commit is on no branch of its remote.
    SubmoduleCommit,
    /// Content of an LFS file that is not on this machine.
    LfsContent,
}

impl Kind {
    /// The same for people.
    pub fn words(self) -> &'static str {
        match self {
            Kind::Stash => "stash entries",
            Kind::Branch => "branches with commits that no remote has",
            Kind::SpecialFile => "what is neither file nor link",
            Kind::SubmoduleCommit => "commits of submodules that no branch of their remote has",
            Kind::LfsContent => "LFS content that is not on this machine",
        }
    }
}

impl LeftOut {
    pub(super) fn special(path: &[u8], kind: &str) -> Self {
        LeftOut { kind: Kind::SpecialFile, name: lossy(path), detail: Some(kind.into()) }
    }

    pub(super) fn submodule(unpushed: &Unpushed) -> Self {
        let detail = Some(unpushed.commit.to_string());
        LeftOut { kind: Kind::SubmoduleCommit, name: lossy(&unpushed.path), detail }
    }

    pub(super) fn content(missing: &Missing) -> Self {
        let detail = Some(format!("{} bytes", missing.size));
        LeftOut { kind: Kind::LfsContent, name: lossy(&missing.path), detail }
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The entries of the stash.
pub(super) fn stash(repo: &git2::Repository) -> Vec<LeftOut> {
    if repo.find_reference("refs/stash").is_err() {
        return Vec::new();
    }
    let Ok(log) = repo.reflog("refs/stash") else { return Vec::new() };
    let detail = |entry: git2::ReflogEntry<'_>| entry.message_bytes().map(lossy);
    let entries = log.iter().enumerate();
    entries
        .map(|(n, entry)| LeftOut { kind: Kind::Stash, name: format!("stash@{{{n}}}"), detail: detail(entry) })
        .collect()
}

/// Local branches with commits that neither a remote nor HEAD has.
///
/// # Errors
/// When refs cannot be read.
pub(super) fn branches(repo: &git2::Repository, position: Position<'_>) -> Result<Vec<LeftOut>> {
    let mut walk = repo.revwalk()?;
    let mut others = Vec::new();
    for branch in repo.branches(Some(git2::BranchType::Local))? {
        let reference = branch?.0.into_reference();
        let name = lossy(reference.shorthand_bytes());
        let Ok(tip) = reference.peel_to_commit() else { continue };
        if tip.id() != position.head.id() && Some(&*name) != position.branch && !position.others.contains(&tip.id()) {
            walk.push(tip.id())?;
            others.push((name, tip.id()));
        }
    }
    if others.is_empty() {
        return Ok(Vec::new());
    }
    walk.hide(position.head.id())?;
    for reference in repo.references_glob("refs/remotes/*")? {
        if let Ok(tip) = reference?.peel_to_commit() {
            walk.hide(tip.id())?;
        }
    }
    // Of a history with gaps nobody knows: then all of them are named.
    if let Ok(lacking) = walk.collect::<Result<HashSet<git2::Oid>, _>>() {
        others.retain(|(_, tip)| lacking.contains(tip));
    }
    let branch = |(name, tip): (String, git2::Oid)| LeftOut { kind: Kind::Branch, name, detail: Some(tip.to_string()) };
    Ok(others.into_iter().map(branch).collect())
}
