//! A checkout that changes while it is captured, and a capture that is not what it
//! should be: neither is published as if nothing were.

use std::fs;
use std::path::Path;

use crate::support::{Call, Facts, Repo, Trip, until};

/// A git in front of the real one; `script` runs before it, with the words in `$*`
/// and `real` as the way on.
fn meddling(trip: &Trip, repo: &Repo, script: &str) -> Call {
    let folder = trip.lab.agent.path("meddling");
    let real = trip.lab.agent.call("sh", ["-c", "command -v git"]).ok().stdout;
    let real = real.trim();
    let own = format!("env -i HOME=\"$HOME\" PATH=\"{}\"", Path::new(real).parent().unwrap().display());
    let own = format!("{own}:/usr/bin:/bin GIT_CONFIG_GLOBAL=/dev/null git -c user.name=A -c user.email=a@b -C");
    let text = format!(
        "#!/bin/sh\nown() {{ {own} '{}' \"$@\" >/dev/null 2>&1; }}\nreal() {{ '{real}' \"$@\"; }}\ncd='{}'\n{script}\nexec '{real}' \"$@\"\n",
        repo.path.display(),
        repo.path.display(),
    );
    trip.lab.agent.write(folder.join("git"), text);
    fs::set_permissions(folder.join("git"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/bin:/bin", folder.display());
    trip.publishing(repo, "t").env("PATH", path)
}

/// A branch `side` that cannot be merged without a conflict.
fn disagree(repo: &Repo) {
    repo.git(&["checkout", "--quiet", "-b", "side"]);
    repo.write("README", "side\n");
    repo.commit("side");
    repo.git(&["checkout", "--quiet", "main"]);
    repo.write("README", "main\n");
    repo.commit("main");
}

fn entered(trip: &Trip) -> Repo {
    trip.enter(&trip.lab.store.reference("t"))
}

both!(a_commit_during_the_capture, Trip::of);
/// 02: the commit comes after HEAD was read and before the files are.
fn a_commit_during_the_capture(trip: Trip) {
    let repo = &trip.lab.repo;
    repo.write("a", "a\n");
    let flag = trip.lab.agent.path("flag");
    let script = format!(
        "case \"$*\" in *diff-index*) [ -e '{0}' ] || {{ >'{0}'; own add -A; own commit -m meanwhile; }};; esac",
        flag.display()
    );
    meddling(&trip, repo, &script).ok();
    assert!(flag.exists());
    assert_eq!(repo.git(&["log", "-1", "--format=%s"]), "meanwhile");
    Facts::of(repo).assert_same(&Facts::of(&entered(&trip)));
}

/// An operation that begins, and a branch that is left, meanwhile.
#[test]
fn a_switch_and_a_stop_during_the_capture() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    repo.write("a", "a\n");
    disagree(repo);
    for (n, command) in ["own merge side", "own merge --abort; own checkout side"].iter().enumerate() {
        let flag = trip.lab.agent.path(format!("flag-{n}"));
        let script =
            format!("case \"$*\" in *diff-index*) [ -e '{0}' ] || {{ >'{0}'; {command}; }};; esac", flag.display());
        meddling(&trip, repo, &script).ok();
        assert!(flag.exists());
        let reference = trip.lab.store.reference("t");
        let workspace = trip.lab.dev.envctl(["enter", &reference, "--no-runtime", "--refresh"]).ok().stdout;
        Facts::of(repo).assert_same(&Facts::of(&repo.seen_by(&trip.lab.dev, workspace.trim_end())));
    }
}

/// Index, HEAD and what is in progress may be at the end what they were at first, and
/// the files those of what came in between.
#[test]
fn a_merge_that_comes_and_goes_during_every_capture() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    disagree(repo);
    let script = "case \"$*\" in *diff-index*) own merge side; own merge --abort;; esac";
    meddling(&trip, repo, script).code(1).says(&["keeps changing"]);
    Facts::of(repo).assert_same(&Facts::of(&trip.enter(&trip.publish(repo))));
}

/// What is moved from one folder to another is in one of them at every moment, and may
/// have been seen in neither.
#[test]
fn what_is_moved_during_the_capture_is_looked_at_again() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    repo.write("fill/tracked", "x");
    repo.commit("fill");
    repo.push();
    repo.write("one/precious", "x");
    let [flag, looks] = ["flag", "looks"].map(|name| trip.lab.agent.path(name));
    // There and back: all looks find the same.
    let script = format!(
        "case \"$*\" in *ls-files*--others*) echo look >>'{}'
         [ -e '{1}' ] || {{ >'{1}'; mv \"$cd/one\" \"$cd/fill/one\"; mv \"$cd/fill/one\" \"$cd/one\"; }};; esac",
        looks.display(),
        flag.display()
    );
    meddling(&trip, repo, &script).ok();
    assert_eq!(fs::read_to_string(looks).unwrap(), "look\nlook\n");
    Facts::of(repo).assert_same(&Facts::of(&entered(&trip)));
}

/// A name that comes and one that goes can be seen in neither place as well, however often
/// one looks; where that has no end, it is said.
#[test]
fn names_that_come_and_go_all_the_time_are_not_published() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    repo.write("fill/tracked", "x");
    repo.commit("fill");
    repo.push();
    repo.write("fill/precious", "x");
    // There is a copy at every moment; after each look all is as it was.
    let script = "case \"$*\" in *ls-files*--others*) mkdir -p \"$cd/one\"; cp \"$cd/fill/precious\" \"$cd/one/\"
         rm \"$cd/fill/precious\"; cp \"$cd/one/precious\" \"$cd/fill/\"; rm -r \"$cd/one\";; esac";
    meddling(&trip, repo, script).code(1).says(&["keeps changing", "such as fill/precious"]);
    // What git ignores does not travel, and may come and go.
    repo.write(".gitignore", "*.o\n");
    let script = "case \"$*\" in *ls-files*--others*) >\"$cd/fill/x.o\"; rm \"$cd/fill/x.o\";; esac";
    meddling(&trip, repo, script).ok();
    Facts::of(repo).assert_same(&Facts::of(&entered(&trip)));
}

