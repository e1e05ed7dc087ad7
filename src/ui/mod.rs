//! The only place that prints. stdout is data, stderr is everything else.
//!
//! Invariant: who prints escapes, and sets an end to what is long. A caller hands
//! over text as it came; only [`Ui::raw`] lets it pass as it is.

mod aside;
mod ask;
mod escape;
mod progress;
mod question;
pub mod trace;
mod width;

use std::io::{self, IsTerminal, Write};

use anyhow::Result;
use serde::Serialize;

pub use crate::quantity::human_bytes;
pub use aside::Aside;
pub use ask::Answer;
pub use escape::escape;
use escape::shown;
pub use progress::{Activity, Bar, Progress, Steps};
use width::{USUAL, fit, screen};

use crate::env::Env;
use crate::error::{self, Kind};
use crate::secret;
use crate::visible::is_visible;

/// How many of the things that an error is about are shown.
const MAX_DETAILS: usize = 30;

/// How many lines of a list are shown, and how many bytes of it.
const MAX_LIST: usize = 1000;
const LONG_LIST: usize = 256 << 10;

/// How many causes of an error are shown.
const MAX_CAUSES: usize = 10;

/// Characters of a message, a cause, a hint, a line on stderr.
const LONG_MESSAGE: usize = 2000;

/// Characters of one of the things that an error is about, or that `-v` shows.
const LONG_DETAIL: usize = 1000;

/// Characters of a line of a result.
const LONG_DATA: usize = 4000;

/// Characters of a line of code, which somebody wants to have whole.
const LONG_CODE: usize = 1 << 16;

/// When to colour stderr.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// A number of things, in words.
pub fn counted(count: impl Into<u64>, one: &str, many: &str) -> String {
    match count.into() {
        1 => format!("1 {one}"),
        count => format!("{count} {many}"),
    }
}

/// How this invocation talks.
#[derive(Clone, Copy, Debug)]
pub struct Ui {
    quiet: bool,
    verbose: bool,
    json: bool,
    color: bool,
    terminal: bool,
}

