//! What `enter` and its kin say beside the command's own words.

use crate::error::{Fault, Kind, failure};
use crate::handoff::app::App;
use crate::quantity::human_duration;
use crate::runtime::{self, Lease, Means, Outcome, Receipt};
use crate::ui::counted;

/// How many of the files that a run changed outside the workspace are named in
/// one line.
const SHOWN: usize = 5;

/// How many characters of each.
const MAX_PATH: usize = 120;

/// How a detached command ended, for its log.
pub(crate) fn tell_end(app: &App, receipt: &Receipt, outcome: Option<&Outcome>) {
    let how = match outcome {
        None => return,
        Some(Outcome::NotStarted { program, errno }) => {
            format!("{program} could not be started: {}", std::io::Error::from_raw_os_error(*errno))
        }
        Some(Outcome::TimedOut) => "its deadline ended it".to_owned(),
        Some(Outcome::Lost) => format!("its runtime was ended ({})", receipt.reason),
        Some(outcome) => format!("exit code {}", outcome.exit_code()),
    };
    app.ui.status("Ended", &format!("{}: {how}", receipt.task));
}

/// What was changed outside the workspace, and is gone.
pub(crate) fn tell_outside(app: &App, files: u64, removed: u64, paths: &[String], who: &str) {
    let short = |path: &String| path.chars().take(MAX_PATH).collect::<String>();
    let named = paths.iter().take(SHOWN).map(short).collect::<Vec<_>>().join(", ");
    let more = if (files + removed) > SHOWN as u64 { ", ..." } else { "" };
    let what = match (files, removed) {
        (0, removed) => format!("{removed} removed"),
        (files, 0) => format!("{files} written"),
        (files, removed) => format!("{files} written, {removed} removed"),
    };
    app.ui.status(
        "Outside",
        &format!("files that {who} changed outside the workspace are not kept: {what}: {named}{more}"),
    );
}

/// Which port of the host leads to which one inside.
pub(crate) fn tell_ports(app: &App, lease: &Lease) {
    for port in &lease.ports {
        app.ui.status("Port", &format!("{} inside is localhost:{} here", port.inside, port.host));
    }
}

/// Which limits nobody keeps here, or only roughly.
pub(crate) fn tell_limits(app: &App, lease: &Lease) {
    let of = |name: &str, means: Option<Means>| match means {
        Some(Means::Watched) => Some(format!("{name} is watched, not limited by the kernel")),
        Some(Means::None) => Some(format!("{name} is not limited")),
        Some(Means::Cgroup | Means::Rlimit) | None => None,
    };
    let enforced = lease.enforced;
    let parts = [of("memory", enforced.memory), of("the number of processes", enforced.processes)];
    let parts: Vec<String> = parts.into_iter().chain([of("processor time", enforced.cpus)]).flatten().collect();
    if !parts.is_empty() {
        app.ui.warn(&format!("{}: this machine delegates no cgroup to this user", parts.join(", ")));
    }
}

/// When a runtime ends by itself, in words.
pub fn deadline(lease: &Lease) -> Option<String> {
    lease.deadline.map(|at| format!("in {}", human_duration(runtime::until(at))))
}

/// What the exit code alone does not say.
pub(crate) fn tell(app: &App, task: &str, outcome: &Outcome) {
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
            app.ui.error(&anyhow::Error::new(reason).context(fault), outcome.exit_code());
        }
        Outcome::Cancelled(signal) => {
            app.ui.warn(&format!("the run of {task} was cancelled by {}", signal_name(*signal)));
        }
        Outcome::TimedOut => app.ui.warn(&format!("the runtime of {task} has reached its deadline")),
        Outcome::Lost => app.ui.warn(&format!("the runtime of {task} was reset meanwhile")),
    }
}

/// As `kill -l` lists them, where it is one that ends runs.
pub(crate) fn signal_name(signal: i32) -> String {
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
pub(crate) fn check_baseline(receipt: &Receipt) -> Result<(), Fault> {
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

/// What a reset had to end, and what it found.
pub(crate) fn tell_reset(app: &App, receipt: &Receipt) {
    for path in receipt.exposed.iter().flatten() {
        app.ui.warn(&format!("{} in the workspace holds the value of a secret, and stays", path.display()));
    }
    if receipt.unsearched > 0 {
        app.ui.warn(&format!(
            "{} files or folders of the workspace could not be searched for the values of secrets",
            receipt.unsearched
        ));
    }
    let killed = receipt.processes.removed.unwrap_or_default();
    if killed > 0 {
        app.ui.status("Reset", &format!("{} running, and ended", counted(killed, "process was", "processes were")));
    } else {
        app.ui.detail("reset to baseline: nothing of the runtime is left");
    }
}
