//! Running a setup command in a clean runtime, and sealing what it made.
//!
//! Clean means: no secrets, no ports, no other cache, and a workspace whose
//! changes are thrown away. Only what lies at the entry's place is kept.

mod elsewhere;

use std::fs::OpenOptions;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};

use super::setups::Failure;
use super::state::{Caches, waiting};
use super::wanted::{Wanted, part};
use super::{place, setups};
use crate::archive::Ownership as _;
use crate::cache::{Components, Draft, Origin, Record, Scope, Sealed, Sources, Trees};
use crate::config::{CacheEntry, SetupNetwork, Spot};
use crate::crash;
use crate::disk;
use crate::error::failure;
use crate::handoff::app::App;
use crate::handoff::runtimes;
use crate::handoff::runtimes::RuntimeOptions;
use crate::handoff::words::shown_list;
use crate::image::Image;
use crate::quantity::{human_duration, parse_duration};
use crate::runtime::{self, Access, Network, Outcome, Sandbox, Session, Spec, TreeMount};
use crate::ui::human_bytes;

/// How long a setup may take when nothing else is said.
const TIMEOUT: &str = "1h";

/// Lines of a failed setup that are shown.
const TAIL: usize = 20;

/// Lines before them that are shown because they say what is wrong.
const ERRORS: usize = 5;

/// Bytes at the beginning of a log in which those are looked for.
const HEAD_BYTES: u64 = 1 << 20;

/// Bytes of the log in which the last lines are looked for.
const TAIL_BYTES: u64 = 16 << 10;

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
    let state = before.as_ref().map(Sources::digest);
    if let Some(failure) = Failure::of(app, &wanted.key, state) {
        failure.tell(app, &caches.resolved.task.reference());
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
    app.ui.status("Sealing", &format!("the cache {}: {} (network: {network})", wanted.name, in_a_line(&entry.setup)));
    if let Some(why) = why(caches, wanted, components) {
        app.ui.status("Because", &why);
    }
    tell_others(caches, wanted);
    let draft = caches.trees.draft()?;
    make_parts(wanted, &draft)?;
    let began = std::time::Instant::now();
    let spec = spec(caches, (wanted, entry), image, &draft, network)?;
    let ran = match run(caches, &spec, (wanted, entry))? {
        Ran::Well if is_empty(caches, wanted, &draft) => Ran::Failed(tell_nothing(caches, wanted)),
        ran => ran,
    };
    match ran {
        Ran::Well => setups::forget(app, &wanted.key),
        Ran::Failed(how) => {
            // On a full disk it may fail for that alone.
            if require_room(app, &wanted.name).is_ok() {
                Failure::note(app, wanted, &how, state);
            }
            return Ok(None);
        }
        Ran::NotAtAll => return Ok(None),
    };
    if let Some(before) = before {
        // What somebody wrote meanwhile was read before or after that.
        draft.made_from(&before.and(&caches.sources()?))?;
    }
    let record = Trees::record(components.clone(), scope, app.clock.now(), Origin::Sealed);
    let sealed = caches.trees.seal(draft, record, None, &caches.holder)?;
    if let Sealed::Differs(_) = sealed {
        app.ui.warn(&format!(
            "the setup of {} gave another content than before; see envctl cache diff {}",
            wanted.name,
            wanted.key.short()
        ));
    }
    let record = sealed.record();
    let size = human_bytes(record.tree.bytes);
    app.ui.status(
        "Sealed",
        &format!(
            "the cache {}: {} files, {size}, in {}",
            wanted.name,
            record.tree.entries,
            human_duration(began.elapsed())
        ),
    );
    Ok(Some(record.clone()))
}

