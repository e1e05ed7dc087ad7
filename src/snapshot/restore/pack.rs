//! The pack of a snapshot: written thin by git, added to a workspace's own
//! objects by git's library, and looked through for what it does not have.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};

use anyhow::{Context, Result};
use sha1::{Digest as _, Sha1};

use crate::digest::{Digest, Hasher, Verified};
use crate::error::of_thread;
use crate::git::Git;
use crate::oci::unwrap_io;
use crate::snapshot::checkout::scratch::ScratchRepo;
use crate::snapshot::contents;
use crate::snapshot::format::bounds::{Bounds, MAX_TREE, damaged};
use crate::snapshot::format::document::Pack;
use crate::snapshot::tree::files::IN_MEMORY;

/// Ties trees that no commit has to HEAD (a commit and its tree), as in a stash: given a bare tree, git
/// would neither leave out all that the base has nor know from which of its
/// files to make deltas. Returns the last of the commits.
///
/// # Errors
/// When a commit cannot be written.
pub(in crate::snapshot) fn tie_all(
    scratch: &ScratchRepo,
    (head, head_tree): (git2::Oid, git2::Oid),
    states: &[git2::Oid],
) -> Result<git2::Oid> {
    let (mut tip, mut last) = (head, head_tree);
    for tree in states {
        if *tree != last {
            (tip, last) = (tie(scratch, tip, *tree)?, *tree);
        }
    }
    Ok(tip)
}

/// Objects that are wanted and commits that are there, as git reads them.
pub(in crate::snapshot) fn revisions(wanted: impl Iterator<Item = git2::Oid>, there: &[git2::Oid]) -> String {
    let mut input: String = wanted.map(|id| format!("{id}\n")).collect();
    input.extend(there.iter().map(|id| format!("^{id}\n")));
    input
}

/// Writes the pack: what git makes of the revisions, thin, and behind it those
/// contents of the working files that are `wanted`, as they were packed when they
/// were read.
///
/// # Errors
/// When an object is missing, or the disk is full.
pub(in crate::snapshot) fn write(
    git: &Git,
    scratch: &ScratchRepo,
    revisions: &str,
    wanted: &HashSet<git2::Oid>,
) -> Result<Option<(PathBuf, Pack)>> {
    let path = scratch.path().join("snapshot.pack");
    let file = File::create(&path).context("cannot write the pack")?;
    let whole = scratch.contents.whole();
    let mut left = wanted.clone();
    let stored = whole.iter().flat_map(|pack| pack.objects().map(move |stored| (pack, stored)));
    let stored: Vec<_> = stored.filter(|(_, stored)| left.remove(&stored.id)).collect();
    // Beyond that size git looks for no similar content, and holds none in memory.
    let arguments = [
        "-c",
        "core.bigFileThreshold=16m",
        "pack-objects",
        "--revs",
        "--thin",
        "--stdout",
        "--delta-base-offset",
        "--honor-pack-keep",
        "-q",
    ];
    let mut objects = stored.len() as u32;
    let written = scratch.git(git).args(arguments).stream(revisions.as_bytes(), |pipe| {
        outgoing(file, |out| {
            let mut head = [0; contents::HEADER];
            pipe.read_exact(&mut head)?;
            let [.., a, b, c, d] = head;
            objects += u32::from_be_bytes([a, b, c, d]);
            out.write_all(&contents::header(objects))?;
            all_but_checksum(pipe, out)?;
            for (pack, stored) in &stored {
                std::io::copy(&mut pack.raw(stored)?, out)?;
            }
            Ok(())
        })
    });
    let (digest, size) = written.context("cannot write the pack")?;
    Ok((objects > 0).then_some((path, Pack { digest, size })))
}

/// The bytes of the checksum at the end of a pack.
const CHECKSUM: usize = 20;

fn all_but_checksum(from: &mut dyn Read, to: &mut dyn Write) -> std::io::Result<()> {
    let mut buffer = vec![0; 128 << 10];
    let mut kept = 0;
    loop {
        let count = from.read(&mut buffer[kept..])?;
        if count == 0 {
            return Ok(());
        }
        let there = kept + count;
        let sure = there.saturating_sub(CHECKSUM);
        to.write_all(&buffer[..sure])?;
        buffer.copy_within(sure..there, 0);
        kept = there - sure;
    }
}

