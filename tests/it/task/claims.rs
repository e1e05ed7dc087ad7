//! Who entered a task before.

use std::fs;

use serde_json::Value;

use crate::evidence::Shop;
use crate::support::{Habits, Home, Modern, RealRegistry, until};

/// Somebody with a name.
fn named(shop: &Shop, name: &str) -> Shop {
    let home = Home::new();
    home.write("home/.gitconfig", format!("[user]\n\tname = {name}\n"));
    shop.with_developer(home)
}

fn claims(shop: &Shop) -> Vec<String> {
    let shown = shop.show("t");
    shown["claims"].as_array().unwrap().iter().map(|claim| claim["who"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_colleague_who_entered_is_shown() {
    let registry = RealRegistry::start();
    for shop in [Shop::new(), Shop::at(registry.repository("acme/tasks"))] {
        shop.publish("t");
        let (ann, bob) = (named(&shop, "Ann"), named(&shop, "Bob \u{1b}[2JB"));
        let first = ann.dev(["enter", &ann.reference("t"), "--no-runtime"]).ok();
        assert!(!first.stderr.contains("Entered"), "{}", first.stderr);
        until("Ann's claim is there", || claims(&bob) == ["Ann"]);
        assert!(claims(&ann).is_empty(), "not to herself");
        let run = bob.dev(["enter", &bob.reference("t"), "--no-runtime"]).ok().says(&["entered by ann on "]);
        assert!(!run.stdout.contains("Ann"));
        until("Bob's claim is there", || claims(&ann).len() == 1);
        let text = ann.dev(["show", &ann.reference("t")]).ok().stdout;
        assert!(text.contains("entered    by Bob \\u{1b}[2JB on "), "{text}");
        // Whoever enters a later state learns of those who are at an earlier.
        shop.trip.lab.repo.write("more", "x");
        shop.publish("t");
        let run = named(&shop, "Cy").dev(["enter", &shop.reference("t"), "--no-runtime"]).ok();
        run.says(&["by ann", "by bob", "another state of it"]);
        // None of this is a task.
        let tasks = shop.dev(["tasks", "--store", &shop.store, "--json"]).ok().json();
        assert_eq!(tasks["tasks"].as_array().unwrap().len(), 1);
    }
    registry.stop();
}

/// Word is left once, and never by those who do not want to, or who said that
/// nothing but this machine is to be used.
#[test]
fn claims_are_few() {
    let registry = Modern::start(Habits::default());
    let shop = Shop::at(registry.store());
    shop.publish("t");
    let quiet = |shop: &Shop| until("nothing is done in the background", || shop.trip.lab.dev.is_quiet());
    let writes = |shop: &Shop, args: &[&str]| {
        registry.asked();
        shop.dev(["enter", &shop.reference("t"), "--no-runtime"]).args(args).ok();
        quiet(shop);
        let asked = registry.asked();
        (asked.iter().any(|asked| asked.contains("/manifests/claim-")), asked.len())
    };
    let ann = named(&shop, "Ann");
    ann.dev(["enter", &ann.reference("t"), "--no-runtime"]).ok();
    until("word is left", || claims(&shop) == ["Ann"]);
    quiet(&ann);
    // From then on the store is not even asked.
    assert_eq!(writes(&ann, &[]), (false, 0));
    let silent = named(&shop, "Silent");
    silent.trip.lab.dev.write("config/envctl/config.toml", "claims = false\n");
    assert!(!writes(&silent, &[]).0);
    assert_eq!(claims(&shop), ["Ann"]);
}

/// A store that takes no word, or whose word is nonsense, stops nobody.
#[test]
fn nothing_fails_by_a_claim() {
    let shop = Shop::new();
    shop.publish("t");
    let store = &shop.trip.lab.store;
    let ann = named(&shop, "Ann");
    ann.enter("t");
    let claim = || store.tags().into_iter().find(|tag| tag.starts_with("claim-"));
    until("the claim is there", || claim().is_some());
    let tag = claim().unwrap();
    for document in
        ["{}", "[]", "nonsense", r#"{"schemaVersion":2,"config":{"mediaType":"x","digest":"sha256:0","size":1}}"#]
    {
        let descriptor = store.put("application/vnd.oci.image.manifest.v1+json", document.as_bytes());
        store.tag(&tag, descriptor);
        let bob = named(&shop, "Bob");
        bob.enter("t");
        assert_eq!(bob.show("t")["claims"], Value::Array(Vec::new()));
        // It makes room.
        until("a good one is in its place", || claims(&shop) == ["Bob"]);
    }
    // Read-only, to all but root.
    let unprivileged = shop.with_developer(Home::unprivileged());
    let home = &unprivileged.trip.lab.dev;
    home.write("home/.gitconfig", "[user]\n\tname = Dee\n[safe]\n\tdirectory = *\n");
    let before = fs::read(store.path.join("index.json")).unwrap();
    let enter = unprivileged.dev(["enter", &shop.reference("t"), "--no-runtime"]);
    enter.env("GIT_CONFIG_GLOBAL", home.path("home/.gitconfig")).ok().says(&["entered by bob"]);
    until("nothing is done in the background", || home.is_quiet());
    assert_eq!(fs::read(store.path.join("index.json")).unwrap(), before);
}
