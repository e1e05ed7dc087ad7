//! What a project asks of the host, in full: all that takes effect, one thing a
//! line, and one digest for all of it.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::config::{Build, CacheEntry, NetworkName, Project, SecretEntry, SetupNetwork};
use crate::digest::Digest;
use crate::identity::StoreRef;

/// Who chooses what a project holds, and so what an approval is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Whoever writes to a store.
    Store(String),
    /// Whoever writes to a folder of this machine, by its real path.
    Folder(String),
}

impl Origin {
    /// Those who write to this store.
    pub(crate) fn store(store: &StoreRef) -> Self {
        Origin::Store(store.to_string())
    }

    /// Those who write to this folder.
    ///
    /// # Errors
    /// When its real path cannot be found.
    pub(crate) fn folder(folder: &Path) -> std::io::Result<Self> {
        real_path(folder).map(Origin::Folder)
    }
}

/// A checkout of this machine that is run as a task.
#[derive(Clone, Debug)]
pub(crate) struct Checkout {
    /// Who writes to it.
    pub(crate) origin: Origin,
    /// Its real path.
    pub(crate) folder: String,
    /// It lies in a workspace, or in what is kept of one: somebody inside may have
    /// made it, with all that it says of its remote.
    pub(crate) planted: bool,
}

impl Checkout {
    /// Whether the developer says what its remote is.
    pub(crate) fn is_own(&self) -> bool {
        !self.planted && matches!(self.origin, Origin::Folder(_))
    }
}

/// The real path of a folder, as a text of which no two are the same.
///
/// # Errors
/// When it cannot be found.
pub(crate) fn real_path(folder: &Path) -> std::io::Result<String> {
    let real = std::fs::canonicalize(folder)?;
    Ok(match real.to_str() {
        Some(text) => text.to_owned(),
        // Two such paths may be written alike.
        None => format!("{} ({})", real.display(), Digest::of(real.as_os_str().as_encoded_bytes())),
    })
}

/// What a project wants from the host beyond a sandbox.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asks {
    /// The repository, as the task names it.
    pub repo: String,
    /// The store that the task comes from: whoever writes to it chooses image
    /// and code. None for a checkout of this machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<String>,
    /// The folder of a checkout of this machine: any other may say that it has
    /// the same remote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
    /// `private` or `host`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// Secrets, by name and form.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<String>,
    /// Places of git servers for which git inside gets credentials.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub git_credentials: Vec<String>,
    /// Fixed ports of the host, as `inside=host`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<String>,
    /// Stores besides the task's own from which fixtures come.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stores: Vec<String>,
    /// Secrets that the build of the image may use.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub builds: Vec<String>,
    /// Setups of caches that want a network. Earlier versions noted them under
    /// another name, without their variables: those count no more.
    #[serde(default, rename = "setup", skip_serializing_if = "Vec::is_empty")]
    pub setups: Vec<Setup>,
}

/// A setup that wants a network, with all that decides what it does.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Setup {
    /// Of the cache.
    pub name: String,
    /// `private` or `host`.
    pub network: String,
    /// Where it writes.
    pub path: String,
    /// What runs.
    pub command: String,
    /// What runs instead where it starts from an older content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub again: Option<String>,
    /// Its variables that the project sets, as `NAME=value`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
}

impl Setup {
    /// `None` for one that runs without a network.
    fn of(cache: &CacheEntry, project: &Project) -> Option<Self> {
        let network = match cache.network {
            SetupNetwork::None => return None,
            SetupNetwork::Private => "private",
            SetupNetwork::Host => "host",
        };
        // As the runtime puts them together: the cache's own come last.
        let mut env = project.runtime.env.clone();
        env.extend(cache.everywhere.clone());
        env.extend(cache.env.clone());
        Some(Setup {
            name: cache.name.clone(),
            network: network.to_owned(),
            path: cache.shown_places(),
            command: cache.setup.clone(),
            again: cache.again.clone(),
            env: env.into_iter().map(|(name, value)| format!("{name}={value}")).collect(),
        })
    }

    fn lines(&self) -> impl Iterator<Item = String> {
        let Setup { name, network, path, command, again, env } = self;
        let what = format!("a {network} network for the setup of the cache {name}");
        let first = format!("{what}, which fills {path}: {}", command.trim());
        let from = again.as_ref().map(|again| format!("{what}, when it starts from an older entry: {}", again.trim()));
        let variables =
            env.iter().map(move |variable| format!("in the setup of the cache {name}, the variable {variable}"));
        std::iter::once(first).chain(from).chain(variables)
    }
}

