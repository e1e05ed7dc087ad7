//! The inputs of a cache, from what the project writes to the files that they
//! are: patterns, and the files that a known input brings with it.
//!
//! Nothing is read through a link that leads out of the workspace. What git
//! ignores fits no pattern: it does not travel with the task.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::{Context as _, Result};
use glob::{MatchOptions, Pattern};
use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::cache::{LockfilePins, copies_folders, deciding, implied};
use crate::config::{CacheEntry, Fixture, Project, Spot};
use crate::digest::{Digest, Hasher};
use crate::disk::beneath::Beneath;
use crate::error::{Kind, kind_of, usage};
use crate::git::IgnoreLists;
use crate::handoff::app::App;
use crate::handoff::words::quote;
use crate::identity::{Given, StoreRef};
use crate::snapshot;
use crate::store::Store;

/// Bytes of one input.
const MAX_INPUT: u64 = 1 << 30;

/// Bytes in which it is looked for the files that it names.
const MAX_READ: u64 = 4 << 20;

/// Bytes of a lockfile in which packages are looked for.
const MAX_LOCKFILE: u64 = 32 << 20;

/// Files of one cache: whoever writes the project's file chooses the patterns.
const MAX_FILES: usize = 10_000;

/// Places of one cache: each is a mount.
const MAX_PLACES: usize = 1000;

/// Files and folders that are looked at for one pattern.
const MAX_LOOKED: usize = 200_000;

/// As a path of git with `:(glob)`: a star stays within a folder.
const MATCH: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: false };

/// What inputs are, as far as they were looked at: caches often share some.
pub(super) struct Inputs<'a> {
    workspace: &'a Path,
    /// Places of caches, in which no pattern looks.
    places: Vec<&'a str>,
    repo: Option<(git2::Repository, Beneath)>,
    ignored: IgnoreLists,
    hashed: HashMap<String, Option<Digest>>,
    /// The same of what decides in them.
    reduced: HashMap<String, Digest>,
    fitting: HashMap<String, Vec<String>>,
}

/// The files of one cache's inputs.
#[derive(Debug, Default)]
pub(super) struct InputFiles {
    /// Each file, and the digest of what it holds; `None` for one that is not
    /// there although the project names it.
    pub(super) files: BTreeMap<String, Option<Digest>>,
    /// What the project names and nothing is there for.
    pub(super) missing: Vec<String>,
}

