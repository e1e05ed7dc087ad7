//! Hostile repositories and snapshots, by the numbers of the list of known
//! attacks. A refused snapshot leaves nothing behind.

mod config;
mod documents;
mod library;
mod links;
mod owners;
mod submodules;
mod trees;

use crate::support::{Forged, Objects, Outside, Trip, forge};

/// A developer's machine with things around that nobody may touch.
struct Range {
    trip: Trip,
    outside: Outside,
}

impl Range {
    fn new() -> Self {
        let trip = Trip::new();
        let outside = Outside::of(&trip.lab.dev);
        // There is always a pack.
        trip.lab.repo.write("untracked", "x");
        Range { trip, outside }
    }

    /// A snapshot with these entries in its topmost tree; what `enter` takes.
    #[track_caller]
    fn forge_tree(&self, make: impl FnOnce(&mut Objects<'_>) -> String) -> String {
        let mut objects = Objects::of(&self.trip.lab.repo);
        let tree = make(&mut objects);
        forge(&self.trip, |forged| {
            forged.document["tree"] = tree.into();
            forged.pack = Some(objects.pack());
        })
    }

    /// The tree is refused as a whole, and `enter` says why.
    #[track_caller]
    fn refuses_tree(&self, says: &[&str], make: impl FnOnce(&mut Objects<'_>) -> String) {
        let task = self.forge_tree(make);
        self.refuses(&task, 5, says);
    }

    /// The edited documents are refused.
    #[track_caller]
    fn refuses_edit(&self, code: i32, says: &[&str], edit: impl FnOnce(&mut Forged)) {
        let task = forge(&self.trip, edit);
        self.refuses(&task, code, says);
    }

    #[track_caller]
    fn refuses(&self, task: &str, code: i32, says: &[&str]) {
        self.trip.refuses_to_enter(task, code, says);
        self.outside.assert_untouched();
        self.outside.assert_no_trace_of("evil");
    }
}
