//! What a program leaves for git on the host: the real git is asked whether it
//! obeys.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::PathBuf;

use crate::support::{Alive, Call, Entry, ImageBuilder, Lab, Layer, Repo, until};

/// Shell functions: `repo FOLDER` makes a bare one that would run the trap.
const REPO: &str = r#"repo() { mkdir -p $1/objects $1/refs; echo 'ref: refs/heads/main' >$1/HEAD
    printf '[core]\n\trepositoryformatversion = 0\n\tbare = false\n\tfsmonitor = TRAP\n' >$1/config; }
    points() { mkdir -p $1; echo "gitdir: $2" >$1/.git; }
"#;

/// A developer who has entered a task once.
pub(super) struct Ground {
    pub(super) lab: Lab,
    pub(super) task: String,
    pub(super) repo: Repo,
    pub(super) trap: PathBuf,
    marker: PathBuf,
}

impl Ground {
    pub(super) fn of(lab: Lab) -> Self {
        let task = lab.publish(&ImageBuilder::busybox());
        lab.sh(&task, "true");
        let workspace = PathBuf::from(lab.report()["workspace"].as_str().unwrap());
        let (trap, marker) = (lab.dev.path("trap"), lab.dev.path("marker"));
        lab.dev.write("trap", format!("#!/bin/sh\necho \"$PWD\" >>{}\nexit 1\n", marker.display()));
        fs::set_permissions(&trap, fs::Permissions::from_mode(0o755)).unwrap();
        Ground { repo: lab.repo.seen_by(&lab.dev, workspace), lab, task, trap, marker }
    }

    pub(super) fn script(&self, script: &str) -> String {
        format!("{REPO}{script}").replace("TRAP", self.trap.to_str().unwrap())
    }

    /// Runs a script inside, at which nobody looks before it has ended; what
    /// the developer is told.
    #[track_caller]
    pub(super) fn inside(&self, script: &str) -> String {
        let enter = self.lab.enter(&self.task, &["sh", "-euc", &self.script(script)]);
        enter.env("ENVCTL_TEST_CRASH", "unwatched").ok().stderr
    }

    /// The same with few descriptors.
    fn narrow(&self, args: &[&str]) -> Call {
        let binary = self.lab.dev.binary().to_str().unwrap();
        let words = [&["-c", "ulimit -n 256; exec \"$@\"", "sh", binary], args].concat();
        self.lab.dev.call("sh", words).env("ENVCTL_TEST_CRASH", "unwatched")
    }

    /// Works in these folders on the host; nothing was run by that.
    #[track_caller]
    pub(super) fn assert_harmless(&self, folders: &[&str]) {
        for folder in folders {
            self.repo.within(folder).call(&["status"]).run();
            self.repo.within(folder).call(&["gc", "--prune=now"]).run();
            let ran = fs::read_to_string(&self.marker).unwrap_or_default();
            assert_eq!(ran, "", "in {folder}");
        }
    }
}

/// The trap works: otherwise the tests below would show nothing.
#[test]
fn case_40_git_would_obey_what_is_planted() {
    let ground = Ground::of(Lab::new());
    let repo = ground.repo.within("nested");
    ground
        .lab
        .dev
        .call("sh", ["-euc", &ground.script("cd \"$1\"; repo nested/.git"), "sh"])
        .arg(&ground.repo.path)
        .ok();
    repo.call(&["status"]).run();
    assert!(fs::read_to_string(&ground.marker).unwrap().contains("nested"));
}

