//! Operations that stopped halfway go on at the other end as they would here.

use std::fs;

use crate::support::{Facts, Repo, Trip};

/// On `main`; `side` and the commit before last conflict with it. Nothing of
/// it but the first commit is on the remote.
fn conflicting() -> (Trip, Repo) {
    let trip = Trip::new();
    let repo = trip.lab.repo.clone();
    repo.write("file", "base\n");
    repo.commit("base");
    repo.git(&["checkout", "--quiet", "-b", "side"]);
    repo.write("file", "side\n");
    repo.commit("side one");
    repo.write("other", "side\n");
    repo.commit("side two");
    repo.git(&["checkout", "--quiet", "main"]);
    repo.write("file", "one\n");
    repo.commit("one");
    repo.write("file", "two\n");
    repo.commit("two");
    (trip, repo)
}

/// Stops at a conflict, as it must.
#[track_caller]
fn begin(repo: &Repo, args: &[&str]) {
    let run = repo.call(args).run();
    assert_ne!(run.code, 0, "{args:?} stops at a conflict");
}

/// Git's own files for an operation in progress.
fn state(repo: &Repo) -> Vec<(String, String)> {
    let git_dir = repo.path.join(".git");
    let read = |name: &str| fs::read(git_dir.join(name)).ok().map(|text| text.escape_ascii().to_string());
    let single =
        ["MERGE_HEAD", "MERGE_MODE", "MERGE_MSG", "SQUASH_MSG", "CHERRY_PICK_HEAD", "REVERT_HEAD", "AUTO_MERGE"];
    let mut names: Vec<String> = single.map(str::to_owned).to_vec();
    names.extend(["REBASE_HEAD", "BISECT_LOG", "BISECT_START", "BISECT_NAMES", "BISECT_TERMS"].map(str::to_owned));
    for folder in ["rebase-merge", "sequencer"] {
        let entries = fs::read_dir(git_dir.join(folder)).into_iter().flatten().flatten();
        names.extend(entries.map(|entry| format!("{folder}/{}", entry.file_name().to_str().unwrap())));
    }
    // Written for people; comments and short names of commits are left behind.
    let differs = ["rebase-merge/patch", "rebase-merge/git-rebase-todo.backup", "sequencer/todo"];
    names.retain(|name| !differs.contains(&name.as_str()));
    // Git keeps the tree of the conflicts when there are none any more.
    let resolved = repo.git(&["ls-files", "--unmerged"]).is_empty();
    names.retain(|name| !(resolved && name == "AUTO_MERGE"));
    names.sort();
    names.into_iter().filter_map(|name| read(&name).map(|text| (name, text))).collect()
}

/// Travels, and both sides go on in the same way with the same result.
#[track_caller]
fn goes_on(trip: &Trip, repo: &Repo, finish: impl Fn(&Repo)) -> Repo {
    let workspace = trip.round(repo);
    assert_eq!(state(repo), state(&workspace));
    for side in [repo, &workspace] {
        finish(side);
    }
    let told = |repo: &Repo| repo.git(&["log", "--graph", "--format=%H %T %s", "HEAD"]);
    assert_eq!(told(repo), told(&workspace));
    assert_eq!(repo.git(&["status", "--porcelain"]), workspace.git(&["status", "--porcelain"]));
    assert_eq!(state(repo), state(&workspace));
    workspace
}

fn resolve(repo: &Repo) {
    repo.write("file", "resolved\n");
    repo.git(&["add", "file"]);
}

fn go_on(repo: &Repo, verb: &str) {
    resolve(repo);
    repo.git(&["-c", "core.editor=true", verb, "--continue"]);
}

#[test]
fn a_merge() {
    let (trip, repo) = conflicting();
    begin(&repo, &["merge", "--no-ff", "side"]);
    repo.write("untracked", "x");
    goes_on(&trip, &repo, |repo| go_on(repo, "merge"));
}

#[test]
fn a_merge_with_conflicts_resolved() {
    let (trip, repo) = conflicting();
    begin(&repo, &["merge", "side"]);
    resolve(&repo);
    goes_on(&trip, &repo, |repo| drop(repo.git(&["commit", "--quiet", "--no-edit"])));
}

#[test]
fn a_merge_that_is_given_up() {
    let (trip, repo) = conflicting();
    begin(&repo, &["merge", "side"]);
    goes_on(&trip, &repo, |repo| drop(repo.git(&["merge", "--abort"])));
}

#[test]
fn a_merge_of_several_branches() {
    let (trip, repo) = conflicting();
    for name in ["left", "right"] {
        repo.git(&["checkout", "--quiet", "-b", name, "HEAD~2"]);
        repo.write(name, "x\n");
        repo.commit(name);
    }
    repo.git(&["checkout", "--quiet", "main"]);
    repo.git(&["merge", "--no-commit", "--no-ff", "left", "right"]);
    let workspace = goes_on(&trip, &repo, |repo| drop(repo.git(&["commit", "--quiet", "--no-edit"])));
    assert_eq!(workspace.git(&["rev-list", "--parents", "-1", "HEAD"]).split(' ').count(), 4);
}

