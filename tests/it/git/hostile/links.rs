//! Links and pipes where envctl reads: in a checkout's git folder and among its
//! files. What a link leads to stays at home, and nobody is waited for.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode};

use crate::support::{Repo, Trip, sha256};

const PRIVATE: &str = "a private note\nsalary: 12345\n";

/// What git keeps in its folder, and envctl reads there.
const READ: [&str; 9] = [
    "info/attributes",
    "info/exclude",
    "info/sparse-checkout",
    "MERGE_MSG",
    "BISECT_LOG",
    "rebase-merge/message",
    "shallow",
    "index",
    "sharedindex.0123456789012345678901234567890123456789",
];

fn pipe(path: &Path) {
    rustix::fs::mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o644), 0).unwrap();
}

/// A checkout, a private file beside it, and a place in its git folder of which
/// nothing is left.
fn with(name: &str) -> (Trip, PathBuf, PathBuf) {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    repo.git(&["config", "core.sparseCheckout", "true"]);
    repo.write("untracked", "x");
    let private = trip.lab.agent.path("private/notes.txt");
    trip.lab.agent.write(&private, PRIVATE);
    let place = repo.path.join(".git").join(name);
    fs::create_dir_all(place.parent().unwrap()).unwrap();
    let _ = fs::remove_file(&place);
    (trip, private, place)
}

#[test]
fn case_42_a_link_in_the_git_folder_is_refused() {
    for name in READ {
        let (trip, private, place) = with(name);
        trip.lab.repo.symlink(&place, &private);
        trip.refuses(&trip.lab.repo, 6, &[name, "is a link", "put a plain file in its place"]);
        assert!(!travelled(&trip), "{name}");
    }
    // A link on the way there.
    let (trip, private, place) = with("info/attributes");
    fs::rename(&private, private.with_file_name("attributes")).unwrap();
    fs::rename(place.parent().unwrap(), trip.lab.agent.path("info-before")).unwrap();
    trip.lab.repo.symlink(place.parent().unwrap(), private.parent().unwrap());
    trip.refuses(&trip.lab.repo, 6, &["/.git/info/", "behind one"]);
}

#[test]
fn case_42_a_pipe_in_the_git_folder_is_refused() {
    for name in READ {
        let (trip, _, place) = with(name);
        pipe(&place);
        trip.refuses(&trip.lab.repo, 6, &[name, "is no file"]);
    }
    // What git's library reads by itself.
    let pack = "objects/pack/pack-0123456789012345678901234567890123456789.idx";
    for name in ["config", "packed-refs", "info/grafts", "HEAD", "refs/remotes/origin/x", "logs/refs/stash", pack] {
        let (trip, _, place) = with(name);
        pipe(&place);
        let task = trip.lab.next_task();
        assert_ne!(trip.publishing(&trip.lab.repo, &task).run().code, 0, "{name}");
    }
}

/// Whether the private text is anywhere in the store, also in a pack.
fn travelled(trip: &Trip) -> bool {
    let blobs = trip.lab.agent.path("store/blobs/sha256");
    let bytes = |entry: fs::DirEntry| fs::read(entry.path()).unwrap();
    let mut all = fs::read_dir(blobs).into_iter().flatten().map(|entry| bytes(entry.unwrap()));
    all.any(|bytes| {
        let unpacked = unpacked(trip, &bytes);
        [&bytes, &unpacked].iter().any(|text| String::from_utf8_lossy(text).contains("salary"))
    })
}

/// The contents of a pack; nothing for what is none.
fn unpacked(trip: &Trip, pack: &[u8]) -> Vec<u8> {
    if !pack.starts_with(b"PACK") {
        return Vec::new();
    }
    let reader = trip.lab.repo.clone_to(&format!("reader-{}", sha256(pack)), &["--bare"]);
    reader.call(&["unpack-objects", "-q"]).stdin(pack.to_vec()).ok();
    reader.call(&["cat-file", "--batch", "--batch-all-objects"]).ok().raw
}

/// Says in the index that a file has another size than the blob that it is.
fn forge_size(repo: &Repo, path: &str, size: u32) {
    let index = repo.path.join(".git/index");
    let mut bytes = fs::read(&index).unwrap();
    bytes.truncate(bytes.len() - 20);
    let at = bytes.windows(path.len()).position(|window| window == path.as_bytes()).unwrap() - 62;
    bytes[at + 36..at + 40].copy_from_slice(&size.to_be_bytes());
    // Git can be told to leave the checksum out.
    bytes.extend([0; 20]);
    fs::write(&index, bytes).unwrap();
}

