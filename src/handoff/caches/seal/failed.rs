//! A setup that failed: how it ended, and the lines of its log that say why.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use crate::handoff::app::App;
use crate::runtime::Outcome;
use crate::visible::without_colours;

/// Lines of a failed setup that are shown.
const TAIL: usize = 20;

/// Lines before them that are shown because they say what is wrong.
const ERRORS: usize = 5;

/// Bytes at the beginning of a log in which those are looked for.
const HEAD_BYTES: u64 = 1 << 20;

/// Bytes of the log in which the last lines are looked for.
const TAIL_BYTES: u64 = 16 << 10;

/// Bytes at its end in which one line is looked for.
const LINE_BYTES: usize = 4 << 10;

/// The first lines that say what is wrong, where the end of the log does not have
/// them.
fn first_errors(log: &mut File) -> Vec<String> {
    let length = log.metadata().map_or(0, |meta| meta.len());
    let mut text = Vec::new();
    if length == 0 || log.rewind().is_err() {
        return Vec::new();
    }
    let _ = log.take(HEAD_BYTES).read_to_end(&mut text);
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let shown_anyway = if length <= HEAD_BYTES { lines.len().saturating_sub(TAIL) } else { lines.len() };
    let wrong = |line: &&str| {
        ["error", "missing:", "failed", "fatal:"].iter().any(|word| line.to_ascii_lowercase().contains(word))
    };
    let mut found: Vec<String> =
        lines[..shown_anyway].iter().copied().filter(wrong).take(ERRORS).map(str::to_owned).collect();
    if !found.is_empty() {
        found.push("[...]".to_owned());
    }
    found
}

/// How a setup ended that did not succeed.
pub(super) fn how_it_ended(outcome: &Outcome) -> String {
    match outcome {
        Outcome::NotStarted { program, errno } => {
            let why = std::io::Error::from_raw_os_error(*errno);
            format!("{program} cannot be started: {why}; is it in the image, with all that it needs?")
        }
        Outcome::TimedOut | Outcome::Idle => "it took too long".to_owned(),
        outcome => format!("exit code {}", outcome.exit_code()),
    }
}

/// Shows the end of what a failed setup printed; how it ended.
pub(super) fn tell_failure(app: &App, name: &str, outcome: &Outcome, path: &Path, log: &mut File) -> String {
    let how = how_it_ended(outcome);
    app.ui.warn(&format!("the setup of the cache {name} failed ({how}); the runtime goes without it"));
    for line in first_errors(log) {
        app.ui.text(&format!("    {}", without_colours(&line)));
    }
    let mut text = Vec::new();
    let length = log.metadata().map_or(0, |meta| meta.len());
    if log.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES))).is_ok() {
        let _ = log.take(TAIL_BYTES).read_to_end(&mut text);
    }
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    for line in &lines[lines.len().saturating_sub(TAIL)..] {
        app.ui.text(&format!("    {}", without_colours(line)));
    }
    app.ui.text(&format!("    all of it: {}", path.display()));
    how
}

/// The last line that a log holds now, for those who wait.
pub(super) fn last_line(log: &File) -> Option<String> {
    let from = log.metadata().ok()?.len().saturating_sub(LINE_BYTES as u64);
    let mut bytes = vec![0; LINE_BYTES];
    let read = log.read_at(&mut bytes, from).ok()?;
    let text = String::from_utf8_lossy(&bytes[..read]);
    // What draws a bar of its own goes back to the beginning of the line.
    let line = text.split(['\n', '\r']).rfind(|line| !line.trim().is_empty())?;
    Some(without_colours(line).into_owned())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn the_last_line_of_a_log_is_shown_meanwhile() {
        let mut log = tempfile::tempfile().unwrap();
        assert_eq!(last_line(&log), None);
        log.write_all(&[b'x'; 5000]).unwrap();
        log.write_all(b"\nadding left-pad\n\x1b[32m10%\r\x1b[32m20%\x1b[0m\r\n \n").unwrap();
        assert_eq!(last_line(&log).as_deref(), Some("20%"));
    }
}
