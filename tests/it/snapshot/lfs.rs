//! Git LFS: with the program and without it, at either end.

use std::fs;
use std::os::unix::fs::MetadataExt;

use serde_json::json;

use crate::support::{Call, Repo, Trip};

const POINTER: &str = "version https://git-lfs.github.com/spec/v1\n";

/// A checkout with git-lfs at work, and two files in the remote's LFS store.
fn with_lfs() -> (Trip, Repo) {
    let trip = Trip::new();
    let repo = trip.lab.repo.clone();
    repo.git(&["lfs", "install", "--local"]);
    repo.git(&["lfs", "track", "*.bin"]);
    repo.write("a.bin", content("a"));
    repo.write("d/b.bin", content("b"));
    repo.write("text", "no LFS file\n");
    repo.commit("with LFS files");
    repo.push();
    assert!(repo.git(&["show", "HEAD:a.bin"]).starts_with(POINTER));
    assert!(trip.lab.repo.remote.join("lfs/objects").exists());
    (trip, repo)
}

fn content(seed: &str) -> Vec<u8> {
    format!("{seed}\0\r\n").repeat(5_000).into_bytes()
}

/// `git status` with git-lfs's filter in force.
fn status(repo: &Repo) -> String {
    ask_status(repo.clone().with_lfs().call(&["--no-pager"]))
}

/// The same without it: only the index says then that content belongs to a
/// pointer. At the source this depends on when a file was written.
fn status_without(repo: &Repo) -> String {
    ask_status(repo.call(&["-c", "filter.lfs.clean=", "-c", "filter.lfs.process=", "-c", "filter.lfs.required=false"]))
}

fn ask_status(call: Call) -> String {
    let words = ["--no-optional-locks", "status", "--porcelain=v2", "--untracked-files=all"];
    call.args(words).ok().stdout
}

/// The workspace says what the checkout says, with git-lfs and without.
#[track_caller]
fn assert_same_status(repo: &Repo, workspace: &Repo) {
    assert_eq!(status(repo), status(workspace));
    assert_eq!(status(repo), status_without(workspace));
}

/// A developer on whose machine there is no git-lfs.
fn without_program(call: Call, trip: &Trip) -> Call {
    let folder = trip.lab.dev.path("bin");
    if !folder.exists() {
        trip.lab.dev.mkdir(&folder);
        let git = trip.lab.dev.call("sh", ["-c", "command -v git"]).ok().stdout;
        std::os::unix::fs::symlink(git.trim(), folder.join("git")).unwrap();
    }
    call.env("PATH", folder)
}

/// The remote's LFS store is gone.
fn lose_remote_store(trip: &Trip) {
    fs::rename(trip.lab.repo.remote.join("lfs"), trip.lab.agent.path("lost-lfs")).unwrap();
}

