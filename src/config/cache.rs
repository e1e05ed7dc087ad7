//! `[[cache]]`, `[[fixture]]` and `[[service]]` of a project: what is made once
//! and used often, and what runs beside the command.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

use super::preset::{self, Preset, SetupNetwork};
use crate::digest::Digest;
use crate::error::{Fault, usage};
use crate::identity::{ImageName, StoreRef, Target, TaskRef};
use crate::quantity::parse_duration;

/// Folders inside in which nothing of a project may be mounted.
const RESERVED: [&str; 5] = ["proc", "sys", "dev", "run", "tmp"];

/// `[[cache]]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "Written")]
pub struct CacheEntry {
    /// Names the entry in this project.
    pub name: String,
    /// Files of the project that decide the content.
    pub inputs: Vec<String>,
    /// Files of which one has to be there, by a preset.
    pub either: Vec<String>,
    /// Files that decide the content where they are there, by a preset.
    pub also: Vec<String>,
    /// The name of manifests of which only some parts decide, by a preset.
    pub manifest: Option<String>,
    /// Where the content belongs.
    pub path: Spot,
    /// Where else, and patterns of that in the workspace.
    pub more: Vec<Spot>,
    /// The folder of a preset by which each member of a workspace of packages has a
    /// place as well, called as [`Self::path`] is.
    pub members_of: Option<String>,
    /// The shell command that fills it.
    pub setup: String,
    /// What the command can reach.
    pub network: SetupNetwork,
    /// Variables of the command.
    pub env: BTreeMap<String, String>,
    /// Variables of the command and of every run, by a preset.
    pub everywhere: BTreeMap<String, String>,
    /// How long the command may take.
    pub timeout: Option<String>,
    /// Copy the content into the workspace, for programs of the host.
    pub materialize: bool,
    /// Runs see it read-only.
    pub read_only: bool,
    /// Whether it is built from the files of the workspace, where its path does
    /// not say.
    pub build: Option<bool>,
    /// Whether the setup may start from an older content.
    pub seed: Seed,
    /// The shell command that goes on from an older content, where it is another one.
    pub again: Option<String>,
    /// Where the tool of a preset keeps what it downloads, as far as no other cache is
    /// there.
    pub stores: Vec<Spot>,
}

/// Whether a setup may start from an older content of its cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Seed {
    /// It starts from nothing.
    #[default]
    Never,
    /// Where nothing but lockfiles and manifests differs: a preset knows its tool.
    Known,
    /// Whatever differs: the project says so.
    Always,
}

/// The same as it is written: what a preset knows may be left out.
#[derive(Deserialize)]
struct Written {
    preset: Option<String>,
    dir: Option<String>,
    name: Option<String>,
    inputs: Option<Vec<String>>,
    path: Option<Spot>,
    paths: Option<Vec<Spot>>,
    setup: Option<String>,
    network: Option<SetupNetwork>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    timeout: Option<String>,
    #[serde(default)]
    materialize: bool,
    #[serde(default)]
    read_only: bool,
    build: Option<bool>,
    seed: Option<bool>,
}

impl TryFrom<Written> for CacheEntry {
    type Error = Fault;