impl Ui {
    /// Decides from the global flags and the environment.
    pub fn new(env: &Env, quiet: bool, verbose: bool, json: bool, color: Color) -> Self {
        let terminal = io::stderr().is_terminal();
        let dumb = env.term.as_deref() == Some("dumb");
        let color = match color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => !env.no_color && (env.force_color || (terminal && !dumb)),
        };
        Ui { quiet, verbose, json, color, terminal: terminal && !dumb }
    }

    /// Whether the verb prints one JSON object instead of text.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Whether more is wanted: `-v`.
    pub fn is_verbose(&self) -> bool {
        self.verbose && !self.quiet
    }

    /// A line of the result, on stdout.
    ///
    /// # Errors
    /// When stdout cannot be written; a reader that went away is no error.
    pub fn data(&self, line: &str) -> Result<()> {
        write_stdout(&format!("{}\n", shown(line, LONG_DATA).trim_end()))
    }

    /// Lines of the result, one for each of many things: as many as somebody looks
    /// at, and how many more there are. `--json` has them all.
    ///
    /// # Errors
    /// As [`Ui::data`].
    pub fn list(&self, lines: impl IntoIterator<Item = String>) -> Result<()> {
        write_stdout(&listed(lines))
    }

    /// A line of somebody's code, on stdout: its tabs stay.
    ///
    /// # Errors
    /// As [`Ui::data`].
    pub fn code(&self, line: &str) -> Result<()> {
        write_stdout(&format!("{}\n", escape::shown_code(line, LONG_CODE)))
    }

    /// A line of somebody's code beside the result, on stderr.
    pub fn aside_code(&self, line: &str) {
        self.stderr(&escape::shown_code(line, LONG_CODE));
    }

    /// A line of the result that somebody has to read to its end: escaped, and
    /// never cut.
    ///
    /// # Errors
    /// As [`Ui::data`].
    pub fn whole(&self, line: &str) -> Result<()> {
        write_stdout(&format!("{}\n", escape(line)))
    }

    /// A line of the result as it is, however it is spelled and however long: for
    /// what the developer or envctl itself has named, and scripts read.
    ///
    /// # Errors
    /// As [`Ui::data`].
    pub fn raw(&self, line: &str) -> Result<()> {
        write_stdout(&format!("{line}\n"))
    }

    /// The result as one JSON object, on stdout.
    ///
    /// # Errors
    /// As [`Ui::data`].
    pub fn json<T: Serialize>(&self, value: &T) -> Result<()> {
        write_stdout(&format!("{}\n", render_json(value)?))
    }

    /// A step that was taken: a right-aligned verb and its object.
    pub fn status(&self, verb: &str, object: &str) {
        tracing::info!("{verb} {object}");
        if !self.quiet {
            self.stderr(&format!("{} {}", self.paint(&format!("{verb:>10}"), "1;32"), shown(object, LONG_MESSAGE)));
        }
    }

    /// The same in one row of the terminal: its beginning, where it is longer.
    pub fn brief(&self, verb: &str, object: &str) {
        tracing::info!("{verb} {object}");
        if !self.quiet {
            let columns = screen(io::stderr()).unwrap_or(USUAL).1;
            let verb = format!("{verb:>10}");
            let room = columns.saturating_sub(verb.len() + 2);
            let object = fit(&shown(object, LONG_MESSAGE), room);
            self.stderr(&format!("{} {object}", self.paint(&verb, "1;32")));
        }
    }

    /// Columns of the terminal to which results go; nothing where it is none.
    pub fn columns(&self) -> Option<usize> {
        screen(io::stdout()).map(|(_, columns)| columns)
    }

    /// A line of a result of which the end may be missing: on a terminal it takes one
    /// row, elsewhere it is whole.
    pub fn row(&self, line: &str) -> String {
        match self.columns() {
            Some(columns) => fit(&escape(line), columns),
            None => line.to_owned(),
        }
    }

    /// Something only `-v` shows.
    pub fn detail(&self, line: &str) {
        tracing::debug!("{line}");
        if self.verbose && !self.quiet {
            self.stderr(&format!("{} {}", self.paint("    detail", "2"), shown(line, LONG_DETAIL)));
        }
    }

    /// Something the user should know although the command goes on. Shown in
    /// `--quiet` too.
    pub fn warn(&self, line: &str) {
        tracing::warn!("{line}");
        self.stderr(&format!("{} {}", self.paint("warning:", "1;33"), shown(&without_numbers(line), LONG_MESSAGE)));
    }

    /// The same about many things: the first of them, and how many more there are.
    pub fn warn_each(&self, lines: impl IntoIterator<Item = String>) {
        let mut lines = lines.into_iter();
        lines.by_ref().take(MAX_DETAILS).for_each(|line| self.warn(&line));
        let more = lines.count() as u64;
        if more > 0 {
            self.warn(&format!("and {}", counted(more, "more like these", "more like these")));
        }
    }

    /// The end of a failed command. In JSON the error goes to stdout.
    pub fn error(&self, error: &anyhow::Error, exit_code: u8) {
        tracing::error!(exit_code, "{error:#}");
        if self.json {
            let _ = self.json(&ErrorReport::new(error, exit_code));
            return;
        }
        let (message, causes) = message_and_causes(error);
        self.stderr(&format!("{} {}", self.paint("error:", "1;31"), shown(&message, LONG_MESSAGE)));
        for cause in causes {
            self.stderr(&format!("  {} {}", self.paint("cause:", "2"), shown(&cause, LONG_MESSAGE)));
        }
        let details = error::details_of(error);
        for detail in details.iter().take(MAX_DETAILS) {
            self.stderr(&format!("  {}", shown(&detail.text, LONG_DETAIL)));
        }
        if details.len() > MAX_DETAILS {
            self.stderr(&format!("  ... and {} more; --json lists them all", details.len() - MAX_DETAILS));
        }
        if let Some(hint) = error::hint_of(error) {
            self.stderr(&format!("  {} {}", self.paint("hint:", "1;36"), shown(&hint, LONG_MESSAGE)));
        }
    }

    /// Text of several lines, such as a usage error.
    pub fn text(&self, text: &str) {
        text.lines().for_each(|line| self.stderr(&shown(line, LONG_MESSAGE)));
    }

    /// Progress over several parts that move bytes.
    pub fn progress(&self) -> Progress {
        if self.quiet { Progress::silent() } else { Progress::new(self.terminal) }
    }

    fn paint(&self, text: &str, style: &str) -> String {
        if self.color { format!("\x1b[{style}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn stderr(&self, line: &str) {
        // A closed stderr is no reason to fail.
        let Some(line) = question::keep(secret::hide(line)) else { return };
        progress::above(|| {
            let _ = writeln!(io::stderr().lock(), "{line}");
        });
    }
}

/// Errors on the wire: `{"error": {...}}`.
#[derive(Serialize)]
pub struct ErrorReport {
    error: ErrorBody,
}

#[derive(Serialize)]
struct ErrorBody {
    kind: Kind,
    message: String,
    causes: Vec<String>,
    details: Vec<serde_json::Value>,
    hint: Option<String>,
    exit_code: u8,
}

impl ErrorReport {
    /// The error as `--json` and `--report` show it.
    pub fn new(error: &anyhow::Error, exit_code: u8) -> Self {
        let (message, causes) = message_and_causes(error);
        let details = error::details_of(error).iter().map(|detail| detail.data.clone()).collect();
        let short = |text: String| escape::cut(&secret::hide(&text), LONG_MESSAGE).into_owned();
        let (kind, hint) = (error::kind_of(error), error::hint_of(error).map(short));
        let (message, causes) = (short(message), causes.into_iter().map(short).collect());
        let body = ErrorBody { kind, message, causes, details, hint, exit_code };
        ErrorReport { error: body }
    }
}

/// A text without the numbers of the system's errors, whose words stand before them. They
/// are in the log.
fn without_numbers(text: &str) -> String {
    let mut parts = text.split(" (os error ");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |whole, part| match part.split_once(')') {
        Some((number, rest)) if number.bytes().all(|c| c.is_ascii_digit()) => whole + rest,
        _ => whole + " (os error " + part,
    })
}

