//! Things that somebody does in a checkout. What is impossible at the time
//! does nothing.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::support::Repo;

/// Files, folders and both, names that need quoting, and some that no text has.
const PATHS: [&[u8]; 16] = [
    b"a",
    b"b",
    b"d",
    b"d/a",
    b"d/b",
    b"d/e",
    b"d/e/f",
    b"x y",
    b"-dash",
    b"x.txt",
    b"x.bin",
    b"d/y.bin",
    "ünï/ö".as_bytes(),
    b"line\nbreak",
    b"tab\t\"quote\"\\",
    b"no\xfftext",
];

const VERBS: [&[&str]; 11] = [
    &["add", "--force"],
    &["add", "--force", "-N"],
    &["rm", "-r", "--quiet", "--cached", "--ignore-unmatch"],
    &["rm", "-r", "--quiet", "--force", "--ignore-unmatch"],
    &["reset", "--quiet"],
    &["update-index", "--assume-unchanged"],
    &["update-index", "--no-assume-unchanged"],
    &["update-index", "--skip-worktree"],
    &["update-index", "--no-skip-worktree"],
    &["update-index", "--chmod=+x"],
    &["checkout-index", "--force"],
];

/// Commands about the whole checkout.
const WHOLE: [&[&str]; 21] = [
    &["merge", "--no-edit", "side"],
    &["merge", "--no-commit", "--no-ff", "side"],
    &["merge", "--squash", "side"],
    &["cherry-pick", "side~1"],
    &["cherry-pick", "side~1", "side"],
    &["cherry-pick", "--no-commit", "side"],
    &["revert", "--no-edit", "HEAD"],
    &["rebase", "side"],
    &["rebase", "--autostash", "side"],
    &["-c", "core.editor=true", "rebase", "--continue"],
    &["merge", "--abort"],
    &["rebase", "--abort"],
    &["checkout", "--merge", "side"],
    &["checkout", "--detach"],
    &["stash", "push", "--quiet", "-u"],
    &["stash", "pop", "--quiet"],
    &["add", "--all"],
    &["sparse-checkout", "set", "--no-cone", "/*", "!/d/e", "!/sub"],
    &["sparse-checkout", "set", "--cone", "d"],
    &["sparse-checkout", "set", "--cone", "--sparse-index", "d/e"],
    &["sparse-checkout", "disable"],
];

/// One thing.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Write(&'static [u8], u8),
    Remove(&'static [u8]),
    Folder(&'static [u8]),
    Link(&'static [u8], &'static [u8]),
    Mode(&'static [u8], bool),
    Rename(&'static [u8], &'static [u8]),
    /// An ignore file in a folder, and what stands in it.
    Ignore(&'static str, &'static str),
    /// Attributes in a folder, by which line ends change.
    Attributes(&'static str, &'static str),
    /// Files get older than the index, and git takes them for known.
    Age,
    Git(&'static [&'static str], &'static [u8]),
    Whole(&'static [&'static str]),
    /// Something in the submodule: commit and push, or leave it changed.
    Submodule(bool),
    Commit,
    Push,
}

fn path() -> impl Strategy<Value = &'static [u8]> {
    select(PATHS.to_vec())
}

fn files() -> impl Strategy<Value = Step> {
    let folders = || select(vec!["", "d/", "d/e/"]);
    let ends = select(vec!["* text=auto\n", "* text\n", "*.txt text eol=crlf\n", "* -text\n", "a ident\n", ""]);
    let ignored = select(vec!["*.txt\n", "b\n!a\n", "/e/\n", "*\n!.gitignore\n", ""]);
    prop_oneof![
        8 => (path(), any::<u8>()).prop_map(|(path, n)| Step::Write(path, n)),
        3 => path().prop_map(Step::Remove),
        1 => path().prop_map(Step::Folder),
        2 => (path(), path()).prop_map(|(path, target)| Step::Link(path, target)),
        2 => (path(), any::<bool>()).prop_map(|(path, on)| Step::Mode(path, on)),
        2 => (path(), path()).prop_map(|(from, to)| Step::Rename(from, to)),
        1 => (folders(), ignored).prop_map(|(folder, text)| Step::Ignore(folder, text)),
        2 => (folders(), ends).prop_map(|(folder, text)| Step::Attributes(folder, text)),
        2 => Just(Step::Age),
        12 => (select(VERBS.to_vec()), path()).prop_map(|(verb, path)| Step::Git(verb, path)),
        2 => Just(Step::Commit),
        1 => Just(Step::Push),
    ]
}

/// Files and the index.
pub(super) fn plain() -> impl Strategy<Value = Vec<Step>> {
    vec(files(), 1..30)
}

/// Everything.
pub(super) fn all() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => files(),
        2 => select(WHOLE.to_vec()).prop_map(Step::Whole),
        1 => any::<bool>().prop_map(Step::Submodule),
    ];
    vec(step, 1..24)
}

