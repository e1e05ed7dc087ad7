//! stdout is data, stderr is everything else, and nothing from outside reaches
//! a terminal as it is.

use serde_json::Value;

use crate::support::{Call, ImageBuilder, Lab, Trip};

fn handoff(trip: &Trip, task: &str, status: &str, message: &str) -> String {
    trip.publishing(&trip.lab.repo, task)
        .args(["--status", status, "--message", message, "--command", "npm test"])
        .ok();
    trip.lab.store.reference(task)
}

#[test]
fn stdout_is_data_only() {
    let trip = Trip::new();
    let store = trip.lab.store.name();
    let task = trip.lab.store.reference("t");
    let published = trip.publishing(&trip.lab.repo, "t").ok();
    assert_eq!(published.stdout, format!("envctl enter {task}\n"));
    assert!(published.stderr.contains("Published"));
    let entered = trip.entering(&task).ok();
    assert_eq!(entered.stdout.lines().count(), 1);
    assert!(std::path::Path::new(entered.stdout.trim()).is_dir());
    let shown = trip.lab.dev.envctl(["show", &task]).ok();
    assert!(shown.stderr.is_empty() && shown.stdout.starts_with("task "), "{shown:?}");
    let listed = trip.lab.dev.envctl(["tasks", "--store", &store]).ok();
    assert!(listed.stderr.is_empty() && listed.stdout.starts_with("t "), "{listed:?}");
    let status = trip.lab.dev.envctl(["status"]).ok();
    assert!(status.stderr.is_empty() && status.stdout.starts_with("workspace "), "{status:?}");
    // Nothing to show is no data.
    let empty = Trip::new();
    let run = empty.lab.dev.envctl(["status"]).ok();
    assert!(run.stdout.is_empty() && run.stderr.contains("no runtime"), "{run:?}");
}

#[test]
fn the_runtime_s_own_words_do_not_mix_with_the_command_s() {
    let lab = Lab::new();
    let task = lab.publish(&ImageBuilder::busybox());
    let run = lab.enter(&task, &["sh", "-c", "echo out; echo err >&2"]).ok();
    assert_eq!(run.stdout, "out\n");
    assert!(run.stderr.contains("Entering") && run.stderr.contains("err\n"), "{}", run.stderr);
    let run = lab.enter(&task, &["sh", "-c", "echo out; echo err >&2"]).run();
    assert_eq!(run.stdout, "out\n");
    let args = ["enter", "--quiet", &task, "--", "sh", "-c", "echo out; echo err >&2"];
    let run = lab.dev.envctl(args).ok();
    assert_eq!((run.stdout.as_str(), run.stderr.as_str()), ("out\n", "err\n"));
}

#[test]
fn quiet_is_silent_on_success() {
    let trip = Trip::new();
    let store = trip.lab.store.name();
    trip.lab.repo.write("new", "x");
    let task = trip.lab.store.reference("t");
    let calls: [Call; 8] = [
        trip.publishing(&trip.lab.repo, "t"),
        trip.entering(&task),
        trip.entering(&task),
        trip.entering(&task).arg("--dry-run"),
        trip.lab.dev.envctl(["show", &task]),
        trip.lab.dev.envctl(["tasks", "--store", &store]),
        trip.lab.dev.envctl(["status"]),
        trip.lab.dev.envctl(["reset", "--all"]),
    ];
    for call in calls {
        let run = call.arg("--quiet").ok();
        assert_eq!(run.stderr, "", "{run:?}");
        assert_ne!(run.stdout, "");
    }
    // Errors are not silenced.
    trip.entering(&trip.lab.store.reference("nowhere")).arg("-q").code(3).says(&["error:"]);
}

