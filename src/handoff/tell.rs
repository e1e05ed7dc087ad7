//! What `enter` and its kin say beside the command's own words.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use super::context::Context;
use super::pin::Pin;
use super::resolve::Resolved;
use crate::clock::age;
use crate::error::{Fault, Kind, failure};
use crate::identity::{Instead, Redacted};
use crate::quantity::human_duration;
use crate::runtime::{self, Lease, Means, Network, Outcome, Receipt};
use crate::ui::{Ui, counted};
use crate::workspace::{self, Planted, Run, Since};

/// How many files are named one by one.
const MAX_FILES: usize = 10;

/// How many things are named that git on the host is kept from.
const MAX_PLANTED: usize = 50;

/// How many of the files that a run changed outside the workspace are named in
/// one line.
const SHOWN: usize = 5;

/// How many characters of each.
const MAX_PATH: usize = 120;

/// The branch and the commit.
pub(super) fn summary(resolved: &Resolved) -> String {
    let repo = &resolved.identity.repo;
    match &repo.branch {
        Some(branch) => format!("{branch} ({})", repo.commit.short()),
        None => repo.commit.short().to_owned(),
    }
}

/// Where one is, and why.
pub(super) fn greet(ctx: &Context, resolved: &Resolved, network: Network, interactive: bool) {
    let identity = &resolved.identity;
    let pinned = match &resolved.pin {
        Some(_) => format!(", pinned {}", age(resolved.pinned_at, ctx.clock.now())),
        None => String::new(),
    };
    let network = match network {
        Network::Isolated => "isolated network",
        Network::Private => "private network",
        Network::Host => "the host's network",
    };
    ctx.ui.status("Entering", &format!("{} on {} ({network}{pinned})", identity.task_id, summary(resolved)));
    if interactive {
        why(ctx, resolved);
    }
}

/// Why somebody was called: status, message, last command; and what of the
/// last run is not here.
fn why(ctx: &Context, resolved: &Resolved) {
    // What was published from the workspace since says more than what it was
    // made from.
    let latest = resolved.pin.as_ref().and_then(|pin: &Pin| pin.continues(&resolved.task.slug()));
    let latest = latest.filter(|latest| *latest != resolved.digest);
    let latest = latest.and_then(|latest| ctx.pins().identity(&latest).ok().flatten());
    let identity = latest.as_ref().unwrap_or(&resolved.identity);
    let handoff = &identity.handoff;
    let by = identity.agent_identity.as_ref().map_or_else(String::new, |agent| format!(" by {agent}"));
    let when = age(identity.created_at, ctx.clock.now());
    ctx.ui.status("Status", &format!("{}, published{by} {when}", handoff.status));
    if let Some(message) = &handoff.message {
        ctx.ui.status("Message", message);
    }
    if let Some(command) = &handoff.command {
        let code = handoff.exit_code.map_or_else(String::new, |code| format!(" (exit code {code})"));
        ctx.ui.status("Last run", &format!("{command}{code}"));
    }
    if let Some(outside) = &handoff.outside {
        tell_outside(ctx, outside.files, outside.removed, &outside.paths, "the last run");
    }
}

/// How a detached command ended, for its log.
pub(super) fn tell_end(ctx: &Context, receipt: &Receipt, outcome: Option<&Outcome>) {
    let how = match outcome {
        None => return,
        Some(Outcome::NotStarted { program, errno }) => {
            format!("{program} could not be started: {}", std::io::Error::from_raw_os_error(*errno))
        }
        Some(Outcome::TimedOut) => "its deadline ended it".to_owned(),
        Some(Outcome::Lost) => format!("its runtime was ended ({})", receipt.reason),
        Some(outcome) => format!("exit code {}", outcome.exit_code()),
    };
    ctx.ui.status("Ended", &format!("{}: {how}", receipt.task));
}

/// What was changed outside the workspace, and is gone.
pub(super) fn tell_outside(ctx: &Context, files: u64, removed: u64, paths: &[String], who: &str) {
    let short = |path: &String| path.chars().take(MAX_PATH).collect::<String>();
    let named = paths.iter().take(SHOWN).map(short).collect::<Vec<_>>().join(", ");
    let more = if (files + removed) > SHOWN as u64 { ", ..." } else { "" };
    let what = match (files, removed) {
        (0, removed) => format!("{removed} removed"),
        (files, 0) => format!("{files} written"),
        (files, removed) => format!("{files} written, {removed} removed"),
    };
    ctx.ui.status(
        "Outside",
        &format!("files that {who} changed outside the workspace are not kept: {what}: {named}{more}"),
    );
}

