//! What a run publishes, and what the human sees who enters then.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{root_task, run, show, task};
use crate::support::{Answer, Asked, ImageBuilder, Lab, Liar, Terminal, Way, until};

fn names(lab: &Lab, task: &str) -> Vec<String> {
    let rows = lab.agent.envctl(["artifacts", "ls", task, "--json"]).ok().json();
    let mut names: Vec<String> =
        rows["artifacts"].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

fn handoff(lab: &Lab, task: &str) -> Value {
    show(lab, task)["identity"]["handoff"].clone()
}

both!(however_it_ends_it_is_published);
fn however_it_ends_it_is_published(lab: Lab) {
    let task = task(&lab);
    let first = show(&lab, &task)["digest"].clone();
    run(&lab, &["--publish", "--message", "done?"], &task, "echo 1 >work").ok();
    let now = show(&lab, &task);
    assert_eq!((&now["identity"]["parent"], &now["identity"]["handoff"]["status"]), (&first, &"working".into()));
    assert_eq!(handoff(&lab, &task)["message"], "done?");
    run(&lab, &["--publish"], &task, "echo 2 >work; echo broken >&2; exit 7").code(7);
    let failed = handoff(&lab, &task);
    assert_eq!((&failed["status"], &failed["exit_code"]), (&"needs-human".into(), &7.into()));
    assert!(failed["command"].as_str().unwrap().contains("exit 7"), "{failed}");
    assert!(failed["message"].as_str().unwrap().contains("exit code 7"), "{failed}");
    assert_eq!(names(&lab, &task), ["costs.jsonl", "run.log"]);
    run(&lab, &["--publish", "--timeout", "1s", "--message", "long"], &task, "sleep 1000").code(124);
    let late = handoff(&lab, &task);
    assert_eq!((&late["status"], &late["exit_code"]), (&"needs-human".into(), &124.into()));
    assert_eq!(late["message"], "long (it reached its deadline)");
    let mut child = run(&lab, &["--publish"], &task, "echo ready; sleep 1000").spawn();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(143));
    assert_eq!(handoff(&lab, &task)["message"], "it was cancelled by SIGTERM");
    run(&lab, &["--publish", "--status", "closed"], &task, "true").ok();
    assert_eq!(handoff(&lab, &task)["status"], "closed");
    let log = lab.agent.envctl(["log", &task, "--json"]).ok().json();
    assert_eq!(log["identities"].as_array().unwrap().len(), 6, "{log}");
}

/// What follows a run may wait for somebody, and is not given up at the first word.
#[test]
fn a_signal_that_comes_twice_ends_what_follows_a_run() {
    let lab = Lab::new();
    let name = task(&lab).rsplit_once(':').unwrap().1.to_owned();
    let silent = Arc::new(AtomicBool::new(false));
    let is_silent = silent.clone();
    let answers = move |_: &Asked, answer: Answer| match is_silent.load(Ordering::Relaxed) {
        true => answer.way(Way::Silent),
        false => answer,
    };
    let liar = Liar::over(&lab.store, answers);
    let mut child =
        run(&lab, &["--publish", "--net-timeout", "600"], &liar.task(&name), "echo ready; read line").spawn();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    silent.store(true, Ordering::Relaxed);
    let before = liar.asked().len();
    drop(child.stdin.take());
    until("it publishes", || liar.asked().len() > before);
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    let said = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(said.into_iter().any(|line| line.contains("the same signal again ends that")));
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(143));
}