/// What of a project's wishes the command line has settled already.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Settled {
    pub(crate) network: bool,
    pub(crate) secrets: bool,
    pub(crate) ports: bool,
}

impl Asks {
    /// What is left to ask for.
    pub(crate) fn of(repo: &str, origin: &Origin, project: &Project, settled: Settled) -> Self {
        let runtime = &project.runtime;
        let network = match runtime.network {
            Some(NetworkName::Private) => Some("private"),
            Some(NetworkName::Host) => Some("host"),
            Some(NetworkName::Isolated) | None => None,
        };
        let form = |secret: &SecretEntry| match (secret.variable, secret.file) {
            (true, true) => secret.name.clone(),
            (true, false) => format!("{}:env", secret.name),
            _ => format!("{}:file", secret.name),
        };
        let mut asks = Asks { repo: repo.to_owned(), ..Asks::default() };
        match origin.clone() {
            Origin::Store(store) => asks.store = Some(store),
            Origin::Folder(folder) => asks.folder = Some(folder),
        }
        if !settled.network {
            asks.network = network.map(str::to_owned);
        }
        if !settled.secrets {
            asks.secrets = sorted(runtime.secrets.iter().map(form));
            asks.git_credentials = sorted(runtime.git_credentials.iter().map(ToString::to_string));
        }
        if !settled.ports {
            let fixed = runtime.ports.iter().filter_map(|port| Some(format!("{}={}", port.inside, port.host?)));
            asks.ports = sorted(fixed);
        }
        asks.setups = sorted(project.cache.iter().filter_map(|cache| Setup::of(cache, project)));
        let stores = project.fixture.iter().filter_map(|fixture| fixture.source.store.as_ref());
        asks.stores = sorted(stores.map(ToString::to_string));
        asks
    }

    /// What a build of the image needs: a word for what it runs, and for the folders
    /// that it is given, unless that was `said`, and its secrets. Each line names all that decides what becomes of them.
    ///
    /// # Errors
    /// Never: arguments are text.
    pub(crate) fn of_build(
        repo: &str,
        origin: &Origin,
        (build, (words, folders), said): (&Build, (Digest, Vec<String>), bool),
    ) -> anyhow::Result<Self> {
        let empty = Project::default();
        let place = build.shown();
        let what = (words.to_string(), &build.args, &build.target, &folders);
        let what = &Digest::of(&serde_json::to_vec(&what)?).hex()[..24];
        let given = match folders.iter().any(String::is_empty) {
            true => "every file of the project".to_owned(),
            false if folders.is_empty() => "no file of the project".to_owned(),
            false => format!("every file in {}", folders.join(", ")),
        };
        let run = format!(
            "the build of {place}, which runs with a network, your logins and {given}, git-ignored ones too ({what})"
        );
        let secrets =
            build.secrets.iter().map(|secret| format!("the secret {} for the build of {place} ({what})", secret.name));
        let builds = sorted(Some(run).filter(|_| !said).into_iter().chain(secrets));
        Ok(Asks { builds, ..Asks::of(repo, origin, &empty, Settled::default()) })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.network.is_none()
            && self.builds.is_empty()
            && self.secrets.is_empty()
            && self.git_credentials.is_empty()
            && self.ports.is_empty()
            && self.setups.is_empty()
            && self.stores.is_empty()
    }

    /// Whether whoever agreed to this has agreed to `less`.
    pub(crate) fn covers(&self, less: &Asks) -> bool {
        fn all<T: PartialEq>(more: &[T], less: &[T]) -> bool {
            less.iter().all(|one| more.contains(one))
        }
        self.is_for_the_same(less)
            && (less.network.is_none() || less.network == self.network)
            && all(&self.secrets, &less.secrets)
            && all(&self.git_credentials, &less.git_credentials)
            && all(&self.ports, &less.ports)
            && all(&self.builds, &less.builds)
            && all(&self.setups, &less.setups)
            && all(&self.stores, &less.stores)
    }

    /// Whether both are asked by the same.
    pub(crate) fn is_for_the_same(&self, other: &Asks) -> bool {
        (&self.repo, &self.store, &self.folder) == (&other.repo, &other.store, &other.folder)
    }

    /// Names exactly this.
    pub fn digest(&self) -> Digest {
        // Serialising plain texts cannot fail.
        Digest::of(&serde_json::to_vec(&("envctl approval 1", self)).unwrap_or_default())
    }

    /// Who asks: the repository, and the store whose tasks may, or the folder.
    pub fn who(&self) -> String {
        match (&self.store, &self.folder) {
            (Some(store), _) => format!("{} (tasks of {store})", self.repo),
            (None, Some(folder)) => format!("{} (the checkout {folder})", self.repo),
            (None, None) => self.repo.clone(),
        }
    }

