//! Build folders: caches that a tool makes out of the workspace's files, and
//! judges by their times.
//!
//! Invariants: where such an entry is mounted, every file that differs from what
//! it was made from is newer than all of it. No file is made older: something
//! else in the workspace may have been built from it. Of two files that somebody
//! has written, the newer one stays the newer one. An entry that was made from a
//! file that is gone is not used, nor one that is newer than this machine's
//! clock. What git ignores is no source, and counts as differing unless nobody has
//! written it since: nobody else has it.

mod differing;

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};

use self::differing::{HEAD, Origins, differing, head, origins_of, stray_notes};

use super::place::forget_materialized;
use super::state::Caches;
use super::wanted::Wanted;
use crate::cache::{Components, Record, Sources};
use crate::config::Spot;
use crate::digest::Digest;
use crate::handoff::report::CacheOrigin;
use crate::handoff::words::quote;
use crate::workspace::{Files, Time};

/// What an entry was made from, and what is there.
enum Fit {
    Fits,
    /// It was made from files that are gone, such as this one.
    Gone(String),
    /// It is newer than the clock.
    Ahead,
}

impl Caches<'_> {
    fn are_built(&self) -> bool {
        self.wanted.iter().any(|wanted| wanted.built)
    }

    /// The workspace's files, without what lies in the places of caches.
    fn files(&self) -> Result<Files> {
        let mut skipped = forget_materialized(&self.app.paths, self.workspace);
        let spots = self.wanted.iter().flat_map(|wanted| &wanted.spots);
        skipped.extend(spots.filter_map(|(spot, _)| match spot {
            Spot::Workspace(path) => Some(path.clone()),
            _ => None,
        }));
        Files::look(self.workspace, &skipped)
    }

    /// What an entry that is made now is made from, and what lies beside that.
    ///
    /// # Errors
    /// When the workspace cannot be read.
    pub(super) fn sources(&self) -> Result<(Sources, Sources)> {
        self.files().and_then(|files| origins_of(&files)).context("cannot see what the cache is made from")
    }

    /// Why what a setup has made could not be used: `changed` is what it did in the
    /// workspace.
    pub(super) fn unusable(wanted: &Wanted, changed: &BTreeSet<Vec<u8>>) -> Option<String> {
        let stray = stray_notes(changed.iter().map(Vec::as_slice), &wanted.folders());
        stray.filter(|_| wanted.built).map(|path| told_stray(&path))
    }

    /// Takes away what was found and does not fit: an entry of another key takes
    /// its place, or none.
    ///
    /// # Errors
    /// When the workspace cannot be read.
    pub(super) fn judge(&mut self) -> Result<()> {
        if !self.wanted.iter().zip(&self.found).any(|(wanted, found)| wanted.built && found.is_some()) {
            return Ok(());
        }
        let files = self.files()?;
        let (names, now) = (names(&files), now());
        let mut variants = false;
        for index in 0..self.wanted.len() {
            let wanted = &self.wanted[index];
            let Some((record, _)) = self.found[index].as_ref().filter(|_| wanted.built) else { continue };
            let name = wanted.name.clone();
            match fit(&self.trees.sources(record).unwrap_or_default(), record, &names, now) {
                Fit::Fits => match stray(&files, wanted, record) {
                    None => continue,
                    Some(why) => {
                        self.app.ui.warn(&format!("the cache {name} is left out: {why}"));
                        self.wanted[index].refused = true;
                    }
                },
                Fit::Gone(path) => {
                    let made = format!("the cache {name} was made from {}, which is gone", quote(&path));
                    self.app.ui.detail(&format!("{made}: another entry is used, made without it"));
                    if let Some(fitting) = self.fitting(wanted, &names, now) {
                        let wanted = &mut self.wanted[index];
                        (wanted.key, wanted.components) = (fitting.key, Some(fitting.components.clone()));
                        self.found[index] = Some((fitting, CacheOrigin::Hit));
                        continue;
                    }
                    variants |= become_variant(&mut self.wanted[index], source_names(&files));
                }
                Fit::Ahead => {
                    let why = "it holds files that are newer than this machine's clock";
                    self.app.ui.warn(&format!("the cache {name} is left out: {why}, so tools would not see changes"));
                    self.wanted[index].refused = true;
                }
            }
            self.found[index] = None;
        }
        if variants {
            self.look();
        }
        Ok(())
    }

    /// The last entry here that was made without the files that are gone: it need not
    /// know of those that have come.
    fn fitting(&self, wanted: &Wanted, names: &Sources, now: Time) -> Option<Record> {
        let plain = |components: &Components| Components { names: None, ..components.clone() };
        let (own, scopes) = (plain(wanted.components.as_ref()?), self.scopes());
        let alike = |record: &Record| scopes.contains(&record.scope) && plain(&record.components) == own;
        let here = |record: Record| {
            self.trees.get(&record.key, &record.scope).filter(|record| Self::is_usable(wanted, record))
        };
        let fits = |record: &Record| {
            let sources = self.trees.sources(record);
            sources.is_some_and(|sources| matches!(fit(&sources, record, names, now), Fit::Fits))
        };
        let all = self.trees.all().into_iter().filter(alike).filter_map(here).filter(fits);
        all.max_by_key(|record| record.sealed_at)
    }

    /// Makes everything that differs from what entries were made from newer than
    /// they are. An entry for which that cannot be done is left out, and told.
    ///
    /// # Errors
    /// When the workspace cannot be read.
    pub(super) fn settle_times(&mut self) -> Result<()> {
        if !self.are_built() {
            return Ok(());
        }
        self.judge()?;
        let built = self.wanted.iter().zip(&self.found).filter(|(wanted, _)| wanted.built);
        let records: Vec<&Record> = built.filter_map(|(_, found)| found.as_ref().map(|(record, _)| record)).collect();
        let Some(newest) = records.iter().filter_map(|record| record.newest).max() else { return Ok(()) };
        let made: Vec<Origins> = records.iter().map(|record| self.origins(record)).collect();
        let mut files = self.files()?;
        let times = raised(&files, &made, newest)?;
        let other_head = made.iter().any(|made| made.sources.get(HEAD).copied() != head(&files));
        if !times.is_empty() || other_head {
            wait_until(end_of(newest));
        }
        let raised_head = if other_head { files.raise_head(end_of(newest)) } else { Ok(()) };
        if let Err(error) = raised_head.and_then(|()| files.set_times(&times)) {
            let why = format!("{error:#}; a tool would take that file for one that has not changed");
            for (wanted, found) in self.wanted.iter_mut().zip(&mut self.found).filter(|(wanted, _)| wanted.built) {
                if found.take().is_some() {
                    self.app.ui.warn(&format!("the cache {} is left out: {why}", wanted.name));
                    wanted.refused = true;
                }
            }
        }
        Ok(())
    }

    fn origins(&self, record: &Record) -> Origins {
        let sources = self.trees.sources(record).unwrap_or_default();
        Origins { sources, beside: self.trees.beside(record), habits: record.habits }
    }

    /// Whether what is here may be used.
    pub(super) fn is_usable(wanted: &Wanted, record: &Record) -> bool {
        !wanted.refused && (!wanted.built || record.newest.is_some())
    }
}

