//! Objects from a clone that the developer has: less is fetched then.
//!
//! Invariants: the clone is read and never changed, and nothing in it decides what
//! runs. Its configuration is data, of which the addresses of its remotes are looked
//! at; git reads its objects from a repository of ours. Only what branches of the
//! task's own remote lead to is copied, so no stash and no commit of the developer's
//! comes along. Every object of the files that are checked out is hashed before they
//! are; the history below is hashed afterwards (`proof`).

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::mirror::{Mirror, keep_ref, kept, take_over};
use crate::disk::{self, Durability, lock::FileLock, scratch::Scratch};
use crate::error::integrity;
use crate::git::{Call, Git, create_bare};
use crate::identity::{Commit, RepoUrl};

/// Branches of a remote from which is started when the commit itself is not there.
const MAX_TIPS: usize = 64;

/// Settings by which a repository says what git should believe of its objects.
const BELIEVE_NOTHING: [&str; 3] = ["core.commitGraph=false", "core.multiPackIndex=false", "pack.useBitmaps=false"];

/// Where a mirror notes what came from a clone and was not hashed in full.
const NOTES: &str = "envctl-copied";

/// A clone of the task's repository.
#[derive(Debug)]
pub struct Nearby {
    objects: PathBuf,
    /// Where the remote's branches are, by what is known there; its main one first.
    tips: Vec<git2::Oid>,
}

/// What came from a clone.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Copied {
    pack: String,
    commits: Vec<String>,
    /// Bytes of it.
    pub bytes: u64,
}

impl Copied {
    /// The commits that came, with all that lies below them.
    pub fn commits(&self) -> impl Iterator<Item = Commit> {
        self.commits.iter().filter_map(|commit| commit.parse().ok())
    }
}

impl Nearby {
    /// Looks at a folder: a clone of one of these repositories, or why it is of no use.
    ///
    /// # Errors
    /// With that reason, in a few words.
    pub fn look(folder: &Path, urls: &[&RepoUrl]) -> Result<Self, &'static str> {
        let flags = git2::RepositoryOpenFlags::NO_SEARCH;
        let repo = git2::Repository::open_ext(folder, flags, std::iter::empty::<&Path>());
        // What libgit2 does not know, such as other object names, it does not open.
        let repo = repo.map_err(|_| "it is no repository that envctl can read")?;
        let common = repo.commondir().to_owned();
        let owner = common.metadata().map(|meta| meta.uid()).map_err(|_| "it cannot be looked at")?;
        if owner != rustix::process::geteuid().as_raw() {
            return Err("it belongs to another user");
        }
        if repo.is_shallow() || common.join("shallow").exists() {
            return Err("it is shallow: it lacks commits");
        }
        let objects = common.join("objects");
        if is_partial(&repo, &objects) {
            return Err("it is partial: it lacks files");
        }
        // A list of folders is separated by colons, and quoted.
        if objects.to_str().is_none_or(|path| path.contains([':', '"', '\n'])) {
            return Err("git cannot be told its path");
        }
        let name = remote_of(&repo, urls).ok_or("none of its remotes is the task's")?;
        let tips = tips(&repo, &name);
        if tips.is_empty() {
            return Err("it has no branch of the task's remote");
        }
        Ok(Nearby { objects, tips })
    }
}

/// Whether it may lack what it refers to.
fn is_partial(repo: &git2::Repository, objects: &Path) -> bool {
    let packs = std::fs::read_dir(objects.join("pack")).into_iter().flatten().flatten();
    let promised = packs.into_iter().any(|entry| entry.path().extension().is_some_and(|end| end == "promisor"));
    let says = repo.config().and_then(|config| config.open_level(git2::ConfigLevel::Local));
    promised || says.is_ok_and(|config| config.get_string("extensions.partialclone").is_ok())
}

/// The name of the remote that is one of these repositories.
fn remote_of(repo: &git2::Repository, urls: &[&RepoUrl]) -> Option<String> {
    let config = repo.config().ok()?.open_level(git2::ConfigLevel::Local).ok()?;
    let mut found = None;
    let entries = config.entries(Some(r"^remote\..*\.url$")).ok()?;
    entries
        .for_each(|entry| {
            let (Ok(key), Ok(value)) = (entry.name(), entry.value()) else { return };
            let name = key.strip_prefix("remote.").and_then(|key| key.strip_suffix(".url"));
            if let (Some(name), Ok(url)) = (name, value.parse::<RepoUrl>())
                && urls.iter().any(|wanted| is_same(wanted, &url))
            {
                found.get_or_insert(name.to_owned());
            }
        })
        .ok()?;
    found
}

