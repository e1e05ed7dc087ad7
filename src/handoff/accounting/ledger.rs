//! The ledger: one line for each lease that has ended, on this machine.
//!
//! Invariants: a line is appended whole, under the file's lock; the file is
//! moved aside when it is large, and the one that was aside is folded (`fold`) into
//! one line for each day and task, so all together are bounded. A line that cannot be read costs itself alone. What is
//! not known is `null`. Nothing is flushed: losing it costs bookkeeping. Lock:
//! the file itself, under which no other is taken.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use anyhow::{Context as _, Result};

use super::entry::{LedgerEntry, SCHEMA};
use super::fold::{Grain, fold};
use crate::disk::{self, Durability, lock};
use crate::handoff::app::App;
use crate::paths::Paths;

/// A file of this size is moved aside, in bytes.
const FULL: u64 = 4 << 20;

/// More folded lines than this are folded once more, by the month.
const MOST_FOLDED: usize = 10_000;

/// Upper bound for a line in bytes: longer ones are no lines of ours.
const MAX_LINE: u64 = 64 << 10;

/// Adds a line. A ledger that cannot be written stops nothing.
pub(crate) fn append(app: &App, entry: &LedgerEntry) {
    if let Err(error) = try_append(&app.paths, entry) {
        app.ui.detail(&format!("this run is missing from the ledger: {error:#}"));
    }
}

fn try_append(paths: &Paths, entry: &LedgerEntry) -> Result<()> {
    let path = paths.ledger();
    let context = || format!("cannot write {}", path.display());
    let mut file = open(paths)?;
    let meta = file.metadata()?;
    let mut line = Vec::new();
    let mut last = [b'\n'];
    // A line that was cut short must not take this one along.
    if meta.len() > 0 && file.read_at(&mut last, meta.len() - 1).is_ok() && last != [b'\n'] {
        line.push(b'\n');
    }
    serde_json::to_writer(&mut line, entry)?;
    line.push(b'\n');
    file.write_all(&line).with_context(context)?;
    if meta.len() + line.len() as u64 > FULL {
        keep_folded(paths)?;
        fs::rename(&path, paths.old_ledger()).with_context(context)?;
    }
    Ok(())
}

/// Folds the lines that make room: nothing of them is lost but the single run. Needs
/// the lock.
fn keep_folded(paths: &Paths) -> Result<()> {
    let mut ledger = Ledger::default();
    for path in [paths.folded_ledger(), paths.old_ledger()] {
        read_file(&path, &mut ledger)?;
    }
    let mut rows = fold(&ledger.entries, Grain::Day);
    if rows.len() > MOST_FOLDED {
        rows = fold(&ledger.entries, Grain::Month);
    }
    let mut bytes = Vec::new();
    for row in &rows {
        serde_json::to_writer(&mut bytes, row)?;
        bytes.push(b'\n');
    }
    disk::write_file(&paths.folded_ledger(), &bytes, Durability::Cached)
}

/// The file, locked, and still the one that has its name.
fn open(paths: &Paths) -> Result<File> {
    let path = paths.ledger();
    loop {
        let file = OpenOptions::new().create(true).append(true).read(true).mode(0o600).open(&path);
        let file = file.with_context(|| format!("cannot open {}", path.display()))?;
        lock::exclusive(&file)?;
        if fs::metadata(&path).is_ok_and(|now| file.metadata().is_ok_and(|ours| ours.ino() == now.ino())) {
            return Ok(file);
        }
    }
}

/// What the ledger holds.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Oldest first.
    pub(crate) entries: Vec<LedgerEntry>,
    /// Lines that cannot be read.
    pub(crate) skipped: usize,
}

/// Reads all lines that are there.
///
/// # Errors
/// When a file cannot be read.
pub(crate) fn read(paths: &Paths) -> Result<Ledger> {
    let mut ledger = Ledger::default();
    for path in [paths.folded_ledger(), paths.old_ledger(), paths.ledger()] {
        read_file(&path, &mut ledger)?;
    }
    Ok(ledger)
}

