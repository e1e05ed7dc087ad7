//! What a program inside does to the workspace's own git folder: closes it,
//! fills the place of a part that the developer removed, leads git elsewhere.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use envctl::disk;

use super::planted::Ground;
use super::{unwatched, watched};
use crate::support::{Alive, ImageBuilder, Lab, until};

both!(a_folder_that_cannot_be_listed_is_looked_into_while_a_runtime_lives);
/// A folder that cannot be listed hides nothing: git reaches what is in it by
/// the names in an index.
fn a_folder_that_cannot_be_listed_is_looked_into_while_a_runtime_lives(lab: Lab) {
    let ground = Ground::of(lab);
    let alive = Alive::start(&ground.lab, &ground.task, "");
    let script = ground.script("mkdir made; umask 0466; mkdir made/shut; umask 022; cd made/shut; repo sub/.git");
    ground.lab.dev.envctl(["exec", &ground.task, "--", "sh", "-euc", &script]).ok();
    until("it is renamed", || !ground.repo.path.join("made/shut/sub/.git/config").exists());
    alive.kill_owner().assert_gone();
}

both!(a_git_folder_that_was_closed_is_opened_while_a_runtime_lives);
/// Without its own git folder the root of a workspace can be a repository by
/// what lies in it.
fn a_git_folder_that_was_closed_is_opened_while_a_runtime_lives(lab: Lab) {
    let ground = Ground::of(lab);
    let git = ground.repo.path.join(".git");
    let alive = Alive::start(&ground.lab, &ground.task, "");
    let inside = |script: &str| {
        ground.lab.dev.envctl(["exec", &ground.task, "--", "sh", "-euc", &ground.script(script)]).ok();
    };
    for part in ["", "objects", "refs"] {
        inside(&format!("chmod 0 .git/{part}"));
        let mode = || fs::metadata(git.join(part)).map_or(0, |meta| meta.permissions().mode());
        until("it is open again", || mode() & 0o700 == 0o700);
    }
    inside("repo .");
    until("the root is no repository", || !ground.repo.path.join("HEAD").exists());
    inside(
        "chmod 0 .git; cp HEAD.envctl-quarantine HEAD; mkdir hooks; echo >hooks/post-checkout; : >config; : >config.worktree",
    );
    until("it is none again", || !ground.repo.path.join("HEAD").exists());
    ground.assert_harmless(&["."]);
    alive.kill_owner().assert_gone();
}

both!(what_takes_the_place_of_a_protected_part_is_not_obeyed, watched);
both!(what_takes_the_place_of_a_protected_part_is_not_obeyed_only_seen_at_the_end, unwatched);
/// A part that is read-only inside loses that when the developer removes it:
/// what is in its place later is looked at, at once and at the end.
fn what_takes_the_place_of_a_protected_part_is_not_obeyed((lab, watched): (Lab, bool)) {
    let ground = Ground::of(lab);
    let git = ground.repo.path.join(".git");
    let enter = ground.lab.dev.envctl(["enter", "--detach", &ground.task]);
    let enter = if watched { enter } else { enter.env("ENVCTL_TEST_CRASH", "unwatched") };
    enter.ok();
    let inside = |script: &str| {
        ground.lab.dev.envctl(["exec", &ground.task, "--", "sh", "-euc", &ground.script(script)]).ok();
    };
    disk::remove::tree(&git.join("hooks")).unwrap();
    inside("mkdir .git/hooks; cp $TRAP .git/hooks/post-checkout 2>/dev/null || echo x >.git/hooks/post-checkout");
    if watched {
        until("the hooks are renamed", || !git.join("hooks/post-checkout").exists());
    }
    fs::rename(git.join("envctl"), git.join("away")).unwrap();
    inside("repo .git/envctl");
    if watched {
        until("the configuration is renamed", || !git.join("envctl/config").exists());
    }
    let receipt = ground.lab.dev.envctl(["reset", &ground.task]).ok().stdout;
    assert!(receipt.contains(".git/hooks was written inside and renamed"), "{receipt}");
    assert!(receipt.contains(".git/envctl/config was written inside and renamed"), "{receipt}");
    assert!(!git.join("hooks").exists() && !git.join("envctl/config").exists());
    assert!(git.join("away/config").exists());
}

fn what_takes_the_place_of_a_protected_part_is_not_obeyed_only_seen_at_the_end(of: (Lab, bool)) {
    what_takes_the_place_of_a_protected_part_is_not_obeyed(of);
}

