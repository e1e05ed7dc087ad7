//! Leases: the record that a runtime exists, and the locked folder that says
//! whether it still does.
//!
//! Order of a life: folder, lock, process, lease; and back: process, lease,
//! folder. So a folder without a lease is a runtime that never ran, and a
//! lease never outlives its folder unnoticed.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use jiff::Timestamp;
use rustix::process::Pid;
use serde::{Deserialize, Serialize};

use super::Network;
use super::limits::{Enforced, Limits};
use super::ports::Port;
use super::token::{Token, random};
use super::watch::{WatchNews, WorkspaceWatch};
use crate::crash;
use crate::digest::{hex, unhex};
use crate::disk::known::KnownFile;
use crate::disk::{self, Durability, lock};
use crate::paths::Paths;
use rustix::net::SocketAddrUnix;
use std::os::fd::{AsFd, AsRawFd};

/// The schema of a lease.
const SCHEMA: u32 = 1;

/// How long the lock of a dead owner may stay.
const LETTING_GO: std::time::Duration = std::time::Duration::from_millis(500);

/// Bytes of an ID, which is their hexadecimal digits.
const ID: usize = 6;

/// A process that cannot be mistaken for a later one with the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Process ID outside.
    pub pid: i32,
    /// Start time in clock ticks since boot, `proc_pid_stat(5)` field 22.
    pub start: u64,
}

impl Process {
    /// A process that runs now.
    pub(super) fn of(pid: Pid) -> Option<Self> {
        let pid = pid.as_raw_nonzero().get();
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in parentheses may hold anything, spaces too.
        let start = stat.rsplit_once(") ")?.1.split(' ').nth(19)?.parse().ok()?;
        Some(Process { pid, start })
    }

    /// Whether it still runs. A zombie counts as gone: nothing of it runs.
    pub(super) fn lives(self) -> bool {
        let Some(pid) = Pid::from_raw(self.pid) else { return false };
        Process::of(pid) == Some(self) && !is_dead(self.pid)
    }
}

/// Whether a process has ended and only waits to be noticed, `proc_pid_stat(5)`.
pub(super) fn is_dead(pid: i32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return true };
    stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['Z', 'X']))
}

/// Inode numbers of the namespaces of a runtime, as `/proc/PID/ns` shows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespaces {
    /// `pid`.
    pub pid: u64,
    /// `mnt`.
    pub mnt: u64,
}

/// The record of a runtime.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lease {
    /// Always 1.
    pub schema: u32,
    /// Names the runtime on this machine.
    pub id: String,
    /// What those who join have to know: it is on disk, and shown nowhere.
    #[serde(default, skip_serializing)]
    pub(super) token: Token,
    /// The task, or the identity where no task was named.
    pub task: String,
    /// The store, as `--store` would name it.
    pub store: String,
    /// Who runs it, where that was said.
    #[serde(default)]
    pub agent: Option<String>,
    /// Digest of the identity.
    pub identity: String,
    /// The workspace outside.
    pub workspace: PathBuf,
    /// Where that is inside.
    #[serde(default)]
    pub workdir: Option<PathBuf>,
    /// What it can reach.
    pub network: Network,
    /// The `envctl` that made it.
    pub owner: Process,
    /// Pid 1 of the sandbox, seen from outside.
    pub init: Process,
    /// Its namespaces.
    pub namespaces: Namespaces,
    /// The boot in which it runs.
    pub boot_id: String,
    /// When it was made.
    pub started_at: Timestamp,
    /// The same by the system's clock, in seconds since 1970, a little early:
    /// what was changed before that was not changed by this runtime.
    #[serde(default)]
    pub begun: i64,
    /// The nanoseconds to that.
    #[serde(default)]
    pub begun_nanos: u32,
    /// What of the workspace's git folder nobody inside can change, as it was
    /// when this began: on disk only.
    #[serde(default, skip_serializing)]
    pub kept: Vec<KnownFile>,
    /// When it ends, in milliseconds of the monotonic clock of that boot.
    #[serde(default)]
    pub deadline: Option<u64>,
    /// Whether it outlives the terminal from which it was started.
    #[serde(default)]
    pub detached: bool,
    /// Where what the command of a detached one prints is kept.
    #[serde(default)]
    pub log: Option<PathBuf>,
    /// Published ports.
    #[serde(default)]
    pub ports: Vec<Port>,
    /// What it may use.
    #[serde(default)]
    pub limits: Limits,
    /// How that is kept.
    #[serde(default)]
    pub enforced: Enforced,
    /// Its cgroup, where it has one of its own.
    #[serde(default)]
    pub cgroup: Option<PathBuf>,
    /// Names of the secrets inside.
    #[serde(default)]
    pub secrets: Vec<String>,
    /// What is lent to programs inside, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lent: Vec<String>,
    /// Names of the trees inside.
    #[serde(default)]
    pub trees: Vec<String>,
    /// Where they lie outside: they are needed while this runs.
    #[serde(default)]
    pub tree_paths: Vec<PathBuf>,
    /// The cache whose setup this runs; what else ran in there would be sealed,
    /// and what it did to the workspace would be gone.
    #[serde(default)]
    pub setup: Option<String>,
    /// Names of the services inside.
    #[serde(default)]
    pub services: Vec<String>,
    /// Folders of the workspace that were made for them, outermost first.
    #[serde(default)]
    pub made: Vec<PathBuf>,
}