both!(case_40_nothing_planted_is_obeyed_wherever_it_lies);
fn case_40_nothing_planted_is_obeyed_wherever_it_lies(lab: Lab) {
    let ground = Ground::of(lab);
    let script = r#"repo .git/evil; points A ../.git/evil
        repo .git/objects/evil; points B ../.git/objects/evil
        repo .git/objects/ab/evil; points C ../.git/objects/ab/evil
        repo .git/objects/ac; points D ../.git/objects/ac
        repo .git/logs; points E ../.git/logs
        repo .git/modules/m; points F ../.git/modules/m
        repo G/.git; mkdir -p G/.git/hooks; repo G/.git/hooks/x; points H ../G/.git/hooks.envctl-quarantine/x
        repo closed/sub/.git; chmod 0300 closed
        repo I/.git; chmod 0300 I/.git
        repo J/.git; printf '[user]\n\tname = "\\\\" ; \\\n[core] ; \\\n\tfsmonitor = TRAP ; \\\n# "\n' >J/.git/config
        repo K/.git; printf '[gc]\n\trecentObjectsHook = TRAP; true\n' >K/.git/config
        repo L; echo 'gitdir: ../.git/evil' >L/.git"#;
    let told = ground.inside(script);
    for planted in [
        ".git/evil/config",
        ".git/objects/evil/config",
        ".git/objects/ab/evil",
        ".git/objects/ac/config",
        ".git/logs/config",
        ".git/modules/m/config",
        "closed/sub/.git/config",
        "I/.git/config",
    ] {
        assert!(told.contains(&format!("{planted} was written inside and renamed")), "{planted}: {told}");
    }
    let folders = ["A", "B", "C", "D", "E", "F", "G", "H", "closed/sub", "I", "J", "K", "L"];
    ground.assert_harmless(&folders);
    // Nor what is made of it the next time.
    let again = r#"for left in .git/objects/*.envctl-quarantine-*; do
            printf '[core]\n\tbare = false\n\tfsmonitor = TRAP\n' >$left/config; points C ../$left; done
        mkdir -p M/.git/objects M/.git/refs; printf '[core]\n\tfsmonitor = TRAP\n' >M/.git/config"#;
    ground.inside(again);
    ground.inside("echo 'ref: refs/heads/main' >M/.git/HEAD");
    ground.assert_harmless(&["C", "M"]);
    assert_eq!(ground.repo.git(&["rev-parse", "--abbrev-ref", "HEAD"]).trim(), "main");
}

/// Who ends a runtime that nobody attends to is told, too.
#[test]
fn case_40_what_a_detached_runtime_planted_is_on_its_receipt() {
    let ground = Ground::of(Lab::new());
    ground.lab.dev.envctl(["enter", "--detach", &ground.task]).ok();
    let script = ground.script("repo sub/.git");
    ground.lab.dev.envctl(["exec", &ground.task, "--", "sh", "-euc", &script]).ok();
    let run = ground.lab.dev.envctl(["reset", &ground.task]).ok();
    assert!(run.stdout.contains("planted    sub/.git/config was written inside"), "{}", run.stdout);
    ground.assert_harmless(&["sub"]);
}

both!(case_40_a_pointer_to_the_files_of_an_image_goes);
/// A pointer out of the workspace: the files of an image are there, too.
fn case_40_a_pointer_to_the_files_of_an_image_goes(lab: Lab) {
    let evil = "[core]\n\trepositoryformatversion = 0\n\tbare = false\n\tfsmonitor = TRAP\n";
    let config = evil.replace("TRAP", lab.dev.path("trap").to_str().unwrap());
    let layer = Layer::new([
        Entry::dir("evil/"),
        Entry::file("evil/HEAD", "ref: refs/heads/main\n"),
        Entry::file("evil/config", config),
        Entry::dir("evil/objects/"),
        Entry::dir("evil/refs/"),
    ]);
    let image = ImageBuilder::busybox().layer(layer.clone());
    let task = lab.publish(&image);
    lab.sh(&task, "true");
    let files = lab.files_of(&layer);
    let script = format!("mkdir A; echo 'gitdir: {}' >A/.git", files.join("evil").display());
    let run = lab.enter(&task, &["sh", "-euc", &script]).ok();
    assert!(run.stderr.contains("A/.git was written inside and renamed"), "{}", run.stderr);
}

#[test]
fn case_40_many_folders_hide_nothing() {
    let ground = Ground::of(Lab::new());
    let script = "mkdir many; cd many; i=0; while [ $i -lt 1200 ]; do mkdir d$i; i=$((i+1)); done
        for i in 0 300 600 900 1199; do repo d$i/.git; done";
    let run = ground.narrow(&["enter", &ground.task, "--", "sh", "-euc", &ground.script(script)]).ok();
    assert_eq!(run.stderr.matches("was written inside and renamed").count(), 5, "{}", run.stderr);
    ground.assert_harmless(&["many/d0", "many/d300", "many/d600", "many/d900", "many/d1199"]);
}

