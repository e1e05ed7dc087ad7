//! Limits: what is kept is kept, and what is not is said.

use super::both;
use crate::support::ImageBuilder;

#[test]
fn memory_is_watched_where_no_cgroup_is_delegated() {
    for lab in both() {
        lab.repo.write("envctl.toml", "[runtime]\nlimits = { memory = \"64M\", cpus = 1.0 }\n");
        let task = lab.publish(&ImageBuilder::busybox());
        // Grows without end.
        let run = lab.enter(&task, &["sh", "-c", "tail /dev/zero; echo killed with $?"]).ok();
        assert_eq!(run.stdout, "killed with 137\n", "{}", run.stderr);
        let limits = &lab.report()["limits"];
        if limits["memory"] == "watched" {
            assert!(run.stderr.contains("memory is watched"), "{}", run.stderr);
        }
        if limits["cpus"] == "none" {
            assert!(run.stderr.contains("processor time is not limited"), "{}", run.stderr);
        }
        // What fits is left alone.
        lab.enter(&task, &["sh", "-c", "head -c 20000000 /dev/zero | wc -c; sleep 0.5"]).ok();
    }
}

#[test]
fn processes_are_counted() {
    for lab in both() {
        lab.repo.write("envctl.toml", "[runtime]\nlimits = { processes = 20 }\n");
        let task = lab.publish(&ImageBuilder::busybox());
        let script = "n=0; while test $n -lt 60; do sleep 100 & n=$((n+1)); done 2>/dev/null; jobs -p | wc -l";
        let run = lab.enter(&task, &["sh", "-c", script]).run();
        let kept = lab.report()["limits"]["processes"].as_str().unwrap().to_owned();
        match kept.as_str() {
            // A shell that cannot fork gives up.
            "rlimit" | "cgroup" => assert!(run.code != 0 || run.stdout.trim().parse::<u32>().unwrap() < 21, "{run:?}"),
            _ => assert!(run.stderr.contains("the number of processes is not limited"), "{run:?}"),
        }
        lab.assert_baseline();
    }
}
