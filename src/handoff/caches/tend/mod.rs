//! Keeping the caches at their size: by age, by size, by what is free. Never
//! what a runtime or a workspace needs.
//!
//! Whoever starts a runtime holds a shared lock from before the first look at
//! a cache until its lease is written; removal takes the same lock alone, and
//! looks at the leases under it.

mod parts;
mod tended;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use jiff::Timestamp;

use self::parts::{Spare, parts};
use crate::cache::{Record, Trees};
use crate::digest::Digest;
use crate::disk::{self, lock};
use crate::handoff::app::App;
use crate::handoff::runtimes;
use crate::handoff::runtimes::Mapped;
use crate::handoff::task::Pin;
use crate::handoff::workspaces::Inquiry;
use crate::identity::Identity;
use crate::image::{Layers, Metadata};

pub use self::tended::Tended;

/// In seconds.
const DAY: i64 = 86_400;

/// What is kept of what nobody needs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules {
    /// Unused for longer goes.
    pub(crate) max_age: Option<Duration>,
    /// The rest may hold this many bytes together; what was not used longest goes.
    pub(crate) max_size: Option<u64>,
    /// This many bytes, and a thousandth of the inodes, stay free.
    pub(crate) min_free: u64,
    /// Only entries whose key begins so.
    pub(crate) key: Option<String>,
    /// Say, and do nothing.
    pub(crate) dry_run: bool,
}

/// Somebody who may read and remove every file of this user's caches.
pub(crate) fn anybody(app: &App) -> Mapped {
    runtimes::holder(app, &crate::image::User::root())
}

/// The trees of every mapping.
pub(crate) fn all_trees(app: &App) -> Result<Vec<Trees>> {
    let boot = disk::boot_id()?;
    let folders = fs::read_dir(app.paths.all_trees()).into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = folders.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    folders.sort();
    Ok(folders.into_iter().map(|folder| Trees::new(folder, app.paths.cache().to_owned(), boot.clone())).collect())
}

/// The layers of every mapping, and where they lie.
pub(crate) fn all_layers(app: &App) -> Result<Vec<Layers>> {
    let boot = disk::boot_id()?;
    let folders = fs::read_dir(app.paths.all_layers()).into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = folders.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    folders.sort();
    Ok(folders.into_iter().map(|folder| Layers::new(folder, app.paths.cache().to_owned(), boot.clone())).collect())
}

/// What must stay, and for whose sake.
pub(crate) struct Needed {
    /// Trees under live runtimes.
    leased: BTreeSet<PathBuf>,
    /// Keys of entries that a workspace was last given, in whichever scope they
    /// are now.
    pinned: BTreeSet<String>,
    /// Layers of images that workspaces and runtimes have.
    layers: BTreeSet<Digest>,
    /// What those were made from.
    identities: Vec<Identity>,
}

/// The task's image, and those of its services.
fn images_of(identity: &Identity) -> impl Iterator<Item = Digest> {
    let services = identity.services.iter().map(|service| service.toolchain.image.digest);
    std::iter::once(identity.toolchain.image.digest).chain(services)
}

impl Needed {
    pub(crate) fn look(app: &App) -> Result<Self> {
        let live = app.runtimes().live()?;
        // A folder that a person removed needs nothing any more.
        let pins: Vec<Pin> = app.pins().all()?.into_iter().filter(|pin| pin.workspace.exists()).collect();
        let named = pins.iter().map(|pin| pin.identity);
        let named = named.chain(live.iter().filter_map(|lease| lease.identity.parse().ok()));
        let named: BTreeSet<Digest> = named.collect();
        let identities: Vec<Identity> =
            named.iter().filter_map(|digest| app.pins().identity(digest).ok().flatten()).collect();
        let images: BTreeSet<Digest> = identities.iter().flat_map(images_of).collect();
        let metadata = Metadata { paths: &app.paths };
        let images = images.iter().filter_map(|digest| metadata.local(digest).ok()?);
        Ok(Needed {
            leased: live.into_iter().flat_map(|lease| lease.tree_paths).collect(),
            pinned: pins.into_iter().flat_map(|pin| pin.trees).map(key_of).collect(),
            identities,
            layers: images.flat_map(|image| image.layers.into_iter().map(|(_, diff_id)| diff_id)).collect(),
        })
    }

    /// `lease` or `workspace`.
    pub(crate) fn why(&self, tree: &Path) -> Option<&'static str> {
        if self.leased.contains(tree) {
            return Some("lease");
        }
        let name = tree.parent()?.parent()?.file_name()?.to_string_lossy();
        self.pinned.contains(&key_of(name.into_owned())).then_some("workspace")
    }
}

/// The key in the name of an entry's folder.
fn key_of(name: String) -> String {
    name.split('-').next().unwrap_or_default().to_owned()
}

enum Thing<'a> {
    Tree(&'a Trees, Box<Record>),
    Layer(&'a Layers, Digest),
    Part(Box<Spare>),
}

struct Candidate<'a> {
    thing: Thing<'a>,
    shown: Tended,
}

