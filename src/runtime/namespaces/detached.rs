//! Runtimes without a terminal: a supervisor of their own owns them, and ends
//! with them. It survives the terminal from which it was started.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};

use super::reset::Receipt;
use super::sandbox::{Sandbox, Spec};
use crate::clock::Clock;
use crate::crash;
use crate::disk;
use crate::runtime::deadline::until;
use crate::runtime::join::{Beat, Outcome, Session};
use crate::runtime::lease::{Lease, Runtimes};
use crate::runtime::sys;
use crate::runtime::sys::Side;
use crate::runtime::wire::Failure;

/// Signals that end a supervisor, and its runtime with it.
const ENDING: [i32; 3] = [libc::SIGTERM, libc::SIGINT, libc::SIGHUP];

/// What the supervisor tells the one who started it.
#[derive(Serialize, Deserialize)]
enum News {
    Started(Box<Lease>),
    Failed(Failure),
}

/// Starts a runtime that outlives this process. It runs `session`, whose
/// output goes to the log of `spec` without the values of secrets, and ends with it;
/// without a session it waits
/// for others to join, until its deadline or a reset. `after` is given the receipt,
/// and how the session ended; what it prints goes to the log.
///
/// The caller may have no other thread that still works.
///
/// # Errors
/// When the runtime cannot be set up. Nothing stays.
pub fn detach(
    runtimes: &Runtimes,
    clock: Clock,
    spec: &Spec,
    session: Option<&Session>,
    after: &dyn Fn(&Receipt, Option<&Outcome>),
) -> Result<Lease> {
    if let Some(parent) = spec.log.as_deref().and_then(Path::parent) {
        disk::create_private_dir(parent)?;
    }
    sys::wait_for_threads().context("cannot make the runtime")?;
    let (news, tell) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    match sys::fork().context("cannot start a supervisor")? {
        Side::Child => {
            drop(news);
            crash::point("detach.forked");
            let started = leave_terminal(spec.log.as_deref(), &tell).and_then(|()| {
                let sandbox = Sandbox::start(runtimes, clock, spec)?;
                sandbox.ready()?;
                crash::point("detach.ready");
                Ok(sandbox)
            });
            supervise(started, clock, session, tell, after)
        }
        Side::Parent(_) => {
            drop(tell);
            let mut text = Vec::new();
            File::from(news).read_to_end(&mut text)?;
            match serde_json::from_slice(&text).context("the supervisor died")? {
                News::Started(lease) => Ok(*lease),
                News::Failed(failure) => Err(failure.rebuild()),
            }
        }
    }
}

/// Tells the one who started it how that went, and stays with the runtime to its end.
fn supervise(
    started: Result<Sandbox>,
    clock: Clock,
    session: Option<&Session>,
    tell: OwnedFd,
    after: &dyn Fn(&Receipt, Option<&Outcome>),
) -> ! {
    let news = match &started {
        Ok(sandbox) => News::Started(Box::new(sandbox.lease().clone())),
        Err(error) => News::Failed(Failure::of(error)),
    };
    let told = serde_json::to_vec(&news).map(|bytes| File::from(tell).write_all(&bytes));
    crash::point("detach.told");
    let code = match (started, told) {
        (Ok(sandbox), Ok(Ok(()))) => {
            let watched = watch(sandbox, clock, session);
            i32::from(watched.map(|(receipt, outcome)| after(&receipt, outcome.as_ref())).is_err())
        }
        // Whoever started it is gone: nobody would know of this runtime.
        (Ok(sandbox), _) => i32::from(sandbox.reset(clock, "failed").is_err()),
        (Err(_), _) => 1,
    };
    sys::exit_now(code)
}

/// Waits for the end, and cleans up after it.
fn watch(mut sandbox: Sandbox, clock: Clock, session: Option<&Session>) -> Result<(Receipt, Option<Outcome>)> {
    let mut outcome = None;
    let reason = match session {
        Some(session) => match sandbox.run(&Session { hides: true, ..session.clone() }) {
            Ok(ended) => outcome.insert(ended).reason(),
            Err(_) => "failed",
        },
        None => {
            let signals = sys::signal_fd(&ENDING)?;
            let mut fds = [PollFd::new(&signals, PollFlags::IN), PollFd::new(sandbox.pidfd(), PollFlags::IN)];
            let mut beat = sandbox.folder().map(Beat::of);
            loop {
                let left = beat.as_mut().map(|beat| until(beat.next()));
                let left =
                    left.map(|left| Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() });
                if rustix::io::retry_on_intr(|| poll(&mut fds, left.as_ref()))? > 0 {
                    break;
                }
            }
            "reset"
        }
    };
    Ok((sandbox.reset(clock, reason)?, outcome))
}

/// A session of its own, streams that lead to the log or nowhere, and none of
/// the caller's descriptors.
fn leave_terminal(log: Option<&Path>, keep: &OwnedFd) -> Result<()> {
    sys::close_all_but(3, &[keep.as_raw_fd()])?;
    rustix::process::setsid()?;
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    let log = match log {
        Some(path) => {
            let file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(path);
            OwnedFd::from(file.with_context(|| format!("cannot write the log {}", path.display()))?)
        }
        None => null.try_clone()?,
    };
    rustix::stdio::dup2_stdin(null.as_fd())?;
    rustix::stdio::dup2_stdout(log.as_fd())?;
    rustix::stdio::dup2_stderr(log.as_fd())?;
    rustix::process::chdir("/")?;
    Ok(())
}