/// Why an entry into which scripts are compiled must not be used in this workspace.
fn stray(files: &Files, wanted: &Wanted, record: &Record) -> Option<String> {
    let paths = files.iter().map(|file| file.path).collect::<Vec<_>>();
    let stray = record.habits.has_scripts().then(|| stray_notes(paths.into_iter(), &wanted.folders())).flatten()?;
    Some(format!("{}; remove {} once", told_stray(&stray), quote(&stray)))
}

fn told_stray(path: &str) -> String {
    let notes = quote(path);
    format!(
        "in {notes} tsc notes what it has written, which goes with each run: let tsBuildInfoFile be in the cache's path"
    )
}

/// The names of all files: an ignored one may be what another task calls a source.
fn names(files: &Files) -> Sources {
    let mut names = Sources::default();
    files.iter().for_each(|file| names.insert(file.path.to_vec(), [0; 16]));
    names
}

/// Of all sources.
fn source_names(files: &Files) -> Digest {
    let mut names = Sources::default();
    files.iter().filter(|file| file.source).for_each(|file| names.insert(file.path.to_vec(), [0; 16]));
    names.names()
}

fn fit(sources: &Sources, record: &Record, names: &Sources, now: Time) -> Fit {
    if record.newest.is_none_or(|newest| newest >= now) {
        return Fit::Ahead;
    }
    match sources.paths().find(|path| *path != HEAD && names.get(path).is_none()) {
        Some(gone) => Fit::Gone(String::from_utf8_lossy(gone).into_owned()),
        None => Fit::Fits,
    }
}

