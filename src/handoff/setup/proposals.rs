//! Which caches the files of a checkout suggest, in its root and below: what was
//! found, what was taken of two that want one place, and what nothing is known for.

use std::collections::VecDeque;
use std::path::Path;

use crate::config::{PRESETS, Preset, Spot};
use crate::disk::beneath::Beneath;
use crate::git::IgnoreLists;
use crate::snapshot;

/// Folders that are looked into, and how deep they lie at most.
const MOST: usize = 5000;
const DEEPEST: usize = 5;

/// Folders in which packages of others lie, or what was built.
const SKIPPED: [&str; 8] = ["node_modules", "vendor", "target", "dist", "build", "third_party", "venv", "testdata"];

/// Bytes of a file that is looked into.
const MAX_READ: u64 = 1 << 20;

/// Files that say how something is built, and what to do where no cache follows
/// from them.
const OPEN: [(&str, &[&str], &str); 7] = [
    (
        "package.json",
        &["npm", "pnpm", "yarn", "yarn-pnp", "bun"],
        "it has no lockfile: npm install --package-lock-only makes one",
    ),
    ("pyproject.toml", &["uv", "poetry", "pdm", "pip", "pipenv"], "it has no lockfile: uv lock makes one"),
    ("Cargo.toml", &["cargo"], "it has no lockfile: cargo generate-lockfile makes one"),
    ("CMakeLists.txt", &[], "preset = \"cmake\" keeps its build folder, preset = \"ccache\" what was compiled"),
    ("go.mod", &["go"], "it has no go.sum; preset = \"go-build\" keeps what was compiled"),
    ("Makefile", &[], "if it runs a C or C++ compiler, preset = \"ccache\" keeps what was compiled"),
    ("requirements-dev.txt", &["pip"], "a cache with preset = \"pip\" takes it as its inputs and in its setup"),
];

/// Where projects of pip list what their tests need, beside `requirements.txt`.
const FOR_DEVELOPMENT: [&str; 5] = [
    "requirements-dev.txt",
    "requirements_dev.txt",
    "dev-requirements.txt",
    "requirements-test.txt",
    "test-requirements.txt",
];

/// A cache that is proposed.
#[derive(Clone, Debug)]
pub(super) struct Proposal {
    pub(super) preset: &'static Preset,
    /// Empty for the root.
    pub(super) dir: String,
    /// What suggests it.
    pub(super) file: String,
    /// Names of files beside it that list more of the same.
    with: Vec<&'static str>,
    spot: String,
}

impl Proposal {
    /// What suggests it, and what is taken along.
    pub(super) fn files(&self) -> Vec<String> {
        let with = self.with.iter().map(|file| below(&self.dir, file));
        std::iter::once(self.file.clone()).chain(with).collect()
    }

