//! What a snapshot does not carry although somebody may miss it: it is named,
//! never dropped in silence. Ignored files and hooks are documented instead.

use std::collections::{BinaryHeap, HashMap, HashSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::Result;

use super::history::Position;
use crate::disk::beneath::Beneath;
use crate::snapshot::format::left_behind::{LeftKind, LeftOut, lossy};
use crate::snapshot::lfs::capture::Missing;

/// Files of git's that hold a name or a list of them are no larger, in bytes.
const MAX_HEAD: u64 = 64 << 10;
const MAX_GRAFTS: u64 = 64 << 20;

/// So many commits are looked at for the sake of old tags.
const MOST_COMMITS: usize = 30_000;

impl LeftOut {
    pub(in crate::snapshot) fn content(missing: &Missing) -> Self {
        let detail = Some(format!("{} bytes", missing.size));
        LeftOut { kind: LeftKind::LfsContent, name: lossy(&missing.path), detail }
    }
}

/// The entries of the stash.
pub(in crate::snapshot) fn stash(repo: &git2::Repository) -> Vec<LeftOut> {
    if repo.find_reference("refs/stash").is_err() {
        return Vec::new();
    }
    let Ok(log) = repo.reflog("refs/stash") else { return Vec::new() };
    let detail = |entry: git2::ReflogEntry<'_>| entry.message_bytes().map(lossy);
    let entries = log.iter().enumerate();
    entries
        .map(|(n, entry)| LeftOut { kind: LeftKind::Stash, name: format!("stash@{{{n}}}"), detail: detail(entry) })
        .collect()
}

/// Refs with commits that neither a remote nor what travels has, and what makes
/// git show other commits than there are.
///
/// # Errors
/// When refs cannot be read.
pub(in crate::snapshot) fn refs(repo: &git2::Repository, position: Position<'_>) -> Result<Vec<LeftOut>> {
    let mut tips = Vec::new();
    let mut left = Vec::new();
    for reference in repo.references()? {
        let reference = reference?;
        let Some((kind, name)) = kind_of(reference.name_bytes()) else { continue };
        let travels = kind == LeftKind::Branch && [position.branch, position.follows].contains(&Some(&*name));
        if kind == LeftKind::Replacement {
            left.push(LeftOut { kind, name, detail: None });
        } else if let Ok(tip) = reference.peel_to_commit() {
            let is_sure = kind == LeftKind::Branch || is_own(repo, &reference);
            tips.extend((!travels).then_some((Tip { commit: tip.id(), is_sure }, kind, name)));
        } else if is_own(repo, &reference)
            && let Some(object) = reference.target().and_then(|id| repo.find_object(id, None).ok())
        {
            // One of a file or a tree. What a clone got is packed.
            left.push(LeftOut { kind, name, detail: Some(object.id().to_string()) });
        }
    }
    let linked = linked(repo)?.into_iter();
    tips.extend(linked.map(|(name, commit)| (Tip { commit, is_sure: true }, LeftKind::Worktree, name)));
    // Commits that an operation names travel, and what leads to them here does not: when
    // it is given up there, nothing leads to them.
    let own = |name: &str| repo.find_branch(name, git2::BranchType::Local).ok()?.get().peel_to_commit().ok();
    let arriving = [position.branch, position.follows].into_iter().flatten().filter_map(own);
    let arriving: Vec<git2::Oid> = arriving.map(|tip| tip.id()).chain([position.head.id()]).collect();
    // A branch or tag is a name as well, which does not travel with its commits.
    let is_name = |kind: LeftKind| matches!(kind, LeftKind::Branch | LeftKind::Tag);
    let of = |names: bool| tips.iter().filter(|(_, kind, _)| is_name(*kind) == names).map(|(tip, ..)| *tip).collect();
    let named = lacking(repo, of(true), &[])?;
    let others = lacking(repo, of(false), &arriving)?;
    let is_lost = |(tip, kind, _): &(Tip, LeftKind, String)| {
        let lost = if is_name(*kind) { &named } else { &others };
        lost.contains(&tip.commit)
    };
    let tips = tips.into_iter().filter(is_lost);
    left.extend(tips.map(|(tip, kind, name)| LeftOut { kind, name, detail: Some(tip.commit.to_string()) }));
    let grafts = Beneath::open(repo.commondir())?.read(Path::new("info/grafts"), MAX_GRAFTS)?;
    if grafts.is_some_and(|text| text.split(|byte| *byte == b'\n').any(|line| line.first().is_some_and(|c| *c != b'#')))
    {
        left.push(LeftOut { kind: LeftKind::Replacement, name: "info/grafts".into(), detail: None });
    }
    left.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
    Ok(left)
}

/// A merge of notes that stopped halfway (`git-notes(1)`): the state of it is in files
/// of the git folder.
///
/// # Errors
/// When the git folder cannot be read.
pub(in crate::snapshot) fn notes_merge(repo: &git2::Repository) -> Result<Option<LeftOut>> {
    let onto = Beneath::open(repo.path())?.read(Path::new("NOTES_MERGE_REF"), MAX_HEAD)?;
    let name = |text: Vec<u8>| lossy(text.strip_prefix(b"ref: ").unwrap_or(&text).trim_ascii());
    Ok(onto.map(|text| LeftOut {
        kind: LeftKind::Operation,
        name: "a merge of notes".into(),
        detail: Some(name(text)),
    }))
}

/// What a ref is, and its short name; `None` for what is looked at elsewhere, or
/// is the remote's.
fn kind_of(full: &[u8]) -> Option<(LeftKind, String)> {
    let known: [(&[u8], Option<LeftKind>); 8] = [
        (b"refs/heads/", Some(LeftKind::Branch)),
        (b"refs/tags/", Some(LeftKind::Tag)),
        (b"refs/notes/", Some(LeftKind::Notes)),
        (b"refs/replace/", Some(LeftKind::Replacement)),
        (b"refs/remotes/", None),
        (b"refs/prefetch/", None),
        (b"refs/bisect/", None),
        (b"refs/stash", None),
    ];
    match known.iter().find_map(|(prefix, kind)| Some((full.strip_prefix(*prefix)?, *kind))) {
        Some((short, kind)) => Some((kind?, lossy(short))),
        None => Some((LeftKind::Ref, lossy(full))),
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

/// A ref that may hold what nobody else has.
#[derive(Clone, Copy)]
struct Tip {
    commit: git2::Oid,
    /// It is looked at however long the history is.
    is_sure: bool,
}

/// Those of the tips that neither a remote-tracking ref nor `travels` holds. Where
/// gaps in the history leave it open, all of them. In a shallow clone, and in a history
/// longer than [`MOST_COMMITS`], only those that are sure, or as young as what the
/// remotes have: old tags of a clone lie deep, and there may be thousands.
///
/// # Errors
/// When refs cannot be read.
fn lacking(repo: &git2::Repository, mut tips: Vec<Tip>, travels: &[git2::Oid]) -> Result<HashSet<git2::Oid>> {
    if tips.is_empty() {
        return Ok(HashSet::new());
    }
    let mut held = HashSet::new();
    let mut youngest = 0;
    for reference in repo.references_glob("refs/remotes/*")? {
        let Ok(tip) = reference?.peel_to_commit() else { continue };
        youngest = youngest.max(tip.time().seconds());
        held.insert(tip.id());
    }
    held.extend(travels.iter().copied().filter(|id| repo.find_commit(*id).is_ok()));
    tips.retain(|tip| !held.contains(&tip.commit));
    let of = |tips: &[Tip]| -> Vec<git2::Oid> { tips.iter().map(|tip| tip.commit).collect() };
    let all = of(&tips);
    // Of a shallow clone nobody knows what its old tags had below them.
    match if repo.is_shallow() { Reached::TooMany } else { reached(repo, &all, &held, MOST_COMMITS) } {
        Reached::All(known) => return Ok(all.into_iter().filter(|tip| !known.contains(tip)).collect()),
        Reached::Gaps => return Ok(all.into_iter().collect()),
        Reached::TooMany => {}
    }
    let time = |id: git2::Oid| repo.find_commit(id).map_or(0, |commit| commit.time().seconds());
    tips.retain(|tip| tip.is_sure || time(tip.commit) >= youngest);
    let some = of(&tips);
    Ok(match reached(repo, &some, &held, usize::MAX) {
        Reached::All(known) => some.into_iter().filter(|tip| !known.contains(tip)).collect(),
        Reached::Gaps | Reached::TooMany => some.into_iter().collect(),
    })
}

/// So many commits are looked at beyond the last one that matters, as git does it
/// (`SLOP` of its `revision.c`): times may be equal, or fall.
const SLOP: usize = 16;

/// Which of some commits are ancestors of others.
enum Reached {
    /// These are.
    All(HashSet<git2::Oid>),
    /// The history ends before it is known.
    Gaps,
    /// More commits would have to be looked at.
    TooMany,
}

/// Goes down from the commits and from what may hold them, the youngest first, until
/// all that is left is held. Where clocks were wrong, one that is held may be taken
/// for one that is not: it is named once too often.
fn reached(repo: &git2::Repository, tips: &[git2::Oid], held: &HashSet<git2::Oid>, most: usize) -> Reached {
    let mut known: HashMap<git2::Oid, bool> = HashMap::new();
    let mut queue = BinaryHeap::new();
    // Entries of the queue from which something new may be learned.
    let mut open = 0_usize;
    let mut slop = SLOP;
    let starts = held.iter().map(|id| (*id, true)).chain(tips.iter().map(|id| (*id, false)));
    let mut found: Vec<(git2::Oid, bool)> = starts.collect();
    for looked_at in 0.. {
        for (id, is_held) in found.drain(..) {
            let before = known.get(&id).copied();
            if before.is_some_and(|before| before || !is_held) {
                continue;
            }
            let Ok(commit) = repo.find_commit(id) else { return Reached::Gaps };
            known.insert(id, is_held);
            let is_open = !is_held || before.is_some();
            open += usize::from(is_open);
            queue.push((commit.time().seconds(), id, is_open));
        }
        slop = if open == 0 { slop.saturating_sub(1) } else { SLOP };
        if slop == 0 {
            break;
        }
        if looked_at >= most {
            return Reached::TooMany;
        }
        let Some((_, id, is_open)) = queue.pop() else { break };
        open -= usize::from(is_open);
        let is_held = known.get(&id).copied().unwrap_or(false);
        let Ok(commit) = repo.find_commit(id) else { return Reached::Gaps };
        found.extend(commit.parent_ids().map(|parent| (parent, is_held)));
    }
    Reached::All(known.into_iter().filter_map(|(id, is_held)| is_held.then_some(id)).collect())
}

/// Refs of a submodule with commits that no branch of its remote has, beside those that
/// it is `at`.
///
/// # Errors
/// When refs cannot be read.
pub(in crate::snapshot) fn of_submodule(repo: &git2::Repository, at: &[git2::Oid]) -> Result<Vec<(String, git2::Oid)>> {
    let mut tips = Vec::new();
    for reference in repo.references()? {
        let reference = reference?;
        let name = reference.name_bytes();
        let stash = name == b"refs/stash";
        let Some(name) = kind_of(name).map(|(_, name)| name).or(stash.then(|| "stash".into())) else { continue };
        if let Ok(tip) = reference.peel_to_commit() {
            let is_sure = stash || reference.is_branch() || is_own(repo, &reference);
            tips.push((name, Tip { commit: tip.id(), is_sure }));
        }
    }
    // A shallow one cannot say.
    if repo.is_shallow() {
        return Ok(Vec::new());
    }
    let lacking = lacking(repo, tips.iter().map(|(_, tip)| *tip).collect(), at)?;
    tips.retain(|(_, tip)| lacking.contains(&tip.commit));
    Ok(tips.into_iter().map(|(name, tip)| (name, tip.commit)).collect())
}
