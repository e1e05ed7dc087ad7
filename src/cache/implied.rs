//! Which other files a known input brings with it: what it names, and what its
//! tool reads beside it. Text in, paths and patterns out; nothing is opened.
//!
//! Whatever cannot be understood implies nothing: the tool itself will say what
//! is wrong with it.

use toml::Table;

/// Files beside one of a kind that its tool reads as well.
const BESIDE: &[(&[&str], &[&str])] = &[
    (
        &["package.json", "package-lock.json", "npm-shrinkwrap.json", "pnpm-lock.yaml", "yarn.lock", "bun.lock"],
        &[
            "package.json",
            ".npmrc",
            ".yarnrc",
            ".yarnrc.yml",
            ".pnpmfile.cjs",
            "pnpm-workspace.yaml",
            "patches/**",
            ".yarn/patches/**",
            ".yarn/plugins/**",
            ".yarn/releases/**",
            "bunfig.toml",
        ],
    ),
    (
        &["uv.lock", "poetry.lock", "pdm.lock", "pylock.toml", "pyproject.toml"],
        &["pyproject.toml", ".python-version", "uv.toml", "poetry.toml", "pdm.toml"],
    ),
    (&["Pipfile.lock", "Pipfile"], &["Pipfile", ".python-version"]),
    (
        &["Cargo.lock", "Cargo.toml"],
        &["Cargo.toml", "rust-toolchain.toml", "rust-toolchain", ".cargo/config.toml", ".cargo/config"],
    ),
    (&["go.sum", "go.mod"], &["go.mod", "go.work", "go.work.sum"]),
    (&["Gemfile.lock", "Gemfile"], &["Gemfile", ".ruby-version", "*.gemspec"]),
    (&["composer.lock", "composer.json"], &["composer.json"]),
];

/// Back ends of Python's builds that compile, and what.
const COMPILED: &[(&str, &[&str])] = &[
    ("maturin", &["**/*.rs", "**/Cargo.toml", "Cargo.lock"]),
    ("setuptools_rust", &["**/*.rs", "**/Cargo.toml", "Cargo.lock"]),
    ("scikit_build_core", &["**/*.c", "**/*.cc", "**/*.cpp", "**/*.h", "**/*.hpp", "**/*.pyx", "**/CMakeLists.txt"]),
    ("mesonpy", &["**/*.c", "**/*.cc", "**/*.cpp", "**/*.h", "**/*.hpp", "**/*.pyx", "**/meson.build"]),
];

/// Lockfiles of tools that copy a folder of the project which a manifest names, where
/// others make a link to it.
const COPIES: [&str; 2] = ["yarn.lock", "pnpm-lock.yaml"];

/// Whether the tool of one of these files copies folders of the project.
pub fn copies_folders<'a>(mut files: impl Iterator<Item = &'a str>) -> bool {
    files.any(|file| COPIES.contains(&file.rsplit('/').next().unwrap_or(file)))
}

/// Paths and patterns, from the root of the project, that `path` with this
/// content brings with it. They count where they are there. `copied`: of a folder that a
/// manifest of packages names, everything is copied.
pub fn implied(path: &str, content: &[u8], copied: bool) -> Vec<String> {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let text = String::from_utf8_lossy(content);
    let mut all: Vec<String> = Vec::new();
    for (kinds, beside) in BESIDE {
        if kinds.contains(&name) {
            all.extend(beside.iter().map(|file| (*file).to_owned()));
        }
    }
    match name {
        "package.json" => package_json(&text, copied, &mut all),
        "pnpm-workspace.yaml" => pnpm_workspace(&text, &mut all),
        "pyproject.toml" => pyproject(&text, &mut all),
        "Cargo.toml" => cargo(&text, &mut all),
        _ if is_requirements(path) => requirements(&text, &mut all),
        _ => {}
    }
    let mut found: Vec<String> = all.iter().filter_map(|below| joined(folder, below)).collect();
    found.sort();
    found.dedup();
    found.retain(|found| found != path);
    found
}

