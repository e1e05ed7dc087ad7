//! Which files of a workspace differ from what entries were made from, and what has to
//! be built again for each: tools see only what they have noted.
//!
//! When in doubt a file differs. What is built once more costs time; what is not built
//! is a wrong result.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use crate::cache::{Habits, Mark, Sources};
use crate::workspace::{Files, Time, WorkspaceFile};

/// The commit that was checked out, among sources.
pub(super) const HEAD: &[u8] = b".git/HEAD";

/// Files by which a tool learns what there is to build, and with what settings: it
/// reads others meanwhile, and does not note which.
const LISTS: [&[u8]; 2] = [b"CMakeLists.txt", b"meson.build"];

/// Ends of what is included by name: a new one may be found instead of another.
const HEADERS: [&[u8]; 13] =
    [b".h", b".hh", b".hpp", b".hxx", b".h++", b".H", b".inc", b".inl", b".ipp", b".tpp", b".tcc", b".def", b".cuh"];

/// Ends of what is compiled and nothing else.
const CODE: [&[u8]; 17] = [
    b".c", b".cc", b".cpp", b".cxx", b".c++", b".m", b".mm", b".s", b".S", b".asm", b".f", b".f90", b".cu", b".rs",
    b".go", b".java", b".ts",
];

/// Ends of what says how something is built.
const RECIPES: [&[u8]; 5] = [b".mk", b".mak", b".am", b"configure", b"configure.ac"];

/// Which notes tsc keeps of what it has written.
const NOTES: &[u8] = b".tsbuildinfo";

/// What an entry was made from.
#[derive(Debug, Default)]
pub(super) struct Origins {
    pub(super) sources: Sources,
    /// Files that git ignores, as they were on this machine.
    pub(super) beside: Sources,
    pub(super) habits: Habits,
}

/// The same of a workspace, as it is now.
pub(super) fn origins_of(files: &Files) -> Result<(Sources, Sources)> {
    let (mut sources, mut beside) = (Sources::default(), Sources::default());
    for (at, file) in files.iter().enumerate() {
        if !file.source {
            beside.insert(file.path.to_vec(), stamp(files, at));
        } else if let Some(mark) = mark(files, at)? {
            sources.insert(file.path.to_vec(), mark);
        }
    }
    if let Some(head) = head(files) {
        sources.insert(HEAD.to_vec(), head);
    }
    Ok((sources, beside))
}

/// The mark of the commit that is checked out.
pub(super) fn head(files: &Files) -> Option<Mark> {
    files.head().map(|head| Sources::mark(0, 0, head.as_bytes()))
}

pub(super) fn mark(files: &Files, at: usize) -> Result<Option<Mark>> {
    let content = files.content(at)?;
    Ok(content.map(|(kind, size, content)| Sources::mark(kind, size, content.as_bytes())))
}

fn stamp(files: &Files, at: usize) -> Mark {
    let (kind, size, times) = files.stamp(at);
    Sources::mark(kind, size, &times)
}

/// Notes that tsc keeps outside of an entry's places about what it has written into
/// them: what they speak of goes with every run, and the notes stay.
pub(super) fn stray_notes<'a>(paths: impl Iterator<Item = &'a [u8]> + Clone, places: &[&str]) -> Option<String> {
    let folder = |path: &[u8]| path.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1);
    let configures = |path: &[u8], beside: &[u8]| {
        let at = folder(path);
        path[..at] == *beside && path[at..].starts_with(b"tsconfig") && path.ends_with(b".json")
    };
    let strays = paths.clone().filter(|path| {
        let above = &path[..folder(path)];
        let within = |place: &&str| place.as_bytes().starts_with(above);
        let packages = path.split(|byte| *byte == b'/').any(|part| part == b"node_modules");
        // What another package notes beside its own settings is about that one.
        path.ends_with(NOTES)
            && !packages
            && (places.iter().any(within) || !paths.clone().any(|other| configures(other, above)))
    });
    strays.map(|path| String::from_utf8_lossy(path).into_owned()).min()
}

/// For each file whether it has to be newer than everything that was built. Of those
/// that are newer than `base` nobody asks.
pub(super) fn differing(files: &Files, made: &[Origins], base: Time) -> Result<Vec<bool>> {
    let all: Vec<WorkspaceFile<'_>> = files.iter().collect();
    let mut seen = Unlike { differs: vec![false; all.len()], ..Unlike::default() };
    let lists = all.iter().any(|file| file.source && file.time < base && LISTS.contains(&name(file.path)));
    for (at, file) in all.iter().enumerate() {
        if !file.source {
            if file.time >= base && !is_header(file.path) {
                continue;
            }
            let known = made.iter().all(|made| made.beside.get(file.path) == Some(&stamp(files, at)));
            let come = || made.iter().all(|made| made.sources.get(file.path).is_none());
            seen.differs[at] = !known;
            seen.note(made, file, !known && come());
            continue;
        }
        let come = made.iter().any(|made| made.sources.get(file.path).is_none());
        let speaks = file.link || is_header(file.path) || is_recipe(file.path) || (lists && !is_code(file.path));
        if come || file.time < base || speaks {
            let mark = mark(files, at)?;
            seen.differs[at] = made.iter().any(|made| made.sources.get(file.path) != mark.as_ref());
        }
        if seen.differs[at] {
            seen.lists |= come || !is_code(file.path);
            seen.note(made, file, come);
        }
    }
    seen.spread(files, &all);
    Ok(seen.differs)
}

