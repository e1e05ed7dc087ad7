//! What does not travel is named, in one line for each kind.

use serde_json::{Value, json};

use crate::support::{Repo, Trip};

/// What a publish says that it left out: on stderr and in JSON.
#[track_caller]
fn left_out(trip: &Trip, repo: &Repo) -> (String, Vec<Value>) {
    let task = trip.lab.next_task();
    let run = trip.publishing(repo, &task).arg("--json").ok();
    let lines: Vec<&str> = run.stderr.lines().filter(|line| line.contains("Left out")).collect();
    (lines.join("\n"), run.json()["left_out"].as_array().unwrap().clone())
}

#[test]
fn nothing_is_left_out_of_an_ordinary_checkout() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    repo.write(".gitignore", "ignored\n");
    repo.write("ignored", "x");
    repo.write("untracked", "x");
    repo.git(&["branch", "same"]);
    assert_eq!(left_out(&trip, repo), (String::new(), vec![]));
}

#[test]
fn the_stash() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    for n in 0..2 {
        repo.write("README", n.to_string());
        repo.git(&["stash", "push", "--quiet", "--message", &format!("try {n}")]);
    }
    let (lines, json) = left_out(&trip, repo);
    assert!(lines.contains("stash entries: stash@{0}, stash@{1}") && lines.lines().count() == 1, "{lines}");
    assert_eq!(json[1], json!({ "kind": "stash", "name": "stash@{1}", "detail": "On main: try 0" }));
    assert_eq!(trip.enter(&trip.publish(repo)).git(&["stash", "list"]), "");
}

#[test]
fn other_branches_that_no_remote_has() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    repo.git(&["branch", "below"]);
    repo.write("a", "a");
    repo.commit("on main");
    repo.git(&["branch", "here-too"]);
    for n in 0..5 {
        repo.git(&["checkout", "--quiet", "-b", &format!("wip/{n}")]);
        repo.write("wip", n.to_string());
        repo.commit("wip");
    }
    repo.git(&["push", "--quiet", "origin", "wip/2"]);
    repo.git(&["checkout", "--quiet", "main"]);
    let (lines, json) = left_out(&trip, repo);
    assert!(lines.contains("branches with commits that no remote has: wip/3, wip/4"), "{lines}");
    assert_eq!(json.len(), 2);
    assert_eq!(json[0]["detail"], repo.git(&["rev-parse", "wip/3"]).as_str());
}

#[test]
fn many_names_are_cut_short_for_people_only() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    for n in 0..9 {
        repo.git(&["checkout", "--quiet", "-b", &format!("b{n}"), "main"]);
        repo.commit("x");
        repo.git(&["commit", "--quiet", "--amend", "--allow-empty", "--message", &n.to_string()]);
    }
    repo.git(&["checkout", "--quiet", "main"]);
    let (lines, json) = left_out(&trip, repo);
    assert!(lines.contains("b0, b1, b2 and 6 more"), "{lines}");
    assert_eq!(json.len(), 9);
}

#[test]
fn what_is_neither_file_nor_link() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    repo.write(".gitignore", "*.ignored\n");
    repo.write("tracked", "x");
    repo.commit("more");
    repo.remove("tracked");
    repo.mkdir("run/alone");
    for name in ["pipe", "run/alone/pipe", "pipe.ignored", "tracked"] {
        trip.lab.agent.call("mkfifo", [repo.path.join(name)]).ok();
    }
    let socket = std::os::unix::net::UnixListener::bind(repo.path.join("run/socket")).unwrap();
    repo.write("file", "x");
    let (lines, json) = left_out(&trip, repo);
    drop(socket);
    assert!(lines.contains("what is neither file nor link: pipe, run/alone/pipe, run/socket and 1 more"), "{lines}");
    assert_eq!(json[2], json!({ "kind": "special-file", "name": "run/socket", "detail": "socket" }));
    // Git does not see them either.
    let workspace = trip.enter(&trip.publish(repo));
    assert_eq!(workspace.git(&["status", "--porcelain"]), " D tracked\n?? file");
    assert!(workspace.path.join("run/alone").is_dir() && !workspace.path.join("run/alone/pipe").exists());
}

/// Git cannot look for the folder's files there, and says nothing of them.
#[test]
fn an_ignored_link_to_itself_in_place_of_a_folder() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    repo.write("d/file", "x");
    repo.commit("more");
    repo.remove("d/file");
    std::fs::remove_dir(repo.path.join("d")).unwrap();
    repo.symlink("d", "d");
    repo.write(".gitignore", "/d\n");
    assert_eq!(left_out(&trip, repo), (String::new(), vec![]));
    let workspace = trip.enter(&trip.publish(repo));
    assert_eq!(workspace.git(&["status", "--porcelain"]), " D d/file\n?? .gitignore");
    assert!(workspace.path.join("d").symlink_metadata().is_err());
}
