//! What is nearly what is wanted: the entry of other inputs, of another task, of a
//! checkout.

use super::{deps, ls, task, workspace};
use crate::support::{ImageBuilder, Lab};

#[test]
fn the_nearest_entry_is_named_and_taken_by_request_alone() {
    let lab = Lab::new();
    lab.repo.write("lock", "1");
    // What is built from sources has nothing that is near.
    let project = format!("{}build = false\n", deps("grep -q 1 lock && cp lock deps/copy"));
    let first = task(&lab, &project);
    assert_eq!(lab.sh(&first, "cat deps/copy"), "1");
    workspace(&lab).write("lock", "2");
    for _ in 0..2 {
        let run = lab.enter(&first, &["test", "!", "-e", "deps/copy"]).ok();
        run.says(&[
            "nearest to the cache deps is the entry",
            "made for another lock: envctl enter",
            "--nearest-caches",
        ]);
    }
    let near = lab.dev.envctl(["enter", "--nearest-caches", &first, "--", "cat", "deps/copy"]).ok();
    assert_eq!(near.stdout, "1");
    near.says(&["the cache deps is the entry", "made for another lock: it may hold other versions"]);
    // Another task makes its own, and is told how to share.
    let second = lab.publish(&ImageBuilder::busybox());
    let run = lab.enter(&second, &["cat", "deps/copy"]).ok();
    run.says(&[&format!("Same deps was sealed here for {first} alone: envctl cache promote {first} deps shares it")]);
    assert_eq!(ls(&lab).len(), 2);
}

#[test]
fn what_a_run_of_a_checkout_sealed_is_promoted_from_there() {
    let lab = Lab::new();
    lab.repo.write("lock", "1");
    let task = task(&lab, &deps("echo one > deps/x"));
    let here = |words: &[&str]| lab.agent.envctl(words).cwd(&lab.repo.path);
    // Nothing is sealed, and nothing was entered.
    here(&["cache", "promote", &task]).code(3).says(&["has no workspace here"]);
    let image = lab.images.add("here", &ImageBuilder::busybox()).reference;
    here(&["run", "--image", &image, "--", "cat", "deps/x"]).ok();
    assert!(here(&["cache", "promote", &task]).ok().stdout.starts_with("deps  sha256:"));
    assert_eq!(lab.sh(&task, "cat deps/x"), "one\n");
    assert_eq!(super::found(&lab), ["deps fetched project"]);
}
