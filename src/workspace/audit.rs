//! Looking for what a sandboxed program may have left for git on the host to
//! run.
//!
//! The workspace's own `.git` is protected while a runtime has it: its
//! configuration, hooks and pointers cannot be changed from inside. Every
//! other git folder in the workspace can: a nested repository, a submodule's, a
//! bare one that git takes for a repository when somebody works in it. What
//! such a folder had written during the run and that names a program is renamed,
//! so that git no longer reads it and nothing is lost.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::fs::{AtFlags, CWD, Dir, FileType, MemfdFlags, Mode, OFlags, RenameFlags};

/// What is appended to a name so that git does not read it any more.
const SUFFIX: &str = ".envctl-quarantine";

/// Larger files of configuration are taken for hostile.
const MAX_CONFIG: u64 = 1 << 20;

/// What names no program: sections (`gc.`), keys, and beginnings of keys (`*`).
/// `remote.*.url` is that key of every remote.
const HARMLESS: &[&str] = &[
    "user.name",
    "user.email",
    "user.useconfigonly",
    "init.",
    "gc.",
    "pack.",
    "index.",
    "fetch.",
    "pull.",
    "push.",
    "tag.sort",
    "status.",
    "color.",
    "advice.",
    "branch.",
    "feature.",
    "column.",
    "rerere.",
    "log.",
    "stash.",
    "receive.deny*",
    "transfer.",
    "extensions.objectformat",
    "extensions.partialclone",
    "extensions.refstorage",
    "extensions.noop",
    "extensions.preciousobjects",
    "remote.*.url",
    "remote.*.pushurl",
    "remote.*.fetch",
    "remote.*.push",
    "remote.*.tagopt",
    "remote.*.mirror",
    "remote.*.prune",
    "remote.*.promisor",
    "remote.*.partialclonefilter",
    "submodule.active",
    "submodule.*.url",
    "submodule.*.active",
    "submodule.*.branch",
    "diff.renames",
    "diff.algorithm",
    "merge.conflictstyle",
    "merge.ff",
    "rebase.autosquash",
    "rebase.autostash",
    "commit.template",
    "lfs.repositoryformatversion",
    "core.repositoryformatversion",
    "core.filemode",
    "core.bare",
    "core.logallrefupdates",
    "core.ignorecase",
    "core.precomposeunicode",
    "core.symlinks",
    "core.autocrlf",
    "core.eol",
    "core.safecrlf",
    "core.quotepath",
    "core.abbrev",
    "core.compression",
    "core.loosecompression",
    "core.trustctime",
    "core.checkstat",
    "core.untrackedcache",
    "core.preloadindex",
    "core.sharedrepository",
    "core.sparsecheckout",
    "core.sparsecheckoutcone",
    "core.commentchar",
    "core.whitespace",
    "core.excludesfile",
    "core.attributesfile",
    "core.hidedotfiles",
    "core.protecthfs",
    "core.protectntfs",
    "core.multipackindex",
    "core.commitgraph",
];

/// Something that git on the host will not read any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    /// What it was called, relative to the workspace.
    pub path: PathBuf,
    /// Why.
    pub why: String,
}

/// Looks at every git folder below `workspace` but its own, and renames what
/// was written since `since` (seconds since 1970) and names a program.
///
/// # Errors
/// When something that should not be read by git cannot be renamed.
pub fn audit(workspace: &Path, since: i64) -> Result<Vec<Quarantined>> {
    let root = rustix::fs::openat(CWD, workspace, folder_flags(), Mode::empty())
        .with_context(|| format!("cannot open {}", workspace.display()))?;
    let mut audit = Audit { since, found: Vec::new() };
    let mut pending: Vec<(OwnedFd, PathBuf)> = vec![(root, PathBuf::new())];
    while let Some((folder, path)) = pending.pop() {
        let Ok(listing) = Listing::of(&folder) else { continue };
        if listing.is_git && path != Path::new(".git") {
            audit.git_folder(folder.as_fd(), &path, workspace)?;
        }
        let own = path == Path::new(".git");
        for name in listing.folders {
            // Objects are data, and there are many of them; of the workspace's
            // own, only the git folders of submodules and worktrees are others.
            let skipped = listing.is_git && (name == "objects" || (own && name != "modules" && name != "worktrees"));
            if !skipped && let Ok(opened) = rustix::fs::openat(&folder, &name, folder_flags(), Mode::empty()) {
                pending.push((opened, path.join(&name)));
            }
        }
    }
    audit.found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(audit.found)
}

fn folder_flags() -> OFlags {
    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC
}

/// What is directly in a folder, as far as it matters.
struct Listing {
    folders: Vec<std::ffi::OsString>,
    /// Git would take it for a repository.
    is_git: bool,
}

