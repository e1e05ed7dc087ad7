//! The way back to baseline, and the receipt that proves it: everything is
//! taken away first and then looked for, from outside.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use jiff::Timestamp;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, Mode, Uid};
use rustix::process::{Pid, PidfdFlags, Signal};
use serde::{Deserialize, Serialize};

use super::exposed::Exposed;
use super::inspect;
use crate::clock::Clock;
use crate::crash;
use crate::disk::beneath::Beneath;
use crate::disk::lock::FileLock;
use crate::disk::{self, Durability};
use crate::runtime::guest::{ChangedTree, changed as changed_in_trees};
use crate::runtime::lease::{Lease, LeaseFolder, Process, Runtimes, SCRATCH};
use crate::runtime::lending::Lent;
use crate::runtime::limits::{self, OutOfMemory};
use crate::runtime::usage::Usage;

/// How long the owner of a runtime may take to clean up after it.
const PATIENCE: Duration = Duration::from_secs(10);

/// One line of a receipt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// How many were taken away; `None` where nobody was left to count them.
    pub removed: Option<u64>,
    /// How many were found afterwards.
    pub left: u64,
}

/// What a reset did, each line checked after the fact.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Receipt {
    /// Always 1.
    pub schema: u32,
    /// The lease that ended.
    pub lease: String,
    /// Its task.
    pub task: String,
    /// Its store, as `--store` would name it.
    #[serde(default)]
    pub store: Option<String>,
    /// Who ran it, where that was said.
    #[serde(default)]
    pub agent: Option<String>,
    /// Digest of its identity.
    pub identity: String,
    /// The workspace, which stays.
    #[serde(default)]
    pub workspace: PathBuf,
    /// When the runtime was made.
    pub started_at: Option<Timestamp>,
    /// When it was found to be gone.
    pub ended_at: Timestamp,
    /// `exit`, `reset`, `deadline`, `idle`, `cancelled`, `owner-died`, `rebooted` or
    /// `failed`.
    pub reason: String,
    /// Processes that were still running when the command had ended.
    pub processes: Tally,
    /// Mounts.
    pub mounts: Tally,
    /// Listening TCP ports of those processes.
    pub ports: Tally,
    /// Bytes of scratch: everything written outside the workspace. `left`
    /// counts folders.
    pub scratch: Tally,
    /// Secrets that were inside.
    #[serde(default)]
    pub secrets: Tally,
    /// Credentials for git that were lent to programs inside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lent: Option<Lent>,
    /// Cgroups.
    #[serde(default)]
    pub cgroups: Tally,
    /// Files of the workspace that the run changed and that hold the value of
    /// a secret; `None` where nobody was left who knew the values.
    #[serde(default)]
    pub exposed: Option<Vec<PathBuf>>,
    /// Files and folders of the workspace that could not be searched for that.
    #[serde(default)]
    pub unsearched: u64,
    /// What the run changed in its caches, which is gone.
    #[serde(default)]
    pub caches: Vec<ChangedTree>,
    /// What it used; `None` where nobody was left to count.
    #[serde(default)]
    pub usage: Option<Usage>,
    /// What was ended because it used too much memory.
    #[serde(default)]
    pub out_of_memory: Option<OutOfMemory>,
    /// What stays: the workspace.
    pub kept: Vec<String>,
    /// What was found in the workspace that git on the host should not obey.
    #[serde(default)]
    pub planted: Vec<String>,
    /// Why scratch could not be cleared.
    #[serde(default)]
    pub uncleared: Option<String>,
    /// Why this is nowhere on disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unwritten: Option<String>,
    /// Nothing is left.
    pub baseline: bool,
}

