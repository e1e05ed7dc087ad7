//! User and group ids: which ids inside the sandbox are which ids outside.
//!
//! The image's user always is the developer, so that files in the workspace
//! belong to them. All other ids map to the developer's subordinate ids
//! (`subuid(5)`) where there are any; root needs no range (see [`super::ids`]).

use std::ffi::{CStr, OsStr};
use std::fs;
use std::io::{Read, Write};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use rustix::fs::{AtFlags, Gid, Mode, OFlags, ResolveFlags, Uid};
use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions};

use super::ids::{Ids, Subordinates, subordinates};
use super::sys::Side;
use super::{probe, sys};
use crate::digest::Digest;

/// Highest id of an image that gets a place of its own.
const IDS: u32 = 65_536;

/// One range: `count` ids from `inside` are the ids from `outside`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    inside: u32,
    outside: u32,
    count: u32,
}

/// How maps are written.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Means {
    /// By this process, which is root.
    Direct,
    /// By the setuid helpers.
    Helpers { newuidmap: PathBuf, newgidmap: PathBuf },
    /// One id only.
    Single,
}

/// The map of one runtime.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    uids: Vec<Range>,
    gids: Vec<Range>,
    means: Means,
    /// The image's user inside.
    user: (u32, u32),
}

impl Mapping {
    /// Decides the map for the image user `uid:gid` of this developer.
    pub fn new(uid: u32, gid: u32, path: Option<&OsStr>) -> Self {
        let own = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let single = || Mapping {
            uids: vec![Range { inside: uid, outside: own.0, count: 1 }],
            gids: vec![Range { inside: gid, outside: own.1, count: 1 }],
            means: Means::Single,
            user: (uid, gid),
        };
        let Some(Subordinates { uids, gids, unlisted }) = subordinates(own.0) else { return single() };
        let means = if unlisted || own.0 == 0 && probe::may_map_any_id() {
            Means::Direct
        } else {
            let find = |program| crate::disk::find_program(path, program);
            match (find("newuidmap"), find("newgidmap")) {
                (Some(newuidmap), Some(newgidmap)) => Means::Helpers { newuidmap, newgidmap },
                _ => return single(),
            }
        };
        Mapping { uids: around(uid, own.0, uids), gids: around(gid, own.1, gids), means, user: (uid, gid) }
    }

    /// Names the map in the layer cache: layers unpacked for one map belong to
    /// the wrong users under another.
    pub fn key(&self) -> String {
        if self.means == Means::Single {
            // Whoever the image's user is, all files are the developer's own.
            return "single".into();
        }
        Digest::of(format!("{:?} {:?}", self.uids, self.gids).as_bytes()).short()
    }

    /// The image user's ids inside.
    pub fn user(&self) -> (u32, u32) {
        self.user
    }

    /// Whether only the image's user exists.
    pub fn is_single(&self) -> bool {
        self.means == Means::Single
    }

    fn uid_outside(&self, inside: u32) -> Option<u32> {
        outside(&self.uids, inside)
    }

    fn gid_outside(&self, inside: u32) -> Option<u32> {
        outside(&self.gids, inside)
    }

    /// Whether a group id inside exists.
    pub(super) fn has_gid(&self, inside: u32) -> bool {
        self.gid_outside(inside).is_some()
    }

    /// Whether user and group 0 exist inside.
    pub(super) fn has_root(&self) -> bool {
        self.uid_outside(0).is_some() && self.gid_outside(0).is_some()
    }

