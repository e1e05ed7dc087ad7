//! Running a setup command in a clean runtime, and sealing what it made.
//!
//! Clean means: no secrets, no ports, no other cache but what its tool has downloaded,
//! and a workspace whose changes are thrown away. Only what lies at the entry's place is
//! kept.

mod elsewhere;
mod failed;

use std::cell::RefCell;
use std::fs::OpenOptions;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};

use self::elsewhere::DoneElsewhere;
use self::failed::{how_it_ended, last_line, tell_failure};
use super::differing::before;
use super::inputs::pins;
use super::setups::{BadEnd, SetupFailure};
use super::state::{Caches, waiting};
use super::wanted::{Wanted, part};
use super::{place, setups};
use crate::archive::Ownership as _;
use crate::cache::{Components, EntryOrigin, Record, Scope, Sealed, Sources, TreeDraft, Trees, grow};
use crate::config::{CacheEntry, SetupNetwork, Spot};
use crate::crash;
use crate::disk;
use crate::error::failure;
use crate::handoff::app::App;
use crate::handoff::runtimes;
use crate::handoff::runtimes::{RuntimeOptions, RuntimeParts};
use crate::handoff::words::shown_list;
use crate::image::Image;
use crate::quantity::{human_duration, parse_duration};
use crate::runtime::{self, Network, Outcome, Sandbox, Session, Spec, TreeAccess, TreeMount};
use crate::ui::{counted, human_bytes};

/// How long a setup may take when nothing else is said.
const TIMEOUT: &str = "1h";

/// Makes an entry. `None` when that failed: it has been told.
///
/// # Errors
/// When it was interrupted, or the cache cannot be written.
pub(crate) fn seal(caches: &Caches<'_>, index: usize, image: &Image) -> Result<Option<Record>> {
    let (app, wanted) = (caches.app, &caches.wanted[index]);
    let (Some(entry), Some(components)) = (&wanted.entry, &wanted.components) else { return Ok(None) };
    let _lock = caches.trees.lock(&wanted.key, || waiting(app, &wanted.name))?;
    let [scope, project] = caches.scopes();
    if let Some(first) = caches.trees.get(&wanted.key, &scope).or_else(|| caches.trees.get(&wanted.key, &project)) {
        return Ok(Some(first));
    }
    let before = wanted.built.then(|| caches.sources()).transpose()?;
    let state = before.as_ref().map(|(sources, _)| sources.digest());
    if let Some(failure) = SetupFailure::of(app, &wanted.key, state) {
        failure.tell(app, &caches.resolved.task.quoted());
        return Ok(None);
    }
    let network = match entry.network {
        SetupNetwork::None => Network::Isolated,
        SetupNetwork::Private => Network::Private,
        SetupNetwork::Host => Network::Host,
    };
    if app.options.offline && network != Network::Isolated {
        app.ui.warn(&format!("the cache {} is not here, and its setup needs a network", wanted.name));
        return Ok(None);
    }
    if !caches.agree(entry)? {
        return Ok(None);
    }
    require_room(app, &wanted.name)?;
    let seed = caches.seed(wanted);
    app.ui.status("Sealing", &what_runs(wanted, command(entry, seed.as_ref()), network));
    if let Some(why) = why(caches, wanted, components) {
        app.ui.status("Because", &why);
    }
    tell_others(caches, wanted);
    let began = std::time::Instant::now();
    let known = before.as_ref().map(|(sources, _)| sources);
    let Some((draft, grown, beside)) = fill(caches, (wanted, entry), (image, network), (seed.as_ref(), known))? else {
        return Ok(None);
    };
    setups::forget(app, &wanted.key);
    if let Some((sources, ignored)) = before {
        // What somebody wrote meanwhile was read before or after that.
        let (sources_after, ignored_after) = caches.sources()?;
        let (sources, ignored) = beside.taken_from(sources.and(&sources_after), ignored.and(&ignored_after));
        draft.made_from(&sources)?;
        draft.made_beside(&ignored)?;
    }
    draft.pinned(&pins(caches.workspace, &components.inputs))?;
    let record = Trees::record(components.clone(), scope, app.clock.now(), EntryOrigin::Sealed);
    let record = Record { grown, ..record };
    let sealed = caches.trees.seal(draft, record, None, &caches.holder)?;
    tell_sealed(app, wanted, &sealed, began.elapsed());
    Ok(Some(sealed.record().clone()))
}

