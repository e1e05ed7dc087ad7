//! The list of a registry's tasks, under the tag `index-v1`: it saves one
//! request for each task. A registry tells the names of its tags and not what
//! they point at; but every identity that was ever published has a tag named
//! after its digest. So whoever holds the names of all tags sees which
//! identities the list does not know yet, asks for those, and is up to date.
//!
//! On the wire it is an artifact of two parts. The base, a layer, is large and
//! seldom written; what came since is the config blob, inlined, so that a
//! publish reads one document and writes one small blob. When there is much of
//! it, it becomes part of the base.
//!
//! Invariants: a list that is stale, damaged, lost to another writer or absent
//! costs requests and nothing else. A row is what its writer says, as the tag
//! itself is.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::Store;
use super::beside::put_small;
use crate::digest::Digest;
use crate::error::{Fault, integrity};
use crate::identity::{Summary, TaskId, check_schema};
use crate::oci::{Descriptor, MAX_METADATA, Manifest, media};

/// Where the list is.
pub(super) const TAG: &str = "index-v1";

const SCHEMA: u32 = 1;

/// Upper bound for the base in bytes, as it travels.
const MAX_PACKED: u64 = 32 << 20;

/// Upper bound for the base in bytes, unpacked: room for 200,000 tasks.
const MAX_BASE: u64 = 16 << 20;

/// Rows that are kept beside the base.
const MOST_RECENT: usize = 200;

/// How often a list is tried to be written while others write theirs.
const MOST_ROUNDS: usize = 3;

/// Bytes of a digest that are enough to know an identity again.
const PREFIX: usize = 8;

/// What the list knows.
#[derive(Debug, Default)]
pub struct Catalog {
    rows: BTreeMap<TaskId, Summary>,
    /// Tags that are no tasks.
    others: BTreeSet<String>,
    /// Identities that no row shows any more.
    seen: BTreeSet<[u8; PREFIX]>,
}

/// The base on the wire.
#[derive(Serialize, Deserialize)]
struct Base {
    schema: u32,
    rows: Vec<Summary>,
    others: BTreeSet<String>,
    /// The beginnings of digests, one after the other, base64.
    seen: String,
}

/// What came since.
#[derive(Default, Serialize, Deserialize)]
struct Recent {
    schema: u32,
    rows: Vec<Summary>,
}

/// The list as it was found: its manifest, and its recent part.
struct FoundList {
    descriptor: Descriptor,
    base: Option<Descriptor>,
    recent: Vec<Summary>,
}

impl Catalog {
    /// Reads the list of a store; `None` where there is none.
    ///
    /// # Errors
    /// When the store cannot be read, or the list is malformed.
    pub fn read(store: &dyn Store) -> Result<Option<Self>> {
        let Some(found) = find(store)? else { return Ok(None) };
        let mut catalog = base(store, found.base.as_ref())?;
        found.recent.into_iter().for_each(|row| catalog.add(row));
        Ok(Some(catalog))
    }

    /// Whether it has taken this identity into account.
    pub fn knows(&self, identity: &Digest) -> bool {
        self.seen.contains(&prefix(identity))
    }

    /// The row of a task.
    pub fn row(&self, task: &TaskId) -> Option<&Summary> {
        self.rows.get(task)
    }

    /// Whether a tag is known to be no task.
    pub fn is_other(&self, tag: &str) -> bool {
        self.others.contains(tag)
    }

    /// Takes a row in, in place of the task's former one.
    pub fn add(&mut self, row: Summary) {
        self.seen.insert(prefix(&row.identity));
        self.others.remove(row.task.as_str());
        self.rows.insert(row.task.clone(), row);
    }

    /// Notes identities that no tag of a task points at.
    pub fn note_seen(&mut self, identities: impl IntoIterator<Item = Digest>) {
        self.seen.extend(identities.into_iter().map(|identity| prefix(&identity)));
    }

    /// Notes a tag that is no task.
    pub fn note_other(&mut self, tag: &str) {
        self.others.insert(tag.to_owned());
    }

    /// Forgets what is about tags that are not there.
    pub fn retain(&mut self, is_there: impl Fn(&str) -> bool) {
        self.rows.retain(|task, _| is_there(task.as_str()));
        self.others.retain(|tag| is_there(tag));
    }

    /// Writes the list in place of what is there.
    ///
    /// # Errors
    /// When the store cannot be written, others do at the same time, or
    /// something else is in its place.
    pub fn write(&self, store: &dyn Store) -> Result<()> {
        let before = store.resolve(TAG)?;
        if let Some(before) = &before {
            manifest(store, before)?;
        }
        if replace(store, before.as_ref(), Some(self.pack()?), Vec::new())? {
            return Ok(());
        }
        anyhow::bail!("others write the list of tasks at the same time")
    }

