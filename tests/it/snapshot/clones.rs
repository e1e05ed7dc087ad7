//! Checkouts that are not a plain clone.

use std::fs;

use crate::support::{Facts, Trip};

#[test]
fn a_shallow_clone_with_unpushed_commits() {
    let trip = Trip::new();
    for n in 0..5 {
        trip.lab.repo.write("file", format!("{n}\n"));
        trip.lab.repo.commit("more");
    }
    trip.lab.repo.push();
    let shallow = trip.lab.repo.clone_to("shallow", &["--depth=1"]);
    assert_eq!(shallow.git(&["rev-list", "--count", "HEAD"]), "1");
    shallow.write("one", "1\n");
    shallow.commit("one");
    shallow.write("file", "by the agent\n");
    shallow.commit("two");
    shallow.write("file", "not committed\n");
    let workspace = trip.enter(&trip.publish(&shallow));
    // The developer has the whole history.
    Facts::of(&shallow).without("log").assert_same(&Facts::of(&workspace).without("log"));
    assert_eq!(workspace.git(&["rev-list", "--count", "HEAD"]), "8");
    workspace.git(&["fsck", "--full"]);
}

#[test]
fn a_shallow_clone_without_changes() {
    let trip = Trip::new();
    trip.lab.repo.write("file", "1\n");
    trip.lab.repo.commit("more");
    trip.lab.repo.push();
    let shallow = trip.lab.repo.clone_to("shallow", &["--depth=1", "--no-single-branch"]);
    let workspace = trip.enter(&trip.publish(&shallow));
    Facts::of(&shallow).without("log").assert_same(&Facts::of(&workspace).without("log"));
}

/// The commits above the cut are not on the remote: nobody could have them.
#[test]
fn a_shallow_clone_that_is_cut_above_the_base() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    for name in ["one", "two", "three"] {
        repo.write(name, "x");
        repo.commit(name);
    }
    let inner = repo.path.to_str().unwrap().to_owned();
    let path = trip.lab.agent.path("cut");
    let url = format!("file://{inner}");
    repo.git(&["clone", "--quiet", "--depth=2", &url, path.to_str().unwrap()]);
    let cut = repo.seen_by(&trip.lab.agent, &path);
    cut.git(&["remote", "set-url", "origin", &repo.url()]);
    cut.git(&["update-ref", "-d", "refs/remotes/origin/main"]);
    cut.git(&["fetch", "--quiet", "--depth=1", "origin", "main:refs/remotes/origin/main"]);
    trip.refuses(&cut, 1, &["origin"]);
}

/// What stands for another ref is no branch of the remote.
#[test]
fn a_clone_with_a_branch_that_nobody_else_has() {
    let trip = Trip::new();
    let clone = trip.lab.repo.clone_to("clone", &[]);
    assert_eq!(clone.git(&["symbolic-ref", "refs/remotes/origin/HEAD"]), "refs/remotes/origin/main");
    clone.git(&["checkout", "--quiet", "-b", "feature"]);
    clone.write("mine", "x");
    clone.commit("only here");
    let workspace = trip.round(&clone);
    let refs = workspace.git(&["for-each-ref", "--format=%(refname)", "refs/remotes"]);
    assert_eq!(refs, "refs/remotes/origin/main");
}

#[test]
fn refspecs_that_fetch_into_nothing() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    for spec in ["^refs/heads/wip/*", "refs/heads/main", "HEAD", "refs/heads/main:"] {
        repo.git(&["config", "--add", "remote.origin.fetch", spec]);
    }
    repo.write("mine", "x");
    repo.commit("only here");
    let workspace = trip.round(repo);
    trip.lab.dev.envctl(["diff", "--json"]).cwd(&workspace.path).ok();
}

