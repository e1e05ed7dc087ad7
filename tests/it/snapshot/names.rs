//! File and branch names that tools get wrong.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::support::Trip;

const NAMES: [&[u8]; 22] = [
    b"-rf",
    b"--all",
    b"-- d",
    b"line\nbreak",
    b"tab\there",
    b"carriage\rreturn",
    b"quote\"double",
    b"quote'single",
    b"back\\slash",
    b"per%cent%0A%",
    b"star*[a]?",
    b":(top)pathspec",
    b"#comment",
    b"!negated",
    b" leading and trailing ",
    b"$(touch evil)`x`",
    b"\xff\xfenot utf-8",
    b"latin-\xe9",
    "ünïcode-✓".as_bytes(),
    "zero\u{200b}width".as_bytes(),
    b"esc\x1b[31mred",
    b".gitmodules-not",
];

fn path(name: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(name))
}

#[test]
fn untracked_files() {
    let trip = Trip::new();
    for name in NAMES {
        trip.lab.repo.write(path(name), name);
        trip.lab.repo.write(Path::new("d").join(path(name)), name);
    }
    trip.round(&trip.lab.repo);
}

#[test]
fn staged_changed_and_removed_files() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    for name in NAMES {
        repo.write(Path::new("kept").join(path(name)), "1");
        repo.write(Path::new("staged").join(path(name)), "1");
        repo.write(Path::new("removed").join(path(name)), "1");
    }
    repo.commit("names");
    repo.push();
    for name in NAMES {
        repo.write(Path::new("kept").join(path(name)), "2");
        repo.write(Path::new("staged").join(path(name)), "2");
        repo.remove(Path::new("removed").join(path(name)));
        repo.mkdir(Path::new("empty").join(path(name)));
        repo.symlink(Path::new("links").join(path(name)), path(name));
    }
    repo.git(&["add", "--all", "staged", "removed"]);
    trip.round(repo);
}

#[test]
fn flags_on_such_names() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    for name in NAMES {
        for folder in ["assumed", "skipped", "there"] {
            repo.write(Path::new(folder).join(path(name)), "1");
        }
    }
    repo.commit("names");
    for (folder, flag) in
        [("assumed", "--assume-unchanged"), ("skipped", "--skip-worktree"), ("there", "--skip-worktree")]
    {
        let mut input = Vec::new();
        for name in NAMES {
            input.extend([folder.as_bytes(), b"/", name, b"\0"].concat());
        }
        repo.call(&["update-index", flag, "-z", "--stdin"]).stdin(input).ok();
    }
    for name in NAMES {
        repo.remove(Path::new("skipped").join(path(name)));
        repo.write(Path::new("assumed").join(path(name)), "2");
        repo.write(Path::new("there").join(path(name)), "2");
        repo.write(Path::new("intended").join(path(name)), "new");
    }
    repo.git(&["add", "-N", "intended"]);
    trip.round(repo);
}

#[test]
fn long_and_deep_names() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    repo.write("n".repeat(255), "long");
    let deep: Vec<String> = (0..12).map(|n| format!("{n}{}", "d".repeat(200))).collect();
    repo.write(deep.join("/"), "deep");
    trip.round(repo);
}

#[test]
fn branches_with_unusual_names() {
    for branch in ["agent/fix-\"quoted\"", "v1.2.x", "ünïcode", "a#b", "x'y;z", "deep/er/still/deeper", "ends.with="]
    {
        let trip = Trip::new();
        let repo = &trip.lab.repo;
        repo.git(&["checkout", "--quiet", "-b", branch]);
        repo.write("new", "x");
        repo.commit("on a branch");
        repo.git(&["push", "--quiet", "--set-upstream", "origin", branch]);
        repo.write("newer", "x");
        repo.commit("unpushed");
        let workspace = trip.round(repo);
        assert_eq!(workspace.git(&["branch", "--show-current"]), branch);
        assert!(repo.git(&["status", "--branch", "--porcelain"]).contains("ahead 1"));
    }
}
