//! A program of the developer's that answers one question, such as a credential helper.
//! This program stands between: it ends the helper, and all that the helper started, when
//! envctl is gone or no answer comes. Where nobody may be asked, the helper has no terminal.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags};

use crate::descendants::end_all;

/// What this program is called when it stands there.
const VERB: &str = "helper-guard";

/// How it ends when no answer came in time.
pub(crate) const SILENT: i32 = 213;
/// When envctl went away.
const ALONE: i32 = 215;
/// When the helper cannot be started.
pub(crate) const NO_PROGRAM: i32 = 216;

/// How a helper is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HelperManner {
    /// It may ask the developer.
    pub(crate) interactive: bool,
    /// How long it may take; without end where this is zero.
    pub(crate) patience: Duration,
}

/// The command for a helper; `this` is the program envctl.
pub(crate) fn command(this: &Path, manner: HelperManner, helper: &Path) -> Command {
    let mut command = Command::new(this);
    let owner = std::process::id().to_string();
    let terminal = if manner.interactive { "terminal" } else { "alone" };
    command.args([VERB, &owner, terminal, &manner.patience.as_millis().to_string()]).arg(helper);
    command
}

/// What this program does when it was started by [`command`]; `None` when it was not.
pub fn serve(words: &[OsString]) -> Option<ExitCode> {
    let words: Vec<&OsStr> = words.iter().skip(1).map(OsString::as_os_str).collect();
    let [verb, owner, terminal, patience, helper, args @ ..] = words.as_slice() else { return None };
    if *verb != VERB {
        return None;
    }
    let number = |word: &OsStr| word.to_str()?.parse::<u64>().ok();
    let owner = i32::try_from(number(owner)?).ok().and_then(Pid::from_raw)?;
    let manner =
        HelperManner { interactive: *terminal == "terminal", patience: Duration::from_millis(number(patience)?) };
    let code = guarded(owner, manner, helper, args).unwrap_or(NO_PROGRAM);
    Some(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}

fn guarded(owner: Pid, manner: HelperManner, helper: &OsStr, args: &[&OsStr]) -> std::io::Result<i32> {
    let owner_fd = rustix::process::pidfd_open(owner, PidfdFlags::empty())?;
    if rustix::process::getppid() != Some(owner) {
        return Ok(ALONE);
    }
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    if !manner.interactive {
        // Without a terminal nothing can be asked on one.
        let _ = rustix::process::setsid();
    }
    let mut child = Command::new(helper).args(args).spawn()?;
    let child_fd = rustix::process::pidfd_open(Pid::from_child(&child), PidfdFlags::empty())?;
    let begun = Instant::now();
    let ended = loop {
        let left = manner.patience.saturating_sub(begun.elapsed());
        if !manner.patience.is_zero() && left.is_zero() {
            break SILENT;
        }
        let wait = Timespec::try_from(left).ok().filter(|_| !manner.patience.is_zero());
        let mut fds = [PollFd::new(&child_fd, PollFlags::IN), PollFd::new(&owner_fd, PollFlags::IN)];
        match poll(&mut fds, wait.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(why) => return Err(why.into()),
        }
        if !fds[1].revents().is_empty() {
            break ALONE;
        }
        if !fds[0].revents().is_empty() {
            return Ok(child.wait()?.code().unwrap_or(1));
        }
    };
    end_all(&mut child);
    Ok(ended)
}
