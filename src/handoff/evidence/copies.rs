//! Local copies of artifacts: contents by digest, a record of each artifact
//! under its identity, and folders in which they have names again.
//!
//! Invariants: a content is absent or whole, read-only, and never changes; it
//! is hashed before it is used again, and is here while a record names it. What
//! is written is flushed by [`flush`], all of it at once. A folder of files holds links to contents,
//! is named by what it holds, appears whole, and goes with its identity's last
//! record. Names from a store become single file names before they are used.
//! Lock: `artifacts`, held while records and contents change together; under it
//! no other is taken.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::export;
use crate::digest::{Digest, Verified};
use crate::disk::{self, Durability, lock::FileLock, remove, scratch::Scratch};
use crate::error::unreachable;
use crate::handoff::app::App;
use crate::identity::Provenance;
use crate::oci::{Descriptor, unwrap_io};
use crate::store::{Attachment, Store, content_of};

const SCHEMA: u32 = 1;

/// A download that is older is nobody's.
const DAY: Duration = Duration::from_secs(86_400);

/// An artifact that is here.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Record {
    schema: u32,
    /// The store that it came from.
    store: String,
    kept_at: Timestamp,
    provenance: Provenance,
}

/// Held for moments only, by the threads of one command as well: nobody is told
/// of it.
fn lock(app: &App) -> Result<FileLock> {
    FileLock::acquire(&app.paths.data_lock("artifacts"), || ())
}

/// Keeps a copy of an artifact on this machine; the bytes that moved.
///
/// # Errors
/// When the store lacks the content, or gives another.
pub(crate) fn keep(app: &App, store: (&dyn Store, &str), identity: &Digest, attachment: &Attachment) -> Result<u64> {
    let content = &attachment.content;
    let place = app.paths.artifact_content(&content.digest);
    let record = Record {
        schema: SCHEMA,
        store: store.1.to_owned(),
        kept_at: app.clock.now(),
        provenance: attachment.provenance.clone(),
    };
    let note = || {
        let path = app.paths.artifact_record(identity, &attachment.key);
        disk::write_json(&path, &record, Durability::Cached)
    };
    if is_whole(&place, content) {
        let _lock = lock(app)?;
        // Unless it has expired meanwhile.
        if place.exists() {
            note()?;
            return Ok(0);
        }
    }
    let parent = place.parent().context("a content has a folder")?;
    disk::create_private_dir(parent)?;
    let context = || format!("cannot write {}", place.display());
    let mut file = disk::Unnamed::create_in(parent).with_context(context)?;
    let mut stream = Verified::new(store.0.open(content)?, content.size, content.digest);
    std::io::copy(&mut stream, &mut file)
        .map_err(unwrap_io)
        .with_context(|| format!("cannot fetch the artifact {}", attachment.provenance.file_name()))?;
    let _lock = lock(app)?;
    file.publish(&place, Durability::Cached).with_context(context)?;
    note()?;
    Ok(content.size)
}

/// The content of an artifact: from its copy here, or from the store.
///
/// # Errors
/// When it is in neither, or not what it should be.
pub(crate) fn content(app: &App, store: Option<&dyn Store>, provenance: &Provenance) -> Result<Vec<u8>> {
    let content = content_of(provenance);
    let whole = |stream: &mut dyn Read| -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut checked = Verified::new(stream, content.size, content.digest);
        checked.read_to_end(&mut bytes).map_err(unwrap_io)?;
        Ok(bytes)
    };
    if let Ok(mut file) = fs::File::open(app.paths.artifact_content(&content.digest))
        && let Ok(bytes) = whole(&mut file)
    {
        return Ok(bytes);
    }
    let store = store.ok_or_else(|| unreachable("the store does not answer, and there is no copy of it here"))?;
    whole(&mut *store.open(&content)?)
}

/// Whether a content is here as it should be: a power loss, or a person, may
/// have made something else of it.
fn is_whole(place: &Path, content: &Descriptor) -> bool {
    let Ok(file) = fs::File::open(place) else { return false };
    std::io::copy(&mut Verified::new(file, content.size, content.digest), &mut std::io::sink()).is_ok()
}

