//! `diff`: what lies between two identities.

use serde_json::{Value, json};

use crate::evidence::Shop;
use crate::support::{Home, RealRegistry};

fn diff(shop: &Shop, a: &str, b: &str, args: &[&str]) -> Value {
    shop.dev(["diff", a, b, "--json"]).args(args).ok().json()
}

fn named(values: &Value) -> Vec<&str> {
    values.as_array().unwrap().iter().map(|value| value["name"].as_str().unwrap()).collect()
}

/// Two states of a task, and a fork of it.
fn stages(shop: &Shop) -> (String, String) {
    let repo = &shop.trip.lab.repo;
    for (file, content) in [("kept", "same\n"), ("changed", "one\ntwo\n"), ("gone", "gone\n"), ("moved", "moved\n")] {
        repo.write(file, content);
    }
    repo.write("Cargo.lock", "1");
    repo.commit("never pushed");
    shop.publishing("t").args(["--message", "first"]).ok();
    let former = shop.show("t")["digest"].as_str().unwrap().to_owned();
    shop.add("t", "run.log", "first", &["--type", "logs"]).ok();
    repo.write("changed", "one\n2\n");
    repo.write("Cargo.lock", "2");
    repo.write("package-lock.json", "{}");
    repo.git(&["mv", "moved", "elsewhere"]);
    repo.remove("gone");
    repo.commit("a second\n\nwith a body");
    repo.write("new file", "n");
    shop.publishing("t").args(["--message", "second", "--status", "needs-human", "--workdir", "/src"]).ok();
    shop.add("t", "run.log", "second", &["--type", "logs"]).ok();
    shop.add("t", "shot.png", "x", &["--type", "screenshot"]).ok();
    (format!("{}@{former}", shop.store), shop.reference("t"))
}

#[test]
fn everything_that_differs_is_told() {
    let registry = RealRegistry::start();
    for shop in [Shop::new(), Shop::at(registry.repository("acme/tasks"))] {
        let (former, task) = stages(&shop);
        let found = diff(&shop, &former, &task, &[]);
        assert_eq!(found["same"], false);
        assert_eq!(found["unknown"], json!([]));
        let fields = named(&found["fields"]);
        assert_eq!(fields, ["commit", "message", "snapshot", "status", "workdir"]);
        let status = found["fields"].as_array().unwrap().iter().find(|field| field["name"] == "status").unwrap();
        assert_eq!((&status["a"], &status["b"]), (&json!("working"), &json!("needs-human")));
        assert_eq!(named(&found["lockfiles"]), ["Cargo.lock", "package-lock.json"]);
        assert_eq!(found["lockfiles"][1]["a"], Value::Null);
        assert_eq!(named(&found["artifacts"]), ["logs run.log", "screenshot shot.png"]);
        let changes = &found["changes"];
        assert_eq!(changes["commits_removed"], json!([]));
        assert_eq!(changes["commits_added"].as_array().unwrap().len(), 1);
        assert_eq!(changes["commits_added"][0]["subject"], "a second");
        let files: Vec<String> = changes["files"]
            .as_array()
            .unwrap()
            .iter()
            .map(|file| format!("{} {}", file["status"].as_str().unwrap(), file["path"].as_str().unwrap()))
            .collect();
        let expected = ["M Cargo.lock", "M changed", "R elsewhere", "D gone", "A new file", "A package-lock.json"];
        assert_eq!(files, expected);
        assert_eq!((&changes["more"], changes.get("patch")), (&json!(false), Some(&Value::Null)));
        // The other way round.
        let back = diff(&shop, &task, &former, &[]);
        assert_eq!(back["changes"]["commits_removed"], changes["commits_added"]);
        // For people.
        let run = shop.dev(["diff", &former, &task]).ok();
        for line in [
            "status     working -> needs-human",
            "lockfile   ~ Cargo.lock",
            "lockfile   + package-lock.json",
            "artifact   ~ logs run.log",
            "artifact   + screenshot shot.png",
            "file       R moved -> elsewhere",
            "file       D gone",
        ] {
            assert!(run.stdout.lines().any(|printed| printed == line), "{line:?} in\n{}", run.stdout);
        }
        assert!(run.stderr.is_empty(), "{}", run.stderr);
        let run = shop.dev(["diff", &former, &task, "--patch"]).ok();
        assert!(run.stdout.contains("\n-two\n+2\n") && run.stdout.contains("\n+++ b/changed\n"), "{}", run.stdout);
        let same = shop.dev(["diff", &task, &task]).ok();
        assert!(same.stdout.contains("one identity"), "{}", same.stdout);
        shop.dev(["diff", &task, &shop.reference("nowhere")]).code(3);
    }
    registry.stop();
}

