//! Runtimes that outlive the terminal: joined, extended, ended by deadline,
//! by their command, by hand, and by force.

use std::fs;

use serde_json::Value;

use crate::support::{Alive, ImageBuilder, Lab, Marker, Stopped, Terminal, in_time, until};

/// Starts one; its lease.
fn detach(lab: &Lab, task: &str, args: &[&str]) -> Value {
    lab.dev.envctl([&["enter", "--detach", "--json", task], args].concat()).ok().json()
}

fn kill(process: &Value) {
    let pid = rustix::process::Pid::from_raw(process["pid"].as_i64().unwrap() as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

fn gone(lab: &Lab) {
    until("the runtime has gone", || fs::read_dir(lab.dev.state().join("runtimes")).unwrap().next().is_none());
    lab.assert_baseline();
}

both!(it_is_there_until_it_is_reset);
fn it_is_there_until_it_is_reset(lab: Lab) {
    let task = lab.publish(&ImageBuilder::busybox());
    let lease = detach(&lab, &task, &[]);
    assert_eq!(lease["detached"], true);
    assert!(lease["deadline"].as_u64().unwrap() > 0, "{lease}");
    let run = |words: &[&str]| lab.dev.envctl(words).ok().stdout;
    run(&["exec", &task, "--", "sh", "-c", "echo from-one-terminal >/tmp/note"]);
    // Entering joins it, and leaving does not end it.
    assert_eq!(run(&["enter", &task, "--", "cat", "/tmp/note"]), "from-one-terminal\n");
    assert_eq!(run(&["enter", &task, "--", "cat", "/tmp/note"]), "from-one-terminal\n");
    let status = run(&["status"]);
    assert!(status.contains("ends in 7h 59m") || status.contains("ends in 8h"), "{status}");
    lab.dev.envctl(["enter", "--fresh", &task, "--", "cat", "/tmp/note"]).code(1);
    for (words, hint) in [
        (vec!["--network", "host"], "--fresh"),
        (vec!["--publish", "3000"], "ports add"),
        (vec!["--timeout", "1h"], "extend"),
    ] {
        let words = [&["enter", &task], &words[..], &["--", "true"]].concat();
        lab.dev.envctl(words).code(125).says(&["running already", hint]);
    }
    let again = detach(&lab, &task, &[]);
    assert_eq!(again["id"], lease["id"], "one is enough");
    let reset = lab.dev.envctl(["reset", "--json", &task]).ok().json();
    assert_eq!((&reset["baseline"], &reset["receipts"][0]["reason"]), (&true.into(), &"reset".into()), "{reset}");
    gone(&lab);
}

both!(it_ends_with_its_command_whose_words_are_kept);
fn it_ends_with_its_command_whose_words_are_kept(lab: Lab) {
    let task = lab.publish(&ImageBuilder::busybox());
    let script = "echo out; echo err >&2; until test -e /tmp/go; do sleep 0.05; done";
    let lease = detach(&lab, &task, &["--", "sh", "-c", script]);
    // The runtime may end before this one has.
    lab.dev.envctl(["exec", &task, "--", "touch", "/tmp/go"]).run();
    gone(&lab);
    let (_, name) = task.rsplit_once(':').unwrap();
    let log = std::path::Path::new(lease["log"].as_str().unwrap());
    // The last word comes when the runtime is gone.
    let whole = format!("out\nerr\n     Ended {name}: exit code 0\n");
    until("the log is whole", || fs::read_to_string(log).unwrap() == whole);
    assert_eq!(lab.receipts()[0]["reason"], "exit");
}

#[test]
fn a_command_that_cannot_be_started_leaves_word() {
    let lab = Lab::new();
    let task = lab.publish(&ImageBuilder::busybox());
    let lease = detach(&lab, &task, &["--", "nosuch"]);
    gone(&lab);
    let says =
        |file: &str, what: &str| fs::read_to_string(lab.dev.state().join(file)).unwrap_or_default().contains(what);
    until("its log says why", || says(lease["log"].as_str().unwrap(), "nosuch could not be started"));
    until("the ledger has its exit code", || says("ledger.jsonl", "\"exit_code\":127"));
}

both!(one_of_several_is_named_by_its_lease);
fn one_of_several_is_named_by_its_lease(lab: Lab) {
    let task = lab.publish(&ImageBuilder::busybox());
    let waits = ["--", "sh", "-c", "echo $0; sleep 1000", "first"];
    let first = detach(&lab, &task, &waits);
    let second = detach(&lab, &task, &["--fresh"]);
    let (first_id, second_id) = (first["id"].as_str().unwrap(), second["id"].as_str().unwrap());
    assert_ne!(first_id, second_id);
    let run = |words: &[&str]| lab.dev.envctl(words).ok().stdout;
    run(&["exec", &task, "--lease", first_id, "--", "touch", "/tmp/first"]);
    // Without a lease it is the newest; a lease may be cut short.
    lab.dev.envctl(["exec", &task, "--", "test", "-e", "/tmp/first"]).code(1);
    run(&["exec", &task, "--lease", &first_id[..6], "--", "test", "-e", "/tmp/first"]);
    let status = run(&["status", "--verbose"]);
    assert!(status.contains(first_id) && status.contains(second_id), "{status}");
    assert!(status.contains(first["log"].as_str().unwrap()) && second["log"].is_null(), "{status}");
    let longer = |id: &str| lab.dev.envctl(["extend", &task, "1h", "--json", "--lease", id]).ok().json();
    assert!(longer(first_id)["deadline"].as_u64() > first["deadline"].as_u64());
    assert_eq!(run(&["ports", "ls", &task, "--lease", second_id]), "");
    for words in [&["exec", &task, "--lease", "nosuch", "--", "true"][..], &["extend", &task, "--lease", "", "1h"]] {
        let refused = lab.dev.envctl(words).run();
        assert!([3, 125].contains(&refused.code), "{refused:?}");
        refused.says(&["no running runtime with the lease", "envctl status"]);
    }
    for _ in 0..2 {
        // What has ended already is as it was wanted.
        let reset = lab.dev.envctl(["reset", &task, "--lease", first_id, "--json"]).ok().json();
        assert_eq!(reset["baseline"], true);
    }
    lab.dev.envctl(["reset", &task, "--lease", "nosuch"]).code(3);
    lab.dev.envctl(["reset", &task, "--lease", ""]).code(3);
    run(&["exec", &task, "--lease", second_id, "--", "true"]);
    run(&["reset", &task]);
    gone(&lab);
}

/// Of seventeen IDs two begin alike.
#[test]
fn a_start_that_several_leases_have_names_none() {
    let lab = Lab::new();
    let task = lab.publish(&ImageBuilder::busybox());
    let mut starts = Vec::new();
    let shared = loop {
        let start = detach(&lab, &task, &["--fresh"])["id"].as_str().unwrap()[..1].to_owned();
        if starts.contains(&start) {
            break start;
        }
        starts.push(start);
    };
    for words in [&["reset", &task, "--lease", &shared][..], &["extend", &task, "--lease", &shared, "1h"]] {
        lab.dev.envctl(words).code(2).says(&["several runtimes begin with", "give more of it"]);
    }
    let reset = lab.dev.envctl(["reset", &task, "--json"]).ok().json();
    assert_eq!(reset["receipts"].as_array().unwrap().len(), starts.len() + 1);
    gone(&lab);
}

/// What was asked for and cannot be done is no success.
#[test]
fn a_running_task_is_not_detached_again() {
    let lab = Lab::new();
    let task = lab.publish(&ImageBuilder::busybox());
    detach(&lab, &task, &[]);
    let again = |args: &[&str]| lab.dev.envctl([&["enter", "--detach", &task], args].concat());
    again(&["--", "true"]).code(2).says(&["running already", "envctl exec", "--fresh"]);
    again(&["--no-services"]).ok();
    lab.dev.envctl(["reset", &task]).ok();
    let mut terminal = Terminal::open(&lab.dev, &["enter", &task], (24, 80));
    terminal.sees("$ ");
    again(&[]).code(2).says(&["running already", "--fresh"]);
    lab.dev.envctl(["enter", "--timeout", "1h", &task, "--", "true"]).code(125).says(&["without a deadline"]);
    terminal.types("exit\r");
    assert_eq!(terminal.ends(), Some(0));
    lab.assert_baseline();
}

both!(it_survives_its_terminal);
fn it_survives_its_terminal(lab: Lab) {
    let task = lab.publish(&ImageBuilder::busybox());
    let mut terminal = Terminal::open(&lab.dev, &["enter", "--detach", &task], (24, 80));
    terminal.sees("Detached");
    assert_eq!(terminal.ends(), Some(0));
    drop(terminal);
    lab.dev.envctl(["exec", &task, "--", "true"]).ok();
    lab.dev.envctl(["reset", &task]).ok();
    gone(&lab);
}

both!(what_cannot_start_is_told_to_the_one_who_started_it);
fn what_cannot_start_is_told_to_the_one_who_started_it(lab: Lab) {
    let image = ImageBuilder::busybox().layer(crate::support::Layer::new([crate::support::Entry::file("proc", "")]));
    let task = lab.publish(&image);
    lab.dev.envctl(["enter", "--detach", &task]).code(5).says(&["error:", "/proc", "hint:"]);
    gone(&lab);
}

both!(case_37_whoever_is_killed_the_rest_goes_too);
fn case_37_whoever_is_killed_the_rest_goes_too(lab: Lab) {
    let task = lab.publish(&ImageBuilder::busybox());
    let marker = Marker::new();
    // Its own tree ignores signals and has left its session.
    let script = "trap '' TERM HUP INT; setsid sh -c 'trap \"\" TERM HUP; sleep 1000; :' \"$0\" & sleep 1000; :";
    for who in ["owner", "init"] {
        let lease = detach(&lab, &task, &["--", "sh", "-c", script, &marker.0]);
        until("it runs", || marker.processes().len() >= 2);
        kill(&lease[who]);
        marker.assert_gone();
        lab.dev.envctl(["status"]).ok();
        gone(&lab);
    }
    let reasons: Vec<String> =
        lab.receipts().iter().map(|receipt| receipt["reason"].as_str().unwrap().to_owned()).collect();
    assert_eq!(reasons.len(), 2, "{reasons:?}");
    assert!(reasons.contains(&"owner-died".to_owned()), "{reasons:?}");
}

both!(a_deadline_asks_first);
fn a_deadline_asks_first(lab: Lab) {
    let task = lab.publish(&ImageBuilder::busybox());
    let script = "trap 'echo asked; exit 3' TERM; echo ready; while :; do sleep 0.05; done";
    let run = in_time(|seconds| {
        let words = ["enter", "--timeout", &format!("{seconds}s"), &task, "--", "sh", "-c", script];
        Some(lab.dev.envctl(words).run()).filter(|run| run.stdout.starts_with("ready"))
    });
    let run = run.code(124);
    assert_eq!(run.stdout, "ready\nasked\n");
    assert!(run.stderr.contains("deadline"), "{}", run.stderr);
    assert_eq!(lab.receipts()[0]["baseline"], true);
    lab.assert_baseline();
}

#[test]
fn a_deadline_may_be_over_before_the_command_has_begun() {
    let lab = Lab::new();
    let task = lab.publish(&ImageBuilder::busybox());
    let words = ["enter", "--timeout", "1s", &task, "--", "true"];
    let stopped = Stopped::at("enter.started", lab.dev.envctl(words));
    std::thread::sleep(std::time::Duration::from_millis(1100));
    stopped.fails(124, "has reached its deadline");
    assert_eq!(lab.receipts()[0]["reason"], "deadline");
    lab.assert_baseline();
}

both!(a_deadline_does_not_wait_for_those_who_do_not_listen);
fn a_deadline_does_not_wait_for_those_who_do_not_listen(lab: Lab) {
    let task = lab.publish(&ImageBuilder::busybox());
    let marker = Marker::new();
    let script = "trap '' TERM HUP INT; setsid sh -c 'trap \"\" TERM HUP; sleep 1000; :' \"$0\" & sleep 1000; :";
    // Who has joined is told, and ends with it.
    let run = in_time(|seconds| {
        let timeout = format!("{}s", 2 + seconds);
        detach(&lab, &task, &["--timeout", &timeout, "--", "sh", "-c", script, &marker.0]);
        let run = lab.dev.envctl(["exec", &task, "--", "sh", "-c", "trap '' TERM HUP; sleep 1000; :"]).run();
        gone(&lab);
        Some(run).filter(|run| run.code == 124)
    });
    assert!(run.stderr.contains("deadline"), "{}", run.stderr);
    marker.assert_gone();
    assert_eq!(lab.receipts()[0]["reason"], "deadline");
}

both!(a_deadline_can_be_moved);
fn a_deadline_can_be_moved(lab: Lab) {
    let task = lab.publish(&ImageBuilder::busybox());
    let (before, after, timeout) = in_time(|seconds| {
        let timeout = 1 + seconds;
        let before = detach(&lab, &task, &["--timeout", &format!("{timeout}s")]);
        let run = lab.dev.envctl(["extend", "--json", &task, "1h"]).run();
        (run.code == 0).then(|| (before, run.json(), timeout))
    });
    assert_eq!(after["deadline"].as_u64().unwrap() / 1000, before["deadline"].as_u64().unwrap() / 1000 + 3600);
    std::thread::sleep(std::time::Duration::from_secs(timeout));
    lab.dev.envctl(["exec", &task, "--", "true"]).ok();
    lab.dev.envctl(["reset", &task]).ok();
    lab.dev.envctl(["extend", &task, "1h"]).code(3).says(&["no running runtime"]);
    let alive = Alive::start(&lab, &task, "");
    lab.dev.envctl(["extend", &task, "1h"]).code(2).says(&["no deadline"]);
    alive.kill_owner().assert_gone();
}

both!(reset_and_a_fresh_shell_at_once);
fn reset_and_a_fresh_shell_at_once(lab: Lab) {
    let task = lab.publish(&ImageBuilder::busybox());
    detach(&lab, &task, &[]);
    lab.dev.envctl(["exec", &task, "--", "touch", "/tmp/old"]).ok();
    let mut terminal = Terminal::open(&lab.dev, &["reset", &task, "--enter"], (24, 80));
    terminal.sees("$ ");
    terminal.types("ls /tmp; echo all-$((40+2))\r");
    terminal.sees("all-42");
    terminal.types("exit 7\r");
    assert_eq!(terminal.ends(), Some(7));
    gone(&lab);
    assert_eq!(lab.receipts().len(), 2);
}

#[test]
fn logs_are_found_by_the_task() {
    let lab = Lab::new();
    let project = "[[service]]\nname = \"web\"\ncommand = [\"sh\", \"-c\", \"printf 'from the \\\\033[2Jservice\\\\n'; sleep 1000\"]\n\
        [[cache]]\nname = \"deps\"\npath = \"deps\"\nsetup = \"echo of a setup; touch deps/x\"\n";
    lab.repo.write("envctl.toml", project);
    lab.repo.write(".gitignore", "deps\n");
    let task = lab.publish(&ImageBuilder::busybox());
    lab.dev.envctl(["logs", &task]).code(3).says(&["this machine has no log of", "for 30 days"]);
    lab.dev.envctl(["run", &task, "--", "sh", "-c", "echo of a run"]).ok();
    assert_eq!(lab.dev.envctl(["logs", &task]).ok().stdout, "of a run\n");
    assert_eq!(lab.dev.envctl(["logs", &task, "deps"]).ok().stdout, "of a setup\n");
    let script = "echo one; printf '\\033[2Jtwo\\n'; until [ -e /tmp/go ]; do sleep 0.05; done; echo three";
    lab.dev.envctl(["enter", "--detach", &task, "--", "sh", "-c", script]).ok();
    crate::support::until("it has printed", || lab.dev.envctl(["logs", &task]).ok().stdout.contains("two"));
    let printed = lab.dev.envctl(["logs", &task]).ok().stdout;
    assert_eq!(printed, "one\n\\u{1b}[2Jtwo\n", "{printed}");
    assert_eq!(lab.dev.envctl(["logs", &task, "web"]).ok().stdout, "from the \\u{1b}[2Jservice\n");
    lab.dev.envctl(["logs", &task, "other"]).code(3).says(&["there are: deps, web"]);
    let following = lab.dev.envctl(["logs", "--follow", &task]).spawn();
    // The runtime may end before this one has.
    lab.dev.envctl(["exec", &task, "--", "touch", "/tmp/go"]).run();
    let followed = following.wait_with_output().unwrap();
    let followed = String::from_utf8_lossy(&followed.stdout).into_owned();
    assert!(followed.starts_with("one\n\\u{1b}[2Jtwo\nthree\n"), "{followed}");
    let listed = lab.dev.envctl(["logs", "--list", "--json", &task]).ok().json();
    let kinds: Vec<_> = listed["logs"].as_array().unwrap().iter().map(|row| row["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["detached", "run", "setup"], "{listed}");
    assert_eq!(listed["logs"][2]["cache"], "deps");
    lab.assert_baseline();
}
