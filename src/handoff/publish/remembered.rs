//! What a checkout that is no workspace has published as a task. This machine keeps it by
//! the checkout's git folder: one that is moved still knows itself, and a new one in its
//! place has published nothing. Nothing is written into the checkout.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::fs::{AtFlags, CWD, StatxFlags};

use crate::digest::Digest;
use crate::disk::{self, Durability};
use crate::handoff::app::App;

/// `OVERLAYFS_SUPER_MAGIC`, `statfs(2)`.
const OVERLAYFS: rustix::fs::FsWord = 0x794c_7630;

pub(super) struct Remembered {
    record: PathBuf,
    /// What it published last, and what it was about to, where that was cut short.
    pub(super) known: Vec<Digest>,
}

impl Remembered {
    /// Of the checkout at `root`, published as a task of a store.
    pub(super) fn of(app: &App, repo: &git2::Repository, root: &Path, task: &str) -> Self {
        let record = app.paths.publication(&which(repo.path()).unwrap_or_else(|| root.to_owned()), task);
        let known: Option<Vec<Digest>> = disk::read_json(&record).ok().flatten();
        Remembered { record, known: known.unwrap_or_default() }
    }

    /// Another publish from here notices whether the task has moved meanwhile.
    pub(super) fn note(&self, app: &App, digests: &[Digest]) {
        let noted = || -> Result<()> {
            disk::create_private_dir(self.record.parent().context("a record has a folder")?)?;
            disk::write_json(&self.record, &digests, Durability::Cached)
        };
        if let Err(error) = noted() {
            app.ui.detail(&format!("this checkout does not know what it published: {error:#}"));
        }
    }
}

/// A folder, wherever it lies: its inode and when that was made, in nanoseconds. A copy
/// is another folder. None where the file system does not know; overlayfs makes another
/// one of a folder of an image when something in it is first written.
fn which(folder: &Path) -> Option<PathBuf> {
    if rustix::fs::statfs(folder).is_ok_and(|system| system.f_type == OVERLAYFS) {
        return None;
    }
    let wanted = StatxFlags::INO | StatxFlags::BTIME;
    let stat = rustix::fs::statx(CWD, folder, AtFlags::empty(), wanted).ok()?;
    let is_known = StatxFlags::from_bits_retain(stat.stx_mask).contains(wanted);
    let made = (stat.stx_btime.tv_sec, stat.stx_btime.tv_nsec);
    is_known.then(|| PathBuf::from(format!("inode {} {}.{:09}", stat.stx_ino, made.0, made.1)))
}
