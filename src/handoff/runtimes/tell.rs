//! What `enter` and its kin say beside the command's own words.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Fault, Kind, failure};
use crate::handoff::app::App;
use crate::quantity::human_duration;
use crate::runtime::{self, EndedService, Later, Lease, Means, OutOfMemory, Outcome, Port, Receipt, Soon};
use crate::ui::counted;

/// How many of the files that a run changed outside the workspace are named in
/// one line.
const SHOWN: usize = 5;

/// How many characters of each.
const MAX_PATH: usize = 120;

/// How a detached command ended, for its log.
pub(crate) fn tell_end(app: &App, receipt: &Receipt, outcome: Option<&Outcome>) {
    receipt.out_of_memory.iter().for_each(|end| app.ui.warn(&out_of_memory(end)));
    let how = match outcome {
        None => return,
        Some(Outcome::NotStarted { program, errno }) => {
            format!("{program} could not be started: {}", std::io::Error::from_raw_os_error(*errno))
        }
        Some(Outcome::TimedOut) => "its deadline ended it".to_owned(),
        Some(Outcome::Idle) => "it ended because nothing was done in it".to_owned(),
        Some(Outcome::Lost) => format!("its runtime was ended ({})", receipt.reason),
        Some(outcome) => format!("exit code {}", outcome.exit_code()),
    };
    app.ui.status("Ended", &format!("{}: {how}", receipt.task));
}

/// What was changed outside the workspace, and is gone.
pub(crate) fn tell_outside(app: &App, files: u64, removed: u64, paths: &[String], who: &str) {
    let what = outside_in_words(files, removed, paths);
    app.ui.status("Outside", &format!("files that {who} changed outside the workspace are not kept: {what}"));
}

/// How many files, and the first of them.
pub(crate) fn outside_in_words(files: u64, removed: u64, paths: &[String]) -> String {
    let short = |path: &String| path.chars().take(MAX_PATH).collect::<String>();
    let named = paths.iter().take(SHOWN).map(short).collect::<Vec<_>>().join(", ");
    let more = if (files + removed) > SHOWN as u64 { ", ..." } else { "" };
    let what = match (files, removed) {
        (0, removed) => format!("{removed} removed"),
        (files, 0) => format!("{files} written"),
        (files, removed) => format!("{files} written, {removed} removed"),
    };
    format!("{what}: {named}{more}")
}

/// Which port of the host leads to which one inside.
pub(crate) fn tell_ports(app: &App, lease: &Lease) {
    lease.ports.iter().for_each(|port| app.ui.status("Port", &port_in_words(port)));
}

/// Both numbers, and which is which.
pub(crate) fn port_in_words(port: &Port) -> String {
    format!("{} inside is localhost:{} here", port.inside, port.host)
}

/// How long a command may take until it listens on what is published.
const LISTENS: Duration = Duration::from_secs(20);

/// Says after a while on which published ports nothing listens inside: the numbers may
/// be in the wrong order, or the server may have failed.
pub(crate) fn tell_unheard(app: &App, lease: &Lease) -> Option<Later> {
    if lease.ports.is_empty() {
        return None;
    }
    let (ui, lease) = (app.ui, lease.clone());
    let look = move || {
        let heard = runtime::heard_ports(&lease).into_iter();
        heard.flat_map(|heard| unheard_in_words(&lease.ports, &heard)).for_each(|words| ui.warn(&words));
    };
    Some(Later { after: LISTENS, look: Arc::new(look) })
}

/// Of each port on which nothing listens.
fn unheard_in_words(ports: &[Port], heard: &BTreeSet<u16>) -> Vec<String> {
    let words = |Port { inside, host, .. }: &Port| {
        let swapped = match heard.contains(host) {
            true => format!(". Something listens on {host} inside: -p {inside}:{host} publishes that"),
            false => String::new(),
        };
        format!("nothing listens on port {inside} inside yet, so localhost:{host} does not answer{swapped}")
    };
    ports.iter().filter(|port| !heard.contains(&port.inside)).map(words).collect()
}