/// Reads a file of lines, which need not be there.
fn read_file(path: &Path, ledger: &mut Ledger) -> Result<()> {
    let context = || format!("cannot read {}", path.display());
    match File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).with_context(context),
        Ok(file) => read_lines(BufReader::new(file), ledger).with_context(context),
    }
}

fn read_lines(mut lines: impl BufRead, ledger: &mut Ledger) -> std::io::Result<()> {
    loop {
        let mut line = Vec::new();
        if lines.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        match serde_json::from_slice::<LedgerEntry>(&line) {
            Ok(entry) if entry.schema == SCHEMA => ledger.entries.push(entry),
            _ => ledger.skipped += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::entry::sample;
    use super::*;
    use crate::env::Env;

    fn paths(dir: &std::path::Path) -> Paths {
        let paths = Paths::new(&Env { home: Some(dir.to_owned()), ..Env::default() }).unwrap();
        fs::create_dir_all(paths.state()).unwrap();
        paths
    }

    #[test]
    fn what_is_unknown_is_null() {
        let value = serde_json::to_value(sample("t", None)).unwrap();
        for name in ["wall_ms", "cpu_ms", "peak_memory", "scratch_bytes"] {
            assert_eq!(value.get(name), Some(&serde_json::Value::Null), "{name}");
        }
    }

    #[test]
    fn damaged_lines_cost_themselves_alone() {
        let dir = tempfile::tempdir().unwrap();
        let paths = paths(dir.path());
        try_append(&paths, &sample("one", Some(1))).unwrap();
        // Cut short by a power loss, and foreign bytes.
        let mut file = OpenOptions::new().append(true).open(paths.ledger()).unwrap();
        file.write_all(b"\xff\xfe garbage\n{\"schema\":9}\n{\"schema\":1,\"lea").unwrap();
        try_append(&paths, &sample("two", Some(2))).unwrap();
        let ledger = read(&paths).unwrap();
        let tasks: Vec<_> = ledger.entries.iter().map(|entry| entry.task.as_str()).collect();
        assert_eq!((tasks, ledger.skipped), (vec!["one", "two"], 3));
    }

    #[test]
    fn it_does_not_grow_without_end() {
        let dir = tempfile::tempdir().unwrap();
        let paths = paths(dir.path());
        let large = LedgerEntry { task: "x".repeat(50_000), ..sample("", Some(1)) };
        for _ in 0..200 {
            try_append(&paths, &large).unwrap();
        }
        let size = |path| fs::metadata(path).map_or(0, |meta: fs::Metadata| meta.len());
        assert!(size(paths.ledger()) + size(paths.old_ledger()) < 2 * FULL + MAX_LINE);
        let ledger = read(&paths).unwrap();
        assert!(ledger.entries.len() > 80 && ledger.skipped == 0, "{}", ledger.entries.len());
        // Not one run is lost, nor a second of its time.
        let sum = |of: &dyn Fn(&LedgerEntry) -> u64| ledger.entries.iter().map(of).sum::<u64>();
        assert_eq!((sum(&|entry| entry.runs), sum(&|entry| entry.usage.wall_ms.unwrap())), (200, 200));
    }

    #[test]
    fn many_at_once_lose_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let paths = paths(dir.path());
        std::thread::scope(|scope| {
            for n in 0..8 {
                let paths = &paths;
                scope.spawn(move || {
                    let large = LedgerEntry { reason: "x".repeat(20_000), ..sample(&format!("t{n}"), Some(n)) };
                    (0..20).for_each(|_| try_append(paths, &large).unwrap());
                });
            }
        });
        let ledger = read(&paths).unwrap();
        assert_eq!((ledger.entries.len(), ledger.skipped), (160, 0));
    }
}
