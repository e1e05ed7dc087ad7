//! What counts as unsaved is salvaged, and comes back as it was.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::TestRunner;

use super::{make_a_mess, task_with};
use crate::support::{Facts, Repo, Trip, cases};

/// Removes the workspace of this task by hand; the salvage, where there is one.
#[track_caller]
fn salvaged(trip: &Trip, task: &str) -> Option<String> {
    let gone = trip.lab.dev.envctl(["workspace", "rm", task, "--yes", "--json"]).ok().json();
    gone["salvage"]["id"].as_str().map(str::to_owned)
}

#[test]
fn everything_that_is_nowhere_else_counts() {
    let trip = Trip::new();
    // What the snapshot brought along is saved already.
    let repo = &trip.lab.repo;
    repo.write("staged", "x");
    repo.git(&["add", "staged"]);
    repo.write("README", "changed\n");
    repo.write("untracked", "x");
    repo.write(".gitignore", "*.log\n");
    repo.write("envctl.toml", "[snapshot]\ninclude = [\"kept.log\"]\nexclude = [\"*.mp4\"]\n");
    repo.commit("unpushed");
    repo.write("more", "x");
    let task = trip.publish(repo);
    type Change = (&'static str, bool, fn(&Repo));
    let changes: [Change; 22] = [
        ("nothing", false, |_| {}),
        ("a look", false, |repo| drop(repo.git(&["status"]))),
        ("an ignored file", false, |repo| repo.write("built.log", "x")),
        ("a fetch", false, |repo| drop(repo.git(&["fetch", "--quiet", "origin"]))),
        ("a changed file", true, |repo| repo.write("README", "mine\n")),
        ("an untracked file", true, |repo| repo.write("mine", "x")),
        ("an included file", true, |repo| repo.write("kept.log", "x")),
        ("a file that is not published", true, |repo| repo.write("film.mp4", "x")),
        ("a staged file", true, |repo| drop(repo.git(&["add", "more"]))),
        ("a bit", true, |repo| {
            fs::set_permissions(repo.path.join("README"), fs::Permissions::from_mode(0o755)).unwrap();
        }),
        ("a commit", true, |repo| drop(repo.git(&["commit", "--quiet", "--allow-empty", "-m", "mine"]))),
        ("another branch", true, |repo| {
            repo.git(&["commit", "--quiet", "--allow-empty", "-m", "mine"]);
            repo.git(&["branch", "mine"]);
            repo.git(&["reset", "--quiet", "--soft", "HEAD~1"]);
        }),
        ("a nested repository", true, |repo| drop(repo.git(&["init", "--quiet", "nested"]))),
        ("a commit in a repository that is ignored", true, |repo| {
            repo.git(&["init", "--quiet", "deps.log/lib"]);
            repo.within("deps.log/lib").git(&["commit", "--quiet", "--allow-empty", "-m", "nowhere else"]);
        }),
        ("a change in a repository that is ignored", true, |repo| {
            repo.git(&["clone", "--quiet", &repo.url(), "deps.log"]);
            repo.within("deps.log").write("README", "mine\n");
        }),
        ("a clone that is ignored", false, |repo| drop(repo.git(&["clone", "--quiet", &repo.url(), "deps.log"]))),
        ("a bare repository that is ignored", true, |repo| {
            repo.git(&["init", "--quiet", "--bare", "deps.log"]);
            repo.git(&["push", "--quiet", "./deps.log", "HEAD:refs/heads/copy"]);
        }),
        ("a commit that only the reflog knows", true, |repo| {
            repo.git(&["commit", "--quiet", "--allow-empty", "-m", "mine"]);
            repo.git(&["reset", "--quiet", "--soft", "HEAD~1"]);
        }),
        ("a file that nobody else ignores", true, |repo| {
            repo.write(".git/info/exclude", "notes\n");
            repo.write("notes", "x");
        }),
        ("a list that ignores nothing here", false, |repo| repo.write(".git/info/exclude", "notes\nbuilt.log\n")),
        ("a hook", true, |repo| repo.write(".git/hooks/pre-push", "#!/bin/sh\n")),
        ("everything", true, make_a_mess),
    ];
    for (what, counts, change) in changes {
        let workspace = trip.enter_with(&task, &[]);
        change(&workspace);
        let nested = what == "a nested repository";
        let before = (!nested).then(|| Facts::of(&workspace));
        let id = salvaged(&trip, &task);
        assert_eq!(id.is_some(), counts, "{what}");
        if let Some(id) = id {
            trip.lab.dev.envctl(["workspace", "recover", &id]).ok();
            if let Some(before) = before {
                before.assert_same(&Facts::of(&workspace));
            }
            trip.lab.dev.envctl(["reset", "--workspace", &task]).ok();
            assert_eq!(salvaged(&trip, &task), None, "{what}");
        }
    }
}

/// A workspace whose state was published from it holds nothing more.
#[test]
fn what_was_published_is_saved() {
    let trip = Trip::new();
    let task = task_with(&trip, "one");
    let workspace = trip.enter_with(&task, &[]);
    workspace.write("mine", "x");
    workspace.commit("mine");
    workspace.write("more", "x");
    trip.lab.dev.envctl(["publish"]).cwd(&workspace.path).ok();
    assert_eq!(salvaged(&trip, &task), None);
    let workspace = trip.enter_with(&task, &[]);
    assert!(workspace.path.join("more").exists(), "the task is what was published");
}

/// An operation that the snapshot brought along is no work of the developer's,
/// until they go on with it.
#[test]
fn an_operation_that_came_along() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    make_a_mess(repo);
    let task = trip.publish(repo);
    trip.enter_with(&task, &[]);
    assert_eq!(salvaged(&trip, &task), None);
    let workspace = trip.enter_with(&task, &[]);
    workspace.git(&["merge", "--abort"]);
    assert!(salvaged(&trip, &task).is_some());
}

