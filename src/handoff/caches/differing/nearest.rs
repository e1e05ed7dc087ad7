//! The entry that is nearest to one that cannot be had: of the same cache, image and
//! setup, made for other inputs. It is named, and used only where the developer says
//! so; it never counts as the right one. A setup may start from it, where its tool makes
//! of it what it makes from nothing.

use std::collections::BTreeSet;

use super::super::inputs::pins;
use super::super::state::Caches;
use super::super::wanted::Wanted;
use crate::cache::Record;
use crate::clock::age;
use crate::config::Seed;
use crate::handoff::report::CacheOrigin;

/// Setups in a row that start from an older content: what none of them removes must
/// not heap up for ever.
const MOST_GROWN: u32 = 10;

impl Caches<'_> {
    /// Whether the nearest entries are to be used, by the developer's own word.
    pub(crate) fn may_be_near(&mut self, near: bool) {
        self.near = near;
    }

    /// Names the nearest entry of each that is not here, or takes it.
    pub(in crate::handoff::caches) fn look_nearby(&mut self) {
        for index in 0..self.wanted.len() {
            if self.found[index].is_some() || self.is_obstructed(index).unwrap_or(true) {
                continue;
            }
            let wanted = &self.wanted[index];
            let Some(components) = wanted.components.as_ref() else { continue };
            let Some(record) = self.nearest(wanted, &|_, _| true) else { continue };
            let (name, ui) = (&wanted.name, &self.app.ui);
            let when = age(record.sealed_at, self.app.clock.now());
            let differs = self.differences(&record, components).for_another();
            let what = format!("{} of {when}, made for another {differs}", record.key.short());
            if self.near {
                ui.warn(&format!("the cache {name} is the entry {what}: it may hold other versions, or lack some"));
                self.found[index] = Some((record, CacheOrigin::Nearest));
            } else {
                let task = self.resolved.task.quoted();
                ui.warn(&format!(
                    "nearest to the cache {name} is the entry {what}: envctl enter {task} --nearest-caches uses it"
                ));
            }
        }
    }

    /// The entry that a setup may start from.
    pub(in crate::handoff::caches) fn seed(&self, wanted: &Wanted) -> Option<Record> {
        let (entry, components) = (wanted.entry.as_ref()?, wanted.components.as_ref()?);
        let known = entry.either.iter().chain(&entry.also).filter_map(|input| input.rsplit('/').next());
        let known: BTreeSet<&str> = known.collect();
        // What a tool brings up to date, and nothing that only others know of.
        let converges = |record: &Record, differs: &[String]| {
            let named = |path: &String| path.rsplit('/').next().is_some_and(|name| known.contains(name));
            let scripts = || {
                let before = self.trees.pins(record);
                before.is_none_or(|pins| pins.scripts) || pins(self.workspace, &components.inputs).scripts
            };
            record.grown < MOST_GROWN && differs.iter().all(named) && !scripts()
        };
        match entry.seed {
            Seed::Never => None,
            Seed::Known => self.nearest(wanted, &converges),
            Seed::Always => self.nearest(wanted, &|record, _| record.grown < MOST_GROWN),
        }
    }

    /// The entry of which the fewest inputs differ; of several the last one that was
    /// made. Told with it are those inputs.
    fn nearest(&self, wanted: &Wanted, may: &dyn Fn(&Record, &[String]) -> bool) -> Option<Record> {
        // What is built from sources would be taken for theirs.
        let components = wanted.components.as_ref().filter(|_| wanted.entry.is_some() && !wanted.built)?;
        let scopes = self.scopes();
        let alike = |record: Record| {
            let all = components.difference(&record.components);
            let differs: Option<Vec<String>> =
                all.iter().map(|(name, ..)| name.strip_prefix("input ").map(str::to_owned)).collect();
            let differs = differs.filter(|differs| !differs.is_empty() && may(&record, differs))?;
            Some((differs.len(), record))
        };
        let all = self.trees.all().into_iter();
        let mine = all.filter(|record| record.components.name == wanted.name && scopes.contains(&record.scope));
        let near = mine.filter(|record| self.trees.get(&record.key, &record.scope).is_some()).filter_map(alike);
        near.min_by_key(|(count, record)| (*count, std::cmp::Reverse(record.sealed_at))).map(|(_, record)| record)
    }
}
