//! The `devcontainer.json` of a checkout: for a first `envctl.toml`, and in the place of
//! one.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::Result;
use rustix::fs::Dir;

use crate::config::{Devcontainer, Surroundings};
use crate::disk::beneath::Beneath;
use crate::error::{not_found, usage};
use crate::snapshot;

/// No more names below `.devcontainer` are looked at.
const MAX_NAMES: usize = 1000;

/// Upper bound for the file in bytes.
const MAX_FILE: u64 = 1 << 20;

/// Finds the file in its three places, and reads it.
///
/// # Errors
/// [`crate::error::Kind::NotFound`] when there is none, [`crate::error::Kind::Usage`]
/// when there are several, or it cannot be read as one.
pub(crate) fn read(root: &Path) -> Result<(PathBuf, Devcontainer)> {
    let folder = Beneath::open(root)?;
    let mut places: Vec<PathBuf> = [".devcontainer/devcontainer.json", ".devcontainer.json"].map(Into::into).into();
    // Through no link: a name of somebody else's choice could lead to another machine.
    let below = folder.list(Path::new(".devcontainer")).ok().and_then(|open| Dir::read_from(open).ok());
    let below = below.into_iter().flatten().take(MAX_NAMES).flatten();
    let mut named: Vec<PathBuf> = below
        .map(|entry| OsStr::from_bytes(entry.file_name().to_bytes()).to_owned())
        .filter(|name| name != "." && name != "..")
        .map(|name| Path::new(".devcontainer").join(name).join("devcontainer.json"))
        .collect();
    named.sort();
    places.extend(named);
    places.retain(|place| folder.stat(place).is_some());
    // The first two places come before the others.
    let count = places.iter().filter(|place| place.components().count() < 3).count();
    let place = match (places.first(), count, places.len()) {
        (None, ..) => {
            return Err(not_found(format!("{} has no devcontainer.json", root.display()))
                .hint("without one: envctl init --image IMAGE")
                .into());
        }
        (Some(place), 1.., _) | (Some(place), _, 1) => place.clone(),
        _ => {
            let names: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
            return Err(usage(format!("there are several: {}", names.join(", ")))
                .hint("copy the one that counts to .devcontainer.json")
                .into());
        }
    };
    let shown = place.display().to_string();
    let found = at(root, &folder, &place)?.ok_or_else(|| not_found(format!("{shown} is gone")))?;
    Ok((place, found))
}

/// Reads the file at one place of a project; `None` when it is not there.
///
/// # Errors
/// When it cannot be read as one.
pub(crate) fn at(root: &Path, folder: &Beneath, place: &Path) -> Result<Option<Devcontainer>> {
    let Some(bytes) = folder.read(place, MAX_FILE)? else { return Ok(None) };
    let text = |path: Option<&OsStr>| path.map(|path| path.to_string_lossy().into_owned()).unwrap_or_default();
    let around = Surroundings {
        name: name_of(root),
        folder: text(place.parent().map(Path::as_os_str)),
        file: text(place.file_name()),
    };
    Ok(Some(Devcontainer::parse(&String::from_utf8_lossy(&bytes), &place.display().to_string(), &around)?))
}

/// What the repository is called by its remote, which is the same in each clone; the
/// folder's name where that says nothing.
fn name_of(root: &Path) -> String {
    let repo = snapshot::library(root).ok();
    let remote = repo.and_then(|repo| repo.config().ok()?.get_string("remote.origin.url").ok()).unwrap_or_default();
    let name = remote.trim_end_matches('/').trim_end_matches(".git").rsplit(['/', ':']).next().unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let sound = |name: &&str| !name.is_empty() && name.chars().all(plain) && !name.starts_with('.');
    let own = root.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    [name, &own].iter().find(|name| sound(name)).map(|name| (*name).to_owned()).unwrap_or_default()
}
