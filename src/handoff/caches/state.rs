//! The caches of one runtime, as far as they have come, and what nobody waits for
//! once it has them.

use std::path::Path;

use anyhow::Result;

use super::wanted::Wanted;
use crate::archive::{Owned, Ownership, TreeSummary};
use crate::cache::{Record, Scope, TreeDraft, Trees};
use crate::config::Project;
use crate::digest::Digest;
use crate::disk;
use crate::disk::lock::SharedLock;
use crate::handoff::app::App;
use crate::handoff::report::CacheOrigin;
use crate::handoff::runtimes::Mapped;
use crate::handoff::task::{Pin, Resolved};
use crate::handoff::trust::Checkout;
use crate::handoff::words::shown_list;
use crate::handoff::workspaces::Place;
use crate::handoff::{runtimes, workspaces};
use crate::identity::RepoUrl;
use crate::image::Pulled;
use crate::runtime::{ChangedTree, Receipt};
use crate::ui::counted;

/// The caches of one runtime.
pub(crate) struct Caches<'a> {
    pub(super) app: &'a App,
    pub(super) resolved: &'a Resolved,
    pub(super) project: &'a Project,
    pub(super) pulled: &'a Pulled,
    pub(super) workspace: &'a Path,
    pub(super) trees: Trees,
    pub(super) holder: Mapped,
    pub(super) wanted: Vec<Wanted>,
    pub(super) found: Vec<Option<(Record, CacheOrigin)>>,
    /// The nearest entry is used where the right one cannot be had.
    pub(super) near: bool,
    /// What arrived with the image.
    pub(super) early: Vec<EarlyTree>,
}

impl Caches<'_> {
    pub(super) fn scopes(&self) -> [Scope; 2] {
        scopes(self.resolved)
    }
}

/// Content that has arrived, and whose owners are not settled yet: who the
/// image's user is may not be known.
pub(crate) struct EarlyTree {
    pub(super) key: Digest,
    pub(super) draft: TreeDraft,
    pub(super) owned: Vec<Vec<Owned>>,
    pub(super) record: Record,
    pub(super) expected: Option<TreeSummary>,
    pub(super) bytes: u64,
}

/// The trees of a mapping.
pub(crate) fn trees(app: &App, holder: &dyn Ownership) -> Result<Trees> {
    Ok(Trees::new(app.paths.trees(&holder.key()), app.paths.cache().to_owned(), disk::boot_id()?))
}

/// In whose trust a task's entries may have been sealed, nearest first.
pub(crate) fn scopes(resolved: &Resolved) -> [Scope; 2] {
    // Each run of a checkout is an identity of its own; a space is in no task ID.
    // Any folder may say that it has the same remote.
    let checkout = |checkout: &Checkout| name_of(&resolved.identity.repo.url, &checkout.folder);
    let task = resolved.local.as_ref().map_or_else(|| resolved.task.slug(), checkout);
    scopes_of(&resolved.task.store.to_string(), &task)
}

/// The checkout at a folder, as the name of a task.
pub(super) fn name_of(url: &RepoUrl, folder: &str) -> String {
    format!("checkout of {} {}", url.key(), Digest::of(folder.as_bytes()).hex())
}

pub(crate) fn scopes_of(store: &str, task: &str) -> [Scope; 2] {
    [Scope::Task(format!("{store}:{task}")), Scope::Project(store.to_owned())]
}

/// Keeps entries from being removed, until it is dropped.
pub(crate) fn keep(app: &App) -> Result<SharedLock> {
    SharedLock::acquire(&app.paths.cache_lock("trees"), || {
        app.ui.status("Waiting", "another envctl removes old cache entries");
    })
}

pub(super) fn waiting(app: &App, name: &str) {
    app.ui.status("Waiting", &format!("another envctl is making the cache {name}"));
}

/// Makes what was sealed or fetched outlive a power loss, and notes what the
/// image's layers hold. Losing it costs time.
pub(crate) fn flush(app: &App, pulled: &Pulled, records: &[Record]) {
    let holder = runtimes::holder(app, &pulled.user);
    if let Ok(trees) = trees(app, &holder) {
        let _ = trees.flush(records);
    }
    let diff_ids: Vec<Digest> = pulled.records.iter().map(|record| record.diff_id).collect();
    let _ = pulled.layers.note_content(&diff_ids, &holder);
}

