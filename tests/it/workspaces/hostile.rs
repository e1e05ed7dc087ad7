//! What a task, or a program inside, could do to those who look.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;

use super::{below, exists, in_days, later, task_with};
use crate::support::{ImageBuilder, Lab, Trip, forge};

/// Deleting looks at a workspace first, and obeys nothing that is in it.
#[test]
fn case_40_looking_at_a_workspace_runs_nothing_of_it() {
    let trip = Trip::new();
    let dev = &trip.lab.dev;
    trip.lab.repo.write(".gitattributes", "*.txt filter=evil\n");
    let task = task_with(&trip, "a.txt");
    let workspace = trip.enter_with(&task, &[]);
    let (trap, marker) = (dev.path("trap"), dev.path("marker"));
    dev.write("trap", format!("#!/bin/sh\necho \"$0 $*\" >>{}\nexec cat\n", marker.display()));
    fs::set_permissions(&trap, fs::Permissions::from_mode(0o755)).unwrap();
    let trap = trap.to_str().unwrap();
    for hook in ["reference-transaction", "post-index-change", "post-checkout"] {
        workspace.symlink(format!(".git/hooks/{hook}"), trap);
    }
    for key in ["core.fsmonitor", "filter.evil.clean", "filter.evil.smudge", "core.sshCommand", "alias.ls-remote"] {
        workspace.git(&["config", key, trap]);
    }
    workspace.write("a.txt", "changed");
    let _ = fs::remove_file(&marker);
    dev.envctl(["status"]).ok();
    later(dev, 20, &["gc", "--dry-run"]).ok();
    dev.envctl(["workspace", "rm", &task]).code(2);
    let done = later(dev, 20, &["gc", "--json"]).ok().json();
    assert_eq!(super::removed(&done, "workspace").len(), 1, "{done}");
    assert!(!exists(&marker), "{}", fs::read_to_string(&marker).unwrap_or_default());
    // They were live.
    let id = super::salvages(dev)[0]["id"].as_str().unwrap().to_owned();
    dev.envctl(["workspace", "recover", &id]).ok();
    workspace.call(&["status"]).run();
    assert!(exists(&marker));
}

#[test]
fn case_26_a_forged_wish_chooses_no_place() {
    for wish in [
        json!({ "lifetime": "per-developer" }),
        json!({ "lifetime": "../../../evil", "ttl": "../x" }),
        json!({ "lifetime": "per-century", "ttl": "99999999999999999999d", "later": [1] }),
        json!({ "lifetime": "per-task", "ttl": "1s" }),
    ] {
        let trip = Trip::new();
        let task = forge(&trip, |forged| forged.identity["workspace"] = wish.clone());
        let workspace = trip.enter_with(&task, &[]);
        assert!(below(&trip.lab.dev, &workspace).starts_with("task"), "{wish}");
        // Nor does it hurry anybody.
        let hours = in_days(0).parse::<u64>().unwrap() + 23 * 3600;
        trip.lab.dev.envctl(["gc"]).env("ENVCTL_TEST_NOW", hours.to_string()).ok();
        assert!(exists(&workspace.path), "{wish}");
    }
}

/// Whoever comes first has the place; nobody is in the other's files.
#[test]
fn two_tasks_at_once_in_one_place() {
    let lab = Lab::new();
    let image = ImageBuilder::busybox();
    lab.repo.write("one", "one");
    let one = lab.publish(&image);
    fs::remove_file(lab.repo.path.join("one")).unwrap();
    lab.repo.write("two", "two");
    let two = lab.publish(&image);
    let entering = |task: &str, own: &str, other: &str| {
        let script = format!("test -e {own} && test ! -e {other} && sleep 0.05 && test ! -e {other}");
        let run =
            lab.dev.envctl(["enter", "--fresh", "--lifetime", "per-project", task, "--", "sh", "-c", &script]).run();
        assert!([0, 125].contains(&run.code), "{run:?}");
        usize::from(run.code == 0)
    };
    // What they share is pulled once.
    entering(&one, "one", "two");
    let done = std::thread::scope(|scope| {
        let first = scope.spawn(|| (0..10).map(|_| entering(&one, "one", "two")).sum::<usize>());
        let second = scope.spawn(|| (0..10).map(|_| entering(&two, "two", "one")).sum::<usize>());
        first.join().unwrap() + second.join().unwrap()
    });
    assert!(done >= 2, "they stand in each other's way only while both are there: {done}");
    lab.assert_baseline();
}
