//! Caches that are known by name: one table of what is made for which tool. A
//! project says `preset = "npm"`, and may say anything else differently.

use serde::Deserialize;

/// What a setup command can reach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SetupNetwork {
    /// A loopback of its own.
    #[default]
    #[serde(alias = "isolated")]
    None,
    /// An outside, but not the host's own services.
    Private,
    /// The host's network.
    Host,
}

/// What is usually cached for a tool.
#[derive(Clone, Copy, Debug)]
pub struct Preset {
    /// Its name.
    pub name: &'static str,
    /// It is for a folder that holds one of these.
    pub files: &'static [&'static str],
    /// More files and patterns that decide, where they are there.
    pub also: &'static [&'static str],
    /// Where the content belongs, from that folder or below the home folder.
    pub path: &'static str,
    /// How it is filled, in that folder; empty where only the project knows.
    pub setup: &'static str,
    /// What the setup can reach.
    pub network: SetupNetwork,
    /// Each member of a workspace of packages has a folder of this name as well.
    pub members: bool,
    /// Its setup reads manifests of this name to install what they name: the other
    /// parts of them do not count. Empty where all of them counts.
    pub manifest: &'static str,
    /// Where the tool keeps what it downloads, below the home folder: kept with the
    /// content, so that it can be made again without a network.
    pub store: &'static [&'static str],
    /// The tool makes of an older content what it makes from nothing, so a setup may
    /// start from one.
    pub seed: bool,
    /// How it is filled then, where that is another command.
    pub again: &'static str,
    /// It is built from the files of the project.
    pub build: bool,
    /// Variables of the setup and of every run. `{dir}` is that folder, from the
    /// root of the workspace and with a slash before it.
    pub env: &'static [(&'static str, &'static str)],
    /// Whether `init` proposes it; of several with one `path` the first.
    pub proposed: bool,
}

/// What most of them have.
const PLAIN: Preset = Preset {
    name: "",
    files: &[],
    also: &[],
    path: "",
    setup: "",
    network: SetupNetwork::Private,
    members: false,
    manifest: "",
    store: &[],
    seed: false,
    again: "",
    build: false,
    env: &[],
    proposed: true,
};

/// Programs of packages come after those of the image: the image's own are
/// meant where both have one.
const NODE: &[(&str, &str)] = &[("PATH", "${PATH}:${WORKDIR}{dir}/node_modules/.bin")];

/// Programs of an environment come first: its Python is meant.
const VENV: &[(&str, &str)] =
    &[("PATH", "${WORKDIR}{dir}/.venv/bin:${PATH}"), ("VIRTUAL_ENV", "${WORKDIR}{dir}/.venv")];

/// Beside its own files what packages of Go compile or link with cgo: go does not look at
/// it before it takes what it compiled of another folder's.
const OF_GO: &[&str] = &[
    "go.mod", "go.sum", "**/*.h", "**/*.hh", "**/*.hpp", "**/*.hxx", "**/*.inc", "**/*.c", "**/*.cc", "**/*.cpp",
    "**/*.cxx", "**/*.a",
];

