//! `workspace ls`, `path`, `rm` and `recover`.

use std::fs;

use super::{exists, later, name_of, salvages, task_with};
use crate::support::{Facts, Trip};

#[test]
fn a_folder_for_a_shell_to_go_to() {
    let trip = Trip::new();
    let dev = &trip.lab.dev;
    let task = task_with(&trip, "one");
    let run = dev.envctl(["workspace", "path", &task]).code(3).says(&["no workspace", "envctl enter"]);
    assert_eq!(run.stdout, "");
    let workspace = trip.enter_with(&task, &[]);
    for name in [&task, name_of(&task)] {
        let run = dev.envctl(["workspace", "path", name]).ok();
        assert_eq!(
            (run.stdout.as_str(), run.stderr.as_str()),
            (format!("{}\n", workspace.path.display()).as_str(), "")
        );
    }
    assert_eq!(
        dev.envctl(["workspace", "path", &task, "--json"]).ok().json()["path"],
        workspace.path.to_str().unwrap()
    );
    let script = "cd \"$(\"$0\" workspace path \"$1\")\" && cat one";
    let binary = dev.binary().to_str().unwrap();
    assert_eq!(dev.call("sh", ["-c", script, binary, &task]).ok().stdout, "one");
    let listed = dev.envctl(["workspace", "ls"]).ok().stdout;
    assert!(
        listed.contains(name_of(&task)) && listed.contains("per-task, used just now\n    deleted when"),
        "{listed}"
    );
}

/// In the folder of a workspace, its task need not be named.
#[test]
fn verbs_know_the_task_of_the_folder_they_are_called_in() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    repo.sh("git checkout -q -b topic && echo t >f && git add f && git commit -qm t && git checkout -q main
        echo m >f && git add f && git commit -qm m; git merge -q topic; true")
        .ok();
    let task = trip.publish(repo);
    let workspace = trip.enter(&task);
    workspace.mkdir("deep");
    let inside = |args: &[&str]| trip.lab.dev.envctl(args).cwd(workspace.path.join("deep"));
    let shown = inside(&["show"]).ok().stdout;
    assert_eq!(shown, trip.lab.dev.envctl(["show", &task]).ok().stdout);
    // What waits inside is said before anybody enters.
    for line in
        ["commits    1 beyond", "unfinished a merge is in progress", "stayed     where it was published: branches"]
    {
        assert!(shown.contains(line), "{line}: {shown}");
    }
    assert!(!inside(&["log"]).ok().stdout.is_empty());
    workspace.write("deep/new", "x");
    assert_eq!(inside(&["diff"]).ok().stdout, "file       A deep/new\n");
    let page = trip.lab.dev.path("page.html");
    inside(&["view", "--output", page.to_str().unwrap()]).ok();
    let page = fs::read_to_string(page).unwrap();
    assert!(page.contains("a merge is in progress") && page.contains("topic"), "{page}");
    inside(&["reset"]).ok();
    inside(&["logs"]).code(3).says(&["has no log"]);
    inside(&["exec"]).code(125).says(&["no running runtime"]);
    inside(&["ports", "ls"]).code(3).says(&["no running runtime"]);
    for verb in [&["show"][..], &["diff"], &["view"], &["log"], &["logs"], &["ports", "ls"]] {
        trip.lab.dev.envctl(verb).cwd(&trip.lab.repo.path).code(2).says(&["no task is named", "envctl tasks"]);
    }
    trip.lab.dev.envctl(["reset"]).cwd(&trip.lab.repo.path).code(2).says(&["no task is named", "--all"]);
}