/// What was there when the end began.
#[derive(Clone, Debug, Default)]
pub(crate) struct Before {
    pub(crate) processes: Option<u64>,
    pub(crate) mounts: Option<u64>,
    pub(crate) scratch_bytes: Option<u64>,
    pub(crate) listeners: BTreeSet<u64>,
    /// Files that hold a secret, where somebody has looked.
    pub(crate) exposed: Option<Exposed>,
    /// What was lent, where somebody has counted.
    pub(crate) lent: Option<Lent>,
    /// What was found in the workspace while the runtime lived.
    pub(crate) planted: Vec<String>,
    /// What was used, where somebody has counted.
    pub(crate) usage: Option<Usage>,
    /// What was ended for its memory.
    pub(crate) out_of_memory: Option<OutOfMemory>,
    /// What was changed in caches, where somebody has counted.
    pub(crate) caches: Option<Vec<ChangedTree>>,
}

impl Before {
    /// Looks from outside. Pid 1, our own, is not counted.
    pub(crate) fn look(lease: &Lease) -> Self {
        let mut pids = inspect::members(lease).unwrap_or_default().processes;
        pids.retain(|pid| *pid != lease.init.pid);
        let mounts = pids.iter().find_map(|pid| {
            let table = std::fs::read(format!("/proc/{pid}/mountinfo")).ok()?;
            Some(table.iter().filter(|byte| **byte == b'\n').count() as u64)
        });
        let mut listeners = inspect::listeners(&pids);
        listeners.extend(lease.ports.iter().flat_map(|port| &port.sockets));
        let processes = Some(pids.len() as u64);
        Before { processes, mounts, listeners, ..Before::default() }
    }

    /// Begins with what needs nobody to be dead: nothing is left inside that
    /// could change it. The kernel takes as long to take the namespaces down,
    /// meanwhile.
    pub(crate) fn begin(&mut self, runtimes: &Runtimes, folder: &LeaseFolder, lease: &Lease) {
        if lease.trees.is_empty() {
            return;
        }
        let scratch = folder.path.join(SCRATCH);
        let changed = changed_in_trees(&scratch, &lease.trees, &lease.tree_paths, &*runtimes.look.packages);
        // Should this process die now, what was changed can still be counted.
        if changed.iter().all(|tree| tree.entries == Some(0)) {
            for folder in std::fs::read_dir(&scratch).into_iter().flatten().flatten() {
                // What stays is tried again, and told, at the end.
                let _ = runtimes.remove(&folder.path());
            }
        }
        self.caches = Some(changed);
    }
}

/// A runtime of which every process is believed to be dead by now; that belief is
/// checked.
pub(crate) struct EndedRuntime<'a> {
    pub(crate) runtimes: &'a Runtimes,
    pub(crate) folder: LeaseFolder,
    /// None where it cannot be read.
    pub(crate) lease: Option<&'a Lease>,
    pub(crate) before: &'a Before,
}

/// What was found when it was looked for, and removed.
struct Cleared {
    processes: u64,
    mounts: u64,
    ports: u64,
    scratch: u64,
    cgroups: u64,
    caches: Vec<ChangedTree>,
    /// Why the scratch folder is still there.
    uncleared: Option<String>,
}

