use std::fs;
use std::time::{Duration, Instant};

use super::*;

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(20), "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn what_came_before_the_watch_is_looked_at_when_it_begins() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().to_owned();
    git2::Repository::init(&root).unwrap();
    for folder in ["objects", "refs"] {
        fs::create_dir(root.join(folder)).unwrap();
    }
    fs::write(root.join("HEAD"), "ref: refs/heads/main\n").unwrap();
    let (stop, go) = rustix::pipe::pipe().unwrap();
    let path = root.clone();
    let watching = std::thread::spawn(move || watch(&path, AuditedRun::default(), stop.as_fd(), false));
    // A command runs, and then none does.
    rustix::io::write(&go, b"b").unwrap();
    until("the root is no repository of its own", || !root.join("HEAD").exists());
    drop(go);
    assert!(root.join(".git/HEAD").exists());
    assert_eq!(watching.join().unwrap().found.renamed.len(), 1);
}

#[test]
fn a_git_folder_is_looked_at_when_it_appears_and_when_it_changes() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("workspace");
    git2::Repository::init(&root).unwrap();
    let evil = |git: &Path| {
        fs::create_dir_all(git.join("objects")).unwrap();
        fs::create_dir_all(git.join("refs")).unwrap();
        fs::write(git.join("config"), "[core]\n\tfsmonitor = x\n").unwrap();
        fs::write(git.join("HEAD"), "ref: refs/heads/main\n").unwrap();
    };
    fs::create_dir_all(root.join("early/there")).unwrap();
    evil(&root.join("early/there/.git"));
    let plain = git2::Repository::init(root.join("plain")).unwrap();
    let (stop, go) = rustix::pipe::pipe().unwrap();
    let path = root.clone();
    let watching = std::thread::spawn(move || watch(&path, AuditedRun::default(), stop.as_fd(), true));
    let gone = |path: &str| until(path, || !root.join(path).join("config").exists());
    gone("early/there/.git");
    // Made elsewhere, and moved in whole.
    evil(&dir.path().join("made/.git"));
    fs::rename(dir.path().join("made"), root.join("moved")).unwrap();
    gone("moved/.git");
    evil(&root.join("a/b/c/.git"));
    gone("a/b/c/.git");
    evil(&root.join("store"));
    fs::create_dir(root.join("points")).unwrap();
    fs::write(root.join("points/.git"), "gitdir: ../store\n").unwrap();
    until("the pointer is renamed", || !root.join("points/.git").exists());
    fs::write(root.join("plain/.git/config"), "[core]\n\thooksPath = x\n").unwrap();
    gone("plain/.git");
    fs::write(plain.path().join("hooks/post-checkout"), "x").unwrap();
    until("the hooks are renamed", || !root.join("plain/.git/hooks").exists());
    assert!(root.join(".git/config").exists());
    drop(go);
    let found = watching.join().unwrap();
    assert_eq!((found.found.renamed.len(), found.incomplete), (6, None), "{:?}", found.found);
}