impl Lease {
    /// The version of this record that this envctl writes.
    pub const SCHEMA: u32 = SCHEMA;
}

/// The record as it lies on disk.
#[derive(Serialize)]
struct Stored<'a> {
    #[serde(flatten)]
    lease: &'a Lease,
    token: Token,
    kept: &'a [KnownFile],
}

/// What is done with the lease of a runtime in which nothing lives any more,
/// before anything of it is forgotten or can fail. What it says goes into the
/// receipt.
#[derive(Clone)]
pub struct DeadLook {
    /// Afterwards.
    pub after: Arc<Looking>,
    /// While it lives, in a thread of its own, until the descriptor hangs up. It can
    /// be read once the first command runs; services run before.
    pub during: Arc<Watching>,
    /// Names the packages that an upper folder adds to a tree.
    pub packages: Arc<NamedPackages>,
}

type NamedPackages = dyn Fn(&Path, &Path) -> Vec<String> + Send + Sync;
type Looking = dyn Fn(&Lease) -> Vec<String> + Send + Sync;
type Watching = dyn Fn(&Lease, OwnedFd) -> WatchNews + Send + Sync;

impl std::fmt::Debug for DeadLook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Look")
    }
}

/// The runtimes of this user on this machine.
#[derive(Clone, Debug)]
pub struct Runtimes {
    paths: Paths,
    /// Where programs of the host are found.
    path: Option<OsString>,
    pub(super) look: DeadLook,
}

/// The one thing in a runtime's folder: the place over which its scratch space
/// is mounted, and the mark by which the folder is known as ours.
pub(super) const SCRATCH: &str = ".envctl-scratch";

/// The other thing in it: where pid 1 hears those who join.
pub(super) const SOCKET: &str = ".envctl-socket";

/// The folder of a runtime, locked.
#[derive(Debug)]
pub(super) struct LeaseFolder {
    pub(super) id: String,
    pub(super) path: PathBuf,
    /// Holds the lock until this and every inherited copy is closed.
    pub(super) file: File,
}

impl Runtimes {
    /// Those whose state lies at `paths`.
    pub fn new(paths: Paths, path: Option<OsString>, look: DeadLook) -> Self {
        Runtimes { paths, path, look }
    }

    /// Looks at what a runtime left, however it ended.
    pub(super) fn look(&self, lease: &Lease) -> Vec<String> {
        (self.look.after)(lease)
    }

    /// Watches the workspace of a runtime.
    pub(super) fn watch(&self, lease: &Lease) -> Result<WorkspaceWatch> {
        let (during, lease) = (Arc::clone(&self.look.during), lease.clone());
        WorkspaceWatch::start(move |stop| during(&lease, stop))
    }

    /// Removes a tree that may hold files of the ids of an image, which only a
    /// user namespace with those ids can remove.
    pub(super) fn remove(&self, tree: &Path) -> Result<()> {
        match disk::remove::tree(tree) {
            Ok(_) => Ok(()),
            Err(_) => self.mapping().remove(tree),
        }
    }

