//! What is asked of somebody who leaves a shell with changes.

use std::fs;
use std::path::PathBuf;

use rustix::termios::LocalModes;

use crate::support::{ImageBuilder, Lab, Terminal, until};
use crate::workspaces::salvages;

const DOWN: &str = "\x1b[B";

/// Enters in a terminal, changes something, and leaves.
fn leaving(lab: &Lab, task: &str, script: &str) -> Terminal {
    let mut terminal = Terminal::open(&lab.dev, &["enter", task], (24, 120));
    terminal.sees("$ ");
    terminal.types(&format!("{script}; exit 3\r"));
    terminal
}

fn workspace(lab: &Lab, task: &str) -> PathBuf {
    lab.dev.envctl(["workspace", "path", task]).ok().stdout.trim().into()
}

/// A workspace that was published from, and is made anew from what the task is now.
#[test]
fn the_greeting_of_a_fresh_workspace_is_of_what_it_was_made_from() {
    let lab = Lab::new();
    let image = lab.images.add("image", &ImageBuilder::busybox()).reference;
    let store = lab.store.name();
    let publish = |words: &[&str]| {
        lab.agent.envctl(["publish", "t", "--store", &store, "--image", &image]).args(words).cwd(&lab.repo.path)
    };
    publish(&["--message", "the first"]).ok();
    let task = lab.store.reference("t");
    let path = lab.dev.envctl(["enter", &task, "--no-runtime"]).ok().stdout;
    lab.dev.envctl(["publish", "--message", "the second"]).cwd(path.trim()).ok();
    publish(&["--yes", "--message", "the third"]).ok();
    let mut terminal = Terminal::open(&lab.dev, &["enter", &task, "--refresh"], (24, 120));
    terminal.sees("the third");
    terminal.sees("$ ");
    terminal.types("exit\r");
    assert_eq!(terminal.ends(), Some(0));
}

#[test]
fn whoever_just_goes_keeps_everything() {
    let lab = Lab::new();
    let task = lab.publish(&ImageBuilder::busybox());
    for answer in ["\r", "\x1b", "\x03"] {
        let mut terminal = leaving(&lab, &task, "echo mine >mine");
        terminal.sees("the workspace holds changes");
        terminal.sees("What do you want to do with it");
        terminal.sees("discard");
        // Until the question is read key by key, Ctrl-C is a signal.
        until("it is asked", || !terminal.modes().local_modes.contains(LocalModes::ICANON));
        terminal.types(answer);
        assert_eq!(terminal.ends(), Some(3), "the shell's own exit code");
        assert!(!terminal.rest().contains("error:"), "{answer:?} is an answer");
        assert_eq!(fs::read_to_string(workspace(&lab, &task).join("mine")).unwrap(), "mine\n");
    }
    assert!(salvages(&lab.dev).is_empty());
    lab.assert_baseline();
}

both!(handing_back);
fn handing_back(lab: Lab) {
    let task = lab.publish(&ImageBuilder::busybox());
    let before = lab.dev.envctl(["show", &task, "--json"]).ok().json();
    let mut terminal = leaving(&lab, &task, "echo mine >mine; echo more >>README");
    // What was changed is named, its lines are shown, and then it is asked again.
    terminal.sees("M README");
    terminal.sees("A mine");
    terminal.sees("What do you want to do with it");
    terminal.types("\x1b[A");
    terminal.types("\r");
    terminal.sees("+more");
    terminal.sees("+mine");
    terminal.sees("What do you want to do with it");
    let lines = lab.dev.envctl(["diff", &task, "--patch"]).ok().stdout;
    assert!(lines.contains("file       A mine") && lines.contains("+more"), "{lines}");
    terminal.types(DOWN);
    terminal.types("\r");
    terminal.sees("A message");
    terminal.types("the discount is for members\r");
    terminal.sees("Handed back");
    assert_eq!(terminal.ends(), Some(3));
    let after = lab.agent.envctl(["show", &task, "--json"]).ok().json();
    assert_eq!(after["identity"]["parent"], before["digest"], "{after}");
    assert_eq!(after["identity"]["handoff"]["status"], "handed-back");
    assert_eq!(after["identity"]["handoff"]["message"], "the discount is for members");
    // Nothing is left to ask for, and nothing changed since.
    lab.dev.envctl(["diff", &task]).ok().says(&["nothing has changed"]);
    let mut terminal = Terminal::open(&lab.dev, &["enter", &task], (24, 120));
    terminal.sees("handed-back");
    terminal.sees("the discount is for members");
    terminal.types("cat mine; exit 3\r");
    assert_eq!(terminal.ends(), Some(3));
    let agent = lab.agent.envctl(["enter", &task, "--no-runtime"]).ok().stdout;
    assert_eq!(fs::read_to_string(PathBuf::from(agent.trim()).join("mine")).unwrap(), "mine\n");
    lab.assert_baseline();
}