/// What differs, and what follows from it.
#[derive(Default)]
struct Unlike {
    differs: Vec<bool>,
    /// Tools have to look anew at what there is.
    lists: bool,
    /// The tool does not know what is built from what.
    everything: bool,
    /// Names of headers that have come: others of the name are not found any more.
    shadows: BTreeSet<Vec<u8>>,
}

impl Unlike {
    fn note(&mut self, made: &[Origins], file: &WorkspaceFile<'_>, come: bool) {
        if is_header(file.path) {
            self.everything |= made.iter().any(|made| made.habits.forgets_includes());
            if come {
                self.shadows.insert(name(file.path).to_vec());
            }
        }
        self.everything |= is_recipe(file.path) && made.iter().any(|made| made.habits.forgets_commands());
    }

    fn spread(&mut self, files: &Files, all: &[WorkspaceFile<'_>]) {
        for (at, file) in all.iter().enumerate().filter(|(_, file)| file.source) {
            let name = name(file.path);
            self.differs[at] |= self.everything || (self.lists && LISTS.contains(&name)) || self.shadows.contains(name);
        }
        self.follow(files, all);
    }

    /// Tools look at what a link leads to.
    fn follow(&mut self, files: &Files, all: &[WorkspaceFile<'_>]) {
        let links = |differs: &[bool]| all.iter().enumerate().filter(|(at, file)| file.link && differs[*at]).count();
        if links(&self.differs) == 0 {
            return;
        }
        let places: BTreeMap<&[u8], usize> = all.iter().enumerate().map(|(at, file)| (file.path, at)).collect();
        let mut pending: Vec<usize> = (0..all.len()).filter(|at| all[*at].link && self.differs[*at]).collect();
        let mut followed: BTreeSet<usize> = pending.iter().copied().collect();
        while let Some(at) = pending.pop() {
            let Some(target) = files.target(at).and_then(|target| resolved(all[at].path, &target)) else { continue };
            let inside = [&target[..], b"/"].concat();
            let below = places.range(&inside[..]..).take_while(|(path, _)| path.starts_with(&inside));
            for (_, at) in places.get_key_value(&target[..]).into_iter().chain(below) {
                self.differs[*at] = true;
                if all[*at].link && followed.insert(*at) {
                    pending.push(*at);
                }
            }
        }
    }
}

/// Where a link in the workspace leads; `None` out of it.
fn resolved(link: &[u8], target: &[u8]) -> Option<Vec<u8>> {
    if target.starts_with(b"/") {
        return None;
    }
    let mut parts: Vec<&[u8]> = link.split(|byte| *byte == b'/').collect();
    parts.pop();
    for part in target.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join(&b'/'))
}

fn name(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or_default()
}

fn ends(path: &[u8], all: &[&[u8]]) -> bool {
    all.iter().any(|end| path.ends_with(end))
}

fn is_header(path: &[u8]) -> bool {
    ends(path, &HEADERS)
}

fn is_code(path: &[u8]) -> bool {
    ends(path, &CODE) || is_header(path)
}

fn is_recipe(path: &[u8]) -> bool {
    let name = name(path);
    ends(name, &RECIPES) || name.starts_with(b"Makefile") || matches!(name, b"makefile" | b"GNUmakefile")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_leads_where_a_tool_would_look() {
        let lead = |link: &str, target: &str| resolved(link.as_bytes(), target.as_bytes());
        let to = |path: &str| Some(path.as_bytes().to_vec());
        assert_eq!(lead("x.h", "x1.h"), to("x1.h"));
        assert_eq!(lead("a/b/x", "../c/./y"), to("a/c/y"));
        assert_eq!(lead("a/cur", "v1/"), to("a/v1"));
        assert_eq!((lead("a", "../x"), lead("a", "/usr/x")), (None, None));
    }

    #[test]
    fn notes_of_tsc_are_about_the_folder_beside_them() {
        let stray = |paths: &[&str], places: &[&str]| {
            stray_notes(paths.iter().map(|path| path.as_bytes()).collect::<Vec<_>>().into_iter(), places)
        };
        assert_eq!(stray(&["tsconfig.json", "tsconfig.tsbuildinfo"], &["dist"]).unwrap(), "tsconfig.tsbuildinfo");
        assert_eq!(stray(&["web/tsconfig.json", "web/tsconfig.tsbuildinfo"], &["dist"]), None);
        assert_eq!(
            stray(&["web/tsconfig.json", "web/a.tsbuildinfo"], &["api/dist", "web/dist"]).unwrap(),
            "web/a.tsbuildinfo"
        );
        assert_eq!(stray(&["tsconfig.json", "notes/a.tsbuildinfo"], &["dist"]).unwrap(), "notes/a.tsbuildinfo");
        assert_eq!(stray(&["node_modules/x/a.tsbuildinfo"], &["dist"]), None);
    }
}