    /// The map in which all ids of an image have their place.
    pub(super) fn mapping(&self) -> super::Mapping {
        super::Mapping::new(0, 0, self.path.as_deref())
    }

    pub(super) fn paths(&self) -> &Paths {
        &self.paths
    }

    /// Makes and locks a folder for a new runtime.
    pub(super) fn create(&self) -> Result<LeaseFolder> {
        let parent = self.paths.runtimes();
        disk::create_private_dir(&parent)?;
        loop {
            let id = random_id()?;
            let path = self.paths.runtime(&id);
            DirBuilder::new().mode(0o700).create(&path).with_context(|| format!("cannot create {}", path.display()))?;
            crash::point("enter.folder-made");
            // Another command may take the folder for a dead one's before it
            // is locked; then it is gone and another one is made.
            if let Ok(file) = File::open(&path)
                && lock::try_exclusive(&file)?
                && fs::metadata(&path).is_ok_and(|now| file.metadata().is_ok_and(|ours| ours.ino() == now.ino()))
            {
                crash::point("enter.folder-locked");
                return Ok(LeaseFolder { id, path, file });
            }
        }
    }

    /// The leases of runtimes that are alive.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn live(&self) -> Result<Vec<Lease>> {
        let mut leases = Vec::new();
        for id in ids_in(&self.paths) {
            let locked =
                File::open(self.paths.runtime(&id)).is_ok_and(|file| !lock::try_exclusive(&file).unwrap_or(true));
            // One that cannot be read must not hide the others.
            if locked && let Ok(Some(lease)) = self.read(&id) {
                leases.push(lease);
            }
        }
        Ok(leases)
    }

    /// Whether another runtime has the workspace of this lease.
    pub fn others_in(paths: &Paths, lease: &Lease) -> bool {
        let other = |id: &String| disk::read_json::<Lease>(&paths.lease(id)).ok().flatten();
        ids_in(paths)
            .iter()
            .filter(|id| **id != lease.id)
            .any(|id| other(id).is_some_and(|other| other.workspace == lease.workspace))
    }

    /// Folders whose owners are dead, now locked by this process. The kernel lets
    /// go of a lock a moment after its owner has died.
    pub(super) fn dead(&self) -> Vec<LeaseFolder> {
        let lock = |id: String| {
            let path = self.paths.runtime(&id);
            if !is_ours(&path) {
                return None;
            }
            let file = File::open(&path).ok()?;
            if lock::try_exclusive(&file).ok()? {
                return path.exists().then_some(LeaseFolder { id, path, file });
            }
            let has_died = self.read(&id).ok().flatten().is_some_and(|lease| !lease.owner.lives());
            if has_died { self.wait(&id, LETTING_GO).ok().flatten() } else { None }
        };
        ids_in(&self.paths).into_iter().filter_map(lock).collect()
    }

    /// Leases whose runtime's folder is gone.
    pub fn orphans(&self) -> Vec<PathBuf> {
        self.orphan_ids().map(|id| self.paths.lease(&id)).collect()
    }

    /// Removes them; says which.
    pub fn drop_orphans(&self) -> Vec<PathBuf> {
        self.orphan_ids().filter(|id| self.forget(id).is_ok()).map(|id| self.paths.lease(&id)).collect()
    }

    fn orphan_ids(&self) -> impl Iterator<Item = String> {
        let entries = fs::read_dir(self.paths.leases()).into_iter().flatten().flatten();
        entries.filter_map(|entry| {
            let id = entry.file_name().to_str()?.strip_suffix(".json")?.to_owned();
            (!self.paths.runtime(&id).exists()).then_some(id)
        })
    }

    /// Waits until a runtime's folder can be locked or is gone.
    pub(super) fn wait(&self, id: &str, timeout: std::time::Duration) -> Result<Option<LeaseFolder>, ()> {
        let path = self.paths.runtime(id);
        let deadline = std::time::Instant::now() + timeout;
        loop {
            let Ok(file) = File::open(&path) else { return Ok(None) };
            if lock::try_exclusive(&file).unwrap_or(false) {
                return Ok(path.exists().then(|| LeaseFolder { id: id.to_owned(), path, file }));
            }
            if std::time::Instant::now() >= deadline {
                return Err(());
            }
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
    }

    pub(super) fn read(&self, id: &str) -> Result<Option<Lease>> {
        disk::read_json(&self.paths.lease(id))
    }

    /// Keeps a lease that cannot be read out of the way.
    pub(super) fn set_aside(&self, id: &str) -> Result<()> {
        let path = self.paths.lease(id);
        let damaged = path.with_extension("damaged");
        fs::rename(&path, &damaged).with_context(|| format!("cannot move {} away", path.display()))
    }

    pub(super) fn write(&self, lease: &Lease) -> Result<()> {
        let stored = Stored { lease, token: lease.token, kept: &lease.kept };
        disk::write_json(&self.paths.lease(&lease.id), &stored, Durability::Cached)
    }

    pub(super) fn forget(&self, id: &str) -> Result<()> {
        match fs::remove_file(self.paths.lease(id)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove the lease {id}"))
            }
            _ => Ok(()),
        }
    }
}

