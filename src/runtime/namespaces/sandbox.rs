//! The owner's side: making a sandbox, and taking it down.
//!
//! The caller may have no thread that still works when [`Sandbox::start`] is
//! called: pid 1 is a copy of the calling thread alone.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::fs::{Mode, OFlags};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};

use super::exposed::Exposed;
use super::reset::{Before, EndedRuntime, Receipt};
use super::{exposed, inspect};
use crate::clock::Clock;
use crate::crash;
use crate::disk::{self, beneath::Beneath};
use crate::runtime::guest::{Birth, RootfsSpec, ServiceSpec, Uppers, kept};
use crate::runtime::join::{Outcome, Session, Transcript};
use crate::runtime::lease::{Lease, LeaseFolder, Namespaces, Process, Runtimes, SCRATCH, address};
use crate::runtime::lending::{Lender, Lending};
use crate::runtime::limits::{Born, Cgroup, Enforced, Limits, Means, OutOfMemory};
use crate::runtime::mapping::Mapping;
use crate::runtime::ports::{Port, PortRequest, PublishedPort, port_variable};
use crate::runtime::sys::Side;
use crate::runtime::token::Token;
use crate::runtime::usage::Usage;
use crate::runtime::watch::WorkspaceWatch;
use crate::runtime::wire::{EndedService, Request, Written};
use crate::runtime::{Account, IDLE, Injected, Network, TIMED_OUT, guest, join, limits, ports, probe, sys, wire};

/// Everything that decides a runtime.
#[derive(Clone, Debug)]
pub struct Spec {
    /// The task, or the identity where no task was named.
    pub task: String,
    /// The store, as `--store` would name it.
    pub store: String,
    /// Who runs it, where that is said.
    pub agent: Option<String>,
    /// Digest of the identity.
    pub identity: String,
    /// The file system.
    pub rootfs: RootfsSpec,
    /// Who is who.
    pub mapping: Mapping,
    /// What can be reached.
    pub network: Network,
    /// In whose name processes run.
    pub account: Account,
    /// The environment of every process.
    pub env: Vec<(String, String)>,
    /// Secrets, which are in none of the above.
    pub secrets: Vec<Injected>,
    /// What of the developer's is lent to programs inside.
    pub lending: Lending,
    /// Ports to publish on the host.
    pub ports: Vec<PortRequest>,
    /// When it has to end, on the monotonic clock.
    pub deadline: Option<u64>,
    /// How long nothing may be done in it.
    pub idle: Option<Duration>,
    /// Whether it outlives the terminal.
    pub detached: bool,
    /// Where what the command of a detached one prints is kept.
    pub log: Option<PathBuf>,
    /// What it may use.
    pub limits: Limits,
    /// What runs beside the command.
    pub services: Vec<ServiceSpec>,
    /// Folders of the workspace to make for its trees, outermost first;
    /// they go with it.
    pub made: Vec<PathBuf>,
    /// Where programs of the host are found.
    pub path: Option<std::ffi::OsString>,
    /// Whether what is written outside the workspace is listed at the end.
    pub list_written: bool,
    /// The cache whose setup this is for; nobody else may run anything in it.
    pub setup: Option<String>,
}

/// A runtime that this process owns. Dropping it resets it.
#[derive(Debug)]
pub struct Sandbox {
    runtimes: Runtimes,
    watch: Option<WorkspaceWatch>,
    lease: Lease,
    folder: Option<LeaseFolder>,
    pidfd: OwnedFd,
    control: OwnedFd,
    before: Before,
    secrets: Vec<Injected>,
    lender: Option<Lender>,
    /// Some services want time to end.
    stops: bool,
    /// Nothing was left inside when the command had ended, and nothing can come.
    alone: bool,
    /// Those who joined, and were not done by then.
    joined: u32,
    started: Instant,
    written: Option<Written>,
    /// What pid 1 ended for its memory.
    exhausted: Option<OutOfMemory>,
    /// The workspace stays as it is.
    kept_off: bool,
    /// Services that ended while the last command ran.
    services: Vec<EndedService>,
    /// What it used, once everything inside is dead.
    ended: Option<sys::ProcessUsage>,
}

/// What is there once pid 1 was let go: its record, its pidfd, the way to it, and who
/// answers what it lends.
type Begun = (Lease, OwnedFd, OwnedFd, Option<Lender>);

