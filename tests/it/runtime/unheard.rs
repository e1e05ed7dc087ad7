//! What changes while a runtime lives, and no event tells of: a file that a
//! program holds, a pointer whose end is exchanged.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use super::planted::Ground;
use super::{unwatched, watched};
use crate::support::{Alive, ImageBuilder, Lab, until};

both!(a_program_that_holds_a_file_git_believes_is_left_with_another);
/// A program that holds a file can write to it at any time; one that is mapped
/// without an event. So the name soon stands for a copy.
fn a_program_that_holds_a_file_git_believes_is_left_with_another(lab: Lab) {
    let ground = Ground::of(lab);
    let git = ground.repo.path.join(".git");
    let alive = Alive::start(&ground.lab, &ground.task, "");
    let inode = |name: &str| fs::metadata(git.join(name)).map_or(0, |meta| meta.ino());
    for (name, held) in [("HEAD", "HEAD"), ("index", "index"), ("worktrees/w/commondir", "worktrees/w/commondir")] {
        let prepare = "mkdir -p .git/worktrees/w; echo ../.. >.git/worktrees/w/commondir";
        ground.lab.dev.envctl(["exec", &ground.task, "--", "sh", "-euc", prepare]).ok();
        let before = (inode(name), fs::read(git.join(name)).unwrap());
        let script = format!(
            "exec 3<>.git/{held}; while [ \"$(stat -c %i .git/{held})\" = {} ]; do sleep 0.02; done; printf evil >&3",
            before.0
        );
        ground.lab.dev.envctl(["exec", &ground.task, "--", "sh", "-euc", &script]).ok();
        assert_eq!(fs::read(git.join(name)).unwrap(), before.1, "{name}");
        ground.repo.git(&["status"]);
    }
    alive.kill_owner().assert_gone();
}

/// Git writes short files under their own names: nobody takes them from it.
#[test]
fn what_git_writes_in_its_place_is_not_taken_from_it() {
    let ground = Ground::of(Lab::new());
    let alive = Alive::start(&ground.lab, &ground.task, "");
    let git = ground.repo.path.join(".git");
    // As `git worktree add` does.
    let script = "mkdir -p .git/worktrees/w; cd .git/worktrees/w; exec 3>commondir; sleep 0.05; echo ../.. >&3
        exec 3>&-; echo done";
    ground.lab.dev.envctl(["exec", &ground.task, "--", "sh", "-euc", script]).ok();
    assert_eq!(fs::read_to_string(git.join("worktrees/w/commondir")).unwrap(), "../..\n");
    alive.kill_owner().assert_gone();
}

both!(where_a_pointer_leads_later_is_looked_at_then);
/// A pointer is looked at again when the place that it names comes to be, and when
/// a link on the way is turned.
fn where_a_pointer_leads_later_is_looked_at_then(lab: Lab) {
    let ground = Ground::of(lab);
    let alive = Alive::start(&ground.lab, &ground.task, "");
    let inside = |script: &str| {
        ground.lab.dev.envctl(["exec", &ground.task, "--", "sh", "-euc", &ground.script(script)]).ok();
    };
    let gone = |path: &str| until(path, || !ground.repo.path.join(path).exists());
    inside("mkdir early; echo 'gitdir: ../l/.git/modules/x' >early/.git; sleep 0.3; repo l/.git/modules/x");
    gone("l/.git/modules/x/config");
    inside(
        "mkdir -p a/.git/objects a/.git/refs files; echo 'ref: refs/heads/main' >a/.git/HEAD; ln -s a way; ln -s ../way/.git files/.git; sleep 0.3",
    );
    inside("repo b/.git; sleep 0.3; ln -sfn b way");
    gone("b/.git/config");
    inside("mkdir -p files2; repo later; echo 'gitdir: ../later' >files2/.git");
    gone("files2/.git");
    ground.assert_harmless(&["early", "files"]);
    alive.kill_owner().assert_gone();
}

/// While its own git folder is closed the root is a repository by what lies in
/// it, and git writes through links in that. It does not stay one.
#[test]
fn the_root_does_not_stay_a_repository_of_its_own() {
    let ground = Ground::of(Lab::new());
    let alive = Alive::start(&ground.lab, &ground.task, "");
    ground.lab.dev.write("precious", "mine\n");
    let script = format!(
        "mkdir objects refs; echo 'ref: refs/heads/main' >HEAD; ln -s {} FETCH_HEAD; chmod 0 .git",
        ground.lab.dev.path("precious").display()
    );
    ground.lab.dev.envctl(["exec", &ground.task, "--", "sh", "-euc", &script]).ok();
    until("it is none", || !ground.repo.path.join("HEAD").exists());
    assert!(ground.repo.path.join(".git/HEAD").exists());
    alive.kill_owner().assert_gone();
}

/// Git on the host writes what an index names, and hooks among that.
#[test]
fn a_hook_that_came_during_a_run_is_renamed_and_told() {
    let ground = Ground::of(Lab::new());
    let alive = Alive::start(&ground.lab, &ground.task, "");
    let hooks = ground.repo.path.join(".git/hooks");
    fs::create_dir_all(&hooks).unwrap();
    fs::copy(&ground.trap, hooks.join("post-checkout")).unwrap();
    let receipt = ground.lab.dev.envctl(["reset", &ground.task]).ok().stdout;
    assert!(receipt.contains(".git/hooks/post-checkout was written inside and renamed"), "{receipt}");
    assert!(!hooks.join("post-checkout").exists());
    drop(alive);
}

