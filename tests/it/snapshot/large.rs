//! Large files, and many of them.

use std::fs::{self, File};
use std::io::{Read, Write};

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
