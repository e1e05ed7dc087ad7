//! The caches of one runtime, from what is wanted to where it appears: look here,
//! fetch from the store, run the setups of the rest, find the places.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::state::{Caches, EarlyTree, scopes, trees, waiting};
use super::wanted::{Basis, Wanted, wanted};
use super::{place, seal, travel, wanted};
use crate::cache::{Record, Trees};
use crate::config::Project;
use crate::disk::canonical;
use crate::disk::lock::FileLock;
use crate::error::failure;
use crate::handoff::app::App;
use crate::handoff::fetch::Part;
use crate::handoff::report::{CacheOrigin, CacheState, Report};
use crate::handoff::task::{Resolved, Source};
use crate::handoff::{fetch, runtimes, task};
use crate::image::{Image, Pulled};
use crate::runtime::TreeMount;

/// What a runtime is given.
pub(crate) struct CacheMounts {
    pub(crate) mounts: Vec<TreeMount>,
    /// Folders of the workspace that are to be made, outermost first.
    pub(crate) made: Vec<PathBuf>,
    pub(crate) records: Vec<Record>,
    /// Keeps those folders where they are until the lease is written.
    pub(crate) places: Option<FileLock>,
}

impl<'a> Caches<'a> {
    /// The caches that a workspace's project declares.
    ///
    /// # Errors
    /// When the boot is not known.
    pub(crate) fn new(
        app: &'a App,
        resolved: &'a Resolved,
        pulled: &'a Pulled,
        workspace: &'a Path,
        project: &'a Project,
    ) -> Result<Self> {
        let basis = Basis::of(&resolved.identity);
        let wanted = wanted(app, project, &basis, workspace);
        Self::with(app, resolved, pulled, (workspace, project), wanted)
    }

    fn with(
        app: &'a App,
        resolved: &'a Resolved,
        pulled: &'a Pulled,
        (workspace, project): (&'a Path, &'a Project),
        wanted: Vec<Wanted>,
    ) -> Result<Self> {
        let found = wanted.iter().map(|_| None).collect();
        let holder = runtimes::holder(app, &pulled.user);
        let trees = trees(app, &holder)?;
        let (near, early) = (false, Vec::new());
        Ok(Caches { app, resolved, project, pulled, workspace, trees, holder, wanted, found, near, early })
    }

    /// The caches that an identity names, where there is no workspace.
    ///
    /// # Errors
    /// When the boot is not known.
    pub(crate) fn of_identity(
        app: &'a App,
        resolved: &'a Resolved,
        pulled: &'a Pulled,
        project: &'a Project,
    ) -> Result<Self> {
        Self::with(app, resolved, pulled, (&app.cwd, project), wanted::of_identity(&resolved.identity))
    }

    /// What has come with the image already.
    pub(crate) fn have_come(&mut self, early: Vec<EarlyTree>) {
        self.early = early;
    }

    /// What is here after a fetch, and the names of what is not.
    pub(crate) fn brought(&self) -> (Vec<Record>, Vec<String>) {
        let here = self.found.iter().flatten().map(|(record, _)| record.clone()).collect();
        let missing = self.wanted.iter().zip(&self.found).filter(|(_, found)| found.is_none());
        (here, missing.map(|(wanted, _)| wanted.name.clone()).collect())
    }

