//! The birth of pid 1 of the sandbox: our own code, never another program. It
//! sets the runtime up and then serves ([`super::serve`]).
//!
//! It dies with its owner, twice over: by the parent-death signal, and when
//! the owner's socket hangs up (the signal alone would be lost if the owner
//! died before it was asked for).

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::process::{Pid, Signal};

use super::forward::Forwarder;
use super::inside::Inside;
use super::pasta::Starting;
use super::places::Places;
use super::rootfs::RootfsSpec;
use super::serve::{Pid1, serve};
use super::services::ServiceSpec;
use super::{own_program, process, rootfs, services};
use crate::crash;
use crate::error::failure;
use crate::runtime::ports::PublishedPort;
use crate::runtime::token::Token;
use crate::runtime::wire::{Failure, Reply};
use crate::runtime::{Injected, Lending, Network, sys, wire};

/// What pid 1 is born with.
pub(crate) struct Birth<'a> {
    /// Says one byte once the id maps are written, and another once the folders
    /// on disk are made, where there are any to make.
    pub(crate) go: OwnedFd,
    /// To the owner; its hang-up is the end.
    pub(crate) owner: OwnedFd,
    /// Where others join.
    pub(crate) listener: OwnedFd,
    /// What those who join have to know.
    pub(crate) token: Token,
    /// The runtime's folder, on which its lock is.
    pub(crate) lock: &'a std::fs::File,
    /// The folder over which the scratch space is mounted.
    pub(crate) scratch_place: OwnedFd,
    /// Source of the root mount.
    pub(crate) mark: String,
    pub(crate) rootfs: &'a RootfsSpec,
    pub(crate) network: Network,
    pub(crate) context: process::Context,
    /// Whether group 5 (tty) exists inside.
    pub(crate) tty_group: bool,
    /// Whether user and group 0 exist inside.
    pub(crate) root_exists: bool,
    /// Ports that are published from the start.
    pub(crate) published: Vec<PublishedPort>,
    /// The program that gives a private network its outside.
    pub(crate) pasta: Option<PathBuf>,
    /// When it has to end, on the monotonic clock.
    pub(crate) deadline: Option<u64>,
    /// How long nothing may be done in it.
    pub(crate) idle: Option<Duration>,
    /// Bytes of memory that it may use, where nobody but pid 1 keeps watch, and whether
    /// somebody asked for that limit.
    pub(crate) memory: Option<(u64, bool)>,
    /// Bytes of the scratch space; half of the machine's memory where nobody says.
    pub(crate) scratch: Option<u64>,
    /// Secrets that become files.
    pub(crate) secrets: &'a [Injected],
    /// What is lent to programs inside, and where the owner waits for the sockets of it.
    pub(crate) lending: (&'a Lending, Option<OwnedFd>),
    /// What runs beside the command.
    pub(crate) services: &'a [ServiceSpec],
    /// Whether the owner wants to know what was written outside the workspace.
    pub(crate) list_written: bool,
}

/// Leaves the host's network, while the owner writes down what is known. Gives
/// pasta where there is to be a way out.
fn leave_network(birth: &Birth<'_>) -> Result<Option<Starting>> {
    match (&birth.pasta, birth.network) {
        (Some(program), _) => Starting::fork(program, birth.context.account.uid).map(Some),
        (None, Network::Host) => Ok(None),
        (None, _) => {
            sys::unshare_network().map_err(|error| {
                failure(format!("cannot make a network of its own: {error}"))
                    .hint("sysctl user.max_net_namespaces says how many there may be")
            })?;
            Ok(None)
        }
    }
}

/// Lives and dies as pid 1.
pub(crate) fn run(mut birth: Birth<'_>) -> ! {
    let pasta = leave_network(&birth);
    // While the owner writes down what is known.
    let shielded = own_program::shield();
    if !told(&birth.go) {
        sys::exit_now(1);
    }
    crash::point("init.born");
    match shielded.and(pasta).and_then(|pasta| set_up(&mut birth, pasta)) {
        Ok(SetUp { signals, inside, lock, forwarder, pasta, services, upper, places }) => {
            let Birth { owner, listener, token, context, deadline, idle, memory, go, scratch_place, .. } = birth;
            // Closed already, see set_up.
            std::mem::forget((go, scratch_place));
            serve(Pid1 {
                owner,
                listener,
                token,
                signals,
                context,
                inside,
                lock,
                forwarder,
                pasta,
                services,
                deadline,
                idle,
                memory,
                upper,
                places,
            })
        }
        Err(error) => {
            let _ = wire::send(&birth.owner, &Reply::Failed(Failure::of(&error)), &[]);
            sys::exit_now(1)
        }
    }
}

/// What is there when everything is set up.
struct SetUp {
    signals: OwnedFd,
    inside: Inside,
    /// Keeps the lock of the runtime's folder, see [`keep_locked`].
    lock: OwnedFd,
    forwarder: Option<Forwarder>,
    pasta: Option<Pid>,
    services: Vec<services::RunningService>,
    /// The upper folder of the root, where it is to be listed.
    upper: Option<OwnedFd>,
    /// What programs ask about.
    places: Places,
}

