//! Which entries a workspace needs, by key.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context as _, Result};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::cache::Components;
use crate::config::{CacheEntry, FixtureSource, Project, Spot};
use crate::digest::{Digest, Hasher};
use crate::error::usage;
use crate::handoff::app::App;
use crate::identity::{Identity, Platform, Workdir};
use crate::runtime::Access;

/// Bytes of one input.
const MAX_INPUT: u64 = 1 << 30;

/// How a tree that is only looked at is used.
const DATA: Access = Access::Overlay;

/// What of an identity goes into every key.
pub(crate) struct Basis {
    pub(crate) image: Digest,
    pub(crate) platform: Platform,
    pub(crate) workdir: Workdir,
}

impl Basis {
    pub(crate) fn of(identity: &Identity) -> Self {
        Basis {
            image: identity.toolchain.image.digest,
            platform: identity.toolchain.platform.clone(),
            workdir: identity.workdir.clone(),
        }
    }
}

/// An entry that a workspace needs.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) name: String,
    pub(crate) key: Digest,
    /// What the key is made of, where the workspace is known.
    pub(crate) components: Option<Components>,
    /// How it is made; `None` for a fixture.
    pub(crate) entry: Option<CacheEntry>,
    /// Where it comes from, for a fixture.
    pub(crate) fixture: Option<FixtureSource>,
    /// Where it appears.
    pub(crate) spots: Vec<(Spot, Access)>,
    pub(crate) materialize: bool,
}

/// What a project declares, with the keys that it has in this workspace.
/// An entry with an input that cannot be read is left out, and told.
pub(crate) fn wanted(app: &App, project: &Project, basis: &Basis, workspace: &Path) -> Vec<Wanted> {
    let mut all = Vec::new();
    let mut hashed = Hashed::new();
    let data = |is: &dyn Fn(&crate::config::ServiceData) -> bool| {
        let used = project.service.iter().filter_map(|service| service.data.as_ref()).filter(|data| is(data));
        used.map(|data| (data.path.clone(), DATA)).collect::<Vec<_>>()
    };
    for entry in &project.cache {
        let components = match components(project, entry, basis, workspace, &mut hashed) {
            Ok(components) => components,
            Err(error) => {
                app.ui.warn(&format!("the cache {} is left out: {error:#}", entry.name));
                continue;
            }
        };
        let access = if entry.read_only { Access::ReadOnly } else { Access::Overlay };
        let mut spots = vec![(entry.path.clone(), access)];
        spots.extend(data(&|data| data.cache.as_ref() == Some(&entry.name)));
        all.push(Wanted {
            name: entry.name.clone(),
            key: components.key(),
            components: Some(components),
            entry: Some(entry.clone()),
            fixture: None,
            spots,
            materialize: entry.materialize,
        });
    }
    for fixture in &project.fixture {
        let digest = fixture.source.digest;
        let components = Components::new(&fixture.name, digest, "any".into(), "", "", "");
        let mut spots: Vec<_> = fixture.path.iter().map(|path| (path.clone(), Access::ReadOnly)).collect();
        spots.extend(data(&|data| data.fixture.as_ref() == Some(&fixture.name)));
        all.push(Wanted {
            name: fixture.name.clone(),
            key: components.key(),
            components: Some(components),
            entry: None,
            fixture: Some(fixture.source.clone()),
            spots,
            materialize: false,
        });
    }
    all
}

/// Inputs that have been read: caches often share a lockfile.
type Hashed = std::collections::HashMap<String, Option<Digest>>;

fn components(
    project: &Project,
    entry: &CacheEntry,
    basis: &Basis,
    workspace: &Path,
    hashed: &mut Hashed,
) -> Result<Components> {
    let mut components = Components::new(
        &entry.name,
        basis.image,
        basis.platform.to_string(),
        basis.workdir.as_str(),
        &entry.path.to_string(),
        &entry.setup,
    );
    components.env = project.runtime.env.clone();
    components.env.extend(entry.env.clone());
    for input in &entry.inputs {
        let digest = match hashed.get(input) {
            Some(known) => *known,
            None => digest_of(workspace, input).with_context(|| format!("its input {input}"))?,
        };
        hashed.insert(input.clone(), digest);
        components.inputs.insert(input.clone(), digest);
    }
    Ok(components)
}

/// The digest of a file of the workspace; links are followed inside it.
fn digest_of(workspace: &Path, input: &str) -> Result<Option<Digest>> {
    let root = rustix::fs::openat(CWD, workspace, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let file = match rustix::fs::openat2(&root, input, flags, Mode::empty(), resolve) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        Err(Errno::XDEV | Errno::LOOP) => return Err(usage("it leads out of the workspace").into()),
        Err(error) => return Err(error.into()),
    };
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(usage("it is no file").into());
    }
    if metadata.len() > MAX_INPUT {
        return Err(usage(format!("it has {} bytes, at most {MAX_INPUT} are hashed", metadata.len())).into());
    }
    let mut hasher = Hasher::default();
    std::io::copy(&mut file.take(MAX_INPUT), &mut hasher)?;
    Ok(Some(hasher.finish()))
}

/// What an identity says that its workspace needs.
pub(crate) fn of_identity(identity: &Identity) -> Vec<Wanted> {
    let wanted = |cache: &crate::identity::Cache| Wanted {
        name: cache.name.clone(),
        key: cache.key,
        components: None,
        entry: None,
        fixture: None,
        spots: Vec::new(),
        materialize: false,
    };
    identity.caches.iter().map(wanted).collect()
}
