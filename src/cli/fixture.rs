//! `envctl fixture`

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand};
use serde::Serialize;

use crate::clock::age;
use crate::handoff::{App, FixtureRow, create_fixture, fixtures};
use crate::identity::TaskId;
use crate::ui::{counted, human_bytes};

/// Put test data into a store, for tasks to read
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Create(Create),
    /// List the fixtures of the store, every version
    Ls,
}

/// Put a folder into the store, and print what `source` of a `[[fixture]]` says
///
/// The folder is read and stays as it is. Under the same name it is the next version;
/// the ones before stay, by their digests.
#[derive(Debug, Args)]
struct Create {
    /// The folder that holds the data
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// What it is called
    #[arg(long = "as", value_name = "NAME")]
    name: TaskId,
}

#[derive(Serialize)]
struct All {
    fixtures: Vec<FixtureRow>,
}

impl Arguments {
    pub(super) fn run(&self, app: &App) -> Result<u8> {
        match &self.verb {
            Verb::Create(create) => {
                let made = create_fixture(app, &create.folder, &create.name)?;
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
                if app.ui.is_json() {
                    app.ui.json(&All { fixtures })?;
                } else {
                    let now = app.clock.now();
                    let lines = fixtures.iter().map(|row| {
                        let newest = if row.newest { ", the newest" } else { "" };
                        let (size, made) = (human_bytes(row.bytes), age(row.created_at, now));
                        format!("{}  {size}, made {made}{newest}\n    source = \"{}\"", row.name, row.source)
                    });
                    app.ui.list(lines)?;
                }
            }
        }
        Ok(0)
    }
}