/// Runs the setup, from another entry where there is one, and once more from nothing
/// where that failed. The draft, and how often it has grown; none where it failed, which
/// has been told.
fn fill(
    caches: &Caches<'_>,
    (wanted, entry): (&Wanted, &CacheEntry),
    (image, network): (&Image, Network),
    (seed, sources): (Option<&Record>, Option<&Sources>),
) -> Result<Option<(TreeDraft, u32, DoneElsewhere)>> {
    let app = caches.app;
    let state = sources.map(Sources::digest);
    let mut grown = seed.map_or(0, |seed| seed.grown + 1);
    let mut made = make(caches, (wanted, entry), (image, network), (seed, sources))?;
    if let (Some(seed), Made::Failed(why, _)) = (seed, &made) {
        let what = format!(
            "{}; it started from the entry {} and failed ({})",
            what_runs(wanted, &entry.setup, network),
            seed.key.short(),
            why.how
        );
        app.ui.status("Again", &what);
        (made, grown) = (make(caches, (wanted, entry), (image, network), (None, sources))?, 0);
    }
    match made {
        Made::Draft(draft, beside) => Ok(Some((draft, grown, beside))),
        Made::Failed(end, _draft) => {
            // On a full disk it may fail for that alone.
            if require_room(app, &wanted.name).is_ok() {
                SetupFailure::note(app, wanted, end, state);
            }
            Ok(None)
        }
        Made::NotAtAll => Ok(None),
    }
}

fn what_runs(wanted: &Wanted, command: &str, network: Network) -> String {
    format!("the cache {}: {} (network: {network})", wanted.name, in_a_line(command))
}

fn tell_sealed(app: &App, wanted: &Wanted, sealed: &Sealed, took: std::time::Duration) {
    if let Sealed::Differs(_) = sealed {
        app.ui.warn(&format!(
            "the setup of {} left something else than before; see envctl cache diff {}",
            wanted.name,
            wanted.key.short()
        ));
    }
    let tree = &sealed.record().tree;
    let (size, files) = (human_bytes(tree.bytes), counted(tree.entries, "file", "files"));
    let what = format!("the cache {}: {files}, {size}, in {}", wanted.name, human_duration(took));
    app.ui.status("Sealed", &what);
}

/// What became of a draft. That there is none has been told, unless it was the first
/// of two tries.
enum Made {
    Draft(TreeDraft, DoneElsewhere),
    /// And would again. What it left fills the disk that is looked at then.
    Failed(BadEnd, TreeDraft),
    NotAtAll,
}

/// What runs: another command may go on from an older content.
fn command<'a>(entry: &'a CacheEntry, seed: Option<&Record>) -> &'a str {
    entry.again.as_ref().filter(|_| seed.is_some()).unwrap_or(&entry.setup)
}

/// Runs a setup in a draft, or on another entry.
fn make(
    caches: &Caches<'_>,
    (wanted, entry): (&Wanted, &CacheEntry),
    (image, network): (&Image, Network),
    (seed, sources): (Option<&Record>, Option<&Sources>),
) -> Result<Made> {
    let draft = caches.trees.draft()?;
    make_parts(wanted, &draft)?;
    let seed = seed.map(|seed| (seed, caches.trees.tree(seed)));
    let tree = seed.as_ref().map(|(_, tree)| tree.as_path());
    let mut spec = spec(caches, (wanted, entry), image, network)?;
    // Without the data of services, which are not there.
    spec.rootfs.trees =
        wanted.spots.iter().take(wanted.own).map(|(spot, _)| mount(wanted, spot, &draft, tree)).collect();
    spec.rootfs.trees.extend(lent(caches, entry));
    let beside = RefCell::new(DoneElsewhere::default());
    let words = command(entry, seed.as_ref().map(|(seed, _)| *seed));
    let done = |sandbox: &Sandbox| -> Result<()> {
        let Some((tree, upper)) = tree.and_then(|tree| Some((tree, sandbox.done_to_tree(tree)?))) else {
            elsewhere::tell(caches, wanted, sandbox.done_to_workspace());
            if let Some(sources) = sources {
                beside.replace(DoneElsewhere::look(sandbox.done_to_workspace(), sources));
            }
            return Ok(());
        };
        caches.holder.inside(&|| grow(tree, &upper, &draft.tree()))
    };
    let ran = run(caches, &spec, wanted, (words, seed.is_none()), &done)?;
    let beside = beside.into_inner();
    let how = match ran {
        Ran::Well if is_empty(wanted, &draft) => match seed {
            Some(_) => "it left nothing".to_owned(),
            None => tell_nothing(caches, wanted, spec.log.as_deref()),
        },
        Ran::Well => match Caches::unusable(wanted, &beside.changed) {
            Some(why) => {
                caches.app.ui.warn(&format!("the cache {} is left out: {why}", wanted.name));
                why
            }
            None => return Ok(Made::Draft(draft, beside)),
        },
        Ran::Failed(how) => how,
        Ran::NotAtAll => return Ok(Made::NotAtAll),
    };
    Ok(Made::Failed(BadEnd { how, log: spec.log }, draft))
}