/// Whether two addresses are one repository, by whichever protocol.
fn is_same(a: &RepoUrl, b: &RepoUrl) -> bool {
    let place = |url: &RepoUrl| {
        let path = url.path()?;
        let host = url.site()?.host().to_owned();
        Some((host, path.trim_matches('/').trim_end_matches(".git").to_owned()))
    };
    a.normal() == b.normal() || matches!((place(a), place(b)), (Some(a), Some(b)) if a == b)
}

fn tips(repo: &git2::Repository, remote: &str) -> Vec<git2::Oid> {
    let main = repo.find_reference(&format!("refs/remotes/{remote}/HEAD"));
    let main = main.and_then(|reference| reference.peel_to_commit()).map(|commit| commit.id());
    let branches = repo.references_glob(&format!("refs/remotes/{remote}/*")).into_iter().flatten().flatten();
    let branches = branches.filter_map(|reference| Some(reference.peel_to_commit().ok()?.id()));
    let mut seen = BTreeSet::new();
    main.into_iter().chain(branches).filter(|tip| seen.insert(*tip)).take(MAX_TIPS).collect()
}

impl Mirror {
    /// Copies what a clone has of the history of `base`, or of its remote's branches
    /// where it lacks that; `None` when it has nothing that is not here.
    ///
    /// # Errors
    /// When git cannot read the clone. Nothing of it stays then.
    pub fn copy_from(&self, git: &Git, nearby: &Nearby, base: &Commit) -> Result<Option<Copied>> {
        let _lock = FileLock::acquire(self.lock_file(), || {})?;
        let repo = self.open()?;
        self.require_own()?;
        if kept(&repo, base) {
            return Ok(None);
        }
        let parent = self.path().parent().context("the mirror has no parent folder")?;
        let draft = Scratch::create_in(parent, ".envctl-copy-")?;
        create_bare(draft.path(), &[])?;
        let known = self.objects();
        let lent = format!("{}:{}", nearby.objects.display(), known.display());
        let call = || believing_nothing(git.aside(draft.path())).env("GIT_ALTERNATE_OBJECT_DIRECTORIES", &lent);
        let tips: String = nearby.tips.iter().map(|tip| format!("^{tip}\n")).collect();
        let ahead = call().args(["rev-list", "--max-count=1", "--stdin"]).run(format!("{base}\n{tips}").as_bytes());
        let wanted: Vec<String> = match ahead {
            // The remote had it when it was asked last.
            Ok(ahead) if ahead.is_empty() => vec![base.to_string()],
            _ => nearby.tips.iter().map(ToString::to_string).collect(),
        };
        let have = repo.references_glob("refs/envctl/keep/*")?.flatten().filter_map(|reference| reference.target());
        let list: String =
            wanted.iter().cloned().chain(have.map(|oid| format!("^{oid}"))).map(|line| line + "\n").collect();
        let fresh = draft.path().join("objects");
        let place = fresh.join("pack/pack");
        // Deltas are taken as they are; what is missing on the way is an error.
        let args = ["pack-objects", "--revs", "--delta-base-offset", "--quiet", "--window=0"];
        let hash = call().args(args).args([&place]).run(list.as_bytes())?;
        let hash = String::from_utf8_lossy(&hash).trim().to_owned();
        let bytes = place.with_file_name(format!("pack-{hash}.pack")).metadata().map_or(0, |meta| meta.len());
        let commits = wanted.into_iter().filter(|commit| commit.parse().is_ok_and(|commit| !kept(&repo, &commit)));
        let copied = Copied { pack: format!("pack-{hash}"), commits: commits.collect(), bytes };
        // Before it is there: whoever finds it knows that it was not hashed.
        self.note(&copied)?;
        let taken = take_over(&fresh, &known).and_then(|()| {
            repo.odb()?.refresh()?;
            for commit in &copied.commits {
                let oid = git2::Oid::from_str(commit)?;
                repo.find_commit(oid).with_context(|| format!("{commit} is no commit"))?;
                repo.reference(&keep_ref(&commit.parse()?), oid, true, "envctl: copied")?;
            }
            Ok(())
        });
        if taken.is_err() {
            self.remove(&repo, &copied)?;
        }
        taken.map(|()| Some(copied))
    }

