//! `log`: from an identity to those that it goes on from.

use serde_json::Value;

use crate::evidence::Shop;
use crate::support::{Home, Modern, RealRegistry};

fn log(shop: &Shop, reference: &str, args: &[&str]) -> Value {
    shop.dev(["log", reference, "--json"]).args(args).ok().json()
}

fn messages(log: &Value) -> Vec<&str> {
    let identities = log["identities"].as_array().unwrap();
    identities.iter().map(|entry| entry["identity"]["handoff"]["message"].as_str().unwrap()).collect()
}

#[test]
fn a_history_is_walked_back() {
    let registry = RealRegistry::start();
    for shop in [Shop::new(), Shop::at(registry.repository("acme/tasks"))] {
        for n in 0..4 {
            shop.trip.lab.repo.write("n", format!("{n}"));
            shop.publishing("t").args(["--message", &format!("step {n}"), "--agent", "agent-app"]).ok();
        }
        let task = shop.reference("t");
        let all = log(&shop, &task, &[]);
        assert_eq!(messages(&all), ["step 3", "step 2", "step 1", "step 0"]);
        assert_eq!(all["end"], "beginning");
        for pair in all["identities"].as_array().unwrap().windows(2) {
            assert_eq!(pair[0]["identity"]["parent"], pair[1]["digest"]);
        }
        let some = log(&shop, &task, &["--limit", "2"]);
        assert_eq!((messages(&some), &some["end"]), (vec!["step 3", "step 2"], &"limit".into()));
        assert_eq!(log(&shop, &task, &["--limit", "4"])["end"], "beginning");
        // From one in between.
        let older = format!("{}@{}", shop.store, all["identities"][1]["digest"].as_str().unwrap());
        assert_eq!(messages(&log(&shop, &older, &[])), ["step 2", "step 1", "step 0"]);
        let run = shop.dev(["log", &task]).ok();
        // Its digest, what it is, what it says; nothing wider than a terminal.
        let lines: Vec<&str> = run.stdout.lines().collect();
        assert_eq!((lines.len(), lines[2], &*run.stderr), (12, "    step 3", ""), "{run:?}");
        assert_eq!(lines[0], all["identities"][0]["digest"].as_str().unwrap());
        assert!(lines[1].contains("agent-app") && lines.iter().all(|line| line.len() <= 80), "{run:?}");
        shop.dev(["log", &shop.reference("nowhere")]).code(3).says(&["no task"]);
    }
    registry.stop();
}

#[test]
fn a_history_that_is_cut_says_so() {
    let shop = Shop::new();
    for n in 0..3 {
        shop.trip.lab.repo.write("n", format!("{n}"));
        shop.publishing("t").args(["--message", &format!("step {n}")]).ok();
    }
    let task = shop.reference("t");
    let all = log(&shop, &task, &[]);
    let oldest = all["identities"][2]["digest"].as_str().unwrap().replace("sha256:", "id-");
    let index = shop.trip.lab.store.path.join("index.json");
    let mut document: Value = serde_json::from_slice(&std::fs::read(&index).unwrap()).unwrap();
    let entries = document["manifests"].as_array_mut().unwrap();
    entries.retain(|entry| entry["annotations"]["org.opencontainers.image.ref.name"] != oldest.as_str());
    std::fs::remove_file(&index).unwrap();
    std::fs::write(&index, document.to_string()).unwrap();
    let cut = log(&shop, &task, &[]);
    assert_eq!((messages(&cut), &cut["end"]), (vec!["step 2", "step 1"], &"gone".into()));
    shop.dev(["log", &task]).ok().says(&["no longer has what came before"]);
}

/// What was entered is known without the store.
#[test]
fn a_history_without_the_store() {
    let registry = Modern::start(Default::default());
    let shop = Shop::at(registry.store());
    for n in 0..3 {
        shop.trip.lab.repo.write("n", format!("{n}"));
        shop.publishing("t").args(["--message", &format!("step {n}")]).ok();
        if n != 1 {
            // Both that were entered; the one in between was not.
            shop.dev(["enter", &shop.reference("t"), "--no-runtime", "--refresh"]).ok();
        }
    }
    let offline = shop.dev(["--offline", "log", &shop.reference("t"), "--json"]).ok().json();
    assert_eq!((messages(&offline), &offline["end"]), (vec!["step 2"], &"unknown".into()));
    let fresh = shop.with_developer(Home::new());
    fresh.dev(["--offline", "log", &shop.reference("t")]).code(7);
}