    fn try_from(written: Written) -> Result<Self, Fault> {
        let preset = written.preset.as_deref().map(known_preset).transpose()?;
        let dir = written.dir.as_deref().map_or(Ok(String::new()), folder)?;
        if preset.is_none() && !dir.is_empty() {
            return Err(usage("dir goes with a preset").hint("write the folder into inputs, path and setup"));
        }
        let below = |path: &str| if dir.is_empty() { path.to_owned() } else { format!("{dir}/{path}") };
        let all = |paths: &[&str]| paths.iter().map(|path| below(path)).collect::<Vec<_>>();
        let missing = |what: &str| {
            let whose = preset.map_or(String::new(), |preset| format!("the preset {} has no {what}, ", preset.name));
            usage(format!("{whose}{what} is missing"))
        };
        let name = match (written.name, preset) {
            (Some(name), _) => name,
            (None, Some(preset)) if dir.is_empty() => preset.name.to_owned(),
            (None, Some(preset)) => format!("{}-{}", preset.name, dir.replace('/', "-")),
            (None, None) => return Err(missing("name")),
        };
        let (mut more, written_out) = (Vec::new(), written.path.is_some() || written.paths.is_some());
        let first = match (written.path, written.paths) {
            (Some(_), Some(_)) => return Err(usage("a cache has either path or paths")),
            (path, None) => path,
            (None, Some(mut paths)) if !paths.is_empty() => {
                more = paths.split_off(1);
                paths.pop()
            }
            (None, Some(_)) => None,
        };
        let path = match (first, preset) {
            (Some(path), _) => path,
            (None, Some(preset)) if preset.path.starts_with("~/") => preset.path.parse()?,
            (None, Some(preset)) => below(preset.path).parse()?,
            (None, None) => return Err(missing("path")),
        };
        let stores = preset.filter(|_| !written_out).map_or(&[][..], |preset| preset.store);
        let stores = stores.iter().map(|store| store.parse()).collect::<Result<_, _>>()?;
        // What another setup reads, and how it goes on, is not known.
        let known = preset.filter(|_| written.setup.is_none());
        let manifest = known.filter(|preset| !preset.manifest.is_empty());
        let converges = preset.is_some_and(|preset| preset.seed && (known.is_some() || preset.setup.is_empty()));
        let seed = match written.seed {
            Some(true) => Seed::Always,
            None if converges => Seed::Known,
            _ => Seed::Never,
        };
        let within =
            |setup: &str| if dir.is_empty() { setup.to_owned() } else { format!("cd '{dir}' && {{ {setup}; }}") };
        let again =
            known.map(|preset| preset.again).filter(|again| !again.is_empty() && seed != Seed::Never).map(within);
        let setup = match (written.setup, preset.map(|preset| preset.setup).filter(|setup| !setup.is_empty())) {
            (Some(setup), _) => setup,
            (None, Some(setup)) if dir.is_empty() => setup.to_owned(),
            (None, Some(setup)) => format!("cd '{dir}' && {setup}"),
            (None, None) => return Err(missing("setup")),
        };
        let slash = if dir.is_empty() { String::new() } else { format!("/{dir}") };
        let variable = |(name, value): &(&str, &str)| ((*name).to_owned(), value.replace("{dir}", &slash));
        Ok(CacheEntry {
            name,
            either: written.inputs.is_none().then_some(preset).flatten().map_or(Vec::new(), |preset| all(preset.files)),
            also: preset.map_or(Vec::new(), |preset| all(preset.also)),
            inputs: written.inputs.unwrap_or_default(),
            manifest: manifest.map(|preset| preset.manifest.to_owned()),
            path,
            more,
            members_of: preset.filter(|preset| preset.members && !written_out).map(|_| dir.clone()),
            setup,
            network: written.network.unwrap_or_else(|| preset.map_or_else(Default::default, |preset| preset.network)),
            env: written.env,
            everywhere: preset.map_or_else(BTreeMap::new, |preset| preset.env.iter().map(variable).collect()),
            timeout: written.timeout,
            materialize: written.materialize,
            read_only: written.read_only,
            build: written.build.or(preset.map(|preset| preset.build)),
            seed,
            again,
            stores,
        })
    }
}

fn known_preset(name: &str) -> Result<&'static Preset, Fault> {
    preset::named(name).ok_or_else(|| {
        let all: Vec<&str> = preset::PRESETS.iter().map(|preset| preset.name).collect();
        let hint = match preset::alike(name) {
            Some(alike) => format!("did you mean {alike:?}?"),
            None => format!("there are {}", all.join(", ")),
        };
        usage(format!("there is no preset {name:?}; {hint}"))
    })
}

/// A folder of the project that a shell takes as it is.
fn folder(dir: &str) -> Result<String, Fault> {
    match dir.parse()? {
        Spot::Workspace(path) if !path.contains(['\'', '*', '?', '[', '{', '$']) => Ok(path),
        _ => Err(usage(format!("{dir:?} is no folder of the project"))),
    }
}

