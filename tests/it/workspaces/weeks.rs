//! Weeks in seconds: random edits, publishes, enters, resets, sweeps and clocks, stores
//! and remotes that move away and come back. Whatever a person or an agent wrote is in
//! a folder of theirs, a workspace, a salvage, the store or the remote at the end, or
//! somebody took it away by name. When nobody comes back, the disk holds what the limits
//! allow ([`super::at_the_end`]).
//!
//! `ENVCTL_TEST_CASES` says how many stories are tried, and `ENVCTL_TEST_SEED` tells the
//! same ones again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use proptest::collection::vec;
use proptest::prelude::*;

use super::at_the_end::MOST;
use super::{later, salvages};
use crate::support::{Home, Repo, Trip, explore};

const TASKS: usize = 2;

#[derive(Clone, Copy, Debug)]
enum Act {
    /// The agent writes, publishes, and works on something else from then on.
    Publish(usize, bool),
    Close(usize),
    /// The developer, in the workspace that they entered last.
    Enter(usize, bool),
    Edit(usize, Edit),
    PublishBack(usize),
    Push(usize),
    Reset(usize),
    Remove(usize),
    Recover,
    /// By name, with all that was published of it.
    TasksRm(usize),
    Gc,
    Prune,
    Jump(i64),
    /// Store and remote go away, or come back.
    Store,
    Remote,
}

/// Where somebody may leave their work.
#[derive(Clone, Copy, Debug)]
enum Edit {
    File,
    Staged,
    Commit,
    Stash,
    OtherBranch,
    Reflog,
    Excluded,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let task = || 0..TASKS;
    let edit = prop_oneof![
        2 => Just(Edit::File),
        1 => Just(Edit::Staged),
        2 => Just(Edit::Commit),
        1 => Just(Edit::Stash),
        1 => Just(Edit::OtherBranch),
        1 => Just(Edit::Reflog),
        1 => Just(Edit::Excluded),
    ];
    // A clock that is right, and one that is wrong for a while, either way.
    let days = prop_oneof![4 => 1..12_i64, 2 => 12..40_i64, 1 => Just(4000_i64), 1 => -4100..-20_i64];
    let act = prop_oneof![
        4 => (task(), any::<bool>()).prop_map(|(task, commit)| Act::Publish(task, commit)),
        1 => task().prop_map(Act::Close),
        5 => (task(), any::<bool>()).prop_map(|(task, refresh)| Act::Enter(task, refresh)),
        5 => (task(), edit).prop_map(|(task, edit)| Act::Edit(task, edit)),
        2 => task().prop_map(Act::PublishBack),
        1 => task().prop_map(Act::Push),
        1 => task().prop_map(Act::Reset),
        1 => task().prop_map(Act::Remove),
        1 => Just(Act::Recover),
        1 => task().prop_map(Act::TasksRm),
        4 => Just(Act::Gc),
        1 => Just(Act::Prune),
        3 => days.prop_map(Act::Jump),
        1 => Just(Act::Store),
        1 => Just(Act::Remote),
    ];
    vec(act, 8..24)
}

pub(super) struct Weeks {
    pub(super) trip: Trip,
    pub(super) day: i64,
    workspaces: [Option<Repo>; TASKS],
    /// What was written, and the identities that may hold it.
    written: BTreeMap<String, BTreeSet<String>>,
    /// Identities of each task.
    published: [Vec<String>; TASKS],
    /// What was said to go.
    gone: BTreeSet<String>,
    count: usize,
}

impl Weeks {
    fn new() -> Self {
        let trip = Trip::new();
        // Some work of everybody's is there from the start.
        trip.lab.repo.write(".gitignore", "*.log\n");
        trip.lab.repo.commit("ignored");
        trip.lab.repo.push();
        // So little that every collection has something to take away.
        trip.lab.dev.write(trip.lab.dev.config().join("config.toml"), format!("cache.max_size = \"{MOST}\"\n"));
        let (written, published, gone) = Default::default();
        Weeks { trip, day: 0, workspaces: Default::default(), written, published, gone, count: 0 }
    }

    fn task(&self, task: usize) -> String {
        self.trip.lab.store.reference(&format!("task-{task}"))
    }

    pub(super) fn dev(&self, args: &[&str]) -> crate::support::Call {
        later(&self.trip.lab.dev, self.day, args)
    }

    /// Something that nobody has written before.
    fn token(&mut self) -> String {
        self.count += 1;
        self.nth(self.count)
    }

    /// What is in `agent-N` or `mine-N`.
    fn nth(&self, number: usize) -> String {
        format!("written-{number:04}-of-{}", std::process::id())
    }

