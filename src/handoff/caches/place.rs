//! Where a tree appears: never through a link, never over tracked files, and
//! over other people's files only when they are envctl's own copies.

use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, RenameFlags, ResolveFlags, Timespec, Timestamps};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::wanted::Wanted;
use crate::archive;
use crate::archive::Ownership;
use crate::config::Spot;
use crate::digest::Digest;
use crate::disk::beneath::Beneath;
use crate::disk::{self, Durability, remove};
use crate::error::{failure, policy};
use crate::handoff::app::App;
use crate::paths::Paths;
use crate::runtime::InnerPlace;
use crate::snapshot;
use crate::workspace::{self, AuditedRun};

const FLAGS: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
const RESOLVE: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS);

/// What of a workspace is a copy. The list lies outside of it: a program inside
/// could say that anything is one, and copies are removed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Copies {
    /// The workspace's folder, as `stat` names it: another one in its place has
    /// no copies.
    folder: (u64, u64),
    copies: Vec<Copied>,
}

/// A copy of a sealed tree in a workspace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Copied {
    /// Relative to the workspace.
    path: String,
    /// Of the entry.
    key: Digest,
    /// What it held when it was copied.
    digest: Digest,
}

/// The place in the runtime's words.
pub(crate) fn inside(spot: &Spot) -> InnerPlace {
    match spot {
        Spot::Workspace(path) => InnerPlace::Workspace(path.clone()),
        Spot::Home(path) => InnerPlace::Home(path.clone()),
        Spot::Absolute(path) => InnerPlace::Absolute(path.clone()),
    }
}

/// Whether a tree that has parts has this one.
pub(crate) fn has_part(tree: &Path, part: &str) -> bool {
    let Ok(whole) = rustix::fs::openat(CWD, tree, FLAGS, Mode::empty()) else { return false };
    rustix::fs::openat2(&whole, part, FLAGS, Mode::empty(), RESOLVE).is_ok()
}

/// What trees must not cover.
pub(crate) struct KeptClear<'a> {
    /// The workspace outside.
    pub(crate) workspace: &'a Path,
    /// Where it is inside.
    pub(crate) workdir: &'a str,
    /// The objects that it borrows, at the path that they have on both sides.
    pub(crate) mirror: PathBuf,
    /// Where envctl lies.
    pub(crate) paths: &'a Paths,
}

/// Why a tree cannot appear at a place; `None` when it can. Nothing is changed.
///
/// # Errors
/// When the workspace cannot be read.
pub(crate) fn obstacle(ground: &KeptClear<'_>, spot: &Spot) -> Result<Option<&'static str>> {
    let (workspace, path) = match spot {
        Spot::Workspace(path) => (ground.workspace, path),
        Spot::Home(_) => return Ok(None),
        Spot::Absolute(path) => {
            let place = Path::new("/").join(path);
            let meets = |other: &Path| place.starts_with(other) || other.starts_with(&place);
            let met = meets(Path::new(ground.workdir)) || meets(&ground.mirror);
            return Ok(met.then_some("is in the way of the workspace"));
        }
    };
    let mut current = rustix::fs::openat(CWD, workspace, FLAGS, Mode::empty())?;
    for part in path.split('/') {
        current = match rustix::fs::openat2(&current, part, FLAGS, Mode::empty(), RESOLVE) {
            Ok(folder) => folder,
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP | Errno::NOTDIR) => return Ok(Some("is, or lies behind, a link or a file")),
            Err(error) => return Err(error).with_context(|| format!("cannot open {}", workspace.join(path).display())),
        };
    }
    if is_empty(&current)? || copied(ground.paths, workspace).iter().any(|copy| copy.path == *path) {
        return Ok(None);
    }
    if has_tracked(workspace, path)? {
        return Ok(Some("holds files that git tracks"));
    }
    Ok(Some("holds other files in this workspace; remove them to use the cache"))
}

/// Says why a tree has no place.
///
/// # Errors
/// As [`obstacle`].
pub(crate) fn tell_obstacle(app: &App, ground: &KeptClear<'_>, wanted: &Wanted, spot: &Spot) -> Result<bool> {
    let why = obstacle(ground, spot)?;
    if let Some(why) = why {
        app.ui.warn(&format!("the cache {} is left out: {spot} {why}", wanted.name));
    }
    Ok(why.is_some())
}

/// The other runtimes that are live in a workspace. Looked for under the lock
/// on its places, so that none begins meanwhile.
pub(crate) struct Neighbours {
    /// The task of one of them.
    task: Option<String>,
    /// The folders that were made for their trees.
    pub(crate) made: Vec<PathBuf>,
}

impl Neighbours {
    /// # Errors
    /// When the state cannot be read.
    pub(crate) fn of(app: &App, workspace: &Path) -> Result<Self> {
        let leases = app.runtimes().live()?.into_iter().filter(|lease| lease.workspace == workspace);
        let mut found = Neighbours { task: None, made: Vec::new() };
        for lease in leases {
            found.made.extend(lease.made);
            found.task = Some(lease.task);
        }
        Ok(found)
    }
}

