//! Submodules travel by commit.

use std::fs;

use serde_json::json;

use crate::support::{Facts, Repo, Trip};

/// A checkout with a submodule `lib/sub`, pushed, and the library's own clone.
struct Family {
    trip: Trip,
    repo: Repo,
    /// The submodule's folder.
    sub: Repo,
}

fn family() -> Family {
    let trip = Trip::new();
    let repo = trip.lab.repo.clone();
    let library = repo.clone_to("library", &[]);
    let url = bare(&trip, &repo, "library.git");
    library.write("code", "one\n");
    library.commit("library");
    library.git(&["push", "--quiet", &url, "HEAD:main"]);
    add(&repo, &url, "lib/sub");
    repo.commit("with a submodule");
    repo.push();
    let sub = repo.seen_by(&trip.lab.agent, repo.path.join("lib/sub"));
    Family { trip, repo, sub }
}

fn bare(trip: &Trip, repo: &Repo, name: &str) -> String {
    let path = trip.lab.agent.path(name);
    repo.git(&["init", "--quiet", "--bare", "--initial-branch=main", path.to_str().unwrap()]);
    format!("file://{}", path.display())
}

fn add(repo: &Repo, url: &str, path: &str) {
    repo.git(&["-c", "protocol.file.allow=always", "submodule", "--quiet", "add", url, path]);
}

/// What git says without the content of submodules: nothing of it travels.
fn facts(repo: &Repo) -> Facts {
    Facts::of(repo).without("files")
}

impl Family {
    /// Publishes and restores; git says the same, and the submodule is empty.
    #[track_caller]
    fn round(&self) -> Repo {
        let workspace = self.trip.enter(&self.trip.publish(&self.repo));
        facts(&self.repo).assert_same(&facts(&workspace));
        let listed = |repo: &Repo| repo.git(&["ls-tree", "-r", "HEAD"]);
        assert_eq!(listed(&self.repo), listed(&workspace));
        workspace
    }
}

#[test]
fn an_initialised_one_arrives_by_commit() {
    let family = family();
    let workspace = family.round();
    assert_eq!(fs::read_dir(workspace.path.join("lib/sub")).unwrap().count(), 0);
    assert!(workspace.git(&["submodule", "status"]).starts_with(&format!("-{} lib/sub", family.sub.head())));
    assert!(!workspace.path.join(".git/modules").exists());
    workspace.git(&["-c", "protocol.file.allow=always", "submodule", "--quiet", "update", "--init"]);
    assert_eq!(fs::read_to_string(workspace.path.join("lib/sub/code")).unwrap(), "one\n");
}

#[test]
fn one_that_was_never_initialised() {
    let family = family();
    let other = family.repo.clone_to("other", &[]);
    other.write("README", "changed\n");
    family.trip.round(&other);
}

/// Git keeps the git folder of one that is deinitialised or removed.
#[test]
fn commits_that_only_the_git_folder_of_an_unused_one_has_are_named() {
    let family = family();
    family.sub.git(&["checkout", "--quiet", "-b", "keep"]);
    family.sub.write("code", "two\n");
    family.sub.commit("only here");
    family.sub.git(&["checkout", "--quiet", "main"]);
    let named = |task: &str| family.trip.publishing(&family.repo, task).ok().says(&["lib/sub (keep)"]);
    named("used");
    family.repo.git(&["submodule", "--quiet", "deinit", "--force", "lib/sub"]);
    named("deinitialised");
    family.repo.git(&["rm", "--quiet", "--force", "lib/sub"]);
    named("removed");
}

#[test]
fn staged_moved_removed_and_gone() {
    let family = family();
    let url = family.repo.git(&["config", "--file", ".gitmodules", "submodule.lib/sub.url"]);
    add(&family.repo, &url, "another");
    family.round();
    family.repo.git(&["mv", "lib/sub", "moved"]);
    family.round();
    family.repo.commit("moved");
    family.repo.git(&["rm", "--quiet", "--cached", "another"]);
    // Its folder is now a repository that git does not track.
    family.trip.publishing(&family.repo, "left").ok().says(&["git does not track: another"]);
    family.repo.git(&["add", "another"]);
    family.repo.git(&["rm", "--quiet", "--force", "moved"]);
    family.round();
    clear(&family.repo, "another");
    let workspace = family.round();
    assert!(!workspace.path.join("another").exists());
}

