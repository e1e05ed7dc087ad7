//! The settings of a checkout that travel, and what of its configuration changes
//! what git sees in the files and does not.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};

use crate::disk::beneath::Beneath;
use crate::git::Git;
use crate::snapshot::checkout::scratch::ScratchRepo;
use crate::snapshot::format::document::{AutoCrlf, ByteText, Eol, Settings};
use crate::snapshot::format::left_behind::{LeftKind, LeftOut};
use crate::snapshot::paths::joined;
use crate::snapshot::worktree::scan::Scan;

/// More attributes or patterns than anybody has, in bytes.
const MAX_ATTRIBUTES: u64 = 1 << 20;
const MAX_PATTERNS: u64 = 16 << 20;

/// What an operation in progress makes of messages when it goes on, and which files git
/// looks at, takes for changed, or lists.
const NAMED: [&str; 6] = [
    "commit.cleanup",
    "i18n.commitencoding",
    "sparse.expectfilesoutsideofpatterns",
    "core.trustctime",
    "core.checkstat",
    "status.showuntrackedfiles",
];

/// The whitelisted settings as they are in force here.
///
/// # Errors
/// When the configuration cannot be read.
pub(in crate::snapshot) fn in_force(git: &Git, repo: &git2::Repository) -> Result<Settings> {
    let config = repo.config()?.snapshot()?;
    let by_git = asked_of_git(git, repo, &config)?;
    let text = |key: &str| match &by_git {
        Some(all) => all.get(key).map(|value| value.to_ascii_lowercase()),
        None => config.get_str(key).ok().map(str::to_ascii_lowercase),
    };
    let bool = |key: &str| match &by_git {
        Some(all) => all.get(key).and_then(|value| git2::Config::parse_bool(value.as_str()).ok()),
        None => config.get_bool(key).ok(),
    };
    let attributes = Beneath::open(repo.commondir())?.read(Path::new("info/attributes"), MAX_ATTRIBUTES)?;
    let mut settings = Settings {
        attributes: attributes.filter(|text| !text.trim_ascii().is_empty()).map(ByteText),
        autocrlf: match text("core.autocrlf").as_deref() {
            Some("input") => Some(AutoCrlf::Input),
            _ => bool("core.autocrlf").unwrap_or(false).then_some(AutoCrlf::True),
        },
        eol: match text("core.eol").as_deref() {
            Some("crlf") => Some(Eol::Crlf),
            Some("lf") => Some(Eol::Lf),
            _ => None,
        },
        file_mode: (bool("core.filemode") == Some(false)).then_some(false),
        ..Settings::default()
    };
    if bool("core.sparsecheckout").unwrap_or(false) {
        let patterns = Beneath::open(repo.path())?.read(Path::new("info/sparse-checkout"), MAX_PATTERNS)?;
        settings.set_sparse(bool("core.sparsecheckoutcone").unwrap_or(false), patterns);
    }
    Ok(settings)
}

/// The settings in force, where git knows of some that its library does not: those
/// that the environment gives or leads to, and those of a file that is included for
/// the addresses of remotes.
fn asked_of_git(git: &Git, repo: &git2::Repository, config: &git2::Config) -> Result<Option<BTreeMap<String, String>>> {
    let mut is_by_remote = false;
    config.entries(Some("includeif\\..*"))?.for_each(|entry| {
        is_by_remote |= entry.name().is_ok_and(|name| name.contains("hasconfig:"));
    })?;
    let asks = is_by_remote || git.is_configured_by_environment();
    asks.then(|| git.settings(repo.path()).context("cannot read git's configuration")).transpose()
}

/// The file of attributes that the configuration of the checkout itself names.
fn own_attributes(repo: &git2::Repository) -> Result<Option<String>> {
    own_setting(repo, "core.attributesfile")
}

/// What the configuration of the checkout itself says, and no other.
fn own_setting(repo: &git2::Repository, key: &str) -> Result<Option<String>> {
    let config = repo.config()?.snapshot()?;
    let Ok(entry) = config.get_entry(key) else { return Ok(None) };
    let is_own = matches!(entry.level(), git2::ConfigLevel::Local | git2::ConfigLevel::Worktree);
    Ok(is_own.then(|| String::from_utf8_lossy(entry.value_bytes()).into_owned()))
}