/// The merged side is a tag, and an unrelated branch of the remote.
#[test]
fn a_merge_of_a_tag() {
    let (trip, repo) = conflicting();
    repo.git(&["tag", "--annotate", "--message", "v1", "v1", "side"]);
    begin(&repo, &["merge", "v1"]);
    goes_on(&trip, &repo, |repo| go_on(repo, "merge"));
}

#[test]
fn a_squash_that_waits_for_its_commit() {
    let (trip, repo) = conflicting();
    repo.git(&["checkout", "--quiet", "HEAD~2"]);
    repo.git(&["merge", "--quiet", "--squash", "side"]);
    let workspace = goes_on(&trip, &repo, |repo| drop(repo.git(&["-c", "core.editor=true", "commit", "--quiet"])));
    assert!(workspace.git(&["log", "-1", "--format=%B"]).contains("side two"));
}

#[test]
fn a_cherry_pick() {
    let (trip, repo) = conflicting();
    begin(&repo, &["cherry-pick", "-x", "side~1"]);
    goes_on(&trip, &repo, |repo| go_on(repo, "cherry-pick"));
}

#[test]
fn a_cherry_pick_of_several_commits() {
    let (trip, repo) = conflicting();
    begin(&repo, &["cherry-pick", "--signoff", "side~1", "side"]);
    let workspace = goes_on(&trip, &repo, |repo| go_on(repo, "cherry-pick"));
    assert_eq!(fs::read_to_string(workspace.path.join("other")).unwrap(), "side\n");
}

/// Git itself speaks of an operation although no commit is being picked.
#[test]
fn a_cherry_pick_between_two_commits() {
    let (trip, repo) = conflicting();
    begin(&repo, &["cherry-pick", "side~1", "side"]);
    resolve(&repo);
    repo.git(&["commit", "--quiet", "--no-edit"]);
    assert!(repo.git(&["status"]).contains("Cherry-pick currently in progress"));
    goes_on(&trip, &repo, |repo| drop(repo.git(&["cherry-pick", "--continue"])));
}

#[test]
fn a_revert() {
    let (trip, repo) = conflicting();
    begin(&repo, &["revert", "--no-edit", "HEAD~1"]);
    goes_on(&trip, &repo, |repo| go_on(repo, "revert"));
}

#[test]
fn a_rebase() {
    let (trip, repo) = conflicting();
    repo.git(&["checkout", "--quiet", "side"]);
    begin(&repo, &["rebase", "main"]);
    let workspace = goes_on(&trip, &repo, |repo| go_on(repo, "rebase"));
    assert_eq!(workspace.git(&["symbolic-ref", "HEAD"]), "refs/heads/side");
}

#[test]
fn a_rebase_that_is_given_up() {
    let (trip, repo) = conflicting();
    repo.git(&["checkout", "--quiet", "side"]);
    repo.git(&["push", "--quiet", "origin", "side~1:refs/heads/side"]);
    repo.git(&["branch", "--quiet", "--set-upstream-to=origin/side"]);
    begin(&repo, &["rebase", "main"]);
    let before = repo.git(&["rev-parse", "side"]);
    let workspace = goes_on(&trip, &repo, |repo| drop(repo.git(&["rebase", "--abort"])));
    assert_eq!(workspace.head(), before);
    assert!(workspace.git(&["status", "--branch"]).contains("ahead of 'origin/side' by 1 commit"));
}

#[test]
fn an_interactive_rebase_with_every_kind_of_step() {
    let (trip, repo) = conflicting();
    for name in ["a", "b", "c", "d"] {
        repo.write(name, name);
        repo.commit(name);
    }
    let script = trip.lab.agent.path("steps");
    trip.lab.agent.write(
        &script,
        "#!/bin/sh\nsed -i -e '2s/pick/edit/' -e '3s/pick/squash/' -e '4s/pick/fixup -C/' -e '5s/pick/reword/' \
         -e '5a break' -e '6s/pick/drop/' \"$1\"\n",
    );
    fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    repo.call(&["rebase", "--interactive", "HEAD~5"]).env("GIT_SEQUENCE_EDITOR", &script).ok();
    assert!(repo.git(&["status"]).contains("editing a commit while rebasing"));
    repo.write("a", "amended");
    let finish = |repo: &Repo| {
        repo.git(&["add", "a"]);
        for _ in 0..2 {
            repo.call(&["-c", "core.editor=true", "rebase", "--continue"]).run();
        }
    };
    goes_on(&trip, &repo, finish);
}

