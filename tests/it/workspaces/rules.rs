//! What deletes a workspace, when, and what does not.

use std::fs;
use std::path::Path;

use super::{exists, in_days, later, name_of, removed, salvages, task_with};
use crate::support::{Alive, ImageBuilder, Lab, Trip};

#[test]
fn an_unused_workspace_of_a_task() {
    let trip = Trip::new();
    let dev = &trip.lab.dev;
    let (saved, unsaved) = (task_with(&trip, "one"), task_with(&trip, "two"));
    let (saved, unsaved) = (trip.enter_with(&saved, &[]), trip.enter_with(&unsaved, &[]));
    unsaved.write("mine", "precious");
    let done = later(dev, 13, &["gc", "--json"]).ok().json();
    assert!(removed(&done, "workspace").is_empty(), "{done}");
    // Listed first, and nothing is done.
    let plan = later(dev, 15, &["gc", "--json", "--dry-run"]).ok().json();
    let planned = removed(&plan, "workspace");
    assert_eq!(planned.len(), 2, "{plan}");
    assert!(exists(&saved.path) && exists(&unsaved.path) && salvages(dev).is_empty());
    let run = later(dev, 15, &["gc"]).ok().says(&["Deleting", "longer ago than 14d (default)"]);
    assert!(run.stdout.contains("salvaged as"), "{}", run.stdout);
    assert!(!exists(&saved.path) && !exists(&unsaved.path));
    let kept = salvages(dev);
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert_eq!(kept[0]["unsaved"], serde_json::json!(["changes"]));
    assert_eq!(fs::read_to_string(Path::new(kept[0]["path"].as_str().unwrap()).join("mine")).unwrap(), "precious");
    assert_eq!(fs::read_dir(dev.data().join("trash")).unwrap().count(), 0, "the trash is emptied");
    let rows = dev.envctl(["status", "--json"]).ok().json();
    assert!(rows["workspaces"].as_array().unwrap().is_empty(), "{rows}");
}

#[test]
fn every_use_counts() {
    let trip = Trip::new();
    let dev = &trip.lab.dev;
    let (entered, edited) = (task_with(&trip, "one"), task_with(&trip, "two"));
    let (one, two) = (trip.enter_with(&entered, &[]), trip.enter_with(&edited, &[]));
    trip.entering(&entered).env("ENVCTL_TEST_NOW", in_days(10)).ok();
    // Git on the host, as an editor runs it.
    let index = fs::File::options().append(true).open(two.path.join(".git/index")).unwrap();
    let at = std::time::UNIX_EPOCH + std::time::Duration::from_secs(in_days(10).parse().unwrap());
    index.set_modified(at).unwrap();
    later(dev, 20, &["gc"]).ok();
    assert!(exists(&one.path) && exists(&two.path));
    // A time that is still to come is no use.
    index.set_modified(at + std::time::Duration::from_secs(86_400 * 1000)).unwrap();
    later(dev, 25, &["gc"]).ok();
    assert!(!exists(&one.path) && !exists(&two.path));
}

#[test]
fn who_sets_the_time() {
    let trip = Trip::new();
    let dev = &trip.lab.dev;
    trip.lab.repo.write("envctl.toml", "[workspace]\nttl = \"3d\"\n");
    let task = trip.publish(&trip.lab.repo);
    let workspace = trip.enter_with(&task, &[]);
    let status = || dev.envctl(["status", "-v"]).ok().stdout;
    assert!(status().contains("unused for 3d (the project)"), "{}", status());
    dev.write("config/envctl/config.toml", "[workspace]\nttl = \"5d\"\n");
    assert!(status().contains("unused for 5d (config.toml), which is in"), "{}", status());
    later(dev, 4, &["gc"]).ok();
    assert!(exists(&workspace.path));
    later(dev, 6, &["gc"]).ok();
    assert!(!exists(&workspace.path));
}

