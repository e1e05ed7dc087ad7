//! What a snapshot does not carry although somebody may miss it: it is named,
//! never dropped in silence. Ignored files and hooks are documented instead.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::history::Position;
use super::lfs::capture::Missing;
use super::submodule::Unpushed;
use crate::disk::beneath::Beneath;

/// Files of git's that hold a name or a list of them are no larger, in bytes.
const MAX_HEAD: u64 = 64 << 10;
const MAX_GRAFTS: u64 = 64 << 20;

/// One thing that stays behind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// What it is.
    pub kind: Kind,
    /// Which one.
    pub name: String,
    /// More about it, for people; only where it was published from.
    #[serde(default)]
    pub detail: Option<String>,
}

/// Kinds of things that stay behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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
    /// A tag with commits that no remote holds.
    Tag,
    /// A linked checkout on a commit that no remote holds.
    Worktree,
    /// Notes that no remote holds.
    Notes,
    /// Another ref with commits that no remote holds.
    Ref,
    /// What git shows in the place of other commits: replace refs and grafts.
    Replacement,
    /// A file that rules of this checkout alone ignore.
    Ignored,
    /// What the branch follows: nothing that a clone has.
    Upstream,
    /// What HEAD is on: a ref that is no branch.
    Head,
    /// A conflict that was resolved, and that git could bring back.
    Resolved,
    /// Something that a newer envctl named.
    #[serde(other)]
    Other,
}

impl Kind {
    /// The same for people.
    pub fn words(self) -> &'static str {
        match self {
            Kind::Stash => "stash entries",
            Kind::Branch => "branches with commits that no remote has",
            Kind::SpecialFile => "what is neither file nor link",
            Kind::SubmoduleCommit => "commits of submodules that no branch of their remote has",
            Kind::LfsContent => "LFS content that the checkout lacks",
            Kind::Tag => "tags with commits that no remote has",
            Kind::Worktree => "linked checkouts on commits that no remote has",
            Kind::Notes => "notes that no remote has",
            Kind::Ref => "refs with commits that no remote has",
            Kind::Replacement => "what git shows in place of other commits",
            Kind::Ignored => "files that core.excludesFile of this repository ignores",
            Kind::Upstream => "what the branch follows",
            Kind::Head => "what HEAD is on, which is no branch",
            Kind::Resolved => "conflicts that are resolved, as git checkout -m would bring them back",
            Kind::Other => "what a newer envctl knows of",
        }
    }
}

impl LeftOut {
    pub(super) fn special(path: &[u8], kind: &str) -> Self {
        LeftOut { kind: Kind::SpecialFile, name: lossy(path), detail: Some(kind.into()) }
    }

    pub(super) fn submodule(unpushed: &Unpushed) -> Self {
        let detail = Some(unpushed.commit.to_string());
        let path = lossy(&unpushed.path);
        let name = unpushed.by.as_ref().map_or_else(|| path.clone(), |by| format!("{path} ({by})"));
        LeftOut { kind: Kind::SubmoduleCommit, name, detail }
    }

