//! Folders in which something is built: never taken for newer than what has
//! changed since.

use std::fs;
use std::os::unix::fs::MetadataExt;

use super::{found, ls, workspace};
use crate::support::{Home, ImageBuilder, Lab};

/// What a tool does that compares times: each part is built when it is newer
/// than what was built of it.
const TOOL: &str = "mkdir -p build\nfor part in src/*; do made=build/${part#src/}\nif [ ! -e $made ] || [ $part -nt $made ]; \
                    then cp $part $made; echo built $part; fi; done\ncat build/* > build/.all; mv build/.all all.out\n";

/// A project with three parts, which `./tool` builds.
fn project(lab: &Lab, more: &str) -> String {
    let cache =
        format!("[[cache]]\nname = \"build\"\ninputs = [\"tool\"]\npath = \"build\"\nsetup = '''sh tool'''\n{more}");
    lab.repo.write("envctl.toml", cache);
    lab.repo.write(".gitignore", "build\n*.out\n");
    lab.repo.write("tool", TOOL);
    ["a", "b", "c"].iter().for_each(|part| lab.repo.write(format!("src/{part}"), format!("{part}1\n")));
    lab.repo.commit("A tool");
    lab.publish(&ImageBuilder::busybox())
}

/// What a run builds anew, and what it has then.
fn build(lab: &Lab, task: &str) -> String {
    lab.sh(task, "sh tool; cat all.out")
}

both!(what_another_task_promoted_is_built_again_where_the_sources_differ);
fn what_another_task_promoted_is_built_again_where_the_sources_differ(lab: Lab) {
    let first = project(&lab, "");
    lab.repo.write("src/b", "b2\n");
    let second = lab.publish(&ImageBuilder::busybox());
    // The first one's files are older than what the second one builds.
    lab.dev.envctl(["enter", "--no-runtime", &first]).ok();
    assert_eq!(build(&lab, &second), "a1\nb2\nc1\n");
    lab.dev.envctl(["cache", "promote", &second]).ok();
    assert_eq!(build(&lab, &first), "built src/b\na1\nb1\nc1\n");
    assert_eq!(found(&lab), ["build hit project"]);
    let outside = workspace(&lab);
    assert_eq!(outside.git(&["status", "--porcelain"]), "");
    assert_eq!(outside.git(&["diff-files", "--name-only"]), "", "nor does it look into files");
    // Somewhere else, where everything comes from the store.
    let home = if lab.dev.is_unprivileged() { Home::unprivileged() } else { Home::new() };
    let other = lab.with_developer(home);
    assert_eq!(build(&other, &first), "built src/b\na1\nb1\nc1\n");
    assert_eq!(found(&other), ["build fetched project"]);
    assert_eq!(build(&other, &second), "a1\nb2\nc1\n");
    [&lab, &other].iter().for_each(|lab| lab.assert_baseline());
}

#[test]
fn what_lies_in_the_workspace_with_an_old_time_counts_as_new() {
    let lab = Lab::new();
    let task = project(&lab, "");
    assert_eq!(build(&lab, &task), "a1\nb1\nc1\n");
    let own = workspace(&lab);
    let at = |name: &str| own.path.join("src").join(name);
    own.write("src/c", "c9\n");
    own.write("src/d", "d9\n");
    for name in ["c", "d"] {
        lab.dev.call("touch", ["-d", "1999-01-01", at(name).to_str().unwrap()]).ok();
    }
    let before = fs::symlink_metadata(at("a")).unwrap().mtime();
    assert_eq!(build(&lab, &task), "built src/c\nbuilt src/d\na1\nb1\nc9\nd9\n");
    assert_eq!(found(&lab), ["build hit task"]);
    // As it was: what is equal, and what files hold.
    assert_eq!(fs::symlink_metadata(at("a")).unwrap().mtime(), before);
    assert_eq!(fs::read_to_string(at("c")).unwrap(), "c9\n");
    let settled = |name: &str| fs::symlink_metadata(at(name)).map(|meta| (meta.mtime(), meta.mtime_nsec())).unwrap();
    let times = (settled("c"), settled("d"));
    assert_eq!(build(&lab, &task), "built src/c\nbuilt src/d\na1\nb1\nc9\nd9\n");
    assert_eq!((settled("c"), settled("d")), times, "they are touched once");
}

#[test]
fn an_entry_is_not_used_where_a_file_is_gone() {
    let lab = Lab::new();
    let task = project(&lab, "");
    assert_eq!(build(&lab, &task), "a1\nb1\nc1\n");
    fs::remove_file(workspace(&lab).path.join("src/b")).unwrap();
    assert_eq!(build(&lab, &task), "a1\nc1\n");
    assert_eq!((found(&lab), ls(&lab).len()), (vec!["build sealed task".to_owned()], 2));
    // Also where others have come, and one that git ignores.
    workspace(&lab).write("src/d", "d1\n");
    workspace(&lab).write("x.out", "");
    assert_eq!(build(&lab, &task), "built src/d\na1\nc1\nd1\n");
    assert_eq!(found(&lab), ["build hit task"]);
    fs::remove_file(workspace(&lab).path.join("src/d")).unwrap();
    // It is back, and so is the first entry.
    workspace(&lab).write("src/b", "b3\n");
    assert_eq!(build(&lab, &task), "built src/b\na1\nb3\nc1\n");
    assert_eq!((found(&lab), ls(&lab).len()), (vec!["build hit task".to_owned()], 2));
}

#[test]
fn an_entry_that_is_newer_than_the_clock_is_left_out() {
    let lab = Lab::new();
    lab.repo
        .write("envctl.toml", "[[cache]]\nname = \"build\"\npath = \"build\"\nsetup = 'touch -d 2099-01-01 build/x'\n");
    lab.repo.write(".gitignore", "build\n");
    let task = lab.publish(&ImageBuilder::busybox());
    let said = ["the cache build is left out", "newer than this machine's clock"];
    lab.enter(&task, &["sh", "-c", "! test -e build/x"]).ok().says(&said);
    lab.enter(&task, &["sh", "-c", "! test -e build/x"]).ok().says(&said);
    lab.assert_baseline();
}

#[test]
fn what_is_no_build_folder_is_left_alone() {
    let lab = Lab::new();
    let task = project(&lab, "build = false\n");
    build(&lab, &task);
    let own = workspace(&lab);
    fs::remove_file(own.path.join("src/b")).unwrap();
    lab.sh(&task, "true");
    assert_eq!(found(&lab), ["build hit task"]);
    let key = lab.dev.envctl(["cache", "key", &task]).ok().stdout;
    assert!(!key.contains("made from"), "{key}");
    // A fresh workspace has the times of its making.
    let meta = fs::symlink_metadata(own.path.join("src/a")).unwrap();
    assert!(meta.mtime() > 1_600_000_000, "{}", meta.mtime());
}