/// Folders of packages: tools do not compare what is in them with sources.
const PACKAGES: [&str; 8] =
    ["node_modules", ".venv", "venv", "site-packages", "vendor", "bundle", ".pnpm-store", ".yarn"];

/// Folders of the image in which nothing is built from a project.
const KEPT: [&str; 9] = ["var", "opt", "usr", "srv", "etc", "lib", "home", "root", "mnt"];

impl CacheEntry {
    /// Whether tools may compare the times of what is in it with those of the
    /// workspace's files. It does no harm where they do not.
    pub fn is_built(&self) -> bool {
        let first = |path: &str| path.split('/').next().unwrap_or_default().to_owned();
        let built = |place: &Spot| match place {
            Spot::Workspace(path) => !path.split('/').any(|part| PACKAGES.contains(&part)),
            // Where tools keep what they download, by content.
            Spot::Home(path) => !path.starts_with('.') && first(path) != "go",
            Spot::Absolute(path) => !KEPT.contains(&first(path).as_str()),
        };
        self.build.unwrap_or_else(|| self.places().any(built))
    }

    /// All places and patterns, as they are written.
    pub fn places(&self) -> impl Iterator<Item = &Spot> {
        std::iter::once(&self.path).chain(&self.more)
    }

    /// The same in a line.
    pub fn shown_places(&self) -> String {
        self.places().map(Spot::to_string).collect::<Vec<_>>().join(", ")
    }

    /// Whether it may have several places.
    pub fn is_spread(&self) -> bool {
        !self.more.is_empty() || self.path.is_pattern()
    }
}

/// Gives each store of a tool to the first cache that has it, where nothing else is.
pub(super) fn place_stores(caches: &mut [CacheEntry], fixtures: &[Fixture], services: &[Service]) {
    let within = |a: &str, b: &str| a == b || a.strip_prefix(b).is_some_and(|rest| rest.starts_with('/'));
    let data = || services.iter().filter_map(|service| service.data.as_ref());
    let mut taken: Vec<String> = caches.iter().flat_map(CacheEntry::places).map(Spot::to_string).collect();
    taken.extend(fixtures.iter().filter_map(|fixture| fixture.path.as_ref()).map(Spot::to_string));
    taken.extend(data().map(|data| data.path.to_string()));
    // A service starts from a content of one place.
    let one = |cache: &CacheEntry| data().any(|data| data.cache.as_ref() == Some(&cache.name));
    for cache in caches.iter_mut().filter(|cache| !one(cache)) {
        for store in std::mem::take(&mut cache.stores) {
            let shown = store.to_string();
            if !taken.iter().any(|other| within(other, &shown) || within(&shown, other)) {
                taken.push(shown);
                cache.more.push(store);
            }
        }
    }
}

/// `[[fixture]]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Fixture {
    /// Names it in this project.
    pub name: String,
    /// The content: an artifact of tar layers, by digest.
    pub source: FixtureSource,
    /// Where it can be read; absent where only a service uses it.
    pub path: Option<Spot>,
}

/// `STORE@sha256:...`; without a store in the task's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FixtureSource {
    /// The store.
    pub store: Option<StoreRef>,
    /// The manifest's digest.
    pub digest: Digest,
}

impl FromStr for FixtureSource {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        let reference: TaskRef = match text.strip_prefix('@') {
            // In the task's own store.
            Some(digest) => return Ok(FixtureSource { store: None, digest: digest.parse()? }),
            None => text.parse()?,
        };
        match reference.target {
            Target::Identity(digest) => Ok(FixtureSource { store: reference.store, digest }),
            Target::Task(_) => {
                Err(usage(format!("{text:?} can change")).hint("name a fixture by digest: STORE@sha256:..."))
            }
        }
    }
}

impl<'de> Deserialize<'de> for FixtureSource {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// `[[service]]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Service {
    /// Names it in this project.
    pub name: String,
    /// Program and arguments; of an image of its own what follows its entrypoint.
    #[serde(default)]
    pub command: Vec<String>,
    /// An image of its own.
    pub image: Option<String>,
    /// When it is ready.
    pub ready: Option<Ready>,
    /// How long it may take until it is.
    pub timeout: Option<String>,
    /// How long it may take to end by itself; without, it is killed.
    pub stop: Option<String>,
    /// Variables of it.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// What it works on.
    pub data: Option<ServiceData>,
}

