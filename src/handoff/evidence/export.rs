//! Putting down what strangers have named, in a folder outside of every sandbox.
//!
//! Invariants: each part of a path goes through [`outside_name`], and no two of
//! them become the same; nothing is written over, or through a link; all of it is
//! searched for what git would obey, as a workspace is, before it is in its place.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::disk::named::Named;
use crate::disk::scratch::Scratch;
use crate::error::{Kind, kind_of, policy, usage};
use crate::identity::outside_name;
use crate::ui::{Ui, counted};
use crate::workspace::{self, AuditedRun};

/// What a folder is called in which things lie until they are in their place.
const DRAFT: &str = ".envctl-draft-";

/// Names that are told one by one.
const MOST_TOLD: usize = 20;

/// A folder of the developer's that is being filled.
pub(crate) struct ExportFolder<'a> {
    ui: &'a Ui,
    output: PathBuf,
    draft: Scratch,
    // What the draft is reached by: it goes last.
    folder: Named,
    names: Names,
}

impl<'a> ExportFolder<'a> {
    /// Begins to fill a folder that is missing or empty.
    ///
    /// # Errors
    /// [`crate::error::Kind::Usage`] when there is something in it.
    pub(crate) fn begin(ui: &'a Ui, output: &Path) -> Result<Self> {
        must_be_empty(output)?;
        let folder = Named::create(output)?;
        let draft = Scratch::create_in(&folder.path(), DRAFT)?;
        Ok(ExportFolder { ui, output: output.to_owned(), folder, draft, names: Names::default() })
    }

    /// Puts down what is at a path; the bytes.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub(crate) fn put(&mut self, path: &Path, content: &mut dyn Read) -> Result<u64> {
        let place = self.names.place(path);
        let shown = self.output.join(&place);
        let context = || format!("cannot write {}", shown.display());
        let place = self.draft.path().join(place);
        fs::create_dir_all(place.parent().unwrap_or(self.draft.path())).with_context(context)?;
        let mut target = OpenOptions::new().write(true).create_new(true).open(&place).with_context(context)?;
        std::io::copy(content, &mut target).with_context(context)
    }

    /// Looks at all of it, moves it to its place and tells what is called
    /// otherwise there.
    ///
    /// # Errors
    /// When it cannot be looked at, or something has appeared in the folder.
    pub(crate) fn finish(self) -> Result<()> {
        search(self.ui, self.draft.path())?;
        for entry in fs::read_dir(self.draft.path())? {
            let entry = entry?;
            let place = self.folder.path().join(entry.file_name());
            let flags = rustix::fs::RenameFlags::NOREPLACE;
            rustix::fs::renameat_with(rustix::fs::CWD, entry.path(), rustix::fs::CWD, &place, flags)
                .or_else(|error| match error {
                    // A file system that knows no such rename: what is there stays there.
                    rustix::io::Errno::INVAL if place.symlink_metadata().is_err() => {
                        rustix::fs::rename(entry.path(), &place)
                    }
                    other => Err(other),
                })
                .with_context(|| format!("cannot write {}", self.output.join(entry.file_name()).display()))?;
        }
        tell(self.ui, &self.names.renamed);
        Ok(())
    }
}

/// Tells which names were replaced.
pub(crate) fn tell(ui: &Ui, renamed: &[(String, String)]) {
    for (name, chosen) in renamed.iter().take(MOST_TOLD) {
        ui.status("Renamed", &format!("{name} is {chosen} outside: its own name could be obeyed there"));
    }
    if let Some(more) = renamed.len().checked_sub(MOST_TOLD).filter(|more| *more > 0) {
        ui.status("Renamed", &counted(more as u64, "other name", "other names"));
    }
}