#[test]
fn a_hand_back_that_fails_loses_nothing() {
    let lab = Lab::new();
    let task = lab.publish(&ImageBuilder::busybox());
    let mut terminal = leaving(&lab, &task, "echo mine >mine");
    terminal.sees("What do you want to do with it");
    // Meanwhile the task moves on.
    lab.repo.write("theirs", "x");
    let (_, name) = task.rsplit_once(':').unwrap();
    let image = lab.images.reference(name);
    let words = ["publish", name, "--store", &lab.store.name(), "--image", &image];
    lab.agent.envctl(words).cwd(&lab.repo.path).ok();
    terminal.types(DOWN);
    terminal.types("\r");
    terminal.sees("A message");
    terminal.types("\r");
    terminal.sees("stop: publish nothing");
    until("it is asked", || !terminal.modes().local_modes.contains(LocalModes::ICANON));
    terminal.types("\x1b[A");
    terminal.types("\r");
    terminal.sees("has moved since");
    terminal.sees("the workspace as it is");
    assert_eq!(terminal.ends(), Some(3));
    assert_eq!(fs::read_to_string(workspace(&lab, &task).join("mine")).unwrap(), "mine\n");
}

#[test]
fn discarding_salvages() {
    let lab = Lab::new();
    let task = lab.publish(&ImageBuilder::busybox());
    let mut terminal = leaving(&lab, &task, "echo mine >mine");
    terminal.sees("What do you want to do with it");
    terminal.types(DOWN);
    terminal.types(DOWN);
    terminal.types("\r");
    terminal.sees("Set aside");
    assert_eq!(terminal.ends(), Some(3));
    assert!(!workspace(&lab, &task).join("mine").exists());
    let kept = salvages(&lab.dev);
    let kept = PathBuf::from(kept[0]["path"].as_str().unwrap());
    assert_eq!(fs::read_to_string(kept.join("mine")).unwrap(), "mine\n");
    lab.assert_baseline();
}

#[test]
fn nobody_is_asked_without_need() {
    let lab = Lab::new();
    let task = lab.publish(&ImageBuilder::busybox());
    // No changes.
    let mut terminal = leaving(&lab, &task, "ls");
    assert_eq!(terminal.ends(), Some(3));
    // No questions, by word or by nature.
    for words in [
        &["enter", "--no-input", &task] as &[&str],
        &["enter", "--yes", &task],
        &["enter", &task, "--", "sh", "-c", "echo more >mine; exit 3"],
    ] {
        let mut terminal = Terminal::open(&lab.dev, words, (24, 80));
        if !words.contains(&"--") {
            terminal.sees("$ ");
            terminal.types("echo mine >mine; exit 3\r");
        }
        assert_eq!(terminal.ends(), Some(3), "{words:?}");
    }
    let run = lab.dev.envctl(["enter", &task]).stdin("echo piped >mine; exit 4\n").code(4);
    assert!(!run.stderr.contains("What do you want"), "{}", run.stderr);
    assert_eq!(fs::read_to_string(workspace(&lab, &task).join("mine")).unwrap(), "piped\n");
    assert!(salvages(&lab.dev).is_empty());
    lab.assert_baseline();
}