/// `data` of a service.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct ServiceData {
    /// The cache that it starts from.
    pub cache: Option<String>,
    /// The fixture that it starts from.
    pub fixture: Option<String>,
    /// Where the service has it.
    pub path: Spot,
}

/// When a service is ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ready {
    /// `tcp:PORT`: something listens on this port inside.
    Tcp(u16),
    /// `file:PATH`: this file exists inside.
    File(String),
    /// `cmd:COMMAND`: this shell command succeeds.
    Command(String),
}

impl FromStr for Ready {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        match text.split_once(':') {
            Some(("tcp", port)) => port.parse().ok().filter(|port| *port > 0).map(Ready::Tcp),
            Some(("file", path)) if path.starts_with('/') && !path.contains('\0') => Some(Ready::File(path.into())),
            Some(("cmd", command)) if !command.is_empty() && !command.contains('\0') => {
                Some(Ready::Command(command.into()))
            }
            _ => None,
        }
        .ok_or_else(|| {
            usage(format!("{text:?} does not say when a service is ready"))
                .hint("write tcp:PORT, file:/PATH or cmd:COMMAND")
        })
    }
}

impl<'de> Deserialize<'de> for Ready {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A place inside: below the workspace, below the home folder (`~/`), or
/// absolute.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Spot {
    /// Relative to the workspace.
    Workspace(String),
    /// Relative to the user's home folder.
    Home(String),
    /// From the root, without the first slash.
    Absolute(String),
}

impl FromStr for Spot {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        let (spot, path): (fn(String) -> Spot, &str) = match (text.strip_prefix("~/"), text.strip_prefix('/')) {
            (Some(path), _) => (Spot::Home, path),
            (None, Some(path)) => (Spot::Absolute, path),
            (None, None) => (Spot::Workspace, text),
        };
        let path = path.strip_suffix('/').unwrap_or(path);
        let bad = |why: &str| usage(format!("{text:?} {why}")).hint("write a/path, ~/a/path or /a/path");
        let plain = |part: &str| !matches!(part, "" | "." | "..") && !part.contains('\0');
        if path.len() > 1024 || !path.split('/').all(plain) {
            return Err(bad("is not a place for a cache"));
        }
        let first = path.split('/').next().unwrap_or_default();
        let git = path.split('/').any(|part| part.eq_ignore_ascii_case(".git"));
        let spot = spot(path.to_owned());
        match &spot {
            Spot::Absolute(_) if RESERVED.contains(&first) => Err(bad("belongs to the runtime")),
            Spot::Workspace(_) if git => Err(bad("is git's own")),
            _ => Ok(spot),
        }
    }
}

impl Spot {
    /// Whether it stands for the folders that fit it.
    pub fn is_pattern(&self) -> bool {
        matches!(self, Spot::Workspace(path) if path.contains(['*', '?', '[']))
    }
}

impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Spot::Workspace(path) => f.write_str(path),
            Spot::Home(path) => write!(f, "~/{path}"),
            Spot::Absolute(path) => write!(f, "/{path}"),
        }
    }
}