#[test]
fn a_rebase_with_changes_that_wait_in_a_stash() {
    let (trip, repo) = conflicting();
    repo.git(&["checkout", "--quiet", "side"]);
    repo.write("README", "unsaved\n");
    begin(&repo, &["rebase", "--autostash", "main"]);
    let workspace = goes_on(&trip, &repo, |repo| go_on(repo, "rebase"));
    assert_eq!(fs::read_to_string(workspace.path.join("README")).unwrap(), "unsaved\n");
}

#[test]
fn a_bisect() {
    let (trip, repo) = conflicting();
    for n in 0..8 {
        repo.write("n", n.to_string());
        repo.commit(&format!("n {n}"));
    }
    repo.git(&["bisect", "start", "HEAD", "HEAD~8", "--", "n", "file"]);
    let workspace = goes_on(&trip, &repo, |repo| {
        let first = repo.call(&["bisect", "run", "sh", "-c", "test $(cat n) -lt 5"]).ok().stdout;
        assert!(first.contains("is the first bad commit"), "{first}");
        repo.git(&["bisect", "reset"]);
    });
    assert_eq!(workspace.git(&["symbolic-ref", "HEAD"]), "refs/heads/main");
}

/// A rebase in which somebody began to merge.
#[test]
fn one_within_another() {
    let (trip, repo) = conflicting();
    repo.write("b", "b");
    repo.commit("b");
    let edit = "sed -i 1s/pick/edit/";
    repo.call(&["rebase", "--interactive", "HEAD~1"]).env("GIT_SEQUENCE_EDITOR", edit).ok();
    begin(&repo, &["merge", "side"]);
    let workspace = trip.round(&repo);
    assert_eq!(state(&repo), state(&workspace));
}

/// In a linked worktree git keeps these files elsewhere.
#[test]
fn a_merge_in_a_linked_worktree() {
    let (trip, repo) = conflicting();
    let linked = trip.lab.agent.path("linked");
    repo.git(&["worktree", "add", "--quiet", "-b", "linked", linked.to_str().unwrap(), "main"]);
    let linked = repo.seen_by(&trip.lab.agent, linked);
    begin(&linked, &["merge", "side"]);
    let workspace = trip.round(&linked);
    assert!(workspace.path.join(".git/MERGE_HEAD").exists());
    go_on(&workspace, "merge");
}

#[test]
fn what_is_in_progress_is_said_at_both_ends() {
    let (trip, repo) = conflicting();
    begin(&repo, &["merge", "side"]);
    let task = trip.lab.next_task();
    let run = trip.publishing(&repo, &task).arg("--json").ok().says(&["a merge in progress"]);
    assert_eq!(run.json()["operations"], serde_json::json!(["merge"]));
    let task = trip.lab.store.reference(&task);
    let run = trip.entering(&task).arg("--json").ok().says(&["a merge is in progress, as where it was published"]);
    assert_eq!(run.json()["restored"]["operations"], serde_json::json!(["merge"]));
}

/// A merge is undone by somebody who has only the workspace, twice.
#[test]
fn there_and_back_again() {
    let (trip, repo) = conflicting();
    begin(&repo, &["merge", "side"]);
    let workspace = trip.round(&repo);
    let task = trip.lab.next_task();
    let args = ["publish", &task, "--store", &trip.lab.store.name(), "--image", &trip.image];
    trip.lab.dev.envctl(args).cwd(&workspace.path).ok();
    let again = trip.enter(&trip.lab.store.reference(&task));
    Facts::of(&repo).assert_same(&Facts::of(&again));
    assert_eq!(state(&repo), state(&again));
}

// --- what does not travel

/// What is in progress stays behind by name; whoever enters is told, and has the
/// commit, the index and the files.
#[track_caller]
fn stays(trip: &Trip, repo: &Repo, kind: &str, why: &[&str]) {
    let task = trip.lab.next_task();
    let run = trip.publishing(repo, &task).arg("--json").ok().says(&["left out", kind]).says(why);
    let left = run.json()["left_out"].clone();
    assert!(left.as_array().unwrap().iter().any(|left| left["kind"] == "operation"), "{left}");
    let reference = trip.lab.store.reference(&task);
    let run = trip.entering(&reference).ok().says(&["cannot go on elsewhere", kind]);
    let workspace = repo.seen_by(&trip.lab.dev, run.stdout.trim());
    for what in [&["rev-parse", "HEAD"][..], &["ls-files", "--stage"], &["diff", "HEAD"]] {
        assert_eq!(repo.git(what), workspace.git(what));
    }
    assert!(state(&workspace).is_empty(), "{:?}", state(&workspace));
}

