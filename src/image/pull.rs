//! Bringing an image's layers into the cache, as the image's own user sees
//! them: the id mapping of a runtime depends on who that is, and the files of
//! a layer belong to somebody only under a mapping. Where the user is known
//! only by name, the layers that say it are unpacked first and get their owners
//! after. Those that are here for another image are read where they lie.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};

use super::layer::{self, Extracted, LayerRecord, Layers};
use super::{Image, User, user};
use crate::archive::Ownership;
use crate::digest::Digest;
use crate::disk::{self, Durability, lock::FileLock};
use crate::error::of_thread;
use crate::oci::{Blobs, Descriptor};
use crate::paths::Paths;

/// An id that no image may use: nothing counts as the developer's own yet.
const NOBODY_YET: (u32, u32) = (u32::MAX, u32::MAX);

/// Told how many more bytes have moved.
pub type Moved<'a> = Box<dyn Fn(u64) -> std::io::Result<()> + Sync + Send + 'a>;

/// What pulling has to tell while it runs.
pub trait PullWatch: Sync {
    /// A layer starts; the returned function is called with bytes moved. Its
    /// error stops the pull.
    fn layer<'a>(&'a self, layer: &Descriptor) -> Moved<'a>;
    /// Another process works on the same layer.
    fn waiting(&self, layer: &Descriptor);
}

/// Decides who files belong to when commands run as a given user.
pub trait Owners {
    /// The ownership for the image's user.
    fn of(&self, user: &User) -> Box<dyn Ownership>;
}

/// An image that is ready to run.
#[derive(Clone, Debug)]
pub struct Pulled {
    /// Who commands run as.
    pub user: User,
    /// Where its layers are.
    pub layers: Layers,
    /// Trees of the layers that show, lowest first.
    pub trees: Vec<PathBuf>,
    /// What is known about each.
    pub records: Vec<LayerRecord>,
    /// Layers that had to be unpacked.
    pub fetched: usize,
    /// Compressed bytes that were read for that.
    pub bytes: u64,
}

/// Where layers come from, and who is told of it.
struct Origin<'a> {
    blobs: &'a dyn Blobs,
    watch: &'a dyn PullWatch,
}

/// The image caches of this machine.
#[derive(Clone, Debug)]
pub struct ImageCache<'a> {
    paths: &'a Paths,
    boot_id: String,
}

impl<'a> ImageCache<'a> {
    /// The caches at `paths`, in the boot `boot_id`.
    pub fn new(paths: &'a Paths, boot_id: String) -> Self {
        ImageCache { paths, boot_id }
    }

    fn layers(&self, mapping: &str) -> Layers {
        Layers::new(self.paths.layers(mapping), self.paths.cache().to_owned(), self.boot_id.clone())
    }

    /// Where it is noted who its user is.
    fn record(&self, image: &Image) -> PathBuf {
        self.paths.image_user(&image.digest, image.asked.as_deref())
    }

    /// The image if nothing of it is missing.
    pub fn local(&self, image: &Image, owners: &dyn Owners) -> Option<Pulled> {
        let user: User = disk::read_json(&self.record(image)).ok()??;
        let layers = self.layers(&owners.of(&user).key());
        let records = image.layers.iter().map(|(_, diff_id)| layers.get(diff_id)).collect::<Option<Vec<_>>>()?;
        Some(pulled(image, user, layers, records))
    }

    /// Which layers of the image are here, lowest first. Where its user was never
    /// looked up, it is who the layers that are here say.
    pub fn have(&self, image: &Image, owners: &dyn Owners) -> Vec<bool> {
        let spec = image.user();
        let known: Option<User> = disk::read_json(&self.record(image)).unwrap_or_default();
        // Whose files they are decides where they lie.
        let user = known.or_else(|| user::is_root(spec).then(User::root));
        let user = user.or_else(|| certain(spec, &in_order(image, &self.elsewhere(image))));
        let layers = user.map(|user| self.layers(&owners.of(&user).key()));
        let have = |diff_id: &Digest| layers.as_ref().is_some_and(|layers| layers.get(diff_id).is_some());
        image.layers.iter().map(|(_, diff_id)| have(diff_id)).collect()
    }