both!(case_40_git_writes_through_no_planted_link);
/// What `git commit` on the host writes is not written elsewhere.
fn case_40_git_writes_through_no_planted_link(lab: Lab) {
    let ground = Ground::of(lab);
    let precious = ground.lab.dev.path("precious");
    ground.lab.dev.write("precious", "precious");
    let script = format!(
        "rm -rf .git/logs; mkdir -p .git/logs/refs/heads
        for name in COMMIT_EDITMSG logs/HEAD logs/refs/heads/main ORIG_HEAD; do ln -s {} .git/$name; done
        mkfifo .git/MERGE_MSG; mkfifo .git/config.worktree",
        precious.display()
    );
    let told = ground.inside(&script);
    for name in ["COMMIT_EDITMSG", "logs/HEAD", "logs/refs/heads/main", "ORIG_HEAD", "MERGE_MSG", "config.worktree"] {
        assert!(told.contains(&format!(".git/{name} was written inside")), "{name}: {told}");
    }
    ground.repo.write("work", "x");
    ground.repo.commit("on the host");
    assert_eq!(fs::read_to_string(&precious).unwrap(), "precious");
    assert!(!ground.inside("true").contains("warning"), "it is told once");
}

both!(case_40_a_repository_among_the_files_of_a_task);
/// What came with the task stays as it is, is told once, and goes as soon as
/// it is put to use.
fn case_40_a_repository_among_the_files_of_a_task(lab: Lab) {
    let trap = lab.dev.path("trap");
    for (name, text) in [
        ("HEAD", "ref: refs/heads/main\n".to_owned()),
        ("config", format!("[core]\n\tbare = true\n\tfsmonitor = {}\n", trap.display())),
        ("objects/keep", String::new()),
        ("refs/keep", String::new()),
    ] {
        lab.repo.write(format!("docs/x/{name}"), text);
    }
    let task = lab.publish(&ImageBuilder::busybox());
    let first = lab.enter(&task, &["true"]).ok().stderr;
    assert!(first.contains("docs/x/config came with the task"), "{first}");
    assert!(first.contains("core.fsmonitor"), "{first}");
    assert!(!first.contains("renamed"), "{first}");
    let again = lab.enter(&task, &["sh", "-c", "touch docs/y"]).ok().stderr;
    assert!(!again.contains("docs/x"), "{again}");
    let moved = lab.enter(&task, &["sh", "-c", "mkdir A && mv docs/x A/.git"]).ok().stderr;
    assert!(moved.contains("A/.git/config was written inside and renamed"), "{moved}");
}

both!(case_57_deep_folders_are_cleared_with_few_descriptors);
/// However deep the folders are that it left, a runtime is cleared.
fn case_57_deep_folders_are_cleared_with_few_descriptors(lab: Lab) {
    let ground = Ground::of(lab);
    let deep = "p=deep; i=0; while [ $i -lt 1500 ]; do p=$p/d; i=$((i+1)); done; mkdir -p $p";
    let alive = Alive::start(&ground.lab, &ground.task, &ground.script(&format!("{deep}; repo planted/.git")));
    let id = Alive::lease(&ground.lab)["id"].as_str().unwrap().to_owned();
    alive.kill_owner().assert_gone();
    let scratch = ground.lab.dev.state().join("runtimes").join(id).join(".envctl-scratch");
    let script = format!("cd \"$1\"; {deep}");
    ground.lab.dev.call("sh", ["-euc", &script, "sh"]).arg(&scratch).ok();
    let run = ground.narrow(&["reset", "--all"]).ok();
    assert!(run.stderr.contains("planted/.git/config was written inside"), "{}", run.stderr);
    assert!(run.stdout.contains("baseline   yes"), "{}", run.stdout);
    ground.lab.assert_baseline();
}

