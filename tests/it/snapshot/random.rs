//! Random states of worktree and index: git says the same on both sides.

use std::fs;
use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};

use crate::support::{Repo, Trip};

const PATHS: [&str; 10] = ["a", "b", "d", "d/a", "d/b", "d/e", "d/e/f", "x y", "-dash", "x.txt"];

/// One thing that somebody does in a checkout. What is impossible at the time
/// does nothing.
#[derive(Clone, Debug)]
enum Step {
    Write(&'static str, u8),
    Remove(&'static str),
    Folder(&'static str),
    Link(&'static str, &'static str),
    Program(&'static str),
    Rename(&'static str, &'static str),
    Git(&'static [&'static str], &'static str),
    Commit,
    Push,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let path = || select(PATHS.to_vec());
    let verbs: Vec<&'static [&'static str]> = vec![
        &["add", "--force"],
        &["add", "--force", "-N"],
        &["rm", "-r", "--quiet", "--cached", "--ignore-unmatch"],
        &["rm", "-r", "--quiet", "--force", "--ignore-unmatch"],
        &["reset", "--quiet"],
        &["update-index", "--assume-unchanged"],
        &["update-index", "--no-assume-unchanged"],
        &["update-index", "--skip-worktree"],
        &["update-index", "--no-skip-worktree"],
        &["update-index", "--chmod=+x"],
        &["checkout-index", "--force"],
    ];
    let step = prop_oneof![
        8 => (path(), any::<u8>()).prop_map(|(path, n)| Step::Write(path, n)),
        3 => path().prop_map(Step::Remove),
        1 => path().prop_map(Step::Folder),
        2 => (path(), path()).prop_map(|(path, target)| Step::Link(path, target)),
        1 => path().prop_map(Step::Program),
        1 => (path(), path()).prop_map(|(from, to)| Step::Rename(from, to)),
        12 => (select(verbs), path()).prop_map(|(verb, path)| Step::Git(verb, path)),
        2 => Just(Step::Commit),
        1 => Just(Step::Push),
    ];
    vec(step, 1..30)
}

fn perform(repo: &Repo, step: &Step) {
    let full = |path: &str| repo.path.join(path);
    match step {
        Step::Write(path, n) => {
            make_room(repo, path);
            repo.write(path, format!("{}\nline {n}\n", "same\n".repeat(usize::from(*n) % 5)));
        }
        Step::Remove(path) => clear(&full(path)),
        Step::Folder(path) => {
            make_room(repo, path);
            repo.mkdir(path);
        }
        Step::Link(path, target) => {
            make_room(repo, path);
            repo.symlink(path, target);
        }
        Step::Program(path) => {
            if full(path).symlink_metadata().is_ok_and(|meta| meta.is_file()) {
                fs::set_permissions(full(path), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
            }
        }
        Step::Rename(from, to) => {
            let nested = to.starts_with(&format!("{from}/")) || from.starts_with(&format!("{to}/"));
            if from != to && !nested && full(from).symlink_metadata().is_ok() {
                make_room(repo, to);
                // Making room may have taken the source away.
                let _ = fs::rename(full(from), full(to));
            }
        }
        Step::Git(verb, path) => {
            repo.call(verb).args(["--", path]).run();
        }
        Step::Commit => {
            repo.call(&["commit", "--quiet", "--allow-empty", "--message", "step"]).run();
        }
        Step::Push => repo.push(),
    }
}

/// Takes away what stands at a path, and files and links above it.
fn make_room(repo: &Repo, path: &str) {
    let mut above = repo.path.clone();
    for part in Path::new(path).parent().unwrap() {
        above.push(part);
        if above.symlink_metadata().is_ok_and(|meta| !meta.is_dir()) {
            clear(&above);
        }
    }
    clear(&repo.path.join(path));
    repo.mkdir(above);
}

#[allow(clippy::disallowed_methods, reason = "nothing is mounted there")]
fn clear(path: &Path) {
    match path.symlink_metadata() {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path).unwrap(),
        Ok(_) => fs::remove_file(path).unwrap(),
        Err(_) => {}
    }
}

#[test]
fn random_states() {
    let trip = Trip::new();
    let config = Config { cases: 24, failure_persistence: None, max_shrink_iters: 60, ..Config::default() };
    let mut clones = 0..;
    let clones = std::cell::RefCell::new(&mut clones);
    let outcome = TestRunner::new(config).run(&steps(), |steps| {
        let name = format!("clone-{}", clones.borrow_mut().next().unwrap());
        let repo = trip.lab.repo.clone_to(&name, &[]);
        // Its own branch: what another case pushed is none of its business.
        repo.git(&["checkout", "--quiet", "-b", &name]);
        for path in ["a", "b", "d/a", "d/e/f", "x.txt"] {
            make_room(&repo, path);
            repo.write(path, format!("{path}\n"));
        }
        repo.commit("base");
        repo.push();
        for step in &steps {
            perform(&repo, step);
        }
        trip.round(&repo);
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}
