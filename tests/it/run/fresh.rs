//! The workspace of one run: as the task is published, and gone afterwards.

use std::fs;
use std::path::Path;

use super::{report, run, task};
use crate::support::Lab;

fn workspaces(lab: &Lab) -> Vec<String> {
    let status = lab.dev.envctl(["status", "--json"]).ok().json();
    status["workspaces"].as_array().unwrap().iter().map(|row| row["path"].as_str().unwrap().to_owned()).collect()
}

both!(a_run_begins_with_what_is_published_and_leaves_nothing);
fn a_run_begins_with_what_is_published_and_leaves_nothing(lab: Lab) {
    lab.repo.write(".gitignore", "build/\n");
    let task = task(&lab);
    // What one leaves, built or not, the next does not find.
    let own = lab.sh(&task, "touch mine; mkdir build; pwd >build/out; echo done");
    assert_eq!(own, "done\n");
    let before = workspaces(&lab);
    let clean = "test ! -e mine -a ! -e build && mkdir build && touch build/out";
    run(&lab, &[], &task, clean).ok().says(&["a fresh workspace"]);
    assert_eq!(report(&lab)["workspace_kept"], false);
    run(&lab, &["--keep"], &task, "test -e mine -a -e build").ok().says(&["as it was left"]);
    assert_eq!(workspaces(&lab), before);
    // What nobody else has is set aside, and comes back.
    let ran = run(&lab, &[], &task, "echo new >made").ok();
    let id = ran.stderr.split("workspace recover ").nth(1).unwrap().split_whitespace().next().unwrap();
    assert_eq!(workspaces(&lab), before);
    let place = lab.dev.path("back");
    lab.dev.envctl(["workspace", "recover", id, "--into", place.to_str().unwrap()]).ok();
    assert_eq!(fs::read_to_string(place.join("made")).unwrap(), "new\n");
    // What is published is elsewhere.
    let ran = run(&lab, &["--publish"], &task, "echo more >made").ok();
    assert!(!ran.stderr.contains("Set aside"), "{}", ran.stderr);
    run(&lab, &[], &task, "grep more made").ok();
    lab.assert_baseline();
}

#[test]
fn after_a_failure_its_workspace_stays_until_the_next_one() {
    let lab = Lab::new();
    let task = task(&lab);
    let fail = |what: &str| {
        run(&lab, &[], &task, &format!("echo {what} >state; exit 3")).code(3).says(&["Kept", "--into"]);
        report(&lab)["workspace"].as_str().unwrap().to_owned()
    };
    let first = fail("first");
    let enter = ["enter", &task, "--into", &first, "--", "cat", "state"];
    assert_eq!(lab.dev.envctl(enter).ok().stdout, "first\n");
    let second = fail("second");
    assert_eq!(workspaces(&lab), std::slice::from_ref(&second));
    assert_eq!(lab.dev.envctl(["workspace", "path", &task]).ok().stdout.trim(), second);
    let salvages = lab.dev.envctl(["status", "--json"]).ok().json()["salvages"].clone();
    assert_eq!(salvages.as_array().unwrap().len(), 1, "{salvages}");
    let kept = Path::new(salvages[0]["path"].as_str().unwrap()).join("state");
    assert_eq!(fs::read_to_string(kept).unwrap(), "first\n");
    // By hand it goes like any other.
    lab.dev.envctl(["workspace", "rm", "--yes", &task]).ok();
    assert!(workspaces(&lab).is_empty());
}
