//! Which packages were put into a tree since it was sealed, as the places of their files
//! tell: whoever added one by hand reads its name when it goes.
//!
//! Any program may have written both folders: nothing is reached through a link, and
//! whatever cannot be read or understood names no package.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;

use rustix::fs::{Dir, FileType};
use serde_json::Value;

use crate::disk::beneath::Beneath;

/// Files and folders that are looked at.
const MOST_LOOKED: usize = 50_000;

/// Manifests that are read.
const MOST_READ: usize = 5000;

/// Bytes of one of them.
const MAX_MANIFEST: u64 = 64 << 10;

/// Packages that are named.
const MOST_NAMED: usize = 1000;

/// Characters of a name with its version.
const LONGEST: usize = 128;

/// By which package managers know a folder of packages as theirs.
const MODULES: [&str; 5] = [".package-lock.json", ".modules.yaml", ".yarn-integrity", ".yarn-state.yml", ".bin"];

/// Folders of what tools unpack, or keep by content: what is in them has its name
/// elsewhere.
const NAMELESS: [&str; 7] = ["_cacache", ".pnpm-store", ".cache", ".bin", "__pycache__", "go-build", "sumdb"];

/// The packages of which `upper`, the upper folder of an overlay, has a version that
/// `lower` has not, by name and version, in the order of their names.
pub fn packages(upper: &Path, lower: &Path) -> Vec<String> {
    let (Ok(upper), Ok(lower)) = (Beneath::open(upper), Beneath::open(lower)) else { return Vec::new() };
    let marked = |tree: &Beneath| MODULES.iter().any(|name| tree.stat(Path::new(name)).is_some());
    let modules = marked(&upper) || marked(&lower);
    let mut search = Search { upper, lower, read: 0, found: BTreeSet::new() };
    let (mut pending, mut looked) = (vec![String::new()], 0);
    while let Some(folder) = pending.pop() {
        let listed = search.upper.list(Path::new(&folder)).ok().and_then(|open| Dir::read_from(open).ok());
        for entry in listed.into_iter().flatten().flatten() {
            let Ok(name) = entry.file_name().to_str() else { continue };
            looked += 1;
            if looked > MOST_LOOKED || search.found.len() == MOST_NAMED {
                return search.found.into_iter().collect();
            }
            let path = match &*folder {
                "" => name.to_owned(),
                folder => format!("{folder}/{name}"),
            };
            let shown = if modules { format!("node_modules/{path}") } else { path.clone() };
            let parts: Vec<&str> = shown.split('/').collect();
            match entry.file_type() {
                _ if matches!(name, "." | "..") => {}
                FileType::Directory => {
                    search.note(&path, by_folder(name));
                    if is_entered(&parts) {
                        pending.push(path);
                    }
                }
                FileType::RegularFile if name == "package.json" => {
                    in_modules(&parts[..parts.len() - 1]).iter().for_each(|package| search.manifest(&path, package));
                }
                FileType::RegularFile => search.note(&path, by_file(&parts)),
                _ => {}
            }
        }
    }
    search.found.into_iter().collect()
}

struct Search {
    upper: Beneath,
    lower: Beneath,
    read: usize,
    found: BTreeSet<String>,
}

impl Search {
    /// A package whose version is in its path: one that was there is the same.
    fn note(&mut self, path: &str, package: Option<(String, String)>) {
        let Some((name, version)) = package else { return };
        if self.lower.stat(Path::new(path)).is_none() {
            self.add(&name, &version);
        }
    }

    /// A package that says its version itself.
    fn manifest(&mut self, path: &str, name: &str) {
        self.read += 1;
        if self.read > MOST_READ {
            return;
        }
        let version = version(&self.upper, path).unwrap_or_default();
        if self.lower.stat(Path::new(path)).is_none() || version_differs(&self.lower, path, &version) {
            self.add(name, &version);
        }
    }

    fn add(&mut self, name: &str, version: &str) {
        let plain = |text: &str| !text.contains(char::is_control);
        let package = format!("{name} {version}").trim().to_owned();
        if !package.is_empty() && plain(&package) && package.chars().count() <= LONGEST {
            self.found.insert(package);
        }
    }
}