both!(a_worktree_that_leads_outside_is_renamed_unless_the_developer_made_it);
/// The developer's own worktree stays; one that a program inside invented does
/// not, because `git worktree repair` writes to where it leads.
fn a_worktree_that_leads_outside_is_renamed_unless_the_developer_made_it(lab: Lab) {
    let ground = Ground::of(lab);
    ground.lab.dev.envctl(["enter", "--detach", &ground.task]).ok();
    let (mine, home) = (ground.lab.dev.path("mine"), ground.lab.dev.path("precious"));
    ground.lab.dev.write("precious/.git", "mine\n");
    ground.repo.git(&["worktree", "add", "-q", "--detach", mine.to_str().unwrap()]);
    let script = format!(
        "mkdir -p .git/worktrees/evil; cd .git/worktrees/evil; echo ../.. >commondir; echo {}/.git >gitdir; cp ../../HEAD HEAD",
        home.display()
    );
    ground.lab.dev.envctl(["exec", &ground.task, "--", "sh", "-euc", &script]).ok();
    let receipt = ground.lab.dev.envctl(["reset", &ground.task]).ok().stdout;
    assert!(receipt.contains(".git/worktrees/evil/gitdir was written inside and renamed"), "{receipt}");
    assert!(!receipt.contains("worktrees/mine"), "{receipt}");
    ground.repo.call(&["worktree", "repair"]).run();
    assert_eq!(fs::read_to_string(home.join(".git")).unwrap(), "mine\n");
    assert!(ground.repo.git(&["worktree", "list"]).contains(mine.to_str().unwrap()));
}

/// What `HEAD` said is put back, and the message says that.
#[test]
fn a_head_that_was_damaged_is_put_back_and_told_as_that() {
    let ground = Ground::of(Lab::new());
    let said = ground.inside("echo nothing >.git/HEAD");
    assert!(said.contains(".git/HEAD in the workspace was changed inside: it was missing or damaged"), "{said}");
    assert_eq!(ground.repo.git(&["rev-parse", "--abbrev-ref", "HEAD"]).trim(), "main");
}

both!(a_head_that_git_does_not_take_is_put_back);
/// Git takes fewer texts for a `HEAD` than look like one, and without one the task's
/// own files are the repository: this one held after the end of a run.
fn a_head_that_git_does_not_take_is_put_back(lab: Lab) {
    for (name, content) in [("HEAD", "ref: refs/heads/.k\n"), ("refs/heads/.k", "x"), ("objects/.k", "x")] {
        lab.repo.write(name, content);
    }
    let task = lab.publish(&ImageBuilder::busybox());
    for head in ["ref:\\014refs/heads/main\\n", "ref:%300srefs/heads/main\\n", "ref: refs/heads/a b\\n"] {
        lab.enter(&task, &["sh", "-c", &format!("printf '{head}' '' >.git/HEAD")]).ok();
        let workspace = lab.dev.envctl(["workspace", "path", &task]).ok().stdout;
        let repo = lab.repo.seen_by(&lab.dev, workspace.trim());
        assert_eq!(repo.git(&["rev-parse", "--git-dir"]).trim(), ".git", "{head}");
    }
}

/// What has another name could be changed by that one, which no event tells.
#[test]
fn a_configuration_with_another_name_is_not_obeyed() {
    let ground = Ground::of(Lab::new());
    let alive = Alive::start(&ground.lab, &ground.task, "");
    let script = "mkdir -p sub/.git/objects sub/.git/refs o; echo 'ref: refs/heads/main' >sub/.git/HEAD
        printf '[core]\\n\\tbare = false\\n' >o/q; ln o/q sub/.git/config";
    ground.lab.dev.envctl(["exec", &ground.task, "--", "sh", "-euc", script]).ok();
    until("it is renamed", || !ground.repo.path.join("sub/.git/config").exists());
    alive.kill_owner().assert_gone();
}

/// A pipe in the place of a report is an error, not a wait without end.
#[test]
fn a_pipe_in_the_place_of_a_report_is_not_waited_for() {
    let lab = Lab::new();
    let task = lab.publish(&ImageBuilder::busybox());
    let pipe = lab.dev.path("pipe");
    lab.dev.call("mkfifo", [pipe.to_str().unwrap()]).ok();
    lab.dev
        .envctl(["enter", "--report", pipe.to_str().unwrap(), &task, "--", "true"])
        .code(125)
        .says(&["nobody reads"]);
}

/// What a run adds to the list of ignored files is told: no diff shows it.
#[test]
fn a_list_of_ignored_files_that_a_run_changed_is_told() {
    let ground = Ground::of(Lab::new());
    let said = ground.inside("mkdir -p .git/info; echo notes.txt >>.git/info/exclude");
    assert!(said.contains(".git/info/exclude in the workspace was changed inside: files that it names"), "{said}");
}
