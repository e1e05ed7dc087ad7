//! Repositories of other users, and objects that are shared with them.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;

use crate::support::{Facts, Home, Lab, Repo, Trip};

fn give(path: &Path, owner: u32) {
    chown(path, Some(owner), Some(owner)).unwrap();
    if path.symlink_metadata().unwrap().is_dir() {
        fs::read_dir(path).unwrap().for_each(|entry| give(&entry.unwrap().path(), owner));
    }
}

#[test]
fn case_39_a_checkout_of_another_user() {
    let trip = Trip::unprivileged();
    let repo = &trip.lab.repo;
    give(&repo.path, 0);
    let path = repo.path.to_str().unwrap();
    trip.refuses(repo, 6, &["belongs to another user", path, "safe.directory"]);
    // What the repository says of itself does not count.
    let config = repo.path.join(".git/config");
    fs::write(&config, fs::read_to_string(&config).unwrap() + "[safe]\n\tdirectory = *\n").unwrap();
    trip.refuses(repo, 6, &["belongs to another user"]);
    // The remedy that was printed.
    trip.lab.agent.write("home/.gitconfig", format!("[safe]\n\tdirectory = {path}\n"));
    trip.publishing(repo, "t").ok();
    trip.enter(&trip.lab.store.reference("t"));
}

#[test]
fn case_39_a_git_folder_of_another_user() {
    let trip = Trip::unprivileged();
    give(&trip.lab.repo.path.join(".git"), 0);
    trip.refuses(&trip.lab.repo, 6, &["belongs to another user", "safe.directory"]);
}

#[test]
fn case_39_a_remote_of_another_user() {
    let trip = Trip::of(Lab::new()).with_developer(Home::unprivileged());
    let task = trip.publish(&trip.lab.repo);
    trip.refuses_to_enter(&task, 7, &["cannot fetch from", "remote.git", "dubious ownership", "hint:"]);
    let config = format!("[safe]\n\tdirectory = {}\n", trip.lab.repo.remote.display());
    trip.lab.dev.write("home/.gitconfig", config);
    trip.entering(&task).env("GIT_CONFIG_GLOBAL", trip.lab.dev.path("home/.gitconfig")).ok();
}

#[test]
fn case_39_a_submodule_of_another_user() {
    let trip = Trip::unprivileged();
    let repo = &trip.lab.repo;
    let sub = repo.clone_to("checkout/sub", &[]);
    repo.git(&["-c", "advice.addEmbeddedRepo=false", "add", "sub"]);
    repo.commit("with a nested repository");
    trip.publishing(repo, "t").ok();
    give(&sub.path, 0);
    trip.refuses(repo, 6, &["the submodule sub cannot be looked at", "safe.directory"]);
}

/// Nobody who owns the remote can change what the developer has.
#[test]
fn case_44_nothing_is_shared_with_the_remote() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    repo.write("packed", "x".repeat(10_000));
    repo.commit("packed");
    repo.push();
    let remote = repo.seen_by(&trip.lab.agent, &repo.remote);
    remote.git(&["repack", "-a", "-d", "--quiet"]);
    // Objects that are links, as an attacker would have them.
    let elsewhere = trip.lab.agent.path("elsewhere");
    fs::rename(remote.path.join("objects/pack"), &elsewhere).unwrap();
    remote.symlink("objects/pack", &elsewhere);
    repo.write("unpushed", "x");
    let workspace = trip.round(repo);
    for folder in [trip.lab.dev.data().join("repos"), workspace.path.join(".git")] {
        assert_private(&folder);
    }
    let alternates = fs::read_to_string(workspace.path.join(".git/objects/info/alternates")).unwrap();
    assert!(Path::new(alternates.trim()).starts_with(trip.lab.dev.data()), "{alternates}");
}

fn assert_private(path: &Path) {
    let meta = path.symlink_metadata().unwrap();
    // The configuration lies in a folder of its own, in the same `.git`.
    let is_own = fs::read_link(path).is_ok_and(|target| target == Path::new("envctl/config"));
    assert!(!meta.is_symlink() || is_own, "{} is a link", path.display());
    if meta.is_dir() {
        fs::read_dir(path).unwrap().for_each(|entry| assert_private(&entry.unwrap().path()));
    } else {
        assert_eq!(meta.nlink(), 1, "{} has another name", path.display());
    }
}

/// Two tasks of one repository share objects, and nothing else.
#[test]
fn workspaces_share_no_refs_no_stash_and_no_configuration() {
    let trip = Trip::new();
    let (one, two) = (trip.publish(&trip.lab.repo), trip.publish(&trip.lab.repo));
    let (one, two) = (trip.enter(&one), trip.enter(&two));
    let before = Facts::of(&two);
    let refs = |repo: &Repo| repo.git(&["for-each-ref"]);
    let refs_before = refs(&two);
    one.write("README", "stashed\n");
    one.git(&["stash", "--quiet"]);
    one.git(&["branch", "other"]);
    one.git(&["config", "core.fsmonitor", "false"]);
    one.commit("more");
    before.assert_same(&Facts::of(&two));
    assert_eq!(refs(&two), refs_before);
    assert_eq!(two.git(&["stash", "list"]), "");
}
