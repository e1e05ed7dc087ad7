//! Fixtures from their maker's side: a folder, or what was [`made`] in a runtime, becomes a
//! tree of the store, named by a person and by its digest, which is what a project's
//! `source` says.
//!
//! Invariants: what a name points at may move, a version never changes, and every
//! version keeps a tag of its own, so that no store takes it for rubbish. A folder of
//! this machine is read and never changed.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use rustix::fs::{CWD, Mode, OFlags};
use serde::Serialize;

use super::made::{self, FixtureFrom, GivenFolder};
use crate::archive::{self, Ownership, Packed};
use crate::cache::{Components, EntryOrigin, Scope, Trees};
use crate::disk::scratch::Scratch;
use crate::disk::{self, Durability};
use crate::error::{Kind, kind_of, not_found, usage};
use crate::handoff::app::App;
use crate::handoff::caches::{GIVEN, describe, described, keep, layer, trees};
use crate::handoff::runtimes;
use crate::identity::TaskId;
use crate::image::User;
use crate::oci::Descriptor;
use crate::store::{Access, Store, read_tree, write_tree};

/// Tags under which a store has the newest version of each.
const NEWEST: &str = "cache-fixture-";

/// Tags under which it has every version: the name, and digits of the digest.
const VERSION: &str = "cache-fixed-";

/// So many digits tell versions of one name apart.
const DIGITS: usize = 32;

/// Characters of a name.
const LONGEST: usize = 64;

/// Versions that are looked at, the last ones by name.
const MOST: usize = 500;

/// A version of a fixture in a store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FixtureRow {
    /// What it is called.
    pub name: String,
    /// As `source` of a project's `[[fixture]]` names it, for tasks of this store.
    pub source: String,
    /// Bytes of its files.
    pub bytes: u64,
    /// Files and folders.
    pub entries: u64,
    /// When it was made.
    pub created_at: Timestamp,
    /// Whether it is the newest of its name.
    pub newest: bool,
}

/// Puts the content of a folder, or what comes out of a runtime, into the configured
/// store as the newest version of a fixture.
///
/// # Errors
/// When it cannot be read in full, or the store cannot be written.
pub fn create_fixture(app: &App, from: &FixtureFrom, name: &TaskId) -> Result<FixtureRow> {
    if name.as_str().len() > LONGEST {
        return Err(usage(format!("the name {name} is longer than {LONGEST} characters")).into());
    }
    app.open_roots()?;
    // What is no store is not found out after hours.
    let store_name = app.store()?;
    let store = app.open(&store_name, Access::Write)?;
    let holder = runtimes::holder(app, &User::root());
    let trees = trees(app, &holder)?;
    let scratch = Scratch::create(app.paths.cache())?;
    let source = match from {
        FixtureFrom::Folder(folder) => folder_of(app, folder)?,
        FixtureFrom::Runtime(runtime) => made::take(app, runtime, &trees, scratch.path())?,
    };
    let folder = &source.folder;
    let _kept = keep(app)?;
    let (file, answer) = (scratch.path().join("tree"), scratch.path().join("packed"));
    holder.inside(&|| {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::openat(CWD, folder, flags, Mode::empty())
            .with_context(|| format!("cannot open {}", folder.display()))?;
        let out = File::create(&file).with_context(|| format!("cannot write {}", file.display()))?;
        let packed = archive::pack(root.as_fd(), std::io::BufWriter::new(out))
            .with_context(|| format!("cannot pack {}", folder.display()))?;
        disk::write_json(&answer, &packed, Durability::Cached)
    })?;
    let packed: Packed = disk::read_json(&answer)?.context("nothing was packed")?;
    drop(source);
    // What everybody else will find in it, by the same way.
    let components = Components::new(name.as_str(), packed.diff_id, GIVEN.into());
    let scope = Scope::Project(store_name.to_string());
    let record = Trees::record(components, scope, app.clock.now(), EntryOrigin::Sealed);
    let (draft, blob) = (trees.draft()?, layer(&packed));
    let content = File::open(&file).context("cannot read what was packed")?;
    trees.unpack(&draft, &blob, Some(&packed.diff_id), Box::new(content), &|_| Ok(()))?;
    let sealed = trees.seal(draft, record, None, &holder)?.record().clone();
    // It comes back by its digest, when somebody needs it.
    trees.remove(&sealed, &holder)?;
    let document = describe(&sealed, packed.diff_id)?;
    let newest = format!("{NEWEST}{name}");
    let descriptor = write_tree(&*store, &newest, &document, &blob, &file)?;
    store.tag(&format!("{VERSION}{name}-{}", &descriptor.digest.hex()[..DIGITS]), &descriptor, None)?;
    Ok(FixtureRow {
        name: name.to_string(),
        source: format!("@{}", descriptor.digest),
        bytes: sealed.tree.bytes,
        entries: sealed.tree.entries,
        created_at: sealed.sealed_at,
        newest: true,
    })
}

fn folder_of(app: &App, folder: &Path) -> Result<GivenFolder> {
    let folder = app.cwd.join(folder);
    if !folder.is_dir() {
        return Err(not_found(format!("{} is no folder", folder.display()))
            .hint("name the folder that holds the data; one that lies inside needs a command, or --task")
            .into());
    }
    Ok(GivenFolder::folder(folder))
}

/// The fixtures of the configured store, by name, the newest version first.
///
/// # Errors
/// When the store cannot be read.
pub fn fixtures(app: &App) -> Result<Vec<FixtureRow>> {
    let store_name = app.store()?;
    let store = app.open(&store_name, Access::Read)?;
    let mut names: Vec<(String, String)> = store
        .tags()?
        .into_iter()
        .filter_map(|(tag, _)| {
            let (name, digits) = tag.strip_prefix(VERSION)?.rsplit_once('-')?;
            (digits.len() == DIGITS && name.parse::<TaskId>().is_ok()).then(|| (name.to_owned(), tag.clone()))
        })
        .collect();
    names.sort();
    if names.len() > MOST {
        app.ui.warn(&format!("the store has {} versions of fixtures, {MOST} are looked at", names.len()));
        names.truncate(MOST);
    }
    let mut rows = Vec::new();
    for (name, tag) in names {
        match row(&*store, &name, &tag) {
            Ok(row) => rows.extend(row),
            Err(error) if kind_of(&error) == Kind::Unreachable => return Err(error),
            Err(error) => app.ui.warn(&format!("the fixture {tag} is left out: {error:#}")),
        }
    }
    rows.sort_by(|a, b| (&a.name, !a.newest, b.created_at).cmp(&(&b.name, !b.newest, a.created_at)));
    Ok(rows)
}

fn row(store: &dyn Store, name: &str, tag: &str) -> Result<Option<FixtureRow>> {
    let Some(descriptor) = store.resolve(tag)? else { return Ok(None) };
    let (tree, created_at) = described(&read_tree(store, &descriptor)?.document)?;
    let newest =
        store.resolve(&format!("{NEWEST}{name}"))?.is_some_and(|now: Descriptor| now.digest == descriptor.digest);
    Ok(Some(FixtureRow {
        name: name.to_owned(),
        source: format!("@{}", descriptor.digest),
        bytes: tree.bytes,
        entries: tree.entries,
        created_at,
        newest,
    }))
}
