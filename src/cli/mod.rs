//! The command line: one file per verb, its arguments beside the few lines
//! that call the layer below.

mod approve;
mod artifacts;
mod cache;
mod call;
mod complete;
mod completions;
mod costs;
mod diff;
mod doctor;
mod enter;
mod exec;
mod extend;
mod fixture;
mod gc;
mod guide;
mod help;
mod init;
mod log;
mod logs;
mod ports;
mod prefetch;
mod publish;
mod reset;
mod run;
mod running;
mod session;
mod show;
mod status;
mod tasks;
mod view;
mod workspace;

use std::ffi::OsString;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::{Args, Command, CommandFactory, FromArgMatches, Parser, Subcommand};

use call::VerbCall;

use crate::env::Env;
use crate::error::{Fault, Kind, kind_of};
use crate::handoff::{App, GlobalOptions, ReportFile};
use crate::identity::{StoreRef, TaskRef};
use crate::ui::{Color, ErrorReport, Ui, trace};

/// envctl failed before the command, or a leak was found after it.
const FAILED_BESIDE_CHILD: u8 = 125;

const AFTER_HELP: &str = "\
envctl help COMMAND says more, envctl help lists the pages of the guide.

Exit codes:
  with a command   its own; 125 envctl failed, 126 not runnable, 127 not found
  without          0 done, 1 failure, 2 usage, 3 not found, 4 not at baseline,
                   5 integrity, 6 policy, 7 unreachable";

/// Step into a coding agent's task on your own machine, and leave nothing behind.
#[derive(Debug, Parser)]
#[command(name = "envctl", version, after_help = AFTER_HELP, max_term_width = 80, disable_help_subcommand = true)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
struct Global {
    /// Where tasks are: oci:PATH or HOST/NAME
    #[arg(long, global = true, value_name = "STORE")]
    store: Option<StoreRef>,
    /// Print one JSON object on stdout
    #[arg(long, global = true)]
    json: bool,
    /// Use nothing but what is on this machine
    #[arg(long, global = true)]
    offline: bool,
    /// How many seconds a registry or a git remote may be silent
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    net_timeout: u64,
    /// Print results, warnings and errors only
    #[arg(short, long, global = true)]
    quiet: bool,
    /// Print more about what happens
    #[arg(short, long, global = true)]
    verbose: bool,
    /// Answer questions with yes (never approvals)
    #[arg(long, global = true)]
    yes: bool,
    /// Ask nothing
    #[arg(long, global = true)]
    no_input: bool,
    /// When to colour messages
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value_t)]
    color: Color,
}

/// The verbs, in the order of `--help`.
macro_rules! verbs {
    ($($verb:ident $module:ident,)*) => {
        #[derive(Debug, Subcommand)]
        enum Verb {
            $($verb($module::Arguments),)*
        }

        impl Verb {
            fn name(&self) -> &'static str {
                match self {
                    $(Verb::$verb(_) => stringify!($module),)*
                }
            }

            fn call(&self, call: VerbCall<'_>) -> Result<u8> {
                match self {
                    $(Verb::$verb(arguments) => arguments.run(call),)*
                }
            }
        }

        /// What one verb takes; it is called as its module is.
        fn definition(verb: &str) -> Option<Command> {
            $(if verb == stringify!($module) {
                return Some($module::Arguments::augment_args(Command::new(stringify!($module))));
            })*
            None
        }
    };
}

verbs! {
    Enter enter,
    Exec exec,
    Reset reset,
    Run run,
    Publish publish,
    Show show,
    View view,
    Tasks tasks,
    Log log,
    Logs logs,
    Diff diff,
    Artifacts artifacts,
    Cache cache,
    Fixture fixture,
    Status status,
    Prefetch prefetch,
    Extend extend,
    Ports ports,
    Workspace workspace,
    Costs costs,
    Gc gc,
    Approve approve,
    Init init,
    Doctor doctor,
    Completions completions,
    Help help,
}

impl Cli {
    /// What the words ask for. Defining all verbs takes longer than anything
    /// else that a warm command does before its work, so a verb in the first
    /// place is tried with its own definition alone. What that does not take
    /// is read again with all of them, for they are in what is said about it.
    fn read(words: &[OsString]) -> Result<Self, clap::Error> {
        if let Some(verb) = words.get(1).and_then(|word| word.to_str()).and_then(definition) {
            let command = Global::augment_args(Command::new("envctl")).disable_help_subcommand(true).subcommand(verb);
            let read = command.try_get_matches_from(words).and_then(|found| Cli::from_arg_matches(&found));
            if read.is_ok() {
                return read;
            }
        }
        help::whole(Cli::command()).try_get_matches_from(words).and_then(|found| Cli::from_arg_matches(&found))
    }
}