#[allow(clippy::disallowed_methods, reason = "nothing is mounted there")]
fn clear(repo: &Repo, folder: &str) {
    fs::remove_dir_all(repo.path.join(folder)).unwrap();
}

#[test]
fn replaced_by_something_else() {
    let family = family();
    clear(&family.repo, "lib/sub");
    family.repo.write("lib/sub", "a file\n");
    family.trip.round(&family.repo);
    family.repo.git(&["rm", "--quiet", "--cached", "lib/sub"]);
    family.trip.round(&family.repo);
    family.repo.remove("lib/sub");
    family.repo.symlink("lib/sub", "../README");
    family.trip.round(&family.repo);
    family.repo.remove("lib/sub");
    family.repo.write("lib/sub/file", "in a folder\n");
    family.repo.git(&["add", "lib/sub/file"]);
    family.trip.round(&family.repo);
}

/// Without `.gitmodules` git has no word for it but tracks it all the same.
#[test]
fn a_tracked_repository_without_an_address() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    let nested = repo.clone_to("checkout/nested", &[]);
    repo.git(&["-c", "advice.addEmbeddedRepo=false", "add", "nested"]);
    let task = trip.publish(repo);
    let run = trip.entering(&task).arg("--json").ok().says(&["nested: empty, and .gitmodules names no address"]);
    assert_eq!(run.json()["restored"]["submodules_without_address"], json!(["nested"]));
    facts(repo).assert_same(&facts(&trip.enter(&task)));
    nested.write("new", "x");
    trip.refuses(repo, 6, &["submodule nested has changes", "new is untracked"]);
}

#[test]
fn changes_inside_are_an_error_that_says_what_to_do() {
    let Family { trip, repo, sub } = family();
    let refuses = |says: &[&str]| trip.refuses(&repo, 6, &[&["the submodule lib/sub"], says].concat());
    sub.write("code", "changed\n");
    refuses(&["code is changed", "commit and push", "git -C lib/sub stash -u"]);
    sub.git(&["add", "code"]);
    refuses(&["code is changed"]);
    sub.git(&["reset", "--quiet", "--hard"]);
    sub.write("new", "x");
    refuses(&["new is untracked"]);
    sub.git(&["stash", "--quiet", "-u"]);
    facts(&repo).assert_same(&facts(&trip.enter(&trip.publish(&repo))));
    sub.git(&["stash", "pop", "--quiet"]);
    sub.commit("inside");
    refuses(&["is at", "recorded at", "git add lib/sub"]);
    repo.git(&["add", "lib/sub"]);
    // Recorded, but nobody else can have it.
    let task = trip.lab.next_task();
    let run = trip.publishing(&repo, &task).arg("--json").ok().says(&["no branch of their remote has: lib/sub"]);
    assert_eq!(
        run.json()["left_out"],
        json!([{ "kind": "submodule-commit", "name": "lib/sub", "detail": sub.head() }])
    );
    sub.git(&["push", "--quiet", "origin", "HEAD:main"]);
    let run = trip.publishing(&repo, &trip.lab.next_task()).arg("--json").ok();
    assert_eq!(run.json()["left_out"], json!([]));
    sub.git(&["checkout", "--quiet", "--orphan", "empty"]);
    refuses(&["is at no commit"]);
}

#[test]
fn files_in_the_folder_of_one_that_is_not_initialised() {
    let family = family();
    let other = family.repo.clone_to("other", &[]);
    other.write("lib/sub/file", "git does not see it");
    assert_eq!(other.git(&["status", "--porcelain"]), "");
    family.trip.refuses(&other, 6, &["lib/sub", "belong to no repository"]);
}

#[test]
fn one_within_another() {
    let Family { trip, repo, sub } = family();
    let url = bare(&trip, &repo, "inner.git");
    repo.clone_to("inner", &[]).git(&["push", "--quiet", &url, "HEAD:main"]);
    add(&sub, &url, "inner");
    sub.commit("with an inner one");
    sub.git(&["push", "--quiet", "origin", "HEAD:main"]);
    repo.git(&["add", "lib/sub"]);
    facts(&repo).assert_same(&facts(&trip.enter(&trip.publish(&repo))));
    sub.write("inner/new", "x");
    trip.refuses(&repo, 6, &["the submodule lib/sub/inner has changes", "new is untracked"]);
}

