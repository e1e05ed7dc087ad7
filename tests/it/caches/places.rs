//! The place of a cache is a folder like any other to the programs inside: it can
//! be removed, made again and moved.

use super::{deps, task, workspace};
use crate::support::{Alive, Lab};

#[test]
fn a_place_is_removed_made_again_and_moved_as_every_folder_is() {
    for lab in [Lab::new(), Lab::unprivileged()] {
        lab.repo.write("lock", "1");
        // A setup does so as well.
        let task = task(&lab, &deps("rm -rf deps && mkdir deps && mkdir deps/sub && echo one > deps/sub/file"));
        let script = "rmdir deps 2>/dev/null && echo lost; cat deps/sub/file; \
                      rm -rf deps && test ! -e deps && mkdir deps && ls -A deps && echo two > deps/new; \
                      cat deps/new; mv deps moved && test ! -e deps && cat moved/new; \
                      mkdir -p deps/deeper && mkdir other && mv other deps/deeper && rm -rf deps; \
                      mv moved deps && cat deps/new && rm -r deps && mkdir deps && echo three > deps/three";
        assert_eq!(lab.sh(&task, script), "one\ntwo\ntwo\ntwo\n");
        // What was written there is gone, and counted.
        assert!(lab.report()["receipt"]["caches"][0]["entries"].as_u64().unwrap() > 0);
        assert!(!workspace(&lab).path.join("deps").exists());
        assert_eq!(lab.sh(&task, "cat deps/sub/file; ls deps"), "one\nsub\n");
        lab.assert_baseline();
        // Another runtime of this workspace has its tree at the same place, and keeps it.
        let alive = Alive::start(&lab, &task, "");
        let script = "rm -rf deps && mkdir deps && echo two > deps/new && cat deps/new && rm -r deps && mkdir -p deps";
        assert_eq!(lab.dev.envctl(["enter", "--fresh", &task, "--", "sh", "-c", script]).ok().stdout, "two\n");
        assert_eq!(lab.dev.envctl(["exec", &task, "--", "cat", "deps/sub/file"]).ok().stdout, "one\n");
        drop(alive);
    }
}
