//! The clone that is here already: history comes from it before the remote is asked.
//! It is read, checked and never changed, and nothing private in it comes along.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::{Lab, Repo, Trip, until};

/// A clone of the developer's own, of the agent's remote.
fn clone(lab: &Lab, name: &str, options: &[&str]) -> PathBuf {
    let place = lab.dev.path(name);
    let url = lab.repo.url();
    lab.dev.call("git", ["clone", "--quiet"]).args(options).arg(url).arg(&place).ok();
    place
}

#[track_caller]
fn git(lab: &Lab, at: &Path, args: &[&str]) -> String {
    let who = ["-c", "user.name=dev", "-c", "user.email=dev@example.test"];
    lab.dev.call("git", who).args(args).cwd(at).ok().stdout.trim().to_owned()
}

fn remove(lab: &Lab, folder: &Path) {
    lab.dev.call("rm", ["-rf"]).arg(folder).ok();
}

/// A task on a remote with some history.
fn busy() -> (Trip, String) {
    let trip = Trip::new();
    for n in 0..5 {
        trip.lab.repo.write(format!("file-{n}"), format!("{n}"));
        trip.lab.repo.commit(&format!("commit {n}"));
    }
    trip.lab.repo.git(&["push", "--quiet", "origin", "HEAD"]);
    trip.lab.repo.write("untracked", "u");
    let task = trip.publish(&trip.lab.repo);
    (trip, task)
}

/// Nobody answers at the remote any more.
fn unplug(repo: &Repo) {
    let remote = PathBuf::from(repo.url().trim_start_matches("file://"));
    fs::rename(&remote, remote.with_extension("gone")).unwrap();
}

#[track_caller]
fn enter(lab: &Lab, task: &str, from: &Path) -> (PathBuf, String) {
    let run = lab.dev.envctl(["enter", task, "--no-runtime"]).cwd(from).ok();
    (PathBuf::from(run.stdout.trim()), run.stderr)
}

/// Every file of a folder, by its path, with its content.
fn everything(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut ahead = vec![folder.to_owned()];
    while let Some(folder) = ahead.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            match entry.file_type().unwrap().is_dir() {
                true => ahead.push(entry.path()),
                false => found.push((entry.path(), fs::read(entry.path()).unwrap())),
            }
        }
    }
    found.sort();
    found
}

#[test]
fn a_task_is_entered_from_the_clone_alone() {
    for ways in ["clone", "worktree", "reference", "configured"] {
        let (trip, task) = busy();
        let lab = &trip.lab;
        let mut place = clone(lab, "mine", &[]);
        let before = everything(&place);
        let mut from = place.clone();
        match ways {
            "worktree" => {
                from = lab.dev.path("other");
                git(lab, &place, &["worktree", "add", "--quiet", from.to_str().unwrap()]);
            }
            "reference" => {
                let name = lab.dev.path("mine").display().to_string();
                place = clone(lab, "second", &["--reference", &name]);
                from = place.clone();
            }
            "configured" => {
                lab.dev.write("config/envctl/config.toml", format!("[repos]\nreference = [\"{}\"]\n", place.display()));
                from = lab.dev.path("home");
            }
            _ => {}
        }
        unplug(&lab.repo);
        let (workspace, said) = enter(lab, &task, &from);
        assert!(said.contains("Copied"), "{ways}: {said}");
        assert_eq!(git(lab, &workspace, &["log", "--format=%s", "-2"]), "commit 4\ncommit 3");
        assert_eq!(git(lab, &workspace, &["status", "--porcelain"]), "?? untracked");
        git(lab, &workspace, &["fsck", "--full", "--strict"]);
        if ways == "clone" {
            assert_eq!(everything(&place), before, "the clone is as it was");
        }
        // Nothing is borrowed: the clone may go.
        remove(lab, &place);
        git(lab, &workspace, &["log", "--stat"]);
    }
}

/// What the clone lacks comes from the remote, and only that.
#[test]
fn the_rest_is_fetched() {
    let trip = Trip::new();
    trip.lab.repo.write("old", "o".repeat(100_000));
    trip.lab.repo.commit("old");
    trip.lab.repo.git(&["push", "--quiet", "origin", "HEAD"]);
    let place = clone(&trip.lab, "mine", &[]);
    trip.lab.repo.write("new", "n");
    trip.lab.repo.commit("new");
    trip.lab.repo.git(&["push", "--quiet", "origin", "HEAD"]);
    let task = trip.publish(&trip.lab.repo);
    let (workspace, said) = enter(&trip.lab, &task, &place);
    assert!(said.contains("Copied") && said.contains("Fetching"), "{said}");
    assert_eq!(git(&trip.lab, &workspace, &["log", "--format=%s", "-2"]), "new\nold");
    git(&trip.lab, &workspace, &["fsck", "--full", "--strict"]);
}