/// The folders of the workspace that are missing on the way to a tree's place,
/// outermost first; `None` when the tree must stay out, which has been told.
///
/// # Errors
/// When the workspace cannot be read.
pub(crate) fn missing(app: &App, ground: &KeptClear<'_>, wanted: &Wanted, spot: &Spot) -> Result<Option<Vec<PathBuf>>> {
    if tell_obstacle(app, ground, wanted, spot)? {
        return Ok(None);
    }
    let Spot::Workspace(path) = spot else { return Ok(Some(Vec::new())) };
    let root = rustix::fs::openat(CWD, ground.workspace, FLAGS, Mode::empty())?;
    let ways: Vec<&Path> = Path::new(path).ancestors().filter(|way| !way.as_os_str().is_empty()).collect();
    let absent = |way: &&Path| {
        rustix::fs::openat2(&root, *way, FLAGS, Mode::empty(), RESOLVE).is_err_and(|error| error == Errno::NOENT)
    };
    Ok(Some(ways.into_iter().rev().filter(absent).map(Path::to_owned).collect()))
}

fn is_empty(folder: &OwnedFd) -> io::Result<bool> {
    let readable =
        rustix::fs::openat(folder, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    for entry in Dir::read_from(&readable)? {
        if !matches!(entry?.file_name().to_bytes(), b"." | b"..") {
            return Ok(false);
        }
    }
    Ok(true)
}

fn has_tracked(workspace: &Path, path: &str) -> Result<bool> {
    let index = snapshot::library(workspace)?.index()?;
    let below = format!("{path}/");
    Ok(index.iter().any(|entry| entry.path == path.as_bytes() || entry.path.starts_with(below.as_bytes())))
}

fn copied(paths: &Paths, workspace: &Path) -> Vec<Copied> {
    let known: Option<Copies> = disk::read_json(&paths.copies(workspace)).ok().flatten();
    known.filter(|known| folder(workspace).is_ok_and(|now| now == known.folder)).unwrap_or_default().copies
}

fn folder(workspace: &Path) -> io::Result<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    fs::symlink_metadata(workspace).map(|meta| (meta.dev(), meta.ino()))
}

fn note_copies(paths: &Paths, workspace: &Path, copies: Vec<Copied>) -> Result<()> {
    let place = paths.copies(workspace);
    disk::create_private_dir(place.parent().context("a list has a folder")?)?;
    disk::write_json(&place, &Copies { folder: folder(workspace)?, copies }, Durability::Cached)
}

/// The folder that holds a path of the workspace, reached through no link, and
/// the path's last name. Programs of another runtime may be at work there.
fn holding<'a>(workspace: &Path, path: &'a str) -> Result<(OwnedFd, &'a str)> {
    let (above, name) = path.rsplit_once('/').unwrap_or((".", path));
    let root = rustix::fs::openat(CWD, workspace, FLAGS, Mode::empty())?;
    let opened = rustix::fs::openat2(&root, above, FLAGS, Mode::empty(), RESOLVE);
    Ok((opened.with_context(|| format!("cannot open {}", workspace.join(above).display()))?, name))
}

/// A copy that is wanted.
pub(crate) struct Copy<'a> {
    pub(crate) spot: &'a Spot,
    /// Of the entry.
    pub(crate) key: Digest,
    /// What is copied.
    pub(crate) tree: &'a Path,
    /// What it holds.
    pub(crate) digest: &'a dyn Fn() -> Result<Digest>,
    /// Whose files they are.
    pub(crate) holder: &'a dyn Ownership,
}

/// Copies a tree into the workspace, for programs of the host. A copy of
/// another entry makes room; if somebody has changed it, it is kept aside.
///
/// # Errors
/// When it cannot be copied; nothing half-made stays at its place then.
pub(crate) fn materialize(
    app: &App,
    ground: &KeptClear<'_>,
    wanted: &Wanted,
    wish: &Copy<'_>,
    neighbours: &Neighbours,
) -> Result<()> {
    let Spot::Workspace(path) = wish.spot else { return Ok(()) };
    let workspace = ground.workspace;
    let mut copies = copied(ground.paths, workspace);
    let known = copies.iter().find(|copy| copy.path == *path).cloned();
    if known.as_ref().is_some_and(|copy| copy.key == wish.key) && workspace.join(path).is_dir() {
        return Ok(());
    }
    // The kernel would take its tree from a runtime whose mount point moves.
    if let Some(task) = &neighbours.task {
        app.ui.warn(&format!("the cache {} is not copied to {path}: a runtime of {task} is using it", wanted.name));
        return Ok(());
    }
    if let Some(old) = &known {
        set_aside(app, workspace, old)?;
    }
    let Some(mut missing) = missing(app, ground, wanted, &Spot::Workspace(path.clone()))? else { return Ok(()) };
    // The copy itself comes by a rename, to nothing or to an empty folder.
    missing.retain(|folder| folder != Path::new(path));
    let beneath = Beneath::open(workspace)?;
    missing.iter().try_for_each(|folder| beneath.make_folder(folder))?;
    app.ui.status("Copying", &format!("the cache {} to {path}", wanted.name));
    let scratch = disk::scratch::Scratch::create_in(&workspace.join(".git"), ".envctl-copy-")?;
    let copy = scratch.path().join("tree");
    wish.holder.inside(&|| copy_tree(wish.tree, &copy))?;
    // Nobody looks at it later: it is older than what runs then.
    if let Err(error) = wish.holder.inside(&|| search(&copy)) {
        app.ui.warn(&format!("the cache {} is not copied to {path}: {error:#}", wanted.name));
        return Ok(());
    }
    let (folder, name) = holding(workspace, path)?;
    rustix::fs::renameat(CWD, &copy, &folder, name)
        .with_context(|| format!("cannot move the copy to {}", workspace.join(path).display()))?;
    copies.retain(|copy| copy.path != *path);
    copies.push(Copied { path: path.clone(), key: wish.key, digest: (wish.digest)()? });
    note_copies(ground.paths, workspace, copies)
}

