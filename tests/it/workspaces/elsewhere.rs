//! Before the last copy of anything goes, store and remote are asked for it.

use std::fs;
use std::path::Path;

use super::{exists, later, name_of, removed, salvages};
use crate::support::{Repo, Trip};

/// A task with a commit that was never pushed, and its workspace.
fn unpushed(trip: &Trip) -> (String, Repo) {
    let repo = &trip.lab.repo;
    repo.write("work", "of the agent");
    repo.commit("never pushed");
    let task = trip.publish(repo);
    let workspace = trip.enter_with(&task, &[]);
    (task, workspace)
}

/// The commit that a repository is on, in one that lies elsewhere.
fn has(place: &Path, repo: &Repo, commit: &str) -> bool {
    repo.call(&["-C", place.to_str().unwrap(), "cat-file", "-e", &format!("{commit}^{{commit}}")]).run().code == 0
}

#[test]
fn what_the_store_no_longer_has_is_salvaged() {
    let trip = Trip::new();
    let dev = &trip.lab.dev;
    let (task, workspace) = unpushed(&trip);
    let commit = workspace.git(&["rev-parse", "HEAD"]);
    let args = ["tasks", "rm", name_of(&task), "--identities", "--yes", "--store", &trip.lab.store.name()];
    dev.envctl(args).ok();
    let done = later(dev, 20, &["gc", "--json"]).ok().json();
    assert_eq!(removed(&done, "workspace").len(), 1, "{done}");
    let kept = salvages(dev);
    assert!(kept[0]["unsaved"].to_string().contains("a commit on main"), "{kept:?}");
    assert!(has(kept[0]["path"].as_str().unwrap().as_ref(), &trip.lab.repo, commit.trim()));
}

#[test]
fn a_store_that_does_not_answer_deletes_nothing() {
    let trip = Trip::new();
    let dev = &trip.lab.dev;
    let (task, workspace) = unpushed(&trip);
    let store = trip.lab.store.path.clone();
    fs::rename(&store, store.with_extension("away")).unwrap();
    for args in [&["gc", "--json"][..], &["gc", "--json", "--dry-run"]] {
        let done = later(dev, 20, args).ok().json();
        assert!(removed(&done, "workspace").is_empty() && exists(&workspace.path), "{done}");
        assert!(done["kept"][0]["why"].as_str().unwrap().contains("does not say what it has"), "{done}");
    }
    // By hand it goes, and comes back.
    dev.envctl(["workspace", "rm", &task, "--yes"]).ok().says(&["does not say what it has"]);
    assert!(!exists(&workspace.path));
    assert_eq!(salvages(dev).len(), 1);
    fs::rename(store.with_extension("away"), &store).unwrap();
    let id = salvages(dev)[0]["id"].as_str().unwrap().to_owned();
    dev.envctl(["workspace", "recover", &id]).ok();
    later(dev, 40, &["gc"]).ok();
    assert!(!exists(&workspace.path) && salvages(dev).is_empty(), "the store has it all");
}

#[test]
fn a_branch_that_the_remote_no_longer_has_is_salvaged() {
    let trip = Trip::new();
    let (dev, repo) = (&trip.lab.dev, &trip.lab.repo);
    let task = trip.publish(repo);
    let workspace = trip.enter_with(&task, &[]);
    workspace.git(&["checkout", "--quiet", "-b", "side"]);
    workspace.write("side", "work");
    workspace.commit("on the side");
    workspace.git(&["push", "--quiet", "origin", "side"]);
    workspace.git(&["checkout", "--quiet", "main"]);
    let remove = || dev.envctl(["workspace", "rm", &task, "--yes", "--json"]).ok().json();
    let plan = later(dev, 20, &["gc", "--dry-run", "--json"]).ok().json();
    assert_eq!(removed(&plan, "workspace")[0]["unsaved"], serde_json::json!([]), "it is on the remote");
    // Gone there, while others push: what is there by now decides.
    repo.git(&["push", "--quiet", "origin", "--delete", "side"]);
    repo.write("theirs", "x");
    repo.commit("theirs");
    repo.push();
    let gone = remove();
    assert_eq!(gone["salvage"]["unsaved"], serde_json::json!(["a commit on side"]), "{gone}");
    let id = gone["salvage"]["id"].as_str().unwrap();
    dev.envctl(["workspace", "recover", id]).ok();
    // There again, below other work.
    workspace.git(&["push", "--quiet", "origin", "side"]);
    repo.git(&["fetch", "--quiet", "origin"]);
    repo.git(&["merge", "--quiet", "--no-edit", "origin/side"]);
    repo.push();
    repo.git(&["push", "--quiet", "origin", "--delete", "side"]);
    let gone = remove();
    assert!(gone["salvage"].is_null(), "{gone}");
}

/// A remote that is gone says nothing of what it has.
#[test]
fn a_remote_that_does_not_answer_deletes_nothing() {
    let trip = Trip::new();
    let (dev, repo) = (&trip.lab.dev, &trip.lab.repo);
    let task = trip.publish(repo);
    let workspace = trip.enter_with(&task, &[]);
    fs::rename(&repo.remote, repo.remote.with_extension("away")).unwrap();
    let done = later(dev, 20, &["gc", "--json"]).ok().json();
    assert!(removed(&done, "workspace").is_empty() && exists(&workspace.path), "{done}");
    dev.envctl(["workspace", "rm", &task, "--yes"]).ok();
    assert_eq!(salvages(dev).len(), 1);
}
