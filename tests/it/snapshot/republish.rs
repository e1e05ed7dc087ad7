//! Handing on: publishing again, from an entered workspace, and from places
//! with next to nothing.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::support::{Facts, Home, Repo, Run, Trip};

/// Publishes from the developer's workspace, with nothing said but `args`.
#[track_caller]
fn publish_from(trip: &Trip, workspace: &Repo, args: &[&str]) -> Run {
    trip.lab.dev.envctl([&["publish", "--json"], args].concat()).cwd(&workspace.path).ok()
}

fn show(trip: &Trip, task: &str) -> Value {
    trip.lab.dev.envctl(["show", task, "--json"]).ok().json()
}

#[test]
fn task_store_and_image_are_known_in_a_workspace() {
    let trip = Trip::new();
    trip.lab.repo.write("agent", "x\n");
    trip.lab.repo.commit("by the agent");
    let task = trip.publish(&trip.lab.repo);
    let first = show(&trip, &task);
    let workspace = trip.enter(&task);
    workspace.write("developer", "x\n");
    workspace.commit("by the developer");
    workspace.write("agent", "changed\n");
    let below = workspace.seen_by(&trip.lab.dev, workspace.path.join(".git/.."));
    let printed = publish_from(&trip, &below, &["--status", "handed-back", "--message", "done"]).json();
    assert_eq!(printed["task"], task.as_str());
    assert_eq!(printed["enter"], format!("envctl enter {task}"));
    assert_eq!(printed["unpushed_commits"], 2);

    let second = show(&trip, &task)["identity"].clone();
    assert_eq!(second["parent"], first["digest"]);
    assert_eq!(second["toolchain"], first["identity"]["toolchain"]);
    assert_eq!(second["workdir"], first["identity"]["workdir"]);
    assert_eq!(second["handoff"]["status"], "handed-back");
    assert_eq!(second["repo"]["url"], first["identity"]["repo"]["url"]);

    // A second developer, and the agent again.
    let other = trip.with_developer(Home::new());
    Facts::of(&workspace).assert_same(&Facts::of(&other.enter(&task)));
    let agent = trip.with_developer(trip.lab.agent.clone());
    let back = agent.enter(&task);
    Facts::of(&workspace).assert_same(&Facts::of(&back));
    // The older state stays reachable by its digest.
    let (store, _) = task.rsplit_once(':').unwrap();
    let older = format!("{store}@{}", first["digest"].as_str().unwrap());
    Facts::of(&trip.lab.repo).assert_same(&Facts::of(&other.enter(&older)));
}

#[test]
fn a_chain_of_handoffs() {
    let trip = Trip::new();
    let task = trip.publish(&trip.lab.repo);
    let mut parent = show(&trip, &task)["digest"].clone();
    for n in 0..4 {
        let next = trip.with_developer(Home::new());
        let workspace = next.enter(&task);
        workspace.write(format!("step-{n}"), "x\n");
        if n % 2 == 0 {
            workspace.commit("step");
        }
        publish_from(&next, &workspace, &[]);
        let shown = show(&trip, &task);
        assert_eq!(shown["identity"]["parent"], parent);
        parent = shown["digest"].clone();
        Facts::of(&workspace).assert_same(&Facts::of(&trip.with_developer(Home::new()).enter(&task)));
    }
}

#[test]
fn a_workspace_becomes_another_task() {
    let trip = Trip::new();
    let task = trip.publish(&trip.lab.repo);
    let workspace = trip.enter(&task);
    workspace.write("idea", "x\n");
    publish_from(&trip, &workspace, &["another"]);
    let (store, _) = task.rsplit_once(':').unwrap();
    let shown = show(&trip, &format!("{store}:another"));
    assert_eq!(shown["identity"]["task_id"], "another");
    assert_eq!(shown["identity"]["parent"], Value::Null, "it is the first of its task");
}

#[test]
fn publishing_an_unchanged_checkout_again() {
    let trip = Trip::new();
    let task = trip.publish(&trip.lab.repo);
    let first = show(&trip, &task);
    trip.publishing(&trip.lab.repo, first["identity"]["task_id"].as_str().unwrap()).ok();
    let second = show(&trip, &task);
    assert_eq!(second["identity"]["snapshot_id"], first["identity"]["snapshot_id"]);
    trip.enter(&task);
}

