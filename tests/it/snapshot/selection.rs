//! What of the files travels: ignored ones, and what the project says.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::support::{Repo, Trip, tree};

fn with_project(project: &str) -> (Trip, Repo) {
    let trip = Trip::new();
    let repo = trip.lab.repo.clone();
    repo.write(".gitignore", "*.log\n/build/\nlocal/\n");
    repo.write("envctl.toml", project);
    repo.commit("project");
    repo.push();
    (trip, repo)
}

fn names(repo: &Repo) -> Vec<String> {
    let own = [".gitignore", "README", "envctl.toml"];
    let names = tree(&repo.path).into_keys().map(|path| path.escape_ascii().to_string());
    names.filter(|name| !own.contains(&name.as_str())).collect()
}

#[test]
fn ignored_files_are_left_out() {
    let (trip, repo) = with_project("");
    repo.write("a.log", "x");
    repo.write("build/out", "x");
    repo.mkdir("build/empty");
    repo.write("src/b.log", "x");
    repo.write("src/code", "x");
    // By the checkout's own list, which no other checkout has.
    repo.write(".git/info/exclude", "*.mine\n");
    repo.write("x.mine", "x");
    let workspace = trip.enter(&trip.publish(&repo));
    assert_eq!(names(&workspace), ["src/code"]);
}

#[test]
fn tracked_files_travel_although_they_are_ignored() {
    let (trip, repo) = with_project("");
    repo.write("kept.log", "1");
    repo.write("build/kept", "1");
    repo.git(&["add", "--force", "kept.log", "build/kept"]);
    repo.git(&["commit", "--quiet", "--message", "ignored"]);
    repo.write("kept.log", "2");
    repo.write("staged.log", "1");
    repo.git(&["add", "--force", "staged.log"]);
    repo.write("intended.log", "1");
    repo.git(&["add", "--force", "-N", "intended.log"]);
    trip.round(&repo);
}

#[test]
fn included_files_travel_although_they_are_ignored() {
    let (trip, repo) =
        with_project("[snapshot]\ninclude = [\"local/settings.json\", \"build/*.map\", \"nothing/here\"]\n");
    repo.write("local/settings.json", "{}");
    repo.write("local/other", "x");
    repo.write("build/a.map", "x");
    repo.write("build/a.out", "x");
    repo.write("a.log", "x");
    let workspace = trip.enter(&trip.publish(&repo));
    assert_eq!(names(&workspace), ["build/a.map", "local/settings.json"]);
    assert_eq!(workspace.git(&["status", "--porcelain", "-uall"]), "");
}

#[test]
fn a_folder_is_included_with_everything_in_it() {
    let (trip, repo) = with_project("[snapshot]\ninclude = [\"local\"]\n");
    let odd: [&[u8]; 4] = [b"\xff", b"line\nbreak", b"star*", b":(top)x"];
    for name in odd {
        repo.write(Path::new("local").join(OsStr::from_bytes(name)), "x");
    }
    repo.write("local/deep/er/file", "x");
    repo.symlink("local/link", "nowhere");
    let workspace = trip.enter(&trip.publish(&repo));
    assert_eq!(names(&workspace), names(&repo));
}

#[test]
fn very_many_included_files() {
    let (trip, repo) = with_project("[snapshot]\ninclude = [\"local\"]\n");
    // More names than one command line of a program holds.
    let folder = "f".repeat(200);
    for n in 0..6_000 {
        std::fs::create_dir_all(repo.path.join("local").join(&folder)).unwrap();
        std::fs::write(repo.path.join("local").join(&folder).join(format!("{}{n}", "n".repeat(200))), "").unwrap();
    }
    let workspace = trip.enter(&trip.publish(&repo));
    assert_eq!(names(&workspace).len(), 6_000);
}

#[test]
fn excluded_files_are_left_out() {
    let (trip, repo) = with_project("[snapshot]\nexclude = [\"*.mp4\", \"/scratch/\"]\n");
    repo.write("a.mp4", "x");
    repo.write("deep/b.mp4", "x");
    repo.write("scratch/x", "x");
    repo.write("deep/scratch/x", "kept: another folder");
    // What git tracks cannot be left out of a commit's tree.
    repo.write("tracked.mp4", "1");
    repo.git(&["add", "tracked.mp4"]);
    let workspace = trip.enter(&trip.publish(&repo));
    assert_eq!(names(&workspace), ["deep/scratch/x", "tracked.mp4"]);
}

/// A list of one's own, wherever git's configuration says that it is.
#[test]
fn what_the_agent_ignores_everywhere_stays_out() {
    for (text, left) in [("~/mine", true), ("HOME/mine", true), ("mine", false)] {
        let trip = Trip::new();
        let (repo, agent) = (&trip.lab.repo, &trip.lab.agent);
        let list = text.replace("HOME", agent.path("home").to_str().unwrap());
        agent.write("home/mine", "*.orig\n");
        agent.write("home/.gitconfig", format!("[core]\n excludesFile = {list}\n"));
        repo.write("a.orig", "x");
        repo.write("folder/b.orig", "x");
        repo.write("other", "x");
        let task = trip.lab.next_task();
        trip.publishing(repo, &task).env("GIT_CONFIG_GLOBAL", agent.path("home/.gitconfig")).ok();
        let workspace = trip.enter(&trip.lab.store.reference(&task));
        assert!(workspace.path.join("other").exists());
        assert_eq!(workspace.path.join("a.orig").exists(), !left, "{text}");
        assert_eq!(workspace.path.join("folder/b.orig").exists(), !left, "{text}");
    }
}

/// The developer ignores what the agent does not: it arrives nevertheless.
#[test]
fn what_the_developer_ignores_arrives() {
    let (trip, repo) = with_project("");
    repo.write("notes.orig", "x");
    repo.write("deep/notes.orig", "x");
    trip.lab.dev.write("config/git/ignore", "*.orig\n");
    let workspace = trip.enter(&trip.publish(&repo));
    assert_eq!(names(&workspace), ["deep/notes.orig", "notes.orig"]);
}

/// The same by a pattern that libgit2 and git might read differently.
#[test]
fn ignore_rules_that_take_back_others() {
    let (trip, repo) = with_project("");
    repo.write(".gitignore", "*\n!*/\n!src/**\nsrc/*.tmp\n!src/keep.tmp\n\\!odd\nspace\\ \n");
    for name in ["out", "src/a", "src/b.tmp", "src/keep.tmp", "src/deep/x", "!odd", "space ", "other/x"] {
        repo.write(name, "x");
    }
    trip.round(&repo);
}
