//! Stores that are missing, something else, or damaged.

use std::fs;

use super::{fails, fails_to_enter};
use crate::support::Trip;

#[test]
fn an_unknown_task() {
    let trip = Trip::new();
    trip.publish(&trip.lab.repo);
    let store = trip.lab.store.name();
    let says = ["there is no task nowhere", &store, "envctl tasks --store"];
    fails_to_enter(&trip, &trip.lab.store.reference("nowhere"), 3, "not-found", &says);
    fails(|| trip.lab.dev.envctl(["show", &trip.lab.store.reference("nowhere")]), 3, "not-found", &says);
    let digest = format!("{store}@sha256:{}", "0".repeat(64));
    let near = trip.lab.store.reference("taks-1");
    trip.lab.enter(&near, &["true"]).code(125).says(&["there is no task taks-1", "the nearest name there is task-1"]);
    fails_to_enter(&trip, &digest, 3, "not-found", &["there is no task", &"0".repeat(64)]);
    // Beside a command the exit code says that it never ran.
    trip.lab.enter(&trip.lab.store.reference("nowhere"), &["true"]).code(125).says(&["there is no task nowhere"]);
    let error = &trip.lab.report()["error"];
    assert_eq!((error["kind"].as_str(), error["exit_code"].as_i64()), (Some("not-found"), Some(125)));
}

#[test]
fn no_store_at_all() {
    let trip = Trip::new();
    let says = ["no store is configured", "--store"];
    fails(|| trip.lab.dev.envctl(["enter", "task-1", "--no-runtime"]), 2, "usage", &says);
    fails(|| trip.lab.dev.envctl(["tasks"]), 2, "usage", &says);
    let publish = || trip.lab.agent.envctl(["publish", "t", "--image", &trip.image]).cwd(&trip.lab.repo.path);
    fails(publish, 2, "usage", &says);
}

#[test]
fn a_missing_store() {
    let trip = Trip::new();
    let says = ["there is no store at", "elsewhere", "does not exist"];
    let path = trip.lab.dev.path("elsewhere");
    let store = format!("oci:{}", path.display());
    fails_to_enter(&trip, &format!("{store}:task-1"), 3, "not-found", &says);
    fails(|| trip.lab.dev.envctl(["tasks", "--store", &store]), 3, "not-found", &says);
    assert!(!path.exists(), "reading makes no store");
}

#[test]
fn a_publish_that_finds_no_image_makes_no_store() {
    let trip = Trip::new();
    let path = trip.lab.agent.path("new/store");
    let store = format!("oci:{}", path.display());
    let absent_tag = format!("{}-absent", trip.image);
    for image in [&absent_tag, "oci:absent:x", "docker-archive:absent.tar", "127.0.0.1:1/acme/image:x"] {
        let args = ["publish", "t", "--store", &store, "--image", image];
        let refused = trip.lab.agent.envctl(args).cwd(&trip.lab.repo.path).run();
        assert!(!matches!(refused.code, 0 | 2), "{image}: {}", refused.stderr);
        assert!(!trip.lab.agent.path("new").exists(), "{image} left a store");
        assert!(!refused.stderr.contains("Created"), "{}", refused.stderr);
    }
    let args = ["publish", "t", "--store", &store, "--image", &trip.image];
    trip.lab.agent.envctl(args).cwd(&trip.lab.repo.path).ok().says(&["Created the store"]);
    assert!(path.join("oci-layout").exists());
}

#[test]
fn a_store_that_is_a_file_or_another_folder() {
    let trip = Trip::new();
    trip.lab.dev.write("file", "x");
    trip.lab.dev.write("folder/file", "x");
    for (name, says) in [("file", ["file"]), ("folder", ["not an oci image layout"])] {
        let store = format!("oci:{}", trip.lab.dev.path(name).display());
        fails_to_enter(&trip, &format!("{store}:task-1"), 3, "not-found", &["there is no store at", says[0]]);
        let publish = || {
            let args = ["publish", "t", "--store", &store, "--image", &trip.image];
            trip.lab.agent.envctl(args).cwd(&trip.lab.repo.path)
        };
        fails(publish, 2, "usage", &[name, "oci:"]);
    }
    assert_eq!(fs::read(trip.lab.dev.path("file")).unwrap(), b"x");
    assert_eq!(fs::read_dir(trip.lab.dev.path("folder")).unwrap().count(), 1);
}