/// A task on the command line.
fn parse_task(text: &str) -> Result<TaskRef, Fault> {
    text.parse()
}

impl Verb {
    /// Whether a child process's exit code is passed through.
    fn has_child(&self) -> bool {
        match self {
            Verb::Enter(arguments) => arguments.has_child(),
            Verb::Run(arguments) => arguments.has_child(),
            Verb::Exec(_) => true,
            Verb::Reset(arguments) => arguments.has_child(),
            _ => false,
        }
    }

    /// Whether it goes on by itself for long: nobody waits for its questions.
    fn is_unattended(&self) -> bool {
        matches!(self, Verb::Prefetch(arguments) if arguments.watches())
    }

    /// Where the caller wants a report.
    fn report(&self) -> Option<&std::path::Path> {
        match self {
            Verb::Enter(arguments) => arguments.report(),
            Verb::Exec(arguments) => arguments.report(),
            Verb::Run(arguments) => arguments.report(),
            _ => None,
        }
    }

    /// `wrong` is what is wrong with the user's configuration: one verb alone goes on then.
    fn run(&self, app: &App, wrong: Option<anyhow::Error>) -> Result<u8> {
        let wrong = match (self, wrong) {
            (Verb::Doctor(_), wrong) => wrong,
            (_, wrong) => wrong.map_or(Ok(None), Err)?,
        };
        self.call(VerbCall { app, reaped: app.reap(), wrong, whole: <Cli as CommandFactory>::command })
    }
}

/// The program: parses, runs the verb, and turns the outcome into an exit code.
pub fn main() -> ExitCode {
    crate::git::bound_library();
    let env = Env::from_process();
    let words: Vec<OsString> = std::env::args_os().collect();
    // Git starts this program in the place of ssh and of credential helpers.
    if let Some(code) = crate::git::serve(&env, &words).or_else(|| crate::helper::serve(&words)) {
        return code;
    }
    if let Some(code) = complete::serve(&env, &words, <Cli as CommandFactory>::command) {
        return code;
    }
    let cli = match Cli::read(&words) {
        Ok(cli) => cli,
        Err(error) => return ExitCode::from(refuse(&env, &error, &words)),
    };
    let global = &cli.global;
    let ui = Ui::new(&env, global.quiet, global.verbose, global.json, global.color);
    tell_what_happens(&env, &ui, &cli.verb);
    let terminal = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    // Before anything of a task runs.
    let report = match cli.verb.report().map(ReportFile::open).transpose() {
        Ok(report) => report,
        Err(error) => {
            let code = if cli.verb.has_child() { FAILED_BESIDE_CHILD } else { kind_of(&error).exit_code() };
            ui.error(&error, code);
            return ExitCode::from(code);
        }
    };
    let options = GlobalOptions {
        report: report.clone(),
        store: global.store.clone(),
        offline: global.offline,
        interactive: terminal && !global.no_input && !cli.verb.is_unattended(),
        yes: global.yes,
        net_timeout: Duration::from_secs(global.net_timeout),
    };
    let outcome = App::despite(env, ui, options).and_then(|(app, wrong)| cli.verb.run(&app, wrong));
    match outcome {
        Ok(code) => {
            tracing::info!(code, "done");
            ExitCode::from(code)
        }
        Err(error) => {
            let code = if cli.verb.has_child() { FAILED_BESIDE_CHILD } else { kind_of(&error).exit_code() };
            if let Some(file) = report
                && let Err(second) = file.write(&ErrorReport::new(&error, code))
            {
                ui.warn(&format!("{second:#}"));
            }
            ui.error(&error, code);
            ExitCode::from(code)
        }
    }
}

/// What a library says of numbers, in words.
const NUMBERS: [(&str, &str); 5] = [
    ("invalid digit found in string", "it is no whole number"),
    ("cannot parse integer from empty string", "it is no whole number"),
    ("number too large to fit in target type", "it is too large"),
    ("number too small to fit in target type", "it is too small"),
    ("..=", " to "),
];

/// What helps where the words of the command line were not understood.
fn hint_of_words(error: &clap::Error, words: &[OsString]) -> Option<String> {
    use clap::error::{ContextKind, ErrorKind};
    let verb = words.get(1).and_then(|word| word.to_str()).unwrap_or_default();
    let about = error.get(ContextKind::InvalidArg).map(ToString::to_string).unwrap_or_default();
    match error.kind() {
        ErrorKind::UnknownArgument if verb == "run" && !about.starts_with('-') => {
            Some("put -- before the command: envctl run -- CMD, or envctl run TASK -- CMD".into())
        }
        ErrorKind::MissingRequiredArgument if about.contains("TASK") => {
            Some("envctl status lists the tasks that are here, envctl tasks those of a store".into())
        }
        _ => of_two(error),
    }
}