/// One place of a draft, or of the entry that its setup starts from, as far as that
/// has something there.
fn mount(wanted: &Wanted, spot: &Spot, draft: &TreeDraft, seed: Option<&Path>) -> TreeMount {
    let part = wanted.spread.then(|| part(spot));
    let seed = seed.filter(|seed| part.as_ref().is_none_or(|part| place::has_part(seed, part)));
    let (tree, access) = match seed {
        Some(seed) => (seed.to_owned(), TreeAccess::Overlay),
        None => (draft.tree(), TreeAccess::Writable),
    };
    TreeMount { name: wanted.name.clone(), tree, part, place: place::inside(spot), access }
}

/// What other caches of the project hold of what the tool downloads. Whatever the setup
/// changes there goes with it.
fn lent(caches: &Caches<'_>, entry: &CacheEntry) -> Vec<TreeMount> {
    let all = || caches.wanted.iter().zip(&caches.found);
    let holds = |store: &Spot| {
        all().find_map(|(wanted, found)| {
            let own = wanted.spots.iter().take(wanted.own).any(|(spot, _)| spot == store);
            let (record, _) = found.as_ref().filter(|_| own)?;
            let (tree, part) = (caches.trees.tree(record), wanted.spread.then(|| part(store)));
            let there = part.as_ref().is_none_or(|part| place::has_part(&tree, part));
            let (name, place) = (wanted.name.clone(), place::inside(store));
            there.then_some(TreeMount { name, tree, part, place, access: TreeAccess::Overlay })
        })
    };
    entry.lent.iter().filter_map(holds).collect()
}

/// Makes the parts of a tree that has some.
fn make_parts(wanted: &Wanted, draft: &TreeDraft) -> Result<()> {
    let parts = wanted.spots.iter().filter(|_| wanted.spread).map(|(place, _)| draft.tree().join(part(place)));
    for part in parts {
        std::fs::create_dir_all(&part).with_context(|| format!("cannot create {}", part.display()))?;
        // Whatever the developer's own mask is: modes are part of the content.
        for folder in part.ancestors().take_while(|folder| **folder != draft.tree()) {
            std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755))?;
        }
    }
    Ok(())
}

/// Whether a setup left nothing at any of its places. One that is empty stays: what
/// a run writes there must not stay in the workspace.
fn is_empty(wanted: &Wanted, draft: &TreeDraft) -> bool {
    let tree = draft.tree();
    let empty = |folder: &Path| std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none());
    match wanted.spread {
        true => wanted.spots.iter().take(wanted.own).all(|(place, _)| empty(&tree.join(part(place)))),
        false => empty(&tree),
    }
}

fn tell_nothing(caches: &Caches<'_>, wanted: &Wanted, log: Option<&Path>) -> String {
    let places: Vec<String> = wanted.spots.iter().take(wanted.own).map(|(place, _)| place.to_string()).collect();
    let what = format!("it left nothing at {}", shown_list(&places));
    let name = &wanted.name;
    let log = log.map_or_else(String::new, |log| format!("; see {}", log.display()));
    caches
        .app
        .ui
        .warn(&format!("the setup of the cache {name} succeeded, but {what}, and only there is anything kept{log}"));
    what
}

/// What differs from the entry before.
fn why(caches: &Caches<'_>, wanted: &Wanted, now: &Components) -> Option<String> {
    let all = caches.trees.all().into_iter().map(|record| ((), record));
    let ((), before) = before(all, wanted, caches.resolved)?;
    let (differs, short) = (caches.differences(&before, now), before.key.short());
    match differs.packages.is_empty() {
        _ if differs.is_empty() => None,
        true => Some(format!("{}: not as for the entry before, {short}", differs.in_a_line())),
        false => Some(format!("{} (the entry before: {short})", differs.in_a_line())),
    }
}

/// Names another task of the store that has sealed the same: whose it is stays as it
/// is, until somebody promotes it.
fn tell_others(caches: &Caches<'_>, wanted: &Wanted) {
    let start = format!("{}:", caches.resolved.task.store);
    // What is only a checkout has no task to name.
    let is_task = |name: &str| name.strip_prefix(&start).is_some_and(|task| !task.contains(' '));
    if let Some(Scope::Task(other)) = caches.trees.of_a_task(&wanted.key, &is_task).map(|record| record.scope) {
        let what = format!("{} was sealed here for {other} alone", wanted.name);
        caches.app.ui.status("Same", &format!("{what}: envctl cache promote {other} {} shares it", wanted.name));
    }
}

