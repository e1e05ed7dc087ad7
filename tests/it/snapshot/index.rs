//! The index: what is staged, and the flags of its entries.

use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::support::{Repo, Trip, until};

fn started() -> (Trip, Repo) {
    let trip = Trip::new();
    let repo = trip.lab.repo.clone();
    for name in ["a", "b", "c", "d/e"] {
        repo.write(name, format!("{name}\n"));
    }
    repo.commit("more");
    repo.push();
    (trip, repo)
}

#[test]
fn staged_and_changed_again() {
    let (trip, repo) = started();
    repo.write("a", "staged\n");
    repo.write("new", "staged\n");
    repo.git(&["add", "a", "new"]);
    repo.write("a", "worktree\n");
    repo.write("new", "worktree\n");
    let workspace = trip.round(&repo);
    assert_eq!(workspace.git(&["show", ":a"]), "staged");
    assert_eq!(workspace.git(&["show", ":new"]), "staged");
}

#[test]
fn staged_and_gone_from_the_worktree() {
    let (trip, repo) = started();
    repo.write("a", "staged only\n");
    repo.write("new", "staged only\n");
    repo.git(&["add", "a", "new"]);
    repo.remove("a");
    repo.remove("new");
    trip.round(&repo);
}

#[test]
fn removed_from_the_index_and_kept_in_the_worktree() {
    let (trip, repo) = started();
    repo.git(&["rm", "--quiet", "--cached", "a", "d/e"]);
    repo.git(&["rm", "--quiet", "b"]);
    trip.round(&repo);
}

#[test]
fn staged_mode_and_type() {
    let (trip, repo) = started();
    repo.git(&["update-index", "--chmod=+x", "a"]);
    repo.remove("b");
    repo.symlink("b", "a");
    repo.git(&["add", "b"]);
    repo.remove("b");
    repo.write("b", "a file again\n");
    trip.round(&repo);
}

#[test]
fn an_intent_to_add() {
    let (trip, repo) = started();
    repo.write("intended", "content\n");
    repo.write("d/intended", "");
    repo.write("vanished", "x");
    repo.git(&["add", "-N", "intended", "d/intended", "vanished"]);
    repo.remove("vanished");
    let workspace = trip.round(&repo);
    assert!(workspace.git(&["diff"]).contains("new file mode"), "git diff shows what git add -N announced");
}

#[test]
fn assume_unchanged() {
    let (trip, repo) = started();
    repo.git(&["update-index", "--assume-unchanged", "a", "b", "c"]);
    repo.write("a", "nobody looks\n");
    repo.remove("b");
    let workspace = trip.round(&repo);
    assert_eq!(fs::read_to_string(workspace.path.join("a")).unwrap(), "nobody looks\n");
    assert_eq!(workspace.git(&["status", "--porcelain"]), "");
}

#[test]
fn skip_worktree_by_hand() {
    let (trip, repo) = started();
    repo.git(&["update-index", "--skip-worktree", "a", "b", "c"]);
    repo.write("a", "local settings\n");
    repo.remove("b");
    let workspace = trip.round(&repo);
    assert_eq!(fs::read_to_string(workspace.path.join("a")).unwrap(), "local settings\n");
    assert!(!workspace.path.join("b").exists());
}

#[test]
fn flags_on_entries_that_are_staged_too() {
    let (trip, repo) = started();
    repo.write("a", "staged\n");
    repo.write("b", "staged\n");
    repo.git(&["add", "a", "b"]);
    repo.git(&["update-index", "--assume-unchanged", "a"]);
    repo.git(&["update-index", "--skip-worktree", "b"]);
    repo.write("a", "later\n");
    repo.write("b", "later\n");
    trip.round(&repo);
}

/// `git stash pop`, `git checkout -m` and `git apply -3` leave such an index.
#[test]
fn conflicts_without_an_operation_in_progress() {
    let (trip, repo) = started();
    repo.write("a", "theirs\n");
    repo.remove("b");
    repo.git(&["stash", "--quiet"]);
    repo.write("a", "ours\n");
    repo.write("b", "ours\n");
    repo.commit("ours");
    repo.call(&["stash", "pop"]).code(1);
    assert!(repo.git(&["ls-files", "--unmerged"]).contains('a'));
    let workspace = trip.round(&repo);
    assert_eq!(workspace.git(&["ls-files", "--unmerged"]).lines().count(), 5);
    assert!(fs::read_to_string(workspace.path.join("a")).unwrap().contains("<<<<<<<"));
}

/// Git keeps times in whole seconds: it knows of such a change only because
/// the index is no younger than the file.
#[test]
fn changed_in_the_second_in_which_the_index_was_written() {
    let (trip, repo) = started();
    let second = |path: &str| fs::metadata(repo.path.join(path)).unwrap().mtime();
    let arranged = (0..50).any(|n| {
        repo.write("a", format!("staged {n:02}\n"));
        repo.git(&["add", "a"]);
        let staged = fs::metadata(repo.path.join("a")).unwrap().mtime();
        repo.write("a", format!("edited {n:02}\n"));
        second("a") == staged && second(".git/index") == staged
    });
    assert!(arranged, "three steps never fit into one second");
    // A status that may write the index would mend it.
    assert!(repo.git(&["--no-optional-locks", "status", "--porcelain"]).contains("MM a"));
    let later = trip.lab.agent.path("later");
    until("the next second has come", || {
        fs::write(&later, "").unwrap();
        fs::metadata(&later).unwrap().mtime() > second("a")
    });
    let workspace = trip.round(&repo);
    assert!(fs::read_to_string(workspace.path.join("a")).unwrap().starts_with("edited"));
}

#[test]
fn an_index_that_was_never_written() {
    let (trip, repo) = started();
    fs::remove_file(repo.path.join(".git/index")).unwrap();
    trip.round(&repo);
}

#[test]
fn other_forms_of_the_index() {
    for (config, option) in [
        ("core.splitIndex=true", "--split-index"),
        ("core.untrackedCache=true", "--untracked-cache"),
        ("index.version=4", "--index-version=4"),
        ("index.skipHash=true", "--force-write-index"),
    ] {
        let (trip, repo) = started();
        let (key, value) = config.split_once('=').unwrap();
        repo.git(&["config", key, value]);
        repo.git(&["update-index", option]);
        repo.write("a", "staged\n");
        repo.git(&["add", "a"]);
        repo.write("b", "changed\n");
        trip.round(&repo);
    }
}

#[test]
fn an_intent_to_add_whose_file_is_gone() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    repo.write("planned", "text");
    repo.git(&["add", "--intent-to-add", "planned"]);
    repo.remove("planned");
    trip.round(repo);
}

/// Git goes by the size alone: `git status` calls the file modified, `git diff` shows nothing.
#[test]
fn a_file_that_git_counts_as_changed_without_a_change_is_named() {
    let (trip, repo) = started();
    repo.write(".gitattributes", "a text eol=crlf\n");
    repo.remove("a");
    repo.git(&["checkout-index", "--force", "a"]);
    assert_eq!(repo.git(&["status", "--porcelain", "a"]), " M a");
    trip.publishing(&repo, "t").ok().says(&["counts as changed here", "a"]);
    let workspace = trip.round(&repo);
    assert_eq!(fs::read(workspace.path.join("a")).unwrap(), b"a\r\n");
    assert_eq!(workspace.git(&["status", "--porcelain", "a"]), "");
}
