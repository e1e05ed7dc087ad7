//! `envctl help`: of a command what `--help` says, of a topic its page of the guide,
//! which every binary carries.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::{Args, Command};

use super::call::VerbCall;
use super::guide::fitted;
use crate::disk::find_program;
use crate::error::{Fault, Kind, failure};
use crate::handoff::App;
use crate::ui::Ui;

/// The commands of `--help`, in groups. Each begins with the command named here.
const GROUPS: [(&str, &str); 5] = [
    ("Step into a task", "enter"),
    ("Hand a task over", "run"),
    ("Look at tasks", "show"),
    ("What is on this machine", "cache"),
    ("Set up", "approve"),
];

/// What people try, and the command that it is.
const ALIASES: [(&str, &str); 3] = [("ls", "tasks"), ("ps", "status"), ("stop", "reset")];

/// The pages of the guide: a name, what it is about, and the text.
macro_rules! pages {
    ($($name:literal $path:literal $about:literal,)*) => {
        const PAGES: &[(&str, &str, &str)] = &[
            $(($name, $about, include_str!(concat!("../../docs/", $path))),)*
        ];
    };
}

pages! {
    "concepts" "concepts.md" "the words, and what belongs together",
    "developers" "for-developers.md" "your end of a handoff",
    "agent-platforms" "for-agent-platforms.md" "the agent's end of it",
    "config" "reference/configuration.md" "every key and every variable",
    "troubleshooting" "how-to/troubleshooting.md" "what a message means, and what helps",
    "approve" "how-to/approve.md" "agree to what a project asks for",
    "caches" "how-to/caches.md" "have dependencies in place",
    "costs" "how-to/costs.md" "see what tasks cost",
    "credentials" "how-to/credentials.md" "publish without credentials",
    "detach" "how-to/detach.md" "leave a runtime running",
    "devcontainer" "how-to/devcontainer.md" "use a devcontainer.json",
    "enter" "how-to/enter.md" "step into a task",
    "evidence" "how-to/evidence.md" "attach logs and reports, and look at them",
    "exec" "how-to/exec.md" "run something beside an open shell",
    "images" "how-to/images.md" "use an image that you have",
    "offline" "how-to/offline.md" "work on a train",
    "ports" "how-to/ports.md" "reach a server inside",
    "prefetch" "how-to/prefetch.md" "have tasks here before you need them",
    "publish" "how-to/publish.md" "hand a task over",
    "registries" "how-to/registries.md" "keep tasks in a registry",
    "reset" "how-to/reset.md" "end a runtime, also after a crash",
    "run" "how-to/run.md" "run commands unattended",
    "secrets" "how-to/secrets.md" "give a task a secret",
    "services" "how-to/services.md" "run a database beside the tests",
    "tasks" "how-to/tasks.md" "find and remove tasks",
    "together" "how-to/together.md" "work on one task with others",
    "unprivileged" "how-to/unprivileged.md" "run without root",
    "what-travels" "how-to/what-travels.md" "what arrives, and what stays behind",
    "without-a-runtime" "how-to/without-a-runtime.md" "use the workspace alone",
    "workspaces" "how-to/workspaces.md" "where workspaces are, and what deletes them",
    "security" "security.md" "what is promised, and what is not",
    "sandbox" "sandbox.md" "the sandbox, call by call",
}

/// Commands as people type them.
const EXAMPLES: &[(&str, &str)] = &[
    (
        "enter",
        "  envctl enter oci:/srv/tasks:task-42              a shell in the task\n  \
           envctl enter oci:/srv/tasks:task-42 -- npm test  one command\n  \
           envctl enter task-42 --detach -p 3000 -- npm run dev",
    ),
    ("exec", "  envctl exec task-42 -- git status\n  envctl exec task-42 -- sh"),
    ("reset", "  envctl reset task-42\n  envctl reset --all"),
    (
        "run",
        "  envctl run -- make test                                  this checkout\n  \
           envctl run --publish --as task-42 --timeout 2h -- ./step  and hand it over",
    ),
    (
        "publish",
        "  envctl publish task-42 --store oci:/srv/tasks --image python:3.12\n  \
           envctl publish task-42 --status needs-human --message 'Which?'",
    ),
    ("show", "  envctl show task-42"),
    ("view", "  envctl view task-42\n  envctl view task-42 --output task-42.html"),
    ("tasks", "  envctl tasks --needs-human\n  envctl tasks rm task-42"),
    ("diff", "  envctl diff task-42 --patch\n  envctl diff task-42 task-43"),
    ("artifacts", "  envctl artifacts ls task-42\n  envctl artifacts get task-42 test.log"),
    ("cache", "  envctl cache ls\n  envctl cache why task-42"),
    (
        "fixture",
        "  envctl fixture create tests/golden --as golden\n  \
                 envctl fixture create --as rows --file rows.sql -- ./dump.sh\n  envctl fixture ls",
    ),
    ("prefetch", "  envctl prefetch task-42\n  envctl prefetch --watch"),
    ("ports", "  envctl ports ls task-42\n  envctl ports add task-42 3000"),
    ("workspace", "  cd \"$(envctl workspace path task-42)\"\n  envctl workspace recover"),
    ("approve", "  envctl approve task-42\n  envctl approve --host ghcr.io"),
    ("init", "  envctl init"),
];

