//! The greeting: where one is, why one was called, and how to leave. Six lines of a
//! usual terminal, whatever a task says of itself.

use crate::clock::age;
use crate::handoff::app::App;
use crate::handoff::report::{CacheOrigin, Report};
use crate::handoff::runtimes::{outside_in_words, port_in_words};
use crate::handoff::task::{Pin, Resolved, summary};
use crate::handoff::words::short_path;
use crate::handoff::workspaces::Place;
use crate::identity::Identity;
use crate::runtime::{Lease, Network};

/// Lines of a greeting, with the first.
const LINES: usize = 6;

/// Columns of a path in it.
const PATH: usize = 40;

/// Where one is. `workspace` says which one it is, where that is no matter of course.
pub(crate) fn greet(app: &App, resolved: &Resolved, network: Network, workspace: Option<&str>) {
    let identity = &resolved.identity;
    let pinned = match &resolved.pin {
        Some(_) => format!(", pinned {}", age(resolved.pinned_at, app.clock.now())),
        None => String::new(),
    };
    let network = match network {
        Network::Isolated => "isolated network",
        Network::Private => "private network",
        Network::Host => "the host's network",
    };
    let workspace = workspace.map_or_else(String::new, |workspace| format!(", {workspace}"));
    let (task, on) = (&identity.task_id, summary(resolved));
    app.ui.status("Entering", &format!("{task} on {on} ({network}{pinned}{workspace})"));
}

/// What somebody who is about to type wants to know beside it.
pub(crate) fn welcome(app: &App, resolved: &Resolved, lease: &Lease, place: &Place, report: &Report) {
    let latest = latest(app, resolved);
    let identity = latest.as_ref().unwrap_or(&resolved.identity);
    let mut lines = why(app, identity);
    lines.extend(inside(lease, report));
    lines.extend(outside(identity));
    // How to leave is never left out.
    lines.truncate(LINES - 2);
    let home = app.env.home.as_deref();
    let files = match short_path(&place.path, home, PATH) {
        // Nobody could open a part of it.
        cut if cut.contains('…') => format!(": envctl workspace path {}", resolved.task.target),
        whole => format!(" stay in {whole}"),
    };
    lines.push(("Leave", format!("exit or Ctrl-D; the files{files}")));
    lines.iter().for_each(|(verb, text)| app.ui.brief(verb, text));
}

/// What was published from the workspace since says more than what it was made from. A
/// workspace that has just been made anew has published nothing.
fn latest(app: &App, resolved: &Resolved) -> Option<Identity> {
    let pin = resolved.pin.as_ref().filter(|pin: &&Pin| pin.identity == resolved.digest);
    let latest = pin.and_then(|pin| pin.continues(&resolved.task.slug()));
    let latest = latest.filter(|latest| *latest != resolved.digest)?;
    app.pins().identity(&latest).ok().flatten()
}

/// Why one was called.
fn why(app: &App, identity: &Identity) -> Vec<(&'static str, String)> {
    let handoff = &identity.handoff;
    let by = identity.agent_identity.as_ref().map_or_else(String::new, |agent| format!(" by {agent}"));
    let when = age(identity.created_at, app.clock.now());
    let mut lines = vec![("Status", format!("{}, published{by} {when}", handoff.status))];
    lines.extend(handoff.message.clone().map(|message| ("Message", message)));
    lines.extend(handoff.command.as_ref().map(|command| {
        let code = handoff.exit_code.map_or_else(String::new, |code| format!("(exit code {code}) "));
        ("Last run", format!("{code}{command}"))
    }));
    lines
}

/// Ports, services and where they print, what is lent, caches that it goes without.
fn inside(lease: &Lease, report: &Report) -> Option<(&'static str, String)> {
    let mut parts: Vec<String> = lease.ports.iter().map(|port| format!("port {}", port_in_words(port))).collect();
    if !lease.services.is_empty() {
        parts.push(format!("{} (envctl logs {} NAME)", lease.services.join(", "), lease.task));
    }
    if !lease.lent.is_empty() {
        parts.push(format!("your git credentials for {}", lease.lent.join(", ")));
    }
    let missing = report.caches.iter().filter(|cache| cache.found == CacheOrigin::Missing);
    let missing: Vec<&str> = missing.map(|cache| cache.name.as_str()).collect();
    if !missing.is_empty() {
        let caches = if missing.len() == 1 { "cache" } else { "caches" };
        parts.push(format!("without the {caches} {}", missing.join(", ")));
    }
    (!parts.is_empty()).then(|| ("Inside", parts.join("; ")))
}

/// What of the last run is not here.
fn outside(identity: &Identity) -> Option<(&'static str, String)> {
    let outside = identity.handoff.outside.as_ref()?;
    let what = outside_in_words(outside.files, outside.removed, &outside.paths);
    Some(("Outside", format!("not kept of the last run: {what}")))
}
