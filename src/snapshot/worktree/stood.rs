//! Whether the files of a checkout stood still while they were captured: by what was heard
//! meanwhile of each folder, and a second look at what was read.

use std::collections::BTreeSet;

use super::scan::{Scan, tracked};
use crate::git::IgnoreLists;
use crate::snapshot::checkout::glance::glance;
use crate::snapshot::checkout::moment::Stood;
use crate::snapshot::checkout::scratch::{CAPTURE, ScratchRepo};
use crate::snapshot::format::index::Entry;
use crate::snapshot::paths::path_of;

impl Scan {
    /// How still the files stood since they were seen: looks at each once more, unless
    /// nothing was heard of any.
    pub(in crate::snapshot) fn stood(&self, scratch: &ScratchRepo) -> Stood {
        let heard = self.vigil.heard(&self.index);
        if let Some(name) = self.travelling(scratch, &heard.names) {
            return Stood::NameMoved(name);
        }
        let mut grew = false;
        for (path, stat) in &self.read {
            match (stat, scratch.lstat(path)) {
                (Some(before), Some(now)) if *before == now => {}
                (None, None) => {}
                (Some(before), Some(now)) if (before.dev, before.ino) == (now.dev, now.ino) => grew = true,
                (None, Some(_)) if !scratch.is_file(path) => {}
                _ => return Stood::NameMoved(path.clone()),
            }
        }
        if heard.content || heard.unknown {
            match glance(tracked(scratch, &self.index, self.judged_by, None)) {
                Ok(now) if now == self.seen => {}
                Ok(now) if now.has_names_of(&self.seen) => grew = true,
                _ => return Stood::NameMoved(Vec::new()),
            }
        }
        if grew { Stood::FilesGrew } else { Stood::Still }
    }

    /// The first of these names that travels, if something has it.
    fn travelling(&self, scratch: &ScratchRepo, names: &BTreeSet<(Vec<u8>, bool)>) -> Option<Vec<u8>> {
        if names.is_empty() {
            return None;
        }
        // Git's library is for one thread alone.
        let repo = crate::snapshot::checkout::open::library(&scratch.work_tree).ok();
        let lists = IgnoreLists::default();
        let is_ignored =
            |path: &[u8]| repo.as_ref().is_some_and(|repo| lists.contains(repo, &scratch.files, path_of(path)));
        let travels = |(path, is_folder): &&(Vec<u8>, bool)| self.would_travel(&is_ignored, path, *is_folder);
        names.iter().find(travels).map(|(path, _)| path.clone())
    }

    /// Whether git knows this name, or does not ignore it.
    fn would_travel(&self, is_ignored: &dyn Fn(&[u8]) -> bool, path: &[u8], is_folder: bool) -> bool {
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        if name == b".git" || name.starts_with(CAPTURE.as_bytes()) {
            return false;
        }
        let first = self.index.partition_point(|entry| &*entry.path < path);
        let below = |entry: &Entry| entry.path.strip_prefix(path).is_some_and(|rest| rest.first() == Some(&b'/'));
        let is_known =
            self.index.get(first..).unwrap_or_default().iter().take(2).any(|entry| entry.path == path || below(entry));
        let named = if is_folder { [path, b"/"].concat() } else { path.to_vec() };
        is_known || self.read.contains_key(path) || !is_ignored(&named)
    }
}
