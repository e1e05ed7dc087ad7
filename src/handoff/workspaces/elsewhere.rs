//! Whether what a workspace builds on is elsewhere: its store is asked for what the
//! workspace was made from and published, its remote for the commits, at the moment
//! at which the copy here is to go. What was so when the workspace was made says
//! nothing any more.
//!
//! Invariant: without an answer nothing counts as being elsewhere.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::branches::Remotes;
use crate::digest::Digest;
use crate::error::{Kind, failure, kind_of};
use crate::handoff::app::App;
use crate::handoff::task::{Located, Pin, State, from_store};
use crate::identity::{Commit, Identity, StoreRef, Target};
use crate::snapshot::{Document, MAX_DOCUMENT};
use crate::store::{Access, Store};

/// What was found elsewhere, just now.
#[derive(Debug, Default)]
pub(crate) struct Elsewhere {
    /// Working states that the store has whole.
    pub(crate) states: Vec<State>,
    /// Where the remote's branches and tags stand, as far as that is known here;
    /// `None` when it does not say.
    pub(crate) commits: Option<Vec<String>>,
    /// Who did not answer, and why.
    pub(crate) silent: Vec<String>,
}

/// Asks stores and remotes, each once.
pub(crate) struct Inquiry<'a> {
    app: &'a App,
    stores: BTreeMap<String, Result<Box<dyn Store>, String>>,
    pub(super) remotes: Remotes<'a>,
}

impl<'a> Inquiry<'a> {
    pub(crate) fn new(app: &'a App) -> Self {
        Inquiry { app, stores: BTreeMap::new(), remotes: Remotes::new(app) }
    }

    /// The store of a pin.
    ///
    /// # Errors
    /// When it cannot be opened; the same every time.
    pub(super) fn store(&mut self, pin: &Pin) -> Result<&dyn Store> {
        let store: StoreRef = pin.store.parse()?;
        // They entered a task from there; of a workspace that is set aside no pin is left.
        self.app.note_agreed(&pin.store);
        let open = || self.app.open(&store, Access::Read).map_err(|error| format!("{error:#}"));
        match self.stores.entry(pin.store.clone()).or_insert_with(open) {
            Ok(store) => Ok(&**store),
            Err(why) => Err(failure(why.clone()).into()),
        }
    }

    /// What of a workspace is elsewhere; `root` is where it lies now.
    pub(crate) fn ask(&mut self, pin: &Pin, root: &Path) -> Elsewhere {
        let mut found = Elsewhere::default();
        let identity = match self.app.pins().identity(&pin.identity).and_then(|known| known.context("it is not here")) {
            Ok(identity) => identity,
            Err(error) => {
                found.silent.push(format!("nobody can be asked without the identity: {error:#}"));
                return found;
            }
        };
        let mut wanted = Vec::new();
        for (digest, state) in states(pin) {
            match self.kept(pin, &digest) {
                Ok(Some(base)) => wanted.push((state, base)),
                Ok(None) => {}
                Err(error) => found.silent.push(format!("the store {} does not say what it has: {error:#}", pin.store)),
            }
        }
        let bases: Vec<Commit> = wanted.iter().map(|(_, base)| base.clone()).collect();
        let store = pin.store.parse().ok();
        match self.commits((&identity, store.as_ref()), &bases, root) {
            Ok((commits, held)) => {
                found.states =
                    wanted.into_iter().filter(|(_, base)| held.contains(base)).map(|(state, _)| state).collect();
                found.commits = Some(commits);
            }
            Err(error) => found.silent.push(format!("{} does not say what it has: {error:#}", identity.repo.url)),
        }
        found
    }

    /// Whether a mirror has commits that its remote has no more.
    ///
    /// # Errors
    /// When the remote does not say what it has.
    pub(crate) fn lacks(&mut self, identity: &Identity, mirror: &Path) -> Result<bool> {
        let repo = git2::Repository::open_bare(mirror).context("it cannot be opened")?;
        let kept = repo.references_glob("refs/envctl/keep/*")?.flatten().filter_map(|one| one.target());
        let kept: Vec<Commit> = kept.map(|id| id.to_string().parse()).collect::<Result<_, _>>()?;
        drop(repo);
        // What comes of it goes with it.
        let (_, held) = self.commits((identity, None), &kept, mirror)?;
        Ok(held.len() < kept.len())
    }

