//! What a checkout that is no workspace has published as a task. This machine keeps it
//! twice: by the checkout's path, and by its git folder, so that one that is moved still
//! knows itself. Nothing is written into the checkout.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::fs::{AtFlags, CWD, StatxFlags};

use crate::digest::Digest;
use crate::disk::{self, Durability};
use crate::handoff::app::App;

pub(super) struct Remembered {
    records: Vec<PathBuf>,
    /// What it published last, and what it was about to, where that was cut short.
    pub(super) known: Vec<Digest>,
}

impl Remembered {
    /// Of the checkout at `root`, published as a task of a store.
    pub(super) fn of(app: &App, repo: &git2::Repository, root: &Path, task: &str) -> Self {
        let keys = [Some(root.to_owned()), which(repo.path())];
        let records: Vec<PathBuf> = keys.into_iter().flatten().map(|key| app.paths.publication(&key, task)).collect();
        let mut known = Vec::new();
        for record in &records {
            let digests: Option<Vec<Digest>> = disk::read_json(record).ok().flatten();
            for digest in digests.unwrap_or_default() {
                if !known.contains(&digest) {
                    known.push(digest);
                }
            }
        }
        Remembered { records, known }
    }

    /// Another publish from here notices whether the task has moved meanwhile.
    pub(super) fn note(&self, app: &App, digests: &[Digest]) {
        let noted = |record: &PathBuf| -> Result<()> {
            disk::create_private_dir(record.parent().context("a record has a folder")?)?;
            disk::write_json(record, &digests, Durability::Cached)
        };
        if let Err(error) = self.records.iter().try_for_each(noted) {
            app.ui.detail(&format!("this checkout does not know what it published: {error:#}"));
        }
    }
}

/// A folder, wherever it lies: its inode and when that was made, in nanoseconds. A copy
/// is another folder. None where the file system does not know.
fn which(folder: &Path) -> Option<PathBuf> {
    let wanted = StatxFlags::INO | StatxFlags::BTIME;
    let stat = rustix::fs::statx(CWD, folder, AtFlags::empty(), wanted).ok()?;
    let is_known = StatxFlags::from_bits_retain(stat.stx_mask).contains(wanted);
    let made = (stat.stx_btime.tv_sec, stat.stx_btime.tv_nsec);
    is_known.then(|| PathBuf::from(format!("inode {} {}.{:09}", stat.stx_ino, made.0, made.1)))
}