    fn ground(&self) -> place::KeptClear<'a> {
        place::KeptClear {
            workspace: self.workspace,
            workdir: self.resolved.identity.workdir.as_str(),
            mirror: task::mirror(self.app, self.resolved).objects(),
            paths: &self.app.paths,
        }
    }

    /// Whether an entry would have no place: then nobody need have it.
    pub(super) fn is_obstructed(&self, index: usize) -> Result<bool> {
        let (spots, ground) = (&self.wanted[index].spots, self.ground());
        for (spot, _) in spots {
            if place::obstacle(&ground, spot)?.is_none() {
                return Ok(false);
            }
        }
        Ok(!spots.is_empty())
    }

    /// Looks once more, unless everything was here from the start: making the
    /// rest may have taken long.
    pub(super) fn look_again(&mut self) {
        if self.found.iter().any(|found| !matches!(found, Some((_, CacheOrigin::Hit)))) {
            self.look();
        }
    }

    /// Looks at what is here.
    pub(super) fn look(&mut self) {
        let scopes = self.scopes();
        for (wanted, found) in self.wanted.iter().zip(&mut self.found) {
            let here = scopes.iter().find_map(|scope| self.trees.get(&wanted.key, scope));
            let here = here.filter(|record| Self::is_usable(wanted, record));
            *found = here.map(|record| (record, found.take().map_or(CacheOrigin::Hit, |(_, how)| how)));
        }
    }

    /// Fetches what is missing here and is in the task's store.
    ///
    /// # Errors
    /// When a disk is full, or another part has failed. What the store does not
    /// have, or has damaged, is made instead.
    pub(crate) fn fetch(&mut self, source: &Source<'_>, report: &mut Report) -> Result<()> {
        if self.wanted.is_empty() {
            return Ok(());
        }
        self.look();
        for index in 0..self.wanted.len() {
            let wanted = &self.wanted[index];
            if self.found[index].is_some()
                || self.is_obstructed(index)?
                || (self.app.options.offline && wanted.fixture.is_none())
            {
                continue;
            }
            let start = std::time::Instant::now();
            let _lock = self.trees.lock(&wanted.key, || waiting(self.app, &wanted.name))?;
            // Another process may have been first.
            if self.scopes().iter().any(|scope| self.trees.get(&wanted.key, scope).is_some()) {
                continue;
            }
            if let Some((record, bytes)) = travel::fetch(self, source, index)? {
                report.note("fetch.cache", start.elapsed(), bytes);
                self.found[index] = Some((record, CacheOrigin::Fetched));
            }
        }
        self.judge()
    }

    /// Makes what is in no store. No thread may work any more. What cannot be
    /// made is told, and left out.
    ///
    /// # Errors
    /// When the person interrupts it.
    pub(crate) fn seal(&mut self, image: &Image, report: &mut Report) -> Result<()> {
        if self.wanted.is_empty() {
            return Ok(());
        }
        self.look_again();
        // Those that are lent what another one holds come after it.
        let lent = |index: &usize| self.wanted[*index].entry.as_ref().is_some_and(|entry| !entry.lent.is_empty());
        let (after, first): (Vec<usize>, Vec<usize>) = (0..self.wanted.len()).partition(lent);
        for index in first.into_iter().chain(after) {
            let wanted = &self.wanted[index];
            if self.found[index].is_some() || wanted.fixture.is_some() || wanted.refused || self.is_obstructed(index)? {
                continue;
            }
            let sealed = report.step("seal", || Ok((seal::seal(self, index, image)?, 0)))?;
            self.found[index] = sealed.map(|record| (record, CacheOrigin::Sealed));
        }
        Ok(())
    }

    /// Where everything appears inside.
    ///
    /// # Errors
    /// When the workspace cannot be changed.
    pub(crate) fn hydrate(mut self, materialize: bool, report: &mut Report) -> Result<CacheMounts> {
        let mut hydrated = CacheMounts { mounts: Vec::new(), made: Vec::new(), records: Vec::new(), places: None };
        if self.wanted.is_empty() {
            return Ok(hydrated);
        }
        let start = std::time::Instant::now();
        self.look_again();
        self.settle_times()?;
        self.look_nearby();
        let ground = self.ground();
        let workspace = canonical(self.workspace);
        let lock = self.app.paths.places_lock(&workspace);
        let told = || self.app.ui.status("Waiting", "another envctl is starting a runtime in this workspace");
        hydrated.places = Some(FileLock::acquire(&lock, told)?);
        let neighbours = place::Neighbours::of(self.app, &workspace)?;
        for (wanted, found) in self.wanted.iter().zip(&self.found) {
            report.caches.push(CacheState {
                name: wanted.name.clone(),
                key: wanted.key,
                found: found.as_ref().map_or(CacheOrigin::Missing, |(_, how)| *how),
                scope: found.as_ref().map(|(record, _)| record.scope.kind()),
                digest: found.as_ref().map(|(record, _)| record.tree.digest),
            });
            self.require_places(wanted, &ground)?;
            let Some((record, how)) = found else {
                report.cache.misses += 1;
                self.tell_missing(wanted, &ground)?;
                continue;
            };
            match how {
                CacheOrigin::Hit => report.cache.hits += 1,
                _ => report.cache.misses += 1,
            }
            self.app.ui.detail(&format!("cache {}: {how:?} ({} scope)", wanted.name, record.scope.kind()));
            self.trees.note_use(record);
            let tree = self.trees.tree(record);
            if wanted.materialize || materialize {
                self.materialize(wanted, record, &neighbours)?;
            }
            self.mount(wanted, &tree, &ground, &mut hydrated)?;
            hydrated.records.push(record.clone());
        }
        // Whoever is the last to leave takes them away.
        hydrated.made.extend(neighbours.made);
        report.note("hydrate.cache", start.elapsed(), 0);
        Ok(hydrated)
    }
}

