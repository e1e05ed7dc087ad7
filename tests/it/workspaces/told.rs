//! Nobody is surprised: what a collection takes away is told, and what was set aside
//! is offered before something fresh takes its place.

use std::fs;

use super::{exists, later, name_of, salvages, task_with};
use rustix::termios::LocalModes;

use crate::support::{ImageBuilder, Lab, Terminal, Trip, until};

#[test]
fn a_sweep_in_the_background_is_told_once_and_remembered() {
    let trip = Trip::new();
    let lab = &trip.lab;
    let due = task_with(&trip, "one");
    let workspace = trip.enter_with(&due, &[]);
    workspace.write("mine", "precious");
    trip.publishing(&lab.repo, name_of(&due)).args(["--yes", "--status", "closed"]).ok();
    let task = lab.publish(&ImageBuilder::busybox());
    lab.sh(&task, "true");
    let mark = lab.dev.state().join("last-gc");
    until("a collection has begun", || mark.exists());
    until("the workspace is set aside", || !exists(&workspace.path));
    until("it is written down", || lab.dev.state().join("swept.jsonl").exists());
    let id = salvages(&lab.dev)[0]["id"].as_str().unwrap().to_owned();
    let said = lab.enter(&task, &["true"]).ok().says(&["1 workspace set aside", "envctl log --local"]);
    assert!(!said.stderr.contains("removed"), "{}", said.stderr);
    assert!(!lab.enter(&task, &["true"]).ok().stderr.contains("set aside"), "once");
    let log = lab.dev.envctl(["log", "--local"]).ok().stdout;
    for part in [&*due, "because its task is closed", "held changes", &id, workspace.path.to_str().unwrap()] {
        assert!(log.contains(part), "{part}: {log}");
    }
    let json = lab.dev.envctl(["log", "--local", "--json"]).ok().json();
    assert_eq!((&json["swept"][0]["salvage"], &json["swept"][0]["task"]), (&id.into(), &due.into()), "{json}");
    lab.dev.envctl(["log"]).code(2);
}

#[test]
fn a_salvage_is_told_of_before_a_fresh_workspace_is_made() {
    let trip = Trip::new();
    let dev = &trip.lab.dev;
    let task = task_with(&trip, "one");
    let workspace = trip.enter_with(&task, &[]);
    workspace.write("mine", "precious");
    later(dev, 20, &["gc"]).ok();
    let id = salvages(dev)[0]["id"].as_str().unwrap().to_owned();
    let back = format!("envctl workspace recover {id}");
    dev.envctl(["workspace", "path", &task]).code(3).says(&[&back]);
    assert!(dev.envctl(["status"]).ok().stdout.contains(&back));
    assert_eq!(dev.envctl(["status", "--json"]).ok().json()["salvages"][0]["id"], *id);
    assert!(dev.envctl(["doctor"]).run().stdout.contains(&back));
    trip.entering(&task).ok().says(&["was set aside", "(changes)", &back]);
    assert!(!exists(&workspace.path.join("mine")));
    // Who has a workspace is told nothing.
    assert!(!trip.entering(&task).ok().stderr.contains(&back));
}

#[test]
fn on_a_terminal_it_is_brought_back() {
    let lab = Lab::new();
    let task = lab.publish(&ImageBuilder::busybox());
    lab.sh(&task, "echo precious >mine");
    lab.pins_at_rest();
    lab.dev.envctl(["workspace", "rm", &task, "--yes"]).ok();
    let mut terminal = Terminal::open(&lab.dev, &["enter", &task], (24, 120));
    terminal.sees("Bring it back");
    until("it is asked", || !terminal.modes().local_modes.contains(LocalModes::ICANON));
    terminal.types("y");
    terminal.sees("$ ");
    terminal.types("tr a-z A-Z <mine\r");
    terminal.sees("PRECIOUS");
}

#[test]
fn a_folder_that_a_person_removed_is_told_of_and_forgotten() {
    let trip = Trip::new();
    let dev = &trip.lab.dev;
    let task = task_with(&trip, "one");
    let workspace = trip.enter_with(&task, &[]);
    envctl::disk::remove::tree(&workspace.path).unwrap();
    assert!(dev.envctl(["status"]).ok().stdout.contains("its folder was removed"));
    dev.envctl(["gc"]).ok();
    assert!(!dev.envctl(["status"]).ok().stdout.contains("its folder was removed"));
    assert_eq!(fs::read_dir(dev.data().join("pins")).unwrap().count(), 0);
}
