//! Full and read-only file systems: nothing half-written stays, and the same
//! command works when there is room.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use super::fails;
use crate::support::{Entry, Home, ImageBuilder, Lab, Layer, Small, Stopped, Trip};

fn noise(seed: u32, length: u32) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 7) as u8
    };
    (0..length).map(|_| next()).collect()
}

fn full() -> [&'static str; 2] {
    ["the disk is full", "run the same command again"]
}

#[test]
fn case_50_no_room_for_a_workspace() {
    let trip = Trip::new();
    trip.lab.repo.write("large", noise(1, 3_000_000));
    let task = trip.publish(&trip.lab.repo);
    for (folder, options) in [("data", "size=1m"), ("data", "size=100m,nr_inodes=12"), ("cache", "size=1m")] {
        let trip = trip.with_developer(Home::new());
        let small = Small::at(&trip.lab.dev.path(folder), options);
        fails(|| trip.entering(&task), 1, "failure", &full());
        trip.assert_nothing_made();
        small.remount("size=100m,nr_inodes=10000");
        let workspace = trip.enter(&task);
        assert_eq!(fs::read(workspace.path.join("large")).unwrap(), noise(1, 3_000_000));
    }
}

#[test]
fn case_50_no_room_for_an_image() {
    let trip = Trip::new();
    let image = ImageBuilder::busybox().layer(Layer::new([Entry::file("large", noise(2, 5_000_000))]));
    let task = trip.lab.publish(&image);
    let small = Small::at(&trip.lab.dev.path("cache"), "size=4m");
    trip.lab.enter(&task, &["true"]).code(125).says(&["error:", "hint:", "free some space"]);
    assert!(trip.lab.leftovers().is_empty(), "{:?}", trip.lab.leftovers());
    // The workspace is made at the same time; it is whole with its pin, or not there.
    let made = trip.made();
    assert!(made.is_empty() || made.len() == 2, "{made:?}");
    small.remount("size=100m");
    assert_eq!(trip.lab.sh(&task, "wc -c < /large"), "5000000\n");
}

#[test]
fn case_50_no_room_in_the_store() {
    let trip = Trip::new();
    trip.lab.repo.write("large", noise(3, 3_000_000));
    let small = Small::at(&trip.lab.store.path, "size=1m");
    fails(|| trip.publishing(&trip.lab.repo, "t"), 1, "failure", &full());
    assert!(!trip.lab.store.tags().contains(&"t".to_owned()));
    small.remount("size=100m");
    trip.publishing(&trip.lab.repo, "t").ok();
    trip.enter(&trip.lab.store.reference("t"));
    let names = fs::read_dir(&trip.lab.store.path).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(names.into_iter().all(|name| !name.to_string_lossy().starts_with(".tmp")));
}

#[test]
fn case_50_no_room_for_temporary_files() {
    let trip = Trip::new();
    trip.lab.repo.write("large", noise(4, 3_000_000));
    let temporary = trip.lab.agent.path("tmp");
    let small = Small::at(&temporary, "size=1m");
    let publish = || trip.publishing(&trip.lab.repo, "t").env("TMPDIR", &temporary);
    let run = publish().code(1).says(&["error:", "no space left"]);
    assert_eq!(run.stdout, "");
    assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0);
    small.remount("size=100m");
    publish().ok();
    assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0);
}

#[test]
fn case_50_read_only_file_systems() {
    let trip = Trip::new();
    let task = trip.publish(&trip.lab.repo);
    for folder in ["data", "cache", "state"] {
        let small = Small::at(&trip.lab.dev.path(folder), "size=10m");
        small.remount("ro");
        fails(|| trip.entering(&task), 1, "failure", &["read-only file system", "XDG_DATA_HOME"]);
        trip.assert_nothing_made();
        small.remount("rw");
    }
    let small = Small::at(&trip.lab.agent.path("other"), "size=10m");
    small.remount("ro");
    let args = ["publish", "t", "--store", &format!("oci:{}", small.0.display()), "--image", &trip.image];
    trip.lab.agent.envctl(args).cwd(&trip.lab.repo.path).code(1).says(&["error:", "file system is read-only"]);
    // A store is named, and nothing is made for it.
    let small = Small::at(&trip.lab.store.path, "size=10m");
    let task = trip.publish(&trip.lab.repo);
    small.remount("ro");
    let says = ["cannot be written", &trip.lab.store.name(), "read-only", "--store"];
    fails(|| trip.publishing(&trip.lab.repo, "u"), 1, "failure", &says);
    trip.enter(&task);
}

both!(case_50_a_disk_that_is_full_when_a_command_ends_does_not_change_its_exit_code);
/// What ran has run: its exit code passes through, and what could not be
/// written is said.
fn case_50_a_disk_that_is_full_when_a_command_ends_does_not_change_its_exit_code(lab: Lab) {
    let own = fs::metadata(lab.dev.path("home")).unwrap().uid();
    let small = Small::at(&lab.dev.path("state"), &format!("size=1m,uid={own},gid={own}"));
    let task = lab.publish(&ImageBuilder::busybox());
    for verb in ["enter", "run"] {
        let stopped = Stopped::at("leave.scratch-removed", lab.dev.envctl([verb, &task, "--", "sh", "-c", "exit 7"]));
        let filler = small.0.join("filler");
        assert_eq!(fs::write(&filler, noise(6, 2_000_000)).unwrap_err().kind(), std::io::ErrorKind::StorageFull);
        let said = stopped.fails(7, "");
        let receipts = fs::read_dir(lab.dev.path("state/envctl/receipts")).map_or(0, Iterator::count);
        assert!(said.contains("its receipt is not on disk") || receipts > 0, "{said}");
        fs::remove_file(&filler).unwrap();
        assert!(lab.leftovers().is_empty(), "{:?}", lab.leftovers());
        let left = fs::read_dir(lab.dev.state().join("leases")).unwrap().count();
        assert_eq!(left, 0, "leases");
    }
}

/// What was entered before works although there is no room for anything.
#[test]
fn case_50_a_full_disk_does_not_keep_out_of_a_workspace() {
    let trip = Trip::new();
    let _small = Small::at(&trip.lab.dev.path("data"), "size=2m");
    let task = trip.publish(&trip.lab.repo);
    let workspace = trip.enter(&task);
    let filler = trip.lab.dev.path("data/filler");
    assert_eq!(fs::write(&filler, noise(5, 4_000_000)).unwrap_err().kind(), std::io::ErrorKind::StorageFull);
    assert_eq!(trip.enter(&task).path, workspace.path);
    trip.lab.dev.envctl(["show", &task, "--offline"]).ok();
    trip.lab.dev.envctl(["status"]).ok();
}