    /// Something of which the name says it all.
    pub(super) fn plain(kind: Kind, name: &[u8]) -> Self {
        LeftOut { kind, name: lossy(name), detail: None }
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

/// Refs with commits that neither a remote nor what travels has, and what makes
/// git show other commits than there are.
///
/// # Errors
/// When refs cannot be read.
pub(super) fn refs(repo: &git2::Repository, position: Position<'_>) -> Result<Vec<LeftOut>> {
    let base = position.head.time().seconds();
    let mut tips = Vec::new();
    let mut left = Vec::new();
    for reference in repo.references()? {
        let reference = reference?;
        let Some((kind, name)) = kind_of(reference.name_bytes()) else { continue };
        if kind == Kind::Replacement {
            left.push(LeftOut { kind, name, detail: None });
        } else if let Ok(tip) = reference.peel_to_commit()
            && !(kind == Kind::Branch && Some(&*name) == position.branch)
            && (kind == Kind::Branch || tip.time().seconds() >= base || is_own(repo, &reference))
        {
            tips.push((kind, name, tip.id()));
        }
    }
    tips.extend(linked(repo)?.into_iter().map(|(name, tip)| (Kind::Worktree, name, tip)));
    tips.retain(|(_, _, tip)| *tip != position.head.id() && !position.others.contains(tip));
    let travels: Vec<git2::Oid> = position.others.iter().copied().chain([position.head.id()]).collect();
    let lacking = lacking(repo, tips.iter().map(|(_, _, tip)| *tip), &travels)?;
    let tips = tips.into_iter().filter(|(_, _, tip)| lacking.as_ref().is_none_or(|lacking| lacking.contains(tip)));
    left.extend(tips.map(|(kind, name, tip)| LeftOut { kind, name, detail: Some(tip.to_string()) }));
    let grafts = Beneath::open(repo.commondir())?.read(Path::new("info/grafts"), MAX_GRAFTS)?;
    if grafts.is_some_and(|text| text.split(|byte| *byte == b'\n').any(|line| line.first().is_some_and(|c| *c != b'#')))
    {
        left.push(LeftOut { kind: Kind::Replacement, name: "info/grafts".into(), detail: None });
    }
    left.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
    Ok(left)
}

/// What a ref is, and its short name; `None` for what is looked at elsewhere, or
/// is the remote's.
fn kind_of(full: &[u8]) -> Option<(Kind, String)> {
    let known: [(&[u8], Option<Kind>); 8] = [
        (b"refs/heads/", Some(Kind::Branch)),
        (b"refs/tags/", Some(Kind::Tag)),
        (b"refs/notes/", Some(Kind::Notes)),
        (b"refs/replace/", Some(Kind::Replacement)),
        (b"refs/remotes/", None),
        (b"refs/prefetch/", None),
        (b"refs/bisect/", None),
        (b"refs/stash", None),
    ];
    match known.iter().find_map(|(prefix, kind)| Some((full.strip_prefix(*prefix)?, *kind))) {
        Some((short, kind)) => Some((kind?, lossy(short))),
        None => Some((Kind::Ref, lossy(full))),
    }
}

/// Whether a ref is a file of its own. A clone packs the tags that it gets, which
/// may be many, and reach far back.
fn is_own(repo: &git2::Repository, reference: &git2::Reference<'_>) -> bool {
    repo.commondir().join(OsStr::from_bytes(reference.name_bytes())).exists()
}

/// Commits on which other checkouts of this repository are, without a branch.
fn linked(repo: &git2::Repository) -> Result<Vec<(String, git2::Oid)>> {
    let common = repo.commondir();
    let mut places = vec![("the main checkout".to_owned(), common.to_owned())];
    let entries = std::fs::read_dir(common.join("worktrees")).into_iter().flatten().flatten();
    places.extend(entries.map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path())));
    let own = std::fs::canonicalize(repo.path())?;
    let mut found = Vec::new();
    for (name, place) in places {
        if std::fs::canonicalize(&place).is_ok_and(|place| place == own) {
            continue;
        }
        let Ok(folder) = Beneath::open(&place) else { continue };
        let head = folder.read(Path::new("HEAD"), MAX_HEAD)?.unwrap_or_default();
        let id = std::str::from_utf8(head.trim_ascii()).ok().and_then(|text| git2::Oid::from_str(text).ok());
        found.extend(id.filter(|id| repo.find_commit(*id).is_ok()).map(|id| (name, id)));
    }
    found.sort();
    Ok(found)
}

/// Commits that neither a remote-tracking ref nor `travels` holds, of those that
/// the tips do; `None` where gaps in the history leave it open.
///
/// # Errors
/// When refs cannot be read.
fn lacking(
    repo: &git2::Repository,
    tips: impl Iterator<Item = git2::Oid>,
    travels: &[git2::Oid],
) -> Result<Option<HashSet<git2::Oid>>> {
    let mut tips = tips.peekable();
    if tips.peek().is_none() {
        return Ok(Some(HashSet::new()));
    }
    let mut walk = repo.revwalk()?;
    tips.try_for_each(|tip| walk.push(tip))?;
    for id in travels {
        // A tag that an operation names.
        if let Ok(commit) = repo.find_object(*id, None).and_then(|object| object.peel_to_commit()) {
            walk.hide(commit.id())?;
        }
    }
    for reference in repo.references_glob("refs/remotes/*")? {
        if let Ok(tip) = reference?.peel_to_commit() {
            walk.hide(tip.id())?;
        }
    }
    // Of a history with gaps nobody knows: then all of them are named.
    Ok(walk.collect::<Result<HashSet<git2::Oid>, _>>().ok())
}

/// Refs of a submodule with commits that no branch of its remote has, beside the
/// commit that it is at.
///
/// # Errors
/// When refs cannot be read.
pub(super) fn of_submodule(repo: &git2::Repository, at: git2::Oid) -> Result<Vec<(String, git2::Oid)>> {
    let mut tips = Vec::new();
    for reference in repo.references()? {
        let reference = reference?;
        let name = reference.name_bytes();
        let stash = name == b"refs/stash";
        let Some(name) = kind_of(name).map(|(_, name)| name).or(stash.then(|| "stash".into())) else { continue };
        if let Ok(tip) = reference.peel_to_commit()
            && (stash || name.is_empty() || reference.is_branch() || is_own(repo, &reference))
        {
            tips.push((name, tip.id()));
        }
    }
    let lacking = lacking(repo, tips.iter().map(|(_, tip)| *tip), &[at])?;
    // A shallow one cannot say.
    tips.retain(|(_, tip)| lacking.as_ref().is_some_and(|lacking| lacking.contains(tip)));
    Ok(tips)
}