/// Writes a file with git's checksum behind it; both hashes are made beside the
/// writing.
fn outgoing(mut file: File, fill: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) -> Result<(Digest, u64)> {
    std::thread::scope(|scope| {
        let (to_sum, summed) = sync_channel::<Arc<[u8]>>(4);
        let (to_digest, digested) = sync_channel::<Arc<[u8]>>(4);
        let sum = scope.spawn(move || summed.iter().fold(Sha1::new(), |hash, part| hash.chain_update(part)).finalize());
        let digest = scope.spawn(move || {
            let mut hasher = Hasher::default();
            digested.iter().for_each(|part| hasher.update(&part));
            hasher.finish()
        });
        let mut size = 0;
        let mut write = |part: &[u8], hashed: &[&SyncSender<Arc<[u8]>>]| -> std::io::Result<()> {
            let shared: Arc<[u8]> = part.into();
            let died = |_| std::io::Error::other("a thread that hashes died");
            hashed.iter().try_for_each(|to| to.send(shared.clone()).map_err(died))?;
            size += part.len() as u64;
            file.write_all(part)
        };
        let mut parts =
            Parts { buffer: Vec::with_capacity(PART), write: &mut |part| write(part, &[&to_sum, &to_digest]) };
        fill(&mut parts)?;
        parts.flush()?;
        drop(to_sum);
        let sum = of_thread(sum.join(), "a thread that hashes")?;
        write(&sum, &[&to_digest])?;
        drop(to_digest);
        let digest = of_thread(digest.join(), "a thread that hashes")?;
        Ok((digest, size))
    })
}

/// So many bytes go from thread to thread at once.
const PART: usize = 1 << 20;

/// Gathers what is written.
struct Parts<'a> {
    buffer: Vec<u8>,
    write: &'a mut dyn FnMut(&[u8]) -> std::io::Result<()>,
}

impl Write for Parts<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let count = bytes.len().min(PART - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..count]);
        if self.buffer.len() == PART {
            self.flush()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        if !self.buffer.is_empty() {
            (self.write)(&self.buffer)?;
            self.buffer.clear();
        }
        Ok(())
    }
}

/// A commit that is always the same for the same tree and parent.
fn tie(scratch: &ScratchRepo, parent: git2::Oid, tree: git2::Oid) -> Result<git2::Oid> {
    let who = "envctl <envctl> 0 +0000";
    let commit = format!("tree {tree}\nparent {parent}\nauthor {who}\ncommitter {who}\n\n");
    let own = git2::Repository::open_bare(scratch.path())?;
    own.odb()?.write(git2::ObjectType::Commit, commit.as_bytes()).context("cannot prepare the pack")
}

/// Adds the pack to the workspace's own objects; thin deltas are completed
/// from the mirror's. Returns the contents that are too large for memory.
///
/// # Errors
/// [`crate::error::Kind::Integrity`] when it is damaged, or not all of it is
/// there.
pub(in crate::snapshot) fn index(
    repo: &git2::Repository,
    size: u64,
    digest: Digest,
    content: &mut dyn Read,
) -> Result<HashSet<git2::Oid>> {
    let folder = repo.path().join("objects/pack");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let odb = repo.odb()?;
    // Its own look at what belongs together takes a submodule's commit for one
    // of this repository.
    let mut indexer = git2::Indexer::new(Some(&odb), &folder, 0o444, false)?;
    let mut content = Verified::new(content, size, digest);
    let mut bounds = Bounds::of(size);
    let mut buffer = vec![0; 128 << 10];
    // A full disk is not the pack's fault.
    let explain = |error: git2::Error| match error.class() {
        git2::ErrorClass::Os => anyhow::Error::new(error).context("cannot write the snapshot's pack"),
        _ => damaged(error.message()).into(),
    };
    loop {
        let count = content.read(&mut buffer).map_err(unwrap_io).context("cannot read the snapshot's pack")?;
        if count == 0 {
            break;
        }
        bounds.see(&buffer[..count])?;
        indexer.write_all(&buffer[..count]).map_err(|error| match error.downcast::<git2::Error>() {
            Ok(error) => explain(error),
            Err(error) => anyhow::Error::new(error).context("cannot write the snapshot's pack"),
        })?;
    }
    bounds.end()?;
    let name = indexer.commit().map_err(explain)?;
    odb.refresh()?;
    check(repo, &odb, &folder.join(format!("pack-{name}.idx")))
}

