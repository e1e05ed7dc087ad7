//! Git remotes that changed since the publish.

use std::fs;

use super::{fails, fails_to_enter};
use crate::support::Trip;

#[test]
fn the_remote_is_gone_and_comes_back() {
    let trip = Trip::new();
    let task = trip.publish(&trip.lab.repo);
    let away = trip.lab.agent.path("away");
    fs::rename(&trip.lab.repo.remote, &away).unwrap();
    fails_to_enter(&trip, &task, 7, "unreachable", &["cannot fetch from", "remote.git", "git ls-remote"]);
    fs::rename(&away, &trip.lab.repo.remote).unwrap();
    trip.enter(&task);
}

#[test]
fn the_remote_moved_and_a_rule_says_where_to() {
    let trip = Trip::new();
    let task = trip.publish(&trip.lab.repo);
    let moved = trip.lab.agent.path("moved.git");
    fs::rename(&trip.lab.repo.remote, &moved).unwrap();
    let rule = format!("[[url]]\nfrom = \"{}\"\nto = \"file://{}\"\n", trip.lab.repo.url(), moved.display());
    trip.lab.dev.write("config/envctl/config.toml", rule);
    let workspace = trip.enter(&task);
    // Git in the workspace reaches it as well.
    workspace.git(&["fetch", "--quiet"]);
    assert_eq!(workspace.git(&["config", "remote.origin.url"]), trip.lab.repo.url());
}

/// Rewritten, and the old commits are collected.
#[test]
fn the_base_is_not_on_the_remote_any_more() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    let base = repo.head();
    repo.write("new", "x");
    let task = trip.publish(repo);
    repo.git(&["checkout", "--quiet", "--orphan", "rewritten"]);
    repo.commit("rewritten");
    repo.git(&["push", "--quiet", "--force", "origin", "HEAD:main"]);
    let remote = repo.seen_by(&trip.lab.agent, &repo.remote);
    remote.git(&["reflog", "expire", "--expire=now", "--all"]);
    remote.git(&["gc", "--quiet", "--prune=now"]);
    fails_to_enter(&trip, &task, 3, "not-found", &[&base, "remote.git", "git fetch --prune"]);
    // The developer's machine is not worse off for other tasks.
    let other = trip.publish(repo);
    trip.enter(&other);
    repo.git(&["push", "--quiet", "origin", &format!("{base}:refs/heads/rescued")]);
    trip.enter(&task);
}

/// Rewritten, but the server still gives out the commit.
#[test]
fn a_base_that_no_branch_holds_any_more() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    repo.write("new", "x");
    let task = trip.publish(repo);
    repo.git(&["checkout", "--quiet", "--orphan", "rewritten"]);
    repo.commit("rewritten");
    repo.git(&["push", "--quiet", "--force", "origin", "HEAD:main"]);
    trip.enter(&task);
}

#[test]
fn a_remote_that_is_no_repository() {
    let trip = Trip::new();
    let task = trip.publish(&trip.lab.repo);
    fs::remove_file(trip.lab.repo.remote.join("HEAD")).unwrap();
    fails_to_enter(&trip, &task, 7, "unreachable", &["cannot fetch from", "remote.git"]);
}

#[test]
fn a_remote_with_a_damaged_object() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    repo.write("data", "some content\n");
    repo.commit("data");
    repo.push();
    let task = trip.publish(repo);
    let object = repo.git(&["rev-parse", "HEAD:data"]);
    let path = repo.remote.join("objects").join(&object[..2]).join(&object[2..]);
    let before = fs::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    fails_to_enter(&trip, &task, 7, "unreachable", &["cannot fetch from"]);
    fs::write(&path, before).unwrap();
    trip.enter(&task);
}

/// The branch's upstream moved backwards on the remote: told, not fatal.
#[test]
fn an_upstream_that_the_remote_no_longer_serves() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    repo.git(&["checkout", "--quiet", "-b", "agent"]);
    repo.write("pushed", "x");
    repo.commit("pushed");
    repo.git(&["push", "--quiet", "--set-upstream", "origin", "agent"]);
    repo.git(&["reset", "--quiet", "--hard", "HEAD~1"]);
    let task = trip.publish(repo);
    repo.git(&["push", "--quiet", "origin", "--delete", "agent"]);
    let remote = repo.seen_by(&trip.lab.agent, &repo.remote);
    remote.git(&["gc", "--quiet", "--prune=now"]);
    let workspace = trip.enter(&task);
    assert_eq!(workspace.head(), repo.head());
    assert_eq!(workspace.git(&["status", "--porcelain"]), "");
}

#[test]
fn offline_says_what_is_missing() {
    let trip = Trip::new();
    let task = trip.publish(&trip.lab.repo);
    let says = ["is not on this machine", "--offline"];
    fails(|| trip.entering(&task).arg("--offline"), 7, "unreachable", &says);
    trip.assert_nothing_made();
    trip.enter(&task);
    trip.entering(&task).arg("--offline").ok();
}