impl Listing {
    fn of(folder: &OwnedFd) -> Result<Self> {
        let (mut folders, mut signs) = (Vec::new(), 0);
        for entry in Dir::read_from(folder)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            let name = OsStr::from_bytes(name);
            let kind = match entry.file_type() {
                FileType::Unknown => {
                    let stat = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
                    FileType::from_raw_mode(stat.st_mode)
                }
                kind => kind,
            };
            // `objects` and `refs` may be links, or lie behind `commondir`.
            signs |= match name.as_bytes() {
                b"HEAD" => 1,
                b"commondir" => 6,
                b"objects" => 2,
                b"refs" => 4,
                _ => 0,
            };
            if kind == FileType::Directory {
                folders.push(name.to_owned());
            }
        }
        Ok(Listing { folders, is_git: signs == 7 })
    }
}

struct Audit {
    since: i64,
    found: Vec<Quarantined>,
}

impl Audit {
    fn git_folder(&mut self, folder: BorrowedFd<'_>, path: &Path, workspace: &Path) -> Result<()> {
        for name in ["config", "config.worktree"] {
            if self.is_new(folder, name)
                && let Some(why) = bad_config(folder, name)
            {
                self.quarantine(folder, path, name, why)?;
            }
        }
        if self.is_new(folder, "commondir") && !leads_to_own(folder, path, workspace) {
            self.quarantine(folder, path, "commondir", "it leads to another configuration".into())?;
        }
        if let Some(hook) = self.new_hook(folder) {
            self.quarantine(folder, path, "hooks", format!("{hook} would be run"))?;
        }
        Ok(())
    }

    /// Whether something is there that has changed since.
    fn is_new(&self, folder: BorrowedFd<'_>, name: &str) -> bool {
        rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|stat| stat.st_ctime >= self.since)
    }

    /// The first hook that git would run and that has changed since.
    fn new_hook(&self, folder: BorrowedFd<'_>) -> Option<String> {
        let is_link = |stat: rustix::fs::Stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink;
        if rustix::fs::statat(folder, "hooks", AtFlags::SYMLINK_NOFOLLOW).is_ok_and(is_link) {
            return self.is_new(folder, "hooks").then(|| "what the link hooks leads to".into());
        }
        let hooks = rustix::fs::openat(folder, "hooks", folder_flags(), Mode::empty()).ok()?;
        for entry in Dir::read_from(&hooks).ok()?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let plain = !matches!(name.as_str(), "." | "..") && !name.ends_with(".sample");
            if plain && self.is_new(hooks.as_fd(), &name) {
                return Some(format!("hooks/{name}"));
            }
        }
        None
    }

    fn quarantine(&mut self, folder: BorrowedFd<'_>, path: &Path, name: &str, why: String) -> Result<()> {
        let shown = path.join(name);
        for n in 0..100 {
            let target = if n == 0 { format!("{name}{SUFFIX}") } else { format!("{name}{SUFFIX}.{n}") };
            match rustix::fs::renameat_with(folder, name, folder, &target, RenameFlags::NOREPLACE) {
                Ok(()) => {
                    self.found.push(Quarantined { path: shown, why });
                    return Ok(());
                }
                Err(rustix::io::Errno::EXIST) => {}
                Err(error) => return Err(error).with_context(|| format!("cannot rename {}", shown.display())),
            }
        }
        anyhow::bail!("there is no free name for {}", shown.display())
    }
}

/// Why git should not read this configuration; `None` where it may.
fn bad_config(folder: BorrowedFd<'_>, name: &str) -> Option<String> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let Ok(file) = rustix::fs::openat(folder, name, flags, Mode::empty()) else {
        return Some("it is no plain file".into());
    };
    let mut bytes = Vec::new();
    if std::fs::File::from(file).take(MAX_CONFIG + 1).read_to_end(&mut bytes).is_err()
        || bytes.len() as u64 > MAX_CONFIG
    {
        return Some("it cannot be read".into());
    }
    // Read from a copy that nobody can change meanwhile.
    let entries = (|| -> Result<Vec<String>> {
        let copy = rustix::fs::memfd_create("config", MemfdFlags::CLOEXEC)?;
        std::fs::File::from(copy.try_clone()?).write_all(&bytes)?;
        let config = git2::Config::open(Path::new(&format!("/proc/self/fd/{}", copy.as_raw_fd())))?;
        let mut names = Vec::new();
        config.entries(None)?.for_each(|entry| names.push(String::from_utf8_lossy(entry.name_bytes()).into_owned()))?;
        Ok(names)
    })();
    let Ok(entries) = entries else { return Some("git cannot read it".into()) };
    entries.into_iter().find(|key| !is_harmless(key)).map(|key| format!("it sets {key}"))
}

/// `key` as git normalises it: section and name in small letters.
fn is_harmless(key: &str) -> bool {
    // `section.sub.section.name` is known as `section.*.name`.
    let (section, rest) = key.split_once('.').unwrap_or((key, ""));
    let plain = match rest.rsplit_once('.') {
        Some((_, name)) => format!("{section}.*.{name}"),
        None => key.to_owned(),
    };
    HARMLESS.iter().any(|known| match (known.strip_suffix('.'), known.strip_suffix('*')) {
        (Some(whole), _) => whole == section,
        (_, Some(beginning)) => plain.starts_with(beginning),
        _ => *known == plain,
    })
}