#[test]
fn clones_that_lack_something_are_not_used() {
    let trip_of = |options: &[&str]| {
        let (trip, task) = busy();
        let place = clone(&trip.lab, "mine", options);
        (trip, task, place)
    };
    let mut cases = vec![
        (trip_of(&["--depth", "1"]), "shallow"),
        (trip_of(&["--filter", "blob:none", "--no-checkout"]), "partial"),
        (trip_of(&[]), "none of its remotes is the task's"),
        (trip_of(&[]), "no repository that envctl can read"),
        (trip_of(&[]), "no branch of the task's remote"),
    ];
    let at = |cases: &[((Trip, String, PathBuf), &str)], n: usize| cases[n].0.2.clone();
    git(&cases[2].0.0.lab, &at(&cases, 2), &["remote", "set-url", "origin", "https://other.example/x"]);
    remove(&cases[3].0.0.lab, &at(&cases, 3));
    let other = at(&cases, 3).display().to_string();
    cases[3].0.0.lab.dev.call("git", ["init", "--quiet", "--object-format=sha256", &other]).ok();
    git(&cases[4].0.0.lab, &at(&cases, 4), &["update-ref", "-d", "refs/remotes/origin/HEAD"]);
    git(&cases[4].0.0.lab, &at(&cases, 4), &["update-ref", "-d", "refs/remotes/origin/main"]);
    for ((trip, task, place), why) in cases.drain(..) {
        let run = trip.lab.dev.envctl(["-v", "enter", &task, "--no-runtime"]).cwd(&place).ok();
        assert!(run.stderr.contains(why) && !run.stderr.contains("Copied"), "{why}: {}", run.stderr);
        git(&trip.lab, Path::new(run.stdout.trim()), &["fsck", "--full"]);
    }
}

/// The mirror can be read inside: stashes and commits that were never pushed stay
/// where they are.
#[test]
fn nothing_that_was_never_pushed_comes_along() {
    let (trip, task) = busy();
    let lab = &trip.lab;
    let place = clone(lab, "mine", &[]);
    let secret = |name: &str| fs::write(place.join(name), format!("secret of {name}")).unwrap();
    secret("committed");
    git(lab, &place, &["add", "committed"]);
    git(lab, &place, &["commit", "--quiet", "-m", "never pushed"]);
    secret("file-0");
    git(lab, &place, &["stash", "--quiet"]);
    secret("staged");
    git(lab, &place, &["add", "staged"]);
    let private = ["HEAD", "refs/stash", ":staged", "HEAD:committed"];
    let private = private.map(|name| git(lab, &place, &["rev-parse", name]));
    // All in one pack with the rest.
    git(lab, &place, &["gc", "--quiet"]);
    let (workspace, said) = enter(lab, &task, &place);
    assert!(said.contains("Copied"), "{said}");
    for object in private {
        let found = lab.dev.call("git", ["cat-file", "-e", &object]).cwd(&workspace).run();
        assert_ne!(found.code, 0, "{object} came along");
    }
}

/// A clone whose configuration, hooks and graph lie, and name programs.
#[test]
fn nothing_in_a_clone_is_obeyed_or_believed() {
    let (trip, task) = busy();
    let lab = &trip.lab;
    let place = clone(lab, "mine", &[]);
    let mark = lab.dev.path("executed");
    let program = lab.dev.path("program");
    lab.dev.write("program", format!("#!/bin/sh\ntouch '{}'\nexit 1\n", mark.display()));
    fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let program = program.display().to_string();
    for key in ["core.fsmonitor", "core.sshCommand", "uploadpack.packObjectsHook", "core.alternateRefsCommand"] {
        git(lab, &place, &["config", key, &program]);
    }
    fs::create_dir_all(place.join(".git/hooks")).unwrap();
    fs::copy(&program, place.join(".git/hooks/post-checkout")).unwrap();
    fs::create_dir_all(place.join(".git/objects/info")).unwrap();
    fs::write(place.join(".git/objects/info/commit-graph"), "no graph").unwrap();
    unplug(&lab.repo);
    let (workspace, _) = enter(lab, &task, &place);
    git(lab, &workspace, &["fsck", "--full"]);
    assert!(!mark.exists());
}

/// An object that is not what its name says is not checked out, whatever the clone's
/// index claims.
#[test]
fn a_clone_with_wrong_content_is_noticed() {
    let (trip, task) = busy();
    let lab = &trip.lab;
    let place = clone(lab, "mine", &[]);
    let object = git(lab, &place, &["rev-parse", "HEAD:file-4"]);
    // As single objects, one of them under the name of another.
    git(lab, &place, &["gc", "--quiet"]);
    let pack = fs::read_dir(place.join(".git/objects/pack")).unwrap().map(|entry| entry.unwrap().path());
    let pack = pack.into_iter().find(|path| path.extension().is_some_and(|end| end == "pack")).unwrap();
    let moved = lab.dev.path("moved.pack");
    fs::copy(&pack, &moved).unwrap();
    remove(lab, &place.join(".git/objects/pack"));
    let input = fs::read(&moved).unwrap();
    lab.dev.call("git", ["unpack-objects", "-q"]).cwd(&place).stdin(input).ok();
    fs::write(place.join("other"), "evil").unwrap();
    let evil = git(lab, &place, &["hash-object", "-w", "other"]);
    let at = |name: &str| place.join(".git/objects").join(&name[..2]).join(&name[2..]);
    fs::remove_file(at(&object)).unwrap();
    fs::copy(at(&evil), at(&object)).unwrap();
    let (workspace, _) = enter(lab, &task, &place);
    assert_eq!(fs::read_to_string(workspace.join("file-4")).unwrap(), "4");
    git(lab, &workspace, &["fsck", "--full"]);
}

