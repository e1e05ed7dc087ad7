//! What lies in the caches beside trees and layers: documents of images and
//! snapshots, packs, notes on images; and the mirrors of repositories, which count
//! as well, because they can be had again.
//!
//! Invariants: what a workspace or a runtime needs is no candidate. A mirror goes
//! only while no repository of this machine borrows from it, and after its remote
//! said that it has all of it. Whoever makes a workspace holds [`crate::handoff::caches::keep`].

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::tended::Tended;
use crate::digest::Digest;
use crate::disk::{self, lock::FileLock, remove};
use crate::handoff::app::App;
use crate::handoff::task::Pin;
use crate::handoff::workspaces::{Inquiry, children, homes, is_older, written_at};
use crate::identity::{Identity, StoreRef};
use crate::oci::{ImageConfig, MAX_METADATA, Manifest};
use crate::paths::Paths;
use crate::snapshot::{Document, MAX_DOCUMENT};

/// So long a store of images may be written to before anything else names it.
const HOUR: Duration = Duration::from_secs(3600);

/// Something that nobody needs.
pub(super) struct Spare {
    what: PartKind,
    path: PathBuf,
    pub(super) shown: Tended,
}

enum PartKind {
    /// A file of the cache.
    File,
    /// The images of this machine that runs of checkouts use.
    Images,
    /// The mirror of the repository of this identity.
    Mirror(Box<Identity>),
}

/// All of them, and the bytes of those that are needed as well.
pub(super) fn parts(app: &App, identities: &[Identity]) -> (Vec<Spare>, u64) {
    let mut found = Vec::new();
    let mut total = files(app, identities, &mut found);
    total += images(app, &mut found);
    total += mirrors(app, &mut found);
    (found, total)
}

/// Small files, by the digest in their names; the bytes of all of them.
fn files(app: &App, identities: &[Identity], found: &mut Vec<Spare>) -> u64 {
    let needed: BTreeSet<Digest> = identities.iter().flat_map(|identity| blobs_of(app, identity)).collect();
    let folders = [
        ("blob", "blobs/sha256"),
        ("note", "users"),
        ("note", "seen"),
        ("note", "forms"),
        ("note", "places"),
        ("note", "brought"),
    ];
    let mut total = 0;
    for (kind, folder) in folders {
        for path in children(&app.paths.cache().join(folder)) {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let Ok(meta) = fs::symlink_metadata(&path) else { continue };
            total += meta.len();
            // What is being written has no such name yet.
            let Some(Ok(key)) = name.get(..64).map(Digest::from_hex) else { continue };
            if needed.contains(&key) {
                continue;
            }
            let (bytes, last_use) = (meta.len(), written_at(&path));
            let shown = Tended { kind, name: key.short(), key, bytes, last_use, why: "" };
            found.push(Spare { what: PartKind::File, path, shown });
        }
    }
    total
}

/// The store of local images, as a whole: it names its own parts. One that was just
/// written may be somebody's who has no lease yet.
fn images(app: &App, found: &mut Vec<Spare>) -> u64 {
    let path = app.paths.local_images();
    let index = path.join("index.json");
    if !index.exists() {
        return 0;
    }
    let bytes = size(&path);
    let store = StoreRef::Layout(path.clone()).to_string();
    let needed = app.pins().all().is_ok_and(|pins| pins.iter().any(|pin| pin.store == store && pin.workspace.exists()))
        || app.runtimes().live().is_ok_and(|live| live.iter().any(|lease| lease.store == store))
        || !is_older(app, &index, HOUR);
    if !needed {
        let (key, last_use) = (Digest::of(store.as_bytes()), written_at(&index));
        let shown = Tended { kind: "images", name: "of this machine".into(), key, bytes, last_use, why: "" };
        found.push(Spare { what: PartKind::Images, path, shown });
    }
    bytes
}

/// What is kept of an identity: the snapshot, its pack, the documents of the image and of
/// those of its services, and what is noted of their layers.
fn blobs_of(app: &App, identity: &Identity) -> Vec<Digest> {
    let snapshot = identity.snapshot_id;
    let document = kept(app, &snapshot, MAX_DOCUMENT).and_then(|bytes| Document::parse(&bytes).ok());
    let pack = document.and_then(|document| Some(document.pack?.digest));
    let services = identity.services.iter().map(|service| service.toolchain.image.digest);
    let images = std::iter::once(identity.toolchain.image.digest).chain(services);
    std::iter::once(snapshot).chain(pack).chain(images.flat_map(|image| blobs_of_image(app, image))).collect()
}

fn kept(app: &App, digest: &Digest, most: u64) -> Option<Vec<u8>> {
    disk::read_file(&app.paths.blob(digest), most).ok().flatten()
}

