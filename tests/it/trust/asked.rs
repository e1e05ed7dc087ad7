//! A question shows all of what it asks for, and nothing that a stranger wrote
//! stands outside of its line; what was agreed to is for all that takes effect.

use crate::support::{Call, ImageBuilder, Lab, Terminal};

/// A task whose project asks for this.
fn asking(lab: &Lab, project: &str) -> String {
    lab.repo.write("envctl.toml", project);
    lab.publish(&ImageBuilder::busybox())
}

fn setup(command: &str, more: &str) -> String {
    // A string in JSON is one in TOML.
    let command = serde_json::Value::from(command);
    format!("[[cache]]\nname = \"deps\"\npath = \"deps\"\nnetwork = \"host\"\nsetup = {command}\n{more}\n")
}

/// The digest that a refused command prints.
#[track_caller]
fn digest(call: Call) -> String {
    let run = call.code(125).says(&["not approved"]);
    run.stderr.split("--digest ").nth(1).unwrap().split_whitespace().next().unwrap().to_owned()
}

#[test]
fn a_command_begins_no_line_of_a_question() {
    let lab = Lab::new();
    let wide = " ".repeat(200);
    let task = asking(&lab, &setup(&format!("FIRST\nSECOND\r\u{2028}THIRD\u{1b}[2K{wide}FOURTH"), ""));
    let mut terminal = Terminal::open(&lab.dev, &["enter", &task], (24, 100));
    terminal.sees("FIRST\\nSECOND\\r");
    terminal.sees("\r\n           |     ");
    terminal.sees("FOURTH");
    terminal.sees("[y/N]");
    terminal.types("n\r");
    terminal.sees("Go on without all of this? [y/N]");
    terminal.types("n\r");
    assert_eq!(terminal.ends(), Some(125));
}

#[test]
fn the_digest_of_what_is_asked_for_is_shown() {
    let lab = Lab::new();
    let task = asking(&lab, &setup("true", "env = { A = \"one\" }"));
    let name = digest(lab.enter(&task, &["true"]));
    let mut terminal = Terminal::open(&lab.dev, &["enter", &task], (24, 100));
    terminal.sees("a host network for the setup of the cache deps, which fills deps: true");
    terminal.sees("in the setup of the cache deps, the variable A=one");
    terminal.sees(&name);
    terminal.sees("[y/N]");
    terminal.types("n\r");
    terminal.sees("Go on without all of this? [y/N]");
    terminal.types("n\r");
    assert_eq!(terminal.ends(), Some(125));
}

both!(what_does_not_fit_on_the_screen_is_not_asked);
fn what_does_not_fit_on_the_screen_is_not_asked(lab: Lab) {
    let secrets: Vec<String> = (0..300).map(|n| format!("\"SECRET_{n}\"")).collect();
    for project in [
        format!("[runtime]\nsecrets = [{}]\n", secrets.join(", ")),
        setup(&format!("true{}evil", "\n".repeat(60)).repeat(20), ""),
        setup(&format!("true{}evil", " ".repeat(5000)), ""),
    ] {
        let task = asking(&lab, &project);
        lab.dev.envctl(["enter", &task, "--no-runtime"]).ok();
        for (args, code) in [(&["enter", &task][..], 125), (&["approve", &task], 6)] {
            let mut terminal = Terminal::open(&lab.dev, args, (24, 100));
            terminal.sees("too long to be asked on this terminal");
            terminal.sees("envctl approve --digest sha256:");
            assert_eq!(terminal.ends(), Some(code));
            assert!(!terminal.rest().contains("[y/N]"));
        }
    }
}

#[test]
fn what_was_typed_before_a_question_is_no_answer_to_it() {
    let lab = Lab::new();
    let task = asking(&lab, "[runtime]\nnetwork = \"host\"\n");
    lab.dev.envctl(["enter", &task, "--no-runtime"]).ok();
    let typed = lab.dev.path("typed");
    let script = format!("until test -e {}; do sleep 0.05; done; exec \"$0\" approve {task}", typed.display());
    let mut terminal = Terminal::shell(&lab.dev, &script, lab.dev.binary().to_str().unwrap());
    terminal.types("y\ry\r");
    lab.dev.write("typed", "");
    terminal.sees("[y/N]");
    terminal.types("n\r");
    assert_eq!(terminal.ends(), Some(6));
    lab.dev.envctl(["approve", &task]).code(6);
}

