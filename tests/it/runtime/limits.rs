//! Limits: what is kept is kept, and what is not is said.

use crate::support::{ImageBuilder, Lab, in_time};

both!(memory_is_watched_where_no_cgroup_is_delegated);
fn memory_is_watched_where_no_cgroup_is_delegated(lab: Lab) {
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
    // Who was ended, and why, is said and kept.
    let words = ["tail, which had", "was ended for using too much memory", "may use 67.1 MB"];
    let end = &lab.report()["receipt"]["out_of_memory"];
    if end["program"].is_string() {
        words.iter().for_each(|word| assert!(run.stderr.contains(word), "{word}: {}", run.stderr));
    }
    assert_eq!((&end["limit"], &end["ended"]), (&(64 << 20).into(), &1.into()), "{end}");
    // What does not fit into `/tmp` ends the program that writes it, and nothing else.
    let full = "cat /dev/zero >/tmp/x || echo full; rm /tmp/x; echo alive";
    let run = lab.enter(&task, &["sh", "-c", full]).ok().says(&["No space left"]);
    assert_eq!(run.stdout, "full\nalive\n", "{}", run.stderr);
    // What fits is left alone.
    lab.enter(&task, &["sh", "-c", "head -c 20000000 /dev/zero | wc -c; sleep 0.5"]).ok();
}

both!(processes_are_counted);
fn processes_are_counted(lab: Lab) {
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

#[test]
fn what_cannot_be_kept_can_be_refused() {
    let lab = crate::support::Lab::new();
    lab.repo.write("envctl.toml", "[runtime]\nlimits = { cpus = 1.0 }\n");
    let task = lab.publish(&ImageBuilder::busybox());
    lab.enter(&task, &["true"]).ok();
    let kept = lab.report()["limits"]["cpus"] == "cgroup";
    lab.dev.write("config/envctl/config.toml", "[limits]\nrequired = true\n");
    let run = lab.enter(&task, &["true"]).run();
    assert_eq!((run.code == 0, run.stderr.contains("the limit of cpus cannot be kept")), (kept, !kept), "{run:?}");
    lab.assert_baseline();
}

#[test]
fn a_shell_ends_when_nothing_is_done_in_it_and_says_so_before() {
    let lab = crate::support::Lab::new();
    let task = lab.publish(&ImageBuilder::busybox());
    let soon = ["this runtime reaches its deadline in", "has reached its deadline"];
    in_time(|seconds| {
        let words = ["enter", "--timeout", &format!("{seconds}s"), &task, "--", "sleep", "1000"];
        let run = lab.dev.envctl(words).code(124);
        soon.iter().all(|text| run.stderr.contains(text)).then_some(())
    });
    lab.dev.write("config/envctl/config.toml", "[enter]\nidle = \"1s\"\n");
    let idle = ["nothing is done in this runtime: it ends in", "nothing was done in it for too long"];
    lab.enter(&task, &["sleep", "1000"]).code(124).says(&idle);
    assert_eq!(lab.report()["receipt"]["reason"], "idle");
    // Who computes is not idle.
    let busy = "end=$(($(date +%s) + 3)); while test $(date +%s) -lt $end; do :; done; echo done";
    assert_eq!(lab.enter(&task, &["sh", "-c", busy]).ok().stdout, "done\n");
    lab.assert_baseline();
}