/// What a killed run left says until when it was worked on.
#[test]
fn a_run_that_was_killed_needs_a_human() {
    let lab = Lab::new();
    let task = task(&lab);
    let mut child = run(&lab, &["--publish", "--every", "1s", "--timeout", "10m"], &task, "sleep 1000").spawn();
    until("it is published", || !handoff(&lab, &task)["ends_at"].is_null());
    kill_process(Pid::from_child(&child), Signal::KILL).unwrap();
    child.wait().unwrap();
    let store = lab.store.name();
    let waiting = |when: &str| {
        let now = lab.dev.call("date", ["-d", when, "+%s"]).ok().stdout;
        let args = ["tasks", "--store", &store, "--needs-human", "--json"];
        lab.dev.envctl(args).env("ENVCTL_TEST_NOW", now.trim()).ok().json()["tasks"].clone()
    };
    assert_eq!(waiting("now").as_array().unwrap().len(), 0);
    let late = waiting("11 minutes");
    assert_eq!((&late[0]["status"], &late[0]["overdue"]), (&"working".into(), &true.into()), "{late}");
    lab.agent.envctl(["gc"]).ok();
    // A run that ends says nothing of the kind.
    let other = self::task(&lab);
    run(&lab, &["--publish"], &other, "true").ok();
    assert!(handoff(&lab, &other)["ends_at"].is_null());
    lab.assert_baseline();
}

