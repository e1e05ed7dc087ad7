//! What every command starts from: environment, folders, configuration, flags,
//! and which store is configured.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::fs::FileType;

use super::devcontainer;
use super::report::ReportFile;
use crate::clock::Clock;
use crate::config::{PROJECT_FILES, Project, UserConfig};
use crate::disk::{self, beneath::Beneath};
use crate::env::Env;
use crate::error::usage;
use crate::git::this_program;
use crate::identity::StoreRef;
use crate::paths::Paths;
use crate::secret;
use crate::store::{AuthFiles, Host, Proxies, RegistryNetwork};
use crate::ui::Ui;

/// Upper bound for configuration files in bytes.
const MAX_CONFIG: u64 = 1 << 20;

/// The global flags that decide more than how output looks.
#[derive(Clone, Debug, Default)]
pub struct GlobalOptions {
    /// Where a report goes.
    pub report: Option<ReportFile>,
    /// `--store`.
    pub store: Option<StoreRef>,
    /// `--offline`.
    pub offline: bool,
    /// Questions may be asked: a terminal, and no `--no-input`.
    pub interactive: bool,
    /// `--yes`: questions are answered with yes.
    pub yes: bool,
    /// `--net-timeout`: how long a registry may be silent.
    pub net_timeout: Duration,
}

/// One invocation.
#[derive(Clone, Debug)]
pub struct App {
    /// The process environment.
    pub env: Env,
    /// Where things are.
    pub paths: Paths,
    /// What time it is.
    pub clock: Clock,
    /// How to talk.
    pub ui: Ui,
    /// The flags.
    pub options: GlobalOptions,
    /// The working directory.
    pub cwd: PathBuf,
    /// The user's configuration.
    pub user: UserConfig,
    /// What is settled by now.
    pub(crate) contacts: Arc<Contacts>,
}

/// What this invocation has settled.
#[derive(Debug, Default)]
pub(crate) struct Contacts {
    /// Stores that the command line names, besides `--store`.
    pub(crate) named: Mutex<BTreeSet<String>>,
    /// Stores to which the developer agreed with all that a project asks for.
    pub(crate) agreed: Mutex<BTreeSet<String>>,
    /// What projects ask for, as JSON, and whether this invocation gets it.
    pub(crate) asked: Mutex<Vec<(String, bool)>>,
    /// Folders of stores of which it was said who may write to them.
    pub(crate) told: Mutex<BTreeSet<PathBuf>>,
}

fn note(set: &Mutex<BTreeSet<String>>, store: &str) {
    if let Ok(mut set) = set.lock() {
        set.insert(store.to_owned());
    }
}

/// Where a store lies.
pub(crate) trait StorePlace {
    /// The same store, wherever the command runs and however its path is spelled:
    /// relative layout paths are taken from `cwd`, links and `..` are followed as far
    /// as there is something.
    #[must_use]
    fn placed(self, cwd: &Path) -> Self;
}

impl StorePlace for StoreRef {
    fn placed(self, cwd: &Path) -> Self {
        match self {
            StoreRef::Layout(path) => StoreRef::Layout(disk::real_store(&cwd.join(path))),
            other => other,
        }
    }
}

fn read_user_config(file: &Path) -> Result<UserConfig> {
    let Some(bytes) = disk::read_file(file, MAX_CONFIG)? else { return Ok(UserConfig::default()) };
    let text = String::from_utf8_lossy(&bytes);
    // What is wrong with it may quote them.
    secret::remember_passwords(&text);
    Ok(UserConfig::parse(&text, &file.display().to_string())?)
}

impl App {
    /// Reads the user's configuration.
    ///
    /// # Errors
    /// When the configuration is wrong, or envctl's folders cannot be used.
    pub fn new(env: Env, ui: Ui, options: GlobalOptions) -> Result<Self> {
        let (app, wrong) = Self::despite(env, ui, options)?;
        wrong.map_or(Ok(app), Err)
    }

    /// The same for who says what is wrong: what a configuration that cannot be read does
    /// not say is as usual.
    ///
    /// # Errors
    /// When envctl's folders cannot be used.
    pub fn despite(env: Env, ui: Ui, options: GlobalOptions) -> Result<(Self, Option<anyhow::Error>)> {
        let paths = Paths::new(&env)?;
        let cwd = std::env::current_dir().context("the working directory is gone")?;
        // Before anything is read there: a configuration names commands.
        disk::require_own(paths.config())?;
        [paths.data(), paths.cache(), paths.state()].into_iter().try_for_each(disk::require_private)?;
        let (user, wrong) = match read_user_config(&paths.user_config()) {
            Ok(user) => (user, None),
            Err(error) => (UserConfig::default(), Some(error)),
        };
        let clock = env.clock();
        Ok((App { env, paths, clock, ui, options, cwd, user, contacts: Arc::default() }, wrong))
    }

    /// Notes a store that the developer named with this command.
    pub(crate) fn note_named(&self, store: &StoreRef) {
        note(&self.contacts.named, &store.to_string());
    }

    /// Notes a store that is part of what the developer agreed to.
    pub(crate) fn note_agreed(&self, store: &str) {
        note(&self.contacts.agreed, store);
    }

    /// What the developer agreed to by one name, they did by another.
    pub(crate) fn agree_alike(&self, known: &StoreRef, store: &StoreRef) {
        if self.contacts.agreed.lock().is_ok_and(|set| set.contains(&known.to_string())) {
            self.note_agreed(&store.to_string());
        }
    }

    /// Asks whether to go on; `None` when there is nobody to ask.
    ///
    /// # Errors
    /// When the answer cannot be read.
    pub fn confirm(&self, question: &str) -> Result<Option<bool>> {
        match (self.options.yes, self.options.interactive) {
            (true, _) => Ok(Some(true)),
            (false, true) => self.ui.confirm(question).map(Some),
            (false, false) => Ok(None),
        }
    }

