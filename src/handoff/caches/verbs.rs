//! What `envctl cache` does.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde::Serialize;

use super::inputs::require_inputs;
use super::setups::forget;
use super::state::{name_of, scopes, trees, waiting};
use super::tend::{Needed, Rules, Tended, all_trees, configured, tend};
use super::travel::push;
use super::wanted::{Basis, Wanted, wanted};
use crate::archive;
use crate::cache::{Components, Record, Scope, Trees};
use crate::digest::Digest;
use crate::disk::lock::FileLock;
use crate::error::{Kind, kind_of, not_found, usage};
use crate::handoff::app::App;
use crate::handoff::runtimes::Mapped;
use crate::handoff::task::{Located, Resolved, Source, resolve};
use crate::handoff::trust::real_path;
use crate::handoff::{fetch, runtimes};
use crate::identity::TaskRef;
use crate::store::Access;

/// One entry of this machine.
#[derive(Clone, Debug, Serialize)]
pub struct CacheRow {
    /// Its name.
    pub name: String,
    /// Its key.
    pub key: Digest,
    /// `task` or `project`.
    pub scope: &'static str,
    /// Whose: a store, and for a task its name.
    pub of: String,
    /// Digest of its content.
    pub digest: Digest,
    /// Bytes of its content.
    pub bytes: u64,
    /// Entries of its content.
    pub entries: u64,
    /// When it was sealed.
    pub sealed_at: Timestamp,
    /// When it was last used; `null` when it never was.
    pub last_use: Option<Timestamp>,
    /// How often it was used.
    pub hits: u64,
    /// `lease` or `workspace`: why it is kept whatever its age; else `null`.
    pub kept: Option<&'static str>,
    /// A later result of its setup differs, and was kept for a comparison.
    pub differs: bool,
}

/// Lists the entries of this machine.
///
/// # Errors
/// When the state cannot be read.
pub fn caches(app: &App) -> Result<Vec<CacheRow>> {
    let needed = Needed::look(app)?;
    let mut rows = Vec::new();
    for trees in all_trees(app)? {
        for record in trees.all() {
            let (hits, last_use) = trees.uses(&record);
            let of = match &record.scope {
                crate::cache::Scope::Task(of) | crate::cache::Scope::Project(of) => of.clone(),
            };
            rows.push(CacheRow {
                name: record.components.name.clone(),
                key: record.key,
                scope: record.scope.kind(),
                of,
                digest: record.tree.digest,
                bytes: record.tree.bytes,
                entries: record.tree.entries,
                sealed_at: record.sealed_at,
                last_use,
                hits,
                kept: needed.why(&trees.tree(&record)),
                differs: trees.other(&record).exists(),
            });
        }
    }
    Ok(rows)
}

/// The key of one cache of a task, and what it is made of.
#[derive(Clone, Debug, Serialize)]
pub struct KeyRow {
    /// The cache.
    pub name: String,
    /// Its key.
    pub key: Digest,
    /// Each component and its value.
    pub components: Vec<(String, String)>,
    /// `task` or `project` when an entry is here; else `null`.
    pub here: Option<&'static str>,
}

/// The keys of a task's caches, from its workspace here.
///
/// # Errors
/// When the task has no workspace here.
pub fn cache_key(app: &App, task: Option<&TaskRef>) -> Result<Vec<KeyRow>> {
    let (resolved, workspace) = workspace_of(app, task)?;
    let project = app.project(&workspace)?;
    require_inputs(&project, &workspace)?;
    let user = fetch::local_user(app, Basis::of(&resolved.identity).image())?;
    let trees = user.map(|user| trees(app, &runtimes::holder(app, &user))).transpose()?;
    let row = |wanted: Wanted| {
        let find = |trees: &Trees| scopes(&resolved).iter().find_map(|scope| trees.get(&wanted.key, scope));
        let here = trees.as_ref().and_then(find).map(|record| record.scope.kind());
        KeyRow { components: lines(&wanted), name: wanted.name, key: wanted.key, here }
    };
    Ok(wanted(app, &project, &Basis::of(&resolved.identity), &workspace).into_iter().map(row).collect())
}

fn lines(wanted: &Wanted) -> Vec<(String, String)> {
    wanted.components.as_ref().map(Components::lines).unwrap_or_default()
}