impl<'a> Inputs<'a> {
    pub(super) fn of(project: &'a Project, workspace: &'a Path) -> Self {
        let place = |spot: &'a Spot| match spot {
            Spot::Workspace(path) => Some(path.as_str()),
            _ => None,
        };
        Inputs {
            workspace,
            places: project.cache.iter().flat_map(CacheEntry::places).filter_map(place).collect(),
            repo: snapshot::library(workspace).ok().zip(Beneath::open(workspace).ok()),
            ignored: IgnoreLists::default(),
            hashed: HashMap::new(),
            reduced: HashMap::new(),
            fitting: HashMap::new(),
        }
    }

    /// The files of these inputs, and of what they bring with them.
    ///
    /// # Errors
    /// When one is no file, cannot be read, or fits too much.
    pub(super) fn find(&mut self, entry: &CacheEntry) -> Result<InputFiles> {
        let mut found = InputFiles::default();
        let known = entry.either.iter().chain(&entry.also).map(|input| (input.clone(), false));
        let mut pending: Vec<(String, bool)> = known.collect();
        pending.extend(entry.inputs.iter().map(|input| (input.clone(), true)));
        let copied = copies_folders(pending.iter().map(|(input, _)| input.as_str()));
        let mut seen = BTreeSet::new();
        while let Some((input, named)) = pending.pop() {
            if !seen.insert(input.clone()) && !named {
                continue;
            }
            // A file may have a bracket in its name.
            let literal = !is_pattern(&input) || self.digest(&input).is_ok_and(|digest| digest.is_some());
            let files = if literal { vec![input.clone()] } else { self.fitting(&input, false)? };
            if files.is_empty() && named {
                found.missing.push(input.clone());
            }
            for file in files {
                let digest = match self.digest(&file).with_context(|| format!("its input {file}")) {
                    // What only another file speaks of may be anything.
                    Err(_) if !named => continue,
                    other => other?,
                };
                if digest.is_none() && !named {
                    continue;
                }
                if digest.is_none() {
                    found.missing.push(file.clone());
                } else if !found.files.contains_key(&file) {
                    pending.extend(self.implied(&file, copied).into_iter().map(|path| (path, false)));
                }
                let name = file.rsplit('/').next();
                // What the project names counts as a whole.
                let digest = match digest {
                    Some(digest)
                        if name.is_some() && name == entry.manifest.as_deref() && !entry.inputs.contains(&file) =>
                    {
                        Some(self.reduced(&file, digest))
                    }
                    whole => whole,
                };
                found.files.insert(file, digest);
                if found.files.len() > MAX_FILES {
                    return Err(usage(format!("its inputs are more than {MAX_FILES} files")).into());
                }
            }
        }
        // A preset names all that its tool may have.
        if !entry.either.is_empty() && !entry.either.iter().any(|input| found.files.contains_key(input)) {
            found.missing.push(entry.either[0].clone());
        }
        found.missing.sort();
        found.missing.dedup();
        Ok(found)
    }

    fn digest(&mut self, input: &str) -> Result<Option<Digest>> {
        if let Some(known) = self.hashed.get(input) {
            return Ok(*known);
        }
        let digest = digest_of(self.workspace, input)?;
        self.hashed.insert(input.to_owned(), digest);
        Ok(digest)
    }

    /// The digest of what decides in a manifest, or of all of it.
    fn reduced(&mut self, file: &str, whole: Digest) -> Digest {
        if let Some(known) = self.reduced.get(file) {
            return *known;
        }
        let content = self.content(file).filter(|content| (content.len() as u64) < MAX_READ);
        let digest = content.and_then(|content| deciding(file, &content)).map_or(whole, |part| Digest::of(&part));
        self.reduced.insert(file.to_owned(), digest);
        digest
    }

    /// As much of a file as is looked into.
    fn content(&self, file: &str) -> Option<Vec<u8>> {
        let (opened, mut content) = (open(self.workspace, file).ok()??, Vec::new());
        opened.take(MAX_READ).read_to_end(&mut content).ok()?;
        Some(content)
    }

    fn implied(&self, file: &str, copied: bool) -> Vec<String> {
        let content = self.content(file).unwrap_or_default();
        let all = implied(file, &content, copied).into_iter();
        all.filter(|path| matches!(path.parse(), Ok(Spot::Workspace(_))) && Pattern::new(path).is_ok()).collect()
    }

    /// Where a cache with these inputs has its content, in this workspace.
    ///
    /// # Errors
    /// When a pattern fits too much.
    pub(super) fn places_of(&mut self, entry: &CacheEntry, found: &InputFiles) -> Result<Vec<Spot>> {
        let mut all = Vec::new();
        for place in entry.places() {
            let Spot::Workspace(path) = place else {
                all.push(place.clone());
                continue;
            };
            match path.rsplit_once('/') {
                Some((folders, name)) if place.is_pattern() => {
                    let below = self.fitting(folders, true)?.into_iter();
                    all.extend(below.map(|folder| Spot::Workspace(format!("{folder}/{name}"))));
                }
                _ => all.push(place.clone()),
            }
        }
        if let (Some(dir), Spot::Workspace(path)) = (&entry.members_of, &entry.path) {
            let name = path.rsplit('/').next().unwrap_or(path);
            let folders = found.files.keys().filter_map(|file| file.strip_suffix("/package.json"));
            // The root's own is first.
            let members = folders.filter(|folder| folder != dir && !folder.split('/').any(|part| part == name));
            all.extend(members.map(|folder| Spot::Workspace(format!("{folder}/{name}"))));
        }
        // One that lies in another is a part of that.
        let shown: BTreeSet<String> = all.iter().map(Spot::to_string).collect();
        let within = |spot: &Spot| {
            let shown_spot = spot.to_string();
            Path::new(&shown_spot)
                .ancestors()
                .skip(1)
                .any(|above| above.to_str().is_some_and(|above| shown.contains(above)))
        };
        let mut seen = BTreeSet::new();
        all.retain(|spot| !within(spot) && seen.insert(spot.clone()));
        if all.len() > MAX_PLACES {
            return Err(usage(format!("it has more than {MAX_PLACES} places")).into());
        }
        Ok(all)
    }

    /// The files, or the folders, that fit a pattern, in the order of their names.
    fn fitting(&mut self, text: &str, folders: bool) -> Result<Vec<String>> {
        let key = if folders { format!("{text}/") } else { text.to_owned() };
        if let Some(known) = self.fitting.get(&key) {
            return Ok(known.clone());
        }
        let what = if folders { "its path" } else { "its input" };
        let pattern = Pattern::new(text).with_context(|| format!("{what} {text}"))?;
        // Down to the first part with a star there is one way.
        let plain: Vec<&str> = text.split('/').take_while(|part| !is_pattern(part)).collect();
        let root = Beneath::open(self.workspace)?;
        let (mut fitting, mut pending, mut looked) = (Vec::new(), vec![plain.join("/")], 0_usize);
        let deepest = if text.contains("**") { usize::MAX } else { text.split('/').count() };
        while let Some(folder) = pending.pop() {
            let Ok(open) = root.list(Path::new(&folder)) else { continue };
            for entry in Dir::read_from(&open)? {
                let entry = entry?;
                let Ok(name) = std::str::from_utf8(entry.file_name().to_bytes()) else { continue };
                if matches!(name, "." | ".." | ".git") {
                    continue;
                }
                looked += 1;
                if looked > MAX_LOOKED {
                    let why = format!("{what} {text}: more than {MAX_LOOKED} files would have to be looked at");
                    return Err(usage(why).hint("begin the pattern with the folder that it is about").into());
                }
                let path = if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
                let is_folder = entry.file_type() == FileType::Directory;
                if is_folder && !self.is_left_out(&path, true) {
                    if folders && pattern.matches_with(&path, MATCH) {
                        fitting.push(path.clone());
                    }
                    if path.split('/').count() < deepest {
                        pending.push(path);
                    }
                } else if !folders
                    && !is_folder
                    && pattern.matches_with(&path, MATCH)
                    && !self.is_left_out(&path, false)
                {
                    fitting.push(path);
                }
            }
        }
        fitting.sort();
        self.fitting.insert(key, fitting.clone());
        Ok(fitting)
    }

    /// Whether it is a cache's place, or git ignores it and does not track it.
    fn is_left_out(&self, path: &str, folder: bool) -> bool {
        if self.places.contains(&path) || path.rsplit('/').next() == Some("node_modules") {
            return true;
        }
        let Some((repo, files)) = &self.repo else { return false };
        let asked = if folder { format!("{path}/") } else { path.to_owned() };
        let tracked = || {
            repo.index().is_ok_and(|index| {
                if folder {
                    // Something below it may be tracked all the same.
                    index.find_prefix(&asked).is_ok()
                } else {
                    index.get_path(Path::new(OsStr::from_bytes(path.as_bytes())), 0).is_some()
                }
            })
        };
        self.ignored.contains(repo, files, Path::new(&asked)) && !tracked()
    }
}

