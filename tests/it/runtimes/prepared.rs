//! What a project has run before anybody's command.

use crate::support::{ImageBuilder, Lab, until};

const PREPARES: &str = "[runtime]\nonce = [\"echo once >>prepared; echo said; cat\", \"echo second >>prepared\"]\nstart = [\"echo start >>started\"]\n";

const LOOK: &str = "cat prepared started | tr '\\n' ' '";

fn task(lab: &Lab, project: &str) -> String {
    lab.repo.write("envctl.toml", project);
    lab.repo.commit("a project");
    lab.repo.push();
    lab.publish(&ImageBuilder::busybox())
}

both!(it_runs_once_in_a_workspace_and_at_each_start);
fn it_runs_once_in_a_workspace_and_at_each_start(lab: Lab) {
    let task = task(&lab, PREPARES);
    // It reads nothing of what the command is given, and says nothing in its place.
    let enter = |script: &str| lab.enter(&task, &["sh", "-c", script]).stdin("typed\n").ok();
    let first = enter(&format!("{LOOK}; cat"));
    assert_eq!(first.stdout, "once second start typed\n");
    assert!(first.stderr.contains("Preparing") && first.stderr.contains("once in this workspace"), "{}", first.stderr);
    let second = enter(LOOK);
    assert_eq!(second.stdout, "once second start start ");
    assert!(!second.stderr.contains("once in this workspace"), "{}", second.stderr);
    // Who joins starts nothing; a workspace that is made anew is prepared anew.
    lab.dev.envctl(["enter", "--detach", &task, "--", "sleep", "1000"]).ok();
    until("it has begun", || {
        lab.dev.envctl(["exec", &task, "--", "sh", "-c", LOOK]).ok().stdout.matches("start").count() == 3
    });
    assert_eq!(lab.dev.envctl(["exec", &task, "--", "sh", "-c", LOOK]).ok().stdout, "once second start start start ");
    lab.dev.envctl(["reset", &task]).ok();
    lab.dev.envctl(["reset", "--workspace", "--yes", &task]).ok();
    assert_eq!(enter(LOOK).stdout, "once second start ");
    let run = lab.dev.envctl(["run", "--fresh", &task, "--", "sh", "-c", LOOK]).ok();
    assert_eq!(run.stdout, "once second start ");
    lab.assert_baseline();
}

#[test]
fn what_fails_stops_what_follows_it_and_nobody_else() {
    let lab = Lab::new();
    let task =
        task(&lab, "[runtime]\nonce = [\"echo because >&2; exit 3\", \"touch never\"]\nstart = [\"touch never\"]\n");
    let run = lab.enter(&task, &["sh", "-c", "ls"]).ok();
    assert!(!run.stdout.contains("never"), "{}", run.stdout);
    let log = run.stderr.lines().find_map(|line| line.split("what it said: ").nth(1)).unwrap();
    assert!(run.stderr.contains("ended with exit code 3"), "{}", run.stderr);
    assert!(std::fs::read_to_string(log.trim()).unwrap().contains("because"));
    // It is not tried again by itself.
    let again = lab.enter(&task, &["sh", "-c", "ls"]).ok();
    assert!(again.stdout.contains("never") && !again.stderr.contains("exit code 3"), "{}", again.stderr);
    lab.assert_baseline();
}

#[test]
fn commands_of_a_devcontainer_run_in_their_order() {
    let lab = Lab::new();
    let file = r#"{
        "postStartCommand": "echo start >>all",
        "postCreateCommand": { "a": "echo four >>all", "b": ["sh", "-c", "echo 'five six' >>all"] },
        "updateContentCommand": "echo three >>all", // after the first
        "onCreateCommand": ["sh", "-c", "echo one two >>all"],
        "postAttachCommand": "echo never >>all"
    }"#;
    lab.repo.write(".devcontainer/devcontainer.json", file);
    lab.repo.commit("a devcontainer");
    lab.repo.push();
    let task = lab.publish(&ImageBuilder::busybox());
    assert_eq!(lab.sh(&task, "tr '\\n' ' ' <all"), "one two three four five six start ");
    // As a file of the project it says the same.
    let said = lab.agent.envctl(["init", "--from", "devcontainer", "--yes"]).cwd(&lab.repo.path).run();
    let written =
        std::fs::read_to_string(lab.repo.path.join("envctl.toml")).unwrap_or_else(|_| panic!("{}", said.stderr));
    assert!(written.contains("once = [") && written.contains("start = [\"echo start >>all\"]"), "{written}");
}

#[test]
fn a_signal_ends_a_run_that_is_being_prepared() {
    let lab = Lab::new();
    let task = task(&lab, "[runtime]\nonce = [\"sleep 1000\"]\n");
    let mut run = lab.dev.envctl(["run", "--fresh", &task, "--", "echo", "it went on"]).spawn();
    until("it is prepared", || lab.dev.envctl(["status"]).ok().stdout.contains("runtime"));
    std::thread::sleep(std::time::Duration::from_millis(300));
    let pid = rustix::process::Pid::from_raw(run.id() as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(run.wait().unwrap().code(), Some(143));
    let mut said = String::new();
    std::io::Read::read_to_string(run.stdout.as_mut().unwrap(), &mut said).unwrap();
    assert_eq!(said, "");
    lab.assert_baseline();
}