    /// The trees of those layers that are here, whoever their files belong to: the
    /// image's accounts stand in the same files under every mapping.
    fn elsewhere(&self, image: &Image) -> BTreeMap<Digest, PathBuf> {
        let mappings = fs::read_dir(self.paths.all_layers()).into_iter().flatten().flatten();
        let mappings: Vec<Layers> =
            mappings.filter_map(|entry| Some(self.layers(entry.file_name().to_str()?))).collect();
        let tree = |diff_id: &Digest| Some(mappings.iter().find(|layers| layers.get(diff_id).is_some())?.tree(diff_id));
        image.layers.iter().filter_map(|(_, diff_id)| Some((*diff_id, tree(diff_id)?))).collect()
    }

    /// Pulls what is missing, as many layers at a time as there are cores.
    ///
    /// # Errors
    /// The first failure; layers that were complete stay, nothing else does.
    pub fn pull(&self, image: &Image, owners: &dyn Owners, blobs: &dyn Blobs, watch: &dyn PullWatch) -> Result<Pulled> {
        let (spec, origin) = (image.user(), Origin { blobs, watch });
        let known: Option<User> = disk::read_json(&self.record(image)).unwrap_or_default();
        if let Some(user) = known.or_else(|| user::is_root(spec).then(User::root)) {
            let ownership = owners.of(&user);
            let layers = self.layers(&ownership.key());
            let pulled = complete(image, user, (layers, &*ownership), &origin)?;
            let trees: Vec<PathBuf> = image.layers.iter().map(|(_, diff_id)| pulled.layers.tree(diff_id)).collect();
            let actual = user::own(spec, &trees)?;
            if (actual.uid, actual.gid) == (pulled.user.uid, pulled.user.gid) {
                return self.settled(image, Pulled { user: actual, ..pulled });
            }
        }
        // Whoever waits here finds the image complete, and its user known.
        let _alone = self.layers("unknown").lock(&image.digest, || {
            image.layers.iter().for_each(|(layer, _)| watch.waiting(layer));
        })?;
        match self.local(image, owners) {
            Some(pulled) => Ok(pulled),
            None => self.settled(image, self.pull_for_somebody(image, owners, &origin)?),
        }
    }

    fn settled(&self, image: &Image, pulled: Pulled) -> Result<Pulled> {
        disk::write_json(&self.record(image), &pulled.user, Durability::Cached)?;
        Ok(pulled)
    }

    /// Unpacks what is missing until the image says who its user is, and then what is
    /// missing for them.
    fn pull_for_somebody(&self, image: &Image, owners: &dyn Owners, origin: &Origin<'_>) -> Result<Pulled> {
        // Nothing is ever stored under this name.
        let nowhere = self.layers("unknown");
        let (mut here, spec) = (self.elsewhere(image), image.user());
        let (unpacked, user) = loop {
            let unpacked = unpack(image, (&nowhere, &|diff_id| here.contains_key(diff_id)), NOBODY_YET, origin)?;
            let trees = unpacked.trees(image, &here);
            if here.is_empty() {
                break (unpacked, user::own(spec, &trees)?);
            }
            if let Some(user) = certain(spec, &trees) {
                break (unpacked, user);
            }
            // Who owns nothing there may not be able to read it.
            here.clear();
        };
        let ownership = owners.of(&user);
        let layers = self.layers(&ownership.key());
        let (fetched, bytes) = (unpacked.fetched, unpacked.bytes);
        unpacked.place(&layers, &*ownership)?;
        let pulled = complete(image, user, (layers, &*ownership), origin)?;
        Ok(Pulled { fetched: pulled.fetched + fetched, bytes: pulled.bytes + bytes, ..pulled })
    }
}

/// Who a `USER` is by these trees, if they leave no doubt: an account that they name.
fn certain(spec: Option<&str>, trees: &[PathBuf]) -> Option<User> {
    user::resolve(spec, trees).ok().filter(|user| user.name.is_some())
}

/// The trees of an image's layers, lowest first, without those that are not there.
fn in_order(image: &Image, trees: &BTreeMap<Digest, PathBuf>) -> Vec<PathBuf> {
    image.layers.iter().filter_map(|(_, diff_id)| trees.get(diff_id).cloned()).collect()
}

/// Unpacks the layers that this mapping lacks.
fn complete(
    image: &Image,
    user: User,
    (layers, ownership): (Layers, &dyn Ownership),
    origin: &Origin<'_>,
) -> Result<Pulled> {
    let unpacked = unpack(image, (&layers, &|diff_id| layers.get(diff_id).is_some()), ownership.own_ids(), origin)?;
    let (fetched, bytes) = (unpacked.fetched, unpacked.bytes);
    unpacked.place(&layers, ownership)?;
    let all = image.layers.iter().map(|(_, diff_id)| layers.get(diff_id));
    let records = all.map(|record| record.context("a layer vanished from the cache while it was pulled"));
    let records = records.collect::<Result<Vec<_>>>()?;
    Ok(Pulled { fetched, bytes, ..pulled(image, user, layers, records) })
}

