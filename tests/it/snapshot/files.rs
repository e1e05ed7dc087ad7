//! Working files of every kind.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::support::{Facts, Repo, Trip, sha256};

fn started() -> (Trip, Repo) {
    let trip = Trip::new();
    let repo = trip.lab.repo.clone();
    for name in ["kept", "changed", "removed", "moved", "program", "plain", "d/one", "d/two"] {
        repo.write(name, format!("{name}\nline\n"));
    }
    repo.symlink("link", "kept");
    make_program(&repo, "program");
    repo.commit("more");
    repo.push();
    (trip, repo)
}

fn make_program(repo: &Repo, path: &str) {
    fs::set_permissions(repo.path.join(path), fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn nothing_changed_at_all() {
    let (trip, repo) = started();
    let workspace = trip.round(&repo);
    assert_eq!(workspace.git(&["status", "--porcelain"]), "");
    assert_eq!(workspace.head(), repo.head());
}

#[test]
fn changed_removed_and_new_files() {
    let (trip, repo) = started();
    repo.write("changed", "other\n");
    repo.remove("removed");
    repo.write("new", "new\n");
    repo.write("deep/er/new", "new\n");
    repo.write("empty", "");
    let workspace = trip.round(&repo);
    assert_eq!(
        workspace.git(&["status", "--porcelain", "-uall"]),
        " M changed\n D removed\n?? deep/er/new\n?? empty\n?? new"
    );
}

#[test]
fn renamed_with_and_without_git() {
    let (trip, repo) = started();
    repo.git(&["mv", "moved", "d/moved"]);
    fs::rename(repo.path.join("plain"), repo.path.join("plainer")).unwrap();
    let workspace = trip.round(&repo);
    let status = workspace.git(&["status", "--porcelain", "-uall"]);
    assert_eq!(status, "R  moved -> d/moved\n D plain\n?? plainer");
}

#[test]
fn executable_bits() {
    let (trip, repo) = started();
    make_program(&repo, "plain");
    fs::set_permissions(repo.path.join("program"), fs::Permissions::from_mode(0o644)).unwrap();
    repo.write("tool", "#!/bin/sh\n");
    make_program(&repo, "tool");
    trip.round(&repo);
}

#[test]
fn symbolic_links_of_every_kind() {
    let (trip, repo) = started();
    repo.remove("link");
    repo.symlink("link", "changed");
    repo.symlink("dangling", "no/where");
    repo.symlink("absolute", "/etc/hostname");
    repo.symlink("climbing", "../../../outside");
    repo.symlink("folder", "d");
    repo.symlink("self", "self");
    repo.symlink("staged", "kept");
    repo.git(&["add", "staged"]);
    // A file that became a link, and the other way round.
    repo.remove("kept");
    repo.symlink("kept", "changed");
    trip.round(&repo);
}

#[test]
fn binary_and_large_files() {
    let (trip, repo) = started();
    let noise: Vec<u8> = (0..3_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    repo.write("noise", &noise);
    repo.git(&["add", "noise"]);
    repo.write("nul", b"a\0b\0\xff\xfe");
    repo.write("no-newline", "text");
    let workspace = trip.round(&repo);
    assert_eq!(fs::read(workspace.path.join("noise")).unwrap(), noise);
}

#[test]
fn empty_folders() {
    let (trip, repo) = started();
    for folder in ["empty", "deep/er/empty", "d/empty", "dot/.git-like", "-dash"] {
        repo.mkdir(folder);
    }
    // A file that became an empty folder.
    repo.remove("plain");
    repo.mkdir("plain");
    trip.round(&repo);
}

#[test]
fn a_file_becomes_a_folder_and_a_folder_becomes_a_file() {
    let (trip, repo) = started();
    repo.remove("kept");
    repo.write("kept/inside", "x");
    repo.remove("d/one");
    repo.remove("d/two");
    fs::remove_dir(repo.path.join("d")).unwrap();
    repo.write("d", "a file now");
    trip.round(&repo);
    repo.git(&["add", "--all"]);
    trip.round(&repo);
}

#[test]
fn a_folder_becomes_a_link() {
    let (trip, repo) = started();
    fs::rename(repo.path.join("d"), repo.path.join("real")).unwrap();
    repo.symlink("d", "real");
    trip.round(&repo);
}

#[test]
fn nothing_is_left_in_the_checkout() {
    let (trip, repo) = started();
    for name in ["kept", "changed", "removed", "moved", "program", "plain", "d/one", "d/two", "link", "README"] {
        repo.remove(name);
    }
    fs::remove_dir(repo.path.join("d")).unwrap();
    trip.round(&repo);
    // The same where git writes the files.
    repo.git(&["config", "core.autocrlf", "true"]);
    trip.round(&repo);
}

#[test]
fn many_files_in_many_folders() {
    let (trip, repo) = started();
    for n in 0..600 {
        repo.write(format!("many/{}/{n}", n % 17), format!("{n}"));
    }
    repo.commit("many");
    for n in (0..600).step_by(7) {
        repo.write(format!("many/{}/{n}", n % 17), "changed");
    }
    trip.round(&repo);
}

/// Trees that a git of 2005 wrote: group-writable files, as they still are in
/// the history of old projects.
#[test]
fn modes_that_git_no_longer_writes() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    let blob = repo.git(&["hash-object", "-w", "README"]);
    let entries = format!("100664 blob {blob}\tREADME\n100664 blob {blob}\told\n");
    let tree = repo.call(&["mktree"]).stdin(entries).ok().stdout;
    let commit = repo.git(&["commit-tree", "-p", "HEAD", "-m", "old", tree.trim()]);
    assert!(repo.git(&["cat-file", "tree", tree.trim()]).contains("100664"));
    repo.git(&["reset", "--quiet", "--hard", &commit]);
    repo.push();
    trip.round(repo);
    repo.write("new", "x");
    trip.round(repo);
}

/// The facts of a later state differ: the comparison sees something.
#[test]
fn the_comparison_notices_a_difference() {
    let (trip, repo) = started();
    let workspace = trip.round(&repo);
    let before = Facts::of(&workspace);
    workspace.write("changed", "by the developer");
    workspace.mkdir("empty");
    workspace.git(&["update-index", "--assume-unchanged", "kept"]);
    let after = Facts::of(&workspace);
    let differ: Vec<_> = before.0.iter().filter(|(name, answer)| after.0[*name] != **answer).collect();
    let names: Vec<_> = differ.into_iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["diff", "files", "flags", "index", "status", "told", "tree"]);
}

/// Deltas against the base, whether or not commits are unpushed.
#[test]
fn a_small_change_makes_a_small_pack() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    let noise = |seed: u32| (0..50).map(|line| sha256(format!("{seed}/{line}").as_bytes()) + "\n").collect::<String>();
    (0..200).for_each(|file| repo.write(format!("folder/{file}"), noise(file)));
    repo.commit("much");
    repo.push();
    for file in 0..20 {
        repo.write(format!("folder/{file}"), noise(file) + "one more line\n");
    }
    for state in ["unstaged", "staged", "unpushed"] {
        let task = trip.publish(repo);
        let manifest = trip.lab.store.document(task.rsplit_once(':').unwrap().1);
        let size = manifest["layers"][1]["size"].as_u64().unwrap();
        assert!(size < 5000, "{state}: {size} bytes for 20 lines");
        Facts::of(repo).assert_same(&Facts::of(&trip.enter(&task)));
        repo.git(&["add", "--all"]);
        if state == "staged" {
            repo.commit("more");
            repo.write("folder/0", noise(0));
        }
    }
}

/// The developer's umask decides what others may do with a workspace's files.
#[test]
fn case_12_the_umask_counts() {
    let (trip, repo) = started();
    make_program(&repo, "d/one");
    let task = trip.publish(&repo);
    let binary = trip.lab.dev.binary().to_str().unwrap().to_owned();
    let script = "umask 077; exec \"$0\" \"$@\"";
    let run = trip.lab.dev.call("sh", ["-c", script, &binary, "enter", &task, "--no-runtime"]).ok();
    let workspace = std::path::Path::new(run.stdout.trim_end());
    let mode = |path: &str| workspace.join(path).metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("kept"), mode("d/one"), mode("d")), (0o600, 0o700, 0o700));
}