/// The index of a pack gives the content of one file the name of another: what git
/// copies as it is, is hashed before anybody works on it.
#[test]
fn a_clone_whose_index_lies_is_noticed() {
    use sha1::Digest as _;
    let (trip, task) = busy();
    let lab = &trip.lab;
    let place = clone(lab, "mine", &[]);
    let object = git(lab, &place, &["rev-parse", "HEAD:file-4"]);
    fs::write(place.join("other"), "E").unwrap();
    let evil = git(lab, &place, &["hash-object", "-w", "other"]);
    let packs = place.join(".git/objects/pack");
    // All but the one object, and the lie in its place.
    let all = git(lab, &place, &["rev-list", "--objects", "--no-object-names", "HEAD"]);
    let rest: String = all.lines().filter(|name| *name != object).map(|name| format!("{name}\n")).collect();
    let pack = |list: String| {
        let args = ["pack-objects", "--quiet", ".git/objects/made"];
        lab.dev.call("git", args).cwd(&place).stdin(list).ok().stdout.trim().to_owned()
    };
    let made = [pack(rest), pack(format!("{evil}\n"))];
    remove(lab, &packs);
    fs::create_dir(&packs).unwrap();
    for (name, end) in made.iter().flat_map(|name| ["pack", "idx"].map(|end| (name, end))) {
        let file = place.join(format!(".git/objects/made-{name}.{end}"));
        fs::rename(file, packs.join(format!("pack-{name}.{end}"))).unwrap();
    }
    let unhex =
        |text: &str| (0..20).map(|n| u8::from_str_radix(&text[2 * n..2 * n + 2], 16).unwrap()).collect::<Vec<u8>>();
    let index = packs.join(format!("pack-{}.idx", made[1]));
    let mut bytes = fs::read(&index).unwrap();
    let name = unhex(&object);
    for first in 0..256_usize {
        let count = u32::from(first >= usize::from(name[0])).to_be_bytes();
        bytes[8 + 4 * first..12 + 4 * first].copy_from_slice(&count);
    }
    bytes[8 + 1024..8 + 1024 + 20].copy_from_slice(&name);
    let end = bytes.len() - 20;
    let sum = sha1::Sha1::digest(&bytes[..end]);
    bytes[end..].copy_from_slice(&sum);
    fs::remove_file(&index).unwrap();
    fs::write(&index, bytes).unwrap();
    remove(lab, &place.join(format!(".git/objects/{}", &evil[..2])));
    assert_eq!(git(lab, &place, &["cat-file", "-p", &object]), "E", "the clone lies");
    let (workspace, said) = enter(lab, &task, &place);
    assert!(said.contains("is damaged, and is not used") && said.contains("Fetching"), "{said}");
    assert_eq!(fs::read_to_string(workspace.join("file-4")).unwrap(), "4");
    git(lab, &workspace, &["fsck", "--full"]);
}

/// A workspace is a task's: what lies in it, others wrote.
#[test]
fn a_workspace_is_no_source() {
    let (trip, task) = busy();
    let lab = &trip.lab;
    let (workspace, _) = enter(lab, &task, &lab.dev.path("home"));
    remove(lab, &lab.dev.data().join("repos"));
    let fresh = lab.dev.path("fresh").display().to_string();
    let run = lab.dev.envctl(["enter", &task, "--no-runtime", "--into", &fresh]).cwd(&workspace).ok();
    assert!(run.stderr.contains("Fetching") && !run.stderr.contains("Copy"), "{}", run.stderr);
}

/// After the first enter all of it has been hashed, while nobody waited.
#[test]
fn the_history_is_hashed_afterwards() {
    let (trip, task) = busy();
    let lab = &trip.lab;
    let place = clone(lab, "mine", &[]);
    let (_, said) = enter(lab, &task, &place);
    assert!(said.contains("Copied"), "{said}");
    let mirrors = || fs::read_dir(lab.dev.data().join("repos")).unwrap().map(|entry| entry.unwrap().path());
    let notes = |mirror: PathBuf| fs::read_dir(mirror.join("envctl-copied")).map_or(0, |notes| notes.count());
    until("the history is hashed", || mirrors().map(notes).sum::<usize>() == 0);
}
