//! Keys are exact, and explain themselves.

use super::{deps, found, task, workspace};
use crate::support::Lab;

#[test]
fn case_25_a_changed_input_misses() {
    let lab = Lab::new();
    lab.repo.write("lock", "1");
    let task = task(&lab, &deps("cp lock deps/copy"));
    assert_eq!(lab.sh(&task, "cat deps/copy"), "1");
    workspace(&lab).write("lock", "2");
    assert_eq!(lab.sh(&task, "cat deps/copy"), "2");
    assert_eq!(found(&lab), ["deps sealed task"]);
    // And back: nothing was lost.
    workspace(&lab).write("lock", "1");
    assert_eq!(lab.sh(&task, "cat deps/copy"), "1");
    assert_eq!(found(&lab), ["deps hit task"]);
}

#[test]
fn a_key_tells_what_it_is_made_of_and_why_two_differ() {
    let lab = Lab::new();
    lab.repo.write("lock", "1");
    let first = task(&lab, &deps("touch deps/x"));
    lab.sh(&first, "true");
    lab.repo.write("lock", "2");
    let second = task(&lab, &deps("touch deps/x"));
    lab.sh(&second, "true");
    let text = lab.dev.envctl(["cache", "key", &first]).ok().stdout;
    for line in [
        "    input lock: sha256:",
        "    setup: touch deps/x",
        "    path: deps",
        "    workdir: /workspace",
        "    platform: linux/",
    ] {
        assert!(text.contains(line), "{line:?} in {text}");
    }
    assert!(text.starts_with("deps  sha256:") && text.contains("(here, task scope)"), "{text}");
    // In a workspace the task is known.
    assert_eq!(
        lab.dev.envctl(["cache", "key"]).cwd(&workspace(&lab).path).ok().stdout.lines().count(),
        text.lines().count()
    );
    let why = lab.dev.envctl(["cache", "key", "--why", &first, &second]).ok().stdout;
    assert_eq!(why.lines().count(), 1, "{why}");
    assert!(why.starts_with("deps: input lock: sha256:"), "{why}");
    let key = |task: &str| {
        let json = lab.dev.envctl(["cache", "key", task, "--json"]).ok().json();
        json["caches"][0]["key"].as_str().unwrap().to_owned()
    };
    let by_key = lab.dev.envctl(["cache", "key", "--why", &key(&first)[..20], &key(&second)[..20]]).ok().stdout;
    assert_eq!(by_key, why);
    let same = lab.dev.envctl(["cache", "key", "--why", &first, &first]).ok().stdout;
    assert_eq!(same, "deps: the keys are the same\n");
    lab.dev.envctl(["cache", "key", "--why", "abcdef0123", &first]).code(3);
}

#[test]
fn inputs_stay_in_the_workspace() {
    let lab = Lab::new();
    lab.repo.symlink("lock", "/etc/passwd");
    let task = task(&lab, &deps("touch deps/x"));
    lab.enter(&task, &["true"]).ok().says(&["the cache deps is left out", "lock", "leads out of the workspace"]);
    lab.assert_baseline();
}

#[test]
fn the_identity_names_keys_and_lockfiles() {
    let lab = Lab::new();
    lab.repo.write("lock", "1");
    lab.repo.write("package-lock.json", "{}");
    let task = task(&lab, &deps("touch deps/x"));
    let identity = lab.dev.envctl(["show", "--json", &task]).ok().json()["identity"].clone();
    assert_eq!(identity["caches"][0]["name"], "deps");
    assert!(identity["caches"][0]["digest"].is_null(), "nothing is sealed in an agent's container");
    assert!(identity["lockfiles"][0].as_str().unwrap().starts_with("package-lock.json:sha256:"));
    lab.sh(&task, "true");
    assert_eq!(lab.report()["caches"][0]["key"], identity["caches"][0]["key"]);
}