/// Whatever the pack's trees and commits name must be there, and be what they
/// say; a submodule's commit is in another repository.
fn check(repo: &git2::Repository, odb: &git2::Odb<'_>, index: &Path) -> Result<HashSet<git2::Oid>> {
    let mut large = HashSet::new();
    let bytes = fs::read(index).with_context(|| format!("cannot read {}", index.display()))?;
    let objects = names(&bytes).ok_or_else(|| damaged("it has no index"))?;
    let there = |id: git2::Oid| if odb.exists(id) { Ok(()) } else { Err(damaged(&format!("it lacks object {id}"))) };
    for id in objects {
        let broken = |error: git2::Error| damaged(error.message());
        let (size, kind) = odb.read_header(id).map_err(broken)?;
        if kind != git2::ObjectType::Blob && size > MAX_TREE {
            return Err(damaged(&format!("object {id} is too large")).into());
        }
        match kind {
            git2::ObjectType::Tree => {
                let tree = repo.find_tree(id).map_err(broken)?;
                tree.iter().filter(|entry| entry.filemode() != 0o160_000).try_for_each(|entry| there(entry.id()))?;
            }
            git2::ObjectType::Commit => {
                let commit = repo.find_commit(id).map_err(broken)?;
                there(commit.tree_id())?;
                commit.parent_ids().try_for_each(there)?;
            }
            git2::ObjectType::Tag => there(repo.find_tag(id).map_err(broken)?.target_id())?,
            _ if size > IN_MEMORY => {
                large.insert(id);
            }
            _ => {}
        }
    }
    Ok(large)
}

/// The names in a pack's index (format 2 of git's `gitformat-pack`).
fn names(index: &[u8]) -> Option<Vec<git2::Oid>> {
    const TABLE: usize = 8 + 256 * 4;
    let count = u32::from_be_bytes(index.get(TABLE - 4..TABLE)?.try_into().ok()?) as usize;
    let names = index.get(TABLE..TABLE + count.checked_mul(20)?)?;
    names.chunks(20).map(|name| git2::Oid::from_bytes(name).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pack with these objects of `from`, added to `to`.
    fn moved(from: &git2::Repository, to: &git2::Repository, objects: &[git2::Oid]) -> Result<HashSet<git2::Oid>> {
        let mut builder = from.packbuilder().unwrap();
        objects.iter().for_each(|id| builder.insert_object(*id, None).unwrap());
        let mut pack = git2::Buf::new();
        builder.write_buf(&mut pack).unwrap();
        index(to, pack.len() as u64, Digest::of(&pack), &mut &pack[..])
    }

    #[test]
    fn case_42_a_pack_must_hold_what_its_objects_name() {
        let dirs = [(); 3].map(|()| tempfile::tempdir().unwrap());
        let [from, to, other] = dirs.each_ref().map(|dir| git2::Repository::init_bare(dir.path()).unwrap());
        let blob = from.blob(b"x").unwrap();
        let mut builder = from.treebuilder(None).unwrap();
        builder.insert("file", blob, 0o100_644).unwrap();
        // A submodule's commit is never there.
        builder.insert("sub", git2::Oid::from_str(&"7".repeat(40)).unwrap(), 0o160_000).unwrap();
        let tree = builder.write().unwrap();
        let who = git2::Signature::new("a", "b", &git2::Time::new(0, 0)).unwrap();
        let commit = from.commit(None, &who, &who, "", &from.find_tree(tree).unwrap(), &[]).unwrap();
        assert!(moved(&from, &to, &[tree, commit]).unwrap_err().to_string().contains(&blob.to_string()));
        assert!(moved(&from, &other, &[blob, commit]).unwrap_err().to_string().contains(&tree.to_string()));
        moved(&from, &other, &[blob, tree, commit]).unwrap();
    }
}