/// Another key, for exactly these names; whether it had none yet.
fn become_variant(wanted: &mut Wanted, names: Digest) -> bool {
    let Some(components) = &mut wanted.components else { return false };
    components.names = Some(names);
    let before = std::mem::replace(&mut wanted.key, components.key());
    before != wanted.key
}

/// The end of the second in which something lies: there are tools that count in
/// seconds.
fn end_of((seconds, _): Time) -> Time {
    (seconds + 1, 0)
}

/// A file with a time that is still to come would be strange.
fn wait_until(time: Time) {
    let pause = std::time::Duration::from_millis(20);
    // The clock may be set back meanwhile.
    for _ in 0..100 {
        if now() >= time {
            break;
        }
        std::thread::sleep(pause);
    }
}

/// Which files get which times, so that all that differs is newer than `newest`,
/// by a second.
fn raised(files: &Files, made: &[Origins], newest: Time) -> Result<Vec<(usize, Time)>> {
    let differing = differing(files, made, end_of(newest))?;
    let old = files.iter().enumerate().any(|(at, file)| differing[at] && file.time < end_of(newest));
    if !old {
        return Ok(Vec::new());
    }
    let base = unlike_before(files, end_of(newest));
    let all = || files.iter().enumerate().filter(|(_, file)| file.time < base);
    // Those that nobody has written can change places with each other.
    let pristine = all().filter(|(at, file)| file.pristine && differing[*at]).map(|(at, _)| (at, base));
    // All others keep their order, whoever has written them.
    let first = all().filter(|(at, file)| !file.pristine && differing[*at]).map(|(_, file)| file.time).min();
    let mut written: Vec<(Time, usize)> = all()
        .filter(|(_, file)| !file.pristine && first.is_some_and(|first| file.time >= first))
        .map(|(at, file)| (file.time, at))
        .collect();
    written.sort_unstable();
    let mut times: Vec<(usize, Time)> = pristine.collect();
    let (mut rank, mut before) = (base, None);
    for (time, at) in written {
        if before.is_some_and(|before| before != time) {
            rank = after(rank);
        }
        before = Some(time);
        times.push((at, rank));
    }
    // Folder by folder.
    times.sort_unstable();
    Ok(times)
}

/// A time that no file is likely to have been given before, from `base` to the first
/// file that somebody has written since: there are tools that take a file of a known
/// second and size for a known one.
fn unlike_before(files: &Files, base: Time) -> Time {
    let (now, _) = now();
    let written = files.iter().filter(|file| !file.pristine && file.time >= base).map(|file| file.time.0);
    let end = written.min().map_or(now, |first| first.min(now));
    match end - base.0 {
        room @ 2.. => (base.0 + now % room, 0),
        _ => base,
    }
}

/// A microsecond later.
fn after((seconds, nanoseconds): Time) -> Time {
    match nanoseconds + 1000 {
        over @ 1_000_000_000.. => (seconds + 1, over - 1_000_000_000),
        nanoseconds => (seconds, nanoseconds),
    }
}

/// What the clock of files says.
fn now() -> Time {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    (now.tv_sec, now.tv_nsec as u32)
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod wrong;