impl Sandbox {
    /// Makes the namespaces and lets pid 1 set them up. What goes wrong inside
    /// is reported by the first [`Sandbox::run`].
    ///
    /// # Errors
    /// When the kernel refuses, with what helps. Nothing stays.
    pub fn start(runtimes: &Runtimes, clock: Clock, spec: &Spec) -> Result<Self> {
        let begun = Instant::now();
        let folder = runtimes.create()?;
        let started = Self::start_in(runtimes, clock, spec, &folder);
        match started {
            Ok((lease, pidfd, control, lender)) => Ok(Sandbox {
                runtimes: runtimes.clone(),
                // What is done to a workspace that stays as it is reaches nobody.
                watch: if spec.rootfs.workspace_stays || crash::is_unwatched() {
                    None
                } else {
                    runtimes.watch(&lease).ok()
                },
                lease,
                folder: Some(folder),
                pidfd,
                control,
                before: Before::default(),
                secrets: spec.secrets.clone(),
                lender,
                stops: spec.services.iter().any(|service| service.stop.is_some()),
                alone: false,
                joined: 0,
                started: begun,
                written: None,
                exhausted: None,
                kept_off: spec.rootfs.workspace_stays,
                services: Vec::new(),
                ended: None,
            }),
            Err(error) => {
                let _ = runtimes.forget(&folder.id);
                let _ = disk::remove::tree(&folder.path);
                Err(error)
            }
        }
    }

