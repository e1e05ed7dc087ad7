//! What collections took away on this machine: a line for each thing that somebody
//! could miss, with the reason and the salvage that keeps it. A collection that ran
//! in the background has nobody to tell, so the next command that uses a workspace
//! does, in one line.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::sweep::Removed;
use crate::disk;
use crate::handoff::app::App;
use crate::ui::counted;

/// So large it becomes the one before, in bytes.
const FULL: u64 = 1 << 20;

/// The most of it that is read, in bytes.
const MOST: u64 = 4 * FULL;

/// What somebody could miss.
const MISSED: [&str; 5] = ["workspace", "salvage", "artifact", "cache", "mirror"];

/// One thing that a collection took away.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Swept {
    /// When.
    pub at: Timestamp,
    /// `workspace`, `salvage`, `artifact`, `cache` or `mirror`.
    pub kind: String,
    /// Whose it was, as the task can be named from anywhere; `null` for what no task has.
    pub task: Option<String>,
    /// Where it was.
    pub path: PathBuf,
    /// Why.
    pub why: String,
    /// What was unsaved in it.
    pub unsaved: Vec<String>,
    /// The salvage that keeps that.
    pub salvage: Option<String>,
}

/// Notes what a collection removed. `untold` says that nobody has seen it.
pub(crate) fn note(app: &App, removed: &[Removed], untold: bool) {
    let missed: Vec<Swept> =
        removed.iter().filter(|one| MISSED.contains(&one.kind)).map(|one| Swept::of(app, one)).collect();
    if missed.is_empty() {
        return;
    }
    let told = if untold { app.paths.sweep_news() } else { PathBuf::new() };
    let written = append(&app.paths.sweeps(), &missed)
        .and_then(|()| if untold { append(&told, &missed) } else { Ok(()) })
        .and_then(|()| turn_over(app));
    if let Err(error) = written {
        app.ui.warn(&format!("what was removed is not in the log: {error:#}"));
    }
}

impl Swept {
    fn of(app: &App, removed: &Removed) -> Self {
        Swept {
            at: app.clock.now(),
            kind: removed.kind.to_owned(),
            task: removed.task.clone(),
            path: removed.path.clone(),
            why: removed.why.clone(),
            unsaved: removed.unsaved.clone(),
            salvage: removed.salvage.clone(),
        }
    }
}

fn append(file: &Path, lines: &[Swept]) -> Result<()> {
    let mut bytes = Vec::new();
    for line in lines {
        serde_json::to_writer(&mut bytes, line)?;
        bytes.push(b'\n');
    }
    let opened = OpenOptions::new().create(true).append(true).mode(0o600).open(file);
    let mut opened = opened.with_context(|| format!("cannot open {}", file.display()))?;
    opened.write_all(&bytes).with_context(|| format!("cannot write {}", file.display()))
}

/// Keeps as much again as one that is full.
fn turn_over(app: &App) -> Result<()> {
    let file = app.paths.sweeps();
    if fs::metadata(&file)?.len() > FULL {
        fs::rename(&file, app.paths.old_sweeps()).context("cannot begin another log")?;
    }
    Ok(())
}

/// What collections took away, newest first, as far as it is remembered.
///
/// # Errors
/// When it cannot be read.
pub fn swept(app: &App) -> Result<Vec<Swept>> {
    let mut all = read(&app.paths.old_sweeps())?;
    all.extend(read(&app.paths.sweeps())?);
    all.reverse();
    Ok(all)
}

fn read(file: &Path) -> Result<Vec<Swept>> {
    let bytes = disk::read_file(file, MOST)?.unwrap_or_default();
    // A line that was cut short costs itself alone.
    Ok(bytes.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect())
}

/// Says in one line what collections in the background took away since somebody was
/// told last.
pub(crate) fn tell(app: &App) {
    let news = app.paths.sweep_news();
    if !news.exists() {
        return;
    }
    let Ok(found) = read(&news) else { return };
    if fs::remove_file(&news).is_err() {
        return;
    }
    let aside = found.iter().filter(|one| one.salvage.is_some()).count();
    let gone = |kind: &str| found.iter().filter(|one| one.kind == kind && one.salvage.is_none()).count();
    let parts = [
        (aside, counted(aside as u64, "workspace set aside", "workspaces set aside")),
        (gone("workspace"), counted(gone("workspace") as u64, "workspace removed", "workspaces removed")),
        (gone("salvage"), counted(gone("salvage") as u64, "salvage removed", "salvages removed")),
    ];
    let parts: Vec<String> = parts.into_iter().filter(|(count, _)| *count > 0).map(|(_, words)| words).collect();
    if !parts.is_empty() {
        app.ui.status("Collected", &format!("{}; what and why: envctl log --local", parts.join(", ")));
    }
}
