//! What a workspace belongs to decides where it lies.

use std::fs;
use std::path::Path;

use super::{below, exists, make_a_mess, name_of, salvages, task_with};
use crate::support::{Alive, Facts, ImageBuilder, Lab, Trip};

#[test]
fn four_lifetimes_have_four_places() {
    let trip = Trip::new();
    trip.lab.repo.git(&["checkout", "--quiet", "-b", "agent/fix auth".replace(' ', "-").as_str()]);
    let task = task_with(&trip, "one");
    let dev = &trip.lab.dev;
    let place = |flags: &[&str]| {
        let trip = trip.with_developer(crate::support::Home::new());
        below(&trip.lab.dev, &trip.enter_with(&task, flags)).display().to_string()
    };
    assert!(place(&[]).starts_with("task/"));
    assert!(place(&["--lifetime", "per-task"]).ends_with(name_of(&task)));
    assert!(place(&["--lifetime", "per-branch"]).starts_with("branch/agent-fix-auth-"));
    assert_eq!(place(&["--lifetime", "per-project"]), "project");
    let own = dev.path("own");
    let workspace = trip.enter_with(&task, &["--into", own.to_str().unwrap()]);
    assert_eq!(workspace.path, own);
    let rows = dev.envctl(["workspace", "ls", "--json"]).ok().json();
    assert_eq!(rows["workspaces"][0]["lifetime"], "per-developer", "{rows}");
    trip.entering(&task).args(["--lifetime", "per-developer"]).code(2).says(&["--into"]);
    let both = ["--into", own.to_str().unwrap(), "--lifetime"];
    trip.entering(&task).args(both).arg("per-developer").ok();
    trip.entering(&task).args(both).arg("per-project").code(2).says(&["--into or --lifetime"]);
}

/// The developer's word wins; what the project wishes comes last.
#[test]
fn who_says_which() {
    let trip = Trip::new();
    trip.lab.repo.write("envctl.toml", "[workspace]\nlifetime = \"per-project\"\n");
    let task = trip.publish(&trip.lab.repo);
    let with = |config: &str, flags: &[&str]| {
        let trip = trip.with_developer(crate::support::Home::new());
        trip.lab.dev.write("config/envctl/config.toml", config);
        let first = below(&trip.lab.dev, &trip.enter_with(&task, flags)).display().to_string();
        // And it stays there.
        trip.lab.dev.write("config/envctl/config.toml", "");
        assert_eq!(below(&trip.lab.dev, &trip.enter_with(&task, &[])).display().to_string(), first);
        first
    };
    assert_eq!(with("", &[]), "project");
    let branch = "[workspace]\nlifetime = \"per-branch\"\n";
    assert!(with(branch, &[]).starts_with("branch/main-"));
    assert!(with(branch, &["--lifetime", "per-task"]).starts_with("task/"));
    // One that is there is not moved by a flag.
    trip.enter_with(&task, &[]);
    trip.entering(&task).args(["--lifetime", "per-task"]).code(2).says(&["per-project", "workspace rm"]);
}

#[test]
fn what_is_on_no_branch_shares_none() {
    let trip = Trip::new();
    trip.lab.repo.git(&["checkout", "--quiet", "--detach"]);
    let task = task_with(&trip, "one");
    let workspace = trip.enter_with(&task, &["--lifetime", "per-branch"]);
    assert!(below(&trip.lab.dev, &workspace).starts_with("task"));
}

#[test]
fn another_task_in_a_shared_workspace() {
    let trip = Trip::new();
    let dev = &trip.lab.dev;
    let shared = ["--lifetime", "per-project"];
    let first = task_with(&trip, "one");
    let workspace = trip.enter_with(&first, &shared);
    make_a_mess(&workspace);
    let mess = Facts::of(&workspace);
    let second = task_with(&trip, "two");
    trip.entering(&second).args(shared).ok().says(&["set aside", "workspace recover"]);
    // Nothing of the first is left in it.
    Facts::of(&trip.lab.repo).assert_same(&Facts::of(&workspace));
    for left in [".git/refs/stash", ".git/MERGE_HEAD", "untracked", "ignored"] {
        assert!(!exists(&workspace.path.join(left)), "{left}");
    }
    assert_eq!(workspace.git(&["branch", "--format=%(refname:short)"]), "main");
    // All of it is kept.
    let kept = salvages(dev);
    assert_eq!(kept.len(), 1, "{kept:?}");
    let unsaved = kept[0]["unsaved"].to_string();
    for what in ["merge in progress", "a stash", "on side", "on main"] {
        assert!(unsaved.contains(what), "{what}: {unsaved}");
    }
    let own = dev.path("own");
    dev.envctl(["workspace", "recover", kept[0]["id"].as_str().unwrap(), "--into", own.to_str().unwrap()]).ok();
    let back = trip.lab.repo.seen_by(dev, &own);
    mess.assert_same(&Facts::of(&back));
    assert_eq!(fs::read_to_string(own.join("ignored")).unwrap(), "precious, too");
    assert_eq!(back.git(&["stash", "list"]).lines().count(), 1);
    // The first task is not mistaken for what stands in its old place.
    assert_eq!(
        dev.envctl(["workspace", "path", name_of(&second)]).ok().stdout.trim(),
        workspace.path.to_str().unwrap()
    );
    let again = trip.enter_with(&first, &shared);
    assert!(exists(&again.path.join("one")) && !exists(&again.path.join("two")));
    assert!(salvages(dev).is_empty(), "the second had nothing that its snapshot lacks");
}