/// Settings of the project that hide a submodule's state do not hide it here.
#[test]
fn changes_that_git_does_not_look_for_are_refused() {
    let Family { trip, repo, sub } = family();
    for flag in ["skip-worktree", "assume-unchanged"] {
        sub.git(&["update-index", &format!("--{flag}"), "code"]);
        trip.publish(&repo);
        sub.write("code", "an edit that only the agent has\n");
        trip.refuses(&repo, 6, &["lib/sub has changes of its own", "git was told not to look"]);
        // One that nobody feeds is not waited for, nor is what a link leads to.
        for odd in ["mkfifo code", "ln -s /dev/zero code"] {
            sub.sh(&format!("rm code && {odd}")).ok();
            trip.refuses(&repo, 6, &["lib/sub has changes of its own", "git was told not to look"]);
        }
        sub.git(&["update-index", &format!("--no-{flag}"), "code"]);
        sub.sh("rm code && git checkout -q code").ok();
    }
    // A repository without a file is nothing to `git status` of the submodule.
    sub.sh("git init -q n && cd n && git commit -q --allow-empty -m only-here").ok();
    trip.refuses(&repo, 6, &["n is a repository of its own"]);
    sub.sh("rm -rf n && git bisect start").ok();
    trip.refuses(&repo, 6, &["an operation of git is in progress", "git bisect reset"]);
    sub.git(&["bisect", "reset"]);
    trip.publish(&repo);
}

#[test]
fn settings_that_hide_changes() {
    let Family { trip, repo, sub } = family();
    sub.write("new", "x");
    repo.git(&["config", "submodule.lib/sub.ignore", "all"]);
    repo.git(&["config", "diff.ignoreSubmodules", "all"]);
    assert_eq!(repo.git(&["status", "--porcelain"]), "");
    trip.refuses(&repo, 6, &["new is untracked"]);
}

#[test]
fn sides_that_disagree_about_one() {
    let Family { trip, repo, sub } = family();
    let commit = |text: &str| {
        sub.git(&["checkout", "--quiet", "origin/main"]);
        sub.write("code", text);
        sub.commit(text);
        sub.git(&["push", "--quiet", "origin", &format!("HEAD:refs/heads/{text}")]);
        repo.git(&["add", "lib/sub"]);
        repo.git(&["commit", "--quiet", "--message", text]);
    };
    repo.git(&["branch", "side"]);
    commit("ours");
    repo.git(&["checkout", "--quiet", "side"]);
    commit("theirs");
    repo.git(&["checkout", "--quiet", "main"]);
    repo.git(&["-c", "protocol.file.allow=always", "submodule", "--quiet", "update"]);
    assert_ne!(repo.call(&["merge", "side"]).run().code, 0);
    assert!(repo.git(&["ls-files", "--unmerged"]).starts_with("160000"));
    let workspace = trip.enter(&trip.publish(&repo));
    let unmerged = |repo: &Repo| repo.git(&["ls-files", "--unmerged"]);
    assert_eq!(unmerged(&repo), unmerged(&workspace));
    assert_eq!(repo.git(&["status", "--porcelain"]), workspace.git(&["status", "--porcelain"]));
    assert!(workspace.path.join("lib/sub").is_dir());
}

#[test]
fn a_sparse_checkout_leaves_one_out() {
    let family = family();
    let other = family.repo.clone_to("other", &["--sparse"]);
    other.git(&["sparse-checkout", "set", "docs"]);
    let workspace = family.trip.enter(&family.trip.publish(&other));
    facts(&other).assert_same(&facts(&workspace));
    assert_eq!(other.path.join("lib").exists(), workspace.path.join("lib").exists());
}

#[test]
fn the_developer_is_told_once_what_to_initialise() {
    let family = family();
    let task = family.trip.publish(&family.repo);
    let run = family.trip.entering(&task).arg("--json").ok();
    let line = run.stderr.lines().find(|line| line.contains("Submodules")).unwrap();
    assert!(line.contains("lib/sub: empty until git -C ") && line.ends_with("submodule update --init"), "{line}");
    assert_eq!(run.json()["restored"]["submodules"], json!(["lib/sub"]));
    let again = family.trip.entering(&task).arg("--json").ok();
    assert!(!again.stderr.contains("Submodules") && again.json()["restored"].is_null(), "{}", again.stderr);
}