#[test]
fn case_44_unmodified_files_stay_out_and_are_fetched_and_not_linked() {
    let (trip, repo) = with_lfs();
    let task = trip.lab.next_task();
    let run = trip.publishing(&repo, &task).arg("--json").ok();
    assert_eq!(run.json()["lfs"], json!({ "files": 0, "bytes": 0 }));
    assert_eq!((&run.json()["pack_bytes"], &run.json()["changed_files"]), (&json!(0), &json!(0)));
    let run = trip.entering(&trip.lab.store.reference(&task)).arg("--json").ok();
    assert_eq!(run.json()["restored"]["lfs_files"], 2);
    assert_eq!(run.json()["restored"]["lfs_pointers"], json!([]));
    let workspace = trip.enter(&trip.lab.store.reference(&task));
    assert_eq!(fs::read(workspace.path.join("d/b.bin")).unwrap(), content("b"));
    assert_eq!((status(&workspace), status_without(&workspace)), (String::new(), String::new()));
    assert_eq!(workspace.git(&["lfs", "ls-files"]), repo.git(&["lfs", "ls-files"]));
    // Copied, not linked: nothing is shared with the remote.
    let kept = fs::read_dir(trip.lab.dev.data().join("repos")).unwrap().next().unwrap().unwrap().path();
    let objects = walk(&kept.join("lfs/objects"));
    assert_eq!(objects.len(), 2);
    assert!(objects.iter().all(|object| fs::metadata(object).unwrap().nlink() == 1));
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

#[test]
fn a_second_workspace_needs_neither_remote_nor_program() {
    let (trip, repo) = with_lfs();
    trip.enter(&trip.publish(&repo));
    lose_remote_store(&trip);
    let task = trip.publish(&repo);
    without_program(trip.entering(&task), &trip).arg("--offline").ok();
    let workspace = trip.enter(&task);
    assert_eq!(fs::read(workspace.path.join("a.bin")).unwrap(), content("a"));
}

#[test]
fn contents_come_without_the_program() {
    let (trip, repo) = with_lfs();
    let task = trip.publish(&repo);
    let run = without_program(trip.entering(&task), &trip).arg("--json").ok();
    assert_eq!(run.json()["restored"]["lfs_files"], 2);
    let workspace = trip.enter(&task);
    assert_eq!(fs::read(workspace.path.join("d/b.bin")).unwrap(), content("b"));
}

#[test]
fn what_cannot_be_had_stays_a_pointer_and_is_named() {
    let (trip, repo) = with_lfs();
    let task = trip.publish(&repo);
    lose_remote_store(&trip);
    let run = without_program(trip.entering(&task), &trip).args(["--json", "-v"]).ok();
    let says =
        ["2 files are pointers here: a.bin, d/b.bin: git -C ", " lfs pull", "the repository's folder lacks them"];
    let run = run.says(&says);
    assert_eq!(run.json()["restored"]["lfs_pointers"], json!(["a.bin", "d/b.bin"]));
    let workspace = trip.enter(&task);
    assert!(fs::read_to_string(workspace.path.join("a.bin")).unwrap().starts_with(POINTER));
    assert_eq!((status(&workspace), status_without(&workspace)), (String::new(), String::new()));
    // And the command that was named helps, once they are there, where git-lfs is set up.
    fs::rename(trip.lab.agent.path("lost-lfs"), trip.lab.repo.remote.join("lfs")).unwrap();
    workspace.git(&["lfs", "install", "--local"]);
    workspace.git(&["lfs", "pull"]);
    assert_eq!(fs::read(workspace.path.join("a.bin")).unwrap(), content("a"));
}

#[test]
fn a_store_that_lost_something_is_no_failure() {
    let (trip, repo) = with_lfs();
    lose_remote_store(&trip);
    let task = trip.publish(&repo);
    trip.entering(&task).ok().says(&["2 files are pointers here"]);
    let (trip, repo) = with_lfs();
    let task = trip.publish(&repo);
    trip.entering(&task).arg("--offline").code(7);
    for path in walk(&trip.lab.repo.remote.join("lfs/objects")) {
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        let length = fs::metadata(&path).unwrap().len() as usize;
        fs::write(&path, "x".repeat(length)).unwrap();
    }
    // Other content of the same length.
    trip.entering(&task).ok().says(&["2 files are pointers here"]);
}

#[test]
fn modified_staged_untracked_and_committed_files_travel() {
    let (trip, repo) = with_lfs();
    repo.write("committed.bin", content("committed"));
    repo.commit("not pushed");
    repo.write("staged.bin", content("staged"));
    repo.git(&["add", "staged.bin"]);
    repo.write("twice.bin", content("first"));
    repo.git(&["add", "twice.bin"]);
    repo.write("twice.bin", content("second"));
    repo.write("a.bin", content("modified"));
    repo.write("new.bin", content("untracked"));
    repo.write("empty.bin", "");
    repo.write("text", "changed\n");
    let run = trip.publishing(&repo, "t").arg("--json").ok().says(&["6 LFS files that the remote may lack"]);
    assert_eq!(run.json()["lfs"]["files"], 6);
    // Only what was pushed comes from the remote.
    let task = trip.lab.store.reference("t");
    let run = trip.entering(&task).arg("--json").ok();
    assert_eq!(run.json()["restored"]["lfs_pointers"], json!([]));
    let workspace = trip.enter(&task);
    for (path, text) in [
        ("committed.bin", "committed"),
        ("staged.bin", "staged"),
        ("twice.bin", "second"),
        ("a.bin", "modified"),
        ("d/b.bin", "b"),
        ("new.bin", "untracked"),
    ] {
        assert_eq!(fs::read(workspace.path.join(path)).unwrap(), content(text), "{path}");
    }
    assert_eq!(fs::read(workspace.path.join("empty.bin")).unwrap(), b"");
    assert_same_status(&repo, &workspace);
    let shown = |repo: &Repo, args: &[&str]| repo.clone().with_lfs().call(args).ok().stdout;
    for args in [&["diff"] as &[&str], &["diff", "--cached"], &["ls-files", "--stage"], &["log", "--format=%H"]] {
        assert_eq!(shown(&repo, args), shown(&workspace, args), "{args:?}");
    }
    // What is not on the remote can be pushed from there.
    let first = workspace.git(&["show", ":twice.bin"]);
    assert_eq!(workspace.call(&["lfs", "smudge"]).stdin(first).ok().raw, content("first"));
    workspace.git(&["lfs", "push", "origin", "main"]);
}

#[test]
fn there_and_back_again() {
    let (trip, repo) = with_lfs();
    repo.write("committed.bin", content("committed"));
    repo.commit("not pushed");
    repo.write("a.bin", content("modified"));
    let workspace = trip.enter(&trip.publish(&repo));
    let args = ["publish", "back", "--store", &trip.lab.store.name(), "--image", &trip.image];
    let run = trip.lab.dev.envctl(args).arg("--json").cwd(&workspace.path).ok();
    assert_eq!(run.json()["lfs"]["files"], 2);
    assert_eq!(run.json()["left_out"], json!([]));
    let again = trip.enter(&trip.lab.store.reference("back"));
    assert_same_status(&repo, &again);
    assert_eq!(fs::read(again.path.join("committed.bin")).unwrap(), content("committed"));
}

/// Content that is as recorded is unmodified, whatever the times say.
#[test]
fn stat_data_says_nothing_about_content() {
    let (trip, repo) = with_lfs();
    repo.write("a.bin", content("a"));
    fs::set_permissions(repo.path.join("d/b.bin"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let run = trip.publishing(&repo, "t").arg("--json").ok();
    assert_eq!((&run.json()["lfs"]["files"], &run.json()["changed_files"]), (&json!(0), &json!(1)));
    let workspace = trip.enter(&trip.lab.store.reference("t"));
    assert_same_status(&repo, &workspace);
    assert_eq!(fs::metadata(workspace.path.join("d/b.bin")).unwrap().mode() & 0o111, 0o111);
}

/// Neither side has git-lfs: content and pointers travel as what they are.
#[test]
fn without_the_program_at_either_end() {
    let trip = Trip::new();
    let repo = trip.lab.repo.clone();
    repo.write(".gitattributes", "*.bin filter=lfs diff=lfs merge=lfs -text\n");
    let oid = "4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393";
    repo.write("pointer.bin", format!("{POINTER}oid sha256:{oid}\nsize 12345\n"));
    repo.write("raw.bin", content("raw"));
    repo.commit("attributes");
    repo.push();
    repo.write("raw.bin", content("changed"));
    repo.write("new.bin", content("new"));
    let task = trip.publish(&repo);
    without_program(trip.entering(&task), &trip).ok().says(&["1 files are pointers here: pointer.bin"]);
    let workspace = trip.enter(&task);
    assert_eq!(status_without(&repo), status_without(&workspace));
    for name in ["pointer.bin", "raw.bin", "new.bin"] {
        let read = |repo: &Repo| fs::read(repo.path.join(name)).unwrap();
        assert_eq!(read(&repo), read(&workspace), "{name}");
    }
}

/// Pointers that were never replaced, and content that nobody here has.
#[test]
fn what_is_not_on_this_machine_is_named() {
    let (trip, repo) = with_lfs();
    repo.write("c.bin", content("c"));
    repo.commit("not pushed");
    let other = repo.clone_to("other", &[]);
    other.call(&["pull", "--quiet", repo.path.to_str().unwrap(), "main"]).env("GIT_LFS_SKIP_SMUDGE", "1").ok();
    let run = trip.publishing(&other, "t").arg("--json").ok().says(&["LFS content that the checkout lacks: c.bin"]);
    let size = format!("{} bytes", content("c").len());
    assert_eq!(run.json()["left_out"], json!([{ "kind": "lfs-content", "name": "c.bin", "detail": size }]));
}

#[test]
fn by_the_checkout_s_own_attributes() {
    let trip = Trip::new();
    let repo = trip.lab.repo.clone();
    repo.write(".git/info/attributes", "*.dat filter=lfs -text\n*.crlf text eol=crlf\n");
    repo.write("x.dat", content("x"));
    repo.write("y.crlf", "one\r\ntwo\r\n");
    let run = trip.publishing(&repo, "t").arg("--json").ok();
    assert_eq!(run.json()["lfs"]["files"], 1);
    let workspace = trip.enter(&trip.lab.store.reference("t"));
    assert_eq!(fs::read(workspace.path.join("x.dat")).unwrap(), content("x"));
    assert_eq!(fs::read_to_string(workspace.path.join("y.crlf")).unwrap(), "one\r\ntwo\r\n");
    assert_same_status(&repo, &workspace);
    assert_eq!(repo.git(&["check-attr", "-a", "x.dat"]), workspace.git(&["check-attr", "-a", "x.dat"]));
}

#[test]
fn more_than_may_travel_is_refused_with_the_sizes() {
    let (trip, repo) = with_lfs();
    repo.write("envctl.toml", "[snapshot]\nmax_lfs = \"1M\"\n");
    repo.write("large.bin", vec![7; 3 << 20]);
    trip.refuses(&repo, 6, &["3 MB", "no more than 1 MB", "large.bin", "max_lfs"]);
    repo.git(&["add", "large.bin"]);
    trip.refuses(&repo, 6, &["3 MB", "large.bin", "max_lfs"]);
    repo.write("envctl.toml", "[snapshot]\nmax_lfs = \"much\"\n");
    trip.publishing(&repo, "t").code(2).says(&["snapshot.max_lfs", "not a size"]);
}

/// A conflict, and a merge of which one side has an LFS file more.
#[test]
fn during_a_merge() {
    let (trip, repo) = with_lfs();
    repo.git(&["checkout", "--quiet", "-b", "side"]);
    repo.write("a.bin", content("theirs"));
    repo.write("more.bin", content("more"));
    repo.commit("theirs");
    repo.git(&["checkout", "--quiet", "main"]);
    repo.write("a.bin", content("ours"));
    repo.commit("ours");
    assert_ne!(repo.call(&["merge", "side"]).run().code, 0);
    assert!(repo.git(&["ls-files", "--unmerged"]).contains("a.bin"));
    let workspace = trip.enter(&trip.publish(&repo));
    assert_same_status(&repo, &workspace);
    assert_eq!(fs::read(workspace.path.join("a.bin")).unwrap(), fs::read(repo.path.join("a.bin")).unwrap());
    assert_eq!(fs::read(workspace.path.join("more.bin")).unwrap(), content("more"));
    let theirs = workspace.git(&["show", ":3:a.bin"]);
    assert_eq!(workspace.call(&["lfs", "smudge"]).stdin(theirs).ok().raw, content("theirs"));
}

/// With a filter that converts as well, git writes the files, and the
/// comparison reads them all.
#[test]
fn beside_conversions() {
    let (trip, repo) = with_lfs();
    repo.write(".gitattributes", "*.bin filter=lfs diff=lfs merge=lfs -text\n*.crlf text eol=crlf\n");
    repo.write("x.crlf", "one\r\n");
    repo.commit("conversions");
    repo.write("new.bin", content("new"));
    repo.write("a.bin", content("modified"));
    let workspace = trip.enter(&trip.publish(&repo));
    assert_same_status(&repo, &workspace);
    assert_eq!(fs::read(workspace.path.join("d/b.bin")).unwrap(), content("b"));
    assert_eq!(fs::read(workspace.path.join("a.bin")).unwrap(), content("modified"));
}

/// Words that only look like it.
#[test]
fn attributes_that_mention_it_only() {
    let trip = Trip::new();
    trip.lab.repo.write(".gitattributes", "# filter=lfs\n*.psd -text\n");
    trip.lab.repo.write("a.psd", format!("{POINTER}oid sha256:{}\nsize 7\n", "0".repeat(64)));
    trip.round(&trip.lab.repo);
}

/// A later edit is seen although the content was put there with a time of the
/// past.
#[test]
fn edits_after_entering_are_seen() {
    let (trip, repo) = with_lfs();
    let workspace = trip.enter(&trip.publish(&repo));
    let mut edited = content("a");
    edited[0] = b'z';
    workspace.write("a.bin", edited);
    assert!(status(&workspace).contains("a.bin") && status_without(&workspace).contains("a.bin"));
}