/// What the lockfiles among some inputs pin, as far as they are still what they were.
pub(super) fn pins(workspace: &Path, inputs: &BTreeMap<String, Option<Digest>>) -> LockfilePins {
    let mut pins = LockfilePins::default();
    for (path, digest) in inputs {
        let mut content = Vec::new();
        let Ok(Some(file)) = open(workspace, path) else { continue };
        if file.take(MAX_LOCKFILE).read_to_end(&mut content).is_ok() && *digest == Some(Digest::of(&content)) {
            pins.read(path, &content);
        }
    }
    pins
}

/// Whether an input stands for the files that fit it.
pub(super) fn is_pattern(input: &str) -> bool {
    input.contains(['*', '?', '['])
}

/// Makes sure that what a project names as inputs is there, while whoever writes
/// it is looking.
///
/// # Errors
/// [`crate::error::Kind::Usage`] with what is missing.
pub(crate) fn require_inputs(project: &Project, workspace: &Path) -> Result<()> {
    let mut inputs = Inputs::of(project, workspace);
    for entry in &project.cache {
        // What cannot be read is told where the cache is left out.
        let Ok(found) = inputs.find(entry) else { continue };
        if let Some(missing) = found.missing.first() {
            let what = format!("the cache {}: its input {} is not there", entry.name, quote(missing));
            let hint = match alike(workspace, missing) {
                Some(alike) => format!("did you mean {alike}? Correct inputs in envctl.toml"),
                None => "correct inputs in envctl.toml; a pattern such as dir/*.txt may fit nothing".to_owned(),
            };
            if !is_pattern(missing) {
                return Err(usage(what).hint(hint).into());
            }
        }
    }
    Ok(())
}