/// A path below a folder, without `.` and `..`; `None` for one that leads out.
fn joined(folder: &str, below: &str) -> Option<String> {
    let below = below.trim().trim_end_matches('/');
    if below.is_empty() || below.starts_with('/') || below.contains("://") {
        return None;
    }
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in below.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

pub(super) fn is_requirements(path: &str) -> bool {
    let lower = path.to_ascii_lowercase();
    let plain = lower.ends_with(".txt") || lower.ends_with(".in");
    plain && (lower.contains("requirement") || lower.contains("constraint"))
}

/// `-r`, `-c`, `-e` and folders of a requirements file.
fn requirements(text: &str, all: &mut Vec<String>) {
    for line in text.replace("\\\n", " ").lines() {
        let line = line.split(" #").next().unwrap_or_default().trim();
        let value = |names: [&str; 2]| {
            names.iter().find_map(|name| {
                let rest = line.strip_prefix(name)?;
                // `-rbase.txt` is one too; `--requirements` is none.
                let whole = !name.starts_with("--") || rest.starts_with(['=', ' ', '\t']);
                whole.then(|| rest.trim_start_matches('=').trim())
            })
        };
        if let Some(file) = value(["--requirement", "-r"]).or_else(|| value(["--constraint", "-c"])) {
            all.push(file.to_owned());
            // With extras: `.[dev]`.
        } else if let Some(folder) = value(["--editable", "-e"]) {
            python_project(folder.split('[').next().unwrap_or_default(), all);
        } else if line.starts_with('.') {
            python_copy(line.split(['[', ';']).next().unwrap_or_default().trim(), all);
        } else if let Some((_, folder)) = line.split_once(" @ file:").filter(|(_, folder)| folder.starts_with('.')) {
            python_copy(folder.split(';').next().unwrap_or_default().trim(), all);
        }
    }
}

/// What describes a package of Python in a folder.
fn python_project(folder: &str, all: &mut Vec<String>) {
    let folder = folder.trim_start_matches("file:").trim_end_matches('/');
    if !folder.is_empty() {
        all.extend(["pyproject.toml", "setup.py", "setup.cfg"].map(|file| format!("{folder}/{file}")));
    }
}

/// A package of Python that is installed as it is now: all of it.
fn python_copy(folder: &str, all: &mut Vec<String>) {
    python_project(folder, all);
    let folder = folder.trim_start_matches("file:").trim_end_matches('/');
    let archive = [".whl", ".tar.gz", ".zip"].iter().any(|end| folder.ends_with(end));
    all.push(if archive { folder.to_owned() } else { format!("{folder}/**") });
}

fn package_json(text: &str, copied: bool, all: &mut Vec<String>) {
    let Ok(document) = serde_json::from_str::<serde_json::Value>(text) else { return };
    let workspaces = &document["workspaces"];
    let members = workspaces.as_array().or_else(|| workspaces["packages"].as_array());
    let members = members.into_iter().flatten().filter_map(|member| member.as_str());
    all.extend(members.filter(|member| !member.starts_with('!')).map(|member| format!("{member}/package.json")));
    for patches in [&document["pnpm"]["patchedDependencies"], &document["patchedDependencies"]] {
        let files = patches.as_object().into_iter().flatten().filter_map(|(_, file)| file.as_str());
        all.extend(files.map(str::to_owned));
    }
    for kind in ["dependencies", "devDependencies", "optionalDependencies"] {
        let versions = document[kind].as_object().into_iter().flatten().filter_map(|(_, version)| version.as_str());
        for version in versions {
            let (linked, file) = (version.strip_prefix("link:"), version.strip_prefix("file:"));
            let Some(folder) = file.or(linked) else { continue };
            let archive = [".tgz", ".tar.gz"].iter().any(|end| folder.ends_with(end));
            all.push(if archive { folder.to_owned() } else { format!("{folder}/package.json") });
            if copied && file.is_some() && !archive {
                all.push(format!("{folder}/**"));
            }
        }
    }
}

/// The two lists of it that matter, as everybody writes them.
fn pnpm_workspace(text: &str, all: &mut Vec<String>) {
    let mut section = "";
    for line in text.lines().filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#')) {
        let plain = |text: &str| text.trim().trim_matches(['"', '\'']).to_owned();
        if !line.starts_with([' ', '\t', '-']) {
            section = line.split(':').next().unwrap_or_default().trim();
            continue;
        }
        let line = line.trim();
        match (section, line.strip_prefix('-')) {
            ("packages", Some(member)) if !plain(member).starts_with('!') => {
                all.push(format!("{}/package.json", plain(member)));
            }
            ("patchedDependencies", None) => all.extend(line.rsplit_once(": ").map(|(_, file)| plain(file))),
            _ => {}
        }
    }
}