#[test]
fn a_damaged_index_of_a_store() {
    let trip = Trip::new();
    let task = trip.publish(&trip.lab.repo);
    for (file, bytes) in [
        ("index.json", "" as &str),
        ("index.json", "{"),
        ("index.json", "{\"schemaVersion\":2}"),
        ("index.json", "{\"schemaVersion\":2,\"manifests\":[],\"layers\":[]}"),
        ("oci-layout", "{}"),
        ("oci-layout", "{\"imageLayoutVersion\":\"2.0.0\"}"),
    ] {
        let path = trip.lab.store.path.join(file);
        let before = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, bytes).unwrap();
        trip.refuses_to_enter(&task, 5, &[]);
        // A publish must not make it worse.
        trip.publishing(&trip.lab.repo, "t").code(5);
        assert_eq!(fs::read(&path).unwrap(), bytes.as_bytes());
        fs::remove_file(&path).unwrap();
        fs::write(&path, before).unwrap();
    }
    trip.enter(&task);
}

/// The blobs of a task: the manifest, the snapshot document, the pack.
fn blobs(trip: &Trip, task: &str) -> Vec<(&'static str, String)> {
    let tag = task.rsplit_once(':').unwrap().1;
    let manifest = trip.lab.store.document(tag);
    let digest = |value: &serde_json::Value| value["digest"].as_str().unwrap().to_owned();
    vec![
        ("manifest", trip.lab.store.digest_of(tag)),
        ("snapshot", digest(&manifest["layers"][0])),
        ("pack", digest(&manifest["layers"][1])),
    ]
}

#[test]
fn damaged_blobs_are_refused_and_repaired_ones_work_at_once() {
    let damages: [fn(&mut Vec<u8>); 5] = [
        |bytes| {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
        },
        |bytes| bytes.truncate(bytes.len() / 2),
        Vec::clear,
        |bytes| bytes.push(b' '),
        |bytes| bytes.resize(bytes.len() + (8 << 20), 0),
    ];
    let trip = Trip::new();
    trip.lab.repo.write("new", "x");
    let task = trip.publish(&trip.lab.repo);
    for (_, digest) in blobs(&trip, &task) {
        for damage in damages {
            let mut bytes = fs::read(trip.lab.store.blob(&digest)).unwrap();
            damage(&mut bytes);
            let before = trip.lab.store.swap(&digest, Some(&bytes));
            trip.refuses_to_enter(&task, 5, &[]);
            trip.lab.enter(&task, &["true"]).code(125);
            trip.assert_nothing_made();
            trip.lab.store.swap(&digest, Some(&before));
        }
    }
    trip.enter(&task);
}

#[test]
fn missing_blobs_are_named() {
    let trip = Trip::new();
    trip.lab.repo.write("new", "x");
    let task = trip.publish(&trip.lab.repo);
    for (_, digest) in blobs(&trip, &task) {
        let before = trip.lab.store.swap(&digest, None);
        fails_to_enter(&trip, &task, 3, "not-found", &[&digest, "is not in the store", "publish the task again"]);
        trip.lab.store.swap(&digest, Some(&before));
    }
    trip.enter(&task);
}

/// A damaged blob in the store does not survive the next publish of it.
#[test]
fn a_blob_that_was_cut_short_is_written_again() {
    let trip = Trip::new();
    trip.lab.repo.write("new", "x");
    let task = trip.publish(&trip.lab.repo);
    let digest = blobs(&trip, &task)[2].1.clone();
    let half = fs::read(trip.lab.store.blob(&digest)).unwrap()[..10].to_vec();
    trip.lab.store.swap(&digest, Some(&half));
    trip.publish(&trip.lab.repo);
    trip.enter(&task);
}

#[test]
fn a_tag_that_is_something_else() {
    let trip = Trip::new();
    let image = crate::support::ImageBuilder::busybox();
    let task = trip.lab.store.add("task-9", &image).reference;
    trip.refuses_to_enter(&task, 5, &["is not an envctl identity"]);
    let error = trip.publishing(&trip.lab.repo, "task-9").code(5);
    error.says(&["task-9", "in use by something else", "hint:"]);
    assert_eq!(trip.lab.store.document("task-9")["config"]["mediaType"], "application/vnd.oci.image.config.v1+json");
}

#[test]
fn two_different_stores() {
    let trip = Trip::new();
    let task = trip.publish(&trip.lab.repo);
    let other = format!("oci:{}", trip.lab.dev.path("other").display());
    let says = ["name different stores", "name one of them"];
    fails(|| trip.lab.dev.envctl(["enter", &task, "--no-runtime", "--store", &other]), 2, "usage", &says);
    trip.assert_nothing_made();
    trip.lab.dev.envctl(["enter", &task, "--no-runtime", "--store", &trip.lab.store.name()]).ok();
}
