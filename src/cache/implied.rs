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

/// Paths and patterns, from the root of the project, that `path` with this
/// content brings with it. They count where they are there.
pub fn implied(path: &str, content: &[u8]) -> Vec<String> {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let text = String::from_utf8_lossy(content);
    let mut all: Vec<String> = Vec::new();
    for (kinds, beside) in BESIDE {
        if kinds.contains(&name) {
            all.extend(beside.iter().map(|file| (*file).to_owned()));
        }
    }
    match name {
        "package.json" => package_json(&text, &mut all),
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
        } else if let Some(folder) = value(["--editable", "-e"]).or(line.starts_with('.').then_some(line)) {
            // With extras: `.[dev]`.
            python_project(folder.split('[').next().unwrap_or_default(), all);
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

fn package_json(text: &str, all: &mut Vec<String>) {
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
        let folders = versions.filter_map(|version| version.strip_prefix("file:").or(version.strip_prefix("link:")));
        for folder in folders {
            let archive = [".tgz", ".tar.gz"].iter().any(|end| folder.ends_with(end));
            all.push(if archive { folder.to_owned() } else { format!("{folder}/package.json") });
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
    // Tables anywhere that name a `path`: uv's sources, poetry's dependencies.
    let mut pending: Vec<&toml::Value> = tool.into_iter().collect();
    while let Some(value) = pending.pop() {
        match value {
            toml::Value::Table(table) => {
                if let Some(path) = table.get("path").and_then(|path| path.as_str()) {
                    python_project(path, all);
                }
                pending.extend(table.values());
            }
            toml::Value::Array(values) => pending.extend(values),
            // `pkg @ file:///${PROJECT_ROOT}/lib`, as pdm writes it.
            toml::Value::String(text) => {
                if let Some((_, path)) = text.split_once("file:///${PROJECT_ROOT}/") {
                    python_project(path, all);
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
        let found = implied(path, text.as_bytes());
        for one in wanted {
            assert!(found.iter().any(|found| found == one), "{one} of {path}: {found:?}");
        }
    }

    #[test]
    fn requirements_name_others() {
        let text = "-r base.txt\n--requirement=more.txt # why\n-c ../limits.txt\n-e .\n-e ./lib[dev]\nrequests==2\n\
                    --requirements no.txt\n-rclose.txt\n--index-url https://x/y\n./local\n-r https://x/z.txt\n-r /etc/passwd\n\
                    -r ../../out.txt\n";
        let found = implied("requirements/dev.txt", text.as_bytes());
        let mut wanted = vec!["requirements/base.txt", "requirements/more.txt", "limits.txt", "requirements/close.txt"];
        for folder in ["requirements", "requirements/lib", "requirements/local"] {
            wanted.extend(["pyproject.toml", "setup.cfg", "setup.py"].iter().map(|file| {
                let path: &str = Box::leak(format!("{folder}/{file}").into_boxed_str());
                path
            }));
        }
        wanted.sort_unstable();
        assert_eq!(found, wanted);
        assert!(implied("notes.txt", b"-r base.txt").is_empty());
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
        assert!(!implied("pnpm-workspace.yaml", b"other:\n  - no\n").iter().any(|one| one.contains("no")));
        implies(
            "pyproject.toml",
            "[project]\ndependencies = []\n[tool.uv.workspace]\nmembers = [\"libs/*\"]\n[tool.uv.sources]\na = { path = \"../a\" }\n\
             [tool.poetry.group.dev.dependencies]\nb = { path = \"b\", develop = true }\n",
            &["libs/*/pyproject.toml", "b/pyproject.toml", ".python-version"],
        );
        implies(
            "x/pyproject.toml",
            "[tool.uv.sources]\na = { path = \"../a\" }\n",
            &["a/pyproject.toml", "a/setup.py"],
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
            implied(broken, b"\xff{[");
        }
    }
}
