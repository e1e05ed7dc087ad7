//! Several runtimes in one workspace: each has its trees until it ends, and the
//! last one leaves no folder of theirs.

use std::io::{BufRead, BufReader};
use std::time::Duration;

use super::{deps, ls, task, workspace};
use crate::support::{Alive, Lab, Stopped, ended, until};

/// A task whose cache is sealed: `deps/file` says `one`.
#[track_caller]
fn sealed(lab: &Lab) -> String {
    lab.repo.write("lock", "1");
    let task = task(lab, &deps("echo one > deps/file"));
    lab.sh(&task, "true");
    task
}

/// An `enter` of its own that stops at a point.
#[track_caller]
fn stopped(lab: &Lab, task: &str, point: &str) -> Stopped {
    Stopped::at(point, lab.dev.envctl(["enter", "--fresh", task, "--", "cat", "deps/file"]))
}

#[test]
fn case_54_two_that_need_one_entry_make_it_once() {
    let lab = Lab::new();
    lab.repo.write("lock", "1");
    let task = task(&lab, &deps("sleep 2; cat /proc/sys/kernel/random/uuid > deps/when"));
    lab.dev.envctl(["enter", "--no-runtime", &task]).ok();
    let args = ["enter", "--fresh", task.as_str(), "--", "cat", "deps/when"];
    let children: Vec<_> = (0..3).map(|_| lab.dev.envctl(args).spawn()).collect();
    let mut said = String::new();
    let outputs: Vec<String> = children
        .into_iter()
        .map(|child| {
            let (stdout, stderr) = ended(child);
            said.push_str(&stderr);
            stdout
        })
        .collect();
    assert_eq!(said.matches("Sealing").count(), 1, "{said}");
    assert_eq!(outputs[0], outputs[1]);
    assert_eq!(outputs[0], outputs[2]);
    assert_eq!(ls(&lab).len(), 1);
    lab.assert_baseline();
}

both!(case_54_two_that_start_at_once_make_the_place_once);
fn case_54_two_that_start_at_once_make_the_place_once(lab: Lab) {
    let task = sealed(&lab);
    let first = stopped(&lab, &task, "enter.lease-written");
    let mut second = lab.dev.envctl(["enter", "--fresh", &task, "--", "cat", "deps/file"]).spawn();
    let mut said = String::new();
    let mut stderr = BufReader::new(second.stderr.take().unwrap());
    while !said.contains("another envctl is starting a runtime in this workspace") {
        assert_ne!(stderr.read_line(&mut said).unwrap(), 0, "{said}");
    }
    assert_eq!(first.end().0, "one\n");
    assert_eq!(ended(second).0, "one\n");
    assert!(!workspace(&lab).path.join("deps").exists());
    lab.assert_baseline();
}

both!(case_54_a_start_outlives_the_end_of_another);
fn case_54_a_start_outlives_the_end_of_another(lab: Lab) {
    let task = sealed(&lab);
    let alive = Alive::start(&lab, &task, "");
    // Its lease is not written, but it counts on the folder.
    let second = stopped(&lab, &task, "enter.mapped");
    lab.dev.envctl(["reset", &task]).ok();
    assert_eq!(alive.wait().0, Some(137));
    assert_eq!(second.end().0, "one\n");
    assert!(!workspace(&lab).path.join("deps").exists());
    lab.assert_baseline();
}

both!(case_54_an_end_takes_nothing_from_a_start);
fn case_54_an_end_takes_nothing_from_a_start(lab: Lab) {
    let task = sealed(&lab);
    // It has seen that nobody else is there.
    let first = stopped(&lab, &task, "seal.alone");
    let words = ["enter", "--fresh", &task, "--", "sh", "-c", "sleep 1; cat deps/file"];
    let second = lab.dev.envctl(words).spawn();
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(first.end().0, "one\n");
    assert_eq!(ended(second).0, "one\n");
    assert!(!workspace(&lab).path.join("deps").exists());
    lab.assert_baseline();
}

both!(case_54_what_another_has_open_stays_with_it);
fn case_54_what_another_has_open_stays_with_it(lab: Lab) {
    let task = sealed(&lab);
    let alive = Alive::start(&lab, &task, "");
    let seen = || lab.dev.envctl(["exec", &task, "--", "cat", "deps/file"]).ok().stdout;
    lab.dev.envctl(["enter", "--fresh", &task, "--", "true"]).ok();
    assert_eq!(seen(), "one\n");
    // A copy would take the place of the folder over which it is mounted.
    let words = ["enter", "--fresh", "--materialize", &task, "--", "cat", "deps/file"];
    let run = lab.dev.envctl(words).ok();
    assert_eq!(run.stdout, "one\n");
    run.says(&["the cache deps is not copied to deps: a runtime of", "is using it"]);
    assert_eq!(seen(), "one\n");
    lab.dev.envctl(["reset", &task]).ok();
    drop(alive);
    lab.dev.envctl(words).ok().says(&["Copying the cache deps to deps"]);
    lab.assert_baseline();
}

both!(case_24_nobody_joins_a_setup);
fn case_24_nobody_joins_a_setup(lab: Lab) {
    lab.repo.write("lock", "1");
    let task = task(&lab, &deps("echo one > deps/file; sleep 2"));
    lab.dev.envctl(["enter", "--no-runtime", &task]).ok();
    let first = lab.dev.envctl(["enter", &task, "--", "ls", "deps"]).spawn();
    let leases = || lab.dev.envctl(["status", "--json"]).ok().json()["leases"].clone();
    until("the setup runs", || leases()[0]["setup"] == "deps");
    assert!(lab.dev.envctl(["status"]).ok().stdout.contains("setup of the cache deps"));
    lab.dev.envctl(["exec", &task, "--", "true"]).code(125).says(&["has no running runtime"]);
    // It waits for the cache, and works in the workspace itself.
    assert_eq!(lab.sh(&task, "echo poison > deps/poison; echo work > work; cat deps/file"), "one\n");
    assert_eq!(ended(first).0, "file\n");
    assert_eq!(lab.sh(&task, "cat work; ls deps"), "work\nfile\n");
    lab.dev.envctl(["cache", "verify"]).ok();
    lab.assert_baseline();
}