/// What a manifest of a package of Node says.
fn version(tree: &Beneath, path: &str) -> Option<String> {
    let mut text = Vec::new();
    tree.file(Path::new(path)).ok()?.take(MAX_MANIFEST).read_to_end(&mut text).ok()?;
    serde_json::from_slice::<Value>(&text).ok()?["version"].as_str().map(str::to_owned)
}

fn version_differs(lower: &Beneath, path: &str, now: &str) -> bool {
    version(lower, path).unwrap_or_default() != now
}

/// The package of Node whose folder this is: `name` or `@scope/name` behind the last
/// `node_modules`.
fn in_modules(parts: &[&str]) -> Option<String> {
    let at = parts.iter().rposition(|part| *part == "node_modules")?;
    match parts[at + 1..] {
        [name] if !name.starts_with(['.', '@']) => Some(name.to_owned()),
        [scope, name] if scope.starts_with('@') => Some(format!("{scope}/{name}")),
        _ => None,
    }
}

/// Whether it is looked for packages in a folder.
fn is_entered(parts: &[&str]) -> bool {
    let Some((name, above)) = parts.split_last() else { return true };
    let nameless = NAMELESS.contains(name) || name.ends_with(".dist-info");
    match above {
        _ if nameless => false,
        // Programs of Python lie beside what says their names.
        [.., "site-packages" | "dist-packages"] => false,
        // What cargo has unpacked.
        [] | [.., "registry"] if *name == "src" => false,
        above => *name == "node_modules" || in_modules(above).is_none(),
    }
}

/// What the name of a folder says.
fn by_folder(name: &str) -> Option<(String, String)> {
    let (name, version) = name.strip_suffix(".dist-info")?.rsplit_once('-')?;
    // What pip is about to remove.
    (!name.starts_with('~')).then(|| (name.to_owned(), version.to_owned()))
}

/// What the path of a file says: that of an archive, or of what describes one.
fn by_file(parts: &[&str]) -> Option<(String, String)> {
    let (file, folders) = parts.split_last()?;
    let (stem, end) = file.rsplit_once('.')?;
    let owned = |(name, version): (&str, &str)| (name.to_owned(), version.to_owned());
    match (end, folders) {
        ("crate", _) => versioned(stem).map(owned),
        ("gemspec", [.., "specifications"]) => versioned(stem).map(owned),
        ("zip", [folders @ .., "@v"]) => {
            let at = folders.iter().position(|part| *part == "download")?;
            Some((unescaped(&folders[at + 1..].join("/")), stem.to_owned()))
        }
        // Of Yarn: the version, a hash and the version of the format.
        ("zip", _) => {
            let (name, rest) = stem.split_once("-npm-")?;
            rest.rsplitn(3, '-').nth(2).map(|version| owned((name, version)))
        }
        ("pom", [groups @ .., artifact, version]) if stem.starts_with(&format!("{artifact}-")) => {
            let at = groups.iter().rposition(|part| *part == "repository").map_or(0, |at| at + 1);
            Some((format!("{}:{artifact}", groups[at..].join(".")), (*version).to_owned()))
        }
        (_, [.., "files-2.1", group, name, version, _]) => Some((format!("{group}:{name}"), (*version).to_owned())),
        _ => None,
    }
}

/// `name-1.2.3` in two: a name may have dashes and digits, too.
fn versioned(text: &str) -> Option<(&str, &str)> {
    let begins = |rest: &str| rest.starts_with(|c: char| c.is_ascii_digit()) && rest.contains('.');
    let dashes = text.char_indices().filter(|(_, c)| *c == '-').map(|(at, _)| at);
    dashes.map(|at| (&text[..at], &text[at + 1..])).find(|(_, rest)| begins(rest))
}