/// Looks for what git on the host would obey in a copy, whose files a program inside
/// has made.
///
/// # Errors
/// [`crate::error::Kind::Policy`] for the first.
fn search(copy: &Path) -> Result<()> {
    let found = workspace::audit(copy, AuditedRun::default())?;
    match found.renamed.iter().chain(&found.unseen).next() {
        None => Ok(()),
        Some(one) => Err(policy(format!("git would obey {} in it: {}", one.path.display(), one.why)).into()),
    }
}

/// Takes an old copy away. What was changed in it exists nowhere else.
fn set_aside(app: &App, workspace: &Path, old: &Copied) -> Result<()> {
    let (folder, name) = match holding(workspace, &old.path) {
        Ok(held) => held,
        // Something else is in its place, or nothing: that is looked at next.
        Err(_) => return Ok(()),
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(opened) = rustix::fs::openat2(&folder, name, flags, Mode::empty(), RESOLVE) else { return Ok(()) };
    let untouched = archive::summarise(opened.as_fd()).is_ok_and(|now| now.digest == old.digest);
    drop(opened);
    if untouched {
        let name = CString::new(name).context("a path holds a NUL byte")?;
        remove::entry(folder.as_fd(), &name).with_context(|| format!("cannot remove the copy {}", old.path))?;
        return Ok(());
    }
    let stamp = app.clock.now().strftime("%Y%m%dT%H%M%SZ");
    for n in 0..1000 {
        let count = if n == 0 { String::new() } else { format!("-{n}") };
        let aside = format!("{name}.changed-{stamp}{count}");
        match rustix::fs::renameat_with(&folder, name, &folder, &aside, RenameFlags::NOREPLACE) {
            Err(Errno::EXIST) => {}
            Err(error) => return Err(error).with_context(|| format!("cannot move {} away", old.path)),
            Ok(()) => {
                let kept = workspace.join(&old.path).with_file_name(aside);
                app.ui.warn(&format!("{} was changed here, and is kept as {}", old.path, kept.display()));
                return Ok(());
            }
        }
    }
    Err(failure(format!("there is no free name beside {}", old.path)).into())
}

/// The paths of a workspace that are copies: derived, and nobody's work.
pub(crate) fn forget_materialized(paths: &Paths, workspace: &Path) -> Vec<String> {
    copied(paths, workspace).into_iter().map(|copy| copy.path).collect()
}

/// Copies a tree: content by reference where the file system can.
fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    let metadata = fs::symlink_metadata(from)?;
    fs::create_dir(to).with_context(|| format!("cannot create {}", to.display()))?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type()?;
        let own = entry.metadata()?;
        if kind.is_dir() {
            copy_tree(&source, &target)?;
            continue;
        } else if kind.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(&source)?, &target)?;
        } else if kind.is_file() {
            // A clone where the file system has them, else in the kernel.
            let (mut input, mut output) = (File::open(&source)?, File::create_new(&target)?);
            if rustix::fs::ioctl_ficlone(&output, &input).is_err() {
                io::copy(&mut input, &mut output).with_context(|| format!("cannot copy {}", target.display()))?;
            }
        } else {
            rustix::fs::mknodat(CWD, &target, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
        }
        settle(&target, &own, !kind.is_symlink())?;
    }
    settle(to, &metadata, true)
}

fn settle(path: &Path, like: &fs::Metadata, mode: bool) -> Result<()> {
    use std::os::unix::fs::MetadataExt;
    if mode {
        rustix::fs::chmodat(CWD, path, Mode::from_raw_mode(like.mode() & 0o1777), AtFlags::empty())?;
    }
    let time = Timespec { tv_sec: like.mtime(), tv_nsec: like.mtime_nsec() };
    let times = Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(CWD, path.as_os_str().as_bytes(), &times, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(())
}