#[test]
fn every_verb_prints_one_json_object() {
    let trip = Trip::new();
    let store = trip.lab.store.name();
    let task = trip.lab.store.reference("t");
    let keys = |call: Call, expected: &[&str]| {
        let run = call.arg("--json").ok();
        let json = run.json();
        let object = json.as_object().unwrap();
        for key in expected {
            assert!(object.contains_key(*key), "no {key} in {json}");
        }
        assert!(run.stdout.ends_with("}\n"));
        json
    };
    keys(trip.publishing(&trip.lab.repo, "t"), &["enter", "task", "identity", "snapshot", "commit", "image"]);
    keys(trip.entering(&task).arg("--dry-run"), &["task", "workspace", "warm", "bytes_missing"]);
    let report = keys(trip.entering(&task), &["schema", "task", "workspace", "steps", "cache", "parity"]);
    assert_eq!(report["parity"]["ok"], true);
    let names: Vec<&str> = report["steps"].as_array().unwrap().iter().map(|s| s["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["resolve", "fetch.snapshot", "fetch.repo", "hydrate.workspace"]);
    keys(trip.lab.dev.envctl(["show", &task]), &["task", "digest", "identity", "here"]);
    keys(trip.lab.dev.envctl(["tasks", "--store", &store]), &["store", "tasks"]);
    keys(trip.lab.dev.envctl(["log", &task]), &["task", "identities", "end"]);
    keys(trip.lab.dev.envctl(["diff", &task, &task]), &["a", "b", "same", "fields", "artifacts", "changes", "unknown"]);
    keys(trip.lab.dev.envctl(["artifacts", "ls", &task]), &["task", "identity", "artifacts", "skipped"]);
    keys(trip.lab.dev.envctl(["artifacts", "get", &task]), &["task", "identity", "artifacts", "folder", "bytes"]);
    keys(trip.lab.dev.envctl(["artifacts", "verify", &task]), &["ok", "artifacts"]);
    keys(trip.lab.dev.envctl(["status"]), &["leases", "workspaces"]);
    keys(trip.lab.dev.envctl(["reset", "--all"]), &["baseline", "receipts"]);
    keys(trip.lab.dev.envctl(["reset", &task]), &["baseline", "receipts"]);
    // An error is one, too.
    for args in
        [&["exec", &task, "--", "true"] as &[&str], &["show", "nowhere", "--store", &store], &["nonsense"], &["enter"]]
    {
        let run = trip.lab.dev.envctl(["--json"]).args(args).run();
        assert_eq!(run.json()["error"]["exit_code"], run.code, "{run:?}");
        assert_eq!(run.stderr, "");
    }
}

const HOSTILE: &str = "a\u{1b}[2J\u{1b}]0;title\u{7}b\nc\rd\u{9b}31m\u{202e}e\u{200b}f\tg";

/// Nothing but line breaks of our own.
#[track_caller]
fn assert_harmless(text: &str) {
    let bad = |c: char| (c.is_control() && c != '\n') || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}');
    assert!(!text.contains(bad), "{}", text.escape_debug());
}

#[test]
fn case_47_escape_sequences_in_messages() {
    let trip = Trip::new();
    let store = trip.lab.store.name();
    let args = ["--message", HOSTILE, "--command", HOSTILE, "--agent", HOSTILE, "--status", "needs-human"];
    trip.publishing(&trip.lab.repo, "t").args(args).ok();
    let task = trip.lab.store.reference("t");
    let calls = [
        trip.lab.dev.envctl(["tasks", "--store", &store]),
        trip.lab.dev.envctl(["show", &task]),
        trip.entering(&task),
        trip.lab.dev.envctl(["status"]),
    ];
    for call in calls {
        let run = call.ok();
        assert_harmless(&run.stdout);
        assert_harmless(&run.stderr);
    }
    let listed = trip.lab.dev.envctl(["tasks", "--store", &store]).ok().stdout;
    assert_eq!(listed.lines().count(), 1, "a message is one line: {listed}");
    assert!(listed.contains("\\u{1b}[2J"));
    for args in [&["tasks", "--store", &store] as &[&str], &["show", &task]] {
        let run = trip.lab.dev.envctl(args).arg("--json").ok();
        assert_harmless(&run.stdout);
        assert!(run.json().to_string().contains("\\u001b[2J"), "the value is kept");
    }
}

/// With a runtime the message is shown before the shell.
#[test]
fn case_47_escape_sequences_in_the_greeting() {
    let lab = Lab::new();
    let image = lab.images.add("base", &ImageBuilder::busybox()).reference;
    let args = ["publish", "t", "--store", &lab.store.name(), "--image", &image, "--message", HOSTILE];
    lab.agent.envctl(args).args(["--command", HOSTILE, "--status", "needs-human"]).cwd(&lab.repo.path).ok();
    let run = lab.dev.envctl(["enter", &lab.store.reference("t")]).stdin("exit 3\n").code(3);
    assert!(run.stderr.contains("Message") && run.stderr.contains("Last run"), "{}", run.stderr);
    assert_harmless(&run.stderr);
}

/// The names of files and branches that stand in messages.
#[test]
fn case_47_escape_sequences_in_names() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    let file = HOSTILE.replace('\u{9b}', "");
    repo.write(format!("{file}/x"), "x");
    repo.git(&["checkout", "--quiet", "-b", "agent/\u{202e}\u{9b}fix"]);
    let task = trip.publish(repo);
    for call in [trip.entering(&task), trip.lab.dev.envctl(["show", &task])] {
        let run = call.ok();
        assert_harmless(&run.stdout);
        assert_harmless(&run.stderr);
    }
    repo.git(&["init", "--quiet", repo.path.join(&file).join("nested").to_str().unwrap()]);
    let run = trip.publishing(repo, "t").ok();
    assert_harmless(&run.stderr);
    assert!(run.stderr.contains("git does not track"));
    // What a store or a caller says.
    let run = trip.entering("oci:/nowhere\u{1b}[2J:t").run();
    assert_ne!(run.code, 0);
    assert_harmless(&run.stderr);
    let run = trip.lab.dev.envctl(["enter", HOSTILE, "--no-runtime"]).code(2);
    assert_harmless(&run.stderr);
}

