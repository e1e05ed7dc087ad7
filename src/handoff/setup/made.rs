//! What a command prints becomes the content of a fixture: in a runtime of the checkout
//! that goes afterwards, or in one that is running.
//!
//! Invariants: what comes out of a runtime is one stream of bytes. A folder comes as a
//! tar, which is read as strictly as the layer of an image, into a tree of its own; so
//! no name and no link of it leads anywhere on this machine. Only what a command printed
//! that ended with 0 counts.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use rustix::fd::AsFd as _;

use crate::cache::{TreeDraft, Trees};
use crate::config::{Project, Spot};
use crate::digest::{Digest, Hasher};
use crate::disk;
use crate::error::{Fault, failure, not_found, policy, usage};
use crate::handoff::allowance::allowance;
use crate::handoff::app::App;
use crate::handoff::run::{CheckoutOptions, Command, RunOptions, RunReport, RunTarget, Stdout, run};
use crate::handoff::runtimes::{self, Running, RuntimeOptions};
use crate::identity::TaskRef;
use crate::oci::{Descriptor, media};
use crate::runtime::{Lease, StdoutFile};
use crate::ui::human_bytes;

/// Where the content of a fixture is.
#[derive(Clone, Debug)]
pub enum FixtureFrom {
    /// In a folder of this machine.
    Folder(PathBuf),
    /// In a runtime.
    Runtime(Box<FixtureRuntime>),
}

/// A runtime, and what is taken out of it.
#[derive(Clone, Debug)]
pub struct FixtureRuntime {
    /// The task whose running runtime it is; without, one of this checkout, which goes
    /// afterwards.
    pub task: Option<TaskRef>,
    /// How the one of a checkout is made.
    pub checkout: CheckoutOptions,
    /// What it may do. Secrets are left out.
    pub runtime: RuntimeOptions,
    /// What is run first; may be empty where a folder is wanted.
    pub command: Vec<OsString>,
    /// What is taken.
    pub taken: FixtureContent,
}

/// What is taken out of a runtime.
#[derive(Clone, Debug)]
pub enum FixtureContent {
    /// What the command prints, as a file of this name.
    Printed(String),
    /// A folder, from the workspace on.
    Folder(String),
    /// What a service works on.
    ServiceData(String),
}

/// The folder that is packed, and what has to live until it is.
pub(super) struct GivenFolder {
    pub(super) folder: PathBuf,
    _draft: Option<TreeDraft>,
}

impl GivenFolder {
    /// A folder of this machine.
    pub(super) fn folder(folder: PathBuf) -> Self {
        GivenFolder { folder, _draft: None }
    }
}

/// Runs what prints the content, and puts it into a folder below `scratch`.
///
/// # Errors
/// When it cannot be run, does not end with 0, or prints nothing that could be used.
pub(super) fn take(app: &App, from: &FixtureRuntime, trees: &Trees, scratch: &Path) -> Result<GivenFolder> {
    let printed = scratch.join("printed");
    let file = File::create_new(&printed).with_context(|| format!("cannot write {}", printed.display()))?;
    // A program inside may print without end.
    let most = allowance(app, scratch);
    let file = StdoutFile { file: Arc::new(file), most: most.saturating_add(1) };
    let ran = match &from.task {
        Some(task) => in_running(app, from, task, &file),
        None => in_checkout(app, from, &file),
    };
    drop(file);
    if printed.metadata().with_context(|| format!("cannot read {}", printed.display()))?.len() > most {
        return Err(policy(format!("no fixture was made: more than {} were printed", human_bytes(most)))
            .hint("if it is as large as it should be: [workspace] max_fetch in config.toml")
            .into());
    }
    ran?;
    if let FixtureContent::Printed(name) = &from.taken {
        let folder = scratch.join("content");
        disk::create_private_dir(&folder)?;
        let place = folder.join(name);
        std::fs::rename(&printed, &place).with_context(|| format!("cannot write {}", place.display()))?;
        return Ok(GivenFolder::folder(folder));
    }
    let draft = trees.draft()?;
    let (digest, size) = digest_of(&printed)?;
    let layer = Descriptor { digest, size, ..Descriptor::of(media::OCTETS, b"") };
    let content = File::open(&printed).context("cannot read what was printed")?;
    trees
        .unpack(&draft, &layer, None, Box::new(content), &|_| Ok(()))
        .context("what tar printed inside cannot be unpacked")?;
    Ok(GivenFolder { folder: draft.tree(), _draft: Some(draft) })
}

fn digest_of(path: &Path) -> Result<(Digest, u64)> {
    let mut file = File::open(path).context("cannot read what was printed")?;
    let mut hasher = Hasher::default();
    let size = std::io::copy(&mut file, &mut hasher).context("cannot read what was printed")?;
    Ok((hasher.finish(), size))
}

/// What puts a folder into a tar: the words of it, without a shell of this machine.
fn tar_of(spot: &Spot) -> Vec<OsString> {
    let (script, path) = match spot {
        Spot::Home(path) => ("cd -- \"$HOME/$1\" && exec tar -cf - .", path.clone()),
        Spot::Workspace(path) => ("cd -- \"$1\" && exec tar -cf - .", format!("./{path}")),
        Spot::Absolute(path) => ("cd -- \"$1\" && exec tar -cf - .", format!("/{path}")),
    };
    ["sh", "-c", script, "tar", &path].map(OsString::from).into()
}

/// The commands, and what the last of them is about.
fn commands(command: &[OsString], spot: Option<&Spot>) -> Vec<Command> {
    let mut commands = Vec::new();
    if !command.is_empty() {
        commands.push(Command::of_words(command));
    }
    if let Some(spot) = spot {
        commands.push(Command { shown: format!("tar of {spot}"), words: tar_of(spot) });
    }
    commands
}

