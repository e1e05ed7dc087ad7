//! Progress: bars on a terminal, a heartbeat line in a log, nothing in
//! `--quiet`. Work under 300 ms shows nothing. No thread of its own: whoever
//! moves bytes, or waits, drives the display.
//!
//! Each part of the work has one line, whatever the width of the terminal.

use std::io::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::escape::shown;
use super::{human_bytes, question};
use crate::quantity::human_duration;
use crate::secret::hide;

/// Characters of what a bar is about.
const LONG_LABEL: usize = 80;

/// Characters of what somebody else says of their work.
const LONG_WORDS: usize = 300;

/// Columns of a terminal that does not tell.
const COLUMNS: usize = 80;

const DELAY: Duration = Duration::from_millis(300);
const HEARTBEAT: Duration = Duration::from_secs(5);

/// How often it is shown that somebody still waits.
const BEAT: Duration = Duration::from_millis(250);

/// The bars of this process, which make room for questions.
static BARS: Mutex<Vec<MultiProgress>> = Mutex::new(Vec::new());

/// Prints lines above the bars.
pub(super) fn above<T>(print: impl FnOnce() -> T) -> T {
    let bars = BARS.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match bars.iter().find(|bars| !bars.is_hidden()) {
        Some(bars) => bars.suspend(print),
        None => print(),
    }
}

/// Lets a question stand alone on the terminal: bars go, and come back after it.
pub(super) fn around<T>(ask: impl FnOnce() -> T) -> T {
    let bars = BARS.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let alone = || {
        for bars in bars {
            let _ = bars.clear();
            bars.set_draw_target(ProgressDrawTarget::hidden());
        }
        ask()
    };
    question::alone(alone, |kept| {
        let mut stderr = std::io::stderr().lock();
        kept.iter().for_each(|line| drop(writeln!(stderr, "{line}")));
    })
}

/// The display of one command.
#[derive(Clone, Debug)]
pub struct Progress {
    mode: Mode,
    started: Instant,
}

#[derive(Clone, Debug)]
enum Mode {
    Silent,
    Bars(MultiProgress),
    Lines,
}

impl Progress {
    pub(super) fn new(terminal: bool) -> Self {
        let mode = if terminal {
            let bars = MultiProgress::with_draw_target(ProgressDrawTarget::hidden());
            BARS.lock().unwrap_or_else(PoisonError::into_inner).push(bars.clone());
            Mode::Bars(bars)
        } else {
            Mode::Lines
        };
        Progress { mode, started: Instant::now() }
    }

    /// A display that shows nothing.
    pub fn silent() -> Self {
        Progress { mode: Mode::Silent, started: Instant::now() }
    }

    /// A part that will move `total` bytes.
    pub fn bar(&self, label: &str, total: u64) -> Bar {
        let label = shown(label, LONG_LABEL);
        let bar = match &self.mode {
            Mode::Bars(bars) => {
                let bar = bars.add(ProgressBar::new(total).with_prefix(label.clone()));
                bar.set_style(style(&if total > 0 { moving(columns()) } else { counting(columns()) }));
                Some((bars.clone(), bar))
            }
            _ => None,
        };
        self.part(label, total, bar)
    }

    /// A part of which nobody knows how much there is to do.
    pub fn activity(&self, label: &str) -> Activity {
        let label = shown(label, LONG_LABEL);
        let bar = match &self.mode {
            Mode::Bars(bars) => {
                let bar = bars.add(ProgressBar::new_spinner().with_prefix(label.clone()));
                bar.set_style(style(&working(columns())));
                Some((bars.clone(), bar))
            }
            _ => None,
        };
        Activity { bar: self.part(label, 0, bar), words: Mutex::default() }
    }

    /// A part that is told how far it has come, in counts of its own.
    pub fn steps(&self, label: &str) -> Steps {
        let label = shown(label, LONG_LABEL);
        let bar = match &self.mode {
            Mode::Bars(bars) => {
                let bar = bars.add(ProgressBar::new(0).with_prefix(label.clone()));
                bar.set_style(style(&stepping(columns())));
                Some((bars.clone(), bar))
            }
            _ => None,
        };
        Steps { bar: self.part(label, 0, bar), words: Mutex::default() }
    }

    /// Shows that work of nobody knows how much goes on, while it does; `words` are
    /// what it does now, if that is known. A thread of its own, which ends with it.
    pub fn during<T>(&self, label: &str, words: &(dyn Fn() -> Option<String> + Sync), work: impl FnOnce() -> T) -> T {
        if matches!(self.mode, Mode::Silent) {
            return work();
        }
        let activity = self.activity(label);
        let (over, waits) = std::sync::mpsc::channel::<()>();
        let done = std::thread::scope(|scope| {
            let activity = &activity;
            scope.spawn(move || {
                while waits.recv_timeout(BEAT) == Err(RecvTimeoutError::Timeout) {
                    activity.say(words().as_deref());
                }
            });
            let done = work();
            drop(over);
            done
        });
        activity.finish();
        done
    }