#[test]
fn a_branch_has_its_own() {
    let trip = Trip::new();
    let shared = ["--lifetime", "per-branch"];
    let main = task_with(&trip, "one");
    trip.lab.repo.git(&["checkout", "--quiet", "-b", "other"]);
    let other = task_with(&trip, "two");
    let (on_main, on_other) = (trip.enter_with(&main, &shared), trip.enter_with(&other, &shared));
    assert_ne!(on_main.path, on_other.path);
    let more = task_with(&trip, "three");
    assert_eq!(trip.enter_with(&more, &shared).path, on_other.path);
    assert!(!exists(&on_main.path.join("three")));
}

/// A task that moves to another branch leaves no workspace behind unseen.
#[test]
fn a_task_that_changes_its_branch() {
    let trip = Trip::new();
    let shared = ["--lifetime", "per-branch"];
    let task = task_with(&trip, "one");
    let before = trip.enter_with(&task, &shared);
    before.write("mine", "unsaved");
    trip.lab.repo.git(&["checkout", "--quiet", "-b", "other"]);
    trip.publishing(&trip.lab.repo, name_of(&task)).ok();
    let after = trip.enter_with(&task, &["--refresh"]);
    assert!(below(&trip.lab.dev, &after).starts_with(Path::new("branch")));
    assert!(after.path != before.path && !exists(&before.path));
    let kept = salvages(&trip.lab.dev);
    assert_eq!(fs::read_to_string(Path::new(kept[0]["path"].as_str().unwrap()).join("mine")).unwrap(), "unsaved");
}

/// A task alone does not choose that another one's workspace goes.
#[test]
fn case_26_a_wish_takes_no_place() {
    let trip = Trip::new();
    let first = task_with(&trip, "one");
    let workspace = trip.enter_with(&first, &["--lifetime", "per-project"]);
    workspace.write("mine", "unsaved");
    let before = Facts::of(&workspace);
    trip.lab.repo.write("envctl.toml", "[workspace]\nlifetime = \"per-project\"\nttl = \"1s\"\n");
    let second = trip.publish(&trip.lab.repo);
    trip.entering(&second).code(6).says(&["--lifetime per-project", "--lifetime per-task", name_of(&first)]);
    before.assert_same(&Facts::of(&workspace));
    assert!(salvages(&trip.lab.dev).is_empty());
    trip.entering(&second).arg("--yes").ok();
    assert!(exists(&workspace.path.join("envctl.toml")));
    assert_eq!(salvages(&trip.lab.dev).len(), 1);
}

#[test]
fn never_while_a_runtime_is_live_in_it() {
    let lab = Lab::new();
    lab.repo.write("one", "one");
    let image = ImageBuilder::busybox();
    let first = lab.publish(&image);
    let alive = Alive::start_with(&lab, &["--lifetime", "per-project"], &first, "echo mine >mine");
    let path = lab.dev.envctl(["workspace", "path", &first]).ok().stdout;
    lab.repo.write("two", "two");
    let second = lab.publish(&image);
    let words = ["enter", &second, "--no-runtime", "--lifetime", "per-project"];
    lab.dev.envctl(words).code(1).says(&["a runtime is using", "envctl reset"]);
    lab.dev.envctl(["workspace", "rm", &first, "--yes"]).code(1).says(&["a runtime is using"]);
    assert!(Path::new(path.trim()).join("mine").exists());
    lab.dev.envctl(["exec", &first, "--", "test", "-e", "mine"]).ok();
    alive.kill_owner().assert_gone();
    lab.dev.envctl(words).ok();
    assert!(!Path::new(path.trim()).join("mine").exists());
}