    fn start_in(runtimes: &Runtimes, clock: Clock, spec: &Spec, folder: &LeaseFolder) -> Result<Begun> {
        let scratch = folder.path.join(SCRATCH);
        disk::create_private_dir(&scratch)?;
        let listener = listen(folder)?;
        let token = Token::random()?;
        let pasta = match spec.network {
            Network::Private => Some(guest::find(spec.path.as_deref())?),
            Network::Isolated | Network::Host => None,
        };
        let (ports, published) = ports::publish(&spec.ports, spec.network)?;
        let umask = rustix::process::umask(Mode::empty());
        rustix::process::umask(umask);
        let (control, theirs) = wire::pair()?;
        let lends = !spec.lending.sockets.is_empty();
        let (door, handed) =
            if lends { wire::pair().map(|(ours, theirs)| (Some(ours), Some(theirs)))? } else { (None, None) };
        let (ready, go) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        // Not the network: pid 1 makes that itself, meanwhile.
        let namespaces =
            libc::CLONE_NEWUSER | libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;
        sys::wait_for_threads().context("cannot make the runtime")?;
        let Born { process, cgroup, enforced } =
            limits::born(&spec.limits, Cgroup::make(&folder.id, &spec.limits), |cgroup| {
                sys::clone_into(namespaces, cgroup)
                    .map_err(|error| probe::explain_user_namespace(error, "cannot create the runtime's namespaces"))
            })?;
        let start = Start { clock, spec, folder, scratch, token, ports, cgroup, enforced, umask };
        let (pid, pidfd) = match process {
            Side::Parent(child) => {
                crash::point("enter.cloned");
                child
            }
            Side::Child => {
                drop((go, control, door));
                start.be_born(Ends { go: ready, owner: theirs, listener, published, pasta, lending: handed })
            }
        };
        drop((ready, theirs, listener, published, handed));
        let begun = start.let_go(runtimes, pid, &go).and_then(|lease| {
            let lend = |door| Lender::start(&spec.lending, door, pid, pidfd.try_clone()?);
            Ok((lease, door.map(lend).transpose()?))
        });
        match begun {
            Ok((lease, lender)) => Ok((lease, pidfd, control, lender)),
            Err(error) => {
                let _ = rustix::process::pidfd_send_signal(&pidfd, Signal::KILL);
                let _ = rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED);
                start.cgroup.as_ref().map(|cgroup| limits::remove(cgroup.path()));
                Err(error)
            }
        }
    }

    /// The record of this runtime.
    pub fn lease(&self) -> &Lease {
        &self.lease
    }

    /// Signals its end.
    pub(crate) fn pidfd(&self) -> &OwnedFd {
        &self.pidfd
    }

    /// Its folder, whose time shows that it lives.
    pub(crate) fn folder(&self) -> Option<BorrowedFd<'_>> {
        self.folder.as_ref().map(|folder| folder.file.as_fd())
    }

    /// Waits until it is set up.
    ///
    /// # Errors
    /// With what went wrong inside.
    pub(crate) fn ready(&self) -> Result<()> {
        join::ask(self.control.as_fd(), &Request::Ready, &[])?;
        self.watch.iter().for_each(WorkspaceWatch::begin);
        Ok(())
    }

    /// Runs a command, or the login shell, with this process's streams.
    ///
    /// # Errors
    /// When the runtime could not be set up, or the streams break.
    pub fn run(&mut self, session: &Session) -> Result<Outcome> {
        self.run_as(session, None)
    }

    /// Runs a command that nobody attends to: without a terminal, its output
    /// passed on and kept, and a signal to this process ends the whole runtime.
    ///
    /// # Errors
    /// As [`Sandbox::run`].
    pub fn run_unattended(&mut self, session: &Session, transcript: &Transcript) -> Result<Outcome> {
        self.run_as(session, Some(transcript))
    }

    /// How many of those who joined still ran something when the owner's command
    /// ended.
    pub fn joined(&self) -> u32 {
        self.joined
    }

    /// Waits until none of those who joined runs anything, the runtime has ended, or a
    /// signal asks to end it.
    ///
    /// # Errors
    /// When the runtime gives no answer.
    pub fn wait_for_joined(&mut self) -> Result<()> {
        join::wait_for_joined(&self.runtimes, &self.lease, self.pidfd.as_fd())?;
        // What has gone since is not there to be found.
        self.before = Before::look(&self.lease);
        Ok(())
    }

    /// What was written outside the workspace, as far as it is known.
    pub fn written(&self) -> Option<&Written> {
        self.written.as_ref()
    }

    /// Services that ended while the last command ran.
    pub fn ended_services(&self) -> &[EndedService] {
        &self.services
    }

    fn run_as(&mut self, session: &Session, transcript: Option<&Transcript>) -> Result<Outcome> {
        let begun = || self.watch.iter().for_each(WorkspaceWatch::begin);
        let done = join::run(self.control.as_fd(), session, transcript, (self.folder(), &begun))?;
        let join::Done { outcome, ended, written, exhausted, services, .. } = done;
        (self.written, self.exhausted, self.services) = (written, exhausted, services);
        crash::point("enter.ended");
        match ended {
            Some(ended) => {
                // Looking from outside costs time; nothing is there to be
                // found when the command was alone.
                let look = ended.others > 0 || !self.lease.ports.is_empty();
                let found = if look { Before::look(&self.lease) } else { Before::default() };
                self.before = Before {
                    processes: Some(ended.others.into()),
                    mounts: Some(ended.mounts.into()),
                    scratch_bytes: Some(ended.scratch_bytes),
                    listeners: found.listeners,
                    ..Before::default()
                };
                (self.alone, self.joined) = (ended.alone, ended.joined);
            }
            None => {
                self.before = Before::look(&self.lease);
                return self.lost(outcome);
            }
        }
        Ok(outcome)
    }

    /// Why nothing was heard of the command's end, where pid 1 has told it by its own.
    fn lost(&mut self, outcome: Outcome) -> Result<Outcome> {
        if outcome != Outcome::Lost {
            return Ok(outcome);
        }
        self.halt()?;
        Ok(match self.ended.as_ref().and_then(|counted| counted.exit_status) {
            Some(TIMED_OUT) => Outcome::TimedOut,
            Some(IDLE) => Outcome::Idle,
            _ => outcome,
        })
    }

    /// The folder that holds what was done to a workspace that stays as it is.
    pub(crate) fn done_to_workspace(&self) -> Option<PathBuf> {
        let folder = self.folder.as_ref().filter(|_| self.kept_off)?;
        Some(Uppers::of_workspace(&folder.path.join(SCRATCH)))
    }

    /// The folder that holds what was done to a tree that was given with an upper;
    /// it is there if anything was.
    pub(crate) fn done_to_tree(&self, tree: &Path) -> Option<PathBuf> {
        Uppers::of_tree(&self.folder.as_ref()?.path.join(SCRATCH), tree)
    }

    /// Back to baseline.
    ///
    /// # Errors
    /// When the checks cannot be made. What is left is no error but in the
    /// receipt.
    pub fn reset(mut self, clock: Clock, reason: &str) -> Result<Receipt> {
        self.end(clock, reason)
    }

    /// Ends everything inside, before what was written is used: nobody changes it
    /// from then on. What lies on the disk stays until the reset.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub(crate) fn halt(&mut self) -> Result<()> {
        if self.ended.is_none() {
            self.kill();
            self.ended = Some(self.wait()?);
        }
        Ok(())
    }

    fn kill(&mut self) {
        if self.stops {
            // The owner's own connection answers no questions once it has run something.
            let _ = join::stop_services(&self.runtimes, &self.lease);
        }
        let _ = rustix::process::pidfd_send_signal(&self.pidfd, Signal::KILL);
        self.watch.iter_mut().for_each(WorkspaceWatch::stop);
    }

    /// Returns only when every process inside is gone.
    fn wait(&self) -> Result<sys::ProcessUsage> {
        sys::wait_counted(self.pidfd.as_fd()).context("cannot wait for the runtime to end")
    }

    fn end(&mut self, clock: Clock, reason: &str) -> Result<Receipt> {
        let folder = self.folder.take().context("the runtime is reset already")?;
        let counted = match self.ended.take() {
            Some(counted) => counted,
            None => {
                self.kill();
                if self.alone {
                    self.before.begin(&self.runtimes, &folder, &self.lease);
                    crash::point("seal.cleared");
                }
                self.wait()?
            }
        };
        let cgroup = self.lease.cgroup.as_deref();
        let peak = cgroup.and_then(limits::peak);
        let by_kernel = cgroup.map(limits::ended_for_memory).filter(|ended| *ended > 0);
        self.before.out_of_memory = self.exhausted.take().or_else(|| {
            let (limits, scratch_bytes) = (self.lease.limits, self.before.scratch_bytes);
            let (limit, assumed, ended) = (limits.memory?, limits.assumed.memory, by_kernel?);
            Some(OutOfMemory { limit, assumed, ended, program: None, program_bytes: None, scratch_bytes })
        });
        self.before.usage = Some(Usage::of(self.started.elapsed(), counted, peak));
        self.before.planted = self.watch.take().map(WorkspaceWatch::end).unwrap_or_default();
        crash::point("leave.killed");
        let reason = match counted.exit_status {
            Some(TIMED_OUT) => "deadline",
            Some(IDLE) => "idle",
            _ => reason,
        };
        if let Some((lent, values)) = self.lender.take().map(Lender::end) {
            self.before.lent = Some(lent);
            self.before.exposed = Some(Exposed::default());
            self.secrets.extend(values);
        }
        if !self.secrets.is_empty() {
            self.before.exposed = Some(exposed::search(&self.lease.workspace, &self.secrets, self.lease.begun));
        }
        let ended = EndedRuntime { runtimes: &self.runtimes, folder, lease: Some(&self.lease), before: &self.before };
        ended.finish(clock, reason)
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        if self.folder.is_some() {
            let _ = self.end(Clock::System, "failed");
        }
    }
}