    fn perform(&mut self, act: Act) {
        match act {
            Act::Publish(task, commit) => self.publish(task, commit, "working"),
            Act::Close(task) => self.publish(task, false, "closed"),
            Act::Enter(task, refresh) => self.enter(task, refresh),
            Act::Edit(task, edit) => self.edit(task, edit),
            Act::PublishBack(task) => self.publish_back(task),
            Act::Push(task) => {
                let branch = format!("HEAD:refs/heads/pushed-{}", self.count);
                self.workspace(task)
                    .iter()
                    .for_each(|repo| drop(repo.call(&["push", "--quiet", "origin", &branch]).run()));
            }
            Act::Reset(task) => drop(self.dev(&["reset", "--workspace", &self.task(task)]).run()),
            Act::Remove(task) => drop(self.dev(&["workspace", "rm", &self.task(task), "--yes"]).run()),
            Act::Recover => {
                let first = salvages(&self.trip.lab.dev).first().and_then(|row| row["id"].as_str().map(str::to_owned));
                first.iter().for_each(|id| drop(self.dev(&["workspace", "recover", id]).run()));
            }
            Act::TasksRm(task) => self.tasks_rm(task),
            Act::Gc => self.gc(),
            Act::Prune => drop(self.dev(&["cache", "prune", "--all"]).run()),
            Act::Jump(days) => self.day += days,
            Act::Store => swap(&self.trip.lab.store.path.clone()),
            Act::Remote => swap(&self.trip.lab.repo.remote.clone()),
        }
    }

    /// The workspace that was entered last, if it is still there.
    fn workspace(&self, task: usize) -> Option<Repo> {
        self.workspaces[task].clone().filter(|repo| repo.path.join(".git").exists())
    }

    fn publish(&mut self, task: usize, commit: bool, status: &str) {
        let token = self.token();
        let repo = self.trip.lab.repo.clone();
        repo.write(format!("agent-{}", self.count), &token);
        if commit {
            repo.commit("of the agent");
        }
        let args = ["--status", status, "--yes", "--json"];
        let run = self.trip.publishing(&repo, &format!("task-{task}")).args(args).run();
        if run.code == 0 {
            self.note(task, &run.json()["identity"], [token]);
        }
        // What was not taken is still the agent's own.
        if run.code == 0 {
            repo.git(&["reset", "--quiet", "--hard", "HEAD~0"]);
            if commit {
                repo.git(&["reset", "--quiet", "--hard", "HEAD~1"]);
            }
            repo.git(&["clean", "--quiet", "-fd"]);
            repo.git(&["reflog", "expire", "--expire=now", "--all"]);
            repo.git(&["gc", "--quiet", "--prune=now"]);
        }
    }

    fn note(&mut self, task: usize, identity: &serde_json::Value, tokens: impl IntoIterator<Item = String>) {
        let identity = identity.as_str().unwrap().to_owned();
        for token in tokens {
            self.written.entry(token).or_default().insert(identity.clone());
        }
        self.published[task].push(identity);
    }

    fn enter(&mut self, task: usize, refresh: bool) {
        let reference = self.task(task);
        let more: &[&str] = if refresh { &["--refresh"] } else { &[] };
        let run = self.dev(&["enter", &reference, "--no-runtime"]).args(more).run();
        if run.code == 0 {
            self.workspaces[task] = Some(self.trip.lab.repo.seen_by(&self.trip.lab.dev, run.stdout.trim_end()));
        }
    }

    fn edit(&mut self, task: usize, edit: Edit) {
        let Some(repo) = self.workspace(task) else { return };
        let token = self.token();
        let name = format!("mine-{}", self.count);
        let git = |args: &[&str]| repo.call(args).run().code == 0;
        let commit = || git(&["add", &name]) && git(&["commit", "--quiet", "--message", "mine"]);
        if !matches!(edit, Edit::Excluded) {
            repo.write(&name, &token);
        }
        let written = match edit {
            Edit::File => true,
            Edit::Staged => git(&["add", &name]),
            Edit::Commit => commit(),
            Edit::Stash => git(&["add", &name]) && git(&["stash", "push", "--quiet"]),
            Edit::OtherBranch => commit() && git(&["branch", &name]) && git(&["reset", "--quiet", "--hard", "HEAD~1"]),
            Edit::Reflog => commit() && git(&["reset", "--quiet", "--hard", "HEAD~1"]),
            Edit::Excluded => {
                let list = repo.path.join(".git/info/exclude");
                let known = fs::read_to_string(&list).unwrap_or_default();
                repo.write(".git/info/exclude", format!("{known}{name}\n"));
                repo.write(&name, &token);
                true
            }
        };
        if written {
            self.written.entry(token).or_default();
        }
    }

    fn publish_back(&mut self, task: usize) {
        let Some(repo) = self.workspace(task) else { return };
        let travels = self.travels(&repo);
        let run = self.dev(&["publish", "--json"]).cwd(&repo.path).run();
        if run.code == 0 {
            self.note(task, &run.json()["identity"], travels);
        }
    }

    /// What a publish takes: files that git does not ignore, and commits; no stash, no
    /// other branch. More than that would be missed when the identity goes by name.
    fn travels(&self, repo: &Repo) -> Vec<String> {
        let files = repo.call(&["ls-files", "--cached", "--others", "--exclude-standard"]).run().stdout;
        let commits = repo.call(&["log", "--name-only", "--format=", "HEAD"]).run().stdout;
        let numbers = files.lines().chain(commits.lines()).filter_map(|name| name.split_once('-')?.1.parse().ok());
        numbers.map(|number| self.nth(number)).filter(|token| self.written.contains_key(token)).collect()
    }