    fn part(&self, label: String, total: u64, bar: Option<(MultiProgress, ProgressBar)>) -> Bar {
        Bar(Arc::new(BarsState {
            label,
            total,
            done: AtomicU64::new(0),
            beat: AtomicU64::new(0),
            lines: matches!(self.mode, Mode::Lines),
            started: self.started,
            bar,
        }))
    }
}

/// The width of the terminal that stderr is.
fn columns() -> usize {
    let size = rustix::termios::tcgetwinsize(std::io::stderr());
    size.map_or(COLUMNS, |size| usize::from(size.ws_col)).max(1)
}

/// Characters for what a bar is about, and for the bar.
fn shares(columns: usize) -> (usize, usize) {
    match columns {
        ..80 => (16, 8),
        80..120 => (22, 12),
        _ => (40, 30),
    }
}

/// Bytes of a whole; without the rate where there is no room for it.
fn moving(columns: usize) -> String {
    let (label, bar) = shares(columns);
    let rate = if columns < 80 { "" } else { " {rate:>10}" };
    format!("{{prefix:>{label}!}} {{bar:{bar}}} {{moved:>8}} of {{whole:<8}}{rate} {{eta:>4}}")
}

/// Bytes of nobody knows how many.
fn counting(columns: usize) -> String {
    let (label, _) = shares(columns);
    format!("{{prefix:>{label}!}} {{moved:>8}} {{rate:>10}}")
}

/// Counts of a whole, and words.
fn stepping(columns: usize) -> String {
    let (label, bar) = shares(columns);
    format!("{{prefix:>{label}!}} {{bar:{bar}}} {{percent:>3}}% {{eta:>4}} {{wide_msg}}")
}

/// Work that says something now and then.
fn working(columns: usize) -> String {
    let (label, _) = shares(columns);
    format!("{{prefix:>{label}!}} {{elapsed:>4}} {{wide_msg}}")
}

fn style(template: &str) -> ProgressStyle {
    let bytes = |write: &mut dyn std::fmt::Write, count: u64, end: &str| {
        let _ = write!(write, "{}{end}", human_bytes(count));
    };
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
        .with_key("moved", move |state: &ProgressState, write: &mut dyn std::fmt::Write| bytes(write, state.pos(), ""))
        .with_key("whole", move |state: &ProgressState, write: &mut dyn std::fmt::Write| {
            bytes(write, state.len().unwrap_or_default(), "");
        })
        .with_key("rate", move |state: &ProgressState, write: &mut dyn std::fmt::Write| {
            bytes(write, state.per_sec() as u64, "/s");
        })
}

/// Work of which somebody tells how far it has come.
#[derive(Debug)]
pub struct Steps {
    bar: Bar,
    words: Mutex<String>,
}

impl Steps {
    /// It has come so far: `done` of `total`, with what there is to say of it.
    pub fn at(&self, done: u64, total: u64, words: &str) {
        let words = shown(words, LONG_WORDS);
        if let Some((_, bar)) = &self.bar.0.bar {
            if bar.length() != Some(total) {
                // Another part of it: its time is its own.
                bar.set_length(total);
                bar.reset_eta();
            }
            bar.set_position(done);
            bar.set_message(words.clone());
        }
        let percent = done.saturating_mul(100).checked_div(total).unwrap_or(0);
        *self.words.lock().unwrap_or_else(PoisonError::into_inner) = format!("{percent}%, {words}");
        self.tick();
    }

    /// It goes on. Whoever waits for it calls this a few times a second.
    pub fn tick(&self) {
        let inner = &self.bar.0;
        if let Some((bars, bar)) = &inner.bar {
            bar.tick();
            inner.show(bars);
        } else {
            let last = self.words.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let time = human_duration(inner.started.elapsed());
            inner.beat(|| if last.is_empty() { time } else { format!("{time}, {last}") });
        }
    }
}

impl Drop for Steps {
    fn drop(&mut self) {
        self.bar.finish();
    }
}

/// Work of nobody knows how much.
#[derive(Debug)]
pub struct Activity {
    bar: Bar,
    words: Mutex<String>,
}

