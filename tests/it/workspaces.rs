//! L2: where workspaces lie, what deletes them, and that nothing in them is
//! lost.

mod at_the_end;
mod author;
mod by_hand;
mod clocks;
mod crashes;
mod elsewhere;
mod hostile;
mod lifetimes;
mod recovered;
mod rules;
mod told;
mod weeks;

use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde_json::Value;

use crate::support::{Call, Home, Repo, Trip, until};

/// A day, in seconds.
const DAY: i64 = 86_400;

/// Some days from now, as `ENVCTL_TEST_NOW` has it.
fn in_days(days: i64) -> String {
    #[allow(clippy::disallowed_methods, reason = "the times of files are those of the system")]
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    (i64::try_from(now).unwrap() + days * DAY).to_string()
}

/// A command of the developer, some days from now.
fn later(home: &Home, days: i64, args: &[&str]) -> Call {
    home.envctl(args).env("ENVCTL_TEST_NOW", in_days(days))
}

/// What `gc` removed of a kind.
fn removed(done: &Value, kind: &str) -> Vec<Value> {
    let all = done["removed"].as_array().unwrap();
    all.iter().filter(|one| one["kind"] == kind).cloned().collect()
}

pub fn salvages(home: &Home) -> Vec<Value> {
    home.envctl(["workspace", "recover", "--json"]).ok().json()["salvages"].as_array().unwrap().clone()
}

impl Trip {
    /// The developer's workspace of a task, with more flags of `enter`.
    #[track_caller]
    fn enter_with(&self, task: &str, flags: &[&str]) -> Repo {
        let run = self.entering(task).args(flags).ok();
        let workspace = self.lab.repo.seen_by(&self.lab.dev, run.stdout.strip_suffix('\n').unwrap());
        self.at_rest();
        workspace
    }

    /// Waits until what was made is flushed: a collection passes over what
    /// another process is busy with.
    #[track_caller]
    fn at_rest(&self) {
        let pins = self.lab.dev.data().join("pins");
        let read = |path: PathBuf| serde_json::from_slice::<Value>(&fs::read(path).ok()?).ok();
        until("workspaces are flushed", || {
            let files = fs::read_dir(&pins).unwrap().map(|entry| entry.unwrap().path());
            files.filter_map(read).all(|pin| pin["unflushed_boot"].is_null())
        });
        until("nobody holds a lock", || {
            let locks = fs::read_dir(self.lab.dev.data().join("locks")).unwrap().map(|entry| entry.unwrap().path());
            let try_it = |path| flock(fs::File::open(path).unwrap(), FlockOperation::NonBlockingLockExclusive);
            locks.map(try_it).all(|taken| taken.is_ok())
        });
    }
}

/// Publishes a new state of the agent's checkout as a new task.
#[track_caller]
fn task_with(trip: &Trip, file: &str) -> String {
    trip.lab.repo.write(file, file);
    trip.publish(&trip.lab.repo)
}

fn name_of(task: &str) -> &str {
    task.rsplit_once(':').unwrap().1
}

/// A workspace's place below `workspaces/<repository>`.
fn below(home: &Home, repo: &Repo) -> PathBuf {
    let place = repo.path.strip_prefix(home.data().join("workspaces")).unwrap();
    place.iter().skip(1).collect()
}

/// Everything unsaved that git knows of, at once.
fn make_a_mess(repo: &Repo) {
    repo.write("stashed", "in the stash");
    repo.git(&["add", "stashed"]);
    repo.git(&["stash", "push", "--quiet"]);
    repo.git(&["checkout", "--quiet", "-b", "side"]);
    repo.write("README", "theirs\n");
    repo.commit("on the side");
    repo.git(&["checkout", "--quiet", "-"]);
    repo.write("README", "ours\n");
    repo.commit("unpushed");
    repo.call(&["merge", "side"]).code(1);
    repo.write("untracked", "precious");
    repo.write(".git/info/exclude", "ignored\n");
    repo.write("ignored", "precious, too");
}

fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}
