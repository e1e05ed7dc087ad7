//! Build folders: caches that a tool makes out of the workspace's files, and
//! judges by their times.
//!
//! Invariants: where such an entry is mounted, every file that differs from what
//! it was made from is newer than all of it. No file is made older: something
//! else in the workspace may have been built from it. Of two files that somebody
//! has written, the newer one stays the newer one. An entry that was made from a
//! file that is gone is not used, nor one that is newer than this machine's
//! clock.

use anyhow::{Context as _, Result};

use super::place::forget_materialized;
use super::state::Caches;
use super::wanted::Wanted;
use crate::cache::{Record, Sources};
use crate::config::Spot;
use crate::digest::Digest;
use crate::handoff::words::quote;
use crate::workspace::{Files, Time};

/// Files by which a tool learns that others have come.
const LISTS: [&[u8]; 2] = [b"CMakeLists.txt", b"meson.build"];

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

    /// What an entry that is made now is made from.
    ///
    /// # Errors
    /// When the workspace cannot be read.
    pub(super) fn sources(&self) -> Result<Sources> {
        self.files().and_then(|files| sources_of(&files)).context("cannot see what the cache is made from")
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
        let names = names(&files);
        let mut variants = false;
        for (wanted, found) in self.wanted.iter_mut().zip(&mut self.found) {
            let Some((record, _)) = found.as_ref().filter(|_| wanted.built) else { continue };
            let name = &wanted.name;
            match fit(&self.trees.sources(record).unwrap_or_default(), record, &names, now()) {
                Fit::Fits => continue,
                Fit::Gone(path) => {
                    let made = format!("the cache {name} was made from {}, which is gone", quote(&path));
                    self.app.ui.detail(&format!("{made}: another entry is used, made without it"));
                    variants |= become_variant(wanted, names.names());
                }
                Fit::Ahead => {
                    let why = "it holds files that are newer than this machine's clock";
                    self.app.ui.warn(&format!("the cache {name} is left out: {why}, so tools would not see changes"));
                    wanted.refused = true;
                }
            }
            *found = None;
        }
        if variants {
            self.look();
        }
        Ok(())
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
        let sources: Vec<Sources> = records.iter().filter_map(|record| self.trees.sources(record)).collect();
        let mut files = self.files()?;
        let times = raised(&files, &sources, newest)?;
        if !times.is_empty() {
            wait_until(end_of(newest));
        }
        if let Err(error) = files.set_times(&times) {
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

    /// Whether what is here may be used.
    pub(super) fn is_usable(wanted: &Wanted, record: &Record) -> bool {
        !wanted.refused && (!wanted.built || record.newest.is_some())
    }
}

fn sources_of(files: &Files) -> Result<Sources> {
    let mut sources = Sources::default();
    for (at, file) in files.iter().enumerate().filter(|(_, file)| file.source) {
        if let Some((kind, size, content)) = files.content(at)? {
            sources.insert(file.path.to_vec(), Sources::mark(kind, size, content.as_bytes()));
        }
    }
    Ok(sources)
}

/// The names of all files: an ignored one may be what another task calls a source.
fn names(files: &Files) -> Sources {
    let mut names = Sources::default();
    files.iter().for_each(|file| names.insert(file.path.to_vec(), [0; 16]));
    names
}

fn fit(sources: &Sources, record: &Record, names: &Sources, now: Time) -> Fit {
    if record.newest.is_none_or(|newest| newest >= now) {
        return Fit::Ahead;
    }
    match sources.paths().find(|path| names.get(path).is_none()) {
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
fn raised(files: &Files, sources: &[Sources], newest: Time) -> Result<Vec<(usize, Time)>> {
    let base = end_of(newest);
    let (mut differing, mut come) = (vec![false; files.iter().count()], false);
    for (at, file) in files.iter().enumerate().filter(|(_, file)| file.source) {
        come |= sources.iter().any(|sources| sources.get(file.path).is_none());
        if file.time >= base {
            continue;
        }
        let content = files.content(at)?;
        let mark = content.map(|(kind, size, content)| Sources::mark(kind, size, content.as_bytes()));
        differing[at] = sources.iter().any(|sources| sources.get(file.path) != mark.as_ref());
    }
    if come {
        for (at, file) in files.iter().enumerate().filter(|(_, file)| file.source && file.time < base) {
            let name = file.path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
            differing[at] |= LISTS.contains(&name);
        }
    }
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