/// What may be meant by `envctl rm`, which removes nothing by itself: the one is only here,
/// the other is everybody's.
fn of_two(error: &clap::Error) -> Option<String> {
    let named = error.get(clap::error::ContextKind::InvalidSubcommand)?;
    let hint = "envctl workspace rm TASK removes its workspace here, envctl tasks rm TASK the task from its store";
    (named.to_string() == "rm").then(|| hint.to_owned())
}

/// Begins the log, if there is to be one. The words of the command line may hold secrets.
fn tell_what_happens(env: &Env, ui: &Ui, verb: &Verb) {
    let Some(to) = &env.log else { return };
    if let Err(fault) = trace::begin(to) {
        ui.warn(&fault.message);
    }
    let process = std::process::id();
    tracing::info!(process, "envctl {} {}", env!("CARGO_PKG_VERSION"), verb.name());
}

/// Help and version are data; everything else is a usage error, in JSON where
/// JSON was asked for.
fn refuse(env: &Env, error: &clap::Error, words: &[OsString]) -> u8 {
    if !error.use_stderr() {
        let _ = error.print();
        return 0;
    }
    // It quotes what was typed, which may be pasted from anywhere.
    let text = error.render().to_string();
    let text = NUMBERS.iter().fold(text, |text, (from, to)| text.replace(from, to));
    let fault = std::error::Error::source(error).and_then(|source| source.downcast_ref::<Fault>());
    let hint = fault.and_then(|fault| fault.hint.clone()).or_else(|| hint_of_words(error, words));
    let json = words.iter().take_while(|word| *word != "--").any(|word| word == "--json");
    let ui = Ui::new(env, false, false, json, Color::Never);
    if json {
        // Up to the first empty line it says what is wrong; then come usage and tips.
        let lines = text.lines().map(str::trim).take_while(|line| !line.is_empty());
        let message = lines.collect::<Vec<_>>().join(" ").trim_start_matches("error: ").to_owned();
        let fault = Fault::new(Kind::Usage, message).hint(hint.unwrap_or_else(|| "envctl --help".into()));
        ui.error(&fault.into(), Kind::Usage.exit_code());
    } else {
        ui.text(text.trim_end());
        hint.iter().for_each(|hint| ui.text(&format!("hint: {hint}")));
    }
    Kind::Usage.exit_code()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
        for verb in Cli::command().get_subcommands() {
            assert!(definition(verb.get_name()).is_some(), "{}", verb.get_name());
        }
    }

    #[test]
    fn what_could_be_either_of_two_is_told_and_not_done() {
        let hint = |line: &[&str]| {
            let words: Vec<OsString> = line.iter().map(OsString::from).collect();
            hint_of_words(&Cli::try_parse_from(&words).unwrap_err(), &words)
        };
        assert!(hint(&["envctl", "rm", "x"]).unwrap().contains("workspace rm TASK"));
        assert_eq!(hint(&["envctl", "rmm", "x"]), None);
        assert!(hint(&["envctl", "run", "make", "test"]).unwrap().contains("put -- before"));
        assert_eq!(hint(&["envctl", "run", "--tiemout", "3"]), None);
        assert!(hint(&["envctl", "extend"]).unwrap().contains("envctl tasks"));
    }

    #[test]
    fn a_verb_is_read_alone_as_it_is_with_all_others() {
        for line in [
            "enter t --quiet -- sh -c true",
            "enter --store oci:s t --json",
            "exec t --no-input -- true",
            "run --offline -- true",
            "workspace ls --verbose",
            "cache key --why a b",
            "status -q",
            "reset --all --yes",
        ] {
            let words: Vec<OsString> = ["envctl"].into_iter().chain(line.split(' ')).map(OsString::from).collect();
            let (alone, all) = (Cli::read(&words), Cli::try_parse_from(&words));
            let (alone, all) = (alone.map(|cli| format!("{cli:?}")), all.map(|cli| format!("{cli:?}")));
            assert_eq!(alone.map_err(|error| error.to_string()), all.map_err(|error| error.to_string()), "{line}");
        }
        let error = Cli::read(&["envctl".into(), "enter".into(), "--no-such".into()]).unwrap_err().to_string();
        assert!(error.contains("Usage: envctl enter"), "{error}");
    }
}
