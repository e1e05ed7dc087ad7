//! Pid 1 of the sandbox: our own code, never another program. It sets the
//! runtime up, starts processes on request, reaps, and is the one thing whose
//! death ends everything inside.
//!
//! It dies with its owner, twice over: by the parent-death signal, and when
//! the owner's socket hangs up (the signal alone would be lost if the owner
//! died before it was asked for).

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::net::SocketFlags;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};

use super::rootfs::{self, RootfsSpec};
use super::wire::{self, Ended, Failure, Reply, Request, Tell};
use super::{Network, process, sys};
use crate::error::{Kind, hint_of, kind_of};

/// How long a process whose client is gone may take to end by itself.
const GRACE: Duration = Duration::from_secs(2);

/// What pid 1 is born with.
pub(super) struct Birth<'a> {
    /// Says one byte once the id maps are written.
    pub(super) go: OwnedFd,
    /// To the owner; its hang-up is the end.
    pub(super) owner: OwnedFd,
    /// Where others join.
    pub(super) listener: OwnedFd,
    /// The runtime's folder; the open descriptor holds its lock.
    pub(super) lock: &'a std::fs::File,
    /// The folder over which the scratch space is mounted.
    pub(super) scratch_place: OwnedFd,
    /// Source of the root mount.
    pub(super) mark: String,
    pub(super) rootfs: &'a RootfsSpec,
    pub(super) network: Network,
    pub(super) context: process::Context,
    /// Whether group 5 (tty) exists inside.
    pub(super) tty_group: bool,
    /// Whether user and group 0 exist inside.
    pub(super) root_exists: bool,
}

/// Lives and dies as pid 1.
pub(super) fn run(birth: Birth<'_>) -> ! {
    let mut byte = [0];
    match rustix::io::retry_on_intr(|| rustix::io::read(&birth.go, &mut byte)) {
        Ok(1) => {}
        _ => sys::exit_now(1),
    }
    match set_up(&birth) {
        Ok(signals) => serve(birth, signals),
        Err(error) => {
            let failure = Failure {
                messages: error.chain().map(ToString::to_string).collect(),
                hint: hint_of(&error),
                integrity: kind_of(&error) == Kind::Integrity,
            };
            let _ = wire::send(&birth.owner, &Reply::Failed(failure), &[]);
            sys::exit_now(1)
        }
    }
}

fn set_up(birth: &Birth<'_>) -> Result<OwnedFd> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    anyhow::ensure!(!hung_up(&birth.owner), "the owner is gone");
    rustix::process::setsid()?;
    sys::new_session_keyring().context("cannot leave the session keyring")?;
    let umask = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    debug_assert_eq!(umask.as_raw_mode(), birth.context.umask);
    let account = &birth.context.account;
    rootfs::enter(&rootfs::Entry {
        mark: &birth.mark,
        spec: birth.rootfs,
        scratch_place: birth.scratch_place.as_fd(),
        network: birth.network,
        home: &account.home,
        ids: (account.uid, account.gid),
        tty_group: birth.tty_group,
        root_exists: birth.root_exists,
    })?;
    rustix::system::sethostname(birth.rootfs.hostname.as_bytes()).context("cannot set the host name")?;
    if birth.network == Network::Isolated {
        sys::loopback_up().context("cannot bring the loopback interface up")?;
    }
    // From here on nobody inside may look into this process.
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, rustix::fs::Mode::empty())?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    drop(null);
    let signals = sys::signal_fd(&[libc::SIGCHLD])?;
    let keep = [signals.as_raw_fd(), birth.owner.as_raw_fd(), birth.listener.as_raw_fd(), birth.lock.as_raw_fd()];
    // Descriptors that are closed here are never used or dropped: this
    // process ends without running destructors.
    sys::close_all_but(3, &keep)?;
    Ok(signals)
}

fn hung_up(socket: impl AsFd) -> bool {
    let mut fds = [PollFd::new(&socket, PollFlags::empty())];
    poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok() && fds[0].revents().contains(PollFlags::HUP)
}

/// Somebody who runs a process here; the owner is the first.
struct Client {
    socket: OwnedFd,
    process: Option<Pid>,
}

struct Init {
    context: process::Context,
    clients: Vec<Client>,
    /// Process groups whose client is gone, and until when they may go on.
    doomed: Vec<(Pid, Instant)>,
}

const OWNER: usize = 0;