    /// Writes the maps of a process that waits in a new user namespace.
    pub(super) fn write(&self, pid: Pid) -> Result<()> {
        let pid = pid.as_raw_nonzero();
        let refused =
            |error: std::io::Error| probe::explain_user_namespace(error, "cannot map user ids into the user namespace");
        if let Means::Helpers { newuidmap, newgidmap } = &self.means {
            for (program, ranges) in [(newuidmap, &self.uids), (newgidmap, &self.gids)] {
                let mut command = Command::new(program);
                command.arg(pid.to_string()).stdin(Stdio::null());
                for range in ranges {
                    command.args([range.inside.to_string(), range.outside.to_string(), range.count.to_string()]);
                }
                let output = command.output().with_context(|| format!("cannot start {}", program.display()))?;
                if !output.status.success() {
                    return Err(crate::error::failure(format!(
                        "{} failed: {}",
                        program.display(),
                        String::from_utf8_lossy(&output.stderr).trim()
                    ))
                    .hint(
                        "check the ranges in /etc/subuid and /etc/subgid, and that newuidmap is installed setuid root",
                    )
                    .into());
                }
            }
            return Ok(());
        }
        if self.means == Means::Single {
            fs::write(format!("/proc/{pid}/setgroups"), "deny").map_err(refused)?;
        }
        fs::write(format!("/proc/{pid}/uid_map"), text(&self.uids)).map_err(refused)?;
        fs::write(format!("/proc/{pid}/gid_map"), text(&self.gids)).map_err(refused)?;
        Ok(())
    }

    /// Gives entries below `root` their owners. Returns the ids that have no
    /// place in the map; those entries stay with the developer.
    ///
    /// # Errors
    /// When the owners cannot be set.
    pub fn settle(&self, root: BorrowedFd<'_>, owned: &[(&CStr, u32, u32)]) -> Result<Vec<u32>> {
        let mut unmapped: Vec<u32> = Vec::new();
        let mut changes = Vec::with_capacity(owned.len());
        for (path, uid, gid) in owned {
            unmapped.extend(
                [(self.uid_outside(*uid), uid), (self.gid_outside(*gid), gid)]
                    .iter()
                    .filter(|(to, _)| to.is_none())
                    .map(|(_, id)| **id),
            );
            let keep = |to: Option<u32>, id: u32, own: u32| if to.is_some() { id } else { own };
            let uid = keep(self.uid_outside(*uid), *uid, self.user.0);
            let gid = keep(self.gid_outside(*gid), *gid, self.user.1);
            if (uid, gid) != self.user {
                changes.push((*path, uid, gid));
            }
        }
        unmapped.sort_unstable();
        unmapped.dedup();
        match self.means {
            _ if changes.is_empty() => {}
            Means::Direct => {
                for (path, uid, gid) in changes {
                    let (uid, gid) = (self.uid_outside(uid).unwrap_or(0), self.gid_outside(gid).unwrap_or(0));
                    chown(root, path, uid, gid)
                        .with_context(|| format!("cannot change the owner of {}", path.to_string_lossy()))?;
                }
            }
            _ => self.inside(|| {
                for (path, uid, gid) in &changes {
                    chown(root, path, *uid, *gid)
                        .with_context(|| format!("cannot change the owner of {}", path.to_string_lossy()))?;
                }
                Ok(())
            })?,
        }
        Ok(unmapped)
    }

    /// Removes a tree whose files belong to ids of this map.
    ///
    /// # Errors
    /// When something cannot be removed.
    pub fn remove(&self, tree: &Path) -> Result<()> {
        match self.means {
            Means::Helpers { .. } => self.inside(|| crate::disk::remove::tree(tree).map(drop)),
            Means::Direct | Means::Single => crate::disk::remove::tree(tree).map(drop),
        }
    }