/// The task's settled identity, and its workspace; without a task those of the
/// working directory.
pub(super) fn workspace_of(app: &App, task: Option<&TaskRef>) -> Result<(Resolved, PathBuf)> {
    let located = match task {
        Some(task) => app.locate(task)?,
        None => {
            let root = app.checkout();
            let pin = root.and_then(|root| app.pins().of_workspace(&root).transpose()).transpose()?;
            let pin = pin.ok_or_else(|| {
                usage("which task? This is no workspace of one")
                    .hint("name it after the command, or go to its workspace: envctl workspace ls")
            })?;
            let reference: TaskRef = pin.reference().parse()?;
            app.locate(&reference)?
        }
    };
    match settled(app, located)? {
        (resolved, Some(workspace)) => Ok((resolved, workspace)),
        (resolved, None) => Err(without_workspace(&resolved)),
    }
}

/// A task's identity, and its workspace where there is one.
fn settled(app: &App, located: Located) -> Result<(Resolved, Option<PathBuf>)> {
    let resolved = resolve(&Source::new(app, located), None, false)?;
    let workspace = resolved.pin.as_ref().map(|pin| pin.workspace.clone()).filter(|folder| folder.is_dir());
    Ok((resolved, workspace))
}

fn without_workspace(resolved: &Resolved) -> anyhow::Error {
    let shown = resolved.task.reference();
    not_found(format!("{shown} has no workspace here, so its inputs are not known"))
        .hint(format!("envctl enter {} --no-runtime", resolved.task.quoted()))
        .into()
}

/// How the names of entries end that runs of a checkout of the task's repository
/// have sealed.
fn end_of_checkout(resolved: &Resolved, root: &Path) -> Option<String> {
    let folder = real_path(root).ok()?;
    Some(format!(":{}", name_of(&resolved.identity.repo.url, &folder)))
}

fn has_sealed(app: &App, resolved: &Resolved, root: &Path) -> Result<bool> {
    let Some(end) = end_of_checkout(resolved, root) else { return Ok(false) };
    let sealed = |record: &Record| matches!(&record.scope, Scope::Task(name) if name.ends_with(&end));
    Ok(all_trees(app)?.iter().any(|trees| trees.all().iter().any(sealed)))
}

/// Lets setups run again that have failed; the caches whose had.
///
/// # Errors
/// When the task has no workspace here, or none of its setups had failed.
pub fn cache_retry(app: &App, task: Option<&TaskRef>, names: &[String]) -> Result<Vec<KeyRow>> {
    let (resolved, workspace) = workspace_of(app, task)?;
    let project = app.project(&workspace)?;
    let all = wanted(app, &project, &Basis::of(&resolved.identity), &workspace);
    let meant = all.into_iter().filter(|wanted| names.is_empty() || names.contains(&wanted.name));
    let failed: Vec<KeyRow> = meant
        .filter(|wanted| forget(app, &wanted.key))
        .map(|wanted| KeyRow { components: lines(&wanted), name: wanted.name, key: wanted.key, here: None })
        .collect();
    if failed.is_empty() {
        let shown = resolved.task.reference();
        let which = if names.is_empty() { String::new() } else { format!(" {}", names.join(", ")) };
        return Err(not_found(format!("no setup of a cache{which} of {shown} has failed here"))
            .hint(format!(
                "those that are missing run at the next enter; their keys: envctl cache key {}",
                resolved.task.quoted()
            ))
            .into());
    }
    Ok(failed)
}

/// Why two keys of one cache differ.
#[derive(Clone, Debug, Serialize)]
pub struct Explained {
    /// The cache.
    pub name: String,
    /// The two keys.
    pub keys: [Digest; 2],
    /// Each component that differs: its name, and its two values.
    pub differs: Vec<(String, Option<String>, Option<String>)>,
}

/// Compares the keys that two names stand for: each a task with a workspace
/// here, or the beginning of the key of an entry.
///
/// # Errors
/// When a name stands for nothing.
pub fn cache_why(app: &App, a: &str, b: &str) -> Result<Vec<Explained>> {
    let (a, b) = (named(app, a)?, named(app, b)?);
    let single = a.len() == 1 && b.len() == 1;
    let mut all = Vec::new();
    for x in &a {
        // One key each: whatever their names are.
        let Some(y) = b.iter().find(|y| single || y.name == x.name) else { continue };
        let name = if x.name == y.name { x.name.clone() } else { format!("{} and {}", x.name, y.name) };
        all.push(Explained { name, keys: [x.key(), y.key()], differs: x.difference(y) });
    }
    if all.is_empty() {
        return Err(not_found("they have no cache in common").into());
    }
    Ok(all)
}

