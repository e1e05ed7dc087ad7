//! `envctl fixture`

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand};
use serde::Serialize;

use super::call::VerbCall;
use super::parse_task;
use super::session::VariableFlags;
use crate::clock::age;
use crate::error::usage;
use crate::handoff::{
    App, CheckoutOptions, FixtureContent, FixtureFrom, FixtureRow, FixtureRuntime, RuntimeOptions, create_fixture,
    fixtures,
};
use crate::identity::{TaskId, TaskRef};
use crate::runtime::Network;
use crate::ui::{counted, human_bytes};

/// Put test data into a store, for tasks to read
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Create(Box<Create>),
    /// List the fixtures of the store, every version
    Ls,
}

/// Put data into the store, and print what `source` of a `[[fixture]]` says
///
/// A folder of this machine is read and stays as it is. With a command the data come out
/// of a runtime: in a copy of this checkout, which goes afterwards, or with --task in the
/// running runtime of a task. The fixture is what the command prints, or the folder that is
/// named, as it is when the command has ended. Under the same name it is the next version;
/// the ones before stay, by their digests.
#[derive(Debug, Args)]
struct Create {
    /// The folder that holds the data: of this machine, or inside, if there is a command or a
    /// task
    #[arg(value_name = "DIR", required_unless_present_any = ["command", "service"])]
    folder: Option<PathBuf>,
    /// What it is called
    #[arg(long = "as", value_name = "NAME")]
    name: TaskId,
    /// Use the running runtime of this task
    #[arg(long, value_name = "TASK", value_parser = parse_task)]
    task: Option<TaskRef>,
    /// Take what this service of the project works on; it must not write meanwhile
    #[arg(long = "from-service", value_name = "SERVICE", conflicts_with = "folder", requires = "task")]
    service: Option<String>,
    /// What the file is called that holds what the command prints (default: NAME)
    #[arg(long, value_name = "FILE", conflicts_with_all = ["folder", "service"], requires = "command")]
    file: Option<String>,
    /// The image that the checkout runs in
    #[arg(long, value_name = "IMAGE", conflicts_with = "task", requires = "command")]
    image: Option<String>,
    /// What the runtime can reach, whatever the project asks for
    #[arg(long, value_enum, value_name = "NETWORK", conflicts_with = "task", requires = "command")]
    network: Option<Network>,
    #[command(flatten)]
    variables: VariableFlags,
    /// Program and arguments that make the data
    #[arg(last = true, value_name = "CMD")]
    command: Vec<OsString>,
}

impl Create {
    fn from(&self, app: &App) -> Result<FixtureFrom> {
        let taken = match (&self.folder, &self.service) {
            (Some(folder), _) if self.task.is_none() && self.command.is_empty() => {
                return Ok(FixtureFrom::Folder(folder.clone()));
            }
            (Some(folder), _) => {
                let folder = folder.to_str().ok_or_else(|| usage("the name of the folder is no UTF-8"))?;
                FixtureContent::Folder(folder.to_owned())
            }
            (None, Some(service)) => FixtureContent::ServiceData(service.clone()),
            (None, None) => FixtureContent::Printed(self.file_name()?),
        };
        Ok(FixtureFrom::Runtime(Box::new(FixtureRuntime {
            task: self.task.clone(),
            checkout: CheckoutOptions { image: self.image.clone(), ..CheckoutOptions::default() },
            runtime: RuntimeOptions {
                network: self.network,
                extras: self.variables.extras(&app.env)?,
                ..RuntimeOptions::default()
            },
            command: self.command.clone(),
            taken,
        })))
    }

    fn file_name(&self) -> Result<String> {
        let name = self.file.clone().unwrap_or_else(|| self.name.to_string());
        let odd = name.chars().any(|c| c == '/' || c.is_control());
        if odd || name.is_empty() || name == "." || name == ".." || name.len() > 255 {
            return Err(usage(format!("{name:?} names no file")).hint("--file takes a name without slashes").into());
        }
        Ok(name)
    }
}

#[derive(Serialize)]
struct All {
    fixtures: Vec<FixtureRow>,
}

impl Arguments {
    pub(super) fn run(&self, VerbCall { app, .. }: VerbCall<'_>) -> Result<u8> {
        match &self.verb {
            Verb::Create(create) => {
                let from = create.from(app)?;
                let made = {
                    let _aside = app.ui.aside()?;
                    create_fixture(app, &from, &create.name)?
                };
                let what = format!("{}, {}", counted(made.entries, "entry", "entries"), human_bytes(made.bytes));
                app.ui.status("Stored", &format!("the fixture {}, {what}", made.name));
                if app.ui.is_json() {
                    app.ui.json(&made)?;
                } else {
                    app.ui.data(&format!("source = \"{}\"", made.source))?;
                }
            }
            Verb::Ls => {
                let fixtures = fixtures(app)?;
                if fixtures.is_empty() {
                    app.ui.status("Found", "no fixture in the store");
                }
                if app.ui.is_json() {
                    app.ui.json(&All { fixtures })?;
                } else {
                    let now = app.clock.now();
                    let lines = fixtures.iter().flat_map(|row| {
                        let newest = if row.newest { ", the newest" } else { "" };
                        let (size, made) = (human_bytes(row.bytes), age(row.created_at, now));
                        let first = format!("{}  {size}, made {made}{newest}", row.name);
                        [first, format!("    source = \"{}\"", row.source)]
                    });
                    app.ui.list(lines)?;
                }
            }
        }
        Ok(0)
    }
}
