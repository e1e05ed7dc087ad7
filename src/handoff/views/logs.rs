//! What was printed for a task and kept on this machine: by runs, by detached
//! commands, and by the setups of caches. What services print is inside their
//! runtime, and gone with it.

use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read, Seek as _, SeekFrom};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde::Serialize;

use crate::disk;
use crate::error::{not_found, of_thread};
use crate::handoff::app::App;
use crate::handoff::runtimes::{self, Extras, Running};
use crate::handoff::workspaces::{children, written_at};
use crate::runtime::{self, Lease, Session};
use crate::visible::without_colours;

/// Between two looks at a log that grows.
const LOOK: Duration = Duration::from_millis(200);

/// Bytes of one line that are shown in one piece.
const LONGEST: u64 = 64 << 10;

/// Where services print, inside.
const SERVICES: &str = "/run/envctl/services";

/// One log.
#[derive(Clone, Debug, Serialize)]
pub struct LogRow {
    /// `run`, `detached` or `setup`.
    pub kind: &'static str,
    /// Where it is.
    pub path: PathBuf,
    /// When something was printed last.
    pub written_at: Option<Timestamp>,
    /// The runtime that still prints to it.
    pub lease: Option<String>,
}

/// The logs of a task on this machine, the newest first.
///
/// # Errors
/// When the state cannot be read.
pub fn logs(app: &App, running: Running<'_>) -> Result<Vec<LogRow>> {
    let slug = running.task.target.slug();
    let live = runtimes::find(app, running)?;
    let printing = |path: &Path| live.iter().find(|lease| prints_to(lease, path)).map(|lease| lease.id.clone());
    let mut rows: Vec<LogRow> = children(&app.paths.logs())
        .into_iter()
        .filter_map(|path| Some((kind_of_log(path.file_name()?.to_str()?, &slug)?, path)))
        .map(|(kind, path)| LogRow { kind, written_at: written_at(&path), lease: printing(&path), path })
        .filter(|row| running.lease.is_none() || row.lease.is_some())
        .collect();
    rows.sort_by(|a, b| (b.written_at, &a.path).cmp(&(a.written_at, &b.path)));
    Ok(rows)
}

fn prints_to(lease: &Lease, path: &Path) -> bool {
    lease.log.as_deref() == Some(path)
}

/// Logs are named by what printed them, the task, the time and a process.
fn kind_of_log(name: &str, slug: &str) -> Option<&'static str> {
    let (rest, _process) = name.strip_suffix(".log")?.rsplit_once('-')?;
    let (whose, _time) = rest.rsplit_once('-')?;
    match whose.strip_prefix("run-") {
        Some(of) if of == slug => Some("run"),
        _ if whose == slug => Some("detached"),
        _ => None,
    }
}

/// Shows a log, and with `follow` what is added to it until its runtime ends.
///
/// # Errors
/// When it cannot be read.
pub fn show_log(app: &App, running: Running<'_>, row: &LogRow, follow: bool) -> Result<()> {
    let mut file = BufReader::new(disk::plain::open(&row.path).map_err(|_| not_found("the log is gone"))?);
    loop {
        // Before the last look, so that nothing that came meanwhile is missed.
        let live = follow && runtimes::find(app, running)?.iter().any(|lease| prints_to(lease, &row.path));
        lines(app, &mut file, !live)?;
        if !live {
            return Ok(());
        }
        std::thread::sleep(LOOK);
    }
}

/// The lines that are whole by now; with `all` the rest as well.
fn lines(app: &App, file: &mut BufReader<File>, all: bool) -> Result<()> {
    loop {
        let mut line = Vec::new();
        let read = file.by_ref().take(LONGEST).read_until(b'\n', &mut line).context("cannot read the log")?;
        if read == 0 {
            return Ok(());
        }
        if line.last() != Some(&b'\n') && (read as u64) < LONGEST && !all {
            file.seek(SeekFrom::Current(-i64::try_from(read)?))?;
            return Ok(());
        }
        let text = String::from_utf8_lossy(&line);
        app.ui.code(&without_colours(text.trim_end_matches(['\n', '\r'])))?;
    }
}

/// What a service of a live runtime printed, and with `follow` what it prints.
///
/// # Errors
/// [`crate::error::Kind::NotFound`] when there is no such service.
pub fn service_log(app: &App, running: Running<'_>, service: &str, follow: bool) -> Result<u8> {
    let live = runtimes::find(app, running)?;
    let Some(lease) = live.iter().rev().find(|lease| lease.services.iter().any(|name| name == service)) else {
        let known: Vec<String> = live.iter().flat_map(|lease| lease.services.clone()).collect();
        let hint = match known.is_empty() {
            true => "envctl status shows what runs".to_owned(),
            false => format!("there are: {}", known.join(", ")),
        };
        return Err(not_found(format!("{} runs no service {service:?}", running.task)).hint(hint).into());
    };
    let path = format!("{SERVICES}/{service}.log");
    let words: &[&str] = if follow { &["tail", "-n", "+1", "-f"] } else { &["cat"] };
    let words: Vec<OsString> = words.iter().copied().chain([path.as_str()]).map(OsString::from).collect();
    // What is printed inside is shown by us, not by a program of the image.
    let (theirs, ours) = std::io::pipe().context("cannot read the log")?;
    runtime::hold_signals()?;
    let shown = std::thread::scope(|scope| {
        let showing = scope.spawn(|| show_lines(app, theirs));
        let output = Some(Arc::new(File::from(OwnedFd::from(ours))));
        let session = Session { output, ..runtimes::session(app, &words, &Extras::default()) };
        let outcome = runtime::join(&app.runtimes(), lease, &session);
        drop(session);
        of_thread(showing.join(), "the thread that shows the log")??;
        outcome
    });
    Ok(shown?.ok_or_else(|| runtime::ended(lease))?.exit_code())
}

fn show_lines(app: &App, from: impl Read) -> Result<()> {
    let mut from = BufReader::new(from);
    loop {
        let mut line = Vec::new();
        if from.by_ref().take(LONGEST).read_until(b'\n', &mut line).context("cannot read the log")? == 0 {
            return Ok(());
        }
        app.ui.code(&without_colours(String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r'])))?;
    }
}

/// That nothing was kept.
pub fn no_log(running: Running<'_>) -> crate::error::Fault {
    not_found(format!("this machine has no log of {}", running.task))
        .hint("runs and detached commands leave a log, which is kept for 30 days; enter prints to your terminal")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_its_tasks_alone() {
        let of = |name: &str| kind_of_log(name, "task-1");
        assert_eq!(of("task-1-20260115T103000Z-77.log"), Some("detached"));
        assert_eq!(of("run-task-1-20260115T103000Z-77.log"), Some("run"));
        for other in ["task-1-2-20260115T103000Z-77.log", "run-task-12-20260115T103000Z-7.log", "cache-a-12.log", "x"] {
            assert_eq!(of(other), None, "{other}");
        }
    }
}