impl EndedRuntime<'_> {
    /// Checks, removes what lies on disk, and writes the receipt.
    ///
    /// # Errors
    /// When the checks cannot be made, or something stays that cannot be written down.
    pub(crate) fn finish(self, clock: Clock, reason: &str) -> Result<Receipt> {
        // Before anything can fail: what stays is the workspace.
        self.lease.iter().for_each(|lease| open_up(self.runtimes, &lease.workspace));
        let mut planted = self.before.planted.clone();
        planted.extend(self.lease.map(|lease| self.runtimes.look(lease)).unwrap_or_default());
        let cleared = self.clear()?;
        let mut receipt = Receipt { planted, ..self.receipt(cleared, clock.now(), reason) };
        let write = |receipt: &Receipt| match self.lease {
            Some(_) => disk::write_json(&self.runtimes.paths().receipt(&self.folder.id), receipt, Durability::Cached),
            None => Ok(()),
        };
        let written = write(&receipt);
        crash::point("leave.receipt-written");
        if !receipt.baseline {
            // What is still there has to be found again.
            written?;
            return Ok(receipt);
        }
        self.runtimes.forget(&self.folder.id)?;
        crash::point("leave.forgotten");
        disk::remove::tree(&self.folder.path)?;
        // A full disk has room again, perhaps. If not, what ran has run all the same.
        receipt.unwritten = written.or_else(|_| write(&receipt)).err().map(|error| format!("{error:#}"));
        Ok(receipt)
    }

    fn clear(&self) -> Result<Cleared> {
        let EndedRuntime { runtimes, folder, lease, before } = self;
        let same_boot = lease.is_some_and(|lease| disk::boot_id().is_ok_and(|boot| boot == lease.boot_id));
        let members = match lease {
            Some(lease) if same_boot => inspect::members(lease)?,
            _ => inspect::Members::default(),
        };
        // A mount namespace lives as long as somebody is in it.
        let mounts = members.holders.len() as u64 + u64::from(inspect::mounts_below(&folder.path)?);
        let ports = u64::from(inspect::still_listening(&before.listeners));
        let scratch = folder.path.join(SCRATCH);
        let caches = before.caches.clone().unwrap_or_else(|| {
            let (names, paths) = lease.map_or((&[][..], &[][..]), |lease| (&lease.trees, &lease.tree_paths));
            changed_in_trees(&scratch, names, paths, &*runtimes.look.packages)
        });
        let mut uncleared = None;
        if mounts == 0 {
            // Only the folder's content: the folder carries the lock. What cannot
            // be removed is left, which the receipt says.
            uncleared = runtimes.remove(&scratch).err().map(|error| format!("{error:#}"));
            lease.iter().for_each(|lease| remove_made(runtimes, lease));
        }
        crash::point("leave.scratch-removed");
        // A reboot has taken it away.
        let cgroup = lease.and_then(|lease| lease.cgroup.as_deref());
        let cgroups = cgroup.map_or(0, |cgroup| u64::from(same_boot && !limits::remove(cgroup)));
        let processes = members.processes.len() as u64;
        Ok(Cleared { processes, mounts, ports, scratch: scratch.exists().into(), cgroups, caches, uncleared })
    }

    fn receipt(&self, cleared: Cleared, ended_at: Timestamp, reason: &str) -> Receipt {
        let EndedRuntime { folder, lease, before, .. } = self;
        let Cleared { processes, mounts, ports, scratch, cgroups, caches, uncleared } = cleared;
        let injected = lease.map_or(0, |lease| lease.secrets.len() as u64);
        // They are on a mount that lives as long as the mounts inside do.
        let secrets = Tally { removed: Some(injected), left: if mounts > 0 { injected } else { 0 } };
        let cgroup = lease.and_then(|lease| lease.cgroup.as_deref());
        let names = lease.map_or(&[][..], |lease| &lease.lent);
        let uncounted = || (!names.is_empty()).then(|| Lent { names: names.to_vec(), given: None, refused: None });
        let lent = before.lent.clone().or_else(uncounted);
        let nothing = injected == 0 && names.is_empty();
        let found = before.exposed.as_ref();
        Receipt {
            schema: 1,
            lease: folder.id.clone(),
            task: lease.map(|lease| lease.task.clone()).unwrap_or_default(),
            store: lease.map(|lease| lease.store.clone()),
            agent: lease.and_then(|lease| lease.agent.clone()),
            identity: lease.map(|lease| lease.identity.clone()).unwrap_or_default(),
            workspace: lease.map(|lease| lease.workspace.clone()).unwrap_or_default(),
            started_at: lease.map(|lease| lease.started_at),
            ended_at,
            reason: reason.to_owned(),
            processes: Tally { removed: before.processes, left: processes },
            mounts: Tally { removed: before.mounts, left: mounts },
            ports: Tally { removed: before.processes.map(|_| before.listeners.len() as u64), left: ports },
            scratch: Tally { removed: before.scratch_bytes, left: scratch },
            secrets,
            lent,
            cgroups: Tally { removed: Some(u64::from(cgroup.is_some())), left: cgroups },
            exposed: if nothing { Some(Vec::new()) } else { found.map(|exposed| exposed.files.clone()) },
            unsearched: found.map_or(0, |exposed| exposed.unsearched),
            caches,
            usage: before.usage,
            out_of_memory: before.out_of_memory.clone(),
            kept: lease.iter().map(|lease| format!("workspace {}", lease.workspace.display())).collect(),
            planted: Vec::new(),
            uncleared,
            unwritten: None,
            baseline: processes + mounts + ports + scratch + secrets.left + cgroups == 0,
        }
    }
}

