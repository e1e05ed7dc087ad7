//! Which packages lockfiles pin, and how two of them differ. Text in, names out;
//! what cannot be read pins nothing.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use toml::Table;

use super::implied::is_requirements;
use super::manifest::runs_scripts;

/// Packages of one lockfile.
const MOST: usize = 10_000;

/// Bytes of a name, or of a version.
const LONGEST: usize = 256;

/// The versions of each package.
type Packages = BTreeMap<String, BTreeSet<String>>;

/// What the lockfiles of an entry pin, and what else its manifests say of how it came.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockfilePins {
    /// By the path of the lockfile.
    files: BTreeMap<String, Packages>,
    /// The project has scripts of its own that run while packages are installed.
    #[serde(default)]
    pub scripts: bool,
}

impl LockfilePins {
    /// Reads a file; it pins nothing if it is no lockfile that is known.
    pub fn read(&mut self, path: &str, content: &[u8]) {
        self.scripts |= runs_scripts(path, content);
        let mut all = Packages::new();
        let mut found = FoundPin { all: &mut all, count: 0 };
        packages(path, &String::from_utf8_lossy(content), &mut found);
        if !all.is_empty() {
            self.files.insert(path.to_owned(), all);
        }
    }

    /// What of a lockfile differs in `other`, a package each; `None` where one of
    /// them does not have it.
    pub fn difference(&self, other: &LockfilePins, path: &str) -> Option<Vec<String>> {
        let (before, now) = (self.files.get(path)?, other.files.get(path)?);
        let names: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
        let none = BTreeSet::new();
        let change = |name: &&String| {
            let (was, is) = (before.get(*name).unwrap_or(&none), now.get(*name).unwrap_or(&none));
            // Of several versions those that stay say nothing.
            let only = |a: &BTreeSet<String>, b: &BTreeSet<String>| {
                a.difference(b).map(String::as_str).collect::<Vec<_>>().join(", ")
            };
            match (only(was, is), only(is, was)) {
                (was, is) if was.is_empty() && is.is_empty() => None,
                (was, is) if was.is_empty() => Some(format!("{name} {is} is new")),
                (was, is) if is.is_empty() => Some(format!("{name} {was} is gone")),
                (was, is) => Some(format!("{name} {was} → {is}")),
            }
        };
        Some(names.iter().filter_map(change).collect())
    }
}

struct FoundPin<'a> {
    all: &'a mut Packages,
    count: usize,
}

impl FoundPin<'_> {
    fn add(&mut self, name: &str, version: &str) {
        let plain = |text: &str| !text.is_empty() && text.len() <= LONGEST && !text.contains(char::is_control);
        if self.count < MOST && plain(name) && plain(version) {
            self.count += 1;
            self.all.entry(name.to_owned()).or_default().insert(version.to_owned());
        }
    }
}

fn packages(path: &str, text: &str, found: &mut FoundPin<'_>) {
    match path.rsplit('/').next().unwrap_or(path) {
        "package-lock.json" | "npm-shrinkwrap.json" => npm(text, found),
        "composer.lock" => composer(text, found),
        "Pipfile.lock" => pipenv(text, found),
        "pnpm-lock.yaml" => pnpm(text, found),
        "yarn.lock" => yarn(text, found),
        "bun.lock" => bun(text, found),
        "uv.lock" | "poetry.lock" | "pdm.lock" | "Cargo.lock" => table(text, "package", found),
        "pylock.toml" => table(text, "packages", found),
        "go.sum" => {
            let modules = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
            let whole = modules.filter(|words| words.len() == 3 && !words[1].ends_with("/go.mod"));
            whole.for_each(|words| found.add(words[0], words[1]));
        }
        "Gemfile.lock" => {
            let gems = text.lines().filter_map(|line| line.strip_prefix("    ").filter(|gem| !gem.starts_with(' ')));
            let pinned = gems.filter_map(|gem| gem.strip_suffix(')')?.split_once(" ("));
            pinned.for_each(|(name, version)| found.add(name, version));
        }
        "gradle.lockfile" => {
            let pinned = text.lines().filter_map(|line| line.split('=').next()?.rsplit_once(':'));
            pinned.for_each(|(name, version)| found.add(name, version));
        }
        _ if is_requirements(path) => {
            let pinned = text.lines().filter_map(|line| line.split([';', '#', ' ']).next()?.split_once("=="));
            pinned.for_each(|(name, version)| found.add(name.trim(), version.trim()));
        }
        _ => {}
    }
}

