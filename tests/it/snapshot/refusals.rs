//! What no snapshot carries is refused by name, with what to do about it.

use std::fs;
use std::path::Path;

use crate::support::{Repo, Trip};

#[test]
fn a_folder_that_is_no_checkout() {
    let trip = Trip::new();
    let nowhere = trip.lab.repo.seen_by(&trip.lab.agent, trip.lab.agent.path("home"));
    trip.refuses(&nowhere, 3, &["is not inside a git checkout", "home"]);
}

#[test]
fn a_bare_repository() {
    let trip = Trip::new();
    let bare = trip.lab.repo.seen_by(&trip.lab.agent, &trip.lab.repo.remote);
    trip.refuses(&bare, 1, &["bare repository", "remote.git"]);
}

#[test]
fn no_commit_yet() {
    let trip = Trip::new();
    let empty = made(&trip, "empty", &["--initial-branch=main"]);
    empty.git(&["remote", "add", "origin", &trip.lab.repo.url()]);
    trip.refuses(&empty, 1, &["no commit yet"]);
}

#[test]
fn no_remote() {
    let trip = Trip::new();
    let local = made(&trip, "local", &["--initial-branch=main"]);
    local.write("file", "x");
    local.commit("first");
    trip.refuses(&local, 1, &["no remote", "git remote add origin"]);
}

#[test]
fn a_remote_that_holds_nothing_of_it() {
    let trip = Trip::new();
    let other = made(&trip, "other", &["--initial-branch=main"]);
    other.write("file", "x");
    other.commit("unrelated");
    other.git(&["remote", "add", "origin", &trip.lab.repo.url()]);
    trip.refuses(&other, 1, &["origin", "ancestor of HEAD"]);
    other.git(&["fetch", "--quiet"]);
    trip.refuses(&other, 1, &["origin", "ancestor of HEAD"]);
}

#[test]
fn a_repository_with_sha256_names() {
    let trip = Trip::new();
    let modern = made(&trip, "modern", &["--object-format=sha256"]);
    modern.write("file", "x");
    modern.commit("first");
    trip.refuses(&modern, 6, &["SHA-256"]);
}

#[test]
fn a_nested_repository() {
    for (options, commits) in [(&[] as &[&str], true), (&[], false), (&["--bare"], false)] {
        let trip = Trip::new();
        let repo = &trip.lab.repo;
        let path = repo.path.join("vendor/nested");
        repo.mkdir("vendor");
        let args = [&["init", "--quiet"], options, &[path.to_str().unwrap()]].concat();
        repo.git(&args);
        if options.is_empty() {
            let nested = repo.seen_by(&trip.lab.agent, &path);
            if commits {
                nested.write("file", "x");
                nested.commit("first");
            }
            // It stays behind by name, and keeps nothing else from leaving.
            repo.write("vendor/beside", "x");
            let run = trip.publishing(repo, "t").arg("--json").ok().says(&["git does not track: vendor/nested"]);
            assert_eq!(run.json()["left_out"][0]["kind"], "repository");
            let workspace = trip.enter(&trip.lab.store.reference("t"));
            assert!(workspace.path.join("vendor/beside").exists() && !workspace.path.join("vendor/nested").exists());
        } else {
            // Only files to git, and to envctl.
            trip.round(repo);
        }
    }
}

/// Nobody waits for hours, and nobody gets a file that fills their disk.
#[test]
fn a_file_of_holes_stays_behind() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    fs::File::create(repo.path.join("disk.img")).unwrap().set_len(10 << 40).unwrap();
    repo.write("beside", "x");
    let run = trip.publishing(repo, "t").arg("--json").ok().says(&["too large to travel: disk.img"]);
    assert_eq!(run.json()["left_out"][0]["kind"], "too-large");
    let workspace = trip.enter(&trip.lab.store.reference("t"));
    assert!(workspace.path.join("beside").exists() && !workspace.path.join("disk.img").exists());
}

#[test]
fn a_nested_repository_that_is_ignored() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    repo.write(".gitignore", "/vendor/\n");
    let path = repo.path.join("vendor/nested");
    repo.mkdir("vendor");
    repo.git(&["init", "--quiet", path.to_str().unwrap()]);
    let workspace = trip.enter(&trip.publish(repo));
    assert!(!workspace.path.join("vendor").exists());
}

/// What could not be restored must not be published.
#[test]
fn names_that_git_itself_would_not_check_out() {
    for name in [".g\u{200c}it/config", "d/.git\u{feff}/hooks/x", "git~1", "d/GIT~1/x"] {
        let trip = Trip::new();
        let repo = &trip.lab.repo;
        repo.write(Path::new(name), "x");
        trip.publishing(repo, "t").code(6).says(&["error:", "hint:", "some file systems read it as .git"]);
    }
    for name in [".gitmodules", "d/.GitModules"] {
        let trip = Trip::new();
        trip.lab.repo.symlink(name, "README");
        trip.publishing(&trip.lab.repo, "t").run().says(&["error:", name]);
        assert!(trip.lab.store.tags().is_empty());
    }
}

/// Git warns about these and works with them: so does a snapshot.
#[test]
fn links_that_git_only_warns_about() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    repo.write("shared/ignore", "*.log\n");
    repo.symlink("d/.gitignore", "../shared/ignore");
    repo.symlink("d/.gitattributes", "../shared/attributes");
    repo.symlink(".mailmap", "shared/mailmap");
    trip.round(repo);
    repo.commit("links");
    repo.push();
    trip.round(repo);
}

fn made(trip: &Trip, name: &str, options: &[&str]) -> Repo {
    let path = trip.lab.agent.path(name);
    let args = [&["init", "--quiet"], options, &[path.to_str().unwrap()]].concat();
    trip.lab.repo.git(&args);
    trip.lab.repo.seen_by(&trip.lab.agent, path)
}