/// What cannot be cleared is no baseline, is told every time, and keeps nobody
/// from looking at the workspace.
#[test]
fn case_57_what_cannot_be_cleared_is_no_baseline() {
    let ground = Ground::of(Lab::unprivileged());
    let alive = Alive::start_unwatched(&ground.lab, &ground.task, &ground.script("repo planted/.git"));
    let id = Alive::lease(&ground.lab)["id"].as_str().unwrap().to_owned();
    alive.kill_owner().assert_gone();
    let scratch = ground.lab.dev.state().join("runtimes").join(id).join(".envctl-scratch");
    let stubborn = scratch.join("stubborn");
    fs::create_dir_all(stubborn.join("in")).unwrap();
    chown(&stubborn, Some(0), Some(0)).unwrap();
    assert_eq!(fs::metadata(&stubborn).unwrap().uid(), 0);
    let first = ground.lab.dev.envctl(["reset", "--all"]).code(4);
    assert!(first.stderr.contains("planted/.git/config was written inside"), "{}", first.stderr);
    for args in [&["reset", "--all"] as &[&str], &["reset", &ground.task]] {
        let run = ground.lab.dev.envctl(args).code(4);
        assert!(run.stdout.contains("baseline   NO"), "{}", run.stdout);
        assert!(run.stdout.contains("uncleared"), "{}", run.stdout);
    }
    let json = ground.lab.dev.envctl(["reset", "--all", "--json"]).code(4).json();
    assert_eq!(json["baseline"], false);
    fs::remove_dir(stubborn.join("in")).and_then(|()| fs::remove_dir(&stubborn)).unwrap();
    ground.lab.dev.envctl(["reset", "--all"]).ok();
    ground.lab.assert_baseline();
}

both!(git_on_the_host_runs_nothing_while_a_runtime_lives);
fn git_on_the_host_runs_nothing_while_a_runtime_lives(lab: Lab) {
    let ground = Ground::of(lab);
    let alive = Alive::start(&ground.lab, &ground.task, "");
    let script = ground.script("repo sub/.git; repo elsewhere; points other ../elsewhere; repo late");
    ground.lab.dev.envctl(["exec", &ground.task, "--", "sh", "-euc", &script]).ok();
    let there = |path: &str| ground.repo.path.join(path).exists();
    until("what was planted is renamed", || !there("sub/.git/config") && !there("other/.git"));
    // One that becomes a git folder by a move.
    ground.lab.dev.envctl(["exec", &ground.task, "--", "sh", "-c", "mkdir more; mv late more/.git"]).ok();
    until("what was moved is renamed", || !there("more/.git/config"));
    let head = ground.repo.head();
    for folder in ["sub", "other", "more"] {
        ground.repo.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{head},{folder}")]);
    }
    for words in [
        &["status", "--short"][..],
        &["diff"],
        &["log", "-1", "-p"],
        &["add", "-A"],
        &["commit", "-qm", "on the host"],
        &["stash"],
        &["fetch"],
        &["checkout", "-q", "-b", "other"],
    ] {
        ground.repo.call(words).run();
        assert_eq!(fs::read_to_string(&ground.marker).unwrap_or_default(), "", "git {words:?}");
    }
    let (lab, task) = (&ground.lab, &ground.task);
    alive.kill_owner().assert_gone();
    let status = lab.dev.envctl(["status"]).ok();
    assert!(!status.stdout.contains("cannot"), "{task}: {}", status.stdout);
}

/// The receipt says what was found while the runtime lived.
#[test]
fn what_was_renamed_meanwhile_is_on_the_receipt() {
    let ground = Ground::of(Lab::new());
    let there = "while [ -e sub/.git/config ]; do sleep 0.1; done";
    let script = ground.script(&format!("repo sub/.git; {there}"));
    let said = ground.lab.enter(&ground.task, &["sh", "-euc", &script]).ok().stderr;
    assert!(said.contains("sub/.git/config was written inside and renamed"), "{said}");
}