    /// Runs `work` in a process of its own inside a user namespace with this
    /// map, with all capabilities there.
    ///
    /// Other threads may run meanwhile: the work has their memory as it was,
    /// and must not wait for any of them.
    ///
    /// # Errors
    /// The work's, as text.
    pub fn inside(&self, work: impl FnOnce() -> Result<()>) -> Result<()> {
        let (ready, go) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let (answer, tell) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let (made, told) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        match sys::fork().context("cannot start a helper")? {
            Side::Child => {
                drop((go, made));
                let errno = sys::unshare_user().err().map_or(0, |error| error.raw_os_error().unwrap_or(libc::EIO));
                let _ = fs::File::from(told).write_all(&errno.to_ne_bytes());
                let code = match fs::File::from(ready).read(&mut [0]) {
                    Ok(1) => match work() {
                        Ok(()) => 0,
                        Err(error) => {
                            let _ = fs::File::from(tell).write_all(format!("{error:#}").as_bytes());
                            1
                        }
                    },
                    // The parent is gone or has failed.
                    _ => 2,
                };
                sys::exit_now(code)
            }
            Side::Parent(pid) => {
                drop((ready, tell, told));
                let mut errno = [0; 4];
                let _ = fs::File::from(made).read_exact(&mut errno);
                let mapped = match i32::from_ne_bytes(errno) {
                    0 => self.write(pid),
                    errno => {
                        let error = std::io::Error::from_raw_os_error(errno);
                        Err(probe::explain_user_namespace(error, "cannot create a user namespace"))
                    }
                };
                if mapped.is_ok() {
                    rustix::io::write(&go, b"g")?;
                }
                drop(go);
                let mut text = String::new();
                let _ = fs::File::from(answer).read_to_string(&mut text);
                let status = rustix::process::waitpid(Some(pid), WaitOptions::empty())?;
                mapped?;
                match status.and_then(|(_, status)| status.exit_status()) {
                    Some(0) => Ok(()),
                    _ if text.is_empty() => anyhow::bail!("a helper inside the user namespace died"),
                    _ => anyhow::bail!("{text}"),
                }
            }
        }
    }
}

fn chown(root: BorrowedFd<'_>, path: &CStr, uid: u32, gid: u32) -> Result<()> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    // Only the last component is taken as it is; it may be a link.
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let entry = match rustix::fs::openat2(root, path, flags, Mode::empty(), resolve) {
        // A later entry has put something else in its place, or in that of a folder above.
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
        entry => entry?,
    };
    rustix::fs::chownat(&entry, c"", Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)), AtFlags::EMPTY_PATH)?;
    Ok(())
}

fn text(ranges: &[Range]) -> String {
    ranges.iter().map(|range| format!("{} {} {}\n", range.inside, range.outside, range.count)).collect()
}

fn outside(ranges: &[Range], inside: u32) -> Option<u32> {
    let range =
        ranges.iter().find(|range| inside.checked_sub(range.inside).is_some_and(|offset| offset < range.count))?;
    Some(range.outside + (inside - range.inside))
}

/// `id` is the developer; all other ids up to the end of the range are
/// subordinate ids.
fn around(id: u32, own: u32, (start, count): Ids) -> Vec<Range> {
    let count = count.min(IDS - 1);
    let below = id.min(count);
    let mut ranges = Vec::new();
    if below > 0 {
        ranges.push(Range { inside: 0, outside: start, count: below });
    }
    ranges.push(Range { inside: id, outside: own, count: 1 });
    if count > below && id < IDS {
        ranges.push(Range { inside: id + 1, outside: start + below, count: (count - below).min(IDS - id - 1) });
    }
    ranges.retain(|range| range.count > 0);
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn maps_are_one_to_one(id in 0u32..65_536, count in 1u32..70_000) {
            let ranges = around(id, 4242, (100_000, count));
            prop_assert_eq!(outside(&ranges, id), Some(4242));
            let mut previous_end = 0;
            let mut seen = 0;
            for range in &ranges {
                prop_assert!(range.inside >= previous_end, "ranges do not overlap inside");
                previous_end = range.inside + range.count;
                if range.outside != 4242 {
                    prop_assert_eq!(range.outside, 100_000 + seen, "nor outside");
                    seen += range.count;
                    prop_assert!(seen <= count);
                }
            }
            prop_assert!(previous_end <= IDS);
        }
    }

    #[test]
    fn the_image_user_is_the_developer() {
        let ranges = around(1000, 1, (100_000, 65_536));
        assert_eq!(outside(&ranges, 0), Some(100_000));
        assert_eq!(outside(&ranges, 999), Some(100_999));
        assert_eq!(outside(&ranges, 1000), Some(1));
        assert_eq!(outside(&ranges, 1001), Some(101_000));
        assert_eq!(outside(&ranges, 65_535), Some(165_534));
        assert_eq!(outside(&ranges, 65_536), None);
    }
}