/// Without what the snapshots build on, the rest is told all the same.
#[test]
fn what_is_not_known_is_said() {
    let shop = Shop::new();
    let (former, task) = stages(&shop);
    let fresh = shop.with_developer(Home::new());
    let run = fresh.dev(["--offline", "diff", &former, &task]).ok();
    let run = run.says(&["warning", "commits and files are not known", "--offline forbids to fetch it"]);
    assert!(run.stdout.contains("lockfile   ~ Cargo.lock") && !run.stdout.contains("file       M"), "{}", run.stdout);
    let json = fresh.dev(["--offline", "diff", &former, &task, "--json"]).ok().json();
    assert_eq!((&json["changes"], json["unknown"].as_array().unwrap().len()), (&Value::Null, 1));
    // Once it is here, it is known offline.
    fresh.dev(["diff", &former, &task]).ok();
    let json = fresh.dev(["--offline", "diff", &former, &task, "--json"]).ok().json();
    assert!(json["changes"].is_object() && json["unknown"] == json!([]), "{json}");
    // The remote is gone.
    let other = shop.with_developer(Home::new());
    std::fs::rename(&shop.trip.lab.repo.remote, shop.trip.lab.agent.path("gone.git")).unwrap();
    other.dev(["diff", &former, &task]).ok().says(&["commits and files are not known", "cannot fetch"]);
}

/// Names and lines from outside move no cursor.
#[test]
fn case_47_what_is_shown_is_harmless() {
    let shop = Shop::new();
    shop.publish("t");
    let former = format!("{}@{}", shop.store, shop.show("t")["digest"].as_str().unwrap());
    let repo = &shop.trip.lab.repo;
    repo.write("a\u{1b}[2Jb\nc\u{202e}", "x");
    repo.write("lines", "\u{1b}]0;title\u{7}\ttab\r\u{9b}31m\n");
    repo.commit("sub\u{1b}[31mject\u{202e}");
    shop.publishing("t").args(["--message", "m\u{1b}[2J\nsecond"]).ok();
    shop.add("t", "log\u{1b}[2J", "x", &["--type", "logs", "--command", "c\u{1b}[2J\nd"]).ok();
    let task = shop.reference("t");
    for args in [
        &["diff", &former, &task, "--patch"] as &[&str],
        &["diff", &former, &task, "--patch", "--json"],
        &["log", &task],
        &["log", &task, "--json"],
        &["artifacts", "ls", &task],
        &["artifacts", "ls", &task, "--json"],
        &["artifacts", "verify", &task],
    ] {
        let run = shop.dev(args.iter().copied()).ok();
        let bad = |c: char| (c.is_control() && !matches!(c, '\n' | '\t')) || matches!(c, '\u{202a}'..='\u{202e}');
        assert!(!run.stdout.contains(bad) && !run.stderr.contains(bad), "{args:?}: {:?}", run.stdout);
    }
    // A tab stays one.
    let run = shop.dev(["diff", &former, &task, "--patch"]).ok();
    assert!(run.stdout.contains("\\u{7}\ttab\\r"), "{:?}", run.stdout);
}