both!(gits_own_folder_is_looked_at_while_a_runtime_lives);
/// Links in the workspace's own git folder, through which git would write, and
/// what makes the folder a repository.
fn gits_own_folder_is_looked_at_while_a_runtime_lives(lab: Lab) {
    let ground = Ground::of(lab);
    ground.lab.dev.write("diary", "mine");
    let diary = ground.lab.dev.path("diary");
    let alive = Alive::start(&ground.lab, &ground.task, "");
    let script = format!(
        "d={}; cd .git; rm -f index FETCH_HEAD logs/HEAD; for f in index FETCH_HEAD logs/HEAD info/exclude worktrees ORIG_HEAD; do
        ln -sf $d $f; done; ln -s $d objects/17; rm HEAD; mv refs other 2>/dev/null && echo moved; :",
        diary.display()
    );
    let run = ground.lab.dev.envctl(["exec", &ground.task, "--", "sh", "-c", &script]).ok();
    assert_eq!(run.stdout, "");
    let git = ground.repo.path.join(".git");
    until("the links are gone", || {
        let links = ["index", "FETCH_HEAD", "logs/HEAD", "info/exclude", "worktrees", "ORIG_HEAD", "objects/17"];
        git.join("HEAD").is_file() && links.iter().all(|link| !git.join(link).is_symlink())
    });
    for words in [&["status"][..], &["add", "-A"], &["commit", "-qm", "x"], &["fetch"], &["log", "-1"]] {
        ground.repo.call(words).run();
    }
    assert_eq!(fs::read_to_string(&diary).unwrap(), "mine");
    alive.kill_owner().assert_gone();
}

both!(a_workspace_stays_the_repository_that_it_is);
/// A tree that is a repository itself, and a workspace without one of its own.
fn a_workspace_stays_the_repository_that_it_is(lab: Lab) {
    let marker = lab.dev.path("marker");
    for (name, content) in [("HEAD", "ref: refs/heads/.k\n"), ("refs/heads/.k", "x"), ("objects/.k", "x")] {
        lab.repo.write(name, content);
    }
    let config =
        format!("[core]\n\trepositoryformatversion = 0\n\tfsmonitor = touch {}\n\tworktree = .\n", marker.display());
    lab.repo.write("config", config);
    let task = lab.publish(&ImageBuilder::busybox());
    for script in ["rm .git/HEAD", "echo nothing >.git/HEAD", "mv .git/refs .git/x", ":"] {
        lab.dev.envctl(["enter", &task, "--", "sh", "-c", script]).run();
        let workspace = lab.dev.envctl(["workspace", "path", &task]).ok().stdout;
        let repo = lab.repo.seen_by(&lab.dev, workspace.trim());
        assert_eq!(repo.git(&["rev-parse", "--git-dir"]).trim(), ".git", "{script}");
        repo.call(&["status"]).run();
        assert!(!marker.exists(), "{script}");
    }
}

/// Git believes the names in an index, and what refs say of the remote.
#[test]
fn an_index_that_names_what_lies_outside_goes() {
    for live in [true, false] {
        let ground = Ground::of(Lab::new());
        // Made outside with plain names of the same length, and changed byte by byte.
        let scratch = ground.lab.repo.clone_to("scratch", &[]);
        let blob = scratch.git(&["hash-object", "-w", "README"]);
        scratch.git(&["update-index", "--add", "--cacheinfo", &format!("100644,{},AA/AA/AA/bashrc", blob.trim())]);
        let mut index = fs::read(scratch.path.join(".git/index")).unwrap();
        let at = index.windows(15).position(|part| part == b"AA/AA/AA/bashrc").unwrap();
        index[at..at + 15].copy_from_slice(b"../../../bashrc");
        ground.lab.dev.write(ground.repo.path.join("laid"), &index);
        let lay = "cp laid .git/index; mkdir -p .git/refs/remotes/origin; echo 'ref: refs/heads/main' >.git/refs/remotes/origin/zz";
        let git = ground.repo.path.join(".git");
        if live {
            let alive = Alive::start(&ground.lab, &ground.task, "");
            ground.lab.dev.envctl(["exec", &ground.task, "--", "sh", "-c", lay]).ok();
            until("both are gone", || !git.join("index").exists() && !git.join("refs/remotes/origin/zz").exists());
            alive.kill_owner().assert_gone();
        } else {
            let said = ground.inside(lay);
            assert!(said.contains(".git/index was written inside and renamed"), "{said}");
            assert!(said.contains("refs/remotes/origin/zz was written inside and renamed"), "{said}");
        }
        assert!(!git.join("index").exists());
    }
}