/// The programs by which the checkout itself has files merged, as `gitattributes(5)` has
/// it: their settings, by name.
fn own_drivers(repo: &git2::Repository) -> Result<Vec<String>> {
    let mut drivers = Vec::new();
    repo.config()?.snapshot()?.entries(Some("merge\\..*\\.driver"))?.for_each(|entry| {
        let is_own = matches!(entry.level(), git2::ConfigLevel::Local | git2::ConfigLevel::Worktree);
        drivers.extend(entry.name().ok().filter(|_| is_own).map(str::to_owned));
    })?;
    Ok(drivers)
}

/// What changes what git sees in the files here, or runs when somebody commits, and does
/// not travel.
///
/// # Errors
/// When git fails.
pub(in crate::snapshot) fn left_behind(
    git: &Git,
    repo: &git2::Repository,
    scratch: &ScratchRepo,
    scan: &Scan,
) -> Result<Vec<LeftOut>> {
    let config = repo.config()?.snapshot()?;
    let mut left = Vec::new();
    left.extend(own_attributes(repo)?.map(|path| LeftOut::plain(LeftKind::Attributes, path.as_bytes())));
    for (key, odd) in [("core.symlinks", false), ("core.ignorecase", true)] {
        if is_set(git, &config, key) == Some(odd) {
            left.push(LeftOut::plain(LeftKind::Setting, format!("{key}={odd}").as_bytes()));
        }
    }
    let hooks = own_setting(repo, "core.hookspath")?;
    left.extend(hooks.map(|path| LeftOut::plain(LeftKind::Setting, format!("core.hooksPath={path}").as_bytes())));
    left.extend(own_drivers(repo)?.into_iter().map(|key| LeftOut::plain(LeftKind::Setting, key.as_bytes())));
    for key in NAMED {
        if let Some(value) = own_setting(repo, key)? {
            left.push(LeftOut::plain(LeftKind::Setting, format!("{key}={value}").as_bytes()));
        }
    }
    if let Ok(tree) = config.get_str("attr.tree") {
        left.push(LeftOut::plain(LeftKind::Setting, format!("attr.tree={tree}").as_bytes()));
    }
    if !scan.beside.asked.filter {
        return Ok(left);
    }
    let mut files: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
    let paths: Vec<&[u8]> =
        scan.index.iter().map(|entry| &*entry.path).chain(scan.read.keys().map(Vec::as_slice)).collect();
    let printed = scratch.git_as_restored(git).args(["check-attr", "-z", "--stdin", "filter"]).run(&joined(&paths));
    let printed = printed.context("cannot read the attributes")?;
    let fields: Vec<&[u8]> = printed.split(|byte| *byte == 0).collect();
    // Three fields for each: path, name, value.
    for group in fields.chunks_exact(3).filter(|group| !matches!(group[2], b"unspecified" | b"unset" | b"set" | b"lfs"))
    {
        *files.entry(group[2].to_vec()).or_default() += 1;
    }
    // One that is not set up converts nothing here, either.
    let is_set_up = |name: &[u8]| {
        let name = String::from_utf8_lossy(name);
        ["clean", "process"]
            .iter()
            .any(|part| config.get_str(&format!("filter.{name}.{part}")).is_ok_and(|c| !c.is_empty()))
    };
    left.extend(files.into_iter().filter(|(name, _)| is_set_up(name)).map(|(name, count)| {
        let detail = Some(if count == 1 { "1 file".into() } else { format!("{count} files") });
        LeftOut { detail, ..LeftOut::plain(LeftKind::Filter, &name) }
    }));
    Ok(left)
}

fn is_set(git: &Git, config: &git2::Config, key: &str) -> Option<bool> {
    match git.set_by_environment(key) {
        Some(value) => git2::Config::parse_bool(value).ok(),
        None => config.get_bool(key).ok(),
    }
}