/// Gives the developer back the right to look into their workspace, which a
/// program inside can take from the folders that all else depends on: by their
/// modes, and where there are subordinate ids by giving them to one of those.
fn open_up(runtimes: &Runtimes, workspace: &Path) {
    let folders = ["", ".git", ".git/objects", ".git/refs"].map(|folder| workspace.join(folder));
    let own = rustix::process::geteuid().as_raw();
    let stat = |folder: &PathBuf| rustix::fs::lstat(folder).map(|stat| (stat.st_mode, stat.st_uid));
    let is_open = |folder: &PathBuf| stat(folder).is_ok_and(|(mode, owner)| owner == own && mode & 0o700 == 0o700);
    let is_folder = |mode: u32| FileType::from_raw_mode(mode) == FileType::Directory;
    let open = |owner: Option<Uid>| {
        for folder in &folders {
            if let Ok((mode, _)) = stat(folder)
                && is_folder(mode)
            {
                if owner.is_some() {
                    let _ = rustix::fs::chown(folder, owner, None);
                }
                let _ = rustix::fs::chmod(folder, Mode::from_raw_mode(mode & 0o777 | 0o700));
            }
        }
        Ok(())
    };
    if folders.iter().all(is_open) {
        return;
    }
    let foreign = |folder: &PathBuf| !matches!(stat(folder), Ok((_, owner)) if owner == own);
    if folders.iter().any(foreign) {
        // In there the developer is root, and may do this with all of their ids.
        let _ = runtimes.mapping().inside(|| open(Some(Uid::ROOT)));
    }
    let _ = open(None);
}

/// Takes the folders away that were made for trees, while they are empty and
/// no other runtime uses them: removing a mount point takes the mount with it,
/// in every namespace. One that is just starting takes over the task.
fn remove_made(runtimes: &Runtimes, lease: &Lease) {
    if lease.made.is_empty() {
        return;
    }
    // Not for long: whoever starts there might be stopped.
    let Ok(Some(_places)) = FileLock::soon(&runtimes.paths().places_lock(&lease.workspace)) else { return };
    let others = runtimes.live().unwrap_or_default();
    if others.iter().any(|other| other.id != lease.id && other.workspace == lease.workspace) {
        return;
    }
    crash::point("seal.alone");
    let Ok(workspace) = Beneath::open(&lease.workspace) else { return };
    for made in lease.made.iter().rev() {
        // What is not empty has become somebody's.
        let _ = workspace.remove_folder(made);
    }
}

/// Finishes what dead owners left. Called at the start of every command. What
/// cannot be finished is returned beside the receipts, and stops nothing.
pub fn reap(runtimes: &Runtimes, clock: Clock) -> (Vec<Receipt>, Vec<anyhow::Error>) {
    let (mut receipts, mut failures) = (Vec::new(), Vec::new());
    for folder in runtimes.dead() {
        let id = folder.id.clone();
        match reap_one(runtimes, folder, clock) {
            Ok(receipt) => receipts.extend(receipt),
            Err(error) => failures.push(error.context(format!("cannot clear what the dead runtime {id} left"))),
        }
    }
    (receipts, failures)
}

