//! A large repository of somebody else's, there and back again, and once more.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::support::{Call, Facts, Home, Repo, Trip, prepared};

/// So many files the work is in.
const WORK: usize = 20;

/// Sources as files, with a history in which each part came by itself, and
/// later changes to some.
fn project(repo: &Repo) -> Vec<PathBuf> {
    let archive = prepared().join("large-project.tar.gz");
    let unpack = ["-x", "--strip-components=1", "--no-same-owner", "-C"];
    assert!(Command::new("tar").args(unpack).arg(&repo.path).arg("-f").arg(&archive).status().unwrap().success());
    repo.git(&["config", "gc.auto", "0"]);
    let mut parts: Vec<String> = Vec::new();
    for folder in [".", "django", "tests"] {
        let names = fs::read_dir(repo.path.join(folder)).unwrap().map(|entry| entry.unwrap().path());
        let inner =
            names.filter(|path| path.is_dir() && !["django", "tests", ".git"].iter().any(|name| path.ends_with(name)));
        parts.extend(inner.map(|path| path.strip_prefix(&repo.path).unwrap().to_str().unwrap().to_owned()));
    }
    parts.sort();
    for group in parts.chunks(parts.len().div_ceil(40)) {
        repo.git(&[&["add", "--"], &group.iter().map(String::as_str).collect::<Vec<_>>()[..]].concat());
        repo.git(&["commit", "--quiet", "-m", &format!("add {}", group[0])]);
    }
    repo.commit("everything else");
    let files = repo.git(&["ls-files", "-z"]);
    let mut files: Vec<PathBuf> = files.split('\0').filter(|name| !name.is_empty()).map(PathBuf::from).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "py"));
    for round in 0..30 {
        for path in files.iter().skip(round * 37).step_by(997) {
            append(repo, path, &format!("# revision {round}\n"));
        }
        repo.git(&["commit", "--quiet", "--all", "-m", &format!("revision {round}")]);
    }
    repo.push();
    files
}

fn append(repo: &Repo, path: &std::path::Path, text: &str) {
    let mut content = fs::read(repo.path.join(path)).unwrap();
    content.extend_from_slice(text.as_bytes());
    repo.write(path, content);
}

/// Twenty files: in two commits, staged, changed, new, moved, gone.
fn work(repo: &Repo, files: &[PathBuf], who: &str) {
    let spread = files.len() / (WORK + 1);
    let at = |n: usize| &files[(n + 1) * spread + who.len()];
    let text = |n: usize| format!("\n\ndef {who}_{n}():\n    return {n}\n");
    (0..4).for_each(|n| append(repo, at(n), &text(n)));
    repo.commit(&format!("{who}: first part"));
    (4..8).for_each(|n| append(repo, at(n), &text(n)));
    repo.write(format!("docs/{who}.txt"), "what was found out\n");
    repo.commit(&format!("{who}: second part"));
    (8..12).for_each(|n| append(repo, at(n), &text(n)));
    repo.git(&["add", "--all"]);
    append(repo, at(8), "# and once more\n");
    (12..16).for_each(|n| append(repo, at(n), &text(n)));
    repo.remove(at(16));
    repo.git(&["mv", at(17).to_str().unwrap(), &format!("{who}_moved.py")]);
    repo.write(format!("{who}/notes"), "untracked\n");
    repo.write(format!("{who}/more notes"), "untracked\n");
}

#[test]
fn there_and_back_again_twice() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    let files = project(repo);
    let tracked: usize = repo.git(&["ls-files"]).lines().count();
    assert!(tracked > 5_000, "{tracked} files");
    assert!(repo.git(&["rev-list", "--count", "HEAD"]).parse::<usize>().unwrap() > 50);
    work(repo, &files, "agent");
    let task = trip.publish(repo);
    let mut before = repo.clone();
    for round in 0..2 {
        // A person whose machine has nothing of it.
        let person = trip.with_developer(Home::new());
        let workspace = person.enter(&task);
        Facts::of(&before).assert_same(&Facts::of(&workspace));
        workspace.git(&["stash", "list"]);
        fixed(&workspace, round);
        hand_back(&person, &workspace).ok();
        // And the agent's next machine.
        let agent = trip.with_developer(Home::new());
        before = agent.enter(&task);
        Facts::of(&workspace).assert_same(&Facts::of(&before));
        fixed(&before, round + 10);
        hand_back(&agent, &before).ok();
    }
    let log = trip.lab.dev.envctl(["log", &task, "--json"]).ok().json();
    assert_eq!(log["identities"].as_array().or_else(|| log.as_array()).unwrap().len(), 5, "{log}");
    assert_eq!(before.git(&["rev-list", "--count", "origin/main..HEAD"]), "6");
}

fn fixed(workspace: &Repo, round: usize) {
    workspace.write(format!("fix_{round}.py"), format!("fixed = {round}\n"));
    workspace.git(&["add", &format!("fix_{round}.py")]);
    workspace.git(&["commit", "--quiet", "-m", &format!("fix {round}"), "--", &format!("fix_{round}.py")]);
    workspace.write(format!("docs/round_{round}.txt"), "still open\n");
}

fn hand_back(person: &Trip, workspace: &Repo) -> Call {
    person.lab.dev.envctl(["publish", "--status", "handed-back"]).cwd(&workspace.path)
}
