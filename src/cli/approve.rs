//! `envctl approve`

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use super::call::VerbCall;
use super::parse_task;
use crate::digest::Digest;
use crate::handoff::{App, Asked, approvals, approve, approve_checkout, approve_host, approve_task, revoke};
use crate::identity::TaskRef;

/// Agree to what a project asks of this machine
///
/// Shows what the envctl.toml of a task, or of the checkout in which you are, asks
/// for (secrets, networks, fixed ports), and asks. What you agree to is remembered
/// by its content: a project that asks for anything else asks again.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// TASK, STORE:TASK or STORE@sha256:...; this checkout, if none is named
    #[arg(value_parser = parse_task, conflicts_with_all = ["list", "revoke", "digest", "host"])]
    task: Option<TaskRef>,
    /// Agree to exactly this content, without a question
    #[arg(long, value_name = "DIGEST")]
    digest: Option<Digest>,
    /// Agree to fetching repositories from this host (`SCHEME://HOST[:PORT]`, or `HOST[:PORT]`
    /// for https and ssh), or from this `file:` URL, or to asking this registry
    /// (`oci://HOST[:PORT]`), without a question
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// Show what was agreed to
    #[arg(long, conflicts_with_all = ["digest", "host", "revoke"])]
    list: bool,
    /// Take back a digest, a repository, the folder of a checkout or a host
    #[arg(long, value_name = "NAME", conflicts_with_all = ["digest", "host"])]
    revoke: Option<String>,
}

#[derive(Serialize)]
struct Output {
    approved: Vec<String>,
    revoked: Vec<String>,
}

impl Arguments {
    pub(super) fn run(&self, VerbCall { app, .. }: VerbCall<'_>) -> Result<u8> {
        if self.list {
            return list(app);
        }
        let (mut approved, mut revoked) = (Vec::new(), Vec::new());
        if let Some(name) = &self.revoke {
            revoked = revoke(app, name)?;
        }
        if let Some(digest) = self.digest {
            approve(app, digest, None)?;
            approved.push(digest.to_string());
        }
        if let Some(host) = &self.host {
            approve_host(app, host)?;
            approved.push(host.clone());
        }
        let others = self.revoke.is_some() || self.digest.is_some() || self.host.is_some();
        if self.task.is_some() || !others {
            match self.task.as_ref().map_or_else(|| approve_checkout(app), |task| approve_task(app, task))? {
                Asked::Nothing => app.ui.status("Found", "nothing to approve: the project asks for nothing"),
                Asked::Agreed(digest) => approved.push(digest.to_string()),
            }
        }
        if app.ui.is_json() {
            app.ui.json(&Output { approved, revoked })?;
        } else {
            approved.iter().try_for_each(|name| app.ui.data(&format!("approved   {name}")))?;
            revoked.iter().try_for_each(|name| app.ui.data(&format!("revoked    {name}")))?;
        }
        Ok(0)
    }
}

fn list(app: &App) -> Result<u8> {
    let all = approvals(app)?;
    if app.ui.is_json() {
        app.ui.json(&all)?;
        return Ok(0);
    }
    for approval in &all.approval {
        app.ui.data(&approval.digest.to_string())?;
        let Some(asks) = &approval.asks else {
            app.ui.data("    by its digest alone: what it stands for was not on record")?;
            continue;
        };
        app.ui.data(&format!("    {}", asks.who()))?;
        asks.lines().iter().try_for_each(|line| app.ui.whole(&format!("    {line}")))?;
    }
    for host in &all.host {
        app.ui.data(&format!("host {}", host.name))?;
    }
    if all.approval.is_empty() && all.host.is_empty() {
        app.ui.status("Found", "nothing that was approved");
    }
    Ok(0)
}
