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
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::{Context, Result};

use crate::disk::beneath::Beneath;
use crate::git::{Author, with_settings};

/// Larger configuration is none that envctl goes on from, in bytes.
const MAX_CONFIG: u64 = 1 << 20;

/// Git reads no more of it, in bytes.
const MAX_HEAD: u64 = 4 << 10;

/// Where the configuration lies, from `.git`.
pub(super) const TARGET: &str = "envctl/config";

/// What `HEAD` said when the workspace was entered last, from `.git`.
pub(super) const HEAD: &str = "envctl/HEAD";

/// What git does not do of itself: look into submodules, list what changed in
/// them, or ask another program which files have changed.
const SETTINGS: [(&str, &str); 10] = [
    ("core.fsmonitor", "false"),
    // What a list of packs names, and what an index says of files beside it, may lie
    // anywhere.
    ("core.multiPackIndex", "false"),
    ("core.untrackedCache", "false"),
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

/// Those of them that workspaces made by an earlier envctl lack.
const LATER: [(&str, &str); 2] = [("core.multiPackIndex", "false"), ("core.untrackedCache", "false")];

/// Puts the configuration of a workspace where a runtime can protect it, and adds to
/// one that is there already what it lacks. Says whether it names who commits.
///
/// # Errors
/// When it cannot be read or written. It is whole at every moment.
pub fn protect(workspace: &Path) -> Result<bool> {
    let path = workspace.join(".git");
    let git = Beneath::open(&path)?;
    let is_there = git.link(Path::new("config")).is_some_and(|target| target == TARGET.as_bytes());
    let place = if is_there { TARGET } else { "config" };
    let text = git.read(Path::new(place), MAX_CONFIG)?;
    let text = text.with_context(|| format!("{} is missing", path.join(place).display()))?;
    let context = || format!("cannot put {} out of reach of programs inside", path.join(place).display());
    let is_said = |(key, value): &(&str, &str)| has_line(&text, &format!("{} = {value}", name_of(key)));
    let later = LATER.into_iter().filter(|setting| !is_said(setting)).collect();
    let added = if is_there { later } else { SETTINGS.to_vec() };
    let mut whole = with_settings(&text, &added).with_context(context)?;
    if !has_line(&text, "[lfs]") && !has_own_lfs() {
        let server = lfs_server(&git2::Config::open(&path.join(place))?);
        whole = with_settings(&whole, &LFS.map(|key| (key, &server))).with_context(context)?;
    }
    if !is_there || whole != text {
        git.make_folder(Path::new("envctl"))?;
        rewrite(&git, TARGET, &whole).with_context(context)?;
    }
    if !is_there {
        let link = git.place(Path::new("envctl/link.new"))?;
        let _ = fs::remove_file(link.path());
        symlink(TARGET, link.path()).with_context(context)?;
        fs::rename(link.path(), git.place(Path::new("config"))?.path()).with_context(context)?;
    }
    remember_head(&git)?;
    Ok(has_line(&text, "[user]"))
}

/// Says there who commits, for programs inside, which do not see the developer's own
/// configuration.
///
/// # Errors
/// When it cannot be written. It is whole at every moment.
pub fn name_author(workspace: &Path, author: &Author) -> Result<()> {
    let git = Beneath::open(&workspace.join(".git"))?;
    let Some(text) = git.read(Path::new(TARGET), MAX_CONFIG)? else { return Ok(()) };
    let parts = [("user.name", &author.name), ("user.email", &author.email)];
    let said: Vec<(&str, &String)> =
        parts.into_iter().filter_map(|(key, value)| Some((key, value.as_ref()?))).collect();
    rewrite(&git, TARGET, &with_settings(&text, &said)?)
}

/// Whether a text of configuration has a line that begins so, in whatever case. No value
/// can hold one.
fn has_line(text: &[u8], what: &str) -> bool {
    let begins = |line: &[u8]| line.get(..what.len()).is_some_and(|part| part.eq_ignore_ascii_case(what.as_bytes()));
    text.split(|byte| *byte == b'\n').any(|line| begins(line.trim_ascii_start()))
}

fn name_of(key: &str) -> &str {
    key.rsplit('.').next().unwrap_or(key)
}

/// Writes a file of the git folder anew, through no link.
fn rewrite(git: &Beneath, name: &str, content: &[u8]) -> Result<()> {
    let (file, draft) = (git.place(Path::new(name))?, git.place(Path::new(&format!("{name}.new")))?);
    let _ = fs::remove_file(draft.path());
    fs::File::create_new(draft.path())?.write_all(content)?;
    Ok(fs::rename(draft.path(), file.path())?)
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
fn remember_head(git: &Beneath) -> Result<()> {
    // A program of another runtime may lay a pipe there at any moment.
    let read = |name| git.read(Path::new(name), MAX_HEAD).ok().flatten();
    let head = read("HEAD").unwrap_or_default();
    if !is_head(&head) || read(HEAD).is_some_and(|kept| kept == head) {
        return Ok(());
    }
    rewrite(git, HEAD, &head).context("cannot keep what HEAD says")
}

/// Whether this is what git writes into `HEAD`, `gitrepository-layout(5)`. It reads
/// more than that, but not everything that looks like it, and not all of a long
/// one: what git would not take must never count.
pub(super) fn is_head(text: &[u8]) -> bool {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    match text.strip_prefix(b"ref: ") {
        // Prompts print it: no name of a ref holds a control character of one byte, but
        // some terminals obey those of two in UTF-8.
        Some(name) => {
            name.starts_with(b"refs/")
                && !name.contains(&b' ')
                && !String::from_utf8_lossy(name).chars().any(char::is_control)
        }
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
            "ref: refs/heads/a\u{9b}2J",
            "ref: main",
            "0123",
        ] {
            assert!(!is_head(text.as_bytes()), "{text:?}");
        }
    }

    #[test]
    fn nothing_is_written_through_what_a_program_left_beside_the_configuration() {
        let dir = tempfile::tempdir().unwrap();
        git2::Repository::init(dir.path()).unwrap();
        let (precious, git) = (dir.path().join("precious"), dir.path().join(".git"));
        fs::write(&precious, "precious").unwrap();
        fs::create_dir(git.join("envctl")).unwrap();
        for name in ["HEAD.new", "config.new", "link.new"] {
            symlink(&precious, git.join("envctl").join(name)).unwrap();
        }
        protect(dir.path()).unwrap();
        assert_eq!(fs::read(git.join(HEAD)).unwrap(), fs::read(git.join("HEAD")).unwrap());
        assert!(git2::Config::open(&git.join("config")).unwrap().get_string("core.untrackedCache").is_ok());
        assert_eq!(fs::read(&precious).unwrap(), b"precious");
        // One of an earlier envctl.
        let earlier = "[core]\n\tbare = false\n[user]\n\tname = untrackedCache = false\n[lfs]\n\turl = x\n";
        fs::write(git.join(TARGET), earlier).unwrap();
        protect(dir.path()).unwrap();
        let text = fs::read_to_string(git.join("config")).unwrap();
        assert!(text.starts_with(earlier) && text.ends_with("\tuntrackedCache = false\n"), "{text}");
        let before = fs::metadata(git.join(TARGET)).unwrap().modified().unwrap();
        protect(dir.path()).unwrap();
        assert_eq!(fs::metadata(git.join(TARGET)).unwrap().modified().unwrap(), before);
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
