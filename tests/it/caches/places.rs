//! The place of a cache is a folder to the programs inside: it can be removed, made
//! again and moved, as far as a mount point can be.

use super::{deps, found, ls, task, workspace};
use crate::support::{Alive, ImageBuilder, Lab};

both!(a_place_is_removed_made_again_and_moved_as_far_as_a_mount_point_can_be);
fn a_place_is_removed_made_again_and_moved_as_far_as_a_mount_point_can_be(lab: Lab) {
    lab.repo.write("lock", "1");
    // A setup does so as well.
    let task = task(&lab, &deps("rm -rf deps && mkdir deps && mkdir deps/sub && echo one > deps/sub/file"));
    // What is removed stays as an empty folder, and is made as if it were gone.
    let script = "rmdir deps 2>&1 | grep -c 'not empty'; cat deps/sub/file; \
                  rm -rf deps && ls -A deps && mkdir deps && echo two > deps/new && cat deps/new; \
                  mkdir deps 2>&1 | grep -c exists; \
                  mv deps moved && ls -A deps && cat moved/new; mkdir -p deps/deeper && rm -rf deps; \
                  touch deps/kept; mkdir deps 2>&1 | grep -c exists; ls deps; rm -r deps; \
                  mv moved deps 2>/dev/null; rm -rf deps moved; mkdir deps && echo three > deps/three";
    assert_eq!(lab.sh(&task, script), "1\none\ntwo\n1\ntwo\n1\nkept\n");
    // What was written there is gone, and counted.
    assert!(lab.report()["receipt"]["caches"][0]["entries"].as_u64().unwrap() > 0);
    assert!(!workspace(&lab).path.join("deps").exists());
    assert_eq!(lab.sh(&task, "cat deps/sub/file; ls deps"), "one\nsub\n");
    lab.assert_baseline();
    // Another runtime of this workspace has its tree at the same place, and keeps it.
    let alive = Alive::start(&lab, &task, "");
    let script =
        "rm -rf deps && mkdir deps && echo two > deps/new && cat deps/new && rm -rf deps; rmdir deps; rm -rf deps";
    assert_eq!(lab.dev.envctl(["enter", "--fresh", &task, "--", "sh", "-c", script]).ok().stdout, "two\n");
    assert_eq!(lab.dev.envctl(["exec", &task, "--", "cat", "deps/sub/file"]).ok().stdout, "one\n");
    drop(alive);
}

both!(one_setup_fills_several_places_and_what_it_leaves_elsewhere_is_named);
fn one_setup_fills_several_places_and_what_it_leaves_elsewhere_is_named(lab: Lab) {
    lab.repo.write("lock", "1");
    for package in ["a", "b"] {
        lab.repo.write(format!("packages/{package}/README"), "");
    }
    let setup = "echo root > deps/x; echo a > packages/a/deps/x; echo home > ~/tool/x; mkdir packages/b/other; \
                 touch packages/b/other/y packages/b/z";
    let paths = "paths = [\"deps\", \"packages/*/deps\", \"~/tool\"]";
    let project = deps(setup).replace("path = \"deps\"", paths);
    let task = task(&lab, &project);
    // One in which nothing was left is there as well: what a run writes goes with it.
    let script =
        "cat deps/x packages/a/deps/x ~/tool/x; ls packages/b; echo more | tee packages/a/deps/x >packages/b/deps/x";
    for how in ["deps sealed task", "deps hit task"] {
        let run = lab.enter(&task, &["sh", "-c", script]).ok();
        assert_eq!(run.stdout, "root\na\nhome\nREADME\ndeps\n", "{}", run.stderr);
        assert_eq!(found(&lab), [how]);
        if how.contains("sealed") {
            run.says(&["Left out packages/b/other/, packages/b/z: the setup of the cache deps made it outside"]);
        }
    }
    assert_eq!(ls(&lab).len(), 1);
    assert!(["a", "b"].iter().all(|name| !workspace(&lab).path.join(format!("packages/{name}/deps")).exists()));
    lab.assert_baseline();
    // A copy for programs of the host, of each place in the workspace.
    let words = ["enter", "--materialize", &task, "--", "true"];
    lab.dev.envctl(words).ok().says(&["Copying the cache deps to deps", "Copying the cache deps to packages/a/deps"]);
    assert_eq!(std::fs::read(workspace(&lab).path.join("packages/a/deps/x")).unwrap(), b"a\n");
    // Another package is another entry.
    workspace(&lab).write("packages/c/README", "");
    lab.sh(&task, "true");
    assert_eq!(found(&lab), ["deps sealed task"]);
}

#[test]
fn what_a_tool_downloads_is_there_once_for_all_of_its_caches() {
    let lab = Lab::new();
    lab.repo.write("Cargo.lock", "1");
    lab.repo.write(".gitignore", "target\n");
    let target = "[[cache]]\npreset = \"cargo-target\"\nnetwork = \"none\"\nsetup = '''cd ~/.cargo/registry\n\
                  test -e crate || echo loaded >crate; cp crate /workspace/target/built; echo more >>crate'''\n";
    let script = "cat target/built ~/.cargo/registry/crate";
    // One setup makes both.
    lab.repo.write("envctl.toml", target);
    let task = lab.publish(&ImageBuilder::busybox());
    assert_eq!(lab.sh(&task, script), "loaded\nloaded\nmore\n");
    assert_eq!((found(&lab), ls(&lab).len()), (vec!["cargo-target sealed task".to_owned()], 1));
    // Of two, whatever their order, the one finds what the other has.
    let cargo = "[[cache]]\npreset = \"cargo\"\nnetwork = \"none\"\nsetup = 'echo fetched >~/.cargo/registry/crate'\n";
    workspace(&lab).write("envctl.toml", format!("{target}{cargo}"));
    assert_eq!(lab.sh(&task, script), "fetched\nfetched\n");
    assert_eq!(found(&lab), ["cargo-target sealed task", "cargo sealed task"]);
    assert_eq!(lab.sh(&task, script), "fetched\nfetched\n");
    assert_eq!(found(&lab), ["cargo-target hit task", "cargo hit task"]);
    lab.assert_baseline();
}