pub(super) fn perform(repo: &Repo, step: &Step) {
    let full = |path: &[u8]| repo.path.join(OsStr::from_bytes(path));
    let is_file = |path: &[u8]| full(path).symlink_metadata().is_ok_and(|meta| meta.is_file());
    match step {
        Step::Write(path, n) => {
            make_room(repo, path);
            let end = if n % 5 == 0 { "\r\n" } else { "\n" };
            let raw = if path.ends_with(b".bin") { "\0" } else { "" };
            let lines = format!("same{end}").repeat(usize::from(*n) % 5);
            repo.write(OsStr::from_bytes(path), format!("{lines}{raw}line {n}{end}"));
        }
        Step::Remove(path) => clear(&full(path)),
        Step::Folder(path) => {
            make_room(repo, path);
            repo.mkdir(OsStr::from_bytes(path));
        }
        Step::Link(path, target) => {
            make_room(repo, path);
            repo.symlink(OsStr::from_bytes(path), OsStr::from_bytes(target));
        }
        Step::Mode(path, on) if is_file(path) => {
            let mode = if *on { 0o755 } else { 0o644 };
            fs::set_permissions(full(path), PermissionsExt::from_mode(mode)).unwrap();
        }
        Step::Mode(..) => {}
        Step::Rename(from, to) => {
            let below = |path: &[u8]| [path, b"/"].concat();
            let nested = to.starts_with(&below(from)) || from.starts_with(&below(to));
            if from != to && !nested && full(from).symlink_metadata().is_ok() {
                make_room(repo, to);
                // Making room may have taken the source away.
                let _ = fs::rename(full(from), full(to));
            }
        }
        Step::Ignore(folder, text) => in_folder(repo, folder, ".gitignore", text),
        Step::Attributes(folder, text) => in_folder(repo, folder, ".gitattributes", text),
        Step::Age => repo.age(),
        Step::Git(verb, path) => {
            let words = verb.iter().map(OsString::from).chain(["--".into(), OsStr::from_bytes(path).to_owned()]);
            repo.call(&words.collect::<Vec<_>>()).run();
        }
        Step::Whole(words) => drop(repo.call(words).run()),
        Step::Submodule(finished) => submodule(repo, *finished),
        Step::Commit => {
            repo.call(&["commit", "--quiet", "--allow-empty", "--message", "step"]).run();
        }
        Step::Push => drop(repo.call(&["push", "--quiet", "--force", "origin", "HEAD"]).run()),
    }
}

fn in_folder(repo: &Repo, folder: &str, name: &str, text: &str) {
    let path = format!("{folder}{name}");
    make_room(repo, path.as_bytes());
    repo.write(path, text);
}

fn submodule(repo: &Repo, finished: bool) {
    if !repo.path.join("sub/.git").exists() {
        return;
    }
    let inner = repo.within("sub");
    inner.write("inside", format!("{finished}\n"));
    if finished {
        inner.call(&["add", "inside"]).run();
        inner.call(&["commit", "--quiet", "--message", "inside"]).run();
        inner.call(&["push", "--quiet", "--force", "origin", "HEAD:refs/heads/inside"]).run();
        repo.call(&["add", "sub"]).run();
    }
}

/// Removes ignored links that lead back to themselves. They do not travel, and
/// where one stands in place of a tracked folder git cannot look into it and
/// says nothing of what is gone, which it does say where the link is not.
pub(super) fn open_ignored_rounds(repo: &Repo) {
    let is_ignored = |path: &OsStr| {
        let words: [&OsStr; 4] = ["check-ignore".as_ref(), "--quiet".as_ref(), "--".as_ref(), path];
        repo.call(&words).run().code == 0
    };
    for path in PATHS.map(OsStr::from_bytes) {
        let full = repo.path.join(path);
        let goes_round = fs::metadata(&full).is_err_and(|error| error.raw_os_error() == Some(libc::ELOOP));
        if goes_round && is_ignored(path) {
            clear(&full);
        }
    }
}

/// Takes away what stands at a path, and files and links above it.
pub(super) fn make_room(repo: &Repo, path: &[u8]) {
    let path = Path::new(OsStr::from_bytes(path));
    let mut above: PathBuf = repo.path.clone();
    for part in path.parent().unwrap() {
        above.push(part);
        if above.symlink_metadata().is_ok_and(|meta| !meta.is_dir()) {
            clear(&above);
        }
    }
    clear(&repo.path.join(path));
    repo.mkdir(above);
}

#[allow(clippy::disallowed_methods, reason = "nothing is mounted there")]
fn clear(path: &Path) {
    match path.symlink_metadata() {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path).unwrap(),
        Ok(_) => fs::remove_file(path).unwrap(),
        Err(_) => {}
    }
}