#[test]
fn outside_a_workspace_the_task_must_be_named() {
    let trip = Trip::new();
    let args = ["publish", "--store", &trip.lab.store.name(), "--image", &trip.image];
    trip.lab.agent.envctl(args).cwd(&trip.lab.repo.path).code(2).says(&["error:", "which task", "hint:"]);
}

#[test]
fn an_account_without_any_privilege() {
    let trip = Trip::unprivileged();
    trip.lab.repo.write("new", "x\n");
    trip.lab.repo.commit("by the agent");
    trip.lab.repo.write("newer", "x\n");
    trip.round(&trip.lab.repo);
}

/// A container: a home that cannot be written, no XDG folder, no tmp but its own.
#[test]
fn a_home_that_cannot_be_written() {
    let trip = Trip::unprivileged();
    let repo = &trip.lab.repo;
    repo.write("new", "x\n");
    let home = trip.lab.agent.path("home");
    fs::set_permissions(&home, fs::Permissions::from_mode(0o555)).unwrap();
    std::os::unix::fs::chown(&home, Some(0), Some(0)).unwrap();
    let folders = ["CONFIG", "CACHE", "DATA", "STATE"].map(|name| format!("--unset=XDG_{name}_HOME"));
    let task = bare(&trip, &folders.each_ref().map(String::as_str));
    Facts::of(repo).assert_same(&Facts::of(&trip.enter(&task)));
    assert_eq!(fs::read_dir(&home).unwrap().count(), 0);
}

#[test]
fn no_home_at_all() {
    let trip = Trip::unprivileged();
    trip.lab.repo.write("new", "x\n");
    let task = bare(
        &trip,
        &[
            "--unset=HOME",
            "--unset=XDG_CONFIG_HOME",
            "--unset=XDG_CACHE_HOME",
            "--unset=XDG_DATA_HOME",
            "--unset=XDG_STATE_HOME",
        ],
    );
    Facts::of(&trip.lab.repo).assert_same(&Facts::of(&trip.enter(&task)));
}

/// Publishes with less of an environment; what `enter` takes.
#[track_caller]
fn bare(trip: &Trip, less: &[&str]) -> String {
    let task = trip.lab.next_task();
    let envctl = trip.lab.agent.binary();
    let call = trip.lab.agent.call("env", less).arg(envctl);
    let args = ["publish", &task, "--store", &trip.lab.store.name(), "--image", &trip.image];
    let run = call.args(args).cwd(&trip.lab.repo.path).ok();
    let reference = trip.lab.store.reference(&task);
    assert_eq!(run.stdout, format!("envctl enter {reference}\n"));
    reference
}

#[test]
fn a_checkout_that_cannot_be_written() {
    let trip = Trip::unprivileged();
    let repo = &trip.lab.repo;
    repo.write("new", "x\n");
    repo.write("README", "changed\n");
    let task = trip.lab.next_task();
    let script = "mount --bind \"$0\" \"$0\" && mount -o remount,bind,ro \"$0\" && cd \"$0\" && exec \"$@\"";
    let args = ["publish", &task, "--store", &trip.lab.store.name(), "--image", &trip.image];
    let call = trip.lab.agent.call("unshare", ["--user", "--map-root-user", "--mount", "sh", "-euc", script]);
    call.arg(&repo.path).arg(trip.lab.agent.binary()).args(args).ok();
    Facts::of(repo).assert_same(&Facts::of(&trip.enter(&trip.lab.store.reference(&task))));
}

/// A hook that runs envctl: git's own variables must not redirect it.
#[test]
fn from_inside_a_hook() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    let hook = format!(
        "#!/bin/sh\n[ -n \"$GIT_INDEX_FILE\" ] || exit 9\nexec {} publish hooked --store {} --image {}\n",
        trip.lab.agent.binary().display(),
        trip.lab.store.name(),
        trip.image
    );
    repo.write(".git/hooks/post-commit", hook);
    fs::set_permissions(repo.path.join(".git/hooks/post-commit"), fs::Permissions::from_mode(0o755)).unwrap();
    repo.write("new", "x\n");
    repo.commit("hooked");
    let workspace = trip.enter(&trip.lab.store.reference("hooked"));
    Facts::of(repo).assert_same(&Facts::of(&workspace));
}