fn npm(text: &str, found: &mut FoundPin<'_>) {
    let Ok(document) = serde_json::from_str::<Value>(text) else { return };
    for key in ["packages", "dependencies"] {
        for (path, package) in document[key].as_object().into_iter().flatten() {
            // Where it lies; another name may be given to it there.
            let name = path.rsplit("node_modules/").next().unwrap_or(path);
            let name = package["name"].as_str().unwrap_or(name);
            if let Some(version) = package["version"].as_str().filter(|_| !path.is_empty()) {
                found.add(name, version);
            }
        }
    }
}

fn composer(text: &str, found: &mut FoundPin<'_>) {
    let Ok(document) = serde_json::from_str::<Value>(text) else { return };
    for package in ["packages", "packages-dev"].iter().filter_map(|key| document[*key].as_array()).flatten() {
        found.add(package["name"].as_str().unwrap_or_default(), package["version"].as_str().unwrap_or_default());
    }
}

fn pipenv(text: &str, found: &mut FoundPin<'_>) {
    let Ok(document) = serde_json::from_str::<Value>(text) else { return };
    for (name, package) in ["default", "develop"].iter().filter_map(|key| document[*key].as_object()).flatten() {
        found.add(name, package["version"].as_str().unwrap_or_default().trim_start_matches('='));
    }
}

fn table(text: &str, key: &str, found: &mut FoundPin<'_>) {
    let Ok(document) = text.parse::<Table>() else { return };
    for package in document.get(key).and_then(toml::Value::as_array).into_iter().flatten() {
        let field = |name: &str| package.get(name).and_then(toml::Value::as_str).unwrap_or_default();
        found.add(field("name"), field("version"));
    }
}

/// Keys of its list of packages: `/a@1.0.0(peer@2)`, `a@1.0.0`, and `/a/1.0.0` once.
fn pnpm(text: &str, found: &mut FoundPin<'_>) {
    let mut section = "";
    for line in text.lines().filter(|line| !line.is_empty()) {
        if !line.starts_with(' ') {
            section = line.trim_end_matches(':');
            continue;
        }
        let key = line.strip_prefix("  ").filter(|key| section == "packages" && !key.starts_with(' '));
        let Some((key, _)) = key.and_then(|key| key.rsplit_once(':')) else { continue };
        let key = key.trim_matches(['\'', '"']).trim_start_matches('/').split(['(', '_']).next().unwrap_or_default();
        if let Some((name, version)) = key.rsplit_once('@').filter(|(name, _)| !name.is_empty()) {
            found.add(name, version);
        } else if let Some((name, version)) = key.rsplit_once('/') {
            found.add(name, version);
        }
    }
}

/// `a@^1, a@^1.2:`, `"a@npm:^1":`, and the version below them.
fn yarn(text: &str, found: &mut FoundPin<'_>) {
    let mut name = "";
    for line in text.lines() {
        if !line.starts_with([' ', '#']) {
            let first = line.trim_start_matches('"');
            // The name of a scope begins with the sign, too.
            let end = first.char_indices().skip(1).find(|(_, c)| *c == '@').map_or(0, |(at, _)| at);
            name = &first[..end];
        } else if let Some(version) = line.strip_prefix("  version") {
            found.add(name, version.trim_matches([':', ' ', '"']));
        }
    }
}

