//! What `[artifacts] collect` names: files below the checkout's root, ignored
//! ones too. The walk follows no link, enters no `.git`, and is bounded, because
//! patterns and folders come from a project.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use glob::{MatchOptions, Pattern};
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags};

use super::artifacts::{Evidence, EvidencePath, Maker};
use super::export::ExportFolder;
use crate::config::Collect;
use crate::error::usage;
use crate::handoff::words::by_reason;
use crate::identity::ArtifactType;
use crate::ui::Ui;

/// Files that one publish attaches.
const MOST_FILES: usize = 500;

/// Their bytes together.
const MOST_BYTES: u64 = 256 << 20;

/// Folders and files that are looked at.
const MOST_ENTRIES: usize = 1_000_000;

const DEPTH: usize = 64;

const MATCHING: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: false };

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Collected {
    /// In path order.
    pub(crate) files: Vec<Evidence>,
    /// What was left out and why, for people.
    pub(crate) left_out: Vec<String>,
}

/// Since when a maker was at work, by the clock of the files: seconds since 1970, and
/// nanoseconds.
pub(crate) type Begun = (i64, u32);

/// Collects the files that a project's patterns name. The first pattern that
/// matches says what a file is. What was written before its maker had `begun` was made
/// by somebody else, whom nobody knows.
///
/// # Errors
/// When a folder on the way to a match cannot be read.
pub(crate) fn collect(root: &Path, wanted: &[Collect], maker: &Maker, begun: Option<Begun>) -> Result<Collected> {
    let mut collected = Collected::default();
    if wanted.is_empty() {
        return Ok(collected);
    }
    let rules: Vec<CollectRule> = wanted.iter().map(CollectRule::new).collect::<Result<_>>()?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let top = rustix::fs::openat(CWD, root, flags, Mode::empty())
        .with_context(|| format!("cannot open {}", root.display()))?;
    let mut walk = CollectWalk { rules: &rules, found: Vec::new(), entries: 0, cut: false };
    walk.folder(&top, Path::new(""), 0)?;
    if walk.cut {
        collected.left_out.push(format!("what lies deeper than {DEPTH} folders, or behind {MOST_ENTRIES} entries"));
    }
    walk.found.sort();
    let (top, mut bytes, mut left) = (Arc::new(top), 0, Vec::new());
    for Match { path, size, artifact_type, written } in walk.found {
        if collected.files.len() == MOST_FILES || size > MOST_BYTES - bytes {
            let why = if collected.files.len() == MOST_FILES {
                format!("(no more than {MOST_FILES} files are taken)")
            } else {
                format!("(more than {} together)", crate::ui::human_bytes(MOST_BYTES))
            };
            left.push((path.display().to_string(), why));
            continue;
        }
        bytes += size;
        let older = begun.is_some_and(|begun| written < begun);
        let maker = if older { Maker::default() } else { maker.clone() };
        collected.files.push(Evidence { place: EvidencePath::Below(top.clone(), path), artifact_type, maker });
    }
    collected.left_out.extend(by_reason(left));
    Ok(collected)
}

/// Copies files to a folder that is missing or empty: those of the checkout at
/// their paths from its root, others by their names. Returns the bytes.
///
/// # Errors
/// When the folder is not empty, or a file cannot be read or written.
pub(crate) fn copy(ui: &Ui, files: &[Evidence], output: &Path) -> Result<u64> {
    let mut outside = ExportFolder::begin(ui, output)?;
    let mut bytes = 0;
    for file in files {
        let path = match &file.place {
            EvidencePath::Below(_, path) => path,
            EvidencePath::Own(path) | EvidencePath::Chosen(path) => {
                Path::new(path.file_name().unwrap_or(path.as_os_str()))
            }
        };
        bytes += outside.put(path, &mut file.place.open()?)?;
    }
    outside.finish()?;
    Ok(bytes)
}