/// All of them.
pub const PRESETS: &[Preset] = &[
    Preset {
        name: "pnpm",
        files: &["pnpm-lock.yaml"],
        also: &["package.json"],
        path: "node_modules",
        setup: "pnpm install --frozen-lockfile",
        manifest: "package.json",
        members: true,
        // Else it makes a store in the workspace, since packages are another mount.
        env: &[NODE[0], ("npm_config_store_dir", "${HOME}/.pnpm-store")],
        store: &["~/.pnpm-store"],
        seed: true,
        // Without packages that nobody names any more, which it would keep for a week.
        again: "pnpm install --frozen-lockfile --config.modules-cache-max-age=0",
        ..PLAIN
    },
    Preset {
        name: "yarn-pnp",
        files: &["yarn.lock"],
        also: &["package.json"],
        path: "~/.yarn/berry/cache",
        setup: "yarn install --immutable",
        manifest: "package.json",
        proposed: false,
        seed: true,
        ..PLAIN
    },
    Preset {
        name: "yarn",
        files: &["yarn.lock"],
        also: &["package.json"],
        path: "node_modules",
        setup: "yarn install --frozen-lockfile",
        manifest: "package.json",
        members: true,
        env: NODE,
        store: &["~/.cache/yarn/v6", "~/.yarn/berry/cache"],
        seed: true,
        ..PLAIN
    },
    Preset {
        name: "bun",
        files: &["bun.lock", "bun.lockb"],
        also: &["package.json"],
        path: "node_modules",
        setup: "bun install --frozen-lockfile",
        manifest: "package.json",
        members: true,
        env: NODE,
        ..PLAIN
    },
    Preset {
        name: "npm",
        files: &["package-lock.json", "npm-shrinkwrap.json"],
        also: &["package.json"],
        path: "node_modules",
        setup: "npm ci && rm -rf ~/.npm/_cacache/tmp ~/.npm/_cacache/index-v5",
        manifest: "package.json",
        members: true,
        env: NODE,
        // Contents by their digests. They are linked there from a folder beside them, so both
        // are on one mount; the index has times in it.
        store: &["~/.npm/_cacache"],
        seed: true,
        // What it installs is what the lockfile says, unless that does not fit.
        again: "{ cp package-lock.json ~/locked && npm install && cmp -s package-lock.json ~/locked || { cp ~/locked package-lock.json && npm ci; }; } && rm -rf ~/.npm/_cacache/tmp ~/.npm/_cacache/index-v5",
        ..PLAIN
    },
    Preset {
        name: "uv",
        files: &["uv.lock"],
        also: &["pyproject.toml"],
        path: ".venv",
        setup: "uv sync --frozen --compile-bytecode",
        manifest: "pyproject.toml",
        // What it downloads is another mount, to which there are no links.
        env: &[VENV[0], VENV[1], ("UV_LINK_MODE", "copy")],
        store: &["~/.cache/uv"],
        seed: true,
        ..PLAIN
    },
    Preset {
        name: "poetry",
        files: &["poetry.lock"],
        also: &["pyproject.toml"],
        path: ".venv",
        // By all processors where everything is new; starting them costs more than a few
        // packages do.
        setup: "poetry install --no-interaction && { .venv/bin/python -m compileall -qq -j 0 .venv/lib || true; }",
        manifest: "pyproject.toml",
        env: &[("PATH", "${WORKDIR}{dir}/.venv/bin:${PATH}"), ("POETRY_VIRTUALENVS_IN_PROJECT", "true")],
        seed: true,
        again: "poetry install --sync --no-interaction && { .venv/bin/python -m compileall -qq .venv/lib || true; }",
        ..PLAIN
    },
    Preset {
        name: "pdm",
        files: &["pdm.lock"],
        also: &["pyproject.toml"],
        path: ".venv",
        setup: "pdm install --frozen-lockfile && { .venv/bin/python -m compileall -qq -j 0 .venv/lib || true; }",
        manifest: "pyproject.toml",
        seed: true,
        again: "pdm sync --clean && { .venv/bin/python -m compileall -qq .venv/lib || true; }",
        env: &[("PATH", "${WORKDIR}{dir}/.venv/bin:${PATH}"), ("PDM_IGNORE_SAVED_PYTHON", "1")],
        ..PLAIN
    },
    Preset {
        name: "pipenv",
        files: &["Pipfile.lock"],
        also: &["Pipfile"],
        path: ".venv",
        setup: "pipenv sync --dev",
        seed: true,
        again: "pipenv sync --dev && pipenv clean",
        env: &[("PATH", "${WORKDIR}{dir}/.venv/bin:${PATH}"), ("PIPENV_VENV_IN_PROJECT", "1")],
        ..PLAIN
    },
    Preset {
        name: "pip",
        files: &["requirements.txt"],
        path: ".venv",
        setup: "python3 -m venv .venv && .venv/bin/pip install --requirement requirements.txt",
        env: VENV,
        seed: true,
        again: include_str!("pip-again.sh"),
        ..PLAIN
    },
    Preset {
        name: "cargo",
        files: &["Cargo.lock"],
        also: &["Cargo.toml"],
        path: "~/.cargo/registry",
        setup: "cargo fetch --locked",
        manifest: "Cargo.toml",
        env: &[("CARGO_HOME", "${HOME}/.cargo")],
        seed: true,
        ..PLAIN
    },
    Preset {
        name: "cargo-target",
        files: &["Cargo.lock"],
        also: &["Cargo.toml"],
        path: "target",
        setup: "cargo test --locked --no-run",
        build: true,
        env: &[("CARGO_HOME", "${HOME}/.cargo")],
        store: &["~/.cargo/registry"],
        proposed: false,
        ..PLAIN
    },
    Preset {
        name: "go",
        files: &["go.sum"],
        also: OF_GO,
        path: "~/go/pkg/mod",
        // What is compiled is kept by its content. No test is run, and one that does not
        // compile is the run's affair.
        setup: "go mod download && { go test -exec true ./... || true; }",
        store: &["~/.cache/go-build"],
        env: &[("GOMODCACHE", "${HOME}/go/pkg/mod"), ("GOCACHE", "${HOME}/.cache/go-build")],
        seed: true,
        ..PLAIN
    },
    Preset {
        name: "go-build",
        files: &["go.mod"],
        also: OF_GO,
        path: "~/.cache/go-build",
        setup: "go test -run '^$' ./...",
        env: &[("GOCACHE", "${HOME}/.cache/go-build")],
        proposed: false,
        seed: true,
        ..PLAIN
    },
    Preset {
        name: "maven",
        files: &["pom.xml"],
        also: &["**/pom.xml", ".mvn/**"],
        path: "~/.m2/repository",
        // What runs tests is only downloaded when they are run: by a Java that does nothing.
        // That they do not compile is the run's affair.
        setup: "mkdir -p /tmp/no/bin && ln -sf /bin/true /tmp/no/bin/java && mvn --batch-mode dependency:go-offline test -Djvm=/tmp/no/bin/java -Dmaven.test.failure.ignore || mvn --batch-mode dependency:go-offline",
        seed: true,
        ..PLAIN
    },
    Preset {
        name: "gradle",
        files: &["gradle.lockfile", "gradle/verification-metadata.xml", "gradle/libs.versions.toml"],
        also: &[
            "**/build.gradle",
            "**/build.gradle.kts",
            "settings.gradle",
            "settings.gradle.kts",
            "gradle.properties",
        ],
        path: "~/.gradle",
        setup: "gradle --no-daemon dependencies",
        ..PLAIN
    },
    Preset {
        name: "bundler",
        files: &["Gemfile.lock"],
        also: &["Gemfile"],
        path: ".bundle/vendor",
        setup: "bundle install",
        env: &[("BUNDLE_PATH", "${WORKDIR}{dir}/.bundle/vendor"), ("BUNDLE_FROZEN", "true")],
        ..PLAIN
    },
    Preset {
        name: "composer",
        files: &["composer.lock"],
        also: &["composer.json"],
        path: "vendor",
        setup: "composer install --no-interaction",
        env: &[("PATH", "${PATH}:${WORKDIR}{dir}/vendor/bin")],
        ..PLAIN
    },
    Preset {
        name: "nix",
        files: &["flake.lock"],
        also: &["flake.nix"],
        path: "~/.cache/nix",
        setup: "nix develop --command true",
        ..PLAIN
    },
    Preset {
        name: "cmake",
        files: &["CMakeLists.txt"],
        also: &["**/CMakeLists.txt", "CMakePresets.json", "cmake/**"],
        path: "build",
        setup: "cmake -S . -B build && cmake --build build",
        network: SetupNetwork::None,
        build: true,
        proposed: false,
        ..PLAIN
    },
    Preset {
        name: "ccache",
        path: "~/.cache/ccache",
        network: SetupNetwork::None,
        env: &[("CCACHE_DIR", "${HOME}/.cache/ccache")],
        proposed: false,
        seed: true,
        ..PLAIN
    },
    Preset {
        name: "sccache",
        path: "~/.cache/sccache",
        network: SetupNetwork::None,
        env: &[("SCCACHE_DIR", "${HOME}/.cache/sccache")],
        proposed: false,
        seed: true,
        ..PLAIN
    },
];

