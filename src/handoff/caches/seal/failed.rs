//! A setup that failed: how it ended, and the lines of its log that say why.

use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use crate::handoff::app::App;
use crate::runtime::Outcome;

/// Lines of a failed setup that are shown.
const TAIL: usize = 20;

/// Lines before them that are shown because they say what is wrong.
const ERRORS: usize = 5;

/// Bytes at the beginning of a log in which those are looked for.
const HEAD_BYTES: u64 = 1 << 20;

/// Bytes of the log in which the last lines are looked for.
const TAIL_BYTES: u64 = 16 << 10;

/// The first lines that say what is wrong, where the end of the log does not have
/// them.
fn first_errors(log: &mut std::fs::File) -> Vec<String> {
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
pub(super) fn tell_failure(app: &App, name: &str, outcome: &Outcome, path: &Path, log: &mut std::fs::File) -> String {
    let how = how_it_ended(outcome);
    app.ui.warn(&format!("the setup of the cache {name} failed ({how}); the runtime goes without it"));
    for line in first_errors(log) {
        app.ui.text(&format!("    {}", without_colour(&line)));
    }
    let mut text = Vec::new();
    let length = log.metadata().map_or(0, |meta| meta.len());
    if log.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES))).is_ok() {
        let _ = log.take(TAIL_BYTES).read_to_end(&mut text);
    }
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    for line in &lines[lines.len().saturating_sub(TAIL)..] {
        app.ui.text(&format!("    {}", without_colour(line)));
    }
    app.ui.text(&format!("    all of it: {}", path.display()));
    how
}

/// A line of a log without the signs that colour it: they would be shown as such.
fn without_colour(line: &str) -> String {
    let mut parts = line.split("\u{1b}[");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';');
        match rest.strip_prefix('m') {
            Some(rest) => plain.push_str(rest),
            None => plain.extend(["\u{1b}[", part]),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::without_colour;

    #[test]
    fn colours_are_left_out_and_nothing_else() {
        assert_eq!(without_colour("[\u{1b}[1;31mERROR\u{1b}[m] a\u{1b}[0m"), "[ERROR] a");
        assert_eq!(without_colour("a\u{1b}[2J\u{1b}b"), "a\u{1b}[2J\u{1b}b");
    }
}