/// Says which inputs are missing, where that stops nobody.
pub(super) fn tell_missing(app: &App, cache: &str, found: &InputFiles) {
    let (patterns, literal): (Vec<&String>, Vec<&String>) = found.missing.iter().partition(|input| is_pattern(input));
    for input in literal {
        app.ui.warn(&format!("the cache {cache}: its input {} is not there, and does not count", quote(input)));
    }
    for input in patterns {
        app.ui.detail(&format!("the cache {cache}: no file fits its input {}", quote(input)));
    }
}

/// A file in the same folder whose name is nearly that.
fn alike(workspace: &Path, missing: &str) -> Option<String> {
    let (folder, name) = missing.rsplit_once('/').unwrap_or(("", missing));
    let open = Beneath::open(workspace).ok()?.list(Path::new(folder)).ok()?;
    let names = Dir::read_from(open).ok()?.flatten();
    let names = names.filter_map(|entry| Some(entry.file_name().to_str().ok()?.to_owned()));
    let near = names.map(|found| (strsim::damerau_levenshtein(&found, name), found)).filter(|(far, _)| *far <= 2);
    let (_, best) = near.min()?;
    let best = if folder.is_empty() { best } else { format!("{folder}/{best}") };
    Some(quote(&best))
}

fn open(workspace: &Path, input: &str) -> Result<Option<File>> {
    let root = rustix::fs::openat(CWD, workspace, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let file = match rustix::fs::openat2(&root, input, flags, Mode::empty(), resolve) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        Err(Errno::XDEV | Errno::LOOP) => return Err(usage("it leads out of the workspace").into()),
        Err(error) => return Err(error.into()),
    };
    if !file.metadata()?.is_file() {
        return Err(usage("it is no file").hint("a folder's files are dir/**").into());
    }
    Ok(Some(file))
}

/// The digest of a file of the workspace; links are followed inside it.
fn digest_of(workspace: &Path, input: &str) -> Result<Option<Digest>> {
    let Some(file) = open(workspace, input)? else { return Ok(None) };
    let size = file.metadata()?.len();
    if size > MAX_INPUT {
        return Err(usage(format!("it has {size} bytes, at most {MAX_INPUT} are hashed")).into());
    }
    let mut hasher = Hasher::default();
    std::io::copy(&mut file.take(MAX_INPUT), &mut hasher)?;
    Ok(Some(hasher.finish()))
}

/// The fixtures that a project wants of its task's own store.
fn own_fixtures<'a>(name: &'a StoreRef, project: &'a Project) -> impl Iterator<Item = &'a Fixture> {
    project.fixture.iter().filter(move |fixture| fixture.source.store.as_ref().is_none_or(|store| store == name))
}

/// What an identity says of them, so that they can be brought before there is a workspace.
pub(crate) fn given_fixtures(name: &StoreRef, project: &Project) -> Vec<Given> {
    let given = |fixture: &Fixture| Given { name: fixture.name.clone(), digest: fixture.source.digest };
    own_fixtures(name, project).map(given).collect()
}

/// Makes sure that the fixtures that a project wants of its task's own store are there:
/// nobody could enter without them.
///
/// # Errors
/// [`Kind::Usage`] with the first that is not; when the store does not answer.
pub(crate) fn require_fixtures(store: &dyn Store, name: &StoreRef, project: &Project) -> Result<()> {
    for fixture in own_fixtures(name, project) {
        let digest: Digest = fixture.source.digest;
        match store.find(&digest) {
            Ok(_) => {}
            Err(error) if kind_of(&error) == Kind::NotFound => {
                return Err(usage(format!("the fixture {} is not in {name}: {digest}", fixture.name))
                    .hint(format!(
                        "envctl fixture create DIR --as {} puts one there, and prints its source",
                        fixture.name
                    ))
                    .into());
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
