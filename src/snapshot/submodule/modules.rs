//! `.gitmodules`: a file of the project that git obeys when the developer
//! initialises a submodule. Names become folders below `.git/modules`, and
//! addresses are fetched from: what is known to do more is refused at both
//! ends of a handoff. Git itself reads the file, so that nothing is understood
//! here in another way than there.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use crate::error::{Fault, integrity};
use crate::git::{Git, check_entry_name};
use crate::identity::RepoUrl;

const FILE: &str = ".gitmodules";

/// In bytes; nobody has as many submodules.
const MAX_FILE: usize = 8 << 20;

/// Checks the file in each of these trees; a tree that has none is fine.
///
/// # Errors
/// [`crate::error::Kind::Integrity`] with what is hostile, and why.
pub(in crate::snapshot) fn check(git: &Git, repo: &git2::Repository, trees: &[git2::Oid]) -> Result<()> {
    let blobs: BTreeSet<git2::Oid> = trees.iter().filter_map(|tree| file_of(repo, *tree)).collect();
    for blob in blobs {
        check_blob(git, repo, blob)?;
    }
    Ok(())
}

/// The same for a blob.
///
/// # Errors
/// As [`check`].
pub(in crate::snapshot) fn check_blob(git: &Git, repo: &git2::Repository, blob: git2::Oid) -> Result<()> {
    let modules = read(git, repo, blob)?;
    for name in modules.keys() {
        let nested = modules.keys().any(|other| name.strip_prefix(&**other).is_some_and(|rest| rest.starts_with('/')));
        let result = if nested { Err("its git folder would lie in another's") } else { check_name(name) };
        result.map_err(|why| refused(name, "name", why))?;
    }
    for (name, keys) in &modules {
        for (key, value) in keys {
            let checked = match &**key {
                "path" => check_path(value),
                "url" => check_url(value),
                "update" if !matches!(&**value, "checkout" | "rebase" | "merge" | "none") => Err("it names a command"),
                "branch" if value.starts_with('-') || has_controls(value) => Err("it is no branch"),
                _ => Ok(()),
            };
            checked.map_err(|why| refused(name, key, why))?;
        }
    }
    Ok(())
}

/// The paths to which a tree's file gives an address.
///
/// # Errors
/// When git cannot be run.
pub(in crate::snapshot) fn addresses(git: &Git, repo: &git2::Repository, tree: git2::Oid) -> Result<BTreeSet<Vec<u8>>> {
    let Some(blob) = file_of(repo, tree) else { return Ok(BTreeSet::new()) };
    let modules = read(git, repo, blob)?;
    let with_url = modules.into_values().filter(|keys| keys.iter().any(|(key, _)| key == "url"));
    Ok(with_url.flatten().filter(|(key, _)| key == "path").map(|(_, path)| path.into_bytes()).collect())
}

fn refused(name: &str, key: &str, why: &str) -> Fault {
    integrity(format!("the submodule {name:?} in {FILE} is refused for its {key}: {why}"))
}

fn file_of(repo: &git2::Repository, tree: git2::Oid) -> Option<git2::Oid> {
    let tree = repo.find_tree(tree).ok()?;
    let entry = tree.get_name(FILE)?;
    (entry.filemode() & 0o170_000 == 0o100_000).then(|| entry.id())
}

/// Every key of every submodule, in the order of the file. A file that git
/// cannot read to its end names no submodule to git either.
fn read(git: &Git, repo: &git2::Repository, blob: git2::Oid) -> Result<BTreeMap<String, Vec<(String, String)>>> {
    if repo.odb()?.read_header(blob)?.0 > MAX_FILE {
        return Err(integrity(format!("{FILE} is too large")).into());
    }
    let found = repo.find_blob(blob)?;
    let text = found.content();
    let words = ["config", "--no-includes", "--file", "-", "-z", "--list"];
    let output = git.aside(repo.path()).args(words).output(text)?;
    let mut modules: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    for record in output.stdout.split(|byte| *byte == 0) {
        let record = String::from_utf8_lossy(record);
        let (key, value) = record.split_once('\n').unwrap_or((&record, ""));
        let Some((name, key)) = key.strip_prefix("submodule.").and_then(|key| key.rsplit_once('.')) else { continue };
        modules.entry(name.to_owned()).or_default().push((key.to_owned(), value.to_owned()));
    }
    Ok(modules)
}

