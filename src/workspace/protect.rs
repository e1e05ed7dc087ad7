//! The configuration of a workspace, out of reach of what runs in it.
//!
//! Git on the host writes a configuration anew and renames it into its place. A
//! mount over the file in a runtime does not survive that: from then on a
//! program inside could write what git on the host obeys. So the file lies in a
//! folder of its own, which is mounted read-only as a whole, and `.git/config`
//! is a link to it, which git follows before it renames anything.
//!
//! The settings that this adds keep git out of nested repositories, in which
//! anything may be written while a runtime lives.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::{Context, Result};

use crate::disk::beneath::Beneath;

/// Git reads no more of it, in bytes.
const MAX_HEAD: u64 = 4 << 10;

/// Where the configuration lies, from `.git`.
pub(super) const TARGET: &str = "envctl/config";

/// What `HEAD` said when the workspace was entered last, from `.git`.
pub(super) const HEAD: &str = "envctl/HEAD";

/// What git does not do of itself: look into submodules, list what changed in
/// them, or ask another program which files have changed.
const SETTINGS: [(&str, &str); 8] = [
    ("core.fsmonitor", "false"),
    ("diff.ignoreSubmodules", "dirty"),
    ("diff.submodule", "short"),
    ("fetch.recurseSubmodules", "false"),
    ("push.recurseSubmodules", "no"),
    // A folder `rr-cache` turns it on, and a list beside it says what to read.
    ("rerere.enabled", "false"),
    ("status.submoduleSummary", "false"),
    ("submodule.recurse", "false"),
];

/// Where git's LFS filter fetches from and sends to. Otherwise a file of the task
/// says it, `.lfsconfig`, and a `git checkout` on the host goes there.
const LFS: [&str; 2] = ["lfs.url", "lfs.pushurl"];

/// No server has anything there.
const NOWHERE: &str = "file:///dev/null";

/// Puts the configuration of a workspace where a runtime can protect it. One
/// that is there already stays as it is.
///
/// # Errors
/// When it cannot be read or written. It is whole at every moment.
pub fn protect(workspace: &Path) -> Result<()> {
    let git = workspace.join(".git");
    let config = git.join("config");
    let meta = fs::symlink_metadata(&config).with_context(|| format!("cannot look at {}", config.display()))?;
    if meta.is_symlink() && fs::read_link(&config)? == Path::new(TARGET) {
        protect_lfs(&git.join(TARGET))?;
        return remember_head(&git);
    }
    anyhow::ensure!(meta.is_file(), "{} is no plain file", config.display());
    let context = || format!("cannot move {} out of reach of programs inside", config.display());
    let target = git.join(TARGET);
    let folder = git.join("envctl");
    match fs::create_dir(&folder) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(error).with_context(context),
        _ => {}
    }
    anyhow::ensure!(fs::symlink_metadata(&folder)?.is_dir(), "{} is no folder", folder.display());
    let draft = folder.join("config.new");
    let _ = fs::remove_file(&draft);
    fs::copy(&config, &draft).with_context(context)?;
    let mut written = git2::Config::open(&draft)?;
    SETTINGS.iter().try_for_each(|(key, value)| written.set_str(key, value)).with_context(context)?;
    drop(written);
    protect_lfs(&draft)?;
    fs::rename(&draft, &target).with_context(context)?;
    let link = folder.join("link.new");
    let _ = fs::remove_file(&link);
    symlink(TARGET, &link).with_context(context)?;
    fs::rename(&link, &config).with_context(context)?;
    remember_head(&git)
}

/// Says in a configuration where LFS files are, if nothing in it does so far.
fn protect_lfs(config: &Path) -> Result<()> {
    let text = fs::read(config).with_context(|| format!("cannot read {}", config.display()))?;
    if text.windows(5).any(|part| part.eq_ignore_ascii_case(b"[lfs]")) || has_own_lfs() {
        return Ok(());
    }
    let mut written = git2::Config::open(config)?;
    let server = lfs_server(&written);
    let context = || format!("cannot write {}", config.display());
    LFS.iter().try_for_each(|key| written.set_str(key, &server)).with_context(context)
}

/// Whether the developer's own configuration says where LFS files are.
fn has_own_lfs() -> bool {
    git2::Config::open_default().is_ok_and(|own| own.get_string("lfs.url").is_ok_and(|url| !url.is_empty()))
}