    /// The commit on which a snapshot builds, if the store has the snapshot whole.
    fn kept(&mut self, pin: &Pin, identity: &Digest) -> Result<Option<Commit>> {
        let task = Located { store: pin.store.parse()?, target: Target::Identity(*identity) };
        let store = self.store(pin)?;
        let artifact = match from_store(store, &task) {
            Ok((_, artifact, _)) => artifact,
            Err(error) if kind_of(&error) == Kind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        if let Some(pack) = &artifact.pack
            && !store.contains(pack)?
        {
            return Ok(None);
        }
        if !store.contains(&artifact.snapshot)? {
            return Ok(None);
        }
        let document = Document::parse(&store.read_small(&artifact.snapshot, MAX_DOCUMENT)?)?;
        // A pack that the manifest does not name can be had by nobody.
        let whole =
            document.pack.as_ref().is_none_or(|pack| artifact.pack.as_ref().is_some_and(|p| p.digest == pack.digest));
        Ok(whole.then_some(document.base))
    }

    /// Where the remote stands now, and which of these commits it has. What it has
    /// moved on to is fetched where that decides.
    fn commits(
        &mut self,
        (identity, store): (&Identity, Option<&StoreRef>),
        bases: &[Commit],
        root: &Path,
    ) -> Result<(Vec<String>, Vec<Commit>)> {
        let branches = self.remotes.ask(identity, store)?;
        let tips: Vec<Commit> = branches.tips.into_values().chain(branches.default).chain(branches.tags).collect();
        let mut seen = Horizon::of(root, &tips, bases)?;
        if !seen.whole && seen.commits.len() < tips.len() {
            self.remotes.bring_tips((identity, store), &tips)?;
            seen = Horizon::of(root, &tips, bases)?;
        }
        Ok((seen.commits, seen.held))
    }
}

/// The working states of a workspace that a store was seen to have, and the
/// identities that hold them.
fn states(pin: &Pin) -> impl Iterator<Item = (Digest, State)> {
    let published = pin.published.iter().filter_map(|one| Some((one.identity, one.state.clone()?)));
    pin.state.iter().map(|state| (pin.identity, state.clone())).chain(published)
}

/// What a workspace knows of where its remote stands.
struct Horizon {
    /// The tips that are here.
    commits: Vec<String>,
    /// The bases that lead to one of them.
    held: Vec<Commit>,
    /// They cover all that the workspace remembers of the remote.
    whole: bool,
}

impl Horizon {
    fn of(root: &Path, tips: &[Commit], bases: &[Commit]) -> Result<Self> {
        let repo = git2::Repository::open(root).context("it cannot be opened")?;
        let here = |commit: &Commit| {
            let id = git2::Oid::from_str(commit.as_str()).ok()?;
            repo.find_commit(id).ok().map(|_| id)
        };
        let known: Vec<git2::Oid> = tips.iter().filter_map(here).collect();
        let lacks = |from: git2::Oid| -> Result<bool> {
            let mut walk = repo.revwalk()?;
            walk.push(from)?;
            known.iter().try_for_each(|tip| walk.hide(*tip))?;
            Ok(walk.next().is_some())
        };
        let mut held = Vec::new();
        for base in bases {
            if let Some(id) = here(base)
                && !lacks(id)?
            {
                held.push(base.clone());
            }
        }
        let mut whole = held.len() == bases.len();
        for remembered in repo.references_glob("refs/remotes/*")?.flatten().filter_map(|one| one.target()) {
            whole &= repo.find_commit(remembered).is_err() || !lacks(remembered)?;
        }
        Ok(Horizon { commits: known.iter().map(ToString::to_string).collect(), held, whole })
    }
}