fn pyproject(text: &str, all: &mut Vec<String>) {
    let Ok(document) = text.parse::<Table>() else { return };
    let tool = document.get("tool");
    let uv = tool.and_then(|tool| tool.get("uv"));
    let members = uv.and_then(|uv| uv.get("workspace")?.get("members")?.as_array());
    let members = members.into_iter().flatten().filter_map(|member| member.as_str());
    all.extend(members.map(|member| format!("{member}/pyproject.toml")));
    let keys = uv.and_then(|uv| uv.get("cache-keys")?.as_array()).into_iter().flatten();
    all.extend(keys.filter_map(|key| Some(key.as_str().or_else(|| key.get("file")?.as_str())?.to_owned())));
    let back_end = document.get("build-system").and_then(|build| build.get("build-backend")?.as_str()).unwrap_or("");
    let named = back_end.split('.').next().unwrap_or_default();
    let compiled = COMPILED.iter().filter(|(name, _)| *name == named).flat_map(|(_, files)| *files);
    all.extend(compiled.map(|file| (*file).to_owned()));
    // Tables anywhere that name a `path`: uv's sources, poetry's dependencies.
    let mut pending: Vec<&toml::Value> = tool.into_iter().collect();
    while let Some(value) = pending.pop() {
        match value {
            toml::Value::Table(table) => {
                let is = |name: &str| table.get(name).and_then(|value| value.as_bool()) == Some(true);
                if let Some(path) = table.get("path").and_then(|path| path.as_str()) {
                    // What is no link to the folder is a copy of it.
                    if is("editable") || is("develop") { python_project(path, all) } else { python_copy(path, all) }
                }
                pending.extend(table.values());
            }
            toml::Value::Array(values) => pending.extend(values),
            // `pkg @ file:///${PROJECT_ROOT}/lib`, as pdm writes it.
            toml::Value::String(text) => {
                if let Some((before, path)) = text.split_once("file:///${PROJECT_ROOT}/") {
                    let editable = before.trim_start().starts_with("-e");
                    if editable {
                        python_project(path.split('#').next().unwrap_or(path), all)
                    } else {
                        python_copy(path, all)
                    }
                }
            }
            _ => {}
        }
    }
}

