//! What code inside can reach of envctl's own program: nothing of the host's
//! file but the right to read it.
//!
//! Pid 1 is a copy of the owner, so `/proc/self/exe` of it and of everything
//! that it forks leads to the file of the host: an interpreter line, a link or
//! a loader's name inside can point there, and whoever gets hold of a file can
//! change it (CVE-2019-5736). So pid 1 takes another file for its program
//! before anything of the image runs: the same one through a mount that is
//! read-only and knows no set-id bits, and that no path leads to. Where the
//! file has been replaced since envctl was started, it is a sealed copy.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use anyhow::{Context, Result};
use rustix::fs::{CWD, MemfdFlags, Mode, OFlags, SealFlags};
use rustix::mount::{OpenTreeFlags, open_tree};

use crate::error::failure;
use crate::runtime::sys;
use crate::runtime::sys::program;

const OWN: &str = "/proc/self/exe";

/// Exchanges the program's file. This process must have one thread, and a mount
/// namespace in which it may mount.
///
/// # Errors
/// When the kernel refuses.
pub(crate) fn shield() -> Result<()> {
    let file = view().or_else(|_| copy()).context("cannot make a file that is out of reach")?;
    take_over(file.as_fd()).map_err(|error| {
        failure(format!("envctl's own program cannot be put out of reach of the runtime: {error}"))
            .hint("the kernel needs CONFIG_CHECKPOINT_RESTORE; `envctl enter TASK --no-runtime` works without")
            .into()
    })
}

/// A program of the host through a mount of its own: read-only, and without
/// set-id bits.
pub(crate) fn mounted(path: &Path) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = open_tree(CWD, path, flags)?;
    sys::mount_setattr(&tree, false, sys::READ_ONLY)?;
    Ok(tree)
}

fn view() -> Result<OwnedFd> {
    let path = std::fs::read_link(OWN)?;
    let tree = mounted(&path)?;
    let file = rustix::fs::open(
        format!("/proc/self/fd/{}", tree.as_raw_fd()),
        OFlags::RDONLY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let (ours, own) = (rustix::fs::fstat(&file)?, rustix::fs::stat(OWN)?);
    anyhow::ensure!((ours.st_dev, ours.st_ino) == (own.st_dev, own.st_ino), "the program was replaced");
    Ok(file)
}

fn copy() -> Result<OwnedFd> {
    let target = rustix::fs::memfd_create("envctl", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut target = std::fs::File::from(target);
    io::copy(&mut std::fs::File::open(OWN)?, &mut target)?;
    rustix::fs::fcntl_add_seals(&target, SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
    Ok(target.into())
}

fn take_over(file: std::os::fd::BorrowedFd<'_>) -> io::Result<()> {
    let maps = std::fs::read_to_string("/proc/self/maps")?;
    let written = program::written_segments();
    let here = take_over as fn(std::os::fd::BorrowedFd<'_>) -> io::Result<()> as usize;
    for mapped in parts(&maps, here).ok_or_else(|| io::Error::other("/proc/self/maps cannot be read"))? {
        let addresses = &mapped.addresses;
        if written.iter().any(|part| part.start < addresses.end && addresses.start < part.end) {
            program::copy_over(&mapped)?;
        } else {
            program::map_over(&mapped, file)?;
        }
    }
    program::set_program(&std::fs::read_to_string("/proc/self/stat")?, file)
}

/// The mappings of the file to which the code at `here` belongs,
/// `proc_pid_maps(5)`.
fn parts(maps: &str, here: usize) -> Option<Vec<program::ProgramMapping>> {
    let mut all = Vec::new();
    for line in maps.lines() {
        let mut words = line.split_ascii_whitespace();
        let (start, end) = words.next()?.split_once('-')?;
        let addresses = usize::from_str_radix(start, 16).ok()?..usize::from_str_radix(end, 16).ok()?;
        let rights = words.next()?;
        let offset = u64::from_str_radix(words.next()?, 16).ok()?;
        let file = (words.next()?, words.next()?);
        let protection = [('r', libc::PROT_READ), ('w', libc::PROT_WRITE), ('x', libc::PROT_EXEC)];
        let protection = protection.iter().filter(|(right, _)| rights.contains(*right));
        let protection = protection.fold(libc::PROT_NONE, |all, (_, one)| all | one);
        all.push((file, program::ProgramMapping { addresses, protection, offset }));
    }
    let own = all.iter().find(|(_, mapped)| mapped.addresses.contains(&here))?.0;
    Some(all.into_iter().filter(|(file, _)| *file == own).map(|(_, mapped)| mapped).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_mappings_of_the_file_that_runs_are_taken() {
        let maps = "1000-2000 r--p 00000000 fe:00 12 /usr/bin/a name\n2000-5000 r-xp 00001000 fe:00 12 /usr/bin/a name\n\
                    6000-7000 rw-p 00004000 fe:00 12 /usr/bin/a name\n7000-8000 rw-p 00000000 00:00 0 \n\
                    9000-a000 r-xp 00000000 fe:00 13 /lib/libc.so.6\n";
        let parts = parts(maps, 0x2345).unwrap();
        let shown: Vec<_> = parts.iter().map(|part| (part.addresses.start, part.protection, part.offset)).collect();
        let (read, execute, write) = (libc::PROT_READ, libc::PROT_EXEC, libc::PROT_WRITE);
        assert_eq!(shown, [(0x1000, read, 0), (0x2000, read | execute, 0x1000), (0x6000, read | write, 0x4000)]);
        assert!(super::parts(maps, 0x8800).is_none());
    }
}
