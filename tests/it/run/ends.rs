//! However a run ends, its runtime is gone.

use std::fs;
use std::io::{BufRead, BufReader};

use rustix::process::{Pid, Signal, kill_process};

use super::{report, root_task, run, task};
use crate::support::{Lab, Marker, in_time};

both!(the_exit_code_passes_and_the_output_is_kept);
fn the_exit_code_passes_and_the_output_is_kept(lab: Lab) {
    let task = task(&lab);
    let ran = run(&lab, &[], &task, "echo out; echo err >&2; cat; exit 3").stdin("in\n").code(3);
    assert_eq!(ran.stdout, "out\nin\n");
    assert!(ran.stderr.contains("err\n"), "{}", ran.stderr);
    let report = report(&lab);
    assert_eq!((&report["exit_code"], &report["leases"][0]["commands"][0]["exit_code"]), (&3.into(), &3.into()));
    assert_eq!(report["receipt"]["baseline"], true);
    let log = fs::read_to_string(report["log"].as_str().unwrap()).unwrap();
    let mut lines: Vec<&str> = log.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["err", "in", "out"]);
    // Each has a runtime of its own.
    run(&lab, &["--keep"], &task, "touch /tmp/a; test -e kept || touch kept").ok();
    run(&lab, &["--keep"], &task, "test ! -e /tmp/a && test -e kept").ok();
    lab.dev.envctl(["run", &task, "--", "no-such-program"]).code(127).says(&["cannot run no-such-program"]);
    lab.assert_baseline();
}

both!(there_is_always_a_deadline);
fn there_is_always_a_deadline(lab: Lab) {
    let task = task(&lab);
    let marker = Marker::new();
    let script = format!("trap '' TERM HUP; sh -c 'trap \"\" TERM HUP; sleep 1000; :' {} & sleep 1000; :", marker.0);
    in_time(|seconds| {
        let ran = run(&lab, &["--timeout", &format!("{seconds}s")], &task, &script).run();
        (ran.code == 124).then(|| ran.says(&["reached its deadline"]))
    });
    assert_eq!(report(&lab)["receipt"]["reason"], "deadline");
    marker.assert_gone();
    // Without a word from anybody it is eight hours.
    let mut child = run(&lab, &[], &task, "echo ready; read line").spawn();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let status = lab.dev.envctl(["status"]).ok().stdout;
    assert!(status.contains("ends in 7h 59m") || status.contains("ends in 8h"), "{status}");
    drop(child.stdin.take());
    assert_eq!(child.wait().unwrap().code(), Some(1));
    lab.assert_baseline();
}

/// Cancels a run while its script waits; its exit code.
fn cancel(lab: &Lab, task: &str, script: &str, signals: &[Signal]) -> Option<i32> {
    let mut child = run(lab, &["--keep"], task, &format!("{script}\necho ready; while :; do sleep 0.1; done")).spawn();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    for signal in signals {
        kill_process(Pid::from_child(&child), *signal).unwrap();
    }
    child.wait().unwrap().code()
}

#[test]
fn a_signal_ends_all_of_it() {
    // For one of both: it takes its time.
    let lab = Lab::unprivileged();
    let task = task(&lab);
    let marker = Marker::new();
    assert_eq!(cancel(&lab, &task, "trap 'touch asked; exit 0' TERM", &[Signal::TERM]), Some(143));
    assert_eq!(report(&lab)["cancelled"], "SIGTERM");
    assert_eq!(report(&lab)["receipt"]["reason"], "cancelled");
    run(&lab, &["--keep"], &task, "rm asked").ok();
    // Those who left the command's session are asked as well.
    let other = "setsid sh -c 'trap \"touch other-asked; exit 0\" TERM; touch up; while :; do sleep 0.1; done' &
        trap '' INT TERM; until test -e up; do sleep 0.05; done";
    assert_eq!(cancel(&lab, &task, other, &[Signal::INT]), Some(130));
    run(&lab, &["--keep"], &task, "rm other-asked").ok();
    // Who does not listen goes after a while, or at once at the second time.
    let deaf = format!("trap '' TERM INT HUP; setsid sh -c 'trap \"\" TERM HUP; sleep 1000; :' {} &", marker.0);
    assert_eq!(cancel(&lab, &task, &deaf, &[Signal::TERM]), Some(143));
    marker.assert_gone();
    assert_eq!(cancel(&lab, &task, &deaf, &[Signal::INT, Signal::TERM]), Some(130));
    marker.assert_gone();
    assert!(lab.receipts().iter().all(|receipt| receipt["baseline"] == true));
    lab.assert_baseline();
}

both!(what_it_wrote_outside_the_workspace_is_named_and_gone);
fn what_it_wrote_outside_the_workspace_is_named_and_gone(lab: Lab) {
    let task = root_task(&lab);
    let script =
        "echo 1 >/usr-new; rm /etc/passwd; mkdir -p /opt/x; echo 22 >/opt/x/tool; echo w >in-workspace; touch /tmp/t";
    let ran = run(&lab, &[], &task, script).ok();
    let outside = &report(&lab)["leases"][0]["outside"];
    assert_eq!(outside["paths"], serde_json::json!(["/usr-new", "- /etc/passwd", "/opt/x/tool"]), "{outside}");
    assert!(ran.stderr.contains("2 written, 1 removed"), "{}", ran.stderr);
    // Also of a run that its deadline ended.
    in_time(|seconds| {
        let script = "touch /late; trap '' TERM HUP; while :; do sleep 0.1; done";
        let ran = run(&lab, &["--timeout", &format!("{seconds}s")], &task, script).run();
        (ran.code == 124 && report(&lab)["leases"][0]["outside"]["paths"] == serde_json::json!(["/late"])).then_some(())
    });
    let ran = run(&lab, &[], &task, "test ! -e /late").ok();
    assert!(!ran.stderr.contains("Outside"), "{}", ran.stderr);
}

#[test]
fn case_46_secrets_are_not_in_the_log() {
    let lab = Lab::new();
    lab.repo.write("envctl.toml", "[runtime]\nsecrets = [\"TOKEN\"]\n");
    lab.dev.write("config/envctl/config.toml", "[secrets]\nTOKEN = \"env:MY_TOKEN\"\n");
    let task = task(&lab);
    let value = format!("value-{}-secret", std::process::id());
    let refused = run(&lab, &[], &task, "true").env("MY_TOKEN", &value).code(125);
    let digest = refused.stderr.split("--digest ").nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
    lab.dev.envctl(["approve", "--digest", &digest]).ok();
    let ran = run(&lab, &[], &task, "echo \"it is $TOKEN.\"").env("MY_TOKEN", &value).ok();
    assert_eq!(ran.stdout, format!("it is {value}.\n"), "the output is the command's own");
    let log = fs::read_to_string(report(&lab)["log"].as_str().unwrap()).unwrap();
    assert_eq!(log, "it is [secret].\n");
}