/// Lines of its list of packages: `"a": ["a@1.0.0", ...],`.
fn bun(text: &str, found: &mut FoundPin<'_>) {
    for line in text.lines() {
        let first = line.trim().split_once("\": [\"").and_then(|(_, rest)| rest.split('"').next());
        if let Some((name, version)) = first.and_then(|first| first.rsplit_once('@')) {
            found.add(name, version);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn differ(path: &str, before: &str, now: &str) -> String {
        let (mut a, mut b) = (LockfilePins::default(), LockfilePins::default());
        a.read(path, before.as_bytes());
        b.read(path, now.as_bytes());
        let back: LockfilePins = serde_json::from_str(&serde_json::to_string(&a).unwrap()).unwrap();
        back.difference(&b, path).map_or_else(|| "unknown".to_owned(), |all| all.join("; "))
    }

    #[test]
    fn what_differs_is_named_in_every_lockfile() {
        let wanted = "left-pad 1.2.0 → 1.3.0";
        for (path, text) in [
            (
                "web/package-lock.json",
                r#"{"packages": {"": {"version": "1"}, "node_modules/a/node_modules/left-pad": {"version": "1.2.0"},
                   "node_modules/b": {"version": "1.0.0"}}}"#,
            ),
            ("npm-shrinkwrap.json", r#"{"dependencies": {"left-pad": {"version": "1.2.0"}}}"#),
            (
                "pnpm-lock.yaml",
                "lockfileVersion: 9\n\npackages:\n\n  left-pad@1.2.0:\n    resolution: {a: b}\n\nsnapshots:\n\n  x@1: {}\n",
            ),
            ("pnpm-lock.yaml", "packages:\n  /left-pad@1.2.0(x@2.0.0):\n    dev: true\n"),
            ("pnpm-lock.yaml", "packages:\n  /left-pad/1.2.0:\n    dev: true\n  /@s/b/1.0.0:\n    dev: true\n"),
            ("yarn.lock", "# yarn lockfile v1\n\nleft-pad@^1, left-pad@^1.2:\n  version \"1.2.0\"\n  resolved \"x\"\n"),
            ("yarn.lock", "__metadata:\n  version: 8\n\n\"left-pad@npm:^1\":\n  version: 1.2.0\n"),
            ("bun.lock", "{\n  \"packages\": {\n    \"left-pad\": [\"left-pad@1.2.0\", \"\", {}, \"sha\"],\n  }\n}\n"),
            ("uv.lock", "version = 1\n[[package]]\nname = \"left-pad\"\nversion = \"1.2.0\"\n"),
            ("Cargo.lock", "version = 4\n[[package]]\nname = \"left-pad\"\nversion = \"1.2.0\"\n"),
            ("Pipfile.lock", r#"{"default": {"left-pad": {"version": "==1.2.0"}}}"#),
            ("composer.lock", r#"{"packages-dev": [{"name": "left-pad", "version": "1.2.0"}]}"#),
            ("go.sum", "left-pad 1.2.0 h1:x=\nleft-pad 1.2.0/go.mod h1:y=\n"),
            ("Gemfile.lock", "GEM\n  specs:\n    left-pad (1.2.0)\n      other (>= 1)\n"),
            ("gradle.lockfile", "# x\nleft-pad:1.2.0=compileClasspath\nempty=\n"),
            ("requirements/dev.txt", "left-pad==1.2.0 ; python_version > '3'\n-r base.txt\n"),
        ] {
            assert_eq!(differ(path, text, &text.replace("1.2.0", "1.3.0")), wanted, "{path}");
            assert_eq!(differ(path, text, text), "", "{path}");
        }
    }

    #[test]
    fn packages_come_and_go_and_of_several_versions_the_changed_one_counts() {
        let lock = |packages: &[(&str, &str)]| {
            let one =
                |(name, version): &(&str, &str)| format!("[[package]]\nname = \"{name}\"\nversion = \"{version}\"\n");
            packages.iter().map(one).collect::<String>()
        };
        let before = lock(&[("a", "1"), ("a", "2"), ("b", "1"), ("same", "1")]);
        let now = lock(&[("a", "1"), ("a", "3"), ("c", "1"), ("same", "1")]);
        assert_eq!(differ("uv.lock", &before, &now), "a 2 → 3; b 1 is gone; c 1 is new");
        assert_eq!(differ("uv.lock", "=", &now), "unknown");
        assert_eq!(differ("main.rs", "a==1", "a==2"), "unknown");
        // Whoever writes a lockfile writes on no terminal.
        assert_eq!(
            differ("uv.lock", &now, &lock(&[("\\u001b[31m", "1"), ("same", "1")])),
            "a 1, 3 is gone; c 1 is gone"
        );
    }
}
