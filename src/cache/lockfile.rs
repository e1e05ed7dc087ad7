//! Lockfiles that are known by name, and the cache entry that each suggests.

use std::path::Path;

use anyhow::{Context, Result};

use crate::digest::Digest;
use crate::disk::beneath::Beneath;
use crate::disk::plain::Miss;

/// A lockfile beyond this size pins nothing that anybody reads, in bytes.
const MAX: u64 = 64 << 20;

/// A lockfile, and what is usually cached for it.
#[derive(Clone, Copy, Debug)]
pub struct Lockfile {
    /// The file, at the root of a project.
    pub file: &'static str,
    /// A name for the entry.
    pub name: &'static str,
    /// Other files that decide the content as well, where they are there.
    pub also: &'static [&'static str],
    /// Where the content belongs.
    pub path: &'static str,
    /// The command that fills it.
    pub setup: &'static str,
}

const fn known(
    file: &'static str,
    name: &'static str,
    also: &'static [&'static str],
    path: &'static str,
    setup: &'static str,
) -> Lockfile {
    Lockfile { file, name, also, path, setup }
}

/// All that are known. Of several for one path the first that is there counts.
pub const RECOGNISED: &[Lockfile] = &[
    known("pnpm-lock.yaml", "pnpm", &["package.json"], "node_modules", "pnpm install --frozen-lockfile"),
    known("yarn.lock", "yarn", &["package.json"], "node_modules", "yarn install --frozen-lockfile"),
    known("bun.lock", "bun", &["package.json"], "node_modules", "bun install --frozen-lockfile"),
    known("bun.lockb", "bun", &["package.json"], "node_modules", "bun install --frozen-lockfile"),
    known("package-lock.json", "npm", &["package.json"], "node_modules", "npm ci"),
    known("npm-shrinkwrap.json", "npm", &["package.json"], "node_modules", "npm ci"),
    known("uv.lock", "uv", &["pyproject.toml"], ".venv", "uv sync --frozen"),
    known("poetry.lock", "poetry", &["pyproject.toml"], ".venv", "POETRY_VIRTUALENVS_IN_PROJECT=1 poetry install"),
    known("Pipfile.lock", "pipenv", &["Pipfile"], ".venv", "PIPENV_VENV_IN_PROJECT=1 pipenv sync"),
    known(
        "requirements.txt",
        "pip",
        &[],
        ".venv",
        "python3 -m venv .venv && .venv/bin/pip install --requirement requirements.txt",
    ),
    known("Cargo.lock", "cargo", &["Cargo.toml"], "~/.cargo/registry", "cargo fetch --locked"),
    known("go.sum", "go", &["go.mod"], "~/go/pkg/mod", "go mod download"),
    known(
        "Gemfile.lock",
        "bundler",
        &["Gemfile"],
        "vendor/bundle",
        "bundle config set path vendor/bundle && bundle install",
    ),
    known("composer.lock", "composer", &["composer.json"], "vendor", "composer install"),
    known("pom.xml", "maven", &[], "~/.m2/repository", "mvn --batch-mode dependency:go-offline"),
    known(
        "gradle.lockfile",
        "gradle",
        &["build.gradle", "build.gradle.kts", "settings.gradle", "settings.gradle.kts"],
        "~/.gradle",
        "gradle --no-daemon dependencies",
    ),
    known("flake.lock", "nix", &["flake.nix"], "~/.cache/nix", "nix develop --command true"),
];

/// The lockfiles below `root`, as `NAME:DIGEST`, in the order of their names.
///
/// # Errors
/// When one is there and cannot be read.
pub fn lockfiles(root: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let folder = Beneath::open(root)?;
    for known in RECOGNISED {
        let bytes = match folder.file(Path::new(known.file)) {
            // Where a link leads is no part of the checkout.
            Err(Miss::Link) => Ok(None),
            _ => folder.read(Path::new(known.file), MAX),
        };
        if let Some(bytes) = bytes.with_context(|| format!("cannot read the lockfile {}", known.file))? {
            found.push(format!("{}:{}", known.file, Digest::of(&bytes)));
        }
    }
    found.sort();
    Ok(found)
}

/// Entries that the files below `root` suggest, one for each path.
pub fn proposals(root: &Path) -> Vec<(Lockfile, Vec<String>)> {
    let mut all: Vec<(Lockfile, Vec<String>)> = Vec::new();
    for known in RECOGNISED.iter().filter(|known| root.join(known.file).is_file()) {
        if all.iter().any(|(other, _)| other.path == known.path) {
            continue;
        }
        let also = known.also.iter().filter(|file| root.join(file).is_file());
        let inputs = std::iter::once(&known.file).chain(also).map(|file| (*file).to_owned()).collect();
        all.push((*known, inputs));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_named_and_suggests_one_entry_for_each_path() {
        let dir = tempfile::tempdir().unwrap();
        for file in ["package-lock.json", "package.json", "yarn.lock", "go.sum", "poetry.lock", "requirements.txt"] {
            std::fs::write(dir.path().join(file), file).unwrap();
        }
        let found = lockfiles(dir.path()).unwrap();
        assert_eq!(found.len(), 5, "{found:?}");
        assert!(found.contains(&format!("go.sum:{}", Digest::of(b"go.sum"))));
        let proposed = proposals(dir.path());
        let names: Vec<_> = proposed.iter().map(|(known, _)| known.name).collect();
        assert_eq!(names, ["yarn", "poetry", "go"]);
        assert_eq!(proposed[0].1, ["yarn.lock", "package.json"]);
    }

    #[test]
    fn every_kind_is_known() {
        let names: Vec<&str> = RECOGNISED.iter().map(|known| known.name).collect();
        for kind in [
            "npm", "pnpm", "yarn", "pip", "uv", "poetry", "cargo", "go", "bundler", "composer", "maven", "gradle",
            "nix",
        ] {
            assert!(names.contains(&kind), "{kind}");
        }
    }
}
