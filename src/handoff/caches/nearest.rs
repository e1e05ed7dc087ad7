//! The entry that is nearest to one that cannot be had: of the same cache, image and
//! setup, made for other inputs. It is named, and used only where the developer says
//! so; it never counts as the right one.

use super::state::Caches;
use super::wanted::Wanted;
use crate::cache::Record;
use crate::clock::age;
use crate::handoff::report::CacheOrigin;
use crate::handoff::words::{quote, shown_list};

impl Caches<'_> {
    /// Whether the nearest entries are to be used, by the developer's own word.
    pub(crate) fn may_be_near(&mut self, near: bool) {
        self.near = near;
    }

    /// Names the nearest entry of each that is not here, or takes it.
    pub(super) fn look_nearby(&mut self) {
        for index in 0..self.wanted.len() {
            if self.found[index].is_some() || self.is_obstructed(index).unwrap_or(true) {
                continue;
            }
            let wanted = &self.wanted[index];
            let Some((record, differs)) = self.nearest(wanted) else { continue };
            let (name, ui) = (&wanted.name, &self.app.ui);
            let when = age(record.sealed_at, self.app.clock.now());
            let what = format!("{} of {when}, made for another {}", record.key.short(), shown_list(&differs));
            if self.near {
                ui.warn(&format!("the cache {name} is the entry {what}: it may hold other versions, or lack some"));
                self.found[index] = Some((record, CacheOrigin::Nearest));
            } else {
                let task = self.resolved.task.reference();
                ui.warn(&format!(
                    "nearest to the cache {name} is the entry {what}: envctl enter {task} --nearest-caches uses it"
                ));
            }
        }
    }

    /// The entry of which the fewest inputs differ, and which these are; of several
    /// the last one that was made.
    fn nearest(&self, wanted: &Wanted) -> Option<(Record, Vec<String>)> {
        // What is built from sources would be taken for theirs.
        let components = wanted.components.as_ref().filter(|_| wanted.entry.is_some() && !wanted.built)?;
        let scopes = self.scopes();
        let alike = |record: Record| {
            let all = components.difference(&record.components);
            let differs: Option<Vec<String>> =
                all.iter().map(|(name, ..)| name.strip_prefix("input ").map(quote)).collect();
            differs.filter(|differs| !differs.is_empty()).map(|differs| (record, differs))
        };
        let all = self.trees.all().into_iter();
        let mine = all.filter(|record| record.components.name == wanted.name && scopes.contains(&record.scope));
        let near = mine.filter(|record| self.trees.get(&record.key, &record.scope).is_some()).filter_map(alike);
        near.min_by_key(|(record, differs)| (differs.len(), std::cmp::Reverse(record.sealed_at)))
    }
}