    /// What only this task's identities had goes with them.
    fn tasks_rm(&mut self, task: usize) {
        let (name, store) = (format!("task-{task}"), self.trip.lab.store.name());
        let run = self.dev(&["tasks", "rm", &name, "--identities", "--yes", "--store", &store]).run();
        if run.code != 0 {
            return;
        }
        let removed: BTreeSet<String> = self.published[task].drain(..).collect();
        let here = self.here();
        for (token, holders) in &mut self.written {
            let had = holders.len();
            holders.retain(|identity| !removed.contains(identity));
            if holders.is_empty() && had > 0 && !here.contains(token) {
                self.gone.insert(token.clone());
            }
        }
    }

    /// What lay in a salvage for its whole time goes, and is listed.
    fn gc(&mut self) {
        let recovery = self.trip.lab.dev.data().join("recovery");
        let before: Vec<(PathBuf, BTreeSet<String>)> =
            folders(&recovery).into_iter().map(|folder| (folder.clone(), self.within(&folder))).collect();
        let run = self.dev(&["gc", "--json"]).run();
        if run.code != 0 {
            return;
        }
        let done = run.json();
        let listed = super::removed(&done, "salvage");
        let is_listed = |folder: &Path| {
            listed.iter().any(|row| {
                let path = Path::new(row["path"].as_str().unwrap_or_default());
                path.starts_with(folder) || folder.starts_with(path) || path.file_stem() == folder.file_name()
            })
        };
        for (folder, tokens) in before.into_iter().filter(|(folder, _)| !folder.exists() && is_listed(folder)) {
            assert!(!tokens.is_empty() || !folder.exists());
            self.gone.extend(tokens);
        }
    }

    /// What is in the files and in all objects of the repositories below a folder.
    fn within(&self, folder: &Path) -> BTreeSet<String> {
        let mut text = Vec::new();
        read_all(&self.trip.lab.repo, folder, &mut text);
        let text = String::from_utf8_lossy(&text);
        self.written.keys().filter(|token| text.contains(token.as_str())).cloned().collect()
    }

    /// What is somewhere outside the store.
    fn here(&self) -> BTreeSet<String> {
        let lab = &self.trip.lab;
        let data = lab.dev.data();
        let remote = [lab.repo.remote.clone(), away(&lab.repo.remote)];
        let places = [data.join("workspaces"), data.join("recovery"), lab.repo.path.clone()];
        places.iter().chain(&remote).flat_map(|place| self.within(place)).collect()
    }

    fn check(&mut self) {
        for place in [self.trip.lab.store.path.clone(), self.trip.lab.repo.remote.clone()] {
            if away(&place).exists() {
                swap(&place);
            }
        }
        let mut found = self.here();
        found.extend(self.gone.iter().cloned());
        let missing = |found: &BTreeSet<String>| {
            self.written.iter().filter(|(token, _)| !found.contains(*token)).collect::<Vec<_>>()
        };
        // The rest is in the store, where somebody enters it who has nothing else.
        let asked: BTreeSet<&String> = missing(&found).into_iter().flat_map(|(_, holders)| holders).collect();
        let other = self.trip.with_developer(Home::new());
        for identity in asked {
            let reference = format!("{}@{identity}", other.lab.store.name());
            other.lab.dev.envctl(["enter", &reference, "--no-runtime"]).ok();
        }
        found.extend(self.within(&other.lab.dev.data().join("workspaces")));
        assert!(missing(&found).is_empty(), "nobody has {:?}", missing(&found));
    }
}

fn away(place: &Path) -> PathBuf {
    place.with_extension("away")
}

/// Moves what lies there away, where nothing else can be made in its place; or back.
fn swap(place: &Path) {
    if place.is_dir() {
        fs::rename(place, away(place)).unwrap();
        fs::write(place, "").unwrap();
    } else {
        fs::remove_file(place).unwrap();
        fs::rename(away(place), place).unwrap();
    }
}

pub(super) fn folders(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path()).collect()
}

fn read_all(repo: &Repo, folder: &Path, text: &mut Vec<u8>) {
    if folder.join("HEAD").exists() && folder.join("objects").exists() {
        let all = ["--git-dir", folder.to_str().unwrap(), "cat-file", "--batch-all-objects", "--batch"];
        text.extend(repo.call(&all).run().raw);
        return;
    }
    for path in folders(folder) {
        let Ok(meta) = path.symlink_metadata() else { continue };
        if meta.is_dir() {
            read_all(repo, &path, text);
        } else if meta.is_file() {
            text.extend(fs::read(&path).unwrap_or_default());
        }
    }
}

#[test]
fn random_weeks() {
    explore(2, acts(), |_, acts| {
        let mut weeks = Weeks::new();
        // So that there is something to go wrong with.
        weeks.perform(Act::Publish(0, true));
        weeks.perform(Act::Enter(0, false));
        for act in acts {
            weeks.perform(act);
        }
        weeks.check();
        weeks.age();
    });
}