    /// The roots, checked and created.
    pub(crate) fn open_roots(&self) -> Result<()> {
        [self.paths.data(), self.paths.cache(), self.paths.state()].into_iter().try_for_each(disk::open_root)
    }

    /// Where a log of its own may lie.
    pub(crate) fn log_file(&self, name: &str) -> PathBuf {
        let stamp = self.clock.now().strftime("%Y%m%dT%H%M%SZ");
        self.paths.log(&format!("{name}-{stamp}-{}", rustix::process::getpid().as_raw_nonzero()))
    }

    /// The project file of a checkout, or what its `devcontainer.json` comes to.
    ///
    /// # Errors
    /// When it is wrong.
    pub(crate) fn project(&self, root: &Path) -> Result<Project> {
        if !root.exists() {
            return Ok(Project::default());
        }
        // Code that ran in a workspace may have laid it.
        let folder = Beneath::open(root)?;
        for name in PROJECT_FILES {
            // A folder that is a link for reasons of its own holds none.
            let above = Path::new(name).parent().and_then(|above| folder.stat(above));
            if above.is_some_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink) {
                continue;
            }
            if let Some(bytes) = folder.read(Path::new(name), MAX_CONFIG)? {
                let shown = root.join(name).display().to_string();
                return Ok(Project::parse(&String::from_utf8_lossy(&bytes), &shown)?);
            }
        }
        // One that cannot be used stands in nobody's way: `doctor` says what is wrong.
        let described = devcontainer::read(root).and_then(|(_, found)| Ok(found.project()?));
        Ok(described.unwrap_or_default())
    }

    /// The root of the checkout that holds the working directory.
    pub(crate) fn checkout(&self) -> Option<PathBuf> {
        self.cwd.ancestors().find(|folder| folder.join(".git").exists()).map(Path::to_owned)
    }

    /// A folder that the developer named, by one name for all spellings; it need
    /// not exist.
    pub(crate) fn named(&self, folder: &Path) -> PathBuf {
        let folder = self.cwd.join(folder);
        match (folder.parent().map(fs::canonicalize), folder.file_name()) {
            (Some(Ok(parent)), Some(name)) => parent.join(name),
            _ => folder,
        }
    }

    /// The store that is configured: flag, environment, user, project. A
    /// registry that the project alone names is opened with the developer's
    /// word only: see [`App::open`].
    ///
    /// # Errors
    /// When what is configured is no store.
    pub(crate) fn configured_store(&self) -> Result<Option<StoreRef>> {
        if let Some(store) = &self.options.store {
            return Ok(Some(store.clone().placed(&self.cwd)));
        }
        if let Some(store) = &self.env.store {
            secret::remember_passwords(store);
            let store: StoreRef = store.parse().context("ENVCTL_STORE")?;
            return Ok(Some(store.placed(&self.cwd)));
        }
        if let Some(store) = &self.user.store {
            let home = self.env.home.as_deref().unwrap_or(Path::new("/"));
            return Ok(Some(store.parse::<StoreRef>()?.placed(home)));
        }
        match self.checkout() {
            Some(root) => {
                let store = self.project(&root)?.store;
                Ok(store.map(|store| store.parse::<StoreRef>()).transpose()?.map(|store| store.placed(&root)))
            }
            None => Ok(None),
        }
    }

    /// The configured store, which must be there.
    ///
    /// # Errors
    /// [`crate::error::Kind::Usage`] when there is none.
    pub(crate) fn store(&self) -> Result<StoreRef> {
        self.configured_store()?.ok_or_else(|| {
            usage("no store is configured")
                .hint("name it with --store oci:PATH, ENVCTL_STORE, store = \"...\" in envctl.toml or config.toml, or before the task: oci:PATH:TASK")
                .into()
        })
    }

    /// How registries are reached.
    pub(crate) fn network(&self) -> RegistryNetwork {
        let host = |(name, settings): (&String, &crate::config::RegistrySettings)| {
            let settings = settings.clone();
            let host = Host {
                plain_http: settings.plain_http,
                ca: settings.ca.map(|ca| self.paths.user_config().with_file_name(ca)),
                mirror: settings.mirror,
                realm: settings.realm,
            };
            (name.clone(), host)
        };
        let env = &self.env;
        let home = |folder: &str| env.home.as_ref().map(|home| home.join(folder));
        // The order of podman and skopeo; the last is docker's own.
        let files = match &env.registry_auth_file {
            Some(file) => vec![self.cwd.join(file)],
            None => [
                env.xdg_runtime_dir.as_ref().map(|folder| folder.join("containers/auth.json")),
                env.xdg_config_home
                    .clone()
                    .or_else(|| home(".config"))
                    .map(|folder| folder.join("containers/auth.json")),
                env.docker_config.clone().or_else(|| home(".docker")).map(|folder| folder.join("config.json")),
            ]
            .into_iter()
            .flatten()
            .collect(),
        };
        let ui = self.ui;
        RegistryNetwork {
            hosts: self.user.registries.iter().map(host).collect(),
            proxies: Proxies {
                https: env.https_proxy.clone(),
                http: env.http_proxy.clone(),
                none: env.no_proxy.clone(),
            },
            timeout: self.options.net_timeout,
            auth: AuthFiles {
                files,
                path: env.path.clone(),
                guard: this_program().ok(),
                interactive: self.options.interactive,
                patience: self.options.net_timeout,
            },
            offline: self.options.offline,
            notice: Arc::new(move |text| ui.status("Waiting", text)),
        }
    }
}
