//! Completion as people meet it: in their own shell, with the script that envctl has for
//! it, and a Tab.

use std::fs;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::path::Path;

use crate::support::{Alive, Call, Home, ImageBuilder, Lab, Terminal, publish};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// A command shows what it was given, and the script still finds the program.
const SHOWN: &str =
    "envctl() { if [ -n \"$ENVCTL_COMPLETE\" ]; then command envctl \"$@\"; else echo \"<$*>\"; fi; }\n";

fn with_store(lab: &Lab, call: Call) -> Call {
    let folder = lab.dev.binary().parent().unwrap().display().to_string();
    call.env("PATH", format!("{folder}:/usr/bin:/bin")).env("ENVCTL_STORE", lab.store.name())
}

/// An interactive shell with the script of `completions/`, where it is installed.
fn shell(lab: &Lab, name: &str) -> Option<Terminal> {
    let program = ["/usr/bin", "/bin"].iter().map(|folder| Path::new(folder).join(name)).find(|path| path.exists())?;
    let folder = lab.dev.binary().parent().unwrap().display();
    let env = format!("PATH={folder}:/usr/bin:/bin\nexport ENVCTL_STORE='{}'\nPS1='> '\n{SHOWN}", lab.store.name());
    let words: Vec<String> = match name {
        "bash" => {
            let rc = format!("{env}. {ROOT}/completions/envctl.bash\nbind 'set bell-style none'\n");
            lab.dev.write("shell/bashrc", rc);
            let rc = lab.dev.path("shell/bashrc").display().to_string();
            vec!["--noprofile".into(), "--rcfile".into(), rc, "-i".into()]
        }
        _ => {
            // As the guide says: a function of a folder of functions.
            let text = fs::read(format!("{ROOT}/completions/_envctl")).unwrap();
            lab.dev.write("shell/functions/_envctl", text);
            let functions = lab.dev.path("shell/functions");
            let rc = format!("{env}fpath=({} $fpath)\nautoload -Uz compinit\ncompinit -u -D\n", functions.display());
            lab.dev.write("home/.zshrc", rc);
            vec!["-i".into(), "-o".into(), "nobeep".into()]
        }
    };
    let words: Vec<&str> = [program.to_str()?].into_iter().chain(words.iter().map(String::as_str)).collect();
    Some(Terminal::of(&lab.dev, &words, (24, 400)))
}

/// What a line becomes at a Tab, up to the word that is completed.
#[track_caller]
fn becomes(terminal: &mut Terminal, typed: &str, whole: &str) {
    terminal.types(&format!("envctl {typed}\t\r"));
    terminal.sees(&format!("<{whole}"));
}