#[test]
fn removed_and_brought_back() {
    let trip = Trip::new();
    let dev = &trip.lab.dev;
    let task = task_with(&trip, "one");
    let workspace = trip.enter_with(&task, &[]);
    workspace.write("mine", "precious");
    let before = Facts::of(&workspace);
    dev.envctl(["workspace", "rm", &task]).code(2).says(&["salvaged first: changes", "--yes"]);
    assert!(exists(&workspace.path));
    let gone = dev.envctl(["workspace", "rm", &task, "--yes", "--json"]).ok().json();
    let id = gone["salvage"]["id"].as_str().unwrap();
    assert!(!exists(&workspace.path));
    dev.envctl(["workspace", "rm", &task, "--yes"]).code(3);
    // It is named where somebody looks for it.
    let listed = dev.envctl(["workspace", "recover"]).ok().stdout;
    assert!(
        listed.contains(id) && listed.contains("removed by hand; kept until") && listed.contains("holds: changes\n"),
        "{listed}"
    );
    assert_eq!(dev.envctl(["workspace", "recover", id]).ok().stdout.trim(), workspace.path.to_str().unwrap());
    before.assert_same(&Facts::of(&workspace));
    assert!(salvages(dev).is_empty());
    // It is the task's again, at the same pin.
    assert_eq!(trip.entering(&task).arg("--offline").ok().stdout.trim(), workspace.path.to_str().unwrap());
    dev.envctl(["workspace", "recover", id]).code(3).says(&["no salvage"]);
}

#[test]
fn what_holds_nothing_is_not_kept() {
    let trip = Trip::new();
    let task = task_with(&trip, "one");
    trip.enter_with(&task, &[]);
    let gone = trip.lab.dev.envctl(["workspace", "rm", &task, "--yes", "--json"]).ok().json();
    assert_eq!(gone["salvage"], serde_json::Value::Null, "{gone}");
    assert!(salvages(&trip.lab.dev).is_empty());
    crate::support::until("the trash is emptied", || {
        fs::read_dir(trip.lab.dev.data().join("trash")).unwrap().next().is_none()
    });
    trip.enter_with(&task, &[]);
}

/// A place that is taken is left alone.
#[test]
fn where_there_is_no_room() {
    let trip = Trip::new();
    let dev = &trip.lab.dev;
    let task = task_with(&trip, "one");
    let workspace = trip.enter_with(&task, &[]);
    workspace.write("mine", "first");
    let first = Facts::of(&workspace);
    let gone = dev.envctl(["workspace", "rm", &task, "--yes", "--json"]).ok().json();
    let id = gone["salvage"]["id"].as_str().unwrap();
    trip.enter_with(&task, &[]).write("mine", "second");
    dev.envctl(["workspace", "recover", id]).code(2).says(&["not empty", "--into"]);
    dev.write("own/theirs", "x");
    let own = dev.path("own");
    dev.envctl(["workspace", "recover", id, "--into", own.to_str().unwrap()]).code(2).says(&["not empty"]);
    let other = dev.path("other");
    dev.envctl(["workspace", "recover", id, "--into", "../other"]).ok();
    first.assert_same(&Facts::of(&trip.lab.repo.seen_by(dev, &other)));
    assert_eq!(fs::read_to_string(workspace.path.join("mine")).unwrap(), "second");
    // It can be entered there.
    let run = trip.entering(&task).args(["--offline", "--into", other.to_str().unwrap()]).ok();
    assert_eq!(run.stdout.trim(), other.to_str().unwrap());
}

#[test]
fn salvages_are_kept_for_as_long_as_it_says() {
    let trip = Trip::new();
    let dev = &trip.lab.dev;
    let task = task_with(&trip, "one");
    trip.enter_with(&task, &[]).write("mine", "precious");
    dev.envctl(["workspace", "rm", &task, "--yes"]).ok();
    let path = salvages(dev)[0]["path"].as_str().unwrap().to_owned();
    later(dev, 29, &["gc"]).ok();
    assert!(exists(path.as_ref()));
    dev.write("config/envctl/config.toml", "[workspace]\nkeep = \"90d\"\n");
    later(dev, 60, &["gc"]).ok();
    later(dev, 80, &["gc"]).ok();
    assert!(exists(path.as_ref()));
    let plan = later(dev, 91, &["gc", "--dry-run"]).ok().stdout;
    assert!(plan.contains("salvage ") && exists(path.as_ref()), "{plan}");
    later(dev, 91, &["gc"]).ok();
    assert!(!exists(path.as_ref()) && salvages(dev).is_empty());
}