fn message_and_causes(error: &anyhow::Error) -> (String, Vec<String>) {
    let message = without_numbers(&error.to_string());
    let mut seen = vec![message.clone()];
    for cause in error.chain().skip(1) {
        let text = without_numbers(&cause.to_string());
        if !seen.contains(&text) {
            seen.push(text);
        }
    }
    seen.truncate(1 + MAX_CAUSES);
    (message, seen.split_off(1))
}

/// JSON for people and machines: characters that nobody sees, beyond those that
/// JSON itself escapes, are written as `\u` sequences, so that it is safe to look at.
fn render_json<T: Serialize>(value: &T) -> Result<String> {
    let text = serde_json::to_string_pretty(value)?;
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c != '\n' && !is_visible(c) {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            out.push(c);
        }
    }
    Ok(out)
}

/// A list up to its bounds.
fn listed(lines: impl IntoIterator<Item = String>) -> String {
    let (mut text, mut left_out) = (String::new(), 0_u64);
    for (n, line) in lines.into_iter().enumerate() {
        if n < MAX_LIST && text.len() < LONG_LIST {
            text.push_str(shown(&line, LONG_DATA).trim_end());
            text.push('\n');
        } else {
            left_out += 1;
        }
    }
    if left_out > 0 {
        text.push_str(&format!("... and {}; --json lists them all\n", counted(left_out, "more line", "more lines")));
    }
    text
}

fn write_stdout(text: &str) -> Result<()> {
    let text = secret::hide(text);
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(anyhow::Error::from(error).context("cannot write to stdout")),
        Ok(()) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_47_json_is_safe_to_look_at() {
        let text = render_json(&serde_json::json!({"task": "a\u{1b}[2J\u{9b}31m\u{202e}b\nc"})).unwrap();
        assert!(!text.contains('\u{1b}') && !text.contains('\u{9b}') && !text.contains('\u{202e}'));
        let back: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(back["task"], "a\u{1b}[2J\u{9b}31m\u{202e}b\nc");
    }

    #[test]
    fn an_error_of_megabytes_is_cut_for_programs_too() {
        let long = "x".repeat(300_000);
        let error = (0..5).fold(anyhow::anyhow!("first"), |error, n| error.context(format!("{n} {long}")));
        let text = render_json(&ErrorReport::new(&error, 1)).unwrap();
        assert!(text.len() < 1 << 15 && text.contains("characters left out"), "{}", text.len());
    }

    #[test]
    fn a_list_has_an_end_in_lines_and_in_bytes() {
        let short = listed((0..9_900).map(|n| n.to_string()));
        assert_eq!(short.lines().count(), MAX_LIST + 1);
        assert!(short.ends_with("999\n... and 8900 more lines; --json lists them all\n"));
        let long = listed((0..9_000).map(|_| "x".repeat(1200)));
        assert!(long.len() < LONG_LIST + LONG_DATA && long.contains(" more lines"), "{}", long.len());
        assert_eq!(listed(["a".into(), "b".into()]), "a\nb\n");
    }

    #[test]
    fn repeated_causes_are_shown_once() {
        let error = anyhow::anyhow!("inner").context("inner").context("outer");
        assert_eq!(message_and_causes(&error), ("outer".into(), vec!["inner".into()]));
    }

    #[test]
    fn errors_of_the_system_are_told_in_words() {
        let error = std::io::Error::from_raw_os_error(libc::ENOENT);
        assert_eq!(
            without_numbers(&format!("a: {error}, b: {error}")),
            "a: No such file or directory, b: No such file or directory"
        );
        for same in ["", "x", " (os error x)", "a (os error 2"] {
            assert_eq!(without_numbers(same), same);
        }
    }
}