/// An index of many gigabytes costs a program nothing.
#[test]
fn an_index_with_holes_does_not_hold_the_look_up() {
    let ground = Ground::of(Lab::new());
    let alive = Alive::start(&ground.lab, &ground.task, "");
    let script = "truncate -s 30G .git/index; repo nested/.git";
    ground.lab.dev.envctl(["exec", &ground.task, "--", "sh", "-euc", &ground.script(script)]).ok();
    until("the index is renamed", || !ground.repo.path.join(".git/index").exists());
    until("what came after it is, too", || !ground.repo.path.join("nested/.git/config").exists());
    fs::remove_file(ground.repo.path.join(".git/index.envctl-quarantine")).unwrap();
    alive.kill_owner().assert_gone();
}

both!(the_shared_part_of_a_split_index_names_nothing_outside);
/// Most entries of a split index are in another file, and git believes that as well.
fn the_shared_part_of_a_split_index_names_nothing_outside(lab: Lab) {
    let ground = Ground::of(lab);
    let repo = &ground.repo;
    let git = repo.path.join(".git");
    let alive = Alive::start(&ground.lab, &ground.task, "");
    // What the developer's own git splits stays.
    repo.git(&["update-index", "--split-index"]);
    let shared = || {
        let names = fs::read_dir(&git).unwrap().map(|entry| entry.unwrap().file_name());
        names.map(|name| name.into_string().unwrap()).find(|name| name.starts_with("sharedindex.") && name.len() == 52)
    };
    let name = shared().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert_eq!(shared().as_ref(), Some(&name));
    // The name of the first entry as it leads out.
    let mut text = fs::read(git.join(&name)).unwrap();
    let at = text.windows(6).position(|part| part == b"README").unwrap();
    text[at..at + 6].copy_from_slice(b"../aaa");
    fs::write(git.join(&name), text).unwrap();
    until("it is renamed", || shared().is_none());
    until("the other part is, too", || !git.join("index").exists());
    repo.git(&["status"]);
    let put_away = fs::read_dir(&git).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let put_away: Vec<_> = put_away.filter(|name| name.starts_with("sharedindex.")).collect();
    assert_eq!(put_away, [format!("{name}.envctl-quarantine")], "once is enough");
    repo.call(&["restore", "."]).run();
    assert!(!repo.path.parent().unwrap().join("aaa").exists());
    alive.kill_owner().assert_gone();
}

both!(no_index_of_a_nested_repository_names_what_lies_outside, watched);
both!(no_index_of_a_nested_repository_names_what_lies_outside_only_seen_at_the_end, unwatched);
/// An index that names what lies outside, in whatever git folder: `git restore` would
/// write there. It goes while a runtime lives, and at its end.
fn no_index_of_a_nested_repository_names_what_lies_outside((lab, watched): (Lab, bool)) {
    let ground = Ground::of(lab);
    let enter = ground.lab.dev.envctl(["enter", "--detach", &ground.task]);
    let enter = if watched { enter } else { enter.env("ENVCTL_TEST_CRASH", "unwatched") };
    enter.ok();
    let nested = ground.repo.within("n1");
    let script = "cd \"$0\"; mkdir n1; cd n1; git init -q .; echo x >AAAAAA; git add AAAAAA";
    ground.lab.dev.call("sh", ["-euc", script]).arg(&ground.repo.path).ok();
    let index = ground.repo.path.join("n1/.git/index");
    let mut text = fs::read(&index).unwrap();
    let at = text.windows(6).position(|part| part == b"AAAAAA").unwrap();
    text[at..at + 6].copy_from_slice(b"../aaa");
    fs::write(&index, &text).unwrap();
    if watched {
        until("it is renamed", || !index.exists());
    }
    let receipt = ground.lab.dev.envctl(["reset", &ground.task]).ok().stdout;
    assert!(receipt.contains("n1/.git/index was written inside and renamed"), "{receipt}");
    assert!(!index.exists());
    nested.call(&["restore", "."]).run();
    assert!(!ground.repo.path.join("aaa").exists());
}

fn no_index_of_a_nested_repository_names_what_lies_outside_only_seen_at_the_end(of: (Lab, bool)) {
    no_index_of_a_nested_repository_names_what_lies_outside(of);
}

/// A `HEAD` that nobody may read is none to git.
#[test]
fn a_head_that_was_closed_is_put_back() {
    let ground = Ground::of(Lab::unprivileged());
    let alive = Alive::start(&ground.lab, &ground.task, "");
    ground.lab.dev.envctl(["exec", &ground.task, "--", "chmod", "0", ".git/HEAD"]).ok();
    until("it can be read", || ground.repo.call(&["rev-parse", "--git-dir"]).run().stdout.trim() == ".git");
    alive.kill_owner().assert_gone();
}

/// Each thing is put right within milliseconds; but a loop would hit a git that runs
/// at any moment.
#[test]
fn a_program_that_keeps_on_damaging_the_git_folder_is_ended() {
    for script in [
        "while :; do echo x >.git/HEAD; done",
        "while :; do ln -s /etc/hostname l; mv l .git/FETCH_HEAD; sleep 0.01; done",
    ] {
        let lab = Lab::new();
        let task = lab.publish(&ImageBuilder::busybox());
        let run = lab.enter(&task, &["timeout", "60", "sh", "-c", script]).code(137);
        assert!(run.stderr.contains("the runtime was ended: a program inside kept on"), "{}", run.stderr);
        lab.assert_baseline();
    }
}