/// Makes the parts of a tree that has some.
fn make_parts(wanted: &Wanted, draft: &Draft) -> Result<()> {
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

/// Whether a setup left nothing. Parts in which nothing is are taken out.
fn is_empty(caches: &Caches<'_>, wanted: &Wanted, draft: &Draft) -> bool {
    let tree = draft.tree();
    if wanted.spread {
        let _ = caches.holder.inside(&|| {
            for (place, _) in &wanted.spots {
                let part = part(place);
                // What holds something stays.
                let ways = Path::new(&part).ancestors().filter(|way| !way.as_os_str().is_empty());
                ways.map(|way| std::fs::remove_dir(tree.join(way))).take_while(Result::is_ok).for_each(drop);
            }
            Ok(())
        });
    }
    std::fs::read_dir(&tree).is_ok_and(|mut entries| entries.next().is_none())
}

fn tell_nothing(caches: &Caches<'_>, wanted: &Wanted) -> String {
    let places: Vec<String> = wanted.spots.iter().take(wanted.own).map(|(place, _)| place.to_string()).collect();
    let what = format!("it left nothing at {}", shown_list(&places));
    let name = &wanted.name;
    let log = caches.app.paths.setup_log(name, &wanted.key);
    caches.app.ui.warn(&format!(
        "the setup of the cache {name} succeeded, but {what}, and only there is anything kept; see {}",
        log.display()
    ));
    what
}

/// What differs from the entry that this workspace was given before, or else from
/// the last one that its task has.
fn why(caches: &Caches<'_>, wanted: &Wanted, now: &Components) -> Option<String> {
    let given = caches.resolved.pin.as_ref().map_or(&[][..], |pin| &pin.trees);
    let [own, _] = caches.scopes();
    let all = caches.trees.all().into_iter();
    let named = all.filter(|record| record.components.name == wanted.name && record.key != wanted.key);
    let known = named.filter(|record| given.contains(&Trees::name(record)) || record.scope == own);
    let before = known.max_by_key(|record| (given.contains(&Trees::name(record)), record.sealed_at))?;
    let differs = before.components.difference(now);
    let names: Vec<String> = differs.iter().map(|(name, ..)| name.trim_start_matches("input ").to_owned()).collect();
    let short = before.key.short();
    (!names.is_empty()).then(|| format!("{}: not as for the entry before, {short}", shown_list(&names)))
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
        .hint("envctl cache prune, or point XDG_CACHE_HOME at a larger disk")
        .into());
    }
    Ok(())
}

/// The runtime of a setup, which may change the draft and nothing else.
fn spec(
    caches: &Caches<'_>,
    (wanted, entry): (&Wanted, &CacheEntry),
    image: &Image,
    draft: &Draft,
    network: Network,
) -> Result<Spec> {
    let app = caches.app;
    let options = RuntimeOptions { network: Some(network), no_secrets: true, ..RuntimeOptions::default() };
    let mut spec =
        runtimes::spec(app, caches.resolved, image, caches.pulled, caches.workspace, caches.project, &options)?;
    (spec.ports, spec.secrets) = (Vec::new(), Vec::new());
    let places = [("WORKDIR", caches.resolved.identity.workdir.as_str())];
    runtimes::add_variables(&mut spec.env, &places, "cache.env", &entry.env)?;
    spec.rootfs.workspace_stays = true;
    spec.setup = Some(wanted.name.clone());
    let mount = |(place, _): &(Spot, Access)| TreeMount {
        name: wanted.name.clone(),
        tree: draft.tree(),
        part: wanted.spread.then(|| part(place)),
        place: place::inside(place),
        access: Access::Writable,
    };
    // Without the data of services, which are not there.
    spec.rootfs.trees = wanted.spots.iter().take(wanted.own).map(mount).collect();
    let timeout = parse_duration(entry.timeout.as_deref().unwrap_or(TIMEOUT))?;
    spec.deadline = Some(runtime::monotonic_after(timeout));
    Ok(spec)
}

/// What became of a setup. That it did not succeed has been told.
enum Ran {
    Well,
    /// And would again.
    Failed(String),
    NotAtAll,
}