#[test]
fn patches_in_files_do_not_travel() {
    let (trip, repo) = conflicting();
    let patch = repo.git(&["format-patch", "-1", "side~1", "--stdout"]);
    assert_ne!(repo.call(&["am"]).stdin(patch).run().code, 0);
    stays(&trip, &repo, "an am", &["no commits"]);
    repo.git(&["am", "--abort"]);
    repo.git(&["checkout", "--quiet", "side"]);
    begin(&repo, &["rebase", "--apply", "main"]);
    stays(&trip, &repo, "a rebase", &["no commits"]);
    repo.git(&["rebase", "--abort"]);
    trip.round(&repo);
}

/// `git rebase --continue` would run it on the developer's machine.
#[test]
fn case_40_a_rebase_that_runs_commands_does_not_travel() {
    let (trip, repo) = conflicting();
    repo.git(&["checkout", "--quiet", "side"]);
    begin(&repo, &["rebase", "--exec", "touch evil", "main"]);
    stays(&trip, &repo, "a rebase", &["runs a command: exec touch evil"]);
}

#[test]
fn a_rebase_that_moves_other_refs_does_not_travel() {
    let (trip, repo) = conflicting();
    repo.git(&["checkout", "--quiet", "side"]);
    repo.git(&["branch", "below", "side~1"]);
    begin(&repo, &["rebase", "--update-refs", "main"]);
    stays(&trip, &repo, "a rebase", &["moves other branches"]);
    repo.git(&["rebase", "--abort"]);
    repo.git(&["checkout", "--quiet", "-b", "merged", "side"]);
    repo.git(&["merge", "--quiet", "--no-edit", "-s", "ours", "main"]);
    repo.call(&["rebase", "--rebase-merges", "--force-rebase", "side~2"])
        .env("GIT_SEQUENCE_EDITOR", "sed -i 1ibreak")
        .run();
    begin(&repo, &["rebase", "--rebase-merges", "--onto", "main", "side~2"]);
    stays(&trip, &repo, "a rebase", &["makes merges anew"]);
}

#[test]
fn a_state_that_is_not_known_is_named() {
    let (trip, repo) = conflicting();
    repo.git(&["checkout", "--quiet", "side"]);
    begin(&repo, &["rebase", "main"]);
    repo.write(".git/rebase-merge/later", "x");
    stays(&trip, &repo, "a rebase", &["rebase-merge/later"]);
    repo.remove(".git/rebase-merge/later");
    repo.write(".git/rebase-merge/strategy", "evil\n");
    stays(&trip, &repo, "a rebase", &["rebase-merge/strategy"]);
    // Git would start git-merge-evil.
    repo.write(".git/rebase-merge/strategy", "ort\n");
    trip.round(&repo);
}

#[test]
fn a_merge_with_what_a_shallow_clone_does_not_have() {
    let (trip, repo) = conflicting();
    repo.git(&["push", "--quiet", "origin", "main", "side"]);
    let shallow = repo.clone_to("shallow", &["--depth=1"]);
    shallow.git(&["fetch", "--quiet", "--depth=1", "origin", "side"]);
    shallow.call(&["merge", "--allow-unrelated-histories", "FETCH_HEAD"]).run();
    trip.refuses(&shallow, 1, &["the shallow clone ends at", "git fetch --deepen"]);
}

/// Comments in git's lists and messages begin as they did.
#[test]
fn a_rebase_with_other_comments() {
    for value in [";", "auto"] {
        let (trip, repo) = conflicting();
        repo.git(&["config", "core.commentChar", value]);
        begin(&repo, &["rebase", "side"]);
        let workspace = goes_on(&trip, &repo, twice);
        // With `auto` git itself keeps them.
        assert!(value == "auto" || !workspace.git(&["log", "-2", "--format=%B"]).contains("Conflicts"), "{value}");
    }
}

#[test]
fn a_rebase_with_options_of_its_strategy() {
    let (trip, repo) = conflicting();
    begin(&repo, &["rebase", "-X", "patience", "-X", "find-renames=50%", "-X", "diff-algorithm=histogram", "side"]);
    goes_on(&trip, &repo, twice);
}

/// Both commits are in conflict.
fn twice(repo: &Repo) {
    resolve(repo);
    begin(repo, &["-c", "core.editor=true", "rebase", "--continue"]);
    repo.write("file", "resolved again\n");
    repo.git(&["add", "file"]);
    repo.git(&["-c", "core.editor=true", "rebase", "--continue"]);
}

/// Whoever goes on needs a key of their own.
#[test]
fn picks_that_are_signed() {
    for key in ["-S", "-SA B <a@b.org>"] {
        let (trip, repo) = conflicting();
        begin(&repo, &["cherry-pick", key, "-X", "subtree=x/y", "side~1", "side"]);
        goes_on(&trip, &repo, |repo| drop(repo.git(&["cherry-pick", "--abort"])));
    }
}
