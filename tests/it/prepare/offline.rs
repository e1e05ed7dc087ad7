//! What was entered once needs neither store nor remote; what is the same for
//! a second task is not fetched twice.

use std::fs;
use std::path::PathBuf;

use crate::support::{Facts, ImageBuilder, Lab, Trip};

/// Store, images and remote are gone, as on a train.
struct Gone(Vec<(PathBuf, PathBuf)>);

impl Gone {
    fn of(lab: &Lab) -> Self {
        let places = [&lab.store.path, &lab.images.path, &lab.repo.remote];
        let moved = places.map(|place| (place.clone(), place.with_extension("gone")));
        moved.iter().for_each(|(here, there)| fs::rename(here, there).unwrap());
        Gone(moved.to_vec())
    }

    fn back(self) {
        self.0.iter().for_each(|(here, there)| fs::rename(there, here).unwrap());
    }
}

#[test]
fn a_workspace_is_entered_again_without_store_and_remote() {
    let trip = Trip::new();
    trip.lab.repo.write("new", "x");
    let task = trip.publish(&trip.lab.repo);
    let workspace = trip.enter(&task);
    workspace.write("mine", "work in progress");
    let before = Facts::of(&workspace);
    let _gone = Gone::of(&trip.lab);
    for flags in [&[] as &[&str], &["--offline"]] {
        let run = trip.entering(&task).args(flags).ok();
        assert_eq!(run.stdout.trim(), workspace.path.to_str().unwrap());
    }
    before.assert_same(&Facts::of(&workspace));
    // By its name alone: the store is known.
    let (_, name) = task.rsplit_once(':').unwrap();
    assert_eq!(trip.enter(name).path, workspace.path);
}

both!(a_runtime_starts_without_store_and_remote);
fn a_runtime_starts_without_store_and_remote(lab: Lab) {
    let task = lab.publish(&ImageBuilder::busybox());
    lab.enter(&task, &["true"]).ok();
    let gone = Gone::of(&lab);
    let run = lab.enter(&task, &["sh", "-c", "cat README; exit 7"]).code(7);
    assert_eq!(run.stdout, "shop\n");
    lab.enter(&task, &["true"]).arg("--").run();
    let run = lab.dev.envctl(["--offline", "enter", &task, "--", "cat", "README"]).ok();
    assert_eq!(run.stdout, "shop\n");
    gone.back();
}

#[test]
fn looking_needs_no_store_either() {
    let trip = Trip::new();
    let task = trip.publish(&trip.lab.repo);
    let workspace = trip.enter(&task);
    let online = trip.lab.dev.envctl(["show", &task, "--json"]).ok().json();
    let _gone = Gone::of(&trip.lab);
    let offline = trip.lab.dev.envctl(["show", &task, "--json", "--offline"]).ok();
    assert_eq!(offline.json()["identity"], online["identity"]);
    assert_eq!(offline.stderr, "");
    // Without the flag the difference is told.
    let told = trip.lab.dev.envctl(["show", &task, "--json"]).ok().says(&["warning:", "known here last"]);
    assert_eq!(told.json()["identity"], online["identity"]);
    let status = trip.lab.dev.envctl(["status", "--json"]).ok().json();
    assert_eq!(status["workspaces"][0]["path"], workspace.path.to_str().unwrap());
    let plan = trip.entering(&task).args(["--dry-run", "--json"]).ok().json();
    assert_eq!((plan["workspace_ready"].as_bool(), plan["warm"].as_bool()), (Some(true), Some(true)));
    // What nobody entered is not here.
    let run = trip.lab.dev.envctl(["show", &trip.lab.store.reference("other"), "--offline"]).code(3);
    run.says(&["error:", "hint:"]);
}