fn serve(birth: Birth<'_>, signals: OwnedFd) -> ! {
    let Birth { owner, listener, context, go, scratch_place, .. } = birth;
    // Closed already, see set_up.
    std::mem::forget((go, scratch_place));
    let mut init = Init { context, clients: vec![Client { socket: owner, process: None }], doomed: Vec::new() };
    loop {
        let mut fds = vec![PollFd::new(&signals, PollFlags::IN), PollFd::new(&listener, PollFlags::IN)];
        fds.extend(init.clients.iter().map(|client| PollFd::new(&client.socket, PollFlags::IN)));
        let timeout = init.doomed.first().map(|(_, at)| timespec(at.saturating_duration_since(Instant::now())));
        if let Err(error) = poll(&mut fds, timeout.as_ref())
            && error != rustix::io::Errno::INTR
        {
            sys::exit_now(1)
        }
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        drop(fds);
        if ready[0] {
            while sys::read_signal(signals.as_fd()).is_some() {}
            init.reap();
        }
        // From the end, so that removing a client moves no other that is due.
        for index in (0..init.clients.len()).rev().filter(|index| ready[index + 2]) {
            init.hear(index);
        }
        if ready[1] {
            init.accept(&listener);
        }
        init.finish_doomed();
    }
}

fn timespec(duration: Duration) -> Timespec {
    Timespec { tv_sec: duration.as_secs() as i64, tv_nsec: duration.subsec_nanos().into() }
}

impl Init {
    fn accept(&mut self, listener: &OwnedFd) {
        let Ok(socket) = rustix::net::accept_with(listener, SocketFlags::CLOEXEC) else { return };
        // Only the developer, and only from outside: whoever is inside has a
        // process ID here. With the host's network the address is reachable
        // from inside.
        let own = rustix::process::getuid().as_raw();
        if sys::peer(&socket).is_ok_and(|(pid, uid)| pid == 0 && uid == own) {
            self.clients.push(Client { socket, process: None });
        }
    }

    fn hear(&mut self, index: usize) {
        let client = &mut self.clients[index];
        let gone = match client.process {
            None => match wire::receive::<Request>(&client.socket) {
                Ok(Some((request, fds))) => {
                    let answer = match process::start(&self.context, &request, fds) {
                        Ok(started) => {
                            client.process = Some(started.pid);
                            let terminal: Vec<_> = started.terminal.iter().map(AsFd::as_fd).collect();
                            wire::send(&client.socket, &Reply::Started, &terminal)
                        }
                        Err(error) => {
                            let refused = Reply::Refused { program: error.program, errno: error.errno };
                            wire::send(&client.socket, &refused, &[])
                        }
                    };
                    answer.is_err()
                }
                _ => true,
            },
            Some(process) => match wire::receive::<Tell>(&client.socket) {
                Ok(Some((Tell::Signal(signal), _))) => {
                    if let Some(signal) = Signal::from_named_raw(signal) {
                        let _ = rustix::process::kill_process_group(process, signal);
                    }
                    false
                }
                _ => true,
            },
        };
        if gone {
            self.lose(index);
        }
    }

    fn lose(&mut self, index: usize) {
        if index == OWNER {
            sys::exit_now(0)
        }
        if let Some(process) = self.clients.remove(index).process {
            let _ = rustix::process::kill_process_group(process, Signal::HUP);
            let _ = rustix::process::kill_process_group(process, Signal::CONT);
            self.doomed.push((process, Instant::now() + GRACE));
        }
    }

    fn finish_doomed(&mut self) {
        let now = Instant::now();
        self.doomed.retain(|(process, at)| {
            if *at <= now {
                let _ = rustix::process::kill_process_group(*process, Signal::KILL);
            }
            *at > now
        });
    }

    fn reap(&mut self) {
        let mut ended = Vec::new();
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            if let Some(index) = self.clients.iter().position(|client| client.process == Some(pid)) {
                ended.push((index, exit_code(status)));
            }
        }
        // From the end, as in serve.
        ended.sort_unstable_by(|a, b| b.cmp(a));
        for (index, code) in ended {
            let (others, mounts) = (others(), mounts());
            let reply = Ended { code, others, mounts, scratch_bytes: scratch_bytes() };
            let _ = wire::send(&self.clients[index].socket, &Reply::Ended(reply), &[]);
            if index == OWNER {
                // Its process ID may be given to another process now.
                self.clients[index].process = None;
            } else {
                self.clients.remove(index);
            }
        }
    }
}

fn exit_code(status: WaitStatus) -> u8 {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => code as u8,
        (None, Some(signal)) => 128_u8.wrapping_add(signal as u8),
        (None, None) => 1,
    }
}

/// Processes inside besides this one.
fn others() -> u32 {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    numbers.filter(|pid| *pid != 1).count() as u32
}

fn mounts() -> u32 {
    let table = std::fs::read("/proc/self/mountinfo").unwrap_or_default();
    table.iter().filter(|byte| **byte == b'\n').count() as u32
}

fn scratch_bytes() -> u64 {
    rustix::fs::statvfs("/run").map_or(0, |stat| stat.f_blocks.saturating_sub(stat.f_bfree) * stat.f_frsize)
}
