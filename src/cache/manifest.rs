//! Which parts of a manifest decide what a package manager installs. Text in, text
//! out; what is not understood decides as a whole.
//!
//! Manifests of packages say what counts, since a tool that reads one more field is
//! rare. Those of Python and Rust say what does not: any tool may have a table in them.

use serde_json::{Map, Value};
use toml::Table;

/// Fields of `package.json` that a package manager reads to install.
const PACKAGE: [&str; 33] = [
    "name",
    "version",
    "type",
    "bin",
    "directories",
    "dependencies",
    "devDependencies",
    "optionalDependencies",
    "peerDependencies",
    "peerDependenciesMeta",
    "dependenciesMeta",
    "dependenciesBuiltMeta",
    "bundledDependencies",
    "bundleDependencies",
    "engines",
    "devEngines",
    "os",
    "cpu",
    "libc",
    "overrides",
    "resolutions",
    "patchedDependencies",
    "trustedDependencies",
    "allowScripts",
    "workspaces",
    "catalog",
    "catalogs",
    "packageManager",
    "pnpm",
    "installConfig",
    "publishConfig",
    "config",
    "gypfile",
];

/// Scripts that run while it installs.
const LIFECYCLE: [&str; 11] = [
    "preinstall",
    "install",
    "postinstall",
    "prepublish",
    "preprepare",
    "prepare",
    "postprepare",
    "dependencies",
    "pnpm:devPreinstall",
    "preprepack",
    "prepack",
];

/// Tables of tools that look at code, and install nothing.
const CHECKERS: [&str; 29] = [
    "ruff",
    "black",
    "isort",
    "flake8",
    "pylint",
    "pycodestyle",
    "pydocstyle",
    "autopep8",
    "yapf",
    "bandit",
    "mypy",
    "pyright",
    "basedpyright",
    "ty",
    "pytest",
    "coverage",
    "tox",
    "codespell",
    "typos",
    "vulture",
    "interrogate",
    "commitizen",
    "semantic_release",
    "towncrier",
    "bumpversion",
    "djlint",
    "deptry",
    "mutmut",
    "importlinter",
];

/// What of a manifest counts where it is only read to install what it names; `None`
/// where all of it does.
pub fn deciding(path: &str, content: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(content).ok()?;
    match path.rsplit('/').next().unwrap_or(path) {
        "package.json" => package(text),
        "pyproject.toml" => python(text),
        "Cargo.toml" => cargo(text),
        _ => None,
    }
}

/// Whether a manifest names scripts of its own that run while it is installed: what
/// they leave is known to no tool.
pub(super) fn runs_scripts(path: &str, content: &[u8]) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let all: Option<Value> = (name == "package.json").then(|| serde_json::from_slice(content).ok()).flatten();
    all.is_some_and(|all| LIFECYCLE.iter().any(|script| !all["scripts"][*script].is_null()))
}

fn package(text: &str) -> Option<Vec<u8>> {
    let Value::Object(all) = serde_json::from_str(text).ok()? else { return None };
    let mut kept = Map::new();
    let known = PACKAGE.iter().filter_map(|name| Some(((*name).to_owned(), all.get(*name)?.clone())));
    kept.extend(known);
    if let Some(scripts) = all.get("scripts").and_then(Value::as_object) {
        let run = LIFECYCLE.iter().filter_map(|name| Some(((*name).to_owned(), scripts.get(*name)?.clone())));
        let run: Map<String, Value> = run.collect();
        if !run.is_empty() {
            kept.insert("scripts".to_owned(), Value::Object(run));
        }
    }
    serde_json::to_vec(&kept).ok()
}

fn python(text: &str) -> Option<Vec<u8>> {
    let mut all: Table = text.parse().ok()?;
    if let Some(tools) = all.get_mut("tool").and_then(toml::Value::as_table_mut) {
        CHECKERS.iter().for_each(|name| {
            tools.remove(*name);
        });
        if tools.is_empty() {
            all.remove("tool");
        }
    }
    Some(all.to_string().into_bytes())
}

