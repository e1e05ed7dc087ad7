//! Setups are asked for and run only where nobody has the entry.

use std::fs;

use serde_json::Value;

use super::{deps, found, task, workspace};
use crate::support::{Home, ImageBuilder, Lab};

/// What has to be approved.
#[track_caller]
fn refused(lab: &Lab, task: &str) -> String {
    let said = lab.enter(task, &["true"]).code(125).says(&["not approved", "a private network for the setup"]).stderr;
    said.split("--digest ").nth(1).unwrap().split_whitespace().next().unwrap().to_owned()
}

#[test]
fn an_entry_that_somebody_has_needs_no_approval_of_its_setup() {
    let lab = Lab::new();
    lab.repo.write("lock", "1");
    let task = task(&lab, &format!("{}network = \"private\"\n", deps("cp lock deps/copy")));
    let digest = refused(&lab, &task);
    lab.dev.envctl(["approve", "--digest", &digest]).ok();
    lab.sh(&task, "true");
    lab.dev.envctl(["cache", "promote", &task]).ok();
    lab.dev.envctl(["approve", "--revoke", &digest]).ok();
    assert_eq!(lab.sh(&task, "cat deps/copy"), "1");
    assert_eq!(found(&lab), ["deps hit project"]);
    // From the store, to somebody who has agreed to nothing.
    let other = lab.with_developer(Home::new());
    assert_eq!(other.sh(&task, "cat deps/copy"), "1");
    assert_eq!(found(&other), ["deps fetched project"]);
    // Now a setup would run.
    workspace(&other).write("lock", "2");
    refused(&other, &task);
    let report = other.dev.path("report.json");
    let offline = other.dev.envctl(["enter", "--offline", "--report", report.to_str().unwrap(), &task, "--", "true"]);
    offline.ok().says(&["the cache deps is not here, and its setup needs a network"]);
    workspace(&other).write("lock", "1");
    assert_eq!(other.sh(&task, "cat deps/copy"), "1");
    [&lab, &other].iter().for_each(|lab| lab.assert_baseline());
}

#[test]
fn an_entry_that_cannot_be_had_after_all_is_asked_for() {
    let lab = Lab::new();
    lab.repo.write("lock", "1");
    let task = task(&lab, &format!("{}network = \"private\"\n", deps("cp lock deps/copy")));
    let digest = refused(&lab, &task);
    lab.dev.envctl(["approve", "--digest", &digest]).ok();
    lab.sh(&task, "true");
    lab.dev.envctl(["cache", "promote", &task]).ok();
    let json = |path: std::path::PathBuf| serde_json::from_slice::<Value>(&fs::read(path).unwrap()).unwrap();
    let index = json(lab.store.path.join("index.json"));
    let name = |one: &Value| one["annotations"]["org.opencontainers.image.ref.name"].as_str().unwrap_or("").to_owned();
    let entry = index["manifests"].as_array().unwrap().iter().find(|one| name(one).starts_with("cache-")).unwrap();
    let manifest = json(lab.store.blob(entry["digest"].as_str().unwrap()));
    let layer = lab.store.blob(manifest["layers"][0]["digest"].as_str().unwrap());
    lab.agent.write(&layer, vec![0; fs::metadata(&layer).unwrap().len() as usize]);
    let other = lab.with_developer(Home::new());
    refused(&other, &task);
}

#[test]
fn a_setup_that_failed_is_not_tried_again_by_itself() {
    let lab = Lab::new();
    lab.repo.write("lock", "1");
    let task = task(&lab, &deps("echo try >> /workspace/tries; cat none; exit 7"));
    let retry = |args: &[&str]| lab.dev.envctl(["cache", "retry"]).args(args);
    lab.enter(&task, &["true"]).ok().says(&["the setup of the cache deps failed (exit code 7)", "can't open 'none'"]);
    let again = lab.enter(&task, &["true"]).ok().says(&[
        "is left out: its setup failed",
        "(exit code 7), see ",
        "envctl cache retry",
    ]);
    assert!(
        !again.stderr.contains("Sealing") && again.stderr.lines().filter(|line| line.contains("deps")).count() == 1,
        "{}",
        again.stderr
    );
    let without = lab.dev.envctl(["enter", "--no-caches", &task, "--", "ls"]).ok();
    assert!(!without.stderr.contains("deps") && !without.stdout.contains("deps"), "{}", without.stderr);
    retry(&[&task, "other"]).code(3);
    assert!(retry(&[&task]).ok().stdout.starts_with("deps  sha256:"));
    retry(&[&task]).code(3).says(&["no setup of", "has failed"]);
    lab.enter(&task, &["true"]).ok().says(&["Sealing the cache deps"]);
    // Another key, or another source, is another try.
    workspace(&lab).write("source", "1");
    lab.enter(&task, &["true"]).ok().says(&["Sealing the cache deps"]);
    workspace(&lab).write("lock", "2");
    lab.enter(&task, &["true"]).ok().says(&["Sealing the cache deps"]);
    workspace(&lab).write("none", "here");
    workspace(&lab).write("envctl.toml", deps("cp none deps"));
    assert_eq!(lab.sh(&task, "cat deps/none"), "here");
    lab.assert_baseline();
}

