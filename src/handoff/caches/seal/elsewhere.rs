//! What a setup made in the workspace and outside of its cache's places: it goes
//! with the setup's runtime, and is named in one line.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Dir, FileType};

use super::super::state::Caches;
use super::super::wanted::Wanted;
use crate::cache::{Mark, Sources};
use crate::config::Spot;
use crate::disk::beneath::Beneath;
use crate::handoff::words::{quote, shown_list};
use crate::workspace::content_above;

/// Entries that are looked at.
const MOST: usize = 20_000;

/// Files that are remembered, and folders that are looked into.
const MOST_CHANGED: usize = 200_000;

/// So many bytes are read to see whether files are as before. A file may say that it is
/// terabytes.
const MOST_READ: u64 = 1 << 30;

/// What tools write beside their packages, and make again in every run that needs it.
const NOTES: [&str; 4] = [".yarn/install-state.gz", ".pnp.cjs", ".pnp.loader.mjs", ".pnp.data.json"];

/// What Maven leaves where it has compiled, which it does to learn what it needs.
const COMPILED: &str = "maven-status";

/// What a setup did in its workspace, where that goes with it.
#[derive(Default)]
pub(super) struct DoneElsewhere {
    /// Files that it made, changed or removed.
    pub(super) changed: BTreeSet<Vec<u8>>,
    /// Those of them that hold the same as before.
    equal: BTreeSet<Vec<u8>>,
    /// There were too many, or some could not be seen.
    unknown: bool,
}

impl DoneElsewhere {
    /// What lies in the upper of a workspace; `before` is what the workspace held.
    pub(super) fn look(upper: Option<PathBuf>, before: &Sources) -> Self {
        let mut beside = DoneElsewhere::default();
        let Some(upper) = upper.and_then(|upper| Beneath::open(&upper).ok()) else { return beside };
        let (mut pending, mut left, mut folders) = (vec![Vec::new()], MOST_READ, 0);
        while let Some(folder) = pending.pop() {
            folders += 1;
            let listed =
                upper.list(Path::new(OsStr::from_bytes(&folder))).ok().and_then(|open| Dir::read_from(&open).ok());
            beside.unknown |= listed.is_none() || beside.changed.len().max(folders) > MOST_CHANGED;
            for entry in listed.into_iter().flatten().flatten().take(MOST_CHANGED) {
                let name = entry.file_name().to_bytes();
                if matches!(name, b"." | b".." | b".git") {
                    continue;
                }
                let path = if folder.is_empty() { name.to_vec() } else { [&folder, &b"/"[..], name].concat() };
                if entry.file_type() == FileType::Directory {
                    pending.push(path);
                } else if !beside.unknown {
                    let mark =
                        |(kind, size, content): (u32, u64, git2::Oid)| Sources::mark(kind, size, content.as_bytes());
                    let mut same = |known: &Mark| content_above(&upper, &path, &mut left).map(mark) == Some(*known);
                    let known = before.get(&path).is_some_and(&mut same);
                    if known {
                        beside.equal.insert(path.clone());
                    }
                    beside.changed.insert(path);
                }
            }
            if beside.unknown {
                break;
            }
        }
        beside
    }

    /// What an entry was made from, without what its setup saw differently.
    pub(super) fn taken_from(&self, sources: Sources, ignored: Sources) -> (Sources, Sources) {
        let sources = sources.without(|path| self.changed.contains(path) && !self.equal.contains(path));
        let ignored = ignored.without(|path| self.unknown || self.changed.contains(path));
        (sources, ignored)
    }
}

/// Names what lies in the upper of a workspace.
pub(super) fn tell(caches: &Caches<'_>, wanted: &Wanted, upper: Option<PathBuf>) {
    let (Some(upper), Ok(workspace)) = (upper, Beneath::open(caches.workspace)) else { return };
    let Ok(upper) = Beneath::open(&upper) else { return };
    let places = caches.wanted.iter().flat_map(|wanted| &wanted.spots);
    let places: Vec<&str> = places
        .filter_map(|(spot, _)| match spot {
            Spot::Workspace(path) => Some(path.as_str()),
            _ => None,
        })
        .collect();
    let left = left(&upper, &workspace, &places);
    if !left.is_empty() {
        let names: Vec<String> = left.iter().map(|name| quote(name)).collect();
        let why = format!("the setup of the cache {} made it outside of its path", wanted.name);
        caches.app.ui.status("Left out", &format!("{}: {why}; paths = [...] may name several", shown_list(&names)));
    }
}

/// Folders that are new, with a slash at the end, and files in those that are not.
fn left(upper: &Beneath, workspace: &Beneath, places: &[&str]) -> Vec<String> {
    let (mut found, mut pending, mut looked) = (Vec::new(), vec![String::new()], 0);
    while let Some(folder) = pending.pop() {
        for (name, kind) in entries(upper.list(Path::new(&folder)).ok()) {
            looked += 1;
            let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
            let note = NOTES.iter().any(|note| path == *note || path.ends_with(&format!("/{note}")))
                || upper.stat(Path::new(&format!("{path}/{COMPILED}"))).is_some();
            if looked > MOST || path == ".git" || note || places.contains(&path.as_str()) {
                continue;
            }
            let above = format!("{path}/");
            let known = || workspace.list(Path::new(&path)).is_ok();
            match kind {
                FileType::Directory if places.iter().any(|place| place.starts_with(&above)) || known() => {
                    pending.push(path);
                }
                FileType::Directory if !entries(upper.list(Path::new(&path)).ok()).is_empty() => found.push(above),
                // A character device says that something is gone.
                FileType::RegularFile | FileType::Symlink => found.push(path),
                _ => {}
            }
        }
    }
    found.sort();
    found
}

fn entries(folder: Option<OwnedFd>) -> Vec<(String, FileType)> {
    let entries = folder.and_then(|folder| Dir::read_from(&folder).ok()).into_iter().flatten().flatten();
    let named = entries.map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.file_type()));
    named.filter(|(name, _)| !matches!(name.as_str(), "." | "..")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_new_is_named_once_and_places_are_not() {
        let (upper, workspace) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for file in ["src/main.js", "packages/a/package.json"] {
            let path = workspace.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        for file in [
            ".git/index",
            "deps/x",
            "src/made.js",
            "packages/a/deps/b/c",
            "packages/a/deps/d",
            "packages/b/deps/x",
            "packages/b/out",
            "log",
            ".pnp.cjs",
            "packages/a/target/maven-status/x",
        ] {
            let path = upper.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        std::fs::create_dir(upper.path().join("empty")).unwrap();
        let open = |dir: &tempfile::TempDir| Beneath::open(dir.path()).unwrap();
        let found = left(&open(&upper), &open(&workspace), &["deps", "packages/b/deps"]);
        assert_eq!(found, ["log", "packages/a/deps/", "packages/b/out", "src/made.js"]);
    }
}