#[test]
fn it_is_published_while_it_runs() {
    let lab = Lab::new();
    let task = task(&lab);
    let mut child =
        run(&lab, &["--publish", "--every", "1s"], &task, "echo begun; echo so-far >work; read line; exit 2").spawn();
    let first = show(&lab, &task)["digest"].clone();
    until("it was published twice", || {
        let log = lab.agent.envctl(["log", &task, "--json"]).ok().json();
        log["identities"].as_array().unwrap().len() >= 3
    });
    let now = show(&lab, &task);
    assert_ne!(now["digest"], first);
    assert_eq!(now["identity"]["handoff"]["status"], "working");
    assert_eq!(names(&lab, &task), ["run.log"]);
    drop(child.stdin.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(handoff(&lab, &task)["status"], "needs-human");
    lab.assert_baseline();
}

both!(the_one_who_enters_sees_why);
fn the_one_who_enters_sees_why(lab: Lab) {
    let task = root_task(&lab);
    let script = "echo the words of the run; touch /opt-tool; printf '\\033[31m' >/dev/null; exit 9";
    run(&lab, &["--publish", "--message", "Which total?\u{1b}[2J", "--agent", "bot"], &task, script).code(9);
    let mut terminal = Terminal::open(&lab.agent, &["enter", &task], (40, 200));
    terminal.sees("needs-human, published by bot");
    terminal.sees("Which total?\\u{1b}[2J");
    terminal.sees("(exit code 9)");
    terminal.sees("/opt-tool");
    terminal.types("cat /run/envctl/artifacts/run.log; touch /run/envctl/artifacts/x; echo code-$?\r");
    terminal.sees("the words of the run");
    terminal.sees("Read-only file system");
    terminal.sees("code-1");
    terminal
        .types("cat /run/envctl/artifacts/outside-workspace.txt; rm -f /run/envctl/artifacts/run.log; echo code-$?\r");
    terminal.sees("/opt-tool");
    terminal.sees("code-1");
    terminal.types("exit 0\r");
    assert_eq!(terminal.ends(), Some(0));
    let quiet = lab.agent.envctl(["--quiet", "enter", &task, "--", "true"]).ok();
    assert_eq!(quiet.stderr, "");
}

#[test]
fn a_long_log_comes_along_by_its_end() {
    let lab = Lab::new();
    let task = task(&lab);
    let script = "i=0; while [ $i -lt 30000 ]; do echo \"line $i of a log that is quite long, with words to fill it\"; i=$((i+1)); done; echo the-very-end; exit 1";
    run(&lab, &["--publish"], &task, script).code(1);
    assert_eq!(names(&lab, &task), ["costs.jsonl", "run-end.log", "run.log"]);
    let ran = lab
        .agent
        .envctl([
            "enter",
            &task,
            "--",
            "sh",
            "-c",
            "ls /run/envctl/artifacts; tail -n 1 /run/envctl/artifacts/run-end.log",
        ])
        .ok();
    assert_eq!(ran.stdout, "costs.jsonl\nrun-end.log\nthe-very-end\n");
}

#[test]
fn case_48_a_log_with_a_credential_stays_here() {
    let lab = Lab::new();
    let task = task(&lab);
    // In two pieces, so that neither the command nor this file holds it.
    let script = "echo ghp_16C7e42F292c69''12E7710c838347Ae178B4a; exit 1";
    run(&lab, &["--publish"], &task, script).code(1).says(&["not attached", "run.log", "github"]);
    assert_eq!(names(&lab, &task), ["costs.jsonl"]);
    // What would stop the publish afterwards is told before.
    let said = concat!("ghp_", "16C7e42F292c6912E7710c838347Ae178B4a");
    let ran = run(&lab, &["--publish", "--message", said], &task, "echo it ran").code(125);
    assert_eq!(ran.stdout, "");
}

#[test]
fn a_task_that_moved_meanwhile_is_not_overwritten() {
    let lab = Lab::new();
    let task = task(&lab);
    run(&lab, &["--keep"], &task, "echo 1 >work").ok();
    let (_, id) = task.rsplit_once(':').unwrap();
    lab.repo.write("other", "x");
    let image = lab.images.add("again", &ImageBuilder::busybox()).reference;
    lab.agent.envctl(["publish", id, "--store", &lab.store.name(), "--image", &image]).cwd(&lab.repo.path).ok();
    let theirs = lab.dev.envctl(["show", &task, "--json"]).ok().json();
    run(&lab, &["--publish", "--keep"], &task, "echo 2 >work").ok().says(&["which this checkout has not seen"]);
    let shown = lab.dev.envctl(["show", &task, "--json"]).ok().json();
    assert_eq!(shown["digest"], theirs["digest"]);
    let line = shown["beside"][0]["reference"].as_str().unwrap();
    let place = lab.dev.envctl(["enter", line, "--no-runtime"]).ok().stdout;
    assert_eq!(std::fs::read_to_string(Path::new(place.trim()).join("work")).unwrap(), "2\n");
    // Beside it there is room.
    run(&lab, &["--publish", "--keep", "--as", "beside"], &task, "true").ok();
    run(&lab, &["--publish", "--keep", "--as", "beside"], &task, "exit 1").code(1);
    assert_eq!(handoff(&lab, &lab.store.reference("beside"))["status"], "needs-human");
    lab.assert_baseline();
}

#[test]
fn case_53_evidence_stays_while_somebody_uses_it() {
    let lab = Lab::new();
    let task = task(&lab);
    run(&lab, &["--publish", "--refresh"], &task, "echo the evidence; exit 1").code(1);
    lab.dev.envctl(["enter", &task, "--refresh", "--no-runtime"]).ok();
    // Later than evidence is kept, and sooner than the workspace goes.
    lab.dev.write("config/envctl/config.toml", "[artifacts]\nkeep = \"1d\"\n");
    let now = lab.dev.call("date", ["-d", "3 days", "+%s"]).ok().stdout;
    let later = || lab.dev.envctl(["gc", "--json"]).env("ENVCTL_TEST_NOW", now.trim());
    let script = "cat /run/envctl/artifacts/run.log; read line; cat /run/envctl/artifacts/run.log";
    let mut child = run(&lab, &["--keep"], &task, script).spawn();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    assert_eq!(line, "the evidence\n");
    let removed = later().ok().stdout;
    assert!(!removed.contains("\"artifact\""), "{removed}");
    drop(child.stdin.take());
    line.clear();
    output.read_line(&mut line).unwrap();
    assert_eq!(line, "the evidence\n");
    child.wait().unwrap();
    assert!(later().ok().stdout.contains("\"artifact\""));
    // It is gone here, which is no reason not to start.
    run(&lab, &["--keep"], &task, "test ! -e /run/envctl/artifacts/run.log").ok();
}

#[test]
fn case_47_hostile_words_of_a_handoff_do_not_reach_the_terminal() {
    let lab = Lab::new();
    let task = root_task(&lab);
    run(&lab, &["--publish"], &task, "touch \"/$(printf 'a\\033[2Jb')\"; exit 1").code(1);
    let shown = lab.dev.envctl(["show", &task]).ok().stdout;
    assert!(shown.contains("\\u{1b}[2J") && !shown.contains('\u{1b}'), "{shown}");
    let folder = lab.dev.envctl(["artifacts", "get", &task]).ok().stdout;
    let list = std::fs::read_to_string(Path::new(folder.trim()).join("outside-workspace.txt")).unwrap();
    assert_eq!(list, "/a\\u{1b}[2Jb\n");
}