/// Which files are not as the publisher had them, and why.
pub(super) fn tell_redacted(ctx: &Context, redacted: &[Redacted]) {
    for file in redacted.iter().take(MAX_FILES) {
        let instead = match file.instead {
            Instead::Nothing => "it is absent",
            Instead::Committed => "it is as it was committed",
            Instead::Staged => "it is as it was staged",
        };
        ctx.ui.warn(&format!(
            "{} was left out, because it holds a credential ({}): {instead}",
            file.path,
            file.rules.join(", ")
        ));
    }
    if redacted.len() > MAX_FILES {
        ctx.ui.warn(&format!("{} more files were left out; envctl show lists them", redacted.len() - MAX_FILES));
    }
}

/// Which port of the host leads to which one inside.
pub(super) fn tell_ports(ctx: &Context, lease: &Lease) {
    for port in &lease.ports {
        ctx.ui.status("Port", &format!("{} inside is localhost:{} here", port.inside, port.host));
    }
}

/// Which limits nobody keeps here, or only roughly.
pub(super) fn tell_limits(ctx: &Context, lease: &Lease) {
    let of = |name: &str, means: Option<Means>| match means {
        Some(Means::Watched) => Some(format!("{name} is watched, not limited by the kernel")),
        Some(Means::None) => Some(format!("{name} is not limited")),
        Some(Means::Cgroup | Means::Rlimit) | None => None,
    };
    let enforced = lease.enforced;
    let parts = [of("memory", enforced.memory), of("the number of processes", enforced.processes)];
    let parts: Vec<String> = parts.into_iter().chain([of("processor time", enforced.cpus)]).flatten().collect();
    if !parts.is_empty() {
        ctx.ui.warn(&format!("{}: this machine delegates no cgroup to this user", parts.join(", ")));
    }
}

/// When a runtime ends by itself, in words.
pub fn deadline(lease: &Lease) -> Option<String> {
    lease.deadline.map(|at| format!("in {}", human_duration(runtime::until(at))))
}

/// What the exit code alone does not say.
pub(super) fn tell(ctx: &Context, task: &str, outcome: &Outcome) {
    match outcome {
        Outcome::Exited(_) => {}
        Outcome::NotStarted { program, errno } => {
            let reason = std::io::Error::from_raw_os_error(*errno);
            let hint = match reason.kind() {
                std::io::ErrorKind::NotFound => {
                    "it is not on the PATH inside; look at the image, or name it by its path"
                }
                _ => "look whether it is a program, and executable: ls -l inside",
            };
            let fault = failure(format!("cannot run {program} inside")).hint(hint);
            ctx.ui.error(&anyhow::Error::new(reason).context(fault), outcome.exit_code());
        }
        Outcome::Cancelled(signal) => {
            ctx.ui.warn(&format!("the run of {task} was cancelled by {}", signal_name(*signal)));
        }
        Outcome::TimedOut => ctx.ui.warn(&format!("the runtime of {task} has reached its deadline")),
        Outcome::Lost => ctx.ui.warn(&format!("the runtime of {task} was reset meanwhile")),
    }
}

/// As `kill -l` lists them, where it is one that ends runs.
pub(super) fn signal_name(signal: i32) -> String {
    match signal {
        libc::SIGHUP => "SIGHUP".into(),
        libc::SIGINT => "SIGINT".into(),
        libc::SIGQUIT => "SIGQUIT".into(),
        libc::SIGTERM => "SIGTERM".into(),
        other => format!("signal {other}"),
    }
}

/// A leak is an error, whatever the command said.
///
/// # Errors
/// [`Kind::Leak`].
pub(super) fn check_baseline(receipt: &Receipt) -> Result<(), Fault> {
    if receipt.baseline {
        return Ok(());
    }
    let fault = failure(format!(
        "the runtime is gone, but not everything of it: {} processes, {} mounts, {} ports, {} scratch folders are left",
        receipt.processes.left, receipt.mounts.left, receipt.ports.left, receipt.scratch.left
    ));
    let fault = match &receipt.uncleared {
        Some(why) => Fault { message: format!("{}: {why}", fault.message), ..fault },
        None => fault,
    };
    Err(Fault { kind: Kind::Leak, ..fault }.hint("envctl reset --all tries again"))
}