/// A name becomes the folder `.git/modules/NAME`.
fn check_name(name: &str) -> Result<(), &'static str> {
    if name.is_empty() || name.starts_with(['/', '-']) || has_controls(name) {
        return Err("it is no plain name");
    }
    let parts = name.split(['/', '\\']);
    if parts.clone().any(|part| part == ".." || part == "." || part.is_empty()) {
        return Err("it leads elsewhere");
    }
    parts.into_iter().try_for_each(|part| check_entry_name(part.as_bytes(), false)).map_err(|_| "git reads it as .git")
}

fn check_path(path: &str) -> Result<(), &'static str> {
    if path.starts_with('-') || has_controls(path) {
        return Err("it is no plain path");
    }
    let parts = path.strip_suffix('/').unwrap_or(path).split('/');
    parts.into_iter().try_for_each(|part| check_entry_name(part.as_bytes(), false)).map_err(|_| "it leads elsewhere")
}

/// Relative addresses, and those of repositories by every scheme that git has
/// itself.
fn check_url(url: &str) -> Result<(), &'static str> {
    let encoded = url.to_ascii_lowercase();
    if url.is_empty() || url.starts_with('-') {
        return Err("git would take it for an option");
    }
    if has_controls(url) || ["%0a", "%0d", "%00"].iter().any(|control| encoded.contains(control)) {
        return Err("it contains control characters");
    }
    let mut rest = url;
    while let Some(below) = rest.strip_prefix("../").or_else(|| rest.strip_prefix("./")) {
        rest = below;
    }
    let is_relative = rest.len() < url.len();
    let colon = rest.find(':').filter(|at| !rest[..*at].contains('/'));
    if is_relative && (rest.starts_with(['/', ':', '-']) || colon.is_some()) {
        return Err("it does not stay a relative address");
    }
    if colon.is_some_and(|at| rest[at..].starts_with("::")) {
        return Err("remote helpers are not supported");
    }
    let known = url.strip_prefix("git://").map(|rest| format!("https://{rest}"));
    let known = known.as_deref().unwrap_or(url);
    if colon.is_some() && known.parse::<RepoUrl>().is_err() {
        return Err("it is no address of a repository");
    }
    Ok(())
}

fn has_controls(text: &str) -> bool {
    text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_41_names_that_lead_elsewhere() {
        for bad in
            ["", "..", "../x", "a/../b", "a/..", "/x", "-x", ".git", "a/.GIT/b", "x\r", "a\\..\\b", "a//b", "git~1"]
        {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
        for fine in ["sub", "lib/sub", "vendor/a.b-c", "a b", "ünï"] {
            assert_eq!(check_name(fine), Ok(()), "{fine:?}");
        }
        for bad in ["-u./x", "sub\r", "../x", "/x", "a//b", ".git/hooks", ""] {
            assert!(check_path(bad).is_err(), "{bad:?}");
        }
        assert!(check_path("lib/sub").is_ok() && check_path("lib/sub/").is_ok());
    }

    #[test]
    fn case_43_addresses_that_do_more_than_name_a_repository() {
        for bad in [
            "",
            "-u./evil",
            "--upload-pack=touch evil",
            "ext::sh -c touch% evil",
            "../ext::sh",
            "./-evil",
            "../../::evil",
            "https://host/x\r",
            "https://host%0a/x",
            "https:///x",
            "https://-host/x",
            "ssh://-oProxyCommand=x/y",
            "-oProxyCommand=x:y",
            "javascript://x/y",
            "https://h/x%0Dy",
        ] {
            assert!(check_url(bad).is_err(), "{bad:?}");
        }
        for fine in [
            "../lib.git",
            "./lib",
            "../../other/lib.git",
            "https://host/x.git",
            "git://host/x",
            "git@host:x/y.git",
            "ssh://git@host:22/x",
            "/srv/git/x",
            "file:///srv/x",
            "relative/path",
        ] {
            assert_eq!(check_url(fine), Ok(()), "{fine:?}");
        }
    }
}
