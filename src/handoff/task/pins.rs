//! Pins: what the first `enter` of a task settled. From then on re-entering
//! needs no network and never jumps.
//!
//! Invariant: the name of a pin's file has a short key of its store, and finds it;
//! what the pin itself says of store, task and folder decides whose it is. Nothing
//! of a pin is used, or written over, before that was compared.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_NOW};
use serde::{Deserialize, Serialize};

use super::exposed::ExposedFile;
use super::located::Located;
use crate::digest::Digest;
use crate::disk::{self, Durability};
use crate::error::integrity;
use crate::handoff::app::App;
use crate::handoff::words::quote;
use crate::identity::{Identity, Lifetime, MAX_IDENTITY, StoreRef, Target};
use crate::paths::Paths;
use crate::snapshot::{Document, Parity};

/// The schema of a pin.
const SCHEMA: u32 = 1;

/// What a workspace was made from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Pin {
    /// Always 1.
    pub(crate) schema: u32,
    /// The store, as `--store` would name it.
    pub(crate) store: String,
    /// The task, or `sha256-` and the identity's digits.
    pub(crate) slug: String,
    /// The identity.
    pub(crate) identity: Digest,
    /// When it was resolved.
    pub(crate) pinned_at: Timestamp,
    /// Where the workspace is.
    pub(crate) workspace: PathBuf,
    /// The comparison with the snapshot, made when the workspace was.
    pub(crate) parity: Option<Parity>,
    /// The boot in which the workspace was made, while it was never flushed.
    pub(crate) unflushed_boot: Option<String>,
    /// The folder of the artifacts that came along.
    #[serde(default)]
    pub(crate) artifacts: Option<PathBuf>,
    /// The cache entries that it was last given, by folder name.
    #[serde(default)]
    pub(crate) trees: Vec<String>,
    /// What it was made from; older versions did not note it.
    #[serde(default)]
    pub(crate) state: Option<State>,
    /// What was published from the workspace, the latest last.
    #[serde(default)]
    pub(crate) published: Vec<PublishedHere>,
    /// What the workspace belongs to.
    #[serde(default)]
    pub(crate) lifetime: Lifetime,
    /// Whether the snapshot had commits that the remote lacked.
    #[serde(default)]
    pub(crate) ahead: bool,
    /// The developer keeps it, whatever its rule says.
    #[serde(default)]
    pub(crate) kept: bool,
    /// Files in which a run left the value of a secret.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) exposed: Vec<ExposedFile>,
    /// What has been run once in the workspace, by its hash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) prepared: Option<Digest>,
}

/// A working state, by the hashes that name it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    /// The commit of HEAD.
    pub(crate) commit: String,
    /// The branch that HEAD is on; `None` when detached.
    pub(crate) branch: Option<String>,
    /// The tree of the working files.
    pub(crate) tree: String,
    /// The hash of the index.
    pub(crate) index: Digest,
    /// A hash of what else makes a difference, where there is any: operations
    /// in progress, and files that differ from what git would write.
    #[serde(default)]
    pub(crate) rest: Option<Digest>,
    /// Commits that operations in progress rely on.
    #[serde(default)]
    pub(crate) relied_on: Vec<String>,
}

impl State {
    /// What a snapshot holds.
    pub(crate) fn of(document: &Document) -> Self {
        let refs = document.operation.iter().flat_map(|operation| &operation.refs);
        let followed = document.follows.iter().filter_map(|follows| follows.commit.as_ref());
        let rest = (&document.operation, &document.verbatim);
        let plain = document.operation.is_none() && document.verbatim.is_empty();
        State {
            commit: document.head.to_string(),
            branch: document.branch.clone(),
            tree: document.tree.0.to_string(),
            index: document.index.digest,
            // Serialising what was parsed cannot fail.
            rest: (!plain).then(|| Digest::of(&serde_json::to_vec(&rest).unwrap_or_default())),
            relied_on: refs.map(|reference| &reference.commit).chain(followed).map(ToString::to_string).collect(),
        }
    }

    /// Commits that whoever has this state has.
    pub(crate) fn commits(&self) -> impl Iterator<Item = String> {
        self.relied_on.iter().chain([&self.commit]).cloned()
    }
}

/// An identity that was published from a workspace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct PublishedHere {
    /// The task.
    pub(crate) task: String,
    /// The identity.
    pub(crate) identity: Digest,
    /// What it holds; older versions did not note it.
    #[serde(default)]
    pub(crate) state: Option<State>,
}

impl Pin {
    pub(crate) fn new(
        task: &Located,
        identity: Digest,
        pinned_at: Timestamp,
        workspace: PathBuf,
        lifetime: Lifetime,
    ) -> Self {
        Pin {
            schema: SCHEMA,
            store: task.store.to_string(),
            slug: task.slug(),
            identity,
            pinned_at,
            workspace,
            parity: None,
            unflushed_boot: None,
            artifacts: None,
            trees: Vec::new(),
            published: Vec::new(),
            lifetime,
            ahead: false,
            kept: false,
            state: None,
            exposed: Vec::new(),
            prepared: None,
        }
    }