    /// Each thing on a line of its own, as it came: who shows a line escapes it.
    pub fn lines(&self) -> Vec<String> {
        let network = self.network.iter().map(|network| match network.as_str() {
            "host" => "the host's network, with everything that listens on this machine".to_owned(),
            _ => "a network with an outside".to_owned(),
        });
        let secrets = self.secrets.iter().map(|secret| format!("the secret {secret}"));
        let git = self.git_credentials.iter().map(|place| lent(place));
        let ports = self.ports.iter().map(|port| format!("the fixed port {port}"));
        let setups = self.setups.iter().flat_map(Setup::lines);
        let stores = self.stores.iter().map(|store| format!("fixtures from {store}, with your credentials for it"));
        let builds = self.builds.iter().cloned();
        network.chain(secrets).chain(git).chain(builds).chain(ports).chain(setups).chain(stores).collect()
    }
}

/// What of the developer's is lent for a place of a git server. The account stands apart
/// from the host, which it could look like.
fn lent(place: &str) -> String {
    let (scheme, rest) = place.split_once("://").unwrap_or(("", place));
    match (scheme, rest.rsplit_once('@')) {
        ("ssh", Some((account, host))) => {
            format!("logins as {account} with your ssh agent at ssh://{host}, for every program inside")
        }
        ("ssh", None) => format!("logins with your ssh agent at {place}, for every program inside"),
        (_, Some((account, host))) => {
            format!("your git password of the account {account} for {scheme}://{host}, for every program inside")
        }
        (_, None) => format!("your git password for {place}, for every program inside"),
    }
}

/// A project without what it would have to ask for.
pub(crate) fn without_asks(mut project: Project) -> Project {
    let runtime = &mut project.runtime;
    runtime.network = None;
    runtime.secrets.clear();
    runtime.git_credentials.clear();
    runtime.ports.iter_mut().for_each(|port| port.host = None);
    project.cache.retain(|cache| cache.network == SetupNetwork::None);
    project.fixture.retain(|fixture| fixture.source.store.is_none());
    project
}