/// The entries that a workspace is given, where that is news.
pub(crate) fn given(resolved: &Resolved, records: &[Record]) -> Option<Vec<String>> {
    let names: Vec<String> = records.iter().map(Trees::name).collect();
    let known = resolved.pin.as_ref().map_or(&[][..], |pin| &pin.trees);
    (known != names).then_some(names)
}

/// Remembers them: they stay as long as the workspace does.
pub(crate) fn note_given(app: &App, resolved: &Resolved, place: &Place, names: Option<Vec<String>>) {
    let Some(names) = names else { return };
    let note = || -> Result<()> {
        let _lock = workspaces::lock(app, resolved, &place.path)?;
        if let Some(pin) = app.pins().read(&resolved.task, place.into())? {
            app.pins().write(&resolved.task, place.into(), &Pin { trees: names, ..pin })?;
        }
        Ok(())
    };
    let _ = note();
}

/// Where compilers keep what they made, by content: they write there in every run.
const COMPILED: [&str; 3] = ["~/.cache/go-build", "~/.cache/ccache", "~/.cache/sccache"];

/// Says what was written into caches and went with the runtime: one line. What a
/// tool builds is written there in every run, and only packages beside it are told.
pub(crate) fn tell_gone(app: &App, receipt: &Receipt, records: &[Record]) {
    let gone = gone_in_words(&receipt.caches, records);
    if !gone.is_empty() {
        let how = "what decides the cache, such as its lockfile";
        app.ui.status("Gone", &format!("{}: to keep it, change {how}", gone.join("; ")));
    }
}

fn gone_in_words(changed: &[ChangedTree], records: &[Record]) -> Vec<String> {
    let compiles = |path: &str| path.split(", ").any(|place| COMPILED.contains(&place));
    let words = |changed: &ChangedTree| {
        let known = records.iter().map(|record| &record.components).find(|made| made.name == changed.name);
        let count = changed.entries.filter(|count| *count > 0)?;
        let packages = changed.packages.len() as u64;
        match known {
            Some(made) if made.built => None,
            _ if packages > 0 => {
                let what = counted(packages, "package", "packages");
                Some(format!("{what} in the cache {} ({})", changed.name, shown_list(&changed.packages)))
            }
            Some(made) if compiles(&made.path) => None,
            _ => Some(format!("{} in the cache {}", counted(count, "change", "changes"), changed.name)),
        }
    };
    changed.iter().filter_map(words).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::{Components, EntryOrigin};

    #[test]
    fn packages_are_named_and_what_a_tool_builds_is_not_told() {
        let record = |name: &str, path: &str, built: bool| {
            let made = Components::new(name, Digest::of(b"image"), "linux/amd64".into()).made("/workspace", path, "x");
            let made = Components { built, ..made };
            Trees::record(made, Scope::Project("store".into()), jiff::Timestamp::UNIX_EPOCH, EntryOrigin::Sealed)
        };
        let records = [
            record("npm", "node_modules", false),
            record("go", "~/go/pkg/mod, ~/.cache/go-build", false),
            record("build", "build", true),
        ];
        let changed = |name: &str, entries: u64, packages: &[&str]| ChangedTree {
            name: name.to_owned(),
            entries: Some(entries),
            packages: packages.iter().map(|package| (*package).to_owned()).collect(),
        };
        let words = |all: &[ChangedTree]| gone_in_words(all, &records);
        assert_eq!(words(&[changed("go", 9, &[]), changed("build", 9, &["a 1"]), changed("npm", 0, &[])]), [""; 0]);
        let named = ["a 1", "b 2", "c 3", "d 4", "e 5"];
        assert_eq!(
            words(&[changed("npm", 90, &named), changed("go", 9, &["x v1"]), changed("other", 1, &[])]),
            [
                "5 packages in the cache npm (a 1, b 2, c 3 and 2 more)",
                "1 package in the cache go (x v1)",
                "1 change in the cache other"
            ]
        );
    }
}
