//! `envctl ports`

use anyhow::Result;
use clap::{Args, Subcommand};
use serde::Serialize;

use super::running::RunningArguments;
use crate::config::PortEntry;
use crate::handoff::{App, add_ports, ports};
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
        running: RunningArguments,
    },
    /// Publish ports on localhost
    Add {
        #[command(flatten)]
        running: RunningArguments,
        /// The port inside: 3000, or 3000=8080 for a fixed port of the host
        #[arg(required = true, value_name = "PORT")]
        ports: Vec<PortEntry>,
    },
}

#[derive(Serialize)]
struct Output {
    task: String,
    ports: Vec<Port>,
}

impl Arguments {
    pub(super) fn run(&self, app: &App) -> Result<u8> {
        let lease = match &self.verb {
            Verb::Ls { running } => ports(app, running.get())?,
            Verb::Add { running, ports } => {
                let request = |port: &PortEntry| PortRequest { inside: port.inside, host: port.host };
                add_ports(app, running.get(), &ports.iter().map(request).collect::<Vec<_>>())?
            }
        };
        if app.ui.is_json() {
            app.ui.json(&Output { task: lease.task, ports: lease.ports })?;
            return Ok(0);
        }
        for port in &lease.ports {
            app.ui.data(&format!("{:<6} localhost:{}", port.inside, port.host))?;
        }
        Ok(0)
    }
}