/// What is settled when pid 1 is made; both sides have it.
struct Start<'a> {
    clock: Clock,
    spec: &'a Spec,
    folder: &'a LeaseFolder,
    scratch: PathBuf,
    token: Token,
    ports: Vec<Port>,
    cgroup: Option<Cgroup>,
    enforced: Enforced,
    umask: Mode,
}

/// What pid 1 alone keeps.
struct Ends {
    go: OwnedFd,
    owner: OwnedFd,
    listener: OwnedFd,
    published: Vec<PublishedPort>,
    pasta: Option<PathBuf>,
    /// Where the owner waits for the sockets of what is lent.
    lending: Option<OwnedFd>,
}

impl Start<'_> {
    /// The child's side: becomes pid 1.
    fn be_born(&self, ends: Ends) -> ! {
        let Start { spec, folder, enforced, .. } = self;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let Ok(scratch_place) = rustix::fs::open(&self.scratch, flags, Mode::empty()) else { sys::exit_now(1) };
        let mut env = spec.env.clone();
        env.extend(self.ports.iter().map(|port| (port_variable(port.inside), port.host.to_string())));
        let variables = spec.secrets.iter().filter(|secret| secret.variable);
        env.extend(variables.map(|secret| (secret.name.clone(), secret.value.expose().to_owned())));
        let watched = spec.limits.memory.filter(|_| enforced.memory == Some(Means::Watched));
        guest::run(Birth {
            go: ends.go,
            owner: ends.owner,
            listener: ends.listener,
            token: self.token,
            lock: &folder.file,
            scratch_place,
            mark: inspect::mark(&folder.id),
            rootfs: &spec.rootfs,
            network: spec.network,
            context: guest::Context {
                account: spec.account.clone(),
                env,
                workdir: spec.rootfs.workdir.clone(),
                groups: !spec.mapping.is_single(),
                processes: spec.limits.processes.filter(|_| enforced.processes == Some(Means::Rlimit)),
                umask: self.umask.as_raw_mode(),
            },
            tty_group: spec.mapping.has_gid(5),
            root_exists: spec.mapping.has_root(),
            published: ends.published,
            pasta: ends.pasta,
            deadline: spec.deadline,
            idle: spec.idle,
            memory: watched.map(|bytes| (bytes, !spec.limits.assumed.memory)),
            scratch: spec.limits.scratch(),
            secrets: &spec.secrets,
            lending: (&spec.lending, ends.lending),
            services: &spec.services,
            list_written: spec.list_written,
        })
    }

    /// The owner's side: gives pid 1 its users, writes the lease and
    /// lets it go on.
    fn let_go(&self, runtimes: &Runtimes, pid: Pid, go: &OwnedFd) -> Result<Lease> {
        self.spec.mapping.write(pid)?;
        let lease = self.lease(pid)?;
        crash::point("enter.mapped");
        runtimes.write(&lease)?;
        crash::point("enter.lease-written");
        tell(go)?;
        crash::point("enter.started");
        if self.spec.rootfs.needs_places() {
            // While pid 1 mounts; not before the lease is written, because
            // a reset removes what a lease names.
            place(self.spec, &self.scratch)?;
            crash::point("seal.placed");
            tell(go)?;
        }
        Ok(lease)
    }

    fn lease(&self, pid: Pid) -> Result<Lease> {
        let spec = self.spec;
        let raw = pid.as_raw_nonzero().get();
        let namespace =
            |kind| inspect::namespace(raw, kind).with_context(|| format!("cannot read the {kind} namespace"));
        let (begun, begun_nanos) = exposed::start(&spec.rootfs.workspace);
        Ok(Lease {
            schema: Lease::SCHEMA,
            id: self.folder.id.clone(),
            token: self.token,
            task: spec.task.clone(),
            store: spec.store.clone(),
            agent: spec.agent.clone(),
            identity: spec.identity.clone(),
            workspace: spec.rootfs.workspace.clone(),
            workdir: Some(spec.rootfs.workdir.clone().into()),
            network: spec.network,
            owner: Process::of(rustix::process::getpid()).context("cannot read /proc/self/stat")?,
            init: Process::of(pid).context("the runtime's first process died")?,
            namespaces: Namespaces { pid: namespace("pid")?, mnt: namespace("mnt")? },
            boot_id: disk::boot_id()?,
            started_at: self.clock.now(),
            begun,
            begun_nanos,
            kept: kept(&spec.rootfs.workspace),
            deadline: spec.deadline,
            detached: spec.detached,
            log: spec.log.clone(),
            ports: self.ports.clone(),
            limits: spec.limits,
            enforced: self.enforced,
            cgroup: self.cgroup.as_ref().map(|cgroup| cgroup.path().to_owned()),
            secrets: spec.secrets.iter().map(|secret| secret.name.clone()).collect(),
            lent: spec.lending.names.clone(),
            trees: spec.rootfs.trees.iter().map(|tree| tree.name.clone()).collect(),
            tree_paths: spec.rootfs.trees.iter().map(|tree| tree.tree.clone()).collect(),
            made: spec.made.clone(),
            setup: spec.setup.clone(),
            services: spec.services.iter().map(|service| service.name.clone()).collect(),
        })
    }
}

/// Lets pid 1 go on.
fn tell(go: &OwnedFd) -> Result<()> {
    match rustix::io::write(go, b"g") {
        // Killed already: a reset has found the lease. The runtime counts as
        // lost, and ends with a receipt.
        Ok(_) | Err(rustix::io::Errno::PIPE) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Makes the folders on disk: where trees appear in the workspace, and what
/// takes up changes to them.
fn place(spec: &Spec, scratch: &Path) -> Result<()> {
    if !spec.made.is_empty() {
        let workspace = Beneath::open(&spec.rootfs.workspace)?;
        spec.made.iter().try_for_each(|folder| workspace.make_folder(folder))?;
    }
    Uppers::make(scratch, &spec.rootfs.trees, spec.rootfs.workspace_stays)
}

/// The socket at which others join. It lies in the runtime's own folder, which
/// is the developer's alone and visible in no runtime: whatever network a
/// program inside has, it can name no other runtime.
fn listen(folder: &LeaseFolder) -> Result<OwnedFd> {
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    rustix::net::bind(&socket, &address(&folder.file)?).context("cannot bind the runtime's socket")?;
    rustix::net::listen(&socket, 16)?;
    Ok(socket)
}