/// Print the help of a command, or a page of the guide
///
/// Without a word it lists the commands and the pages. A page that is called as a
/// command is printed by `envctl help guide PAGE`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// A command, or a page
    words: Vec<String>,
    /// Install a manual page for each command: into DIR, or where `man` looks for those
    /// of this program
    #[arg(long, value_name = "DIR", num_args = 0..=1, conflicts_with = "words")]
    man: Option<Option<PathBuf>>,
}

impl Arguments {
    pub(super) fn run(&self, VerbCall { app, whole: all, .. }: VerbCall<'_>) -> Result<u8> {
        let command = all();
        if let Some(folder) = &self.man {
            let folder = folder.as_ref().map_or_else(|| beside_the_program(app), |folder| Ok(app.cwd.join(folder)))?;
            return manual(&app.ui, with_examples(command), &folder);
        }
        let mut whole = whole(command);
        let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        let text = match words.as_slice() {
            [] => whole.render_help().to_string() + "\n\nThe guide (envctl help PAGE):\n" + &list(),
            ["guide"] => list(),
            ["guide", name] => on_the_terminal(app, page(name)?),
            words => match of_command(whole, words) {
                Some(text) => match words {
                    [name] if page(name).is_ok() => {
                        format!("{text}\n\nIts page of the guide: envctl help guide {name}")
                    }
                    _ => text,
                },
                None => on_the_terminal(app, page(&words.join(" "))?),
            },
        };
        // Written with the program.
        app.ui.raw(text.trim_end())?;
        Ok(0)
    }
}

/// Adds groups and examples to the definition of everything.
pub(super) fn whole(command: Command) -> Command {
    let template =
        format!("{{about}}\n\n{{usage-heading}} {{usage}}\n{}\n{{all-args}}{{after-help}}", groups(&command));
    // The groups list them.
    let command = with_examples(command).mut_subcommands(|verb| verb.hide(true));
    command.override_usage("envctl [OPTIONS] <COMMAND>").help_template(template)
}

/// How the generator of manual pages begins what comes after the options.
const EXTRA: &str = "\n.SH EXTRA\nExamples:\n";

/// Where `man` looks for the pages of a program that is on the PATH.
fn beside_the_program(app: &App) -> Result<PathBuf> {
    let program = std::env::current_exe().context("cannot find out where envctl lies")?;
    // What is found there may be a link to it.
    let found = find_program(app.env.path.as_deref(), "envctl");
    let is_this = |found: &PathBuf| found.canonicalize().is_ok_and(|found| found == program);
    let program = found.filter(is_this).unwrap_or(program);
    let above = program.parent().and_then(Path::parent).unwrap_or(Path::new("/"));
    Ok(above.join("share/man/man1"))
}

/// Manual pages, as `man` reads them.
fn manual(ui: &Ui, command: Command, folder: &Path) -> Result<u8> {
    let context = || {
        failure(format!("cannot write manual pages into {}", folder.display())).hint("--man DIR writes them elsewhere")
    };
    std::fs::create_dir_all(folder).with_context(context)?;
    clap_mangen::generate_to(command, folder).with_context(context)?;
    // Other programs' pages may lie there, too.
    let ours = |name: OsString| name.to_str().is_some_and(|name| name.starts_with("envctl") && name.ends_with(".1"));
    for entry in std::fs::read_dir(folder).with_context(context)?.flatten().filter(|entry| ours(entry.file_name())) {
        let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
        if text.contains(EXTRA) {
            std::fs::write(entry.path(), text.replace(EXTRA, "\n.SH EXAMPLES\n")).with_context(context)?;
        }
    }
    ui.status("Written", &format!("manual pages; man envctl shows the first, or man -l {}/envctl.1", folder.display()));
    ui.raw(&folder.display().to_string())?;
    Ok(0)
}

/// Adds what people try to the definition of everything.
pub(super) fn with_aliases(command: Command) -> Command {
    command.mut_subcommands(|verb: Command| {
        let aliases = ALIASES.iter().filter(|(_, name)| *name == verb.get_name());
        let aliases: Vec<_> = aliases.map(|(alias, _)| *alias).collect();
        verb.aliases(aliases)
    })
}

fn with_examples(command: Command) -> Command {
    with_aliases(command).mut_subcommands(|verb: Command| {
        let examples = EXAMPLES.iter().find(|(name, _)| *name == verb.get_name());
        match examples {
            Some((_, examples)) => verb.after_help(format!("Examples:\n{examples}")),
            None => verb,
        }
    })
}