/// Whether something inside listens on a published port; `None` when that cannot be seen.
pub fn listens(lease: &Lease, port: &Port) -> Option<bool> {
    runtime::heard_ports(lease).map(|heard| heard.contains(&port.inside))
}

/// Which services ended before the command did. Their logs are gone with the runtime.
pub(crate) fn tell_services(app: &App, ended: &[EndedService]) {
    for EndedService { name, code, said } in ended {
        let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let said = if lines.is_empty() { String::new() } else { format!("; it said: {}", lines.join(" / ")) };
        app.ui.warn(&format!("the service {name} ended before the command did (exit code {code}){said}"));
    }
}

/// That a runtime ends soon.
pub(crate) fn soon_in_words(soon: Soon) -> String {
    // Rounded, so that nobody reads fractions.
    let left = human_duration(Duration::from_secs(soon.left.div_ceil(1000)));
    match soon.idle {
        true => format!("nothing is done in this runtime: it ends in {left} if that stays so"),
        false => format!("this runtime reaches its deadline in {left}; envctl extend gives it more time"),
    }
}

/// That programs were ended for their memory.
pub(crate) fn out_of_memory(end: &OutOfMemory) -> String {
    let bytes = crate::ui::human_bytes;
    let who = match (&end.program, end.program_bytes) {
        (Some(program), Some(had)) => format!("{program}, which had {},", bytes(had)),
        _ => counted(end.ended, "program", "programs"),
    };
    let more = match end.ended {
        0 | 1 => String::new(),
        _ if end.program.is_none() => String::new(),
        ended => format!(" and {} more", ended - 1),
    };
    let verb = if end.ended > 1 { "were" } else { "was" };
    let whose = match end.assumed {
        true => "three quarters of this machine; runtime.limits.memory changes that",
        false => "runtime.limits.memory",
    };
    let files = end
        .scratch_bytes
        // A few files of ours are always there.
        .filter(|files| *files > end.limit / 20)
        .map(|files| format!("; files outside of the workspace (/tmp, /dev/shm, /) took {} of it", bytes(files)));
    format!(
        "{who}{more} {verb} ended for using too much memory: all together may use {} ({whose}){}",
        bytes(end.limit),
        files.unwrap_or_default()
    )
}

/// Which limits nobody keeps here, or only roughly.
pub(crate) fn tell_limits(app: &App, lease: &Lease) {
    let of = |name: &str, means: Option<Means>| match means {
        Some(Means::Watched) => Some(format!("{name} is watched, not limited by the kernel")),
        Some(Means::None) => Some(format!("{name} is not limited")),
        Some(Means::Cgroup | Means::Rlimit) | None => None,
    };
    // What nobody asked for is missed by nobody.
    let (enforced, assumed) = (lease.enforced, lease.limits.assumed);
    let memory = enforced.memory.filter(|_| !assumed.memory);
    let processes = enforced.processes.filter(|_| !assumed.processes);
    let parts = [of("memory", memory), of("the number of processes", processes)];
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
        Outcome::Idle => app.ui.warn(&format!("the runtime of {task} has ended: nothing was done in it for too long")),
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

/// What a reset had to end, and what it found. That services run until the end is a matter
/// of course.
pub(crate) fn tell_reset(app: &App, receipt: &Receipt, serves: bool) {
    if let Some(why) = &receipt.unwritten {
        app.ui.warn(&format!("the runtime left nothing behind, but its receipt is not on disk: {why}"));
    }
    if let Some(files) = receipt.exposed.as_ref().filter(|files| !files.is_empty())
        && let Err(error) = app.pins().note_exposed(&receipt.workspace, files)
    {
        app.ui.warn(&format!("which files hold secrets is not remembered: {error:#}"));
    }
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
    let ended = format!("{} running, and ended", counted(killed, "process was", "processes were"));
    match killed {
        0 => app.ui.detail("reset to baseline: nothing of the runtime is left"),
        _ if serves => app.ui.detail(&format!("with the services {ended}")),
        _ => app.ui.status("Reset", &ended),
    }
}