/// Whether a `commondir` file names the workspace's own git folder: such is a
/// worktree that was added to it.
fn leads_to_own(folder: BorrowedFd<'_>, path: &Path, workspace: &Path) -> bool {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut text = String::new();
    let read = rustix::fs::openat(folder, "commondir", flags, Mode::empty())
        .ok()
        .and_then(|file| std::fs::File::from(file).take(4096).read_to_string(&mut text).ok());
    let own = std::fs::canonicalize(workspace.join(".git"));
    let named = std::fs::canonicalize(workspace.join(path).join(text.trim_end_matches('\n')));
    read.is_some() && matches!((own, named), (Ok(own), Ok(named)) if own == named)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn nested(root: &Path, path: &str) -> PathBuf {
        let options = git2::RepositoryInitOptions::new();
        let repo = git2::Repository::init_opts(root.join(path), &options).unwrap();
        repo.path().to_owned()
    }

    fn found(root: &Path) -> Vec<String> {
        audit(root, 0).unwrap().into_iter().map(|one| one.path.display().to_string()).collect()
    }

    #[test]
    fn plain_nested_repositories_stay_as_they_are() {
        let dir = tempfile::tempdir().unwrap();
        nested(dir.path(), ".");
        let git = nested(dir.path(), "vendor/lib");
        fs::write(git.join("hooks").join("pre-commit.sample"), "#!/bin/sh\n").unwrap();
        let repo = git2::Repository::open(dir.path().join("vendor/lib")).unwrap();
        repo.remote("origin", "https://git.example/a.git").unwrap();
        repo.config().unwrap().set_str("branch.main.remote", "origin").unwrap();
        assert_eq!(found(dir.path()), Vec::<String>::new());
    }

    #[test]
    fn case_40_what_names_a_program_is_renamed() {
        let dir = tempfile::tempdir().unwrap();
        let own = nested(dir.path(), ".");
        fs::write(own.join("hooks/post-checkout"), "the developer's own").unwrap();
        let set = |git: &Path, key: &str, value: &str| {
            git2::Config::open(&git.join("config")).unwrap().set_str(key, value).unwrap();
        };
        for (at, key) in [
            ("a", "core.fsmonitor"),
            ("b", "core.hooksPath"),
            ("c", "filter.x.clean"),
            ("d", "alias.st"),
            ("e", "include.path"),
            ("f", "diff.x.textconv"),
            ("g", "core.sshCommand"),
            ("h", "remote.origin.uploadpack"),
            ("i", "submodule.x.update"),
        ] {
            set(&nested(dir.path(), at), key, "/tmp/evil");
        }
        let hook = nested(dir.path(), "hook");
        fs::write(hook.join("hooks/post-checkout"), "#!/bin/sh\n").unwrap();
        let linked = nested(dir.path(), "linked");
        fs::remove_file(linked.join("config")).unwrap();
        std::os::unix::fs::symlink("/etc/hostname", linked.join("config")).unwrap();
        let bare = dir.path().join("deep/er/bare");
        git2::Repository::init_bare(&bare).unwrap();
        set(&bare, "core.fsmonitor", "evil");
        let common = nested(dir.path(), "common");
        fs::write(common.join("commondir"), "../../deep/er/bare\n").unwrap();
        let mut expected: Vec<String> = ('a'..='i').map(|name| format!("{name}/.git/config")).collect();
        expected.extend(
            ["common/.git/commondir", "deep/er/bare/config", "hook/.git/hooks", "linked/.git/config"]
                .map(str::to_owned),
        );
        expected.sort();
        assert_eq!(found(dir.path()), expected);
        assert!(dir.path().join("a/.git/config.envctl-quarantine").exists());
        assert_eq!(found(dir.path()), Vec::<String>::new(), "once is enough");
    }

    #[test]
    fn what_was_there_before_is_the_developers() {
        let dir = tempfile::tempdir().unwrap();
        let git = nested(dir.path(), "mine");
        fs::write(git.join("hooks/pre-push"), "x").unwrap();
        let later = fs::metadata(&git).unwrap();
        let later = std::os::unix::fs::MetadataExt::ctime(&later) + 10;
        assert!(audit(dir.path(), later).unwrap().is_empty());
    }

    #[test]
    fn a_worktree_of_the_workspace_is_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let own = nested(dir.path(), ".");
        let git = own.join("worktrees/w");
        fs::create_dir_all(&git).unwrap();
        fs::write(git.join("HEAD"), "ref: refs/heads/w\n").unwrap();
        fs::write(git.join("commondir"), "../..\n").unwrap();
        assert_eq!(found(dir.path()), Vec::<String>::new());
    }
}