impl Activity {
    /// It goes on; `words` are what it does now, if somebody says so. Whoever waits for
    /// it calls this a few times a second.
    pub fn say(&self, words: Option<&str>) {
        let inner = &self.bar.0;
        let mut last = self.words.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(words) = words {
            *last = shown(words.trim(), LONG_WORDS);
        }
        if let Some((bars, bar)) = &inner.bar {
            bar.set_message(last.clone());
            bar.tick();
            inner.show(bars);
        } else {
            let time = human_duration(inner.started.elapsed());
            inner.beat(|| if last.is_empty() { time } else { format!("{time}, {last}") });
        }
    }

    /// It is over.
    pub fn finish(&self) {
        self.bar.finish();
    }
}

/// One part of the work. Cheap to clone; may be driven from any thread.
#[derive(Clone, Debug)]
pub struct Bar(Arc<BarsState>);

#[derive(Debug)]
struct BarsState {
    label: String,
    total: u64,
    done: AtomicU64,
    beat: AtomicU64,
    lines: bool,
    started: Instant,
    bar: Option<(MultiProgress, ProgressBar)>,
}

impl BarsState {
    /// Lets bars be seen once the work has taken long enough.
    fn show(&self, bars: &MultiProgress) {
        if bars.is_hidden() && self.started.elapsed() > DELAY && !question::is_open() {
            bars.set_draw_target(ProgressDrawTarget::stderr_with_hz(10));
        }
    }

    /// A line in a log, every so often.
    fn beat(&self, text: impl FnOnce() -> String) {
        let beat = self.started.elapsed().as_secs() / HEARTBEAT.as_secs();
        if self.lines && self.beat.fetch_max(beat, Ordering::Relaxed) < beat {
            let line = format!("{:>10} {}: {}", "Working", self.label, text());
            let _ = writeln!(std::io::stderr().lock(), "{}", hide(&line));
        }
    }
}

impl Bar {
    /// `count` more bytes have moved.
    pub fn add(&self, count: u64) {
        let inner = &self.0;
        let done = inner.done.fetch_add(count, Ordering::Relaxed) + count;
        if let Some((bars, bar)) = &inner.bar {
            bar.inc(count);
            inner.show(bars);
        } else {
            inner.beat(|| match inner.total {
                0 => human_bytes(done),
                total => format!("{} of {}", human_bytes(done), human_bytes(total)),
            });
        }
    }

    /// This part is complete.
    pub fn finish(&self) {
        if let Some((bars, bar)) = &self.0.bar {
            bar.finish_and_clear();
            bars.remove(bar);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A terminal of some width that keeps what was last drawn in it.
    #[derive(Clone, Debug)]
    struct Screen(u16, Arc<Mutex<String>>);

    impl indicatif::TermLike for Screen {
        fn width(&self) -> u16 {
            self.0
        }
        fn move_cursor_up(&self, _: usize) -> std::io::Result<()> {
            Ok(())
        }
        fn move_cursor_down(&self, _: usize) -> std::io::Result<()> {
            Ok(())
        }
        fn move_cursor_right(&self, _: usize) -> std::io::Result<()> {
            Ok(())
        }
        fn move_cursor_left(&self, _: usize) -> std::io::Result<()> {
            Ok(())
        }
        fn write_line(&self, text: &str) -> std::io::Result<()> {
            self.write_str(&format!("{text}\n"))
        }
        fn write_str(&self, text: &str) -> std::io::Result<()> {
            self.1.lock().unwrap().push_str(text);
            Ok(())
        }
        fn clear_line(&self) -> std::io::Result<()> {
            self.1.lock().unwrap().clear();
            Ok(())
        }
        fn flush(&self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_fits_the_terminal_and_has_one_unit() {
        for columns in [60, 80, 100, 120, 200] {
            for template in [moving(columns), counting(columns), stepping(columns), working(columns)] {
                let drawn = Arc::new(Mutex::new(String::new()));
                let screen = Screen(u16::try_from(columns).unwrap(), drawn.clone());
                let bar = ProgressBar::with_draw_target(Some(999_900_000), ProgressDrawTarget::hidden());
                bar.set_style(style(&template));
                bar.set_prefix("x".repeat(LONG_LABEL));
                bar.set_message("y".repeat(LONG_WORDS));
                bar.set_position(999_800_000);
                bar.set_draw_target(ProgressDrawTarget::term_like(Box::new(screen)));
                bar.tick();
                let line = drawn.lock().unwrap().trim_end_matches('\n').to_owned();
                assert!(!line.is_empty() && line.len() <= columns, "{columns}: {} {line:?}", line.len());
                assert!(!line.contains('\n') && !line.contains("iB"), "{line:?}");
                assert_eq!(template.contains("{moved"), line.contains("999.8 MB"), "{line:?}");
            }
        }
    }
}