#[test]
fn variables_build_on_those_of_the_image() {
    let lab = Lab::new();
    let cache = "[[cache]]\nname = \"a\"\npath = \"a\"\nsetup = 'echo $PATH $BASE > a/said'\nenv = { BASE = \"${BASE}/setup\" }\n";
    let own = "[runtime]\nenv = { PATH = \"/own:${PATH}\", BASE = \"${BASE}/mine\", PLAIN = \"$${BASE} $HOME\" }\n";
    lab.repo.write("envctl.toml", format!("{own}{cache}"));
    let task = lab.publish(&ImageBuilder::busybox().env("BASE=image").env("PATH=/bin:/sbin"));
    assert_eq!(
        lab.sh(&task, "echo $PATH $BASE; echo \"$PLAIN\"; cat a/said"),
        "/own:/bin:/sbin image/mine\n${BASE} $HOME\n/own:/bin:/sbin image/mine/setup\n"
    );
    workspace(&lab).write("envctl.toml", "[runtime]\nenv = { A = \"${NONE}\" }\n");
    lab.enter(&task, &["true"])
        .code(125)
        .says(&["runtime.env: A uses ${NONE}, which the image does not set", "write $${"]);
}

#[test]
fn what_is_made_anew_says_why_and_what_went_is_told() {
    let lab = Lab::new();
    lab.repo.write("lock", "1");
    let cache =
        "[[cache]]\nname = \"deps\"\ninputs = [\"lock\"]\npath = \"node_modules\"\nsetup = 'cp lock node_modules'\n";
    lab.repo.write("envctl.toml", cache);
    let task = lab.publish(&ImageBuilder::busybox());
    let first = lab.enter(&task, &["true"]).ok();
    assert!(!first.stderr.contains("Because") && !first.stderr.contains("Gone"), "{}", first.stderr);
    workspace(&lab).write("lock", "2");
    lab.enter(&task, &["touch", "node_modules/a", "node_modules/b"])
        .ok()
        .says(&["Because lock: not as for the entry before", "Gone 2 changes in the cache deps: to keep it, change "]);
    // Packages by name, of a run as well; no name reaches the terminal as it is.
    let added = "cd node_modules; mkdir .bin odd$(printf '\\033')name; for name in left-pad @a/b c d odd*; do \
                 mkdir -p $name; echo '{\"version\": \"1.3.0\"}' >$name/package.json; done";
    let named = "Gone 4 packages in the cache deps (@a/b 1.3.0, c 1.3.0, d 1.3.0 and 1 more): to keep it, change ";
    for verb in ["enter", "run"] {
        lab.dev.envctl([verb, &task, "--", "sh", "-c", added]).ok().says(&[named]);
    }
    let added = "mkdir -p node_modules/.bin node_modules/$(printf 'x\\342\\200\\256y'); \
                 for name in node_modules/x*; do echo '{}' >$name/package.json; done";
    lab.enter(&task, &["sh", "-c", added]).ok().says(&["Gone 1 package in the cache deps (x\\u{202e}y): "]);
    // A setup that leaves nothing is no success.
    workspace(&lab).write("envctl.toml", cache.replace("cp lock node_modules", "true"));
    let empty = lab.enter(&task, &["true"]).ok();
    empty.says(&["Because setup: not as for", "it left nothing at node_modules, and only there is anything kept"]);
    lab.enter(&task, &["true"]).ok().says(&["its setup failed", "(it left nothing at node_modules)"]);
}

#[test]
fn a_failed_setup_shows_the_first_lines_that_say_why() {
    let lab = Lab::new();
    lab.repo.write("lock", "1");
    let task = task(&lab, &deps("echo start; echo npm ERR: Missing: left-pad; seq 1 99; exit 1"));
    let said =
        lab.enter(&task, &["true"]).ok().says(&["npm ERR: Missing: left-pad", "[...]", "99", "all of it: "]).stderr;
    assert!(!said.contains("    start\n") && !said.contains("    50\n"), "{said}");
}