fn cargo(text: &str, all: &mut Vec<String>) {
    let Ok(document) = text.parse::<Table>() else { return };
    let members = document.get("workspace").and_then(|workspace| workspace.get("members")?.as_array());
    let members = members.into_iter().flatten().filter_map(|member| member.as_str());
    all.extend(members.map(|member| format!("{member}/Cargo.toml")));
    // Tables anywhere that name a `path` and are dependencies.
    let mut pending: Vec<(&str, &toml::Value)> = document.iter().map(|(name, value)| (&**name, value)).collect();
    while let Some((name, value)) = pending.pop() {
        let Some(table) = value.as_table() else { continue };
        if name.ends_with("dependencies") || name == "patch" {
            let paths = table.values().filter_map(|entry| entry.get("path")?.as_str());
            all.extend(paths.map(|path| format!("{path}/Cargo.toml")));
        }
        pending.extend(table.iter().map(|(name, value)| (&**name, value)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn implies(path: &str, text: &str, wanted: &[&str]) {
        let found = implied(path, text.as_bytes(), false);
        for one in wanted {
            assert!(found.iter().any(|found| found == one), "{one} of {path}: {found:?}");
        }
    }

    #[test]
    fn requirements_name_others() {
        let text = "-r base.txt\n--requirement=more.txt # why\n-c ../limits.txt\n-e .\n-e ./lib[dev]\nrequests==2\n\
                    --requirements no.txt\n-rclose.txt\n--index-url https://x/y\n./local\n-r https://x/z.txt\n-r /etc/passwd\n\
                    -r ../../out.txt\n";
        let found = implied("requirements/dev.txt", text.as_bytes(), false);
        let mut wanted = vec!["requirements/base.txt", "requirements/more.txt", "limits.txt", "requirements/close.txt"];
        for folder in ["requirements", "requirements/lib", "requirements/local"] {
            wanted.extend(["pyproject.toml", "setup.cfg", "setup.py"].iter().map(|file| {
                let path: &str = Box::leak(format!("{folder}/{file}").into_boxed_str());
                path
            }));
        }
        // What is installed without a link to it is a copy.
        wanted.push("requirements/local/**");
        wanted.sort_unstable();
        assert_eq!(found, wanted);
        assert!(implied("notes.txt", b"-r base.txt", false).is_empty());
    }

    #[test]
    fn members_patches_and_settings_belong_to_a_manifest() {
        implies(
            "web/package.json",
            r#"{"workspaces": ["packages/*", "!packages/x"], "pnpm": {"patchedDependencies": {"a@1": "patches/a.patch"}},
                "dependencies": {"l": "file:../lib", "m": "link:./m", "t": "file:x.tgz", "n": "^1"}}"#,
            &[
                "web/packages/*/package.json",
                "web/patches/a.patch",
                "web/.npmrc",
                "lib/package.json",
                "web/m/package.json",
                "web/x.tgz",
            ],
        );
        implies("package.json", r#"{"workspaces": {"packages": ["a"]}}"#, &["a/package.json", ".yarn/patches/**"]);
        implies(
            "pnpm-workspace.yaml",
            "packages:\n  # all\n  - 'packages/*'\n  - \"!x\"\n- tools\npatchedDependencies:\n  a@1.0: fixes/a.patch\nother:\n  - no\n",
            &["packages/*/package.json", "tools/package.json", "fixes/a.patch"],
        );
        assert!(!implied("pnpm-workspace.yaml", b"other:\n  - no\n", false).iter().any(|one| one.contains("no")));
        implies(
            "pyproject.toml",
            "[project]\ndependencies = []\n[tool.uv.workspace]\nmembers = [\"libs/*\"]\n[tool.uv.sources]\na = { path = \"../a\" }\n\
             [tool.poetry.group.dev.dependencies]\nb = { path = \"b\", develop = true }\n",
            &["libs/*/pyproject.toml", "b/pyproject.toml", ".python-version"],
        );
        implies(
            "x/pyproject.toml",
            "[tool.uv.sources]\na = { path = \"../a\" }\n",
            &["a/pyproject.toml", "a/setup.py", "a/**"],
        );
        implies(
            "Cargo.toml",
            "[workspace]\nmembers = [\"crates/*\"]\n[dependencies]\na = { path = \"a\" }\n\
             [target.'cfg(unix)'.dependencies]\nb = { path = \"b\" }\n[workspace.dependencies]\nc = { path = \"c\" }\n",
            &[
                "crates/*/Cargo.toml",
                "a/Cargo.toml",
                "b/Cargo.toml",
                "c/Cargo.toml",
                "rust-toolchain.toml",
                ".cargo/config.toml",
            ],
        );
        implies("go.sum", "", &["go.mod", "go.work"]);
        for broken in ["package.json", "pyproject.toml", "Cargo.toml", "requirements.txt"] {
            implied(broken, b"\xff{[", true);
        }
    }

    #[test]
    fn all_of_what_is_copied_counts() {
        let of = |path: &str, text: &str, copied: bool| implied(path, text.as_bytes(), copied);
        let has = |found: &[String], wanted: &str| found.iter().any(|one| one == wanted);
        let manifest = r#"{"dependencies": {"l": "file:../lib", "m": "link:../m"}}"#;
        let (linked, copied) = (of("web/package.json", manifest, false), of("web/package.json", manifest, true));
        assert!(!has(&linked, "lib/**") && has(&copied, "lib/**") && !has(&copied, "m/**"));
        assert!(copies_folders(["web/yarn.lock"].into_iter()) && !copies_folders(["package-lock.json"].into_iter()));
        let sources = "[tool.uv.sources]\na = { path = \"a\", editable = true }\nb = { path = \"b\" }\n";
        let found = of("pyproject.toml", sources, false);
        assert!(!has(&found, "a/**") && has(&found, "b/**") && has(&found, "a/pyproject.toml"), "{found:?}");
        let build =
            "[build-system]\nbuild-backend = \"maturin\"\n[tool.uv]\ncache-keys = [{ file = \"x.h\" }, \"y.h\"]\n";
        let found = of("py/pyproject.toml", build, false);
        assert!(["py/**/*.rs", "py/x.h", "py/y.h"].iter().all(|one| has(&found, one)), "{found:?}");
        let found = of("requirements.txt", "l @ file:./l\n./m[all] ; python_version > '3'\n./w/x.whl\n-e .\n", false);
        assert!(["l/**", "m/**", "w/x.whl"].iter().all(|one| has(&found, one)) && !has(&found, "**"), "{found:?}");
    }
}