/// Where nobody can be asked all of it can be read, one thing a line.
#[test]
fn approve_lists_what_it_cannot_ask() {
    let lab = Lab::new();
    let long = format!("true {} end", "x".repeat(9000));
    let task = asking(&lab, &(setup(&long, "") + "[runtime]\nsecrets = [\"ONE\", \"TWO\"]\n"));
    lab.dev.envctl(["enter", &task, "--no-runtime"]).ok();
    let run = lab.dev.envctl(["approve", &task]).code(6).says(&["3 things", "not approved", "--digest"]);
    let lines: Vec<&str> = run.stdout.lines().collect();
    assert_eq!(&lines[..2], ["the secret ONE", "the secret TWO"]);
    assert!(lines.len() == 3 && lines[2].ends_with(&long), "it is whole");
    let error = lab.dev.envctl(["approve", &task, "--json"]).code(6).json()["error"].clone();
    assert_eq!(error["details"].as_array().unwrap().len(), 3, "{error}");
}

both!(the_environment_of_a_setup_is_agreed_to_with_it);
/// The command was agreed to; what it does is in its variables.
fn the_environment_of_a_setup_is_agreed_to_with_it(lab: Lab) {
    let script = "sh -c \"$X\"";
    let project = |word: &str, own: bool| match own {
        true => setup(script, &format!("env = {{ X = \"echo {word} >deps/x\" }}")),
        false => setup(script, &format!("[runtime]\nenv = {{ X = \"echo {word} >deps/x\" }}")),
    };
    for own in [true, false] {
        // What is the same in another form needs no second word.
        let good = format!("good-{own}");
        let task = asking(&lab, &project(&good, own));
        let read = || lab.enter(&task, &["cat", "deps/x"]);
        let name = digest(read());
        lab.dev.envctl(["approve", "--digest", &name]).ok();
        assert_eq!(read().ok().stdout, format!("{good}\n"));
        let workspace = lab.dev.envctl(["workspace", "path", &task]).ok().stdout;
        std::fs::write(format!("{}/envctl.toml", workspace.trim()), project("evil", own)).unwrap();
        assert_ne!(digest(read()), name);
    }
}

both!(what_was_agreed_to_for_a_checkout_is_for_its_folder);
/// Any folder may say that it has the same remote.
fn what_was_agreed_to_for_a_checkout_is_for_its_folder(lab: Lab) {
    lab.repo.write("envctl.toml", "[runtime]\nsecrets = [\"TOKEN:env\"]\n");
    lab.agent.write("config/envctl/config.toml", "[secrets]\nTOKEN = \"env:TOKEN\"\n");
    let image = lab.images.add("here", &ImageBuilder::busybox()).reference;
    let run = |folder: &std::path::Path| {
        let words = ["run", "--image", &image, "--", "sh", "-c", "echo token is $TOKEN"];
        lab.agent.envctl(words).env("TOKEN", "hunter2-value").cwd(folder)
    };
    let folder = std::fs::canonicalize(&lab.repo.path).unwrap();
    run(&folder).code(125).says(&[&format!("the checkout {}", folder.display())]);
    let here = || lab.agent.envctl(["approve"]).cwd(&folder);
    let named = digest(run(&folder));
    let asked = here().code(6).says(&["not approved", &named]);
    assert!(asked.stdout.contains("the secret TOKEN"), "{}", asked.stdout);
    lab.agent.envctl(["approve", "--digest", &named]).ok();
    assert_eq!(here().ok().stdout, format!("approved   {named}\n"));
    run(&folder).ok();
    let link = lab.agent.path("link");
    lab.agent.call("ln", ["-s", folder.to_str().unwrap(), link.to_str().unwrap()]).ok();
    run(&link).ok();
    let other = lab.agent.path("other");
    lab.agent.call("cp", ["-a", folder.to_str().unwrap(), other.to_str().unwrap()]).ok();
    let run = run(&other).code(125).says(&["not approved", "other"]);
    assert!(!run.stdout.contains("token is"), "{run:?}");
}

/// What a setup makes of files that it does not name stays with the folder whose
/// files they are.
#[test]
fn what_a_checkout_sealed_is_for_its_folder() {
    let lab = Lab::new();
    lab.repo.write(".gitignore", "deps\n");
    lab.repo.write("make", "mkdir -p deps; echo mine >deps/x\n");
    let cache = "[[cache]]\nname = \"deps\"\npath = \"deps\"\nsetup = \"sh make\"\n";
    lab.repo.write("envctl.toml", cache);
    let theirs = lab.agent.path("theirs");
    lab.agent.call("cp", ["-a", lab.repo.path.to_str().unwrap(), theirs.to_str().unwrap()]).ok();
    lab.agent.write("theirs/make", "mkdir -p deps; echo theirs >deps/x\n");
    let image = lab.images.add("here", &ImageBuilder::busybox()).reference;
    let run = |folder: &std::path::Path| {
        let words = ["run", "--image", &image, "--", "cat", "deps/x"];
        lab.agent.envctl(words).cwd(folder).ok()
    };
    assert_eq!(run(&theirs).stdout, "theirs\n");
    assert_eq!(run(&lab.repo.path).stdout, "mine\n");
    let again = run(&theirs);
    assert!(again.stdout == "theirs\n" && !again.stderr.contains("Sealed"), "{again:?}");
}