/// Removes what the rules say, least recently used first. `wait` says whether
/// to wait for runtimes that are being started. `None` when that was not
/// wanted and necessary.
///
/// # Errors
/// When something cannot be looked at.
pub(crate) fn tend(app: &App, rules: &Rules, wait: bool) -> Result<Option<Vec<Tended>>> {
    let path = app.paths.cache_lock("trees");
    let _lock = if wait {
        lock::FileLock::acquire(&path, || app.ui.status("Waiting", "another envctl is starting a runtime"))?
    } else {
        match lock::FileLock::attempt(&path)? {
            Some(lock) => lock,
            None => return Ok(None),
        }
    };
    let needed = Needed::look(app)?;
    let (trees, layers) = (all_trees(app)?, all_layers(app)?);
    let (mut candidates, mut total) = candidates(&trees, &layers, &needed, rules);
    let (parts, bytes) = parts(app, &needed.identities);
    total += bytes;
    let parts = parts.into_iter().filter(|_| rules.key.is_none());
    candidates.extend(parts.map(|part| Candidate { shown: part.shown.clone(), thing: Thing::Part(Box::new(part)) }));
    candidates.sort_by_key(|candidate| candidate.shown.last_use);
    let mut gone = Vec::new();
    let holder = anybody(app);
    if !rules.dry_run {
        clear(&trees, &layers, &holder);
    }
    let (mut freed, mut inquiry) = (0, Inquiry::new(app));
    for mut candidate in candidates {
        let (free, inodes) = disk::free_space(app.paths.cache()).unwrap_or((u64::MAX, u64::MAX));
        let free = if rules.dry_run { free.saturating_add(freed) } else { free };
        let Some(why) = rules.why(app, candidate.shown.last_use, total, (free, inodes)) else { continue };
        candidate.shown.why = why;
        total -= candidate.shown.bytes.min(total);
        freed += candidate.shown.bytes;
        if !rules.dry_run {
            let removed = match &candidate.thing {
                Thing::Tree(trees, record) => trees.remove(record, &holder),
                Thing::Layer(layers, diff_id) => layers.remove(diff_id, &holder),
                Thing::Part(part) => part.remove(app, &mut inquiry),
            };
            if let Err(error) = removed {
                app.ui.warn(&format!("{} {} stays: {error:#}", candidate.shown.kind, candidate.shown.name));
                continue;
            }
        }
        gone.push(candidate.shown);
    }
    Ok(Some(gone))
}

impl Rules {
    /// Why something goes that was used then, while all caches hold so much and so many
    /// bytes and inodes are free; none where it stays.
    fn why(&self, app: &App, last: Option<Timestamp>, total: u64, free: (u64, u64)) -> Option<&'static str> {
        let (bytes, inodes) = free;
        if self.key.is_some() {
            Some("it was named")
        } else if self.is_old(app, last) {
            Some("nobody used it lately")
        } else if self.max_size == Some(0) {
            Some("nothing needs it")
        } else if self.max_size.is_some_and(|most| total > most) {
            Some("the caches are larger than they may be")
        } else if bytes < self.min_free || inodes < 4096 {
            Some("the disk is nearly full")
        } else {
            None
        }
    }

    fn is_old(&self, app: &App, last: Option<Timestamp>) -> bool {
        let age = last.map(|last| app.clock.now().as_second() - last.as_second());
        // A time that is still to come was given by a clock that was wrong.
        let known = age.filter(|age| *age > -DAY);
        self.max_age.is_some_and(|most| known.is_none_or(|age| age > most.as_secs() as i64))
    }
}

/// Removes what holds nothing that could be used, such as what a reboot cut
/// short. What cannot be removed waits.
fn clear(trees: &[Trees], layers: &[Layers], holder: &Mapped) {
    for trees in trees {
        trees.broken().iter().for_each(|place| {
            let _ = trees.remove_broken(place, holder);
        });
    }
    for layers in layers {
        layers.broken().iter().for_each(|diff_id| {
            let _ = layers.remove(diff_id, holder);
        });
    }
}

fn candidates<'a>(
    trees: &'a [Trees],
    layers: &'a [Layers],
    needed: &Needed,
    rules: &Rules,
) -> (Vec<Candidate<'a>>, u64) {
    let (mut all, mut total) = (Vec::new(), 0);
    let named = |key: &Digest| rules.key.as_ref().is_none_or(|wanted| key.hex().starts_with(wanted.as_str()));
    for trees in trees {
        for record in trees.all() {
            total += record.tree.bytes;
            if needed.why(&trees.tree(&record)).is_some() || !named(&record.key) {
                continue;
            }
            let last_use = trees.uses(&record).1.or(Some(record.sealed_at));
            let (name, key, bytes) = (record.components.name.clone(), record.key, record.tree.bytes);
            let shown = Tended { kind: "cache", name, key, bytes, last_use, why: "" };
            all.push(Candidate { thing: Thing::Tree(trees, Box::new(record)), shown });
        }
    }
    for layers in layers {
        for (record, last_use) in layers.all() {
            total += record.counts.bytes;
            if needed.layers.contains(&record.diff_id) || !named(&record.diff_id) {
                continue;
            }
            let name = record.diff_id.short();
            let shown =
                Tended { kind: "layer", name, key: record.diff_id, bytes: record.counts.bytes, last_use, why: "" };
            all.push(Candidate { thing: Thing::Layer(layers, record.diff_id), shown });
        }
    }
    (all, total)
}

/// What the user's configuration says, for collections that nobody asked for.
pub(crate) fn configured(app: &App) -> Rules {
    let (max_size, min_free) = app.user.cache_sizes();
    Rules { max_age: Some(app.user.max_cache_age()), max_size, min_free, key: None, dry_run: false }
}

/// Makes room before much is written, where the disk is nearly full.
pub(crate) fn make_room(app: &App) {
    let rules = Rules { max_age: None, max_size: None, ..configured(app) };
    let tight = disk::free_space(app.paths.cache()).is_ok_and(|(free, inodes)| free < rules.min_free || inodes < 4096);
    if tight
        && let Ok(Some(gone)) = tend(app, &rules, false)
        && !gone.is_empty()
    {
        let bytes = gone.iter().map(|one| one.bytes).sum();
        app.ui.status("Evicted", &format!("{} of the caches, {}", gone.len(), crate::ui::human_bytes(bytes)));
    }
}