    /// What a task must be for this workspace to go on from it: what was last
    /// published from here, or what the workspace was made from. `None` for a
    /// task that the workspace has nothing to do with.
    pub(crate) fn continues(&self, task: &str) -> Option<Digest> {
        let published = self.published.iter().rev().find(|published| published.task == task);
        published.map(|published| published.identity).or((self.slug == task).then_some(self.identity))
    }

    /// Files in which a run left the value of a secret and that are as they were then.
    pub(crate) fn exposed(&self) -> impl Iterator<Item = &Path> {
        self.exposed.iter().filter(|file| file.stays(&self.workspace)).map(|file| &*file.path)
    }

    /// Whether the workspace was made from an identity, or published it last.
    pub(crate) fn holds(&self, identity: &Digest) -> bool {
        self.identity == *identity || self.latest() == *identity
    }

    /// Whether this is the same task of the same store.
    pub(crate) fn is_of(&self, task: &Located) -> bool {
        self.store == task.store.to_string() && self.slug == task.slug()
    }

    /// As a command line names the task from anywhere.
    pub(crate) fn reference(&self) -> String {
        match self.slug.strip_prefix("sha256-") {
            Some(hex) => format!("{}@sha256:{hex}", self.store),
            None => format!("{}:{}", self.store, self.slug),
        }
    }

    /// The same as a shell reads it back.
    pub(crate) fn quoted(&self) -> String {
        quote(&self.reference())
    }

    /// What it is called here: a task by its name, an identity by its reference.
    pub(crate) fn name(&self) -> String {
        if self.slug.starts_with("sha256-") { self.reference() } else { self.slug.clone() }
    }

    /// The identity that the workspace's files go on from.
    pub(crate) fn latest(&self) -> Digest {
        self.published.last().map_or(self.identity, |published| published.identity)
    }
}

/// Every digest that a document mentions.
fn digests_in(text: &[u8]) -> impl Iterator<Item = Digest> {
    let words = text.split(|byte| !byte.is_ascii_hexdigit()).filter(|word| word.len() == 64);
    words.filter_map(|word| Digest::from_hex(std::str::from_utf8(word).ok()?).ok())
}

fn suffix(into: Option<&Path>) -> String {
    into.map_or_else(String::new, |into| format!("@{}", Digest::of(into.as_os_str().as_encoded_bytes()).short()))
}

/// The pin in a file, if it is that of this task of this store.
fn read_of(file: &Path, store: &str, slug: &str, into: Option<&Path>) -> Result<Option<Pin>> {
    let Some(pin) = disk::read_json::<Pin>(file)? else { return Ok(None) };
    let same = pin.store == store && pin.slug == slug && into.is_none_or(|into| into == pin.workspace);
    if !same {
        let (file, other) = (file.display(), pin.reference());
        return Err(integrity(format!("{file} is that of {other}, and not of {slug} in {store}"))
            .hint(format!("if you know {other}: envctl workspace rm {}; else remove the file", pin.quoted()))
            .into());
    }
    Ok(Some(pin))
}

impl App {
    /// The pins of this machine.
    pub(crate) fn pins(&self) -> Pins {
        Pins::new(self.paths.clone())
    }
}

/// The pins of this machine, and the identities that they name.
#[derive(Clone, Debug)]
pub(crate) struct Pins {
    paths: Paths,
}

impl Pins {
    pub(crate) fn new(paths: Paths) -> Self {
        Pins { paths }
    }

    /// Where the pin of a task is; one of its own for a folder that the
    /// developer named.
    fn place(&self, task: &Located, into: Option<&Path>) -> PathBuf {
        self.paths.pin(&task.store.key(), &format!("{}{}", task.slug(), suffix(into)))
    }

    /// What is pinned for a task.
    ///
    /// # Errors
    /// [`crate::error::Kind::Integrity`] when another task's pin lies there.
    pub(crate) fn read(&self, task: &Located, into: Option<&Path>) -> Result<Option<Pin>> {
        read_of(&self.place(task, into), &task.store.to_string(), &task.slug(), into)
    }

    pub(crate) fn write(&self, task: &Located, into: Option<&Path>, pin: &Pin) -> Result<()> {
        self.read(task, into)?;
        disk::write_json(&self.place(task, into), pin, Durability::Flushed)
    }

    /// Where a pin that was read is.
    fn file(&self, pin: &Pin) -> Result<PathBuf> {
        let store = pin.store.parse::<StoreRef>()?.key();
        Ok(self.paths.pin(&store, &format!("{}{}", pin.slug, suffix(self.named_folder(pin)))))
    }