#[test]
fn a_closed_task() {
    let trip = Trip::new();
    let dev = &trip.lab.dev;
    let (closed, open) = (task_with(&trip, "one"), task_with(&trip, "two"));
    let (gone, stays) = (trip.enter_with(&closed, &[]), trip.enter_with(&open, &[]));
    gone.write("mine", "precious");
    trip.publishing(&trip.lab.repo, name_of(&closed)).args(["--status", "closed"]).ok();
    // Who cannot ask deletes nothing, and says so.
    let store = trip.lab.store.path.clone();
    let away = store.with_extension("away");
    fs::rename(&store, &away).unwrap();
    let done = dev.envctl(["gc", "--json"]).ok().json();
    assert!(removed(&done, "workspace").is_empty(), "{done}");
    assert!(done["kept"][0]["why"].as_str().unwrap().contains("whether the task is closed"), "{done}");
    assert!(dev.envctl(["gc"]).ok().stdout.contains("kept "));
    fs::rename(&away, &store).unwrap();
    let done = dev.envctl(["gc", "--json"]).ok().json();
    let removed = removed(&done, "workspace");
    assert_eq!(removed.len(), 1, "{done}");
    assert_eq!(removed[0]["why"], "its task is closed");
    assert_eq!(removed[0]["path"], gone.path.to_str().unwrap());
    assert_eq!(removed[0]["salvage"], salvages(dev)[0]["id"]);
    assert!(!exists(&gone.path) && exists(&stays.path));
}

#[test]
fn one_that_is_kept() {
    let trip = Trip::new();
    let dev = &trip.lab.dev;
    let task = task_with(&trip, "one");
    let workspace = trip.enter_with(&task, &[]);
    assert_eq!(dev.envctl(["workspace", "keep", &task]).ok().stdout.trim(), workspace.path.to_str().unwrap());
    let status = || dev.envctl(["status", "-v"]).ok().stdout;
    assert!(status().contains("workspace keep --off"), "{}", status());
    later(dev, 20, &["gc"]).ok();
    trip.publishing(&trip.lab.repo, name_of(&task)).args(["--yes", "--status", "closed"]).ok();
    later(dev, 21, &["gc"]).ok();
    assert!(exists(&workspace.path));
    dev.envctl(["workspace", "keep", "--off", &task]).ok();
    // A look at the store is remembered.
    dev.envctl(["tasks", "--store", &trip.lab.store.name()]).ok();
    assert!(status().contains("its task is closed, which is now"), "{}", status());
    later(dev, 22, &["gc"]).ok();
    assert!(!exists(&workspace.path));
    dev.envctl(["workspace", "keep", &task]).code(3);
}

/// A remote with a branch of the agent's, and a workspace for it.
fn on_a_branch(trip: &Trip, branch: &str, pushed: bool) -> crate::support::Repo {
    let repo = &trip.lab.repo;
    repo.git(&["checkout", "--quiet", "-b", branch, "origin/main"]);
    repo.write(branch, "work");
    repo.commit("work of its own");
    if pushed {
        repo.git(&["push", "--quiet", "--set-upstream", "origin", branch]);
    }
    let task = trip.publish(repo);
    trip.enter_with(&task, &["--lifetime", "per-branch"])
}

#[test]
fn a_merged_branch() {
    let trip = Trip::new();
    let (dev, repo) = (&trip.lab.dev, &trip.lab.repo);
    let pushed = on_a_branch(&trip, "pushed", true);
    let unpushed = on_a_branch(&trip, "unpushed", false);
    // One that has just begun is in the default branch, too.
    repo.git(&["checkout", "--quiet", "-b", "begun", "origin/main"]);
    let task = trip.publish(repo);
    let begun = trip.enter_with(&task, &["--lifetime", "per-branch"]);
    begun.write("mine", "precious");
    let gc = || dev.envctl(["gc", "--json"]).ok().json();
    assert!(removed(&gc(), "workspace").is_empty());
    repo.git(&["checkout", "--quiet", "main"]);
    for branch in ["pushed", "unpushed"] {
        repo.git(&["merge", "--quiet", "--no-edit", branch]);
    }
    repo.push();
    // Nobody is asked, nothing goes.
    let offline = dev.envctl(["gc", "--json", "--offline"]).ok().json();
    assert!(removed(&offline, "workspace").is_empty());
    assert_eq!(offline["kept"].as_array().unwrap().len(), 3, "{offline}");
    let away = repo.remote.with_extension("away");
    fs::rename(&repo.remote, &away).unwrap();
    let unreachable = gc();
    assert!(removed(&unreachable, "workspace").is_empty());
    assert!(unreachable["kept"][0]["why"].as_str().unwrap().contains("does not answer"), "{unreachable}");
    fs::rename(&away, &repo.remote).unwrap();
    let done = gc();
    let mut whys: Vec<_> = removed(&done, "workspace").iter().map(|one| one["why"].to_string()).collect();
    whys.sort();
    assert_eq!(whys, ["\"pushed was merged on the remote\"", "\"unpushed was merged on the remote\""], "{done}");
    assert!(!exists(&pushed.path) && !exists(&unpushed.path) && exists(&begun.path.join("mine")));
}