struct CollectRule {
    whole: Pattern,
    /// Patterns of the folders on the way, up to the first `**`.
    folders: Vec<Pattern>,
    /// Whether any folder below them may hold a match.
    deep: bool,
    artifact_type: ArtifactType,
}

impl CollectRule {
    fn new(collect: &Collect) -> Result<Self> {
        let pattern = |text: &str| {
            Pattern::new(text).map_err(|why| usage(format!("artifacts.collect: {:?}: {}", collect.path, why.msg)))
        };
        let parts: Vec<&str> = collect.path.split('/').collect();
        let deep = parts.iter().position(|part| *part == "**");
        let folders = &parts[..deep.unwrap_or(parts.len() - 1)];
        Ok(CollectRule {
            whole: pattern(&collect.path)?,
            folders: folders.iter().map(|part| pattern(part)).collect::<Result<_, _>>()?,
            deep: deep.is_some(),
            artifact_type: collect.artifact_type,
        })
    }

    /// Whether a match may lie below this folder.
    fn leads_into(&self, folder: &Path) -> bool {
        let depth = folder.components().count();
        let fits = folder
            .components()
            .zip(&self.folders)
            .all(|(part, pattern)| pattern.matches_path_with(Path::new(part.as_os_str()), MATCHING));
        fits && (self.deep || depth <= self.folders.len())
    }
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Match {
    path: PathBuf,
    size: u64,
    artifact_type: ArtifactType,
    written: Begun,
}

struct CollectWalk<'a> {
    rules: &'a [CollectRule],
    found: Vec<Match>,
    entries: usize,
    /// Not everything was looked at.
    cut: bool,
}