fn reap_one(runtimes: &Runtimes, folder: LeaseFolder, clock: Clock) -> Result<Option<Receipt>> {
    let lease = match runtimes.read(&folder.id) {
        Ok(lease) => lease,
        // Unreadable: nothing is known of it but that it is over.
        Err(_) => {
            runtimes.set_aside(&folder.id)?;
            None
        }
    };
    let rebooted = lease.as_ref().is_some_and(|lease| disk::boot_id().is_ok_and(|boot| boot != lease.boot_id));
    let reason = if rebooted { "rebooted" } else { "owner-died" };
    if let Some(lease) = lease.as_ref().filter(|_| !rebooted) {
        // The lock is let go a moment before the last process is gone.
        kill(lease.init)?;
    }
    let before = Before { usage: lease.as_ref().map(|lease| lived(lease, &folder)), ..Before::default() };
    let ended = EndedRuntime { runtimes, folder, lease: lease.as_ref(), before: &before };
    let receipt = ended.finish(clock, reason)?;
    if lease.is_none() && !receipt.baseline {
        anyhow::bail!("{}", receipt.uncleared.as_deref().unwrap_or("something of it is still there"));
    }
    Ok(lease.is_some().then_some(receipt))
}

/// For how long a runtime was seen to live: its owner touches its folder every now and
/// then. Nothing else was counted.
fn lived(lease: &Lease, folder: &LeaseFolder) -> Usage {
    let seen =
        folder.file.metadata().map(|meta| i128::from(meta.mtime()) * 1000 + i128::from(meta.mtime_nsec() / 1_000_000));
    let begun = i128::from(lease.begun) * 1000 + i128::from(lease.begun_nanos / 1_000_000);
    let wall_ms = seen.ok().and_then(|seen| u64::try_from(seen - begun).ok()).filter(|_| lease.begun > 0);
    Usage { wall_ms, ..Usage::default() }
}

/// Ends a runtime that another process owns, and waits until it has gone.
///
/// # Errors
/// When it cannot be ended.
pub fn stop(runtimes: &Runtimes, lease: &Lease, clock: Clock) -> Result<Receipt> {
    let before = Before::look(lease);
    crash::point("reset.looked");
    kill(lease.init)?;
    crash::point("reset.killed");
    let folder = match runtimes.wait(&lease.id, PATIENCE) {
        Ok(folder) => folder,
        Err(()) => {
            // Stopped, or stuck: it must not keep the runtime alive.
            kill(lease.owner)?;
            runtimes.wait(&lease.id, PATIENCE).map_err(|()| {
                anyhow::anyhow!("the runtime of {} does not end: process {}", lease.task, lease.owner.pid)
            })?
        }
    };
    match folder {
        Some(folder) => EndedRuntime { runtimes, folder, lease: Some(lease), before: &before }.finish(clock, "reset"),
        // Its owner has cleaned up and checked; only this process knows what
        // was alive before, and why it ended.
        None => {
            let path = runtimes.paths().receipt(&lease.id);
            let mut receipt: Receipt = disk::read_json(&path)?.context("the runtime ended without a receipt")?;
            receipt.reason = "reset".into();
            receipt.processes.removed = before.processes;
            receipt.mounts.removed = before.mounts;
            receipt.ports = Tally {
                removed: Some(before.listeners.len() as u64),
                left: u64::from(inspect::still_listening(&before.listeners)),
            };
            receipt.baseline &= receipt.ports.left == 0;
            disk::write_json(&path, &receipt, Durability::Cached)?;
            Ok(receipt)
        }
    }
}

impl Lease {
    /// Ends all that lives in the runtime, at once. Its owner does the rest.
    ///
    /// # Errors
    /// When pid 1 cannot be ended.
    pub fn end(&self) -> Result<()> {
        kill(self.init)
    }
}

/// Kills exactly this process and waits until it is dead.
fn kill(process: Process) -> Result<()> {
    let Some(pid) = Pid::from_raw(process.pid) else { return Ok(()) };
    let Ok(pidfd) = rustix::process::pidfd_open(pid, PidfdFlags::empty()) else { return Ok(()) };
    // The descriptor holds on to a process; now make sure that it is the one.
    if !process.lives() {
        return Ok(());
    }
    match rustix::process::pidfd_send_signal(&pidfd, Signal::KILL) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => {}
        Err(error) => return Err(error).with_context(|| format!("cannot end process {}", process.pid)),
    }
    let timeout = Timespec { tv_sec: PATIENCE.as_secs() as i64, tv_nsec: 0 };
    poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&timeout))?;
    Ok(())
}