#[test]
fn a_deleted_branch() {
    let trip = Trip::new();
    let (dev, repo) = (&trip.lab.dev, &trip.lab.repo);
    let (pushed, never) = (on_a_branch(&trip, "pushed", true), on_a_branch(&trip, "never", false));
    // Pushed later, and seen there.
    let late = on_a_branch(&trip, "late", false);
    repo.git(&["push", "--quiet", "origin", "late"]);
    dev.envctl(["gc"]).ok();
    assert!([&pushed, &never, &late].iter().all(|workspace| exists(&workspace.path)));
    repo.git(&["push", "--quiet", "origin", "--delete", "pushed", "late"]);
    pushed.write("mine", "precious");
    let plan = dev.envctl(["gc", "--dry-run"]).ok().stdout;
    assert!(plan.contains("pushed was deleted on the remote; to be salvaged: a commit on pushed, changes"), "{plan}");
    dev.envctl(["gc"]).ok().says(&["late was deleted on the remote"]);
    assert!(!exists(&pushed.path) && !exists(&late.path) && exists(&never.path));
    let kept = salvages(dev);
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert!(kept[0]["task"].as_str().unwrap().starts_with("oci:"));
}

/// The default branch holds itself, and is not merged by that.
#[test]
fn the_default_branch_is_never_merged() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    repo.write("one", "x");
    repo.commit("unpushed");
    let task = trip.publish(repo);
    let workspace = trip.enter_with(&task, &["--lifetime", "per-branch"]);
    repo.push();
    trip.lab.dev.envctl(["gc"]).ok();
    assert!(exists(&workspace.path));
}

#[test]
fn some_are_never_deleted() {
    let trip = Trip::new();
    let dev = &trip.lab.dev;
    let (one, two) = (task_with(&trip, "one"), task_with(&trip, "two"));
    let project = trip.enter_with(&one, &["--lifetime", "per-project"]);
    let own = dev.path("own");
    trip.enter_with(&two, &["--into", own.to_str().unwrap()]);
    for task in [&one, &two] {
        trip.publishing(&trip.lab.repo, name_of(task)).args(["--status", "closed"]).ok();
    }
    for days in [20, 40, 60, 80] {
        later(dev, days, &["gc"]).ok();
    }
    assert!(exists(&project.path) && exists(&own));
    let rows = dev.envctl(["workspace", "ls", "--json"]).ok().json();
    for row in rows["workspaces"].as_array().unwrap() {
        assert_eq!((&row["deleted_by"], &row["deleted_at"]), (&"developer".into(), &serde_json::Value::Null), "{row}");
    }
    dev.envctl(["workspace", "rm", &two, "--yes"]).code(2).says(&["yours to remove"]);
    assert!(exists(&own));
}

#[test]
fn a_live_runtime_keeps_its_workspace() {
    let lab = Lab::new();
    let task = lab.publish(&ImageBuilder::busybox());
    let alive = Alive::start(&lab, &task, "echo mine >mine");
    let done = later(&lab.dev, 20, &["gc", "--json"]).ok().json();
    assert!(removed(&done, "workspace").is_empty(), "{done}");
    assert!(done["kept"][0]["why"].as_str().unwrap().contains("a runtime is live"), "{done}");
    let status = lab.dev.envctl(["status", "--json"]).ok().json();
    assert_eq!(status["workspaces"][0]["in_use"], true, "{status}");
    lab.dev.envctl(["exec", &task, "--", "test", "-e", "mine"]).ok();
    alive.kill_owner().assert_gone();
}

/// Neither stands in the other's way, and no work is lost between them.
#[test]
fn case_53_collections_beside_enters() {
    let lab = Lab::new();
    let task = lab.publish(&ImageBuilder::busybox());
    lab.sh(&task, "echo 0 >count");
    let path = lab.dev.envctl(["workspace", "path", &task]).ok().stdout;
    let path = Path::new(path.trim());
    std::thread::scope(|scope| {
        let collecting = scope.spawn(|| {
            for _ in 0..12 {
                later(&lab.dev, 20, &["gc"]).ok();
            }
        });
        let mut number = 0;
        while !collecting.is_finished() {
            number += 1;
            // What a collection salvaged is made anew; what is entered stays.
            lab.enter(&task, &["sh", "-c", &format!("echo {number} >mine; cat mine; test $(cat mine) = {number}")])
                .ok();
        }
    });
    let last = |folder: &Path| fs::read_to_string(folder.join("mine")).ok();
    let places = salvages(&lab.dev);
    let places = places.iter().map(|row| Path::new(row["path"].as_str().unwrap()));
    assert!(places.chain([path]).any(|place| last(place).is_some()), "the last work is somewhere");
    lab.assert_baseline();
}
