//! Which entries a workspace needs, by key.

use std::path::Path;

use anyhow::Result;

use super::inputs::{InputFiles, Inputs, tell_missing};
use crate::cache::Components;
use crate::config::{CacheEntry, FixtureSource, Project, Spot};
use crate::digest::Digest;
use crate::handoff::app::App;
use crate::identity::{Identity, Platform, Workdir};
use crate::runtime::TreeAccess;

/// How a tree that is only looked at is used.
const DATA: TreeAccess = TreeAccess::Overlay;

/// What of an identity goes into every key.
pub(crate) struct Basis {
    pub(crate) image: Digest,
    pub(crate) platform: Platform,
    pub(crate) workdir: Workdir,
    /// Who commands run as, where that is not the image's own user.
    pub(crate) user: Option<String>,
}

impl Basis {
    pub(crate) fn of(identity: &Identity) -> Self {
        Basis {
            image: identity.toolchain.image.digest,
            platform: identity.toolchain.platform.clone(),
            workdir: identity.workdir.clone(),
            user: identity.toolchain.user.clone(),
        }
    }

    /// The image, and who commands run as in it.
    pub(crate) fn image(&self) -> (&Digest, Option<&str>) {
        (&self.image, self.user.as_deref())
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
    pub(crate) spots: Vec<(Spot, TreeAccess)>,
    /// How many of these are its own; the rest are of services.
    pub(crate) own: usize,
    /// Each place has a part of the tree, see [`part`]; else the tree is at each.
    pub(crate) spread: bool,
    pub(crate) materialize: bool,
    /// It is built from the workspace's files, and judged by their times.
    pub(crate) built: bool,
    /// What was found must not be used, which has been told.
    pub(crate) refused: bool,
}

impl Wanted {
    /// Its own places in the workspace.
    pub(crate) fn folders(&self) -> Vec<&str> {
        let own = self.spots.iter().take(self.own);
        own.filter_map(|(spot, _)| match spot {
            Spot::Workspace(path) => Some(path.as_str()),
            _ => None,
        })
        .collect()
    }
}

/// What a project declares, with the keys that it has in this workspace.
/// An entry with an input that cannot be read is left out, and told.
pub(crate) fn wanted(app: &App, project: &Project, basis: &Basis, workspace: &Path) -> Vec<Wanted> {
    let mut all = Vec::new();
    let mut inputs = Inputs::of(project, workspace);
    let data = |is: &dyn Fn(&crate::config::ServiceData) -> bool| {
        let used = project.service.iter().filter_map(|service| service.data.as_ref()).filter(|data| is(data));
        used.map(|data| (data.path.clone(), DATA)).collect::<Vec<_>>()
    };
    for entry in &project.cache {
        let (components, places) = match components(project, entry, basis, &mut inputs) {
            Ok((components, places, found)) => {
                tell_missing(app, &entry.name, &found);
                (components, places)
            }
            Err(error) => {
                app.ui.warn(&format!("the cache {} is left out: {error:#}", entry.name));
                continue;
            }
        };
        let access = if entry.read_only { TreeAccess::ReadOnly } else { TreeAccess::Overlay };
        let spread = is_spread(entry, &places);
        let mut spots: Vec<_> = places.into_iter().map(|place| (place, access)).collect();
        let own = spots.len();
        spots.extend(data(&|data| data.cache.as_ref() == Some(&entry.name)));
        all.push(Wanted {
            name: entry.name.clone(),
            key: components.key(),
            components: Some(components),
            entry: Some(entry.clone()),
            fixture: None,
            spots,
            own,
            spread,
            materialize: entry.materialize,
            built: entry.is_built(),
            refused: false,
        });
    }
    for fixture in &project.fixture {
        let mut spots: Vec<_> = fixture.path.iter().map(|path| (path.clone(), TreeAccess::ReadOnly)).collect();
        spots.extend(data(&|data| data.fixture.as_ref() == Some(&fixture.name)));
        all.push(Wanted { spots, ..of_fixture(&fixture.name, fixture.source.clone()) });
    }
    all
}

fn of_fixture(name: &str, source: FixtureSource) -> Wanted {
    let components = Components::new(name, source.digest, "any".into());
    let key = components.key();
    Wanted { components: Some(components), fixture: Some(source), ..bare(name, key) }
}

/// By its key alone.
fn bare(name: &str, key: Digest) -> Wanted {
    Wanted {
        name: name.to_owned(),
        key,
        components: None,
        entry: None,
        fixture: None,
        spots: Vec::new(),
        own: 0,
        spread: false,
        materialize: false,
        built: false,
        refused: false,
    }
}

fn components(
    project: &Project,
    entry: &CacheEntry,
    basis: &Basis,
    inputs: &mut Inputs<'_>,
) -> Result<(Components, Vec<Spot>, InputFiles)> {
    let found = inputs.find(entry)?;
    let places = inputs.places_of(entry, &found)?;
    let shown: Vec<String> = places.iter().map(Spot::to_string).collect();
    let path = if is_spread(entry, &places) { shown.join(", ") } else { entry.path.to_string() };
    let mut components = Components::new(&entry.name, basis.image, basis.platform.to_string()).made(
        basis.workdir.as_str(),
        &path,
        &entry.setup,
    );
    components.env = project.runtime.env.clone();
    components.env.extend(entry.everywhere.clone());
    components.env.extend(entry.env.clone());
    components.built = entry.is_built();
    components.inputs.clone_from(&found.files);
    components.user.clone_from(&basis.user);
    Ok((components, places, found))
}

/// Whether the tree of an entry has parts.
fn is_spread(entry: &CacheEntry, places: &[Spot]) -> bool {
    entry.is_spread() || places.len() > 1
}

/// Where the content of a place is in a tree that has parts.
pub(crate) fn part(place: &Spot) -> String {
    match place {
        Spot::Workspace(path) => format!("workspace/{path}"),
        Spot::Home(path) => format!("home/{path}"),
        Spot::Absolute(path) => format!("root/{path}"),
    }
}

/// What an identity says that its workspace needs.
pub(crate) fn of_identity(identity: &Identity) -> Vec<Wanted> {
    let caches = identity.caches.iter().map(|cache| bare(&cache.name, cache.key));
    let source = |digest| FixtureSource { store: None, digest };
    let fixtures = identity.fixtures.iter().map(|given| of_fixture(&given.name, source(given.digest)));
    caches.chain(fixtures).collect()
}