fn blobs_of_image(app: &App, image: Digest) -> Vec<Digest> {
    let manifest = kept(app, &image, MAX_METADATA).and_then(|bytes| Manifest::parse(&bytes).ok());
    let config = manifest.as_ref().map(|manifest| manifest.config.digest);
    let mut all: Vec<Digest> = std::iter::once(image).chain(config).collect();
    // What is noted of layers bears their digests, packed or not.
    all.extend(manifest.iter().flat_map(|manifest| manifest.layers.iter().map(|layer| layer.digest)));
    let known = config.and_then(|config| ImageConfig::parse(&kept(app, &config, MAX_METADATA)?).ok());
    all.extend(known.into_iter().flat_map(|config| config.rootfs.diff_ids));
    all
}

/// Mirrors from which nobody borrows; the bytes of all of them.
fn mirrors(app: &App, found: &mut Vec<Spare>) -> u64 {
    let mut total = 0;
    let borrowed = borrowed(app);
    for path in children(&app.paths.repos()).into_iter().filter(|path| path.join("HEAD").exists()) {
        let bytes = size(&path);
        total += bytes;
        let key = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let is_borrowed =
            borrowed.as_ref().is_none_or(|all| all.contains(&path)) || has_folders(app, &key) || is_away(app, &key);
        // Who would be asked is written in an identity.
        let found_identity = if is_borrowed { None } else { app.pins().of_repository(&key) };
        let Some(identity) = found_identity else { continue };
        let last_use = ["", "objects/pack", "refs/envctl/keep"].iter().filter_map(|name| written_at(&path.join(name)));
        let last_use = last_use.max();
        let shown = Tended {
            kind: "mirror",
            name: identity.repo.url.to_string(),
            key: Digest::of(key.as_bytes()),
            bytes,
            last_use,
            why: "",
        };
        found.push(Spare { what: PartKind::Mirror(Box::new(identity)), path, shown });
    }
    total
}

/// The mirrors from which workspaces and salvages borrow; `None` when that cannot be
/// found out.
fn borrowed(app: &App) -> Option<BTreeSet<PathBuf>> {
    let mut all = BTreeSet::new();
    for home in homes(app).ok()? {
        match fs::read_to_string(home.join(".git/objects/info/alternates")) {
            Ok(list) => all.extend(list.lines().filter_map(|line| Path::new(line).parent().map(Path::to_owned))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(_) => return None,
        }
    }
    Some(all)
}

/// Whether anything lies where the workspaces of a repository do.
fn has_folders(app: &App, key: &str) -> bool {
    let folder = app.paths.workspaces().join(key);
    Paths::workspace_folders(&folder).iter().any(|kind| !children(kind).is_empty()) || folder.join("project").exists()
}

/// Whether a folder that the developer named for a workspace of a repository is not
/// where it was: on a disk that is not mounted, perhaps.
fn is_away(app: &App, key: &str) -> bool {
    let pins = app.pins();
    let away = |pin: &Pin| !pins.is_managed(pin) && !pin.workspace.exists();
    let of = |pin: Pin| pins.identity(&pin.identity).ok().flatten().is_none_or(|one| one.repo.url.key() == key);
    pins.all().is_ok_and(|all| all.into_iter().filter(away).any(of))
}

fn size(folder: &Path) -> u64 {
    let mut total = 0;
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(meta) = fs::symlink_metadata(entry.path()) else { continue };
        total += if meta.is_dir() { size(&entry.path()) } else { meta.len() };
    }
    total
}

impl Spare {
    /// Removes it.
    ///
    /// # Errors
    /// When it cannot be removed, or may not: then it is as it was.
    pub(super) fn remove(&self, app: &App, inquiry: &mut Inquiry<'_>) -> Result<()> {
        let identity = match &self.what {
            PartKind::File => {
                return fs::remove_file(&self.path).with_context(|| format!("cannot remove {}", self.path.display()));
            }
            PartKind::Images => return self.throw_away(&app.paths.trash()),
            PartKind::Mirror(identity) => identity,
        };
        let lock = app.paths.data_lock(&format!("repo-{}", identity.repo.url.key()));
        let _lock = FileLock::attempt(&lock)?.context("another envctl uses it")?;
        let lacking = inquiry.lacks(identity, &self.path)?;
        ensure!(!lacking, "its remote no longer has all of what is in it");
        self.throw_away(&app.paths.data_trash())
    }

    /// Moves a folder to the trash, and removes it as far as that goes now.
    fn throw_away(&self, trash: &Path) -> Result<()> {
        disk::create_private_dir(trash)?;
        let place = tempfile::Builder::new().prefix("").tempdir_in(trash)?.keep();
        fs::rename(&self.path, place.join("entry")).with_context(|| format!("cannot move {}", self.path.display()))?;
        let _ = remove::tree(&place);
        Ok(())
    }
}