    /// The folder for which a pin was written, where it is not the task's own.
    fn named_folder<'p>(&self, pin: &'p Pin) -> Option<&'p Path> {
        (!self.is_managed(pin) || self.is_of_run(pin)).then_some(pin.workspace.as_path())
    }

    /// Whether the workspace is that of one run, beside the task's own.
    pub(crate) fn is_of_run(&self, pin: &Pin) -> bool {
        self.paths.is_run_workspace(&pin.workspace)
    }

    /// Whether envctl chose the workspace's place, and may delete it.
    pub(crate) fn is_managed(&self, pin: &Pin) -> bool {
        pin.workspace.starts_with(self.paths.workspaces())
    }

    /// The same pin as it is now; `None` when there is none, or another one.
    pub(crate) fn again(&self, pin: &Pin) -> Result<Option<Pin>> {
        let now = self.now(pin)?;
        Ok(now.filter(|now| now.identity == pin.identity && now.workspace == pin.workspace))
    }

    /// What lies where a pin was read.
    fn now(&self, pin: &Pin) -> Result<Option<Pin>> {
        read_of(&self.file(pin)?, &pin.store, &pin.slug, self.named_folder(pin))
    }

    /// Writes a pin that was read before.
    pub(crate) fn put(&self, pin: &Pin) -> Result<()> {
        self.now(pin)?;
        disk::write_json(&self.file(pin)?, pin, Durability::Flushed)
    }

    /// Forgets a pin; the identity stays.
    pub(crate) fn forget(&self, pin: &Pin) -> Result<()> {
        self.now(pin)?;
        let file = self.file(pin)?;
        match fs::remove_file(&file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove {}", file.display()))
            }
            _ => Ok(()),
        }
    }

    /// Notes that a workspace is used now: the time of its pin's file says when
    /// it was used last, so that this costs no write. A clock that was set back
    /// makes no use older.
    pub(crate) fn touch(&self, pin: &Pin, now: Timestamp) {
        if self.touched(pin).is_none_or(|before| before < now) {
            self.set_used(pin, now);
        }
    }

    /// Says when a workspace was used last.
    pub(crate) fn set_used(&self, pin: &Pin, now: Timestamp) {
        let times = |at: Timespec| Timestamps { last_access: at, last_modification: at };
        let at = Timespec { tv_sec: now.as_second(), tv_nsec: 0 };
        if let Ok(file) = self.file(pin) {
            // Losing it makes a workspace look older than it is, no more.
            let _ = rustix::fs::utimensat(CWD, file, &times(at), AtFlags::empty());
        }
    }

    /// When a workspace was used last, as far as envctl saw it.
    pub(crate) fn touched(&self, pin: &Pin) -> Option<Timestamp> {
        let modified = fs::metadata(self.file(pin).ok()?).ok()?.modified().ok()?;
        Timestamp::try_from(modified).ok()
    }

    /// All pins; those that cannot be read are left out.
    pub(crate) fn all(&self) -> Result<Vec<Pin>> {
        let entries = fs::read_dir(self.paths.pins()).into_iter().flatten().flatten();
        let entries = entries.filter(|entry| !disk::is_temporary(&entry.file_name()));
        let mut pins: Vec<Pin> = entries.filter_map(|entry| disk::read_json(&entry.path()).ok().flatten()).collect();
        pins.sort_by(|a, b| (&a.slug, &a.store).cmp(&(&b.slug, &b.store)));
        Ok(pins)
    }

    /// Notes in which files of a workspace a run left the value of a secret.
    pub(crate) fn note_exposed(&self, workspace: &Path, files: &[PathBuf]) -> Result<()> {
        for mut pin in self.all()?.into_iter().filter(|pin| pin.workspace == workspace) {
            pin.exposed.retain(|known| !files.contains(&known.path) && known.stays(workspace));
            pin.exposed.extend(files.iter().filter_map(|path| ExposedFile::of(workspace, path)));
            self.put(&pin)?;
        }
        Ok(())
    }

    /// Notes what was published from a workspace. Needs its locks.
    pub(crate) fn note_published(&self, pin: &Pin, task: &str, identity: Digest, state: State) -> Result<()> {
        let entries = fs::read_dir(self.paths.pins()).into_iter().flatten().flatten();
        for entry in entries {
            let Some(mut found) = disk::read_json::<Pin>(&entry.path()).ok().flatten() else { continue };
            if found.workspace == pin.workspace {
                found.published.retain(|published| published.task != task);
                found.published.push(PublishedHere { task: task.to_owned(), identity, state: Some(state.clone()) });
                disk::write_json(&entry.path(), &found, Durability::Flushed)?;
            }
        }
        Ok(())
    }

    /// The pin whose workspace holds `folder`.
    pub(crate) fn of_workspace(&self, folder: &Path) -> Result<Option<Pin>> {
        let all = self.all()?;
        let found = all.iter().find(|pin| folder.starts_with(&pin.workspace));
        // The way to either may be a link.
        let real = || {
            let folder = fs::canonicalize(folder).ok()?;
            let holds = |pin: &&Pin| fs::canonicalize(&pin.workspace).is_ok_and(|place| folder.starts_with(place));
            all.iter().find(holds)
        };
        Ok(found.or_else(real).cloned())
    }

    /// An identity that was kept.
    pub(crate) fn identity(&self, digest: &Digest) -> Result<Option<Identity>> {
        let Some(bytes) = disk::read_file(&self.paths.identity(digest), MAX_IDENTITY)? else { return Ok(None) };
        if Digest::of(&bytes) != *digest {
            return Err(integrity(format!("{} is damaged", self.paths.identity(digest).display()))
                .hint("remove it and run the command again with --refresh")
                .into());
        }
        Ok(Some(Identity::parse(&bytes)?))
    }

    /// Notes which identity a task has, so that it can be entered without its store.
    pub(crate) fn note_brought(&self, task: &Located, identity: &Digest) -> Result<()> {
        let place = self.paths.brought(&task.reference());
        disk::write_file(&place, format!("{identity}\n").as_bytes(), Durability::Cached)
    }

    /// The identity that a task had when it was brought here.
    pub(crate) fn brought(&self, task: &Located) -> Result<Option<(Digest, Identity)>> {
        let digest = match &task.target {
            Target::Identity(digest) => Some(*digest),
            Target::Task(_) => disk::read_file(&self.paths.brought(&task.reference()), 256)?
                .and_then(|text| String::from_utf8(text).ok()?.trim().parse().ok()),
        };
        let Some(digest) = digest else { return Ok(None) };
        Ok(self.identity(&digest)?.map(|identity| (digest, identity)))
    }

    /// The files of identities that nothing of this machine names: no workspace, no
    /// salvage, no runtime, no checkout that published. The last one of a repository
    /// whose mirror is here says whose that is, and is named by it.
    ///
    /// # Errors
    /// When what could name them cannot be read.
    pub(crate) fn unnamed(&self) -> Result<Vec<PathBuf>> {
        let folders = [
            self.paths.pins(),
            self.paths.salvages(),
            self.paths.leases(),
            self.paths.all_publications(),
            self.paths.all_brought(),
        ];
        let mut named = BTreeSet::new();
        for folder in folders {
            for entry in fs::read_dir(&folder).into_iter().flatten() {
                let text = fs::read(entry?.path()).context("cannot read who names an identity")?;
                named.extend(digests_in(&text));
            }
        }
        let mut mirrors = BTreeSet::new();
        let mut unnamed = Vec::new();
        for entry in fs::read_dir(self.paths.identities()).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some(Ok(digest)) = name.strip_suffix(".json").map(Digest::from_hex) else { continue };
            let key = self.identity(&digest).ok().flatten().map(|identity| identity.repo.url.key());
            if named.contains(&digest) {
                mirrors.extend(key);
            } else {
                unnamed.push((entry.path(), key));
            }
        }
        unnamed.sort();
        let mut spare = |key: &Option<String>| match key {
            Some(key) => !self.paths.mirror(key).exists() || !mirrors.insert(key.clone()),
            None => true,
        };
        Ok(unnamed.into_iter().filter(|(_, key)| spare(key)).map(|(path, _)| path).collect())
    }

    /// An identity of this repository, as far as one is here.
    pub(crate) fn of_repository(&self, key: &str) -> Option<Identity> {
        let entries = fs::read_dir(self.paths.identities()).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().to_str()?.strip_suffix(".json").map(str::to_owned));
        let mut all = names.filter_map(|name| self.identity(&Digest::from_hex(&name).ok()?).ok().flatten());
        all.find(|identity| identity.repo.url.key() == key)
    }

    /// Forgets a task whose workspace is gone, and its identity.
    pub(crate) fn forget_task(&self, task: &Located, identity: &Digest) -> Result<()> {
        self.read(task, None)?;
        for path in [self.place(task, None), self.paths.identity(identity)] {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("cannot remove {}", path.display()));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Keeps an identity's exact bytes.
    pub(crate) fn keep(&self, bytes: &[u8]) -> Result<Digest> {
        let digest = Digest::of(bytes);
        let place = self.paths.identity(&digest);
        if place.exists() {
            // It is about to be named, so it is no old one.
            let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
            let times = Timestamps { last_access: now, last_modification: now };
            let _ = rustix::fs::utimensat(CWD, &place, &times, AtFlags::empty());
        } else {
            disk::write_file(&place, bytes, Durability::Flushed)?;
        }
        Ok(digest)
    }
}
