//! `envctl ports`

use anyhow::Result;
use clap::{Args, Subcommand};
use serde::Serialize;

use super::call::VerbCall;
use super::running::{RunningArguments, RunningHere};
use crate::config::PortEntry;
use crate::handoff::{add_ports, listens, ports, remove_ports};
use crate::runtime::{Port, PortRequest};

/// Show or publish ports of a running runtime
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List the ports that are published
    Ls {
        #[command(flatten)]
        running: RunningHere,
    },
    /// Publish ports on localhost
    Add {
        #[command(flatten)]
        running: RunningArguments,
        /// The port inside: 3000; or 8080:3000 for port 8080 of this machine
        #[arg(required = true, value_name = "PORT")]
        ports: Vec<PortEntry>,
    },
    /// Publish ports no longer; connections that are open go on
    Rm {
        #[command(flatten)]
        running: RunningArguments,
        /// The port inside
        #[arg(required = true, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
        ports: Vec<u16>,
    },
}

#[derive(Serialize)]
struct Output<'a> {
    task: &'a str,
    ports: Vec<Row<'a>>,
}

#[derive(Serialize)]
struct Row<'a> {
    #[serde(flatten)]
    port: &'a Port,
    /// `null` when that cannot be seen.
    listens: Option<bool>,
}

impl Arguments {
    pub(super) fn run(&self, VerbCall { app, .. }: VerbCall<'_>) -> Result<u8> {
        let lease = match &self.verb {
            Verb::Ls { running } => {
                let task = running.task(app)?;
                ports(app, running.of(&task))?
            }
            Verb::Add { running, ports } => {
                let request = |port: &PortEntry| PortRequest { inside: port.inside, host: port.host };
                add_ports(app, running.get(), &ports.iter().map(request).collect::<Vec<_>>())?
            }
            Verb::Rm { running, ports } => remove_ports(app, running.get(), ports)?,
        };
        if app.ui.is_json() {
            let ports = lease.ports.iter().map(|port| Row { port, listens: listens(&lease, port) }).collect();
            app.ui.json(&Output { task: &lease.task, ports })?;
            return Ok(0);
        }
        if lease.ports.is_empty() {
            app.ui.status("Found", &format!("no forwarded port of {}", lease.task));
        }
        for port in &lease.ports {
            let heard = if listens(&lease, port) == Some(false) { "  nothing listens inside" } else { "" };
            app.ui.data(&format!("{:<6} localhost:{}{heard}", port.inside, port.host))?;
        }
        Ok(0)
    }
}