fn groups(command: &Command) -> String {
    let mut text = String::new();
    for verb in command.get_subcommands() {
        if let Some((title, _)) = GROUPS.iter().find(|(_, first)| *first == verb.get_name()) {
            let _ = write!(text, "\n{title}:\n");
        }
        let about = verb.get_about().map(ToString::to_string).unwrap_or_default();
        let _ = writeln!(text, "  {:<12} {about}", verb.get_name());
    }
    text
}

fn of_command(mut command: Command, words: &[&str]) -> Option<String> {
    command.build();
    let mut at = &mut command;
    for word in words {
        at = at.find_subcommand_mut(OsString::from(word))?;
    }
    Some(at.render_long_help().to_string())
}

/// A page in rows that fit, where somebody reads it there.
fn on_the_terminal(app: &App, page: &str) -> String {
    app.ui.columns().map_or_else(|| page.to_owned(), |columns| fitted(page, columns))
}

fn list() -> String {
    PAGES.iter().map(|(name, about, _)| format!("  {name:<18} {about}\n")).collect()
}

fn page(name: &str) -> Result<&'static str> {
    // As a link in another page names it.
    let name = name.trim_end_matches(".md").rsplit('/').next().unwrap_or(name);
    let found = PAGES.iter().find(|(page, ..)| *page == name);
    found.map(|(.., text)| *text).ok_or_else(|| {
        let nearest = PAGES.iter().map(|(page, ..)| *page).max_by(|a, b| {
            let near = |page: &str| strsim::jaro_winkler(page, name);
            near(a).total_cmp(&near(b))
        });
        let near = nearest.filter(|near| strsim::jaro_winkler(near, name) > 0.75);
        let near = near.map_or_else(String::new, |near| format!("; the nearest page is {near}"));
        let fault = Fault::new(Kind::NotFound, format!("there is no command and no page {name:?}"));
        fault.hint(format!("`envctl help` lists them{near}")).into()
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn every_page_fits_a_terminal() {
        for (name, _, page) in PAGES {
            for columns in [60, 80] {
                let said = fitted(page, columns);
                let long = |line: &&str| {
                    let is_words = !line.starts_with("    ") && line.trim().contains(' ');
                    is_words && textwrap::core::display_width(line) > columns
                };
                let wide: Vec<_> = said.lines().filter(long).collect();
                assert!(wide.is_empty(), "{name} at {columns}: {wide:#?}");
            }
        }
    }

    fn whole() -> Command {
        super::whole(super::super::Cli::command())
    }

    #[test]
    fn every_group_and_every_example_is_of_a_command() {
        let command = whole();
        let names: Vec<&str> = command.get_subcommands().map(Command::get_name).collect();
        assert_eq!(names.first(), Some(&GROUPS[0].1));
        let examples = EXAMPLES.iter().map(|(verb, _)| verb);
        for name in GROUPS.iter().map(|(_, first)| first).chain(examples) {
            assert!(names.contains(name), "{name}");
        }
    }

    #[test]
    fn help_takes_eighty_columns() {
        let mut command = whole();
        let mut texts = vec![command.render_help().to_string(), list()];
        command.build();
        texts.extend(command.get_subcommands_mut().map(|verb| verb.render_long_help().to_string()));
        for line in texts.iter().flat_map(|text| text.lines()) {
            // What cannot be broken is as long as it is.
            assert!(line.chars().count() <= 80 || !line.trim().contains(' ') || line.starts_with("Usage"), "{line}");
        }
    }

    #[test]
    fn every_command_has_a_manual_page() {
        let folder = tempfile::tempdir().unwrap();
        let ui = Ui::new(&crate::env::Env::default(), true, false, false, crate::ui::Color::Never);
        manual(&ui, with_examples(super::super::Cli::command()), &folder.path().join("man1")).unwrap();
        let read = |name: &str| std::fs::read_to_string(folder.path().join("man1").join(name)).unwrap();
        for verb in whole().get_subcommands() {
            let page = read(&format!("envctl-{}.1", verb.get_name()));
            assert!(page.contains(".TH envctl-") && page.contains(".SH SYNOPSIS"), "{page}");
        }
        assert!(read("envctl.1").contains(".SH SUBCOMMANDS") && read("envctl-run.1").contains(".SH EXAMPLES\n"));
        assert!(read("envctl-cache-retry.1").contains("envctl cache retry"));
    }

    #[test]
    fn what_people_try_is_the_command_that_they_mean() {
        for (alias, verb) in ALIASES {
            let read = whole().try_get_matches_from(["envctl", alias, "--all"]);
            let read = read.or_else(|_| whole().try_get_matches_from(["envctl", alias])).unwrap();
            assert_eq!(read.subcommand_name(), Some(verb));
        }
    }

    #[test]
    fn the_examples_are_commands() {
        for line in EXAMPLES.iter().flat_map(|(_, examples)| examples.lines()) {
            // What comes after two blanks says what it does.
            let line = line.trim().split("  ").next().unwrap();
            let line = line.trim_start_matches("cd \"$(").trim_end_matches(")\"").replace('\'', "");
            let read = whole().try_get_matches_from(line.split(' '));
            assert!(read.is_ok(), "{line}: {}", read.unwrap_err());
        }
    }
}