fn cargo(text: &str) -> Option<Vec<u8>> {
    let mut all: Table = text.parse().ok()?;
    let forget = |table: &mut Table| {
        ["profile", "lints", "badges", "metadata"].map(|name| {
            table.remove(name);
        })
    };
    forget(&mut all);
    for name in ["package", "workspace"] {
        all.get_mut(name).and_then(toml::Value::as_table_mut).map(forget);
    }
    Some(all.to_string().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn same(path: &str, one: &str, other: &str, wanted: bool) {
        let (one, other) = (deciding(path, one.as_bytes()), deciding(path, other.as_bytes()));
        assert!(one.is_some() && other.is_some());
        assert_eq!(one == other, wanted, "{path}: {one:?} {other:?}");
    }

    #[test]
    fn a_script_is_no_dependency_unless_it_runs_with_them() {
        let base = r#"{"name": "x", "scripts": {"test": "jest", "postinstall": "a"}, "dependencies": {"a": "1"}}"#;
        for (other, wanted) in [
            (base.replace("jest", "vitest"), true),
            (base.replace(r#""name""#, r#""description": "new", "jest": {}, "name""#), true),
            (base.replace(r#""postinstall": "a""#, r#""postinstall": "b""#), false),
            (base.replace(r#", "postinstall": "a""#, ""), false),
            (base.replace(r#""a": "1""#, r#""a": "2""#), false),
            (base.replace("{\"name\"", "{\"packageManager\": \"npm@11\", \"name\""), false),
            (base.replace("{\"name\"", "{\"overrides\": {\"b\": \"1\"}, \"name\""), false),
            (base.replace("{\"name\"", "{\"workspaces\": [\"a\"], \"name\""), false),
        ] {
            same("web/package.json", base, &other, wanted);
        }
    }

    #[test]
    fn settings_of_checkers_install_nothing() {
        let base =
            "[project]\nname = \"x\"\ndependencies = [\"a\"]\n[tool.ruff]\nline-length = 100\n[tool.uv]\ndev = true\n";
        same("pyproject.toml", base, &base.replace("100", "120"), true);
        same("pyproject.toml", base, &format!("{base}[tool.pytest.ini_options]\nx = 1\n"), true);
        for (from, to) in [("\"a\"", "\"b\""), ("dev = true", "dev = false"), ("\"x\"", "\"y\"")] {
            same("pyproject.toml", base, &base.replace(from, to), false);
        }
        same("pyproject.toml", base, &format!("{base}[tool.hatch.build]\nx = 1\n"), false);
        // The first one.
        let bare = "[project]\nname = \"x\"\n";
        same("pyproject.toml", bare, &format!("{bare}[tool.ruff]\nx = 1\n"), true);
        same("package.json", r#"{"name": "x"}"#, r#"{"name": "x", "scripts": {"test": "jest"}}"#, true);
    }

    #[test]
    fn a_profile_fetches_nothing() {
        let base = "[package]\nname = \"x\"\n[dependencies]\na = \"1\"\n";
        same("Cargo.toml", base, &format!("{base}[profile.release]\nlto = true\n[lints.rust]\nx = \"warn\"\n"), true);
        same("Cargo.toml", base, &base.replace("\"1\"", "\"2\""), false);
        same("Cargo.toml", base, &format!("{base}[target.'cfg(unix)'.dependencies]\nb = \"1\"\n"), false);
    }

    #[test]
    fn what_is_not_understood_decides_as_a_whole() {
        for (path, text) in [("package.json", "{"), ("package.json", "[]"), ("pyproject.toml", "="), ("go.mod", "")] {
            assert_eq!(deciding(path, text.as_bytes()), None);
        }
        assert_eq!(deciding("package.json", b"\xff"), None);
    }
}