#[test]
fn a_dry_run_tells_what_is_here_and_how_long_the_rest_takes() {
    let lab = Lab::new();
    lab.repo.write("lock", "1");
    let first = task(&lab, &deps("dd if=/dev/urandom of=deps/x bs=64k count=16 2>/dev/null"));
    let plan = |lab: &Lab, task: &str| lab.dev.envctl(["enter", "--dry-run", "--json", task]).ok().json();
    let cache = |plan: &serde_json::Value| {
        let parts = plan["parts"].as_array().unwrap();
        parts.iter().find(|part| part["kind"] == "cache").unwrap().clone()
    };
    let before = plan(&lab, &first);
    assert_eq!((&cache(&before)["hit"], cache(&before)["bytes"].is_null()), (&false.into(), true), "{before}");
    assert!(before["expected_seconds"].is_null(), "nothing was measured yet");
    let text = lab.dev.envctl(["enter", "--dry-run", &first]).ok().stdout;
    assert!(text.contains("(miss, its setup would run)"), "{text}");
    lab.sh(&first, "true");
    let after = plan(&lab, &first);
    assert_eq!((&cache(&after)["hit"], &after["warm"]), (&true.into(), &true.into()), "{after}");
    crate::support::until("what was measured is written", || plan(&lab, &first)["expected_seconds"].is_f64());
    assert!(plan(&lab, &first)["expected_seconds"].as_f64().unwrap() < 5.0);
    lab.dev.envctl(["cache", "promote", &first]).ok();
    // The workspace needs it in either scope.
    let pruned = lab.dev.envctl(["cache", "prune", "--all", "--json"]).ok().json();
    let trees = pruned["removed"].as_array().unwrap().iter().filter(|one| one["kind"] == "cache").count();
    assert_eq!(trees, 0, "{pruned}");
    let other = lab.with_developer(crate::support::Home::new());
    let size = cache(&plan(&other, &first))["bytes"].as_u64().unwrap();
    assert!((1 << 20..2 << 20).contains(&size), "{size}");
    assert!(cache(&plan(&lab, &first))["bytes"] == 0);
}

/// The inputs of the only cache, by name.
fn inputs(lab: &Lab, task: &str) -> Vec<String> {
    let json = lab.dev.envctl(["cache", "key", task, "--json"]).ok().json();
    let components = json["caches"][0]["components"].as_array().unwrap().clone();
    let names = components.iter().filter_map(|pair| pair[0].as_str()?.strip_prefix("input ").map(str::to_owned));
    names.collect()
}

#[test]
fn an_input_may_be_a_pattern_and_brings_others_with_it() {
    let lab = Lab::new();
    let cache = "[[cache]]\nname = \"deps\"\ninputs = [\"packages/*/package.json\", \"requirements.txt\", \"lock*\"]\n\
                 path = \"deps\"\nsetup = \"cat packages/*/package.json req/base.txt > deps/all\"\n";
    lab.repo.write("packages/a/package.json", "a");
    lab.repo.write("packages/a/deep/package.json", "no");
    lab.repo.write("packages/made/package.json", "no");
    lab.repo.write("packages/.gitignore", "made\n");
    lab.repo.write("requirements.txt", "-r req/base.txt\n-c none.txt\n");
    lab.repo.write("req/base.txt", "base");
    lab.repo.write("packages/a/.npmrc", "");
    lab.repo.write("lock[1]", "");
    let task = task(&lab, cache);
    assert_eq!(lab.sh(&task, "cat deps/all"), "abase");
    let all = ["lock[1]", "packages/a/.npmrc", "packages/a/package.json", "req/base.txt", "requirements.txt"];
    assert_eq!(inputs(&lab, &task), all);
    // Each of them decides.
    for (path, text) in [("packages/b/package.json", "b"), ("req/base.txt", "more"), ("packages/a/.npmrc", "x")] {
        workspace(&lab).write(path, text);
        lab.sh(&task, "true");
        assert_eq!(found(&lab), ["deps sealed task"], "{path}");
    }
    assert_eq!(lab.sh(&task, "cat deps/all"), "abmore");
    workspace(&lab).write("packages/c/other.json", "c");
    lab.sh(&task, "true");
    assert_eq!(found(&lab), ["deps hit task"]);
}

#[test]
fn an_input_that_is_not_there_is_an_error_where_it_is_written() {
    let lab = Lab::new();
    lab.repo.write("lock", "1");
    lab.repo.write("pakage.json", "1");
    let cache =
        |input: &str| format!("[[cache]]\nname = \"deps\"\ninputs = [{input:?}]\npath = \"deps\"\nsetup = \"true\"\n");
    let good = task(&lab, &cache("lock"));
    lab.repo.write("envctl.toml", cache("package.json"));
    let publish = lab.try_publish(&lab.images.reference("base"));
    publish.code(2).says(&["the cache deps: its input package.json is not there", "did you mean pakage.json?"]);
    // Who enters is told, and goes on.
    lab.sh(&good, "true");
    workspace(&lab).write("envctl.toml", cache("none"));
    lab.enter(&good, &["true"])
        .ok()
        .says(&["warning: the cache deps: its input none is not there, and does not count"]);
    lab.dev.envctl(["cache", "key", &good]).code(2).says(&["its input none is not there"]);
    // A pattern may fit nothing yet.
    workspace(&lab).write("envctl.toml", cache("none/*"));
    let quiet = lab.enter(&good, &["true"]).ok();
    assert!(!quiet.stderr.contains("its input"), "{}", quiet.stderr);
    assert_eq!(inputs(&lab, &good), Vec::<String>::new());
}