fn require_room(app: &App, name: &str) -> Result<()> {
    disk::create_private_dir(app.paths.cache())?;
    let (free, inodes) = disk::free_space(app.paths.cache())?;
    if free < 16 << 20 || inodes < 1024 {
        return Err(failure(format!(
            "the cache {name} cannot be made: {} has {} and {inodes} inodes left",
            app.paths.cache().display(),
            human_bytes(free)
        ))
        .hint("envctl cache prune --all, or point XDG_CACHE_HOME at a larger disk")
        .into());
    }
    Ok(())
}

/// The runtime of a setup, which may change the draft and nothing else.
fn spec(caches: &Caches<'_>, (wanted, entry): (&Wanted, &CacheEntry), image: &Image, network: Network) -> Result<Spec> {
    let app = caches.app;
    let options = RuntimeOptions { network: Some(network), no_secrets: true, ..RuntimeOptions::default() };
    let (resolved, pulled, folder, project) = (caches.resolved, caches.pulled, caches.workspace, caches.project);
    let mut spec = runtimes::spec(app, RuntimeParts { resolved, image, pulled, folder, project, options: &options })?;
    (spec.ports, spec.secrets) = (Vec::new(), Vec::new());
    let places = [("WORKDIR", caches.resolved.identity.workdir.as_str())];
    runtimes::add_variables(&mut spec.env, &places, "cache.env", &entry.env)?;
    spec.rootfs.workspace_stays = true;
    spec.setup = Some(wanted.name.clone());
    spec.log = Some(app.log_file(&format!("setup-{}+{}", resolved.task.log_name(), wanted.name)));
    let timeout = parse_duration(entry.timeout.as_deref().unwrap_or(TIMEOUT))?;
    spec.deadline = Some(runtime::monotonic_after(timeout));
    Ok(spec)
}

/// What became of a setup. That it did not succeed has been told, where it was to be.
enum Ran {
    Well,
    /// And would again.
    Failed(String),
    NotAtAll,
}

fn run(
    caches: &Caches<'_>,
    spec: &Spec,
    wanted: &Wanted,
    (command, told): (&str, bool),
    done: &dyn Fn(&Sandbox) -> Result<()>,
) -> Result<Ran> {
    let app = caches.app;
    let path = spec.log.as_deref().unwrap_or(Path::new("/dev/null"));
    disk::create_private_dir(&app.paths.logs())?;
    let mut log = OpenOptions::new()
        .create(true)
        .truncate(true)
        .read(true)
        .write(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    let session = Session {
        command: vec!["/bin/sh".into(), "-c".into(), command.into()],
        output: Some(Arc::new(log.try_clone()?)),
        last: true,
        ..Session::default()
    };
    let mut sandbox = match Sandbox::start(&app.runtimes(), app.clock, spec) {
        // The runtime that waits for it may need no network at all.
        Err(error) if spec.network == Network::Private => {
            let why = format!("the setup of the cache {} could not be started: {error:#}", wanted.name);
            app.ui.warn(&format!("{why}; the runtime goes without it"));
            return Ok(Ran::NotAtAll);
        }
        started => started?,
    };
    crash::point("seal.started");
    // A signal must find this thread, and not the one that draws.
    runtime::hold_signals()?;
    let shown = format!("setup of {}", wanted.name);
    let outcome = app.ui.progress().during(&shown, &|| last_line(&log), || sandbox.run(&session))?;
    if outcome == Outcome::Exited(0) {
        // What the command left running could write to whatever is done with the tree.
        sandbox.halt()?;
        done(&sandbox)?;
    }
    let receipt = sandbox.reset(app.clock, "sealed")?;
    receipt.out_of_memory.iter().for_each(|end| app.ui.warn(&runtimes::out_of_memory(end)));
    runtimes::check_baseline(&receipt)?;
    match outcome {
        Outcome::Exited(0) => Ok(Ran::Well),
        Outcome::Exited(130 | 143) | Outcome::Lost => {
            Err(failure(format!("the setup of the cache {} was interrupted", wanted.name)).into())
        }
        outcome if told => Ok(Ran::Failed(tell_failure(app, &wanted.name, &outcome, path, &mut log))),
        outcome => Ok(Ran::Failed(how_it_ended(&outcome))),
    }
}

/// The first line of a command, and whether there are more.
fn in_a_line(command: &str) -> String {
    let mut lines = command.trim().lines();
    let first = lines.next().unwrap_or_default().trim_end();
    if lines.next().is_some() { format!("{first} …") } else { first.to_owned() }
}