    fn pack(&self) -> Result<Vec<u8>> {
        let base = Base {
            schema: SCHEMA,
            rows: self.rows.values().cloned().collect(),
            others: self.others.clone(),
            seen: STANDARD.encode(self.seen.iter().flatten().copied().collect::<Vec<u8>>()),
        };
        zstd::encode_all(&serde_json::to_vec(&base)?[..], 3).context("cannot pack the list of tasks")
    }

    fn unpack(bytes: &[u8]) -> Result<Self, Fault> {
        let bad = |why: &str| integrity(format!("the list of tasks is malformed: {why}"));
        let mut plain = Vec::new();
        let mut decoder = zstd::Decoder::new(bytes).map_err(|error| bad(&error.to_string()))?.take(MAX_BASE + 1);
        decoder.read_to_end(&mut plain).map_err(|error| bad(&error.to_string()))?;
        if plain.len() as u64 > MAX_BASE {
            return Err(bad("it is too large"));
        }
        check_schema(&plain, SCHEMA, "list of tasks")?;
        let base: Base = serde_json::from_slice(&plain).map_err(|error| bad(&error.to_string()))?;
        let seen = STANDARD.decode(base.seen).map_err(|_| bad("it is not base64"))?;
        let mut catalog = Catalog {
            rows: BTreeMap::new(),
            others: base.others,
            seen: seen.chunks_exact(PREFIX).filter_map(|part| part.try_into().ok()).collect(),
        };
        base.rows.into_iter().for_each(|row| catalog.add(row.capped()));
        Ok(catalog)
    }
}

/// Notes a task that was just published, where the store has a list.
///
/// # Errors
/// When the store cannot be written; the list is stale then, and who reads it
/// will see that.
pub fn note_task(store: &dyn Store, row: &Summary) -> Result<()> {
    for _ in 0..MOST_ROUNDS {
        let Some(FoundList { descriptor, base: old, mut recent }) = find(store)? else { return Ok(()) };
        recent.push(row.clone());
        let done = if recent.len() > MOST_RECENT {
            let mut catalog = base(store, old.as_ref())?;
            recent.into_iter().for_each(|row| catalog.add(row));
            replace(store, Some(&descriptor), Some(catalog.pack()?), Vec::new())?
        } else {
            put(store, Some(&descriptor), old, recent)?
        };
        if done {
            return Ok(());
        }
    }
    anyhow::bail!("others write the list of tasks at the same time")
}

fn find(store: &dyn Store) -> Result<Option<FoundList>> {
    let Some(descriptor) = store.resolve(TAG)? else { return Ok(None) };
    let manifest = manifest(store, &descriptor)?;
    let bytes = store.read_small(&manifest.config, MAX_METADATA)?;
    check_schema(&bytes, SCHEMA, "list of tasks")?;
    let recent: Recent = serde_json::from_slice(&bytes)
        .map_err(|error| integrity(format!("the list of tasks is malformed: {error}")))?;
    let recent = recent.rows.into_iter().map(Summary::capped).collect();
    let base = manifest.layers.into_iter().find(|layer| layer.media_type == media::CATALOG_BASE);
    Ok(Some(FoundList { descriptor, base, recent }))
}

fn manifest(store: &dyn Store, descriptor: &Descriptor) -> Result<Manifest> {
    let manifest = Manifest::parse(&store.read_small(descriptor, MAX_METADATA)?)?;
    if manifest.artifact_type.as_deref() != Some(media::CATALOG) {
        return Err(integrity(format!("the tag {TAG} of this store is in use by something else")).into());
    }
    Ok(manifest)
}

fn base(store: &dyn Store, layer: Option<&Descriptor>) -> Result<Catalog> {
    match layer {
        Some(layer) => Ok(Catalog::unpack(&store.read_small(layer, MAX_PACKED)?)?),
        None => Ok(Catalog::default()),
    }
}

fn replace(
    store: &dyn Store,
    before: Option<&Descriptor>,
    packed: Option<Vec<u8>>,
    recent: Vec<Summary>,
) -> Result<bool> {
    let base = packed.map(|packed| {
        let layer = Descriptor::of(media::CATALOG_BASE, &packed);
        store.put(&layer, &|| Ok(Box::new(&packed[..]))).map(|()| layer)
    });
    put(store, before, base.transpose()?, recent)
}