fn sorted<T: Ord>(all: impl Iterator<Item = T>) -> Vec<T> {
    let mut all: Vec<T> = all.collect();
    all.sort();
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project(text: &str) -> Project {
        Project::parse(text, "envctl.toml").unwrap()
    }

    fn here() -> Origin {
        Origin::Folder("/home/dev/shop".into())
    }

    fn asks(text: &str) -> Asks {
        Asks::of("https://a/b", &here(), &project(text), Settled::default())
    }

    #[test]
    fn what_is_asked_for_has_one_name_and_every_change_another() {
        let base = asks("[runtime]\nnetwork = \"host\"\nsecrets = [\"A\", \"B\"]\nports = [\"1=\"]");
        assert_eq!(
            base.digest(),
            asks("[runtime]\nports = [\"1=1\", 2]\nsecrets = [\"B\", \"A\"]\nnetwork = \"host\"").digest()
        );
        for other in [
            "[runtime]\nnetwork = \"private\"\nsecrets = [\"A\", \"B\"]\nports = [\"1=\"]",
            "[runtime]\nnetwork = \"host\"\nsecrets = [\"A\"]\nports = [\"1=\"]",
            "[runtime]\nnetwork = \"host\"\nsecrets = [\"A:file\", \"B\"]\nports = [\"1=\"]",
            "[runtime]\nnetwork = \"host\"\nsecrets = [\"A\", \"B\"]\nports = [\"1=2\"]",
            "[runtime]\nnetwork = \"host\"\nsecrets = [\"A\", \"B\"]\nports = [\"1=\"]\ngit_credentials = [\"a.example\"]",
        ] {
            assert_ne!(base.digest(), asks(other).digest(), "{other}");
        }
        assert!(base.covers(&asks("[runtime]\nsecrets = [\"A\"]")) && base.covers(&base));
        for more in [
            "secrets = [\"C\"]",
            "git_credentials = [\"a.example\"]",
            "secrets = [\"A:file\"]",
            "network = \"private\"",
            "ports = [\"2=\"]",
        ] {
            assert!(!base.covers(&asks(&format!("[runtime]\n{more}"))), "{more}");
        }
        assert!(asks("[runtime]\nports = [3000]\nnetwork = \"isolated\"").is_empty());
        let settled = Settled { network: true, secrets: true, ports: true };
        assert!(
            Asks::of("x", &here(), &project("[runtime]\nnetwork = \"host\"\nsecrets = [\"A\"]"), settled).is_empty()
        );
    }

    #[test]
    fn a_build_is_agreed_to_with_the_folders_that_it_is_given() {
        let build = Build::default();
        let of = |folders: &[&str]| {
            let folders = folders.iter().map(ToString::to_string).collect();
            Asks::of_build("https://a/b", &here(), (&build, (Digest::of(b"FROM x"), folders), false)).unwrap()
        };
        let all = [of(&["docker"]), of(&[""]), of(&[]), of(&["docker", "b"]), of(&["docker, b"])];
        assert!(all[0].lines()[0].contains("every file in docker,"), "{:?}", all[0].lines());
        assert!(all[1].lines()[0].contains("every file of the project"), "{:?}", all[1].lines());
        for (n, one) in all.iter().enumerate() {
            for (m, other) in all.iter().enumerate() {
                assert_eq!((one.covers(other), one.digest() == other.digest()), (n == m, n == m), "{one:?} {other:?}");
            }
        }
    }

    #[test]
    fn an_account_that_looks_like_a_host_is_told_from_it() {
        assert_eq!(
            lent("https://github.com@evil.example"),
            "your git password of the account github.com for https://evil.example, for every program inside"
        );
        assert_eq!(
            lent("ssh://git@a.example:2222"),
            "logins as git with your ssh agent at ssh://a.example:2222, for every program inside"
        );
        assert_eq!(lent("https://a.example"), "your git password for https://a.example, for every program inside");
    }

    #[test]
    fn without_it_nothing_is_left_to_ask_for() {
        let all = project(
            "[runtime]\nnetwork = \"host\"\nsecrets = [\"A\"]\ngit_credentials = [\"a.example\"]\nports = [\"1=2\", 3]\n\
             [[cache]]\nname = \"a\"\npath = \"a\"\nsetup = \"x\"\nnetwork = \"private\"\n\
             [[cache]]\nname = \"b\"\npath = \"b\"\nsetup = \"x\"\n",
        );
        assert_eq!(Asks::of("x", &here(), &all, Settled::default()).lines().len(), 5);
        let less = without_asks(all);
        assert!(Asks::of("x", &here(), &less, Settled::default()).is_empty());
        assert_eq!((less.runtime.ports.len(), less.cache.len()), (2, 1));
    }

    #[test]
    fn who_asks_is_part_of_it() {
        let secret = project("[runtime]\nsecrets = [\"A\"]");
        let origins = [
            Origin::Store("oci:/srv/tasks".into()),
            Origin::Store("oci:/srv/other".into()),
            Origin::Folder("/srv/tasks".into()),
            Origin::Folder("/srv/other".into()),
        ];
        let all = origins.map(|origin| Asks::of("https://a/b", &origin, &secret, Settled::default()));
        for (n, one) in all.iter().enumerate() {
            for (m, other) in all.iter().enumerate() {
                assert_eq!((one.covers(other), one.digest() == other.digest()), (n == m, n == m), "{one:?} {other:?}");
            }
        }
        // Earlier versions noted no folder.
        let before = Asks { folder: None, ..all[2].clone() };
        assert!(!before.covers(&all[2]));
    }

    #[test]
    fn whatever_decides_what_a_setup_does_is_part_of_it() {
        let cache = |more: &str| {
            asks(&format!("[[cache]]\nname = \"a\"\npath = \"a\"\nsetup = \"x\"\nnetwork = \"private\"\n{more}"))
        };
        let base = cache("env = { A = \"1\", B = \"2\" }");
        let others = [
            cache(""),
            cache("env = { A = \"1\", B = \"3\" }"),
            cache("env = { A = \"1\" }"),
            cache("env = { A = \"1\", B = \"2\" }\n[runtime]\nenv = { PATH = \"evil\" }"),
            asks(
                "[[cache]]\nname = \"a\"\npath = \"b\"\nsetup = \"x\"\nnetwork = \"private\"\nenv = { A = \"1\", B = \"2\" }",
            ),
            asks(
                "[[cache]]\nname = \"a\"\npath = \"a\"\nsetup = \"x\"\nnetwork = \"host\"\nenv = { A = \"1\", B = \"2\" }",
            ),
        ];
        for other in &others {
            assert!(base.digest() != other.digest() && !base.covers(other) && !other.covers(&base), "{other:?}");
            assert_ne!(base.lines(), other.lines(), "it is shown");
        }
        // What another one overrules takes no effect.
        assert_eq!(base, cache("env = { A = \"1\", B = \"2\" }\n[runtime]\nenv = { A = \"0\" }"));
        // A variable that looks like two is one.
        assert_ne!(cache("env = { A = \"1\\nB=2\" }").digest(), base.digest());
    }
}
