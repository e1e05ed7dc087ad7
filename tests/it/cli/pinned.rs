//! What people read, word for word: the results and the errors of each command.
//! After a change on purpose: `INSTA_UPDATE=always cargo test --test it cli::pinned`.

use std::fmt::Write as _;

use regex::Regex;

use crate::support::{Home, ImageBuilder, Lab, Run};

/// Without what differs from run to run and from machine to machine.
struct Plain {
    rules: Vec<(Regex, &'static str)>,
    folders: Vec<(String, &'static str)>,
}

impl Plain {
    fn new(folders: &[(String, &'static str)]) -> Self {
        let rules = [
            (r"envctl-it-[A-Za-z0-9]+", "LAB"),
            (r"linux/[a-z0-9]+", "linux/ARCH"),
            (r"sha256:[0-9a-f]{64}", "sha256:DIGEST"),
            (r"\b[0-9a-f]{64}\b", "DIGEST"),
            (r"\b[0-9a-f]{40}\b", "COMMIT"),
            (r"\b[0-9a-f]{7,32}\b", "SHORT"),
            (
                r"[0-9]{4}-[0-9][0-9]-[0-9][0-9][T ][0-9][0-9]:[0-9][0-9](:[0-9][0-9])?(\.[0-9]+)?(Z|[+-][0-9][0-9]:[0-9][0-9])?",
                "TIME",
            ),
            (r"[0-9]{4}-[0-9][0-9]-[0-9][0-9]", "DAY"),
            (r"\b[0-9]+(\.[0-9]+)? (ns|µs|ms|s|min|h|days?|hours?|minutes?|seconds?)\b", "A WHILE"),
            (r"\b[0-9]+(\.[0-9]+)? ?([kKMGT]i?B|bytes|B)\b", "SIZE"),
            (r"in [0-9]+d( [0-9]+h)?", "in DAYS"),
            (r"in [0-9]+h( [0-9]+m)?", "in HOURS"),
            (r"\b[0-9]{8}T[0-9]{6}Z(-[0-9]+)?\b", "STAMP"),
            (r"\b[0-9.]+s\b", "SECONDS"),
            (r"\bprocess [0-9]+", "process PID"),
            (r"\b[0-9]+ gone", "N gone"),
            // Who measures depends on the machine.
            (r"\((largest process|runtime)\)", "(PEAK)"),
            (r"\bpid [0-9]+", "pid PID"),
            (r"127\.0\.0\.1:[0-9]+", "127.0.0.1:PORT"),
        ];
        let rules = rules.map(|(pattern, name)| (Regex::new(&pattern.replace("\\b", "(?-u:\\b)")).unwrap(), name));
        Plain { rules: rules.into(), folders: folders.to_vec() }
    }

    fn text(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (folder, name) in &self.folders {
            text = text.replace(folder, name);
        }
        for (pattern, name) in &self.rules {
            text = pattern.replace_all(&text, *name).into_owned();
        }
        // Columns are as wide as what stands in them.
        let runs = Regex::new("  +").unwrap();
        let lines = text.lines().map(|line| {
            let indented = line.len() - line.trim_start().len();
            " ".repeat(indented) + &runs.replace_all(line.trim(), "  ")
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    fn add(&self, page: &mut String, words: &[&str], run: &Run) {
        let words: Vec<String> = words.iter().map(|word| self.text(word)).collect();
        let _ = writeln!(page, "$ envctl {}", words.join(" "));
        for (stream, text) in [("", &run.stdout), ("! ", &run.stderr)] {
            for line in in_one_order(self.text(text).lines().collect()) {
                let _ = writeln!(page, "{stream}{line}");
            }
        }
        let _ = writeln!(page, "({})\n", run.code);
    }
}

/// The image and the workspace come at the same time: the image is told first.
fn in_one_order(mut lines: Vec<&str>) -> Vec<&str> {
    let at = |lines: &[&str], beginning: &str| lines.iter().position(|line| line.trim_start().starts_with(beginning));
    if let (Some(pulled), Some(restored)) = (at(&lines, "Pulled "), at(&lines, "Restored ")) {
        let line = lines.remove(pulled);
        lines.insert(if pulled < restored { restored - 1 } else { restored }, line);
    }
    lines
}

#[test]
fn what_each_command_says() {
    let lab = Lab::new();
    let task = lab.publish(&ImageBuilder::busybox());
    let folders = [
        (lab.store.name(), "STORE"),
        (lab.dev.path("").display().to_string(), "HOME/"),
        (lab.dev.path("").parent().unwrap().display().to_string(), "ABOVE"),
        (lab.repo.path.display().to_string(), "CHECKOUT"),
    ];
    let plain = Plain::new(&folders);
    let mut page = String::new();
    for words in [
        &["enter", &task, "--", "true"][..],
        &["enter", &task, "--", "sh", "-c", "echo changed >>README; exit 3"],
        &["show", &task],
        &["tasks", "--store", &lab.store.name()],
        &["status"],
        &["log", &task],
        &["diff", &task],
        &["artifacts", "ls", &task],
        &["cache", "ls"],
        &["approve", "--list"],
        &["gc", "--dry-run"],
        &["workspace", "ls"],
        &["ports", "ls"],
        &["enter", &task, "--detach", "--", "sleep", "600"],
        &["exec", &task, "--", "sh", "-c", "echo inside; exit 4"],
        &["ports", "ls", &task],
        &["extend", &task, "2h"],
        &["status", &task],
        &["logs", &task],
        &["reset", &task],
        &["prefetch", &task],
        &["view", &task, "--output", "page.html"],
        &["fixture", "ls", "--store", &lab.store.name()],
        &["costs"],
        &["workspace", "path", &task],
        &["workspace", "rm", &task],
        &["workspace", "rm", &task, "--yes"],
        &["workspace", "recover"],
        &["help", "guide"],
    ] {
        plain.add(&mut page, words, &lab.dev.envctl(words).run());
    }
    insta::assert_snapshot!(page);
}

#[test]
fn what_each_command_says_when_it_cannot() {
    let home = Home::new();
    let folders = [(home.path("").display().to_string(), "HOME/")];
    let plain = Plain::new(&folders);
    let mut page = String::new();
    for words in [
        &["enter", "task-1"][..],
        &["enter", "oci:absent:task-1"],
        &["enter", "no such task"],
        &["exec", "task-1", "--", "true"],
        &["reset", "task-1"],
        &["run", "--", "true"],
        &["publish", "task-1"],
        &["show", "task-1"],
        &["tasks"],
        &["log", "task-1"],
        &["diff", "a", "b"],
        &["artifacts", "ls", "task-1"],
        &["cache", "key"],
        &["prefetch", "task-1"],
        &["extend", "task-1", "1h"],
        &["ports", "add", "task-1", "3000"],
        &["workspace", "path", "task-1"],
        &["workspace", "rm", "task-1"],
        &["logs", "task-1"],
        &["view", "task-1"],
        &["fixture", "create", "data", "--as", "data"],
        &["fixture", "ls"],
        &["status", "task-1"],
        &["costs", "--by", "nothing"],
        &["gc", "--older-than", "soon"],
        &["doctor", "now"],
        &["completions", "csh"],
        &["approve", "task-1"],
        &["approve", "--host", "not a host"],
        &["init"],
        &["help", "nothing"],
        &["nothing"],
        &["--store", "nothing", "tasks"],
    ] {
        plain.add(&mut page, words, &home.envctl(words).run());
    }
    insta::assert_snapshot!(page);
}
