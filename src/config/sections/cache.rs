//! `[[cache]]` of a project: what is made once and used often.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::spot::Spot;
use crate::config::preset::{self, Preset, SetupNetwork};
use crate::error::{Fault, usage};

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
    /// Those of them that another cache of the project keeps: its setup finds them there.
    pub lent: Vec<Spot>,
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
        let base = Base { preset, dir };
        let name = base.name(written.name)?;
        let written_out = written.path.is_some() || written.paths.is_some();
        let (path, more) = base.places(written.path, written.paths)?;
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
        let again = known.map(|preset| preset.again).filter(|again| !again.is_empty() && seed != Seed::Never);
        let files = preset.filter(|_| written.inputs.is_none()).map_or(&[][..], |preset| preset.files);
        Ok(CacheEntry {
            name,
            either: base.all_below(files),
            also: base.all_below(preset.map_or(&[][..], |preset| preset.also)),
            inputs: written.inputs.unwrap_or_default(),
            manifest: manifest.map(|preset| preset.manifest.to_owned()),
            path,
            more,
            members_of: preset.filter(|preset| preset.members && !written_out).map(|_| base.dir.clone()),
            setup: base.setup(written.setup)?,
            network: written.network.unwrap_or_else(|| preset.map_or_else(Default::default, |preset| preset.network)),
            env: written.env,
            everywhere: base.variables(),
            timeout: written.timeout,
            materialize: written.materialize,
            read_only: written.read_only,
            build: written.build.or(preset.map(|preset| preset.build)),
            seed,
            again: again.map(|again| base.again(again)),
            stores,
            lent: Vec::new(),
        })
    }
}

/// What an entry begins with: a preset, in a folder of the project.
struct Base {
    preset: Option<&'static Preset>,
    /// Empty for the project's own.
    dir: String,
}

impl Base {
    fn missing(&self, what: &str) -> Fault {
        let whose = self.preset.map_or(String::new(), |preset| format!("the preset {} has no {what}, ", preset.name));
        usage(format!("{whose}{what} is missing"))
    }

    fn below(&self, path: &str) -> String {
        if self.dir.is_empty() { path.to_owned() } else { format!("{}/{path}", self.dir) }
    }

    fn all_below(&self, paths: &[&str]) -> Vec<String> {
        paths.iter().map(|path| self.below(path)).collect()
    }

    fn name(&self, written: Option<String>) -> Result<String, Fault> {
        match (written, self.preset) {
            (Some(name), _) => Ok(name),
            (None, Some(preset)) if self.dir.is_empty() => Ok(preset.name.to_owned()),
            (None, Some(preset)) => Ok(format!("{}-{}", preset.name, self.dir.replace('/', "-"))),
            (None, None) => Err(self.missing("name")),
        }
    }

    /// The first place, and the others.
    fn places(&self, path: Option<Spot>, paths: Option<Vec<Spot>>) -> Result<(Spot, Vec<Spot>), Fault> {
        let mut written = match (path, paths) {
            (Some(_), Some(_)) => return Err(usage("a cache has either path or paths")),
            (path, None) => Vec::from_iter(path),
            (None, Some(paths)) => paths,
        };
        if !written.is_empty() {
            let more = written.split_off(1);
            return Ok((written.remove(0), more));
        }
        match self.preset {
            Some(preset) if preset.path.starts_with("~/") => Ok((preset.path.parse()?, Vec::new())),
            Some(preset) => Ok((self.below(preset.path).parse()?, Vec::new())),
            None => Err(self.missing("path")),
        }
    }

    fn setup(&self, written: Option<String>) -> Result<String, Fault> {
        let of_preset = self.preset.map(|preset| preset.setup).filter(|setup| !setup.is_empty());
        match (written, of_preset) {
            (Some(setup), _) => Ok(setup),
            (None, Some(setup)) if self.dir.is_empty() => Ok(setup.to_owned()),
            (None, Some(setup)) => Ok(format!("cd '{}' && {setup}", self.dir)),
            (None, None) => Err(self.missing("setup")),
        }
    }

    /// The command that goes on from an older content.
    fn again(&self, command: &str) -> String {
        let command = command.trim_end();
        if self.dir.is_empty() { command.to_owned() } else { format!("cd '{}' && {{ {command}; }}", self.dir) }
    }

    /// Variables of the command and of every run.
    fn variables(&self) -> BTreeMap<String, String> {
        let slash = if self.dir.is_empty() { String::new() } else { format!("/{}", self.dir) };
        let variable = |(name, value): &(&str, &str)| ((*name).to_owned(), value.replace("{dir}", &slash));
        self.preset.map_or_else(BTreeMap::new, |preset| preset.env.iter().map(variable).collect())
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
