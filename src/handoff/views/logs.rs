//! What was printed for a task and kept on this machine: by runs, by detached
//! commands, and by the setups of caches. What services print is inside their
//! runtime, and gone with it.

use std::collections::BTreeSet;
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
    /// The cache, of a setup.
    pub cache: Option<String>,
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
    // Where no store is known, that of any is meant.
    let store = app.locate(running.task).ok().map(|task| task.store.key());
    let of = (running.task.target.slug(), store);
    let live = runtimes::find(app, running)?;
    let printing = |path: &Path| live.iter().find(|lease| prints_to(lease, path)).map(|lease| lease.id.clone());
    let mut rows: Vec<LogRow> = children(&app.paths.logs())
        .into_iter()
        .filter_map(|path| Some((kind_of_log(path.file_name()?.to_str()?, (&of.0, of.1.as_deref()))?, path)))
        .map(|((kind, cache), path)| LogRow {
            kind,
            cache,
            written_at: written_at(&path),
            lease: printing(&path),
            path,
        })
        .filter(|row| running.lease.is_none() || row.lease.is_some())
        .collect();
    rows.sort_by(|a, b| (b.written_at, &a.path).cmp(&(a.written_at, &b.path)));
    Ok(rows)
}

fn prints_to(lease: &Lease, path: &Path) -> bool {
    lease.log.as_deref() == Some(path)
}

/// The caches whose setup has left a log, each with the task that it ran for.
pub(super) fn setups_with_logs(app: &App) -> BTreeSet<(String, String)> {
    let of = |path: PathBuf| {
        let (task, cache) = whose_log(path.file_name()?.to_str()?)?.strip_prefix("setup-")?.split_once('+')?;
        Some((cache.to_owned(), task.split('~').next().unwrap_or(task).to_owned()))
    };
    children(&app.paths.logs()).into_iter().filter_map(of).collect()
}

fn whose_log(name: &str) -> Option<&str> {
    let (rest, _process) = name.strip_suffix(".log")?.rsplit_once('-')?;
    Some(rest.rsplit_once('-')?.0)
}

/// Logs are named by what printed them, the task and a key of its store, of a setup its
/// cache, the time and a process. What printed it, and the cache.
fn kind_of_log(name: &str, (slug, store): (&str, Option<&str>)) -> Option<(&'static str, Option<String>)> {
    let whose = whose_log(name)?;
    let is_of = |name: &str| {
        let (task, key) = name.split_once('~').unwrap_or((name, ""));
        task == slug && store.is_none_or(|store| store == key)
    };
    if let Some((of, cache)) = whose.split_once('+') {
        return of.strip_prefix("setup-").is_some_and(is_of).then(|| ("setup", Some(cache.to_owned())));
    }
    match whose.strip_prefix("run-") {
        Some(of) if is_of(of) => Some(("run", None)),
        _ if is_of(whose) => Some(("detached", None)),
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

/// What a service of a live runtime printed, or the last setup of a cache, and with
/// `follow` what it prints.
///
/// # Errors
/// [`crate::error::Kind::NotFound`] when there is neither.
pub fn named_log(app: &App, running: Running<'_>, name: &str, follow: bool) -> Result<u8> {
    let live = runtimes::find(app, running)?;
    if let Some(lease) = live.iter().rev().find(|lease| lease.services.iter().any(|service| service == name)) {
        return service_log(app, lease, name, follow);
    }
    let rows = logs(app, running)?;
    if let Some(row) = rows.iter().find(|row| row.cache.as_deref() == Some(name)) {
        app.ui.status("Log", &row.path.display().to_string());
        return show_log(app, running, row, follow).map(|()| 0);
    }
    let services = live.into_iter().flat_map(|lease| lease.services);
    let known: BTreeSet<String> = services.chain(rows.into_iter().filter_map(|row| row.cache)).collect();
    let hint = match known.is_empty() {
        true => "services have logs while they run, and caches when their setup ran here".to_owned(),
        false => format!("there are: {}", known.into_iter().collect::<Vec<_>>().join(", ")),
    };
    let what = format!("{} runs no service {name:?}, and no setup of such a cache ran for it here", running.task);
    Err(not_found(what).hint(hint).into())
}

fn service_log(app: &App, lease: &Lease, service: &str, follow: bool) -> Result<u8> {
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
    not_found(format!("this machine has no log of {}", running.task)).hint(
        format!(
            "runs, detached commands and setups leave one here for 30 days; for logs that came with the task: envctl artifacts ls {}",
            running.task
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_its_tasks_alone() {
        let of = |name: &str| kind_of_log(name, ("task-1", Some("0123")));
        assert_eq!(of("task-1~0123-20260115T103000Z-77.log"), Some(("detached", None)));
        assert_eq!(of("run-task-1~0123-20260115T103000Z-77.log"), Some(("run", None)));
        assert_eq!(of("setup-task-1~0123+npm-web-20260115T103000Z-77.log"), Some(("setup", Some("npm-web".into()))));
        let of_any = kind_of_log("run-task-1~0123-20260115T103000Z-77.log", ("task-1", None));
        assert_eq!(of_any, Some(("run", None)));
        for other in [
            "task-1-2~0123-20260115T103000Z-77.log",
            "task-1~4567-20260115T103000Z-77.log",
            "run-task-1~4567-20260115T103000Z-77.log",
            "setup-task-1~4567+npm-20260115T103000Z-77.log",
            "run-task-12-20260115T103000Z-7.log",
            "setup-task-12+npm-20260115T103000Z-7.log",
            "setup-task-1-20260115T103000Z-7.log",
            "x",
        ] {
            assert_eq!(of(other), None, "{other}");
        }
    }
}
