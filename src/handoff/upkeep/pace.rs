//! Whether a collection may go by the clock. One that runs once a day sees the
//! clock move by about a day; where it moved back, or far ahead, nobody knows how
//! old anything is. Then every span begins anew, and nothing goes for its age.
//!
//! Invariant: whatever the clock did between two collections, nothing is removed
//! for an age that only a wrong clock gave it.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::disk::{self, Durability};
use crate::handoff::app::App;
use crate::handoff::evidence::renew_copies;
use crate::handoff::workspaces::{DAY, children, renew_salvages, set_time, written_at};

/// So long nobody is away: a collection that comes later is not believed the
/// first time.
const AWAY: Duration = Duration::from_secs(45 * 86_400);

/// How the clock moved since the last collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// As a clock does.
    Steady,
    /// It was set back.
    Back,
    /// It is further than anybody is away.
    Ahead,
}

/// What a collection leaves for the next one.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Mark {
    /// It found the clock far ahead.
    #[serde(default)]
    ahead: bool,
}

impl Pace {
    /// Compares with the last collection; the first one believes the clock.
    pub(super) fn now(app: &App) -> Self {
        let file = app.paths.gc_mark();
        let Some(last) = written_at(&file) else { return Pace::Steady };
        let mark: Mark = disk::read_json(&file).ok().flatten().unwrap_or_default();
        Self::between(last, app.clock.now(), mark.ahead)
    }

    /// `again` says that the last collection found it far ahead, too: then it is
    /// the collections that are rare, and not the clock that is wrong.
    fn between(last: Timestamp, now: Timestamp, again: bool) -> Self {
        let seconds = now.as_second().saturating_sub(last.as_second());
        let span = |span: Duration| i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
        match seconds {
            _ if seconds < -span(DAY) => Pace::Back,
            _ if seconds > span(AWAY) && !again => Pace::Ahead,
            _ => Pace::Steady,
        }
    }

    /// In words, for whoever wonders why nothing old goes.
    pub(super) fn words(self) -> Option<&'static str> {
        match self {
            Pace::Steady => None,
            Pace::Back => Some("the clock was set back since the last collection"),
            Pace::Ahead => Some("the last collection was long ago, or the clock is wrong"),
        }
    }
}

/// Whether the last collection was a day ago, or at a time that is still to come.
pub(super) fn is_due(app: &App) -> bool {
    let Some(last) = written_at(&app.paths.gc_mark()) else { return true };
    let seconds = app.clock.now().as_second().saturating_sub(last.as_second());
    u64::try_from(seconds.abs()).is_ok_and(|seconds| seconds > DAY.as_secs())
}

/// Notes that a collection begins.
///
/// # Errors
/// When it cannot be written.
pub(super) fn note_begun(app: &App, pace: Pace) -> Result<()> {
    let file = app.paths.gc_mark();
    disk::write_json(&file, &Mark { ahead: pace == Pace::Ahead }, Durability::Cached)?;
    set_time(&file, app.clock.now());
    Ok(())
}

/// Lets everything that is kept for a time be kept for the whole of it from now.
pub(super) fn begin_anew(app: &App) {
    let now = app.clock.now();
    for pin in app.pins().all().unwrap_or_default() {
        app.pins().set_used(&pin, now);
    }
    let failures = [renew_salvages(app), renew_copies(app)];
    failures.into_iter().filter_map(Result::err).for_each(|error| app.ui.detail(&format!("{error:#}")));
    for path in records(app) {
        set_time(&path, now);
    }
}

/// What is kept for a number of days from the time at which it was written.
fn records(app: &App) -> Vec<PathBuf> {
    let paths = &app.paths;
    let folders = [paths.quarantine(), paths.receipts(), paths.logs(), paths.all_copies(), paths.all_publications()];
    folders.iter().flat_map(|folder| children(folder)).filter(|path| fs::symlink_metadata(path).is_ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_jumps_is_not_believed() {
        let at = |days: i64| Timestamp::from_second(1_800_000_000 + days * 86_400).unwrap();
        let between = |days: i64, again: bool| Pace::between(at(0), at(days), again);
        for days in [-1, 0, 1, 44] {
            assert_eq!(between(days, false), Pace::Steady, "{days}");
        }
        for days in [-2, -20_000] {
            assert_eq!((between(days, false), between(days, true)), (Pace::Back, Pace::Back), "{days}");
        }
        for days in [46, 5000] {
            assert_eq!((between(days, false), between(days, true)), (Pace::Ahead, Pace::Steady), "{days}");
        }
        assert_eq!(Pace::between(Timestamp::MIN, Timestamp::MAX, false), Pace::Ahead);
    }
}
