//! The greeting: where one is, and why one was called.

use crate::clock::age;
use crate::handoff::app::App;
use crate::handoff::runtimes::tell_outside;
use crate::handoff::task::{Pin, Resolved, summary};
use crate::runtime::Network;

/// Where one is, and why. `workspace` says which one it is, where that is no matter
/// of course.
pub(crate) fn greet(app: &App, resolved: &Resolved, network: Network, workspace: Option<&str>, interactive: bool) {
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
    if interactive {
        why(app, resolved);
    }
}

/// Why somebody was called: status, message, last command; and what of the
/// last run is not here.
fn why(app: &App, resolved: &Resolved) {
    // What was published from the workspace since says more than what it was
    // made from.
    let latest = resolved.pin.as_ref().and_then(|pin: &Pin| pin.continues(&resolved.task.slug()));
    let latest = latest.filter(|latest| *latest != resolved.digest);
    let latest = latest.and_then(|latest| app.pins().identity(&latest).ok().flatten());
    let identity = latest.as_ref().unwrap_or(&resolved.identity);
    let handoff = &identity.handoff;
    let by = identity.agent_identity.as_ref().map_or_else(String::new, |agent| format!(" by {agent}"));
    let when = age(identity.created_at, app.clock.now());
    app.ui.status("Status", &format!("{}, published{by} {when}", handoff.status));
    if let Some(message) = &handoff.message {
        app.ui.status("Message", message);
    }
    if let Some(command) = &handoff.command {
        let code = handoff.exit_code.map_or_else(String::new, |code| format!(" (exit code {code})"));
        app.ui.status("Last run", &format!("{command}{code}"));
    }
    if let Some(outside) = &handoff.outside {
        tell_outside(app, outside.files, outside.removed, &outside.paths, "the last run");
    }
}