/// Without end, it is said.
#[test]
fn a_checkout_that_never_rests_is_not_published() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    let run = meddling(&trip, repo, "case \"$*\" in *diff-index*) own commit --allow-empty -m more;; esac").code(1);
    run.says(&["keeps changing while it is captured", "hint: stop what runs git"]);
    assert!(trip.lab.store.tags().iter().all(|tag| tag != "t"));
}

both!(a_folder_that_vanishes_is_no_error, Trip::of);
/// A folder that goes between its name and its content is gone, no more.
fn a_folder_that_vanishes_is_no_error(trip: Trip) {
    let repo = &trip.lab.repo;
    repo.write("tracked/a", "a\n");
    repo.commit("a folder");
    repo.write("new/deep/b", "b\n");
    // What looks at the folders does so at the same time, and is mostly done.
    let script = "case \"$*\" in *diff-index*) sleep 0.3; rm -rf \"$cd/new\" \"$cd/tracked\";; esac";
    meddling(&trip, repo, script).ok();
    Facts::of(repo).assert_same(&Facts::of(&entered(&trip)));
}

/// A file that is written all the time, as logs are, does not hold anything up,
/// however slow the machine is.
#[test]
fn a_log_that_grows_all_the_time_is_taken_as_it_was() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    // Git converts some files, and then reads copies of all.
    repo.write(".gitattributes", "*.md text\n");
    repo.commit("attributes");
    repo.push();
    let script = "cd \"$1\"; while :; do echo line >>server.log; sleep 0.002; done";
    let mut writer = trip.lab.agent.call("sh", ["-c", script, "sh", repo.path.to_str().unwrap()]).spawn();
    until("there is a log", || repo.path.join("server.log").exists());
    let run = trip.publishing(repo, "t").run();
    writer.kill().unwrap();
    writer.wait().unwrap();
    run.ok();
    let arrived = fs::read_to_string(entered(&trip).path.join("server.log")).unwrap();
    let written = fs::read_to_string(repo.path.join("server.log")).unwrap();
    assert!(arrived.starts_with("line\n") && written.starts_with(&arrived));
}

/// The lock of a command that waits, or that was killed, is not waited for
/// without end.
#[test]
fn a_lock_that_stays_is_no_obstacle() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    repo.write("a", "a\n");
    let before = Facts::of(repo);
    repo.write(".git/index.lock", "");
    trip.publishing(repo, "t").ok();
    before.assert_same(&Facts::of(&entered(&trip)));
}

/// What git says of the index is not believed: the index that a restore makes is
/// compared before anything is published.
#[test]
fn an_index_that_would_arrive_as_another_is_not_published() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    repo.write("staged", "x");
    repo.git(&["add", "staged"]);
    // As if nothing were staged.
    let run = meddling(&trip, repo, "case \"$*\" in *diff-index*) exit 0;; esac").code(5);
    run.says(&["would not arrive as it is here: the index", "hint: publish again"]);
    assert!(trip.lab.store.tags().iter().all(|tag| tag != "t"));
}

/// And of files that are converted, those that were read are restored aside.
#[test]
fn files_that_would_arrive_as_others_are_not_published() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    repo.write(".gitattributes", "*.txt text eol=crlf\n");
    repo.write("a.txt", "a\r\n");
    repo.commit("texts");
    repo.push();
    // Git would write another end: the content travels as it is.
    repo.write("a.txt", "a\nb\n");
    trip.publishing(repo, "fine").ok();
    // Unless it says that it would write just that.
    let lie = "for word; do case \"$word\" in --prefix=*) printf 'a\\nb\\n' >\"${word#--prefix=}a.txt\";; esac; done";
    let script = format!("case \"$*\" in *checkout-index*--prefix=*) real \"$@\"; {lie}; exit 0;; esac");
    let run = meddling(&trip, repo, &script).code(5);
    run.says(&["would not arrive as it is here"]);
    assert!(trip.lab.store.tags().iter().all(|tag| tag != "t"));
}

both!(git_ends_with_envctl, Trip::of);
/// Even one that reads and writes nothing meanwhile.
fn git_ends_with_envctl(trip: Trip) {
    let repo = &trip.lab.repo;
    repo.write("a", "a\n");
    let said = trip.lab.agent.path("pid");
    let script = format!("case \"$*\" in *diff-index*) echo $$ >'{}'; exec sleep 600;; esac", said.display());
    let mut child = meddling(&trip, repo, &script).spawn();
    let pid = || fs::read_to_string(&said).ok().filter(|text| text.ends_with('\n'));
    until("git was started", || pid().is_some());
    let git = format!("/proc/{}/stat", pid().unwrap().trim());
    let is_gone = || fs::read_to_string(&git).map_or(true, |state| state.contains(") Z "));
    assert!(!is_gone());
    child.kill().unwrap();
    child.wait().unwrap();
    until("git is gone", is_gone);
}