impl Caches<'_> {
    /// A suite that runs without its data says nothing: a fixture's places must be free.
    fn require_places(&self, wanted: &Wanted, ground: &place::KeptClear<'_>) -> Result<()> {
        for (spot, _) in wanted.spots.iter().filter(|_| wanted.fixture.is_some()) {
            if let Some(why) = place::obstacle(ground, spot)? {
                return Err(failure(format!("the fixture {} cannot be at {spot}, which {why}", wanted.name))
                    .hint("move what is there, or give the fixture another path in envctl.toml")
                    .into());
            }
        }
        Ok(())
    }

    fn tell_missing(&self, wanted: &Wanted, ground: &place::KeptClear<'_>) -> Result<()> {
        for (spot, _) in &wanted.spots {
            place::tell_obstacle(self.app, ground, wanted, spot)?;
        }
        if wanted.fixture.is_some() {
            return Err(crate::error::not_found(format!("the fixture {} is in no store", wanted.name))
                .hint("envctl needs it once from there; then it is kept here")
                .into());
        }
        Ok(())
    }

    /// Adds the places of a tree, as far as they can be made.
    fn mount(
        &self,
        wanted: &Wanted,
        tree: &Path,
        ground: &place::KeptClear<'_>,
        hydrated: &mut CacheMounts,
    ) -> Result<()> {
        for (spot, access) in &wanted.spots {
            let part = wanted.spread.then(|| wanted::part(spot));
            if part.as_ref().is_some_and(|part| !place::has_part(tree, part)) {
                continue;
            }
            if let Some(made) = place::missing(self.app, ground, wanted, spot)? {
                hydrated.made.extend(made);
                let place = place::inside(spot);
                let (name, tree) = (wanted.name.clone(), tree.to_owned());
                hydrated.mounts.push(TreeMount { name, tree, part, place, access: *access });
            }
        }
        Ok(())
    }

    /// Copies what is in the places of a tree in the workspace, for programs of the
    /// host.
    fn materialize(&self, wanted: &Wanted, record: &Record, neighbours: &place::Neighbours) -> Result<()> {
        let (whole, ground) = (self.trees.tree(record), self.ground());
        for (spot, _) in wanted.spots.iter().take(wanted.own) {
            let part = wanted.spread.then(|| wanted::part(spot));
            let tree = match &part {
                Some(part) if !place::has_part(&whole, part) => continue,
                Some(part) => whole.join(part),
                None => whole.clone(),
            };
            let digest = || match part {
                Some(_) => self.trees.summarise(&tree, &self.holder).map(|tree| tree.digest),
                None => Ok(record.tree.digest),
            };
            let copy = place::Copy { spot, key: record.key, tree: &tree, digest: &digest, holder: &self.holder };
            place::materialize(self.app, &ground, wanted, &copy, neighbours)?;
        }
        Ok(())
    }
}

/// What is to be known of a task's caches before anything is fetched: from its
/// workspace where that is there, from its identity otherwise.
///
/// # Errors
/// When the store does not answer.
pub(crate) fn parts(
    app: &App,
    resolved: &Resolved,
    workspace: Option<&Path>,
    source: Option<&Source<'_>>,
) -> Result<Vec<Part>> {
    let wanted = match workspace {
        Some(workspace) => wanted(app, &app.project(workspace)?, &Basis::of(&resolved.identity), workspace),
        None => wanted::of_identity(&resolved.identity),
    };
    let user = fetch::local_user(app, Basis::of(&resolved.identity).image())?;
    let trees = user.map(|user| trees(app, &runtimes::holder(app, &user))).transpose()?;
    let mut parts = Vec::new();
    for wanted in wanted {
        let scopes = scopes(resolved);
        let find = |trees: &Trees| scopes.iter().any(|scope| trees.get(&wanted.key, scope).is_some());
        let hit = trees.as_ref().is_some_and(find);
        let bytes = match source {
            _ if hit => Some(0),
            Some(source) if !app.options.offline => travel::size(source.store()?, &wanted, &scopes)?,
            _ => None,
        };
        parts.push(Part { kind: "cache", name: format!("{} {}", wanted.name, wanted.key.short()), hit, bytes });
    }
    Ok(parts)
}