fn named(app: &App, name: &str) -> Result<Vec<Components>> {
    let unknown = match entry(app, name) {
        Ok((_, record)) => return Ok(vec![record.components]),
        Err(error) => error,
    };
    let (resolved, workspace) = match name.parse().map_err(Into::into).and_then(|task| workspace_of(app, Some(&task))) {
        Ok(found) => found,
        // It looks like a key, so that is what was meant.
        Err(_) if kind_of(&unknown) == Kind::NotFound => return Err(unknown),
        Err(error) => return Err(error),
    };
    let project = app.project(&workspace)?;
    let all = wanted(app, &project, &Basis::of(&resolved.identity), &workspace);
    Ok(all.into_iter().filter_map(|wanted| wanted.components).collect())
}

/// The one entry whose key begins so.
fn entry(app: &App, key: &str) -> Result<(Trees, Record)> {
    let digits = key.strip_prefix("sha256:").unwrap_or(key);
    if digits.len() < 6 || !digits.bytes().all(|c| c.is_ascii_hexdigit()) {
        return Err(usage(format!("{key:?} is not the beginning of a key"))
            .hint("at least 6 digits, as envctl cache ls shows them")
            .into());
    }
    let mut found = Vec::new();
    for trees in all_trees(app)? {
        let fitting = trees.all().into_iter().filter(|record| record.key.hex().starts_with(digits));
        found.extend(fitting.map(|record| (trees.clone(), record)));
    }
    // One key in two scopes is the same question twice; the task's own first.
    found.sort_by(|(_, a), (_, b)| (a.key, &a.scope).cmp(&(b.key, &b.scope)));
    let ambiguous = found.windows(2).any(|pair| pair[0].1.key != pair[1].1.key);
    if ambiguous {
        return Err(usage(format!("{key} is the beginning of several keys")).hint("give more digits").into());
    }
    found
        .into_iter()
        .next()
        .ok_or_else(|| not_found(format!("no cache here has the key {key}")).hint("envctl cache ls").into())
}

/// What of an entry differs from the later result that was kept.
#[derive(Clone, Debug, Serialize)]
pub struct Compared {
    /// The cache.
    pub name: String,
    /// Its key.
    pub key: Digest,
    /// `-` in the entry alone, `+` in the later result alone, `M` in both.
    pub paths: Vec<(char, String)>,
    /// More differ than are listed.
    pub more: bool,
}

/// Paths of one comparison.
const MOST: usize = 1000;

/// Compares an entry with the later result of its setup.
///
/// # Errors
/// [`crate::error::Kind::NotFound`] when none was kept.
pub fn cache_diff(app: &App, key: &str) -> Result<Compared> {
    let (trees, record) = entry(app, key)?;
    let (a, b) = (trees.tree(&record), trees.other(&record));
    if !b.exists() {
        return Err(not_found(format!("every result of the setup of {} was the same", record.components.name)).into());
    }
    let open = |path: &PathBuf| File::open(path).with_context(|| format!("cannot open {}", path.display()));
    let mut found = archive::compare(open(&a)?.as_fd(), open(&b)?.as_fd(), MOST + 1)?;
    let more = found.len() > MOST;
    found.truncate(MOST);
    let paths = found.into_iter().map(|(how, path)| (how, String::from_utf8_lossy(&path).into_owned())).collect();
    Ok(Compared { name: record.components.name, key: record.key, paths, more })
}

/// What `cache prune` was asked for.
#[derive(Clone, Debug, Default)]
pub struct PruneOptions {
    /// `--older-than`.
    pub older_than: Option<Duration>,
    /// `--max-size`.
    pub max_size: Option<u64>,
    /// `--all`: everything that nobody needs.
    pub all: bool,
    /// `--key`.
    pub key: Option<String>,
    /// `--dry-run`.
    pub dry_run: bool,
}

/// Removes what nobody needs.
///
/// # Errors
/// When the state cannot be read.
pub fn prune(app: &App, asked: &PruneOptions) -> Result<Vec<Tended>> {
    let mut rules = configured(app);
    if let Some(key) = &asked.key {
        let (_, record) = entry(app, key)?;
        rules = Rules { key: Some(record.key.hex().to_owned()), ..Rules::default() };
    } else if asked.all {
        rules = Rules { max_size: Some(0), ..Rules::default() };
    } else {
        rules.max_age = asked.older_than.or(rules.max_age);
        rules.max_size = asked.max_size.or(rules.max_size);
    }
    rules.dry_run = asked.dry_run;
    Ok(tend(app, &rules, true)?.unwrap_or_default())
}