#[test]
fn random_states_come_back() {
    const PATHS: [&str; 5] = ["README", "a", "d/b", "x y", "new"];
    #[derive(Clone, Debug)]
    enum Step {
        Write(&'static str, u8),
        Remove(&'static str),
        Git(&'static [&'static str]),
    }
    let verbs: Vec<&'static [&'static str]> = vec![
        &["add", "--all"],
        &["add", "--intent-to-add", "."],
        &["rm", "--quiet", "--cached", "README"],
        &["commit", "--quiet", "--message", "step"],
        &["stash", "push", "--quiet", "--include-untracked"],
        &["stash", "pop", "--quiet"],
        &["checkout", "--quiet", "-b", "side"],
        &["checkout", "--quiet", "main"],
        &["checkout", "--quiet", "--detach"],
        &["merge", "--quiet", "side"],
        &["update-index", "--skip-worktree", "README"],
        &["reset", "--quiet", "--hard"],
    ];
    let path = || select(PATHS.to_vec());
    let step = prop_oneof![
        4 => (path(), any::<u8>()).prop_map(|(path, n)| Step::Write(path, n)),
        1 => path().prop_map(Step::Remove),
        4 => select(verbs).prop_map(Step::Git),
    ];
    let trip = Trip::new();
    let task = task_with(&trip, "one");
    let dev = &trip.lab.dev;
    let outcome = TestRunner::new(cases(12)).run(&vec(step, 1..12), |steps| {
        let workspace = trip.enter_with(&task, &[]);
        for step in &steps {
            match step {
                Step::Write(path, n) => workspace.write(path, format!("line {n}\n")),
                Step::Remove(path) => drop(fs::remove_file(workspace.path.join(path))),
                Step::Git(words) => drop(workspace.call(words).run()),
            }
        }
        let stashes = workspace.git(&["stash", "list"]);
        let before = Facts::of(&workspace);
        if let Some(id) = salvaged(&trip, &task) {
            dev.envctl(["workspace", "recover", &id]).ok();
            before.assert_same(&Facts::of(&workspace));
            assert_eq!(workspace.git(&["stash", "list"]), stashes);
            dev.envctl(["reset", "--workspace", &task]).ok();
            assert_eq!(salvaged(&trip, &task), None);
        } else {
            // Then the snapshot has it all.
            before.assert_same(&Facts::of(&trip.enter_with(&task, &[])));
            assert_eq!(stashes, "");
        }
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}
