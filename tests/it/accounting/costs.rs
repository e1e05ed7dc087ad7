//! The ledger, and what is made of it.

use std::fs;
use std::io::Write;

use serde_json::Value;

use crate::run::{run, task};
use crate::support::{Alive, Lab, until};

fn ledger(lab: &Lab) -> Vec<Value> {
    let text = fs::read_to_string(lab.dev.state().join("ledger.jsonl")).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

both!(every_lease_has_a_line);
fn every_lease_has_a_line(lab: Lab) {
    let task = task(&lab);
    lab.enter(&task, &["sh", "-c", "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; exit 3"]).code(3);
    run(&lab, &["--keep", "--agent", "ada"], &task, "true").ok();
    lab.dev.envctl(["enter", "--detach", &task, "--", "true"]).ok();
    until("the detached one has ended", || ledger(&lab).len() == 3);
    let lines = ledger(&lab);
    let made: Vec<&str> = lines.iter().map(|line| line["made_by"].as_str().unwrap()).collect();
    assert_eq!(made, ["enter", "run", "detached"]);
    assert_eq!((&lines[0]["exit_code"], &lines[0]["reason"]), (&3.into(), &"exit".into()));
    for line in &lines {
        assert!(line["wall_ms"].as_u64().unwrap() > 0, "{line}");
        assert!(line["peak_memory"].as_u64().unwrap() > 100_000, "{line}");
        assert_eq!(line["branch"], "main");
    }
    // Who ran pays.
    assert_eq!((&lines[0]["agent"], &lines[1]["agent"]), (&Value::Null, &"ada".into()));
    assert!(lines[0]["cpu_ms"].as_u64().unwrap() > 10, "{}", lines[0]);
    assert!(lines[0]["pulled_bytes"].as_u64().unwrap() > 100_000, "the image: {}", lines[0]);
    assert_eq!((&lines[1]["pulled_bytes"], &lines[1]["cache_misses"]), (&0.into(), &0.into()));
}

#[test]
fn what_nobody_counted_is_unknown() {
    let lab = Lab::new();
    let task = task(&lab);
    Alive::start(&lab, &task, "").kill_owner().assert_gone();
    lab.dev.envctl(["status"]).ok();
    let lines = ledger(&lab);
    assert_eq!((&lines[0]["reason"], &lines[0]["cpu_ms"]), (&"owner-died".into(), &Value::Null));
    let text = lab.dev.envctl(["costs"]).ok().stdout;
    assert!(text.contains("1 run,") && text.contains("cpu unknown, peak unknown"), "{text}");
    // How long it lived was seen, and it is the task's.
    assert!(lines[0]["wall_ms"].as_u64().is_some(), "{}", lines[0]);
    let row = lab.dev.envctl(["costs", "--json"]).ok().json()["rows"][0].clone();
    assert_eq!((&row["name"], &row["cpu_ms"]["known"]), (&task.as_str().into(), &Value::Null));
}

#[test]
fn money_by_task_branch_agent_and_week() {
    let lab = Lab::new();
    let task = task(&lab);
    run(&lab, &[], &task, "true").ok();
    run(&lab, &[], &task, "true").ok();
    let rows = |by: &str| lab.dev.envctl(["costs", "--by", by, "--json"]).ok().json()["rows"].clone();
    for by in ["task", "branch", "agent", "week"] {
        let rows = rows(by);
        assert_eq!((rows.as_array().unwrap().len(), &rows[0]["leases"]), (1, &2.into()), "{by}: {rows}");
        assert_eq!(rows[0]["cost"], Value::Null, "there is no rate");
    }
    assert_eq!((&rows("task")[0]["name"], &rows("agent")[0]["name"]), (&task.as_str().into(), &Value::Null));
    lab.dev.write("config/envctl/config.toml", "[cost]\nrate_per_hour = 36.0\nminimum_seconds = 60\n");
    let row = &rows("task")[0];
    assert!((row["cost"].as_f64().unwrap() - 1.2).abs() < 0.001, "{row}");
    assert_eq!((&row["above_target"], &row["suggestion"]["timeout"]), (&true.into(), &"1m".into()));
    let text = lab.dev.envctl(["costs"]).ok().stdout;
    for part in ["2 runs", "cost 1.2000", "above the target of 0.1", "timeout = \"1m\"", "memory = \""] {
        assert!(text.contains(part), "{part}: {text}");
    }
    // Who has spent all of it runs nothing, and whoever has some left no longer than that.
    let capped = "[cost]\nrate_per_hour = 36.0\nminimum_seconds = 60\ncap = 0.5\n";
    lab.dev.write("config/envctl/config.toml", capped);
    run(&lab, &[], &task, "true").code(125).says(&["has spent 1.20 in 30 days, and may spend 0.50"]);
    run(&lab, &["--agent", "ada"], &task, "true").ok().says(&["Budget", "it ends in 50s"]);
    // Another machine that has the store counts it, and nobody does who has no cap.
    let other = lab.with_developer(crate::support::Home::new());
    run(&other, &["--agent", "ada"], &task, "true").ok();
    other.dev.write("config/envctl/config.toml", capped);
    let refused = run(&other, &["--agent", "ada"], &task, "true").code(125);
    refused.says(&["the agent ada has spent 1.20 in 30 days, and may spend 0.50"]);
    run(&other, &["--agent", "bob"], &task, "true").ok();
    run(&lab, &["--agent", "bob"], &task, "true").code(125).says(&["the agent bob has spent 0.60"]);
    // It is in no list of tasks, and no task can be called so.
    let tasks = lab.dev.envctl(["tasks", "--store", &lab.store.name(), "--json"]).ok().stdout;
    assert!(!tasks.contains("spending-v1"), "{tasks}");
    let nothing = lab.dev.envctl(["costs", "--since", "1s", "--json"]).env("ENVCTL_TEST_NOW", "4000000000").ok().json();
    assert_eq!(nothing["rows"].as_array().unwrap().len(), 0);
}

#[test]
fn damaged_lines_are_counted_and_stop_nothing() {
    let lab = Lab::new();
    let task = task(&lab);
    run(&lab, &[], &task, "true").ok();
    let path = lab.dev.state().join("ledger.jsonl");
    fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"schema\":1,\"lea").unwrap();
    run(&lab, &[], &task, "true").ok();
    let costs = lab.dev.envctl(["costs"]).ok().says(&["1 lines of the ledger cannot be read"]);
    assert!(costs.stdout.contains("2 runs"), "{}", costs.stdout);
    // A folder in its place is no reason not to run.
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    run(&lab, &[], &task, "true").ok();
    lab.enter(&task, &["true"]).ok();
}