/// Looks for what a run has left for git on the host to run, and names what
/// was put out of its way.
/// What belongs to other ids of the image is renamed as their root.
pub(super) fn audit(ui: Ui, lease: &Lease, path: Option<&OsStr>) -> Vec<String> {
    if !lease.workspace.is_dir() {
        let gone = format!("{} is not there any more: it was not searched", lease.workspace.display());
        ui.warn(&gone);
        return vec![gone];
    }
    let run = run(lease);
    let mut said = Vec::new();
    let look = || workspace::audit(&lease.workspace, run);
    let looked = look().and_then(|mut found| {
        if !found.unseen.is_empty() {
            let _ = runtime::Mapping::new(0, 0, path).inside(|| look().map(drop));
            let again = look()?;
            let gone = found.unseen.into_iter().filter(|one| again.unseen.iter().all(|left| left.path != one.path));
            found.renamed.extend(gone);
            found.renamed.extend(again.renamed);
            found.restored.extend(again.restored);
            found.unseen = again.unseen;
        }
        Ok(found)
    });
    match looked {
        Ok(found) => {
            for one in found.unseen.iter().take(MAX_PLANTED) {
                let path = short(&one.path);
                said.push(format!("do not use git in {path}: it may obey what was planted there: {}", one.why));
            }
            said.extend(found.renamed.iter().take(MAX_PLANTED).map(renamed));
            said.extend(found.restored.iter().map(restored));
            let more = |all: &[Planted]| all.len().saturating_sub(MAX_PLANTED);
            let more = more(&found.renamed) + more(&found.unseen);
            if more > 0 {
                said.push(format!("the same is so of {more} more; what was renamed is called *.envctl-quarantine*"));
            }
        }
        Err(error) => {
            said.push(format!("the workspace could not be searched for planted git settings: {error:#}"));
        }
    }
    said.iter().for_each(|line| ui.warn(line));
    said
}

/// Looks for the same while a run lasts, for git that is used meanwhile.
pub(super) fn watch(ui: Ui, lease: &Lease, stop: &OwnedFd) -> Vec<String> {
    let watched = workspace::watch(&lease.workspace, run(lease), stop.as_fd());
    let mut said: Vec<String> = watched.found.renamed.iter().take(MAX_PLANTED).map(renamed).collect();
    said.extend(watched.found.restored.iter().take(MAX_PLANTED).map(restored));
    if let Some(why) = watched.incomplete {
        said.push(format!(
            "not every folder was watched for planted git settings during the run ({why}); \
             sysctl fs.inotify.max_user_watches says how many there may be"
        ));
    }
    said.iter().for_each(|line| ui.warn(line));
    said
}

fn run(lease: &Lease) -> Run<'_> {
    Run { since: Since { seconds: lease.begun, nanos: lease.begun_nanos }, kept: &lease.kept }
}

fn restored(one: &Planted) -> String {
    format!("{} in the workspace was changed inside: {}", short(&one.path), one.why)
}

fn renamed(one: &Planted) -> String {
    format!("{} was written inside and renamed, because git would obey it: {}", short(&one.path), one.why)
}

/// A path of which only the end is long.
fn short(path: &Path) -> String {
    let whole = if path.as_os_str().is_empty() { ".".into() } else { path.to_string_lossy() };
    match whole.char_indices().nth(4 * MAX_PATH) {
        Some((end, _)) => format!("{}...", whole.get(..end).unwrap_or_default()),
        None => whole.into_owned(),
    }
}

/// What a reset had to end, and what it found.
pub(super) fn tell_reset(ctx: &Context, receipt: &Receipt) {
    for path in receipt.exposed.iter().flatten() {
        ctx.ui.warn(&format!("{} in the workspace holds the value of a secret, and stays", path.display()));
    }
    if receipt.unsearched > 0 {
        ctx.ui.warn(&format!(
            "{} files or folders of the workspace could not be searched for the values of secrets",
            receipt.unsearched
        ));
    }
    let killed = receipt.processes.removed.unwrap_or_default();
    if killed > 0 {
        ctx.ui.status("Reset", &format!("{} running, and ended", counted(killed, "process was", "processes were")));
    } else {
        ctx.ui.detail("reset to baseline: nothing of the runtime is left");
    }
}
