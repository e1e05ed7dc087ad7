//! Completion that knows what is here: a shell asks this program at each Tab, which
//! answers from this machine alone, and changes nothing.

use std::ffi::{OsStr, OsString};
use std::process::ExitCode;

use clap::{Arg, ArgAction, Command};
use clap_complete::env::{CompleteEnv, Shells};
use clap_complete::{ArgValueCompleter, CompletionCandidate};

use super::help;
use crate::env::Env;
use crate::handoff::{
    App, GlobalOptions, Known, known_caches, known_leases, known_logs, known_salvages, known_stores, known_tasks,
};
use crate::ui::{Color, Ui, escape};

/// Set by the scripts of the shells, to the name of the shell.
pub(super) const VARIABLE: &str = "ENVCTL_COMPLETE";

/// Characters of a word about a candidate.
const ABOUT: usize = 60;

/// Answers a shell that asks, where this is what the program was started for.
/// `whole` defines everything.
pub(super) fn serve(env: &Env, words: &[OsString], whole: fn() -> Command) -> Option<ExitCode> {
    if !env.complete {
        return None;
    }
    let cwd = std::env::current_dir().ok();
    let asked = CompleteEnv::with_factory(|| knowing(help::with_aliases(whole())))
        .var(VARIABLE)
        .bin("envctl")
        .completer("envctl");
    match asked.try_complete(words.to_vec(), cwd.as_deref()) {
        Ok(true) => Some(ExitCode::SUCCESS),
        Ok(false) => None,
        Err(_) => Some(ExitCode::FAILURE),
    }
}

/// The script that lets a shell ask.
pub(super) fn script(shell: &str) -> Option<String> {
    if shell == "bash" {
        return Some(include_str!("complete.bash").trim().to_owned());
    }
    let mut script = Vec::new();
    let shells = Shells::builtins();
    shells.completer(shell)?.write_registration(VARIABLE, "envctl", "envctl", "envctl", &mut script).ok()?;
    let script = String::from_utf8_lossy(&script).trim().to_owned();
    Some(if shell == "zsh" { script.replace(ZSH_END, ZSH_OWN_END) } else { script })
}

/// How the script of zsh ends. In a folder of functions it would complete nothing at the
/// first Tab, which reads it.
const ZSH_END: &str = "compdef _clap_dynamic_completer_envctl envctl";
const ZSH_OWN_END: &str = "\
if [[ $funcstack[1] == _envctl ]]; then
    _clap_dynamic_completer_envctl \"$@\"
else
    compdef _clap_dynamic_completer_envctl envctl
fi";

/// Lets each argument know what it may be, by its name. Options are offered where nothing
/// else is, and where one was begun.
fn knowing(command: Command) -> Command {
    let verb = command.get_name().to_owned();
    let help = Arg::new("help").short('h').long("help").action(ArgAction::Help).help("Print help");
    let command = command.disable_help_flag(true).disable_version_flag(true).arg(help);
    let known = |arg: Arg| {
        let is_option = !arg.is_positional();
        with_candidates(&verb, arg).hide(is_option)
    };
    command.mut_args(known).mut_subcommands(knowing)
}

/// What something may be, by what was typed of it.
type Find = fn(&App, &str) -> Vec<Known>;

fn with_candidates(verb: &str, arg: Arg) -> Arg {
    let find: Find = match (verb, arg.get_id().as_str()) {
        ("recover", "id") => |app, _| known_salvages(app),
        ("retry" | "promote", "names") => |app, _| known_caches(app, false),
        ("prune" | "diff", "key") => |app, _| known_caches(app, true),
        ("logs", "name") => |app, _| known_logs(app),
        (_, "task" | "tasks" | "a" | "b") => known_tasks,
        (_, "lease") => |app, _| known_leases(app),
        (_, "store") => |app, _| known_stores(app),
        _ => return arg,
    };
    arg.add(ArgValueCompleter::new(move |typed: &OsStr| candidates(find, &typed.to_string_lossy())))
}

fn candidates(find: Find, typed: &str) -> Vec<CompletionCandidate> {
    let env = Env::from_process();
    let ui = Ui::new(&env, true, false, false, Color::Never);
    let known = App::new(env, ui, GlobalOptions::default()).map(|app| find(&app, typed)).unwrap_or_default();
    // A name that a shell would not take as one word is left to whoever types it.
    let is_plain =
        |known: &Known| known.name.chars().all(|c| c.is_ascii_graphic() && !"'\"\\$`;&|<>(){}*?!#~".contains(c));
    let candidate = |known: Known| {
        let about: String = escape(&known.about).chars().take(ABOUT).collect();
        CompletionCandidate::new(known.name).help((!about.is_empty()).then(|| about.into()))
    };
    let begins = |known: &Known| known.name.starts_with(typed);
    known.into_iter().filter(begins).filter(is_plain).map(candidate).collect()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    /// Arguments that name something of this machine.
    const NAMED: [(&str, &str); 14] = [
        ("enter", "task"),
        ("exec", "task"),
        ("exec", "lease"),
        ("reset", "task"),
        ("show", "task"),
        ("logs", "task"),
        ("logs", "name"),
        ("diff", "a"),
        ("diff", "b"),
        ("prefetch", "tasks"),
        ("ports ls", "task"),
        ("workspace rm", "task"),
        ("workspace recover", "id"),
        ("cache retry", "names"),
    ];

    #[test]
    fn arguments_know_what_they_may_be() {
        let whole = knowing(super::super::Cli::command());
        for (verb, argument) in NAMED {
            let command = verb.split(' ').fold(&whole, |command, word| {
                command.find_subcommand(word).unwrap_or_else(|| panic!("no command {verb}"))
            });
            let argument = command.get_arguments().find(|found| found.get_id() == argument);
            let argument = argument.unwrap_or_else(|| panic!("no such argument of {verb}"));
            assert!(argument.get::<ArgValueCompleter>().is_some(), "{verb}");
        }
        let store = whole.get_arguments().find(|found| found.get_id() == "store").unwrap();
        assert!(store.get::<ArgValueCompleter>().is_some());
    }

    #[test]
    fn a_script_for_each_shell_asks_this_program() {
        for shell in ["bash", "zsh", "fish", "powershell"] {
            let script = script(shell).unwrap();
            assert!(script.contains(VARIABLE) && script.contains("envctl"), "{script}");
            assert!(!script.contains('/') || !script.contains("target/"), "no path of this machine");
        }
    }
}
