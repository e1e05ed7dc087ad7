//! What a developer gives a command along and is told: variables, a shell, one JSON
//! object, services that end, a greeting that one can read.

use crate::support::{ImageBuilder, Lab, Terminal, until};

/// It ends when it is let go.
const SERVICE: &str = r#"
[runtime]
ports = [3000]
[[service]]
name = "web"
command = ["sh", "-c", "echo $$ >/tmp/pid; while [ ! -e /workspace/go ]; do sleep 0.02; done; echo $GIVEN; exit 7"]
ready = "file:/tmp/pid"
"#;

const LET_GO: &str = "echo $GIVEN $HERE; touch go; while [ -d /proc/$(cat /tmp/pid) ]; do sleep 0.02; done; exit 3";

fn task(lab: &Lab) -> String {
    lab.repo.write("envctl.toml", SERVICE);
    let image = lab.images.add("base", &ImageBuilder::busybox()).reference;
    let words = ["publish", "t", "--store", &lab.store.name(), "--image", &image, "--status", "needs-human"];
    let message = "Which of the two totals gets the discount? ".repeat(4);
    let words = lab.agent.envctl(words).args(["--message", &message, "--command", "make test", "--exit-code", "2"]);
    words.cwd(&lab.repo.path).ok();
    lab.store.reference("t")
}

both!(a_command_with_variables_beside_a_service_that_ends);
fn a_command_with_variables_beside_a_service_that_ends(lab: Lab) {
    let task = task(&lab);
    let words = ["enter", "--json", "-e", "GIVEN=the reason", "--env", "HERE", &task, "--", "sh", "-c", LET_GO];
    let run = lab.dev.envctl(words).env("HERE", "two").code(3);
    // One object, and the command's own words beside it.
    assert_eq!((&run.json()["exit_code"], &run.json()["receipt"]["baseline"]), (&3.into(), &true.into()));
    run.says(&["the reason two", "the service web ended", "(exit code 7)", "it said: the reason"]);
    lab.dev.envctl(["enter", "-e", "NOT_SET_ANYWHERE", &task, "--", "true"]).code(125).says(&["-e NOT_SET_ANYWHERE="]);
    // Who comes later finds what the first one gave, and brings more.
    lab.dev.envctl(["enter", "--no-services", "--detach", "-e", "A=1", "-e", "B=0", &task]).ok();
    let sh = "echo $A$B";
    let joined = lab.dev.envctl(["exec", "--json", "-e", "B=2", &task, "--", "sh", "-c", sh]).ok();
    assert_eq!(joined.json()["exit_code"], 0);
    joined.says(&["12"]);
    let shell = lab.dev.envctl(["exec", "--shell", "/bin/ash", &task]).stdin("echo $0\n").ok();
    assert_eq!(shell.stdout, "/bin/ash\n");
    lab.dev.envctl(["reset", &task]).ok();
    lab.assert_baseline();
}

#[test]
fn the_greeting_takes_six_lines() {
    let lab = Lab::new();
    let task = task(&lab);
    lab.dev.envctl(["enter", "--no-runtime", &task]).ok();
    let mut terminal = Terminal::open(&lab.dev, &["enter", &task], (24, 80));
    until("there is a prompt", || terminal.rest().contains("$ "));
    terminal.types("exit\r");
    assert_eq!(terminal.ends(), Some(0));
    let text = terminal.rest().to_owned();
    let greeting: Vec<&str> = text.lines().map(str::trim_end).collect();
    let end = greeting.iter().position(|line| line.contains(" Leave")).expect(&text);
    let greeting = &greeting[greeting.iter().position(|line| line.contains("Entering")).unwrap()..=end];
    assert!(greeting.len() <= 6 && greeting.iter().all(|line| line.chars().count() < 80 + 12), "{greeting:#?}");
    for part in ["needs-human", "Which of the two", "make test", "3000 inside", "web (envctl logs t NAME)", "Ctrl-D"] {
        assert!(greeting.iter().any(|line| line.contains(part)), "{part}: {greeting:#?}");
    }
}