/// What was given to all tasks of a store.
#[derive(Clone, Debug, Serialize)]
pub struct Promoted {
    /// The caches.
    pub caches: Vec<KeyRow>,
    /// Bytes that went to the store.
    pub bytes: u64,
}

/// Gives a task's entries to the whole project, here and in the store.
///
/// # Errors
/// When there is none of that name, or the store cannot be written.
pub fn promote(app: &App, task: &TaskRef, names: &[String]) -> Result<Promoted> {
    let here = app.checkout();
    let (resolved, workspace) = match (settled(app, app.locate(task)?)?, &here) {
        ((resolved, Some(workspace)), _) => (resolved, workspace),
        // An agent that has run in its checkout, and entered nothing.
        ((resolved, None), Some(here)) if has_sealed(app, &resolved, here)? => (resolved, here.clone()),
        ((resolved, None), _) => return Err(without_workspace(&resolved)),
    };
    let project = app.project(&workspace)?;
    let basis = Basis::of(&resolved.identity);
    let all = wanted(app, &project, &basis, &workspace);
    if let Some(unknown) = names.iter().find(|name| !all.iter().any(|wanted| wanted.name == **name)) {
        return Err(not_found(format!("{task} has no cache {unknown}"))
            .hint(format!("envctl cache key {task}"))
            .into());
    }
    let user = fetch::local_user(app, basis.image())?.ok_or_else(|| not_found("the task's image is not here"))?;
    let holder = runtimes::holder(app, &user);
    let trees = trees(app, &holder)?;
    let promotion = Promotion { resolved: &resolved, here: here.as_deref(), trees, holder };
    let (mut rows, mut records) = (Vec::new(), Vec::new());
    for wanted in all.into_iter().filter(|wanted| wanted.fixture.is_none()) {
        if !names.is_empty() && !names.contains(&wanted.name) {
            continue;
        }
        let Some(record) = promotion.entry(app, &wanted)? else {
            app.ui.warn(&format!("the cache {} is not here: {}", wanted.name, promotion.how_to(task, &wanted)));
            continue;
        };
        let components = lines(&wanted);
        rows.push(KeyRow { name: wanted.name, key: wanted.key, components, here: Some(record.scope.kind()) });
        records.push((record.clone(), record.scope));
    }
    if records.is_empty() {
        return Err(not_found(format!("nothing of {task} is sealed here")).hint(format!("envctl enter {task}")).into());
    }
    let store = app.open(&resolved.task.store, Access::Write)?;
    let (_, bytes) = push(app, &*store, &basis, &records)?;
    Ok(Promoted { caches: rows, bytes })
}

/// Entries of a task, on their way to the whole project.
struct Promotion<'a> {
    resolved: &'a Resolved,
    /// The checkout in which the developer is.
    here: Option<&'a Path>,
    trees: Trees,
    holder: Mapped,
}

impl Promotion<'_> {
    /// The project's entry: what it has already, or the task's own.
    fn entry(&self, app: &App, wanted: &Wanted) -> Result<Option<Record>> {
        let [own, everybody] = scopes(self.resolved);
        // Whoever is about to use it finds it where it was.
        let _alone = FileLock::acquire(&app.paths.cache_lock("trees"), || {
            app.ui.status("Waiting", "another envctl is starting a runtime");
        })?;
        let mine = match (self.trees.get(&wanted.key, &own), self.trees.get(&wanted.key, &everybody)) {
            (None, Some(record)) => return Ok(Some(record)),
            (mine, _) => mine,
        };
        // What a run of this checkout sealed, which is where the developer is.
        let checkout = self.here.and_then(|here| end_of_checkout(self.resolved, here));
        let is_of_checkout = |name: &str| checkout.as_ref().is_some_and(|end| name.ends_with(end));
        let Some(record) = mine.or_else(|| self.trees.of_a_task(&wanted.key, &is_of_checkout)) else { return Ok(None) };
        let _lock = self.trees.lock(&wanted.key, || waiting(app, &wanted.name))?;
        self.trees.promote(&record, everybody, &self.holder).map(Some)
    }

    /// What helps where there is no entry.
    fn how_to(&self, task: &TaskRef, wanted: &Wanted) -> String {
        let url = self.resolved.identity.repo.url.key();
        let is_of_another = |name: &str| name.contains(&format!(":checkout of {url} "));
        match self.trees.of_a_task(&wanted.key, &is_of_another) {
            Some(_) => "a run of a checkout sealed it: promote it in that folder".to_owned(),
            None => format!("envctl enter {task} makes it"),
        }
    }
}