    /// Hashes a commit and every file that it has: after that its files can be
    /// checked out, wherever they came from.
    ///
    /// # Errors
    /// [`crate::error::Kind::Integrity`] for what is missing, or is not what its name says.
    pub fn sound(&self, commit: &Commit) -> Result<()> {
        let repo = git2::Repository::open_bare(self.path())?;
        let odb = repo.odb()?;
        let wrong = |error: git2::Error| integrity(format!("the files of {commit} are not whole: {}", error.message()));
        let mut seen = BTreeSet::new();
        let mut ahead = vec![git2::Oid::from_str(commit.as_str())?];
        while let Some(oid) = ahead.pop() {
            // Read, it is hashed.
            match odb.read(oid).map_err(wrong)?.kind() {
                git2::ObjectType::Commit => ahead.push(repo.find_commit(oid).map_err(wrong)?.tree_id()),
                git2::ObjectType::Tree => {
                    let tree = repo.find_tree(oid).map_err(wrong)?;
                    let entries = tree.iter().filter(|entry| entry.kind() != Some(git2::ObjectType::Commit));
                    ahead.extend(entries.map(|entry| entry.id()).filter(|id| seen.insert(*id)));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Takes out what came from a clone.
    ///
    /// # Errors
    /// When the mirror cannot be changed.
    pub fn take_out(&self, copied: &Copied) -> Result<()> {
        let _lock = FileLock::acquire(self.lock_file(), || {})?;
        self.remove(&self.open()?, copied)
    }

    fn remove(&self, repo: &git2::Repository, copied: &Copied) -> Result<()> {
        for commit in &copied.commits {
            if let Ok(mut reference) = repo.find_reference(&keep_ref(&commit.parse()?)) {
                reference.delete()?;
            }
        }
        for end in ["idx", "rev", "pack"] {
            let _ = std::fs::remove_file(self.objects().join("pack").join(format!("{}.{end}", copied.pack)));
        }
        self.forget(copied)
    }

    /// Hashes all that came from clones and was not hashed yet. What is not what it
    /// should be is taken out and returned.
    ///
    /// # Errors
    /// When git cannot be started.
    pub fn prove(&self, git: &Git) -> Result<Vec<Copied>> {
        let mut wrong = Vec::new();
        for copied in self.unproven() {
            let pack = self.objects().join("pack").join(format!("{}.pack", copied.pack));
            let parent = self.path().parent().context("the mirror has no parent folder")?;
            let draft = Scratch::create_in(parent, ".envctl-proof-")?;
            let index = draft.path().join("proof.idx");
            // It names each object by what is in it; the one that is there must too.
            let made = git.aside(self.path()).args(["index-pack", "-o"]).args([&index, &pack]).run(b"");
            let same = || Ok::<_, std::io::Error>(std::fs::read(&index)? == std::fs::read(pack.with_extension("idx"))?);
            if made.is_ok() && same().unwrap_or(false) {
                self.forget(&copied)?;
            } else {
                self.take_out(&copied)?;
                wrong.push(copied);
            }
        }
        Ok(wrong)
    }

    /// What came from clones and was not hashed in full yet.
    pub fn unproven(&self) -> Vec<Copied> {
        let files = std::fs::read_dir(self.path().join(NOTES)).into_iter().flatten().flatten();
        files.filter_map(|file| disk::read_json(&file.path()).ok().flatten()).collect()
    }

    fn note(&self, copied: &Copied) -> Result<()> {
        let folder = self.path().join(NOTES);
        disk::create_private_dir(&folder)?;
        disk::write_json(&folder.join(&copied.pack), copied, Durability::Cached)
    }

    fn forget(&self, copied: &Copied) -> Result<()> {
        let note = self.path().join(NOTES).join(&copied.pack);
        std::fs::remove_file(&note).with_context(|| format!("cannot remove {}", note.display()))
    }
}

fn believing_nothing(call: Call) -> Call {
    BELIEVE_NOTHING.iter().fold(call, |call, setting| call.args(["-c", setting]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_repository_has_several_addresses() {
        let url = |text: &str| text.parse::<RepoUrl>().unwrap();
        for (a, b) in [
            ("https://git.example/acme/shop.git", "https://git.example/acme/shop"),
            ("https://git.example/acme/shop", "git@git.example:acme/shop.git"),
            ("ssh://git@git.example/acme/shop", "git@git.example:acme/shop.git"),
            ("file:///srv/shop.git", "/srv/shop.git"),
        ] {
            assert!(is_same(&url(a), &url(b)), "{a} {b}");
        }
        for (a, b) in [
            ("https://git.example/acme/shop", "https://git.example/acme/other"),
            ("https://git.example/acme/shop", "https://evil.example/acme/shop"),
            ("file:///srv/shop", "file:///srv/other"),
        ] {
            assert!(!is_same(&url(a), &url(b)), "{a} {b}");
        }
    }
}