fn run(caches: &Caches<'_>, spec: &Spec, (wanted, entry): (&Wanted, &CacheEntry)) -> Result<Ran> {
    let app = caches.app;
    let path = app.paths.setup_log(&wanted.name, &wanted.key);
    disk::create_private_dir(&app.paths.logs())?;
    let mut log = OpenOptions::new()
        .create(true)
        .truncate(true)
        .read(true)
        .write(true)
        .mode(0o600)
        .open(&path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    let session = Session {
        command: vec!["/bin/sh".into(), "-c".into(), entry.setup.clone().into()],
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
    // Without a thread beside it that draws: a signal must find this one.
    let outcome = sandbox.run(&session)?;
    if outcome == Outcome::Exited(0) {
        elsewhere::tell(caches, wanted, sandbox.done_to_workspace());
    }
    let receipt = sandbox.reset(app.clock, "sealed")?;
    receipt.out_of_memory.iter().for_each(|end| app.ui.warn(&runtimes::out_of_memory(end)));
    runtimes::check_baseline(&receipt)?;
    match outcome {
        Outcome::Exited(0) => Ok(Ran::Well),
        Outcome::Exited(130 | 143) | Outcome::Lost => {
            Err(failure(format!("the setup of the cache {} was interrupted", wanted.name)).into())
        }
        outcome => Ok(Ran::Failed(tell_failure(app, &wanted.name, &outcome, &path, &mut log))),
    }
}

/// The first line of a command, and whether there are more.
fn in_a_line(command: &str) -> String {
    let mut lines = command.trim().lines();
    let first = lines.next().unwrap_or_default().trim_end();
    if lines.next().is_some() { format!("{first} …") } else { first.to_owned() }
}

/// The first lines that say what is wrong, where the end of the log does not have
/// them.
fn first_errors(log: &mut std::fs::File) -> Vec<String> {
    let length = log.metadata().map_or(0, |meta| meta.len());
    let mut text = Vec::new();
    if length == 0 || log.rewind().is_err() {
        return Vec::new();
    }
    let _ = log.take(HEAD_BYTES).read_to_end(&mut text);
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let shown_anyway = if length <= HEAD_BYTES { lines.len().saturating_sub(TAIL) } else { lines.len() };
    let wrong = |line: &&str| {
        ["error", "missing:", "failed", "fatal:"].iter().any(|word| line.to_ascii_lowercase().contains(word))
    };
    let mut found: Vec<String> =
        lines[..shown_anyway].iter().copied().filter(wrong).take(ERRORS).map(str::to_owned).collect();
    if !found.is_empty() {
        found.push("[...]".to_owned());
    }
    found
}

/// Shows the end of what a failed setup printed; how it ended.
fn tell_failure(app: &App, name: &str, outcome: &Outcome, path: &Path, log: &mut std::fs::File) -> String {
    let how = match outcome {
        Outcome::NotStarted { program, errno } => {
            let why = std::io::Error::from_raw_os_error(*errno);
            format!("{program} cannot be started: {why}; is it in the image, with all that it needs?")
        }
        Outcome::TimedOut | Outcome::Idle => "it took too long".to_owned(),
        outcome => format!("exit code {}", outcome.exit_code()),
    };
    app.ui.warn(&format!("the setup of the cache {name} failed ({how}); the runtime goes without it"));
    for line in first_errors(log) {
        app.ui.text(&format!("    {line}"));
    }
    let mut text = Vec::new();
    let length = log.metadata().map_or(0, |meta| meta.len());
    if log.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES))).is_ok() {
        let _ = log.take(TAIL_BYTES).read_to_end(&mut text);
    }
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    for line in &lines[lines.len().saturating_sub(TAIL)..] {
        app.ui.text(&format!("    {line}"));
    }
    app.ui.text(&format!("    all of it: {}", path.display()));
    how
}