impl<'de> Deserialize<'de> for Spot {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// What the parser cannot see by itself.
pub(super) fn check(caches: &[CacheEntry], fixtures: &[Fixture], services: &[Service]) -> Result<(), Fault> {
    let mut names = BTreeSet::new();
    let all = caches.iter().map(|cache| ("cache", &cache.name));
    let all = all.chain(fixtures.iter().map(|fixture| ("fixture", &fixture.name)));
    for (kind, name) in all.chain(services.iter().map(|service| ("service", &service.name))) {
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if name.is_empty() || name.len() > 64 || !name.chars().all(plain) {
            return Err(usage(format!("{kind} {name:?}: a name has letters, digits and . _ -")));
        }
        if !names.insert((kind == "service", name)) {
            return Err(usage(format!("{kind} {name:?}: another one has this name")));
        }
    }
    let mut spots: Vec<&Spot> = caches.iter().flat_map(CacheEntry::places).collect();
    spots.extend(fixtures.iter().filter_map(|fixture| fixture.path.as_ref()));
    spots.extend(services.iter().filter_map(|service| Some(&service.data.as_ref()?.path)));
    spots.sort();
    for pair in spots.windows(2) {
        let (a, b) = (pair[0].to_string(), pair[1].to_string());
        if b == a || b.strip_prefix(&a).is_some_and(|rest| rest.starts_with('/')) {
            return Err(usage(format!("{b} lies in {a}: two things cannot be in one place")));
        }
    }
    for cache in caches {
        let bad = |why: String| usage(format!("cache {:?}: {why}", cache.name));
        for input in cache.inputs.iter().chain(&cache.either).chain(&cache.also) {
            if !matches!(input.parse(), Ok(Spot::Workspace(_))) {
                return Err(bad(format!("{input:?} is no file of the project")));
            }
            glob::Pattern::new(input).map_err(|why| bad(format!("{input:?} is not a pattern: {}", why.msg)))?;
        }
        if cache.setup.trim().is_empty() || cache.setup.contains('\0') {
            return Err(bad("setup is empty".into()));
        }
        let reserved = |name: &str| name.is_empty() || name.starts_with("ENVCTL_") || name.contains(['=', '\0']);
        if let Some((name, _)) = cache.env.iter().find(|(name, value)| reserved(name) || value.contains('\0')) {
            return Err(bad(format!("{name:?} cannot be set")));
        }
        if cache.materialize && !matches!(cache.path, Spot::Workspace(_)) {
            return Err(bad("only what lies in the workspace can be materialized".into()));
        }
        for place in cache.places().filter(|place| place.is_pattern()).map(Spot::to_string) {
            glob::Pattern::new(&place).map_err(|why| bad(format!("{place:?} is not a pattern: {}", why.msg)))?;
            let name = place.rsplit('/').next().unwrap_or_default();
            if name.contains(['*', '?', '[']) {
                return Err(bad(format!("{place:?} ends with a pattern")))
                    .map_err(|fault| fault.hint("name the folder itself: packages/*/node_modules"));
            }
        }
        if let Some(timeout) = &cache.timeout {
            parse_duration(timeout).map_err(|why| bad(why.to_string()))?;
        }
    }
    services.iter().try_for_each(|service| check_service(caches, fixtures, service))
}

fn check_service(caches: &[CacheEntry], fixtures: &[Fixture], service: &Service) -> Result<(), Fault> {
    let bad = |why: String| usage(format!("service {:?}: {why}", service.name));
    let empty = service.command.is_empty() && service.image.is_none();
    if empty || service.command.iter().any(|word| word.contains('\0')) {
        return Err(bad("command is empty".into()).hint("command says what runs, or image where it is"));
    }
    if let Some(image) = &service.image {
        image.parse::<ImageName>().map_err(|why| bad(why.to_string()))?;
        if service.data.is_some() {
            return Err(bad(
                "data is for services of the task's image: one with an image begins with what that holds".into()
            ));
        }
    }
    for duration in [&service.timeout, &service.stop].into_iter().flatten() {
        parse_duration(duration).map_err(|why| bad(why.to_string()))?;
    }
    let Some(data) = &service.data else { return Ok(()) };
    match (&data.cache, &data.fixture) {
        (Some(name), None) if caches.iter().any(|cache| cache.name == *name && cache.is_spread()) => {
            Err(bad(format!("the cache {name:?} has several paths, data takes one of one path")))
        }
        (Some(name), None) if caches.iter().any(|cache| cache.name == *name) => Ok(()),
        (None, Some(name)) if fixtures.iter().any(|fixture| fixture.name == *name) => Ok(()),
        (Some(name), None) | (None, Some(name)) => Err(bad(format!("there is no {name:?}"))),
        _ => Err(bad("data names either a cache or a fixture".into())),
    }
}

#[cfg(test)]
mod tests;