/// The one of this name.
pub(super) fn named(name: &str) -> Option<&'static Preset> {
    PRESETS.iter().find(|preset| preset.name == name)
}

/// The one whose name is nearest to this.
pub(super) fn alike(name: &str) -> Option<&'static str> {
    let far = |preset: &&Preset| strsim::damerau_levenshtein(preset.name, name);
    PRESETS.iter().min_by_key(far).filter(|preset| far(preset) <= 2).map(|preset| preset.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tool_of_the_list_is_there_once_and_whole() {
        let names: Vec<&str> = PRESETS.iter().map(|preset| preset.name).collect();
        for name in [
            "npm",
            "pnpm",
            "yarn",
            "pip",
            "uv",
            "poetry",
            "pdm",
            "cargo",
            "cargo-target",
            "go",
            "maven",
            "gradle",
            "ccache",
            "sccache",
            "cmake",
            "bundler",
            "composer",
        ] {
            assert_eq!(names.iter().filter(|known| **known == name).count(), 1, "{name}");
        }
        for preset in PRESETS {
            assert!(!preset.path.is_empty() && !preset.path.starts_with('/'), "{preset:?}");
            assert!(!preset.proposed || !(preset.setup.is_empty() || preset.files.is_empty()), "{preset:?}");
        }
        assert_eq!((alike("nmp"), alike("nothing")), (Some("npm"), None));
    }
}
