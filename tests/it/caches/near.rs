//! What is nearly what is wanted: the entry of other inputs, of another task, of a
//! checkout.

use super::{deps, found, ls, task, workspace};
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

both!(a_setup_may_start_from_the_nearest_entry_which_stays_as_it_is);
fn a_setup_may_start_from_the_nearest_entry_which_stays_as_it_is(lab: Lab) {
    lab.repo.write("requirements.txt", "a==1\n");
    // It goes on from what it finds, and not from everything.
    let setup = "! { grep -q bad requirements.txt && test -e deps/all; } && cat requirements.txt >> deps/all && \
                 rm -rf deps/gone deps/dir/gone && mkdir -p deps/dir && touch deps/dir/new && \
                 { test -e deps/first || touch deps/first deps/gone deps/dir/gone; }";
    let project = format!("{}build = false\nseed = true\n", deps(setup)).replace("\"lock\"", "\"requirements.txt\"");
    let task = task(&lab, &project);
    let (first, second) = ("a==1\n\nall dir first gone new gone", "a==1\na==2\n\nall dir first new");
    let look = "cat deps/all; echo; echo $(ls deps deps/dir | grep -v :)";
    let look = |wanted: &str, how: &str| {
        let said = lab.enter(&task, &["sh", "-c", look]).ok();
        let words: Vec<&str> = said.stdout.split_whitespace().collect();
        let mut sorted = words.clone();
        sorted.sort_unstable();
        let mut wanted: Vec<&str> = wanted.split_whitespace().collect();
        wanted.sort_unstable();
        assert_eq!(sorted, wanted, "{}", said.stderr);
        assert_eq!(found(&lab), [format!("deps {how} task")]);
        said
    };
    look(first, "sealed");
    workspace(&lab).write("requirements.txt", "a==2\n");
    look(second, "sealed").says(&["Because requirements.txt: a 1 → 2 (the entry before: "]);
    let why = lab.dev.envctl(["cache", "why", &task]).ok().stdout;
    assert!(why.starts_with("deps: requirements.txt: a 1 → 2 ("), "{why}");
    // What both have is there once, and nothing of the first one was touched.
    workspace(&lab).write("requirements.txt", "a==1\n");
    look(first, "hit");
    // A setup that cannot go on begins anew.
    workspace(&lab).write("requirements.txt", "bad==1\n");
    look("bad==1 all dir first gone new gone", "sealed").says(&["Again the cache deps: ", "it started from the entry"]);
    lab.dev.envctl(["cache", "verify"]).ok();
    lab.assert_baseline();
}

both!(a_program_that_a_setup_left_cannot_write_to_the_entry_that_it_started_from);
/// What a setup leaves running is dead before its tree is put together with the entry
/// that it started from: through its folders it could write to what both share.
fn a_program_that_a_setup_left_cannot_write_to_the_entry_that_it_started_from(lab: Lab) {
    lab.repo.write("requirements.txt", "a==1\n");
    let poison = "cd deps/d && touch new /tmp/then && sleep 1.1 && \
                  { (while ! [ . -nt /tmp/then ]; do :; done; \
                     for i in $all; do echo EVIL >f$i; done) </dev/null >/dev/null 2>&1 & }";
    let setup = format!(
        "all=$(seq 1500); if test -d deps/d; then {poison}; \
         else mkdir deps/d; for i in $all; do echo GOOD >deps/d/f$i; done; fi"
    );
    let project = format!("{}build = false\nseed = true\n", deps(&setup)).replace("\"lock\"", "\"requirements.txt\"");
    let task = task(&lab, &project);
    let look = || lab.sh(&task, "cat deps/d/f* | sort | uniq -c | tr -s ' '");
    assert_eq!(look(), " 1500 GOOD\n");
    workspace(&lab).write("requirements.txt", "a==2\n");
    assert_eq!(look(), " 1500 GOOD\n");
    workspace(&lab).write("requirements.txt", "a==1\n");
    assert_eq!(look(), " 1500 GOOD\n");
    assert_eq!(found(&lab), ["deps hit task"]);
    lab.dev.envctl(["cache", "verify"]).ok();
    lab.assert_baseline();
}