#[test]
fn at_a_tab_a_shell_knows_what_is_here_and_waits_for_nobody() {
    let lab = Lab::new();
    let cache = "[[cache]]\nname = \"deps\"\npath = \"deps\"\nsetup = \"touch deps/x\"\n";
    lab.repo.write("envctl.toml", cache);
    lab.repo.write(".gitignore", "deps\n");
    let image = lab.images.add("image", &ImageBuilder::busybox()).reference;
    let task = |name: &str| publish(&lab.agent, &lab.repo, &lab.store, &image, name);
    let (here, away, listed) = (task("here-1"), task("away-2"), task("listed-3"));
    lab.sh(&away, "touch new");
    let gone = lab.dev.envctl(["workspace", "rm", &away, "--yes", "--json"]).ok().json();
    let salvage = gone["salvage"]["id"].as_str().unwrap().to_owned();
    lab.dev.envctl(["tasks", "--store", &lab.store.name()]).ok();
    let alive = Alive::start(&lab, &here, "");
    let lease = Alive::lease(&lab)["id"].as_str().unwrap().to_owned();
    // From now on nobody answers.
    fs::rename(&lab.store.path, lab.store.path.with_extension("away")).unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    silent.set_nonblocking(true).unwrap();
    let mut shells = 0;
    for name in ["bash", "zsh"] {
        let Some(terminal) = &mut shell(&lab, name) else { continue };
        terminal.sees("> ");
        becomes(terminal, "pub", "publish");
        becomes(terminal, "publish --status need", "publish --status needs-human");
        becomes(terminal, "show he", "show here-1>");
        becomes(terminal, "stop li", "stop listed-3>");
        // Bash ends words at colons.
        becomes(terminal, &format!("show {}:he", lab.store.name()), &format!("show {here}>"));
        becomes(terminal, &format!("diff he\t {}:li", lab.store.name()), &format!("diff here-1 {listed}>"));
        becomes(terminal, "status --store oci:/", &format!("status --store {}>", lab.store.name()));
        becomes(terminal, "status --store=oci:/", &format!("status --store={}>", lab.store.name()));
        becomes(terminal, "exec he\t --lease ", &format!("exec here-1 --lease {lease}>"));
        becomes(terminal, "workspace recover ", &format!("workspace recover {salvage}>"));
        becomes(terminal, "cache retry here-1 d", "cache retry here-1 deps>");
        becomes(terminal, "logs here-1 d", "logs here-1 deps>");
        // Several are listed.
        terminal.types(if name == "bash" { "envctl show \t\t" } else { "envctl show \t" });
        terminal.sees("here-1");
        terminal.types("\u{15}");
        terminal.types(&format!("export ENVCTL_STORE={}/acme/tasks\r", silent.local_addr().unwrap()));
        becomes(terminal, "show oci:", &format!("show {}:", lab.store.name()));
        becomes(terminal, "status --store 127", "status --store 127.0.0.1:");
        terminal.types("exit\r");
        terminal.ends();
        shells += 1;
    }
    assert!(shells > 0, "bash is everywhere");
    if Path::new("/usr/bin/fish").exists() {
        for (line, whole) in [("show he", "here-1"), (&*format!("show {}:li", lab.store.name()), &*listed)] {
            let ask = format!("source {ROOT}/completions/envctl.fish; complete -C 'envctl {line}'");
            let answer = with_store(&lab, lab.dev.call("fish", ["--no-config", "-c", &ask])).ok().stdout;
            assert_eq!(answer.split_whitespace().next(), Some(whole), "{answer}");
        }
    }
    assert_eq!(silent.accept().unwrap_err().kind(), ErrorKind::WouldBlock, "nobody was asked");
    alive.kill_owner().assert_gone();
}

/// What the shells do not show: the answers themselves, for each of them.
#[test]
fn every_shell_is_answered_and_nothing_is_made() {
    let home = Home::new();
    let before = crate::support::tree(&home.path(""));
    for shell in ["bash", "zsh", "fish", "powershell"] {
        let words = ["--", "envctl", "publish", "--status", "need"];
        let call = home.envctl(words).env("ENVCTL_COMPLETE", shell).env("_CLAP_COMPLETE_INDEX", "3");
        let answer = call.ok().stdout;
        assert!(answer.starts_with("needs-human"), "{shell}: {answer}");
        let call = home.envctl(["--", "envctl", "show", ""]).env("ENVCTL_COMPLETE", shell);
        call.env("_CLAP_COMPLETE_INDEX", "2").ok();
    }
    assert_eq!(crate::support::tree(&home.path("")), before);
}

/// The scripts in `completions/` are those that the program prints.
#[test]
fn scripts_are_those_of_this_program() {
    let home = Home::new();
    for (shell, file) in [("bash", "envctl.bash"), ("zsh", "_envctl"), ("fish", "envctl.fish")] {
        let printed = home.envctl(["completions", shell]).ok().stdout;
        let kept = fs::read_to_string(format!("{ROOT}/completions/{file}")).unwrap();
        assert!(printed == kept, "make it anew: envctl completions {shell} >completions/{file}");
    }
    let powershell = home.envctl(["completions", "powershell", "--json"]).ok().stdout;
    assert!(powershell.contains("Register-ArgumentCompleter"), "{powershell}");
    home.envctl(["completions", "tcsh"]).code(2).says(&["bash", "zsh", "fish", "powershell"]);
}