/// Whether nothing is in a folder but what envctl puts there.
fn is_ours(folder: &Path) -> bool {
    fs::symlink_metadata(folder).is_ok_and(|meta| meta.is_dir())
        && fs::read_dir(folder).is_ok_and(|entries| {
            entries
                .into_iter()
                .all(|entry| entry.is_ok_and(|entry| [SCRATCH, SOCKET].iter().any(|own| entry.file_name() == *own)))
        })
}

fn random_id() -> Result<String> {
    Ok(hex(&random::<ID>()?))
}

/// Where the runtime with this folder listens. An address of `unix(7)` has room
/// for 107 bytes, so the folder is named by its descriptor.
pub(super) fn address(folder: impl AsFd) -> Result<SocketAddrUnix> {
    Ok(SocketAddrUnix::new(format!("/proc/self/fd/{}/{SOCKET}", folder.as_fd().as_raw_fd()))?)
}

/// IDs of all runtimes whose folder exists. What does not look like one is never
/// touched.
fn ids_in(paths: &Paths) -> Vec<String> {
    let entries = fs::read_dir(paths.runtimes()).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut ids: Vec<String> = names.filter(|name| unhex::<ID>(name).is_some()).collect();
    ids.sort();
    ids
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::Env;

    fn runtimes(dir: &std::path::Path) -> Runtimes {
        Runtimes::new(
            Paths::new(&Env { home: Some(dir.to_owned()), ..Env::default() }).unwrap(),
            None,
            DeadLook {
                after: Arc::new(|_| Vec::new()),
                during: Arc::new(|_, _| Default::default()),
                packages: Arc::new(|_, _| Vec::new()),
            },
        )
    }

    #[test]
    fn case_55_a_lock_that_can_be_taken_means_that_the_owner_is_dead() {
        let dir = tempfile::tempdir().unwrap();
        let runtimes = runtimes(dir.path());
        let folder = runtimes.create().unwrap();
        assert!(runtimes.dead().is_empty(), "its owner lives");
        drop(folder);
        assert_eq!(runtimes.dead().len(), 1);
    }

    #[test]
    fn case_57_what_does_not_carry_the_mark_is_never_taken() {
        let dir = tempfile::tempdir().unwrap();
        let runtimes = runtimes(dir.path());
        let parent = runtimes.paths().runtimes();
        let foreign = parent.join("0123456789ab");
        fs::create_dir_all(foreign.join("precious")).unwrap();
        std::os::unix::fs::symlink("/", parent.join("aaaaaaaaaaaa")).unwrap();
        fs::create_dir(parent.join("notes")).unwrap();
        assert!(runtimes.dead().is_empty());
        fs::create_dir_all(parent.join("bbbbbbbbbbbb").join(SCRATCH)).unwrap();
        assert_eq!(runtimes.dead().len(), 1);
    }

    #[test]
    fn case_55_a_process_is_known_by_its_start_time() {
        let own = Process::of(rustix::process::getpid()).unwrap();
        assert!(own.lives());
        assert!(!Process { start: own.start + 1, ..own }.lives());
    }
}
