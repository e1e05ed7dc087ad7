//! Large files, and many of them.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::process::Command;

use crate::support::{Facts, Repo, Trip};

/// Bytes that no compression makes smaller.
fn noise(repo: &Repo, name: &str, megabytes: u64) {
    let mut source = File::open("/dev/urandom").unwrap().take(megabytes << 20);
    let mut file = File::create(repo.path.join(name)).unwrap();
    std::io::copy(&mut source, &mut file).unwrap();
    file.flush().unwrap();
}

#[test]
fn a_binary_of_100_megabytes() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    noise(repo, "large.bin", 100);
    let task = trip.lab.next_task();
    let run = trip.publishing(repo, &task).arg("--json").ok();
    let size = run.json()["pack_bytes"].as_u64().unwrap();
    assert!((100 << 20..101 << 20).contains(&size), "{size} bytes");
    let workspace = trip.enter(&trip.lab.store.reference(&task));
    let status = |repo: &Repo| repo.git(&["status", "--porcelain"]);
    assert_eq!(status(repo), status(&workspace));
    let hash = |repo: &Repo| repo.git(&["hash-object", "large.bin"]);
    assert_eq!(hash(repo), hash(&workspace));
}

#[test]
fn fifty_thousand_files() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    // Git would begin to tidy up behind the back of the test.
    repo.git(&["config", "gc.auto", "0"]);
    for n in 0..50_000 {
        let folder = repo.path.join(format!("pkg{:03}/mod{:02}", n / 500, n / 25 % 20));
        if n % 25 == 0 {
            fs::create_dir_all(&folder).unwrap();
        }
        fs::write(folder.join(format!("file{n:05}.txt")), format!("number {n}\n")).unwrap();
    }
    repo.commit("many");
    repo.push();
    for n in (0..50_000).step_by(2_500) {
        let path = format!("pkg{:03}/mod{:02}/file{n:05}.txt", n / 500, n / 25 % 20);
        match n % 3 {
            0 => repo.remove(&path),
            1 => repo.write(&path, "changed\n"),
            _ => repo.write(format!("{path}.new"), "new\n"),
        }
    }
    let workspace = trip.enter(&trip.publish(repo));
    Facts::of(repo).assert_same(&Facts::of(&workspace));
}

/// Of no file the index can say that it is as it was.
#[test]
fn a_checkout_that_was_copied() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    for n in 0..1_500 {
        repo.write(format!("d{}/f{n}", n % 30), format!("number {n}\n"));
    }
    repo.commit("many");
    repo.push();
    let mut copy = repo.clone();
    copy.path = repo.path.with_file_name("copied");
    assert!(Command::new("cp").arg("-R").args([&repo.path, &copy.path]).status().unwrap().success());
    copy.write("d1/f1", "changed\n");
    copy.write("d2/f2", "NUMBER 2\n");
    copy.write("d2/new", "new\n");
    copy.remove("d3/f3");
    copy.git(&["update-index", "--assume-unchanged", "d4/f4"]);
    copy.write("d4/f4", "promised not to change\n");
    copy.git(&["update-index", "--skip-worktree", "d5/f5", "d6/f6"]);
    copy.write("d5/f5", "kept out of sight\n");
    copy.remove("d6/f6");
    let workspace = trip.round(&copy);
    for path in ["d1/f1", "d4/f4", "d5/f5"] {
        assert_eq!(fs::read(copy.path.join(path)).unwrap(), fs::read(workspace.path.join(path)).unwrap(), "{path}");
    }
    assert!(!workspace.path.join("d6/f6").exists());
}