impl CollectWalk<'_> {
    fn folder(&mut self, dir: &OwnedFd, path: &Path, depth: usize) -> Result<()> {
        let context = || format!("cannot read {}", path.display());
        for entry in Dir::read_from(dir).with_context(context)? {
            let entry = entry.with_context(context)?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") || name.to_bytes().eq_ignore_ascii_case(b".git") {
                continue;
            }
            self.entries += 1;
            if self.entries > MOST_ENTRIES {
                self.cut = true;
                return Ok(());
            }
            let place = path.join(OsStr::from_bytes(name.to_bytes()));
            // What is gone again, or is not ours to see, is no match.
            let Ok(stat) = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::RegularFile => {
                    let rule = self.rules.iter().find(|rule| rule.whole.matches_path_with(&place, MATCHING));
                    let size = u64::try_from(stat.st_size).unwrap_or(u64::MAX);
                    let written = (stat.st_mtime, u32::try_from(stat.st_mtime_nsec).unwrap_or(0));
                    let found =
                        |rule: &CollectRule| Match { path: place, size, artifact_type: rule.artifact_type, written };
                    self.found.extend(rule.map(found));
                }
                FileType::Directory if self.rules.iter().any(|rule| rule.leads_into(&place)) => {
                    if depth == DEPTH {
                        self.cut = true;
                        continue;
                    }
                    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
                    if let Ok(inner) = rustix::fs::openat2(dir.as_fd(), name, flags, Mode::empty(), resolve) {
                        self.folder(&inner, &place, depth + 1)?;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn found(root: &Path, patterns: &[&str]) -> Vec<String> {
        let wanted: Vec<Collect> =
            patterns.iter().map(|path| Collect { path: (*path).into(), artifact_type: ArtifactType::Logs }).collect();
        let collected = collect(root, &wanted, &Maker::default(), None).unwrap();
        assert!(collected.left_out.is_empty(), "{:?}", collected.left_out);
        let path = |file: &Evidence| match &file.place {
            EvidencePath::Below(_, path) => path.display().to_string(),
            other => panic!("{other:?}"),
        };
        collected.files.iter().map(path).collect()
    }

    fn project() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for file in [
            "a.log",
            "reports/x.xml",
            "reports/deep/er/y.xml",
            "reports/z.txt",
            ".git/x.xml",
            "sub/.git/x.xml",
            "sub/b.log",
        ] {
            fs::create_dir_all(dir.path().join(file).parent().unwrap()).unwrap();
            fs::write(dir.path().join(file), file).unwrap();
        }
        dir
    }

    #[test]
    fn patterns_name_files_below_the_root() {
        let dir = project();
        assert_eq!(found(dir.path(), &["*.log"]), ["a.log"]);
        assert_eq!(found(dir.path(), &["**/*.log"]), ["a.log", "sub/b.log"]);
        assert_eq!(found(dir.path(), &["reports/**/*.xml"]), ["reports/deep/er/y.xml", "reports/x.xml"]);
        assert_eq!(found(dir.path(), &["reports/*.xml", "reports/*"]), ["reports/x.xml", "reports/z.txt"]);
        assert_eq!(found(dir.path(), &["reports/*/*/y.xml"]), ["reports/deep/er/y.xml"]);
        assert_eq!(found(dir.path(), &["reports", "nothing/*", "reports/"]), [""; 0]);
        assert_eq!(found(dir.path(), &["**/x.xml", "**/.git/*", ".git/*"]), ["reports/x.xml"], "never git's own files");
    }

    #[test]
    fn case_26_nothing_is_reached_through_a_link() {
        let dir = project();
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("secret.log"), "secret").unwrap();
        symlink(outside.path(), dir.path().join("out")).unwrap();
        symlink(outside.path().join("secret.log"), dir.path().join("link.log")).unwrap();
        assert_eq!(found(dir.path(), &["**/*.log"]), ["a.log", "sub/b.log"]);
        // A file that becomes a link after it was found.
        let wanted = [Collect { path: "a.log".into(), artifact_type: ArtifactType::Logs }];
        let collected = collect(dir.path(), &wanted, &Maker::default(), None).unwrap();
        fs::remove_file(dir.path().join("a.log")).unwrap();
        symlink(outside.path().join("secret.log"), dir.path().join("a.log")).unwrap();
        assert!(collected.files[0].place.open().is_err());
    }

    #[test]
    fn what_was_there_before_has_no_maker() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("old.log"), "x").unwrap();
        let old = fs::File::open(dir.path().join("old.log")).unwrap();
        old.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1000)).unwrap();
        fs::write(dir.path().join("new.log"), "x").unwrap();
        let wanted = [Collect { path: "*.log".into(), artifact_type: ArtifactType::Logs }];
        let maker = Maker { command: Some("make".into()), exit_code: Some(1), ..Maker::default() };
        let makers = |begun| {
            let found = collect(dir.path(), &wanted, &maker, begun).unwrap().files;
            found.into_iter().map(|file| file.maker.command).collect::<Vec<_>>()
        };
        assert_eq!(makers(Some((2000, 0))), [Some("make".to_owned()), None]);
        assert_eq!(makers(Some((1000, 0))), makers(None));
    }

    #[test]
    fn there_is_an_end_to_it() {
        let dir = tempfile::tempdir().unwrap();
        for n in 0..MOST_FILES + 3 {
            fs::write(dir.path().join(format!("{n:04}.log")), "x").unwrap();
        }
        // Not as large on disk as it says.
        fs::File::create(dir.path().join("0000.log")).unwrap().set_len(MOST_BYTES + 1).unwrap();
        let wanted = [Collect { path: "*.log".into(), artifact_type: ArtifactType::Logs }];
        let collected = collect(dir.path(), &wanted, &Maker::default(), None).unwrap();
        assert_eq!(collected.files.len(), MOST_FILES);
        // However many there are, each reason is one line.
        assert_eq!(collected.left_out.len(), 2, "{:?}", collected.left_out);
        assert!(
            collected.left_out[1].starts_with("2 files, 0501.log, 0502.log (no more than"),
            "{:?}",
            collected.left_out
        );
        assert!(collected.left_out[0].starts_with("0000.log (more than"), "{:?}", collected.left_out);
    }
}