fn in_checkout(app: &App, from: &FixtureRuntime, file: &StdoutFile) -> Result<()> {
    let spot = match &from.taken {
        FixtureContent::Printed(_) => None,
        FixtureContent::Folder(folder) => Some(spot(folder)?),
        FixtureContent::ServiceData(name) => {
            let project = app.project(&app.cwd)?;
            Some(data_of(&project, name)?)
        }
    };
    let options = RunOptions {
        subject: RunTarget::Checkout(from.checkout.clone()),
        groups: vec![commands(&from.command, spot.as_ref())],
        keep_going: false,
        runtime: RuntimeOptions { no_secrets: true, ..from.runtime.clone() },
        fresh: false,
        refresh: false,
        agent: None,
        publishing: None,
        output: None,
        stdout: Some(Stdout { last: file.clone(), before: stderr()? }),
    };
    let mut report = RunReport::default();
    let code = run(app, &options, &mut report)?;
    let failed = report.leases.iter().flat_map(|lease| &lease.commands).find(|command| command.exit_code != Some(0));
    match failed {
        Some(command) => Err(no_content(&command.command, command.exit_code.unwrap_or(code)).into()),
        None => Ok(()),
    }
}

fn in_running(app: &App, from: &FixtureRuntime, task: &TaskRef, file: &StdoutFile) -> Result<()> {
    let lease: Lease = runtimes::only(app, Running { task, lease: None })?;
    let spot = match &from.taken {
        FixtureContent::Printed(_) => None,
        FixtureContent::Folder(folder) => Some(spot(folder)?),
        FixtureContent::ServiceData(name) => Some(data_of(&app.project(&lease.workspace)?, name)?),
    };
    let commands = commands(&from.command, spot.as_ref());
    for (index, command) in commands.iter().enumerate() {
        let stdout = if index + 1 == commands.len() { file.clone() } else { stderr()? };
        let code = runtimes::print_into(app, &lease, (&command.words, &from.runtime.extras), stdout)?;
        if code != 0 {
            return Err(no_content(&command.shown, code).into());
        }
    }
    Ok(())
}

fn no_content(command: &str, code: u8) -> Fault {
    let fault = failure(format!("no fixture was made: {command} ended with {code}"));
    match code {
        126 | 127 => fault.hint("the image needs the program, and sh and tar for a folder"),
        _ => fault.hint("what it printed stands above; what lies in a fixture must not change while it is read"),
    }
}

/// Standard output of a command that only prints on the way goes beside everything else
/// that people read.
fn stderr() -> Result<StdoutFile> {
    let fd = rustix::stdio::stderr().as_fd().try_clone_to_owned().context("cannot use standard error")?;
    Ok(StdoutFile { file: Arc::new(File::from(fd)), most: u64::MAX })
}

fn spot(folder: &str) -> Result<Spot> {
    // The workspace itself.
    let folder = folder.trim_end_matches('/');
    match folder {
        "" | "." => Err(usage("the whole workspace, or the whole root, is no fixture")
            .hint("name the folder in it that holds the data")
            .into()),
        _ => Ok(folder.parse()?),
    }
}

fn data_of(project: &Project, name: &str) -> Result<Spot> {
    let Some(service) = project.service.iter().find(|service| service.name == name) else {
        let names: Vec<_> = project.service.iter().map(|service| service.name.clone()).collect();
        let there = if names.is_empty() { "it has none".to_owned() } else { format!("it has {}", names.join(", ")) };
        return Err(not_found(format!("the project has no service {name}")).hint(there).into());
    };
    match &service.data {
        Some(data) => Ok(data.path.clone()),
        None => Err(not_found(format!("the project does not say where the service {name} has its data"))
            .hint("name the folder instead: envctl fixture create DIR --as NAME --task TASK")
            .into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(folder: &str) -> Vec<String> {
        tar_of(&spot(folder).unwrap()).into_iter().map(|word| word.into_string().unwrap()).collect()
    }

    #[test]
    fn a_folder_is_named_from_the_workspace_the_home_or_the_root_on() {
        assert_eq!(words("build/-x/")[4], "./build/-x");
        assert_eq!(words("/var/lib/db")[4], "/var/lib/db");
        let home = words("~/data");
        assert!(home[2].contains("$HOME/$1") && home[4] == "data", "{home:?}");
        for bad in ["", ".", "/", "a/../../b", "../x"] {
            assert!(spot(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_run_is_the_command_and_then_what_packs() {
        let command = ["make".into()];
        let shown = |all: Vec<Command>| all.into_iter().map(|one| one.shown).collect::<Vec<_>>();
        assert_eq!(shown(commands(&command, None)), ["make"]);
        assert_eq!(shown(commands(&command, Some(&spot("out").unwrap()))), ["make", "tar of out"]);
        assert_eq!(shown(commands(&[], Some(&spot("out").unwrap()))), ["tar of out"]);
    }

    #[test]
    fn a_service_says_where_its_data_are() {
        let text = "[[service]]\nname = \"db\"\ncommand = [\"x\"]\ndata = { fixture = \"f\", path = \"/data\" }\n\
            [[service]]\nname = \"web\"\ncommand = [\"x\"]\n\
            [[fixture]]\nname = \"f\"\nsource = \"@sha256:"
            .to_owned()
            + &"4".repeat(64)
            + "\"\n";
        let project = Project::parse(&text, "envctl.toml").unwrap();
        assert_eq!(data_of(&project, "db").unwrap().to_string(), "/data");
        assert!(data_of(&project, "web").unwrap_err().to_string().contains("where the service web"));
        assert!(data_of(&project, "no").unwrap_err().to_string().contains("no service no"));
    }
}
