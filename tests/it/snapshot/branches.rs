//! Where HEAD is, what the remote lacks, and what the branch follows.

use crate::support::{Repo, Trip};

fn commit(repo: &Repo, name: &str) -> String {
    repo.write(name, format!("{name}\n"));
    repo.commit(name)
}

/// `git pull` merges both; what git calls the upstream is the first.
#[test]
fn a_branch_that_follows_two() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    for name in ["aside", "beside"] {
        repo.git(&["push", "--quiet", "origin", &format!("HEAD:refs/heads/{name}")]);
    }
    repo.git(&["fetch", "--quiet", "origin"]);
    repo.git(&["checkout", "--quiet", "-b", "work", "--track", "origin/aside"]);
    repo.git(&["config", "--add", "branch.work.merge", "refs/heads/beside"]);
    let workspace = trip.enter(&trip.publish(repo));
    assert_eq!(workspace.git(&["rev-parse", "--abbrev-ref", "@{upstream}"]), "origin/aside");
}

#[test]
fn unpushed_commits() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    for name in ["one", "two", "three"] {
        commit(repo, name);
    }
    repo.write("four", "not committed\n");
    let workspace = trip.round(repo);
    assert!(workspace.git(&["status"]).contains("ahead of 'origin/main' by 3 commits"));
    // What arrived is whole: the developer may go on from it.
    workspace.git(&["fsck", "--full", "--strict"]);
    workspace.git(&["push", "--quiet", "origin", "HEAD"]);
}

#[test]
fn a_merge_commit_that_the_remote_lacks() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    repo.git(&["checkout", "--quiet", "-b", "side"]);
    commit(repo, "side-1");
    commit(repo, "side-2");
    repo.git(&["checkout", "--quiet", "main"]);
    commit(repo, "main-1");
    repo.git(&["merge", "--quiet", "--no-ff", "--no-edit", "side"]);
    commit(repo, "after");
    let workspace = trip.round(repo);
    assert_eq!(workspace.git(&["rev-list", "--count", "--merges", "HEAD"]), "1");
}

/// One parent of the merge is on the remote's main, the other on its side.
#[test]
fn a_merge_of_two_branches_of_the_remote() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    repo.git(&["checkout", "--quiet", "-b", "side"]);
    commit(repo, "side-1");
    repo.push();
    repo.git(&["checkout", "--quiet", "main"]);
    commit(repo, "main-1");
    repo.push();
    repo.git(&["merge", "--quiet", "--no-ff", "--no-edit", "side"]);
    repo.write("main-1", "changed\n");
    trip.round(repo);
}

/// Several merges above several branches of the remote.
#[test]
fn an_octopus_and_a_criss_cross() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    for branch in ["x", "y", "z"] {
        repo.git(&["checkout", "--quiet", "-b", branch, "main"]);
        commit(repo, branch);
    }
    repo.git(&["push", "--quiet", "origin", "y"]);
    repo.git(&["checkout", "--quiet", "main"]);
    commit(repo, "own");
    repo.git(&["merge", "--quiet", "--no-edit", "x", "y", "z"]);
    repo.git(&["checkout", "--quiet", "x"]);
    repo.git(&["merge", "--quiet", "--no-edit", "main~1"]);
    repo.git(&["checkout", "--quiet", "main"]);
    repo.git(&["merge", "--quiet", "--no-edit", "x"]);
    trip.round(repo);
}

#[test]
fn a_detached_head() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    repo.git(&["checkout", "--quiet", "--detach"]);
    commit(repo, "detached");
    repo.write("detached", "changed\n");
    let workspace = trip.round(repo);
    assert_eq!(workspace.git(&["branch", "--show-current"]), "");
}

#[test]
fn a_detached_head_behind_the_remote() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    commit(repo, "later");
    repo.push();
    repo.git(&["checkout", "--quiet", "--detach", "HEAD~1"]);
    trip.round(repo);
}

#[test]
fn a_branch_without_an_upstream() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    repo.git(&["checkout", "--quiet", "-b", "agent/fix", "--no-track"]);
    trip.round(repo);
    commit(repo, "fix");
    trip.round(repo);
}

#[test]
fn a_branch_that_follows_another_name() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    repo.git(&["push", "--quiet", "origin", "main:release/1.x"]);
    repo.git(&["fetch", "--quiet"]);
    repo.git(&["checkout", "--quiet", "-b", "agent/backport", "--track", "origin/release/1.x"]);
    commit(repo, "backport");
    let workspace = trip.round(repo);
    let upstream = workspace.git(&["rev-parse", "--abbrev-ref", "@{upstream}"]);
    assert_eq!(upstream, "origin/release/1.x");
}

#[test]
fn a_branch_that_is_behind_or_has_diverged() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    commit(repo, "theirs");
    repo.push();
    repo.git(&["reset", "--quiet", "--hard", "HEAD~1"]);
    let workspace = trip.round(repo);
    assert!(workspace.git(&["status", "--branch", "--porcelain"]).contains("behind 1"));
    commit(repo, "ours");
    let workspace = trip.round(repo);
    assert!(workspace.git(&["status", "--branch", "--porcelain"]).contains("ahead 1, behind 1"));
}

/// The upstream was deleted on the remote; git says `[gone]`.
#[test]
fn an_upstream_that_is_gone() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    repo.git(&["checkout", "--quiet", "-b", "agent/fix"]);
    repo.git(&["push", "--quiet", "--set-upstream", "origin", "agent/fix"]);
    repo.git(&["push", "--quiet", "origin", "--delete", "agent/fix"]);
    commit(repo, "fix");
    trip.round(repo);
}

#[test]
fn a_remote_of_another_name_and_several_remotes() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    repo.git(&["remote", "rename", "origin", "company.git"]);
    trip.round(repo);
    repo.git(&["remote", "add", "fork", "file:///no/where.git"]);
    commit(repo, "more");
    let workspace = trip.round(repo);
    assert_eq!(workspace.git(&["remote"]), "company.git");
}

#[test]
fn tags_and_notes_do_not_matter() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    commit(repo, "tagged");
    repo.git(&["tag", "-a", "v1", "-m", "v1"]);
    repo.git(&["notes", "add", "-m", "note"]);
    commit(repo, "more");
    trip.round(repo);
}

/// The whole history is unpushed but for its root.
#[test]
fn a_long_unpushed_history() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    let mut stream = String::from("feature done\n");
    for n in 0..300 {
        let text = format!("file {n}\n");
        stream.push_str("commit refs/heads/main\nauthor A <a@example.org> 1760000000 +0000\ncommitter A <a@example.org> 1760000000 +0000\n");
        stream.push_str(&format!("data 2\nc\nM 644 inline f{}\ndata {}\n{text}\n", n % 10, text.len()));
        if n == 0 {
            stream = stream.replace("data 2\nc\n", "data 2\nc\nfrom refs/heads/main^0\n");
        }
    }
    stream.push_str("done\n");
    repo.call(&["fast-import", "--quiet", "--force"]).stdin(stream).ok();
    repo.git(&["reset", "--quiet", "--hard"]);
    let workspace = trip.round(repo);
    assert_eq!(workspace.git(&["rev-list", "--count", "origin/main.."]), "300");
}
