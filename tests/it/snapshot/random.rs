//! Random repositories: git says the same on both sides.

mod situations;
mod steps;

use std::cell::Cell;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::support::{Facts, Repo, Trip, cases};
use steps::{Step, perform};

/// How a checkout begins.
#[derive(Clone, Copy, Debug)]
struct Start {
    autocrlf: Option<&'static str>,
    shallow: bool,
    detached: bool,
    submodule: bool,
    lfs: bool,
}

/// What may be refused, because it is no state that travels.
const REFUSALS: [&str; 4] = [
    "the submodule",
    "recorded as a submodule, but has files",
    "the shallow clone ends at",
    "only announced, without a commit",
];

#[track_caller]
fn check<T: std::fmt::Debug>(usual: u32, strategy: impl Strategy<Value = T>, test: impl Fn(usize, T)) {
    let count = Cell::new(0);
    let outcome = TestRunner::new(cases(usual)).run(&strategy, |value| {
        count.set(count.get() + 1);
        test(count.get(), value);
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

/// A clone on a branch of its own: what another case pushed is none of its
/// business.
fn started(trip: &Trip, n: usize) -> Repo {
    let name = format!("clone-{n}");
    let repo = trip.lab.repo.clone_to(&name, &[]);
    repo.git(&["checkout", "--quiet", "-b", &name]);
    for path in ["a", "b", "d/a", "d/e/f", "x.txt"] {
        steps::make_room(&repo, path.as_bytes());
        repo.write(path, format!("{path}\n"));
    }
    repo.commit("base");
    repo.push();
    repo
}

#[test]
fn random_states() {
    let trip = Trip::new();
    check(16, steps::plain(), |n, steps: Vec<Step>| {
        let repo = started(&trip, n);
        steps.iter().for_each(|step| perform(&repo, step));
        trip.round(&repo);
    });
}

#[test]
fn random_repositories() {
    let trip = Trip::new();
    let library = library(&trip);
    let start = (proptest::sample::select(vec![None, Some("true"), Some("input")]), any::<[bool; 4]>()).prop_map(
        |(autocrlf, [shallow, detached, submodule, lfs])| Start { autocrlf, shallow, detached, submodule, lfs },
    );
    let (tried, refused) = (Cell::new(0), Cell::new(0));
    check(12, (start, steps::all()), |n, (start, steps)| {
        let repo = begun(&trip, n, start, &library);
        steps.iter().for_each(|step| perform(&repo, step));
        tried.set(tried.get() + 1);
        refused.set(refused.get() + usize::from(!arrives(&trip, &repo, start)));
    });
    assert!(refused.get() <= tried.get() / 2, "{} of {} were refused: hardly a test", refused.get(), tried.get());
}

/// The address of a repository that becomes a submodule.
fn library(trip: &Trip) -> String {
    let path = trip.lab.agent.path("library.git");
    trip.lab.repo.git(&["clone", "--quiet", "--bare", &trip.lab.repo.url(), path.to_str().unwrap()]);
    format!("file://{}", path.display())
}

fn begun(trip: &Trip, n: usize, start: Start, library: &str) -> Repo {
    let mut repo = started(trip, n);
    if start.lfs {
        repo = repo.with_lfs();
        repo.write(".gitattributes", "*.bin filter=lfs diff=lfs merge=lfs -text\n");
        repo.write("x.bin", "pushed\0");
    }
    if start.submodule {
        repo.git(&["-c", "protocol.file.allow=always", "submodule", "--quiet", "add", library, "sub"]);
    }
    repo.commit("setup");
    // Something that disagrees with what the steps do.
    repo.git(&["checkout", "--quiet", "-b", &format!("side-{n}")]);
    for path in ["a", "d/a", "ünï/ö", "x.bin"] {
        steps::make_room(&repo, path.as_bytes());
        repo.write(path, format!("side {path}\0\n"));
    }
    repo.git(&["rm", "--quiet", "b"]);
    repo.commit("side one");
    repo.write("side", "two\n");
    repo.commit("side two");
    repo.git(&["branch", "--force", "side"]);
    repo.git(&["checkout", "--quiet", &format!("clone-{n}")]);
    repo.push();
    if start.lfs {
        repo.git(&["lfs", "push", "origin", &format!("clone-{n}")]);
    }
    if start.shallow {
        let shallow = repo.clone_to(&format!("shallow-{n}"), &["--depth=1", "--branch", &format!("clone-{n}")]);
        repo = if start.lfs { shallow.with_lfs() } else { shallow };
        repo.git(&["branch", "side"]);
    }
    if let Some(autocrlf) = start.autocrlf {
        repo.git(&["config", "core.autocrlf", autocrlf]);
        repo.git(&["rm", "--quiet", "--cached", "-r", "."]);
        repo.git(&["reset", "--quiet", "--hard"]);
    }
    if start.detached {
        repo.git(&["checkout", "--quiet", "--detach"]);
    }
    repo
}

/// Git says the same on both sides, or nothing was published for a reason.
#[track_caller]
fn arrives(trip: &Trip, repo: &Repo, start: Start) -> bool {
    steps::open_ignored_rounds(repo);
    // Of some checkouts with a sparse index git itself cannot say anything.
    if repo.call(&["--no-optional-locks", "status"]).run().stderr.contains("Assertion `S_ISSPARSEDIR(") {
        return false;
    }
    let task = trip.lab.next_task();
    let run = trip.publishing(repo, &task).run();
    let may_refuse = start.submodule || start.shallow;
    if run.code != 0 && may_refuse && REFUSALS.iter().any(|words| run.stderr.contains(words)) {
        return false;
    }
    let run = run.ok();
    let mut workspace = trip.enter(&trip.lab.store.reference(&task));
    // What was a submodule stays behind by name.
    if start.submodule && run.stderr.contains("git does not track") {
        return false;
    }
    if start.lfs {
        workspace = workspace.with_lfs();
    }
    let facts = |repo: &Repo| {
        let mut facts = Facts::of(repo);
        // A submodule arrives empty, and a workspace has all of the history.
        for (leave, question) in [(start.submodule, "files"), (start.shallow, "log")] {
            facts = if leave { facts.without(question) } else { facts };
        }
        facts
    };
    facts(repo).assert_same(&facts(&workspace));
    true
}
