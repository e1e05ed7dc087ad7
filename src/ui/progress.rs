//! Progress: bars on a terminal, a heartbeat line in a log, nothing in
//! `--quiet`. Work under 300 ms shows nothing. No thread of its own: whoever
//! moves bytes drives the display.

use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::escape::shown;
use super::human_bytes;

/// Characters of what a bar is about.
const LONG_LABEL: usize = 80;

const DELAY: Duration = Duration::from_millis(300);
const HEARTBEAT: Duration = Duration::from_secs(5);

/// The bars of this process, which make room for questions.
static BARS: Mutex<Vec<MultiProgress>> = Mutex::new(Vec::new());

/// A question is on the terminal.
static ASKING: AtomicBool = AtomicBool::new(false);

/// Lets a question stand alone on the terminal: bars go, and come back after it.
pub(super) fn around<T>(question: impl FnOnce() -> T) -> T {
    let bars = BARS.lock().unwrap_or_else(PoisonError::into_inner).clone();
    ASKING.store(true, Ordering::SeqCst);
    for bars in bars {
        let _ = bars.clear();
        bars.set_draw_target(ProgressDrawTarget::hidden());
    }
    let answer = question();
    ASKING.store(false, Ordering::SeqCst);
    answer
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
                let bar = bars.add(ProgressBar::new(total).with_message(label.clone()));
                let style = "{msg:>24} {bar:24} {bytes:>10} of {total_bytes:<10} {bytes_per_sec}";
                if let Ok(style) = ProgressStyle::with_template(style) {
                    bar.set_style(style.progress_chars("=> "));
                }
                Some((bars.clone(), bar))
            }
            _ => None,
        };
        Bar(Arc::new(Inner {
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

/// One part of the work. Cheap to clone; may be driven from any thread.
#[derive(Clone, Debug)]
pub struct Bar(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    label: String,
    total: u64,
    done: AtomicU64,
    beat: AtomicU64,
    lines: bool,
    started: Instant,
    bar: Option<(MultiProgress, ProgressBar)>,
}

impl Bar {
    /// `count` more bytes have moved.
    pub fn add(&self, count: u64) {
        let inner = &self.0;
        let done = inner.done.fetch_add(count, Ordering::Relaxed) + count;
        let elapsed = inner.started.elapsed();
        if let Some((bars, bar)) = &inner.bar {
            bar.inc(count);
            if bars.is_hidden() && elapsed > DELAY && !ASKING.load(Ordering::SeqCst) {
                bars.set_draw_target(ProgressDrawTarget::stderr_with_hz(10));
            }
        } else if inner.lines {
            let beat = elapsed.as_secs() / HEARTBEAT.as_secs();
            if inner.beat.fetch_max(beat, Ordering::Relaxed) < beat {
                let (done, total) = (human_bytes(done), human_bytes(inner.total));
                let _ = writeln!(std::io::stderr().lock(), "{:>10} {}: {done} of {total}", "Working", inner.label);
            }
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