/// Where the remote has its LFS files, as `git-lfs-config(5)` has it.
fn lfs_server(config: &git2::Config) -> String {
    let url = config.get_string("remote.origin.url").unwrap_or_default();
    if url.is_empty() {
        return NOWHERE.into();
    }
    if !url.starts_with("https://") && !url.starts_with("http://") {
        return url;
    }
    let base = url.trim_end_matches('/');
    format!("{base}{}/info/lfs", if base.ends_with(".git") { "" } else { ".git" })
}

/// Keeps what `HEAD` says where no program inside can change it. Without a valid
/// one git takes `.git` for no repository, and looks for another: in the
/// workspace's own files, or above it.
fn remember_head(git: &Path) -> Result<()> {
    // A program of another runtime may lay a pipe there at any moment.
    let head = Beneath::open(git)?.read(Path::new("HEAD"), MAX_HEAD).ok().flatten().unwrap_or_default();
    let kept = git.join(HEAD);
    if !is_head(&head) || fs::read(&kept).is_ok_and(|kept| kept == head) {
        return Ok(());
    }
    let draft = git.join("envctl/HEAD.new");
    fs::write(&draft, head).and_then(|()| fs::rename(&draft, &kept)).context("cannot keep what HEAD says")
}

/// Whether this is what git writes into `HEAD`, `gitrepository-layout(5)`. It reads
/// more than that, but not everything that looks like it, and not all of a long
/// one: what git would not take must never count.
pub(super) fn is_head(text: &[u8]) -> bool {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    match text.strip_prefix(b"ref: ") {
        Some(name) => name.starts_with(b"refs/") && name.iter().all(|byte| *byte > b' ' && *byte != 0x7f),
        None => matches!(text.len(), 40 | 64) && text.iter().all(u8::is_ascii_hexdigit),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_git_does_not_take_for_a_head_is_none() {
        let commit = "0123456789".repeat(4);
        for text in ["ref: refs/heads/main\n", "ref: refs/heads/a/b", &commit, &format!("{commit}\n")] {
            assert!(is_head(text.as_bytes()), "{text:?}");
        }
        let far = format!("ref:{}refs/heads/main\n", " ".repeat(300));
        for text in [
            "",
            "ref:\x0crefs/heads/main\n",
            "ref: \x0brefs/heads/main",
            &far,
            "ref: refs/heads/a b",
            "ref: main",
            "0123",
        ] {
            assert!(!is_head(text.as_bytes()), "{text:?}");
        }
    }

    #[test]
    fn a_file_of_the_task_does_not_say_where_lfs_files_are() {
        for (remote, server) in [
            ("https://git.example/a.git", "https://git.example/a.git/info/lfs"),
            ("https://git.example/a/", "https://git.example/a.git/info/lfs"),
            ("ssh://git@git.example/a.git", "ssh://git@git.example/a.git"),
            ("git@git.example:a.git", "git@git.example:a.git"),
            ("", NOWHERE),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let repo = git2::Repository::init(dir.path()).unwrap();
            if !remote.is_empty() {
                repo.remote("origin", remote).unwrap();
            }
            protect(dir.path()).unwrap();
            let config = git2::Config::open(&dir.path().join(".git").join(TARGET)).unwrap();
            for key in LFS {
                assert_eq!(config.get_string(key).unwrap(), server, "{key}");
            }
        }
    }

    #[test]
    fn git_writes_where_the_link_leads() {
        let dir = tempfile::tempdir().unwrap();
        git2::Repository::init(dir.path()).unwrap();
        protect(dir.path()).unwrap();
        protect(dir.path()).unwrap();
        let config = dir.path().join(".git/config");
        let git = |words: &[&str]| {
            let status = std::process::Command::new("git").arg("-C").arg(dir.path()).args(words).status().unwrap();
            assert!(status.success());
        };
        git(&["config", "user.name", "x"]);
        git(&["remote", "add", "o", "https://git.example/a.git"]);
        let repo = git2::Repository::open(dir.path()).unwrap();
        repo.config().unwrap().open_level(git2::ConfigLevel::Local).unwrap().set_str("user.email", "y").unwrap();
        assert_eq!(fs::read_link(&config).unwrap(), Path::new(TARGET));
        let text = fs::read_to_string(dir.path().join(".git").join(TARGET)).unwrap();
        for part in ["name = x", "[remote \"o\"]", "email = y", "ignoreSubmodules = dirty"] {
            assert!(text.contains(part), "{text}");
        }
    }
}