/// Makes the copies outlive a power loss.
///
/// # Errors
/// When the file system cannot be flushed.
pub(crate) fn flush(app: &App) -> Result<()> {
    match fs::File::open(app.paths.artifacts()) {
        Ok(folder) => rustix::fs::syncfs(&folder).context("cannot flush the local copies of artifacts"),
        // There are none.
        Err(_) => Ok(()),
    }
}

/// A read-only folder in which artifacts that are here have their names;
/// `None` for no artifact.
///
/// # Errors
/// When a content is missing, or the folder cannot be made.
pub(crate) fn folder(app: &App, identity: &Digest, artifacts: &[&Provenance]) -> Result<Option<PathBuf>> {
    if artifacts.is_empty() {
        return Ok(None);
    }
    let names = distinct_names(artifacts.iter().map(|provenance| provenance.file_name()));
    let listed: Vec<_> = names.iter().zip(artifacts).map(|(name, artifact)| (name, artifact.digest)).collect();
    let key = Digest::of(&serde_json::to_vec(&listed)?).short();
    let parent = app.paths.artifacts_of(identity);
    let place = parent.join(format!("files-{key}"));
    let is_current = |(name, digest): &(&String, Digest)| {
        let file = |path: PathBuf| fs::metadata(path).map(|meta| (meta.dev(), meta.ino())).ok();
        let named = file(place.join(name));
        named.is_some() && named == file(app.paths.artifact_content(digest))
    };
    if listed.iter().all(is_current) {
        return Ok(Some(place));
    }
    // What is there was made of contents that had to be fetched again.
    remove::tree(&place)?;
    let draft = Scratch::create_in(&parent, ".draft-")?;
    for (name, digest) in &listed {
        let (from, to) = (app.paths.artifact_content(digest), draft.path().join(name));
        // A file system may allow no more links to one file, or none at all.
        fs::hard_link(&from, &to)
            .or_else(|_| fs::copy(&from, &to).map(drop))
            .with_context(|| format!("cannot name {} {name}", from.display()))?;
    }
    export::search(&app.ui, draft.path())?;
    let told = |(name, artifact): (&String, &&Provenance)| {
        (*name != artifact.name).then(|| (artifact.name.clone(), name.clone()))
    };
    export::tell(&app.ui, &names.iter().zip(artifacts).filter_map(told).collect::<Vec<_>>());
    fs::set_permissions(draft.path(), fs::Permissions::from_mode(0o555))?;
    match fs::rename(draft.path(), &place) {
        Err(_) if place.is_dir() => {}
        other => other.with_context(|| format!("cannot make {}", place.display()))?,
    }
    Ok(Some(place))
}

/// Names of which no two are the same: a second `unit.xml` is `unit-2.xml`.
fn distinct_names(names: impl Iterator<Item = String>) -> Vec<String> {
    let mut taken = BTreeSet::new();
    let distinct = |name: String| {
        if taken.insert(name.clone()) {
            return name;
        }
        let (stem, end) = match name.rsplit_once('.') {
            Some((stem, end)) if !stem.is_empty() => (stem, format!(".{end}")),
            _ => (name.as_str(), String::new()),
        };
        let numbered = (2_usize..).map(|n| format!("{stem}-{n}{end}")).find(|name| !taken.contains(name));
        let name = numbered.unwrap_or_default();
        taken.insert(name.clone());
        name
    };
    names.map(distinct).collect()
}

/// What the retention rule takes away.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Expired {
    /// Records of artifacts.
    pub artifacts: Vec<PathBuf>,
    /// Bytes of contents that no other record names.
    pub bytes: u64,
}