fn put(store: &dyn Store, before: Option<&Descriptor>, base: Option<Descriptor>, recent: Vec<Summary>) -> Result<bool> {
    let bytes = serde_json::to_vec(&Recent { schema: SCHEMA, rows: recent })?;
    let config = Descriptor::of(media::CATALOG, &bytes);
    store.put(&config, &|| Ok(Box::new(&bytes[..])))?;
    let manifest = put_small(store, media::CATALOG, config.with_data(&bytes), base.into_iter().collect())?;
    store.tag(TAG, &manifest, Some(before.map(|before| &before.digest)))
}

fn prefix(digest: &Digest) -> [u8; PREFIX] {
    let mut prefix = [0; PREFIX];
    prefix.copy_from_slice(&digest.as_bytes()[..PREFIX]);
    prefix
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Status;
    use crate::store::Layout;

    fn row(task: &str, identity: usize) -> Summary {
        Summary {
            task: task.parse().unwrap(),
            ends_at: None,
            manifest: Digest::of(format!("manifest {identity}").as_bytes()),
            identity: Digest::of(format!("identity {identity}").as_bytes()),
            created_at: "2026-01-15T10:30:00Z".parse().unwrap(),
            status: Status::NeedsHuman,
            agent: None,
            message: Some(format!("message {identity}")),
        }
    }

    fn store() -> (tempfile::TempDir, Layout) {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::create(dir.path().join("store")).unwrap();
        (dir, layout)
    }

    #[test]
    fn a_list_round_trips_and_grows() {
        let (_dir, store) = store();
        assert!(Catalog::read(&store).unwrap().is_none());
        // Nobody keeps a list that nobody needed yet.
        note_task(&store, &row("t", 0)).unwrap();
        assert!(Catalog::read(&store).unwrap().is_none());
        let mut catalog = Catalog::default();
        (0..50).for_each(|n| catalog.add(row(&format!("task-{n}"), n)));
        catalog.note_other("v1.0");
        catalog.note_seen([Digest::of(b"superseded")]);
        catalog.write(&store).unwrap();
        // More than fits beside the base.
        for n in 0..MOST_RECENT + 10 {
            note_task(&store, &row("busy", 1000 + n)).unwrap();
        }
        let read = Catalog::read(&store).unwrap().unwrap();
        assert_eq!(read.row(&"task-7".parse().unwrap()), Some(&row("task-7", 7)));
        assert_eq!(read.row(&"busy".parse().unwrap()), Some(&row("busy", 1000 + MOST_RECENT + 9)));
        assert!(read.is_other("v1.0") && !read.is_other("busy"));
        for n in 0..MOST_RECENT + 10 {
            assert!(read.knows(&row("busy", 1000 + n).identity), "superseded ones stay known");
        }
        assert!(read.knows(&Digest::of(b"superseded")) && !read.knows(&Digest::of(b"new")));
        let manifest = store.resolve(TAG).unwrap().unwrap();
        assert!(manifest.size < 64 << 10, "{} bytes for each publish", manifest.size);
    }

    #[test]
    fn what_is_gone_is_forgotten() {
        let mut catalog = Catalog::default();
        catalog.add(row("a", 1));
        catalog.add(row("b", 2));
        catalog.note_other("v1");
        catalog.retain(|tag| tag == "a");
        assert!(catalog.row(&"a".parse().unwrap()).is_some() && catalog.row(&"b".parse().unwrap()).is_none());
        assert!(!catalog.is_other("v1") && catalog.knows(&row("b", 2).identity));
    }

    #[test]
    fn case_23_a_list_that_unpacks_without_end_is_refused() {
        let bomb = zstd::encode_all(std::io::repeat(b' ').take(MAX_BASE + 2), 1).unwrap();
        assert!(bomb.len() < 1 << 20);
        assert!(Catalog::unpack(&bomb).unwrap_err().to_string().contains("too large"));
        assert!(Catalog::unpack(b"nonsense").is_err());
        assert!(Catalog::unpack(&zstd::encode_all(&b"{\"schema\":1}"[..], 3).unwrap()).is_err());
    }

    #[test]
    fn a_tag_that_is_something_else_is_left_alone() {
        let (_dir, store) = store();
        let config = Descriptor::of(media::CLAIMS, b"{}");
        let foreign = put_small(&store, media::CLAIMS, config.with_data(b"{}"), Vec::new()).unwrap();
        store.tag(TAG, &foreign, None).unwrap();
        assert!(Catalog::read(&store).is_err());
        assert!(note_task(&store, &row("t", 1)).is_err() && Catalog::default().write(&store).is_err());
        assert_eq!(store.resolve(TAG).unwrap().unwrap().digest, foreign.digest);
    }
}