#[test]
fn case_42_a_folder_that_became_a_link_leads_to_no_file() {
    for attributes in ["* text\n", "*.txt text eol=crlf\n", "*.txt filter=lfs diff=lfs merge=lfs -text\n"] {
        let (trip, private, _) = with("MERGE_MSG");
        let repo = &trip.lab.repo;
        repo.write("d/notes.txt", "tiny\n");
        repo.write(".gitattributes", attributes);
        repo.git(&["config", "core.sparseCheckout", "false"]);
        repo.commit("with a folder");
        repo.push();
        fs::rename(repo.path.join("d"), trip.lab.agent.path("before")).unwrap();
        repo.symlink("d", private.parent().unwrap());
        forge_size(repo, "d/notes.txt", 99);
        let task = trip.publish(repo);
        assert!(!travelled(&trip), "{attributes}");
        let workspace = trip.enter(&task);
        assert_eq!(fs::read_link(workspace.path.join("d")).unwrap(), private.parent().unwrap());
    }
}

#[test]
fn case_42_a_pipe_where_git_reads_is_refused() {
    for path in [".gitignore", ".gitmodules", ".gitattributes", "d/.gitignore", "d/.gitattributes", "new/.gitignore"] {
        let (trip, ..) = with("MERGE_MSG");
        let repo = &trip.lab.repo;
        repo.write("d/notes.txt", "tiny\n");
        fs::write(repo.path.join(".git/info/attributes"), "* text\n").unwrap();
        repo.git(&["config", "core.sparseCheckout", "false"]);
        repo.commit("with a folder");
        repo.push();
        // Attributes are asked about it.
        forge_size(repo, "d/notes.txt", 99);
        repo.write("new/folder/file", "x");
        pipe(&repo.path.join(path));
        trip.refuses(repo, 6, &[path, "is a pipe"]);
    }
}

#[test]
fn folders_without_end_are_refused() {
    let (trip, ..) = with("MERGE_MSG");
    let repo = &trip.lab.repo;
    repo.git(&["config", "core.sparseCheckout", "false"]);
    let chain = |top: &str, length: usize| PathBuf::from(top).join(vec!["d"; length].join("/"));
    repo.write(chain("fine", 255).join("file"), "x");
    repo.mkdir(chain("empty", 255));
    trip.round(repo);
    repo.mkdir(chain("new", 600));
    trip.refuses(repo, 6, &["new/d/d/...", "nested more than 256 deep"]);
    fs::write(repo.path.join(".gitignore"), "/new/\n").unwrap();
    trip.round(repo);
    // Below a tracked file as well.
    repo.write(chain("tracked", 300).join("file"), "x");
    repo.git(&["add", "tracked"]);
    trip.refuses(repo, 6, &["tracked/d/d/...", "nested more than 256 deep"]);
}

/// The way back reads the same places.
#[test]
fn case_42_a_hostile_workspace_is_kept_and_not_waited_for() {
    let (trip, ..) = with("MERGE_MSG");
    let task = trip.publish(&trip.lab.repo);
    let workspace = trip.enter(&task);
    let exclude = workspace.path.join(".git/info/exclude");
    let _ = fs::remove_file(&exclude);
    fs::create_dir_all(exclude.parent().unwrap()).unwrap();
    pipe(&exclude);
    trip.lab.dev.envctl(["workspace", "rm", "--yes", &task]).ok().says(&["salvaged first"]);
}

#[test]
fn case_51_a_pipe_among_temporary_files_is_not_waited_for() {
    let (trip, ..) = with("MERGE_MSG");
    let folder = trip.lab.agent.path("tmp");
    trip.lab.agent.mkdir(&folder);
    pipe(&folder.join(".envctl-capture-x"));
    let task = trip.lab.next_task();
    trip.publishing(&trip.lab.repo, &task).env("TMPDIR", &folder).ok();
    trip.lab.agent.envctl(["gc"]).env("TMPDIR", &folder).ok();
    assert!(folder.join(".envctl-capture-x").exists());
}
