//! Clocks that jump, and clocks that are somebody else's: nothing goes early for
//! them, and nothing is kept for ever.

use std::fs;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use super::{exists, in_days, later, removed, salvages, task_with};
use crate::support::{ImageBuilder, Lab, Trip, until};

/// Lets a file have been written some days from now.
fn dated(path: &Path, days: i64) {
    let at = UNIX_EPOCH + Duration::from_secs(in_days(days).parse().unwrap());
    fs::File::open(path).unwrap().set_modified(at).unwrap();
}

/// Build shells export 1980: that is for documents, and ages nothing.
#[test]
fn a_date_for_documents_ages_no_workspace() {
    let trip = Trip::new();
    let lab = &trip.lab;
    let task = lab.publish(&ImageBuilder::busybox());
    let in_a_build_shell = |args: &[&str]| lab.dev.envctl(args).env("SOURCE_DATE_EPOCH", "315532800");
    in_a_build_shell(&["enter", &task, "--", "true"]).ok();
    let workspace = lab.dev.envctl(["workspace", "path", &task]).ok().stdout;
    lab.dev.envctl(["gc"]).ok();
    in_a_build_shell(&["gc"]).ok();
    assert!(exists(Path::new(workspace.trim())));
    let ledger = fs::read_to_string(lab.dev.state().join("ledger.jsonl")).unwrap();
    assert!(!ledger.contains("1980-"), "{ledger}");
    // What is published has the date.
    trip.publishing(&lab.repo, "dated").env("SOURCE_DATE_EPOCH", "315532800").ok();
    let shown = lab.dev.envctl(["show", &lab.store.reference("dated"), "--json"]).ok().json();
    assert_eq!(shown["identity"]["created_at"], "1980-01-01T00:00:00Z", "{shown}");
}

/// A collection that was noted in the future does not stop those to come.
#[test]
fn a_collection_in_the_future() {
    let lab = Lab::new();
    let task = lab.publish(&ImageBuilder::busybox());
    lab.sh(&task, "true");
    let mark = lab.dev.state().join("last-gc");
    until("the first one has begun", || mark.exists());
    dated(&mark, 4000);
    let draft = lab.dev.cache().join("tmp/dead");
    fs::create_dir_all(&draft).unwrap();
    lab.sh(&task, "true");
    until("it is cleared", || !draft.exists());
}

/// An editor that writes a file is at work, though no git runs.
#[test]
fn edits_count_as_use() {
    let trip = Trip::new();
    let dev = &trip.lab.dev;
    let (edited, not) = (task_with(&trip, "one"), task_with(&trip, "two"));
    let (edited, not) = (trip.enter_with(&edited, &[]), trip.enter_with(&not, &[]));
    fs::create_dir_all(edited.path.join("src/deep")).unwrap();
    edited.write("src/deep/mine", "precious");
    dated(&edited.path.join("src/deep/mine"), 10);
    let rows = later(dev, 20, &["workspace", "ls", "--json"]).ok().json();
    let due = |row: &serde_json::Value| row["deleted_at"].as_str().unwrap() < jiff_of(20).as_str();
    assert_eq!(rows["workspaces"].as_array().unwrap().iter().filter(|row| due(row)).count(), 1, "{rows}");
    later(dev, 20, &["gc"]).ok();
    assert!(exists(&edited.path) && !exists(&not.path));
    later(dev, 25, &["gc"]).ok();
    assert!(!exists(&edited.path));
}

fn jiff_of(days: i64) -> String {
    jiff::Timestamp::from_second(in_days(days).parse().unwrap()).unwrap().to_string()
}

/// What was salvaged, and every workspace, outlives a clock that was wrong for a
/// day, whichever way it jumped.
#[test]
fn a_clock_that_jumps_both_ways() {
    let trip = Trip::new();
    let dev = &trip.lab.dev;
    let (kept, gone) = (task_with(&trip, "one"), task_with(&trip, "two"));
    let (kept, gone_at) = (trip.enter_with(&kept, &[]), trip.enter_with(&gone, &[]));
    gone_at.write("mine", "precious");
    dev.envctl(["workspace", "rm", &gone, "--yes"]).ok();
    dev.write("state/envctl/logs/old.log", "");
    dev.envctl(["gc"]).ok();
    let log = dev.state().join("logs/old.log");
    let everything = |when: i64| {
        assert!(exists(&kept.path) && log.exists(), "{when}");
        assert_eq!(salvages(dev).len(), 1, "{when}");
    };
    // To 2037, for two days; to 1970; and right again.
    for days in [4000, 0, -20_000, 1, -20_000, 2] {
        let said = later(dev, days, &["gc"]).ok();
        said.says(&["nothing is removed for its age"]);
        everything(days);
    }
    // All of it has its whole time, and no more.
    later(dev, 15, &["gc"]).ok();
    assert_eq!((exists(&kept.path), salvages(dev).len()), (true, 1));
    later(dev, 17, &["gc"]).ok();
    assert!(!exists(&kept.path) && log.exists());
    let done = later(dev, 33, &["gc", "--json"]).ok().json();
    assert_eq!((removed(&done, "salvage").len(), removed(&done, "log").len()), (1, 1), "{done}");
    assert!(salvages(dev).is_empty());
}

/// Collections that are rare for a reason of their own still collect.
#[test]
fn collections_that_are_far_apart() {
    let trip = Trip::new();
    let dev = &trip.lab.dev;
    let workspace = trip.enter_with(&task_with(&trip, "one"), &[]);
    for days in [0, 60] {
        later(dev, days, &["gc"]).ok();
        assert!(exists(&workspace.path), "{days}");
    }
    later(dev, 120, &["gc"]).ok();
    assert!(!exists(&workspace.path));
}

/// A use under a clock that is behind is the last one all the same.
#[test]
fn a_use_under_a_clock_that_is_behind() {
    let trip = Trip::new();
    let task = task_with(&trip, "one");
    let workspace = trip.enter_with(&task, &[]);
    // The files are as old as the checkout that they came from.
    let all = "find . -exec touch --no-dereference --date='60 days ago' {} +";
    trip.lab.dev.call("sh", ["-c", all]).cwd(&workspace.path).ok();
    later(&trip.lab.dev, -20_000, &["enter", &task, "--no-runtime"]).ok();
    later(&trip.lab.dev, 13, &["gc"]).ok();
    assert!(exists(&workspace.path));
}