#[test]
fn a_cold_machine_says_what_is_missing() {
    let lab = Lab::new();
    let task = lab.publish(&ImageBuilder::busybox());
    // The store is a folder: it is there, the commit is not.
    let run = lab.dev.envctl(["enter", &task, "--offline", "--no-runtime"]).code(7);
    run.says(&["error:", &lab.repo.head(), "is not on this machine", "--offline"]);
    lab.dev.envctl(["enter", &task, "--offline", "--", "true"]).code(125).says(&["--offline"]);
    let gone = Gone::of(&lab);
    let run = lab.dev.envctl(["enter", &task, "--offline", "--no-runtime"]).run();
    assert!(run.code == 3 || run.code == 7, "{run:?}");
    run.says(&["error:", "store", "hint:"]);
    gone.back();
    lab.enter(&task, &["true"]).ok();
}

/// The mirror has the base: only the store is asked.
#[test]
fn a_second_task_of_the_repository_needs_no_remote() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    repo.write("one", "x");
    let one = trip.publish(repo);
    repo.write("two", "x");
    repo.commit("unpushed");
    let two = trip.publish(repo);
    trip.enter(&one);
    let away = trip.lab.agent.path("away");
    fs::rename(&repo.remote, &away).unwrap();
    for flag in ["--verbose", "--offline"] {
        let into = trip.lab.dev.path(flag);
        let run = trip.entering(&two).arg(flag).arg("--into").arg(&into).ok();
        assert!(!run.stderr.contains("Fetched"), "{}", run.stderr);
        let workspace = repo.seen_by(&trip.lab.dev, &into);
        // Facts of the agent's side without its remote, too.
        Facts::of(repo).assert_same(&Facts::of(&workspace));
    }
    let report = trip.entering(&two).arg("--json").ok().json();
    let steps = report["steps"].as_array().unwrap();
    let fetched = steps.iter().find(|step| step["name"] == "fetch.repo").unwrap();
    assert_eq!(fetched["bytes"], 0);
}

#[test]
fn a_pin_never_jumps() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    let task = trip.publish(repo);
    let workspace = trip.enter(&task);
    let before = Facts::of(&workspace);
    repo.write("later", "x");
    trip.publishing(repo, task.rsplit_once(':').unwrap().1).ok();
    assert_eq!(trip.enter(&task).path, workspace.path);
    before.assert_same(&Facts::of(&workspace));
    // Refreshing sets the old workspace aside, with what the developer did.
    workspace.write("mine", "unsaved");
    let run = trip.entering(&task).arg("--refresh").ok().says(&["set aside"]);
    assert_eq!(run.stdout.trim(), workspace.path.to_str().unwrap());
    Facts::of(repo).assert_same(&Facts::of(&workspace));
    let kept = fs::read_dir(trip.lab.dev.data().join("recovery")).unwrap().next().unwrap().unwrap().path();
    assert_eq!(fs::read(kept.join("mine")).unwrap(), b"unsaved");
}

/// `--refresh` without a store changes nothing.
#[test]
fn a_refresh_that_fails_keeps_the_workspace() {
    let trip = Trip::new();
    let task = trip.publish(&trip.lab.repo);
    let workspace = trip.enter(&task);
    workspace.write("mine", "unsaved");
    let before = Facts::of(&workspace);
    let gone = Gone::of(&trip.lab);
    trip.entering(&task).arg("--refresh").code(3).says(&["error:", "hint:"]);
    gone.back();
    // Neither does one that finds a task whose snapshot is damaged.
    trip.lab.repo.write("later", "x");
    let name = task.rsplit_once(':').unwrap().1;
    trip.publishing(&trip.lab.repo, name).ok();
    let manifest = trip.lab.store.document(name);
    let pack = manifest["layers"][1]["digest"].as_str().unwrap();
    let good = trip.lab.store.swap(pack, Some(b"damaged"));
    trip.entering(&task).arg("--refresh").code(5).says(&["error:"]);
    before.assert_same(&Facts::of(&workspace));
    assert_eq!(trip.enter(&task).path, workspace.path);
    trip.lab.store.swap(pack, Some(&good));
    trip.entering(&task).arg("--refresh").ok();
}