/// A path of Go's, in which capitals are written as `!a`.
fn unescaped(path: &str) -> String {
    let mut capital = false;
    let letter = |c: char| match (c, capital) {
        ('!', false) => {
            capital = true;
            None
        }
        (c, was) => {
            capital = false;
            Some(if was { c.to_ascii_uppercase() } else { c })
        }
    };
    path.chars().filter_map(letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The packages of an upper folder of these files over a lower one.
    fn found(upper: &[(&str, &str)], lower: &[(&str, &str)]) -> Vec<String> {
        let trees = [upper, lower].map(|files| {
            let dir = tempfile::tempdir().unwrap();
            for (path, text) in files {
                let path = dir.path().join(path);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, text).unwrap();
            }
            dir
        });
        packages(trees[0].path(), trees[1].path())
    }

    #[test]
    fn what_was_added_is_named_with_its_version() {
        let of = |version: &str| format!("{{\"version\": \"{version}\"}}");
        let (one, two) = (of("1.0.0"), of("2.0.0"));
        let node = [
            ("workspace/node_modules/same/package.json", &*one),
            ("workspace/node_modules/same/dist/package.json", &two),
            ("workspace/node_modules/newer/package.json", &two),
            ("workspace/node_modules/@a/b/package.json", &two),
            ("workspace/node_modules/newer/node_modules/deep/package.json", "{"),
            ("workspace/node_modules/.pnpm/x@1/node_modules/x/package.json", &one),
            ("workspace/node_modules/.cache/tool/package.json", &one),
        ];
        let before =
            [("workspace/node_modules/same/package.json", &*one), ("workspace/node_modules/newer/package.json", &one)];
        assert_eq!(found(&node, &before), ["@a/b 2.0.0", "deep", "newer 2.0.0", "x 1.0.0"]);
        // The tree itself is a folder of packages.
        let own = [(".package-lock.json", "{}"), ("a/package.json", &*one), ("a/src/package.json", &two)];
        assert_eq!(found(&own, &[]), ["a 1.0.0"]);
        assert_eq!(found(&[("a/package.json", &*one)], &[]), [""; 0]);
    }

    #[test]
    fn every_tool_has_the_name_somewhere() {
        let files = [
            "lib/python3.11/site-packages/left_pad-1.2.dist-info/METADATA",
            "lib/python3.11/site-packages/~eft_pad-1.1.dist-info/METADATA",
            "lib/python3.11/site-packages/left_pad/x-1.2.3.crate",
            "cache/index.crates.io-1/serde-json-1.0.1-beta.2.crate",
            "home/.cargo/registry/src/x/y-1.0.0.crate",
            "cache/download/github.com/!burnt!sushi/toml/@v/v1.2.3.zip",
            "home/.yarn/berry/cache/left-pad-npm-1.3.0-rc.1-9bd3b1d5e4-10.zip",
            "home/.m2/repository/org/slf4j/slf4j-api/2.0.9/slf4j-api-2.0.9.pom",
            "org/slf4j/slf4j-api/2.0.9/slf4j-api-2.0.9.jar",
            "caches/modules-2/files-2.1/com.google/guava/33.0/5a/guava-33.0.jar",
            "ruby/3.1.0/specifications/rack-2.2.8.gemspec",
        ];
        let upper: Vec<(&str, &str)> = files.iter().map(|path| (*path, "")).collect();
        let all = [
            "com.google:guava 33.0",
            "github.com/BurntSushi/toml v1.2.3",
            "left-pad 1.3.0-rc.1",
            "left_pad 1.2",
            "org.slf4j:slf4j-api 2.0.9",
            "rack 2.2.8",
            "serde-json 1.0.1-beta.2",
        ];
        assert_eq!(found(&upper, &[]), all);
        assert_eq!(found(&upper, &upper), [""; 0]);
    }

    #[test]
    fn a_tree_of_somebody_else_leads_nowhere_and_has_a_bound() {
        let (upper, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(outside.path().join("package.json"), "{\"version\": \"secret\"}").unwrap();
        let modules = upper.path().join("node_modules");
        std::fs::create_dir_all(modules.join("b")).unwrap();
        std::os::unix::fs::symlink(outside.path(), modules.join("a")).unwrap();
        std::os::unix::fs::symlink(outside.path().join("package.json"), modules.join("b/package.json")).unwrap();
        assert_eq!(packages(upper.path(), outside.path()), [""; 0]);
        for at in 0..1100 {
            std::fs::create_dir(upper.path().join(format!("p-{at}.dist-info"))).unwrap();
        }
        std::fs::create_dir(upper.path().join(format!("{}-1.dist-info", "x".repeat(200)))).unwrap();
        assert_eq!(packages(upper.path(), outside.path()).len(), MOST_NAMED);
    }
}
