//! The same in every kind of store, and from one kind to another.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde_json::json;

use super::Shop;
use crate::support::{Habits, Home, Layout, Modern, RealRegistry, sha256};

/// Everything that can be done with an artifact.
fn travels(shop: &Shop) {
    let agent = ["--agent", "agent-app"];
    shop.publishing("t").args(agent).ok();
    let shown = shop.show("t");
    assert!(shop.ls("t").is_empty());
    let run =
        shop.add("t", "unit.xml", "<ok/>", &["--type", "test-results", "--command", "npm test", "--exit-code", "1"]);
    let added = run.arg("--json").ok().json();
    assert_eq!(added["identity"], shown["digest"]);
    shop.add("t", "log", "", &["--type", "logs"]).ok();
    shop.add("t", "tool", vec![7; 3 << 20], &["--type", "binary"]).ok();

    let listed = shop.ls("t");
    assert_eq!(listed.len(), 3, "{listed:?}");
    let unit = listed.iter().find(|row| row["name"] == "unit.xml").unwrap();
    assert_eq!(*unit, added["artifacts"][0]);
    let identity = &shown["identity"];
    // Exactly what the field asks for, and what made it.
    for (field, value) in [
        ("artifact_type", json!("test-results")),
        ("task_id", json!("t")),
        ("agent_identity", json!("agent-app")),
        ("repo", identity["repo"]["url"].clone()),
        ("commit", identity["repo"]["commit"].clone()),
        ("size", json!(5)),
        ("digest", json!(sha256(b"<ok/>"))),
        ("command", json!("npm test")),
        ("exit_code", json!(1)),
    ] {
        assert_eq!(unit[field], value, "{field}");
    }
    assert!(unit["created_at"].as_str().unwrap().ends_with('Z'));
    let environment = &unit["environment_identity"];
    assert_eq!(environment["toolchain"], identity["toolchain"]);
    assert_eq!(environment["lockfiles"], identity["lockfiles"]);
    assert_eq!(environment["snapshot_id"], identity["snapshot_id"]);

    let table = shop.dev(["artifacts", "ls", &shop.reference("t")]).ok().stdout;
    assert!(table.contains("unit.xml") && table.contains("npm test (exit code 1)"), "{table}");
    let checked = shop.dev(["artifacts", "verify", &shop.reference("t"), "--json"]).ok().json();
    assert_eq!((checked["ok"].clone(), checked["artifacts"].as_array().unwrap().len()), (json!(true), 3));

    // Here, read-only, and named.
    let folder = PathBuf::from(shop.dev(["artifacts", "get", &shop.reference("t")]).ok().stdout.trim());
    assert!(folder.starts_with(shop.trip.lab.dev.data().join("artifacts")), "{}", folder.display());
    assert_eq!(fs::read_to_string(folder.join("unit.xml")).unwrap(), "<ok/>");
    assert_eq!(fs::read(folder.join("tool")).unwrap().len(), 3 << 20);
    assert_eq!(fs::read(folder.join("log")).unwrap(), b"");
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(folder.clone()), mode(folder.join("log"))), (0o555, 0o444));
    let again = shop.dev(["artifacts", "get", &shop.reference("t"), "--json"]).ok().json();
    assert_eq!((again["folder"].as_str(), again["bytes"].as_u64()), (folder.to_str(), Some(0)));

    // There, as files of one's own.
    let there = shop.trip.lab.dev.path("there");
    let get = ["artifacts", "get", &shop.reference("t"), "log", "--output", there.to_str().unwrap()];
    assert_eq!(shop.dev(get).ok().stdout.trim(), there.to_str().unwrap());
    assert_eq!(fs::read_dir(&there).unwrap().count(), 1);
    shop.dev(get).code(2).says(&["is not an empty folder"]);
    shop.dev(["artifacts", "get", &shop.reference("t"), "nothing"]).code(3).says(&["no artifact", "artifacts ls"]);

    // They belong to the identity: the next one begins without.
    shop.trip.lab.repo.write("next", "x");
    shop.publish("t");
    assert!(shop.ls("t").is_empty());
    let former = format!("{}@{}", shop.store, shown["digest"].as_str().unwrap());
    let listed = shop.dev(["artifacts", "ls", &former, "--json"]).ok().json();
    assert_eq!(listed["artifacts"].as_array().unwrap().len(), 3);
}

#[test]
fn in_a_folder() {
    travels(&Shop::new());
}

#[test]
fn in_a_registry_without_the_referrers_api() {
    let registry = RealRegistry::start();
    let shop = Shop::at(registry.repository("acme/tasks"));
    travels(&shop);
    registry.stop();
}

#[test]
fn in_a_registry_with_the_referrers_api() {
    let registry = Modern::start(Habits { page: 2, ..Habits::default() });
    travels(&Shop::at(registry.store()));
    assert!(registry.tags().iter().all(|tag| !tag.starts_with("sha256-")), "{:?}", registry.tags());
    assert!(registry.asked().iter().any(|asked| asked.contains("?from=2")), "lists come in pages");
}