#[test]
fn a_clone_of_a_clone_that_borrows_objects() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    repo.write("local", "only here\n");
    repo.commit("only here");
    let borrowing = trip.lab.agent.path("borrowing");
    let again = trip.lab.agent.path("again");
    repo.git(&["clone", "--quiet", "--shared", repo.path.to_str().unwrap(), borrowing.to_str().unwrap()]);
    repo.git(&["clone", "--quiet", "--shared", borrowing.to_str().unwrap(), again.to_str().unwrap()]);
    let again = repo.seen_by(&trip.lab.agent, &again);
    again.git(&["remote", "set-url", "origin", &repo.url()]);
    again.git(&["fetch", "--quiet", "origin"]);
    assert!(again.path.join(".git/objects/info/alternates").exists());
    again.write("more", "x\n");
    again.commit("more");
    again.write("README", "changed\n");
    trip.round(&again);
}

#[test]
fn a_linked_worktree() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    let linked = trip.lab.agent.path("linked");
    repo.git(&["worktree", "add", "--quiet", "-b", "agent/linked", linked.to_str().unwrap()]);
    let linked = repo.seen_by(&trip.lab.agent, &linked);
    linked.write("new", "x\n");
    linked.commit("in the worktree");
    linked.write("staged", "x\n");
    linked.git(&["add", "staged"]);
    linked.write("untracked", "x\n");
    let workspace = trip.round(&linked);
    assert!(workspace.path.join(".git").is_dir());
}

/// `git clone --filter`: old blobs are on the remote only.
#[test]
fn a_partial_clone() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    repo.git(&["--git-dir", repo.remote.to_str().unwrap(), "config", "uploadpack.allowFilter", "true"]);
    for n in 0..4 {
        repo.write("file", format!("{n}\n"));
        repo.write(format!("gone-{n}"), "x");
        repo.commit("more");
        repo.remove(format!("gone-{n}"));
    }
    repo.commit("last");
    repo.push();
    let partial = repo.clone_to("partial", &["--filter=blob:none"]);
    partial.write("file", "by the agent\n");
    partial.commit("more");
    partial.write("new", "x\n");
    trip.round(&partial);
}

#[test]
fn a_partial_clone_with_a_sparse_checkout() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    repo.git(&["--git-dir", repo.remote.to_str().unwrap(), "config", "uploadpack.allowFilter", "true"]);
    repo.write("in/file", "1\n");
    repo.write("out/file", "not fetched\n");
    repo.commit("more");
    repo.push();
    let partial = repo.clone_to("partial", &["--filter=blob:none", "--sparse"]);
    partial.git(&["sparse-checkout", "set", "in"]);
    assert!(!partial.path.join("out").exists());
    partial.write("in/file", "by the agent\n");
    partial.commit("more");
    partial.write("in/new", "x\n");
    trip.round(&partial);
}

#[test]
fn a_git_folder_somewhere_else() {
    let trip = Trip::new();
    let elsewhere = trip.lab.agent.path("elsewhere.git");
    let option = format!("--separate-git-dir={}", elsewhere.display());
    let separate = trip.lab.repo.clone_to("separate", &[&option]);
    assert!(fs::metadata(separate.path.join(".git")).unwrap().is_file());
    separate.write("new", "x\n");
    trip.round(&separate);
}

#[test]
fn from_a_folder_below_the_top() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    repo.write("deep/er/new", "x\n");
    repo.write("top", "x\n");
    let below = repo.seen_by(&trip.lab.agent, repo.path.join("deep/er"));
    let workspace = trip.enter(&trip.publish(&below));
    Facts::of(repo).assert_same(&Facts::of(&workspace));
}

/// A remote that is named from the checkout's folder travels by its own path; one
/// that leads nowhere is told before anything is stored.
#[test]
fn a_remote_in_a_folder_beside_the_checkout() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    repo.git(&["remote", "set-url", "origin", "../remote.git"]);
    repo.write("new", "x");
    let workspace = trip.round(repo);
    workspace.git(&["fetch", "--quiet"]);
    repo.git(&["remote", "set-url", "origin", "../nowhere.git"]);
    let said = ["origin is the folder ../nowhere.git", "not there", "hint: git remote set-url origin"];
    let fresh = trip.lab.agent.path("fresh");
    let name = format!("oci:{}", fresh.display());
    let run = trip
        .lab
        .agent
        .envctl(["publish", "t", "--store", &name, "--image", &trip.image])
        .cwd(&repo.path)
        .code(1)
        .says(&said);
    assert!(!fresh.exists(), "{}", run.stderr);
}