fn set_up(birth: &mut Birth<'_>, pasta: Option<Starting>) -> Result<SetUp> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    anyhow::ensure!(!hung_up(&birth.owner), "the owner is gone");
    rustix::process::setsid()?;
    leave_watches_to_the_host();
    sys::new_session_keyring().context("cannot leave the session keyring")?;
    let umask = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    debug_assert_eq!(umask.as_raw_mode(), birth.context.umask);
    if let Some(pasta) = &pasta {
        pasta.join()?;
    }
    let rootfs::EnteredRoot { inside, upper, placed, lent, beside } = enter_rootfs(birth)?;
    hand_over(birth.lending.1.take(), lent)?;
    crash::point("init.mounted");
    rustix::system::sethostname(birth.rootfs.hostname.as_bytes()).context("cannot set the host name")?;
    if birth.network != Network::Host {
        sys::loopback_up().context("cannot bring the loopback interface up")?;
    }
    let pasta = pasta.map(Starting::finish).transpose()?;
    // From here on nobody inside may look into this process.
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    let null = inside.open(Path::new("/dev/null"), OFlags::RDWR)?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    drop(null);
    let streams = services::ServiceStreams::make(&inside, birth.services)?;
    let lock = keep_locked(birth.lock)?;
    let signals = sys::signal_fd(&[libc::SIGCHLD])?;
    let published = std::mem::take(&mut birth.published);
    let forwarder = if published.is_empty() {
        None
    } else {
        Some(Forwarder::start(&birth.context, published).context("cannot start the forwarder of ports")?)
    };
    let places = Places::of(placed);
    let mut keep = [&signals, &birth.owner, &birth.listener, &lock].map(AsRawFd::as_raw_fd).to_vec();
    keep.extend(inside.raw_fds());
    keep.extend(streams.raw_fds());
    keep.extend(forwarder.iter().map(Forwarder::raw_fd));
    let upper = birth.list_written.then_some(upper);
    keep.extend(upper.iter().map(AsRawFd::as_raw_fd));
    keep.extend(beside.iter().flatten().map(rootfs::ServiceRoot::raw_fd));
    // Descriptors that are closed here are never used or dropped: this
    // process ends without running destructors.
    sys::close_all_but(3, &keep)?;
    let services = services::start(&birth.context, &inside, birth.services, streams, beside)?;
    crash::point("init.ready");
    Ok(SetUp { signals, inside, lock, forwarder, pasta, services, upper, places })
}

/// Mounts the root file system, and makes it this process's own.
fn enter_rootfs(birth: &Birth<'_>) -> Result<rootfs::EnteredRoot> {
    let account = &birth.context.account;
    let own: Vec<_> = birth.services.iter().map(|service| (service.name.as_str(), service.image.as_ref())).collect();
    rootfs::enter(&rootfs::RootfsPlan {
        mark: &birth.mark,
        spec: birth.rootfs,
        scratch_place: birth.scratch_place.as_fd(),
        scratch: birth.scratch,
        network: birth.network,
        home: &account.home,
        ids: (account.uid, account.gid),
        tty_group: birth.tty_group,
        root_exists: birth.root_exists,
        secrets: birth.secrets,
        lending: birth.lending.0,
        services: &own,
        placed: &|| {
            anyhow::ensure!(told(&birth.go), "the owner is gone");
            Ok(())
        },
    })
}

/// The sockets of what is lent are the owner's, who waits for them at the door.
fn hand_over(door: Option<OwnedFd>, lent: Vec<OwnedFd>) -> Result<()> {
    let Some(door) = door else { return Ok(()) };
    let lent: Vec<_> = lent.iter().map(AsFd::as_fd).collect();
    wire::send(door, &(), &lent).context("cannot hand the sockets of what is lent to the owner")
}

/// Half of what the developer may watch stays theirs: a program inside could use
/// up all of it, and neither their editor nor the look at git folders that
/// appear would see anything (`user.max_inotify_watches`, `namespaces(7)`).
fn leave_watches_to_the_host() {
    for (host, own) in [("max_user_watches", "max_inotify_watches"), ("max_user_instances", "max_inotify_instances")] {
        let most = std::fs::read_to_string(format!("/proc/sys/fs/inotify/{host}")).unwrap_or_default();
        if let Ok(most) = most.trim().parse::<u64>() {
            // A kernel that knows no such limit has none to use up.
            let _ = std::fs::write(format!("/proc/sys/user/{own}"), (most / 2).to_string());
        }
    }
}

/// Keeps the lock on the runtime's folder without a descriptor of it, through
/// which a link could lead (CVE-2024-21626): a message that nobody receives
/// holds it, and the kernel lets it go when this process is gone.
fn keep_locked(folder: &std::fs::File) -> Result<OwnedFd> {
    let (kept, sent) = wire::pair()?;
    wire::send(&sent, &(), &[folder.as_fd()]).context("cannot keep the runtime's lock")?;
    Ok(kept)
}

/// Waits for the owner's next byte.
fn told(go: &OwnedFd) -> bool {
    matches!(rustix::io::retry_on_intr(|| rustix::io::read(go, &mut [0])), Ok(1))
}

fn hung_up(socket: impl AsFd) -> bool {
    let mut fds = [PollFd::new(&socket, PollFlags::empty())];
    poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok() && fds[0].revents().contains(PollFlags::HUP)
}