/// Looks for what git would obey in a folder that is not in its place yet, and
/// puts it out of the way.
///
/// # Errors
/// [`crate::error::Kind::Policy`] for what cannot be looked at.
pub(crate) fn search(ui: &Ui, folder: &Path) -> Result<()> {
    // However old it is.
    let found = workspace::audit(folder, AuditedRun::default())?;
    if let Some(unseen) = found.unseen.first() {
        return Err(policy(format!("git may obey {}: {}", unseen.path.display(), unseen.why)).into());
    }
    ui.warn_each(
        found
            .renamed
            .iter()
            .map(|one| format!("{} is renamed, because git would obey it: {}", one.path.display(), one.why)),
    );
    Ok(())
}

/// # Errors
/// [`crate::error::Kind::Usage`] when there is something in the folder, it is
/// none, or a link of a checkout leads to it.
pub(crate) fn must_be_empty(output: &Path) -> Result<()> {
    if let Err(error) = Named::open(output)
        && kind_of(&error) == Kind::Usage
    {
        return Err(error);
    }
    let is_file = output.symlink_metadata().is_ok_and(|meta| !meta.is_dir());
    // What a command left that was killed goes with the next one.
    let is_draft = |entry: &fs::DirEntry| entry.file_name().as_encoded_bytes().starts_with(DRAFT.as_bytes());
    if is_file || fs::read_dir(output).is_ok_and(|entries| entries.flatten().any(|entry| !is_draft(&entry))) {
        return Err(usage(format!("{} is not an empty folder", output.display()))
            .hint("name a folder that is empty, or not there yet: --output DIR")
            .into());
    }
    Ok(())
}

/// Where paths of a stranger's lie outside.
#[derive(Debug, Default)]
struct Names {
    /// By the path as it was.
    chosen: BTreeMap<PathBuf, PathBuf>,
    taken: BTreeSet<PathBuf>,
    /// What is called otherwise, in words.
    renamed: Vec<(String, String)>,
}

impl Names {
    /// The place of a path; each part that was seen before has its own again.
    fn place(&mut self, path: &Path) -> PathBuf {
        let (mut was, mut is) = (PathBuf::new(), PathBuf::new());
        for part in path {
            was.push(part);
            if let Some(known) = self.chosen.get(&was) {
                is.clone_from(known);
                continue;
            }
            let name = outside_name(part.as_encoded_bytes());
            let numbered = |n: usize| is.join(if n == 1 { name.clone() } else { format!("{name}-{n}") });
            let free = (1..).map(numbered).find(|place| !self.taken.contains(place));
            let place = free.unwrap_or_else(|| is.join(&name));
            if place.file_name() != Some(part) {
                self.renamed.push((was.display().to_string(), place.display().to_string()));
            }
            self.taken.insert(place.clone());
            self.chosen.insert(was.clone(), place.clone());
            is = place;
        }
        is
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn no_two_paths_become_one() {
        let mut names = Names::default();
        let mut place = |path: &str| names.place(Path::new(path)).display().to_string();
        assert_eq!(place("a/b"), "a/b");
        assert_eq!(place(".x/b"), "artifact-.x/b");
        assert_eq!(place("artifact-.x/b"), "artifact-.x-2/b");
        assert_eq!(place(".x/c"), "artifact-.x/c");
        assert_eq!(place("c/HEAD"), "c/artifact-HEAD");
        assert_eq!(names.renamed.len(), 3, "{:?}", names.renamed);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        #[test]
        fn a_path_stays_below_and_no_part_of_it_is_obeyed(
            paths in proptest::collection::btree_set(r"(\.git|\.GIT|git~1|HEAD|\.\.|\.|a|artifact-HEAD|[^/\x00]{0,6})(/(\.g\u{200c}it|config|-x|[^/\x00]{1,4})){0,3}", 1..6),
        ) {
            let mut names = Names::default();
            let paths: BTreeSet<PathBuf> = paths.iter().map(|path| Path::new("x").join(path)).collect();
            let places: BTreeSet<PathBuf> = paths.iter().map(|path| names.place(path)).collect();
            prop_assert!(places.len() <= paths.len());
            for place in &places {
                for part in place {
                    let part = part.to_str().unwrap();
                    prop_assert_eq!(outside_name(part.as_bytes()), part, "it is a name of its own");
                }
            }
        }
    }
}