/// A registry whose list leads to another host gets no credentials there.
#[test]
fn case_22_a_list_that_goes_on_elsewhere() {
    let shop = Shop::new();
    shop.publish("t");
    shop.add("t", "log", "x", &["--type", "logs"]).ok();
    let thief = crate::support::Liar::honest(&shop.trip.lab.store);
    let next = format!("<http://{}/v2/acme/tasks/referrers/x>; rel=\"next\"", thief.host);
    let liar = crate::support::Liar::over(&shop.trip.lab.store, move |asked, answer| {
        if !asked.path.contains("/referrers/") {
            return answer;
        }
        let list = r#"{"schemaVersion":2,"manifests":[]}"#;
        crate::support::Answer::new(200, list).header("Link", next.clone())
    });
    shop.dev(["artifacts", "ls", &liar.task("t")]).code(5).says(&["elsewhere"]);
    assert!(thief.asked().is_empty());
}

/// Writers that know nothing of each other: everything is listed at the end.
#[test]
fn nobody_s_artifact_is_lost() {
    let registry = RealRegistry::start();
    for shop in [Shop::new(), Shop::at(registry.repository("acme/tasks"))] {
        shop.publish("t");
        let writers = 8;
        let children: Vec<_> = (0..writers)
            .map(|n| shop.add("t", &format!("log-{n}"), format!("{n}"), &["--type", "logs"]).spawn())
            .collect();
        for child in children {
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        let mut names: Vec<String> = shop.ls("t").iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect();
        names.sort();
        assert_eq!(names, (0..writers).map(|n| format!("log-{n}")).collect::<Vec<_>>());
    }
    registry.stop();
}

/// Somebody else's tool copies every tag, and evidence comes along.
#[test]
fn skopeo_carries_artifacts_both_ways() {
    let registry = RealRegistry::start();
    let shop = Shop::new();
    shop.publish("t");
    shop.add("t", "unit.xml", "<ok/>", &["--type", "test-results"]).ok();
    shop.add("t", "log", "said", &["--type", "logs"]).ok();
    let copy = |options: &str, tags: &[String], from: &dyn Fn(&str) -> String, to: &dyn Fn(&str) -> String| {
        for tag in tags {
            let fixed = "copy --all --insecure-policy --src-tls-verify=false --dest-tls-verify=false";
            let call = shop.trip.lab.agent.call("skopeo", fixed.split(' ').chain(options.split_terminator(' ')));
            call.args([from(tag), to(tag)]).ok();
        }
    };
    let there = registry.repository("acme/copied");
    let folder = Layout::of(&shop.trip.lab.agent, "back");
    let tags = shop.trip.lab.store.tags();
    assert_eq!(tags.iter().filter(|tag| tag.starts_with("sha256-")).count(), 1, "one list: {tags:?}");
    let docker = |tag: &str| format!("docker://{there}:{tag}");
    copy("--preserve-digests", &tags, &|tag| shop.trip.lab.store.reference(tag), &docker);
    // From here on the list is as registries have it.
    let copied = Shop { trip: shop.trip.with_developer(Home::new()), store: there.clone() };
    copied.add("t", "third", "x", &["--type", "logs"]).ok();
    let (lists, others): (Vec<String>, Vec<String>) = tags.into_iter().partition(|tag| tag.starts_with("sha256-"));
    copy("--preserve-digests", &others, &docker, &|tag| folder.reference(tag));
    copy("", &lists, &docker, &|tag| folder.reference(tag));
    let back = Shop { trip: shop.trip.with_developer(Home::new()), store: folder.name() };
    let (rows, before) = (copied.ls("t"), shop.ls("t"));
    assert!(rows.len() == 3 && before.iter().all(|row| rows.contains(row)), "{rows:#?}");
    assert_eq!(back.ls("t"), copied.ls("t"));
    for copied in [copied, back] {
        copied.dev(["artifacts", "verify", &copied.reference("t")]).ok();
        let folder = copied.dev(["artifacts", "get", &copied.reference("t")]).ok().stdout;
        assert_eq!(fs::read_to_string(PathBuf::from(folder.trim()).join("log")).unwrap(), "said");
    }
    registry.stop();
}

/// What is in a store of many tasks costs as much as in one of few.
#[test]
fn a_list_is_as_long_as_what_is_attached() {
    let registry = Modern::start(Habits { referrers: false, page: 1000, ..Habits::default() });
    let shop = Shop::at(registry.store());
    for n in 0..5 {
        shop.publish(&format!("t-{n}"));
        shop.add(&format!("t-{n}"), "log", "x", &["--type", "logs"]).ok();
    }
    shop.add("t-0", "second", "x", &["--type", "logs"]).ok();
    registry.asked();
    shop.ls("t-0");
    let asked = registry.asked();
    // The task, the API that is not there, the list, and one for each artifact.
    assert_eq!(asked.len(), 5, "{asked:#?}");
}