#[test]
fn a_dry_run_changes_nothing() {
    let trip = Trip::new();
    let task = trip.publish(&trip.lab.repo);
    let run = trip.entering(&task).arg("--dry-run").ok();
    for word in ["task ", "identity ", "image ", "workspace ", "network "] {
        assert!(run.stdout.lines().any(|line| line.starts_with(word)), "no {word:?} in {}", run.stdout);
    }
    assert!(run.stdout.contains("make "));
    trip.assert_nothing_made();
    trip.enter(&task);
    let run = trip.entering(&task).arg("--dry-run").ok();
    assert!(run.stdout.contains("carry on in") && run.stdout.contains("not needed"), "{}", run.stdout);
}

#[test]
fn tasks_that_wait_for_a_human() {
    let trip = Trip::new();
    handoff(&trip, "stuck", "needs-human", "the database does not start");
    handoff(&trip, "running", "working", "");
    handoff(&trip, "given-back", "handed-back", "done");
    handoff(&trip, "over", "closed", "");
    let store = trip.lab.store.name();
    let names = |args: &[&str]| -> Vec<String> {
        let json = trip.lab.dev.envctl(["tasks", "--store", &store, "--json"]).args(args).ok().json();
        json["tasks"].as_array().unwrap().iter().map(|row| row["task"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&["--needs-human"]), ["stuck"]);
    assert_eq!(names(&[]).len(), 4);
    let listed = trip.lab.dev.envctl(["tasks", "--store", &store, "--needs-human"]).ok().stdout;
    assert!(listed.contains("needs-human") && listed.contains("the database does not start"), "{listed}");
    // From the project's file and from the environment, too.
    trip.lab.repo.write("envctl.toml", format!("store = \"{store}\"\n"));
    trip.lab.agent.envctl(["approve", "--host", &store]).ok();
    let run = trip.lab.agent.envctl(["tasks", "--needs-human"]).cwd(&trip.lab.repo.path).ok();
    assert_eq!(run.stdout, listed);
    let run = trip.lab.dev.envctl(["tasks", "--needs-human"]).env("ENVCTL_STORE", &store).ok();
    assert_eq!(run.stdout, listed);
}

#[test]
fn mistakes_on_the_command_line() {
    let trip = Trip::new();
    for args in [
        &[] as &[&str],
        &["nonsense"],
        &["enter"],
        &["enter", "t", "--nonsense"],
        &["enter", "a/b", "--no-runtime"],
        &["enter", "-x"],
        &["enter", "oci:/x:t@sha256:00", "--no-runtime"],
        &["enter", "t", "--no-runtime", "--", "true"],
        &["publish", "id-1"],
        &["publish", "t", "--workdir", "/proc"],
        &["publish", "t", "--status", "nonsense"],
        &["reset"],
        &["reset", "t", "--all"],
        &["tasks", "--store", "nonsense"],
        &["tasks", "--color", "sometimes"],
    ] {
        let run = trip.lab.dev.envctl(args).code(2);
        assert_eq!(run.stdout, "", "{run:?}");
        assert_ne!(run.stderr, "");
        if args.is_empty() || args.contains(&"--") {
            continue;
        }
        let json = trip.lab.dev.envctl(["--json"]).args(args).code(2).json();
        assert_eq!(json["error"]["kind"], "usage");
    }
    let json = trip.lab.dev.envctl(["--json", "extend"]).code(2).json();
    assert!(json["error"]["message"].as_str().unwrap().contains("<TASK>"), "{json}");
    let json = trip.lab.dev.envctl(["--json", "diff"]).code(2).json();
    assert!(json["error"]["message"].as_str().unwrap().contains("no task is named"), "{json}");
    trip.lab.dev.envctl(["enter", "t", "--timeout", "5"]).code(2).says(&["not a duration", "hint:", "30s"]);
    let json = trip.lab.dev.envctl(["enter", "t", "--json", "-p", "8080/3000"]).code(2).json();
    assert!(json["error"]["hint"].as_str().unwrap().contains("8080:3000"), "{json}");
    for flag in ["--help", "--version"] {
        let run = trip.lab.dev.envctl([flag]).ok();
        assert!(run.stderr.is_empty() && !run.stdout.is_empty());
    }
    let empty: Value = trip.lab.dev.envctl(["status", "--json"]).ok().json();
    assert_eq!(empty["workspaces"], serde_json::json!([]));
}