/// Removes local copies of artifacts that are older than `artifacts.keep` says,
/// except those of an identity that a live runtime uses. The store keeps its
/// own. With `dry` nothing happens but the count.
///
/// # Errors
/// When they cannot be read or removed.
pub fn expire_artifacts(app: &App, dry: bool) -> Result<Expired> {
    let _lock = lock(app)?;
    let live: BTreeSet<String> = app.runtimes().live()?.into_iter().map(|lease| lease.identity).collect();
    let (now, keep) = (app.clock.now(), app.user.keep_artifacts());
    let mut expired = Expired::default();
    let mut needed = BTreeSet::new();
    for folder in entries(&app.paths.artifacts().join("identities")) {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let in_use = Digest::from_hex(&name).is_ok_and(|identity| live.contains(&identity.to_string()));
        let mut left = 0;
        for (path, record) in records(&folder) {
            if in_use || !is_before(record.kept_at, now, keep) {
                needed.insert(record.provenance.digest.hex());
                left += 1;
                continue;
            }
            if !dry {
                fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
            }
            expired.artifacts.push(path);
        }
        if left == 0 && !in_use && !dry {
            remove::tree(&folder)?;
        }
    }
    for content in entries(&app.paths.artifacts().join("content")) {
        let name = content.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Ok(meta) = fs::metadata(&content) else { continue };
        // Where the file system gives a download a name, it is another one.
        let unneeded = match Digest::from_hex(&name) {
            Ok(_) => !needed.contains(&name),
            Err(_) => meta.modified().is_ok_and(|at| Timestamp::try_from(at).is_ok_and(|at| is_before(at, now, DAY))),
        };
        if unneeded {
            expired.bytes += meta.len();
            if !dry {
                fs::remove_file(&content).with_context(|| format!("cannot remove {}", content.display()))?;
            }
        }
    }
    Ok(expired)
}

/// Lets all local copies be kept as long from now as if they came now.
///
/// # Errors
/// When one cannot be noted.
pub(crate) fn renew(app: &App) -> Result<()> {
    let _lock = lock(app)?;
    for folder in entries(&app.paths.artifacts().join("identities")) {
        for (path, record) in records(&folder) {
            disk::write_json(&path, &Record { kept_at: app.clock.now(), ..record }, Durability::Cached)?;
        }
    }
    Ok(())
}

fn is_before(then: Timestamp, now: Timestamp, span: Duration) -> bool {
    let age = now.as_second().saturating_sub(then.as_second());
    u64::try_from(age).is_ok_and(|age| age > span.as_secs())
}

fn records(folder: &Path) -> impl Iterator<Item = (PathBuf, Record)> {
    let files = entries(folder).into_iter().filter(|path| path.extension().is_some_and(|end| end == "json"));
    files.filter_map(|path| Some((path.clone(), disk::read_json(&path).ok().flatten()?)))
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> =
        fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    found.sort();
    found
}

/// The artifacts of an identity of which there are copies here.
pub(crate) fn kept(app: &App, identity: &Digest) -> Vec<Provenance> {
    let mut kept: Vec<_> = records(&app.paths.artifacts_of(identity)).map(|(_, record)| record.provenance).collect();
    kept.sort_by(|a, b| a.order().cmp(&b.order()));
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_that_collide_get_a_number() {
        let names = ["a.xml", "a.xml", "a-2.xml", "a.xml", "b", "b", ".x", ".x", "c.tar.gz", "c.tar.gz"];
        let expected = ["a.xml", "a-2.xml", "a-2-2.xml", "a-3.xml", "b", "b-2", ".x", ".x-2", "c.tar.gz", "c.tar-2.gz"];
        assert_eq!(distinct_names(names.map(str::to_owned).into_iter()), expected);
    }

    proptest! {
        #[test]
        fn case_47_names_are_distinct(names in proptest::collection::vec("[ab.\\-2]{1,4}", 0..20)) {
            let distinct = distinct_names(names.iter().cloned());
            prop_assert_eq!(distinct.iter().collect::<BTreeSet<_>>().len(), names.len());
            prop_assert!(distinct.iter().all(|name| !name.contains('/') && !name.is_empty()));
        }
    }
}