    /// What a project file says beside the preset, so that all of its files count.
    pub(super) fn besides(&self) -> String {
        let Some(first) = self.preset.files.first().filter(|_| !self.with.is_empty()) else { return String::new() };
        let files = || std::iter::once(first).chain(&self.with);
        let inputs = files().map(|file| format!("{:?}", below(&self.dir, file))).collect::<Vec<_>>().join(", ");
        let more: String = self.with.iter().map(|file| format!(" --requirement {file}")).collect();
        let inside = if self.dir.is_empty() { String::new() } else { format!("cd '{}' && ", self.dir) };
        format!("inputs = [{inputs}]\nsetup  = \"{inside}{}{more}\"\n", self.preset.setup)
    }
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub(super) struct Proposals {
    pub(super) all: Vec<Proposal>,
    /// What suggests nothing, and why.
    pub(super) left: Vec<(String, String)>,
}

/// Looks through a checkout.
pub(super) fn proposals(root: &Path) -> Proposals {
    let mut found = Proposals::default();
    let Ok(beneath) = Beneath::open(root) else { return found };
    let repo = snapshot::library(root).ok();
    let rules = IgnoreLists::default();
    let mut pending = VecDeque::from([String::new()]);
    for _ in 0..MOST {
        let Some(dir) = pending.pop_front() else { break };
        let mut names = names(&beneath, &dir);
        names.sort();
        found.look(&beneath, &dir, &names);
        if dir.split('/').count() >= DEEPEST {
            continue;
        }
        for (name, folder) in names {
            let path = below(&dir, &name);
            let skipped = name.starts_with('.') || SKIPPED.contains(&&*name);
            let ignored =
                || repo.as_ref().is_some_and(|repo| rules.contains(repo, &beneath, Path::new(&format!("{path}/"))));
            if folder && !skipped && !ignored() {
                pending.push_back(path);
            }
        }
    }
    found
}

/// The names in a folder, and whether each is one itself.
fn names(beneath: &Beneath, dir: &str) -> Vec<(String, bool)> {
    let Ok(open) = beneath.list(Path::new(dir)) else { return Vec::new() };
    let entries = rustix::fs::Dir::read_from(open).into_iter().flatten().flatten();
    let named = entries.filter_map(|entry| {
        let name = entry.file_name().to_str().ok()?.to_owned();
        let folder = entry.file_type() == rustix::fs::FileType::Directory;
        (!matches!(&*name, "." | "..")).then_some((name, folder))
    });
    named.collect()
}

impl Proposals {
    fn look(&mut self, beneath: &Beneath, dir: &str, names: &[(String, bool)]) {
        let has = |file: &str| names.iter().any(|(name, folder)| name == file && !folder);
        for known in PRESETS.iter().filter(|preset| preset.proposed) {
            let Some(file) = known.files.iter().find(|file| has(file)) else { continue };
            let preset = as_it_is(known, beneath, dir);
            let spot = if preset.path.starts_with("~/") { preset.path.to_owned() } else { below(dir, preset.path) };
            let file = below(dir, file);
            // What a project file takes as a folder.
            if !dir.is_empty() && (dir.contains(['\'', '\\', '*', '?', '[', '{', '$']) || dir.parse::<Spot>().is_err())
            {
                self.left.push((file, "its folder has a name that no preset takes".to_owned()));
                continue;
            }
            let in_the_way = |other: &&Proposal| {
                let within = |a: &str, b: &str| b == a || b.strip_prefix(a).is_some_and(|rest| rest.starts_with('/'));
                within(&other.spot, &spot) || within(&spot, &other.spot)
            };
            match self.all.iter().find(in_the_way) {
                Some(other) => {
                    let why = format!("{} is taken, which has the same place, {}", other.file, other.spot);
                    self.left.push((file, why));
                }
                None => {
                    let more = FOR_DEVELOPMENT.into_iter().filter(|file| preset.name == "pip" && has(file));
                    self.all.push(Proposal { preset, dir: dir.to_owned(), file, with: more.collect(), spot });
                }
            }
        }
        for (file, presets, why) in OPEN.iter().filter(|(file, ..)| has(file)) {
            let covers = |proposal: &Proposal| {
                let above =
                    proposal.dir.is_empty() || dir == proposal.dir || dir.starts_with(&format!("{}/", proposal.dir));
                above && presets.contains(&proposal.preset.name)
            };
            // A member of a workspace has the lockfile of its root.
            if !self.all.iter().any(covers) && (dir.is_empty() || *file != "Makefile") {
                self.left.push((below(dir, file), (*why).to_owned()));
            }
        }
    }
}

fn below(dir: &str, path: &str) -> String {
    if dir.is_empty() { path.to_owned() } else { format!("{dir}/{path}") }
}

/// Yarn from its second version on has no `node_modules`, unless it is told to.
fn as_it_is(preset: &'static Preset, beneath: &Beneath, dir: &str) -> &'static Preset {
    let text = |file: &str| {
        let read = beneath.read(Path::new(&below(dir, file)), MAX_READ).ok().flatten();
        String::from_utf8_lossy(&read.unwrap_or_default()).into_owned()
    };
    let by_name = |name: &str| PRESETS.iter().find(|known| known.name == name);
    match preset.name {
        "yarn" if text("yarn.lock").contains("\n__metadata:") && !text(".yarnrc.yml").contains("node-modules") => {
            by_name("yarn-pnp").unwrap_or(preset)
        }
        _ => preset,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[(&str, &str)]) -> (Vec<String>, Vec<String>) {
        let dir = tempfile::tempdir().unwrap();
        git2::Repository::init(dir.path()).unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let found = proposals(dir.path());
        let taken = found.all.iter().map(|one| format!("{} {}", one.preset.name, one.file));
        (taken.collect(), found.left.into_iter().map(|(file, _)| file).collect())
    }

    #[test]
    fn every_folder_is_looked_into_and_one_of_two_is_taken() {
        let (taken, left) = found(&[
            ("pnpm-lock.yaml", ""),
            ("package-lock.json", ""),
            ("package.json", ""),
            ("packages/a/package.json", ""),
            ("api/requirements.txt", ""),
            ("api/tool/Cargo.lock", ""),
            ("Cargo.lock", ""),
            ("Gemfile.lock", ""),
            ("composer.lock", ""),
            ("node_modules/x/package-lock.json", ""),
            ("made/package-lock.json", ""),
            (".gitignore", "made\n"),
            ("native/CMakeLists.txt", ""),
            ("Makefile", ""),
            ("odd'name/uv.lock", ""),
        ]);
        assert_eq!(
            taken,
            [
                "pnpm pnpm-lock.yaml",
                "cargo Cargo.lock",
                "bundler Gemfile.lock",
                "composer composer.lock",
                "pip api/requirements.txt"
            ]
        );
        assert_eq!(
            left,
            ["package-lock.json", "Makefile", "native/CMakeLists.txt", "odd'name/uv.lock", "api/tool/Cargo.lock"]
        );
    }

    #[test]
    fn what_tests_need_is_taken_along() {
        let dir = tempfile::tempdir().unwrap();
        git2::Repository::init(dir.path()).unwrap();
        std::fs::create_dir(dir.path().join("api")).unwrap();
        for file in ["requirements.txt", "requirements-dev.txt", "api/requirements.txt", "api/dev-requirements.txt"] {
            std::fs::write(dir.path().join(file), "").unwrap();
        }
        let found = proposals(dir.path());
        assert_eq!(found.left, []);
        let [root, api] = &found.all[..] else { panic!("{:?}", found.all) };
        assert!(root.besides().starts_with("inputs = [\"requirements.txt\", \"requirements-dev.txt\"]\nsetup  = \"py"));
        assert!(root.besides().ends_with(" --requirement requirements.txt --requirement requirements-dev.txt\"\n"));
        assert!(api.besides().starts_with("inputs = [\"api/requirements.txt\", \"api/dev-requirements.txt\"]\n"));
        assert!(api.besides().contains("setup  = \"cd 'api' && python3 -m venv"));
    }

    #[test]
    fn what_has_no_lockfile_and_yarn_without_modules_are_told_apart() {
        assert_eq!(found(&[("go.mod", "module x\n")]).1, ["go.mod"]);
        assert_eq!(found(&[("package.json", ""), ("x/pyproject.toml", "")]).1, ["package.json", "x/pyproject.toml"]);
        let berry = "# x\n\n__metadata:\n  version: 8\n";
        let (taken, left) = found(&[("yarn.lock", berry), ("package.json", "")]);
        assert_eq!((taken, left), (vec!["yarn-pnp yarn.lock".to_owned()], Vec::new()));
        assert_eq!(found(&[("yarn.lock", berry), (".yarnrc.yml", "nodeLinker: node-modules\n")]).0, ["yarn yarn.lock"]);
        assert_eq!(found(&[("yarn.lock", "# yarn lockfile v1\n")]).0, ["yarn yarn.lock"]);
    }
}
