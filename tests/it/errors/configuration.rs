//! Files that people write, and files that envctl wrote, with mistakes.

use std::fs;

use super::fails;
use crate::support::Trip;

#[test]
fn a_malformed_project_file() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    for (text, says) in [
        ("[toolchain\n", &["envctl.toml, line 1"] as &[&str]),
        ("store = 5\n", &["envctl.toml, line 1"]),
        ("[toolchain]\nimgae = \"x\"\n", &["unknown key", "toolchain.imgae", "toolchain.image"]),
        ("[snapshot]\ninclude = [\"../x\", \":(top)\"]\n", &["snapshot.include"]),
        ("store = \"nonsense\"\n", &["store"]),
    ] {
        repo.write("envctl.toml", text);
        let run = trip.publishing(repo, "t").code(2).says(&["error:"]).says(says);
        assert_eq!(run.stdout, "");
        let json = trip.publishing(repo, "t").arg("--json").code(2).json();
        assert_eq!(json["error"]["kind"], "usage");
    }
    assert!(trip.lab.store.tags().is_empty());
    // One that the agent has committed does not keep the developer out.
    let task = {
        fs::remove_file(repo.path.join("envctl.toml")).unwrap();
        trip.publish(repo)
    };
    trip.enter(&task);
}

#[test]
fn a_malformed_user_file() {
    let trip = Trip::new();
    let task = trip.publish(&trip.lab.repo);
    let file = trip.lab.dev.path("config/envctl/config.toml");
    for text in ["x = [", "stoer = \"oci:/x\"\n", "store = 7\n", "[[url]]\nfrom = \"a\"\n"] {
        trip.lab.dev.write(&file, text);
        for args in [&["enter", &task, "--no-runtime"] as &[&str], &["status"], &["tasks"], &["reset", "--all"]] {
            let run = trip.lab.dev.envctl(args).code(2).says(&["error:", "config.toml"]);
            assert_eq!(run.stdout, "");
        }
    }
    trip.assert_nothing_made();
    fs::remove_file(file).unwrap();
    trip.enter(&task);
}

#[test]
fn a_damaged_pin_is_named() {
    let trip = Trip::new();
    let (task, other) = (trip.publish(&trip.lab.repo), trip.publish(&trip.lab.repo));
    let workspace = trip.enter(&task);
    trip.lab.pins_at_rest();
    let pins = trip.lab.dev.data().join("pins");
    let pin = fs::read_dir(&pins).unwrap().next().unwrap().unwrap().path();
    fs::remove_file(&pin).unwrap();
    fs::write(&pin, "{").unwrap();
    trip.entering(&task).code(5).says(&["error:", "is damaged", pin.to_str().unwrap()]);
    // Nothing else suffers from it.
    trip.enter(&other);
    trip.lab.dev.envctl(["status"]).ok();
    assert!(workspace.path.join("README").exists());
}

#[test]
fn a_damaged_identity_is_named_and_refreshed() {
    let trip = Trip::new();
    let task = trip.publish(&trip.lab.repo);
    trip.enter(&task);
    let folder = trip.lab.dev.data().join("identities");
    let file = fs::read_dir(&folder).unwrap().next().unwrap().unwrap().path();
    let before = fs::read(&file).unwrap();
    fs::remove_file(&file).unwrap();
    fs::write(&file, &before[..10]).unwrap();
    fails(|| trip.entering(&task), 5, "integrity", &["is damaged", file.to_str().unwrap(), "--refresh"]);
    // As the hint says.
    fs::remove_file(&file).unwrap();
    trip.entering(&task).arg("--refresh").ok();
    assert_eq!(fs::read(&file).unwrap(), before);
}

/// A damaged cache entry costs time only.
#[test]
fn damaged_cache_entries_are_fetched_again() {
    let trip = Trip::new();
    trip.lab.repo.write("new", "x");
    let (one, two) = (trip.publish(&trip.lab.repo), trip.publish(&trip.lab.repo));
    trip.enter(&one);
    let blobs = trip.lab.dev.cache().join("blobs/sha256");
    for entry in fs::read_dir(&blobs).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::remove_file(&path).unwrap();
        fs::write(&path, bytes).unwrap();
    }
    trip.enter(&two);
}

#[test]
fn folders_that_are_not_empty_stay_as_they_are() {
    let trip = Trip::new();
    let task = trip.publish(&trip.lab.repo);
    trip.lab.dev.write("mine/file", "x");
    trip.lab.dev.write("mine-too", "x");
    for name in ["mine", "mine-too"] {
        let into = trip.lab.dev.path(name);
        fails(|| trip.entering(&task).arg("--into").arg(&into), 2, "usage", &[name, "is not empty", "--into DIR"]);
    }
    trip.assert_nothing_made();
    assert_eq!(fs::read_dir(trip.lab.dev.path("mine")).unwrap().count(), 1);
    let run = trip.entering(&task).arg("--into").arg(trip.lab.dev.path("fresh/deep")).ok();
    assert_eq!(run.stdout.trim(), trip.lab.dev.path("fresh/deep").to_str().unwrap());
}