fn pulled(image: &Image, user: User, layers: Layers, records: Vec<LayerRecord>) -> Pulled {
    let lowest = records.iter().rposition(|record| record.counts.opaque_root).unwrap_or(0);
    let trees = image.layers[lowest..].iter().map(|(_, diff_id)| layers.tree(diff_id)).collect();
    Pulled { user, layers, trees, records, fetched: 0, bytes: 0 }
}

/// Layers in their private folders, with the locks that keep others off them.
struct Unpacked {
    extracted: Vec<Extracted>,
    failure: Option<anyhow::Error>,
    fetched: usize,
    bytes: u64,
    _locks: Vec<FileLock>,
}

impl Unpacked {
    /// The trees of all layers, lowest first: the private ones, and those that are here.
    fn trees(&self, image: &Image, here: &BTreeMap<Digest, PathBuf>) -> Vec<PathBuf> {
        let mut trees = here.clone();
        trees.extend(self.extracted.iter().map(|layer| (*layer.diff_id(), layer.tree())));
        in_order(image, &trees)
    }

    /// Makes them visible. What is complete stays although another failed.
    fn place(self, layers: &Layers, ownership: &dyn Ownership) -> Result<()> {
        for layer in self.extracted {
            layers.publish(layer, ownership)?;
        }
        self.failure.map_or(Ok(()), Err)
    }
}

/// Unpacks what is not here yet.
fn unpack(
    image: &Image,
    (layers, here): (&Layers, &dyn Fn(&Digest) -> bool),
    own_ids: (u32, u32),
    origin: &Origin<'_>,
) -> Result<Unpacked> {
    let mut missing: Vec<&(Descriptor, Digest)> = image.layers.iter().filter(|(_, diff_id)| !here(diff_id)).collect();
    // One order for all processes, so that their locks cannot cross; and a
    // layer that an image lists twice is pulled once.
    missing.sort_by_key(|(_, diff_id)| *diff_id);
    missing.dedup_by_key(|(_, diff_id)| *diff_id);
    if !missing.is_empty() {
        let compressed: u64 = missing.iter().map(|(layer, _)| layer.size).sum();
        layers.check_space(compressed.saturating_mul(2))?;
    }
    let mut locks = Vec::new();
    for (descriptor, diff_id) in &missing {
        locks.push(layers.lock(diff_id, || origin.watch.waiting(descriptor))?);
    }
    missing.retain(|(_, diff_id)| !here(diff_id));
    let (extracted, failure) = extract_all(&missing, layers, own_ids, origin)?;
    let bytes = missing.iter().map(|(layer, _)| layer.size).sum();
    let unpacked = Unpacked { extracted, failure, fetched: missing.len(), bytes, _locks: locks };
    match unpacked.failure {
        // Without a mapping there is no place for those that are complete.
        Some(failure) if own_ids == NOBODY_YET => Err(failure),
        _ => Ok(unpacked),
    }
}

fn extract_all(
    missing: &[&(Descriptor, Digest)],
    layers: &Layers,
    own_ids: (u32, u32),
    Origin { blobs, watch }: &Origin<'_>,
) -> Result<(Vec<layer::Extracted>, Option<anyhow::Error>)> {
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(missing.len());
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::new());
    let work = || {
        while let Some((descriptor, diff_id)) = missing.get(next.fetch_add(1, Ordering::Relaxed)) {
            let moved = watch.layer(descriptor);
            let outcome = blobs
                .open(descriptor)
                .and_then(|content| layers.extract(descriptor, diff_id, content, own_ids, &*moved));
            if outcome.is_err() {
                // No further layer is started.
                next.store(missing.len(), Ordering::Relaxed);
            }
            if let Ok(mut results) = results.lock() {
                results.push(outcome);
            }
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|thread| of_thread(thread.join(), "a thread that unpacks layers"))
    })?;
    let results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    let (mut extracted, mut failure) = (Vec::new(), None);
    for result in results {
        match result {
            Ok(layer) => extracted.push(layer),
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    Ok((extracted, failure))
}
