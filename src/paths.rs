//! Every path that envctl owns on this machine, by the XDG base directory
//! specification. The folder says what losing it would cost: configuration is
//! settings, cache is time, data is work, state is bookkeeping.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::env::Env;
use crate::error::{Fault, failure};

/// The folder of a repository in which the workspaces of runs lie.
const RUNS: &str = "run";

/// Where secrets lie as files inside a runtime, and inside containers.
pub const INJECTED_SECRETS: &str = "/run/secrets";

/// The roots, and names for everything below them.
#[derive(Clone, Debug)]
pub struct Paths {
    config: PathBuf,
    cache: PathBuf,
    data: PathBuf,
    state: PathBuf,
}

impl Paths {
    /// Resolves the roots.
    ///
    /// # Errors
    /// When neither the XDG variables nor `HOME` name an absolute folder.
    pub fn new(env: &Env) -> Result<Self, Fault> {
        let root = |xdg: &Option<PathBuf>, name: &str, fallback: &str| match (xdg, &env.home) {
            (Some(xdg), _) => Ok(xdg.join("envctl")),
            (None, Some(home)) => Ok(home.join(fallback).join("envctl")),
            (None, None) => Err(failure(format!("neither {name} nor HOME is set to an absolute path"))
                .hint(format!("export HOME, or {name}"))),
        };
        Ok(Paths {
            config: root(&env.xdg_config_home, "XDG_CONFIG_HOME", ".config")?,
            cache: root(&env.xdg_cache_home, "XDG_CACHE_HOME", ".cache")?,
            data: root(&env.xdg_data_home, "XDG_DATA_HOME", ".local/share")?,
            state: root(&env.xdg_state_home, "XDG_STATE_HOME", ".local/state")?,
        })
    }

    /// The root of the configuration.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// The user's `config.toml`.
    pub fn user_config(&self) -> PathBuf {
        self.config.join("config.toml")
    }

    /// What the developer has approved.
    pub fn approvals(&self) -> PathBuf {
        self.config.join("approvals.toml")
    }

    /// The root of the caches.
    pub fn cache(&self) -> &Path {
        &self.cache
    }

    /// The root of the data.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The root of the state.
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// A small verified blob: manifests, image configs, snapshot documents and packs.
    pub fn blob(&self, digest: &Digest) -> PathBuf {
        self.cache.join("blobs/sha256").join(digest.hex())
    }

    /// The tasks that a store was last seen to have; the key is the store's.
    pub fn task_list(&self, store: &str) -> PathBuf {
        self.cache.join("lists").join(format!("{store}.json"))
    }

    /// Who the user of an image is, by its own accounts.
    pub fn image_user(&self, image: &Digest, asked: Option<&str>) -> PathBuf {
        let asked = asked.map(|asked| format!("-{}", Digest::of(asked.as_bytes()).short())).unwrap_or_default();
        self.cache.join("users").join(format!("{}{asked}.json", image.hex()))
    }

    /// The note that a repository serves an image.
    pub fn image_seen(&self, image: &Digest, repository: &str) -> PathBuf {
        self.cache.join("seen").join(format!("{}-{}", image.hex(), Digest::of(repository.as_bytes()).hex()))
    }

    /// Packed forms of a layer, by the digest of its tar.
    pub fn layer_forms(&self, diff_id: &Digest) -> PathBuf {
        self.cache.join("forms").join(format!("{}.json", diff_id.hex()))
    }

    /// Repositories that have a blob.
    pub fn blob_places(&self, digest: &Digest) -> PathBuf {
        self.cache.join("places").join(format!("{}.json", digest.hex()))
    }

    /// Local images that runs of checkouts use: an OCI image layout.
    pub fn local_images(&self) -> PathBuf {
        self.cache.join("images")
    }

    /// Unpacked layers whose files are owned according to one id mapping.
    pub fn layers(&self, mapping: &str) -> PathBuf {
        self.all_layers().join(mapping)
    }

    /// Unpacked layers of all id mappings.
    pub fn all_layers(&self) -> PathBuf {
        self.cache.join("layers")
    }

    /// Sealed trees whose files are owned according to one id mapping.
    pub fn trees(&self, mapping: &str) -> PathBuf {
        self.all_trees().join(mapping)
    }

    /// Sealed trees of all id mappings.
    pub fn all_trees(&self) -> PathBuf {
        self.cache.join("trees")
    }

    /// The note that the setup of a cache has failed.
    pub fn failed_setup(&self, key: &Digest) -> PathBuf {
        self.logs().join(format!("failed-{}.json", key.hex()))
    }

    /// The object mirror of a repository.
    pub fn mirror(&self, repo_key: &str) -> PathBuf {
        self.repos().join(format!("{repo_key}.git"))
    }

    /// The workspace of one task.
    pub fn task_workspace(&self, repo_key: &str, store_key: &str, task: &str) -> PathBuf {
        self.workspaces().join(repo_key).join("task").join(format!("{store_key}-{task}"))
    }

    /// The workspace of one run of a task.
    pub fn run_workspace(&self, repo_key: &str, task: &str, run: &str) -> PathBuf {
        self.workspaces().join(repo_key).join(RUNS).join(format!("{task}-{run}"))
    }

    /// Whether a workspace is that of one run.
    pub fn is_run_workspace(&self, workspace: &Path) -> bool {
        workspace.strip_prefix(self.workspaces()).is_ok_and(|below| below.iter().nth(1) == Some(OsStr::new(RUNS)))
    }

    /// The folders of a repository in which workspaces lie side by side.
    pub fn workspace_folders(repository: &Path) -> [PathBuf; 3] {
        ["task", "branch", RUNS].map(|kind| repository.join(kind))
    }

    /// All identities.
    pub fn identities(&self) -> PathBuf {
        self.data.join("identities")
    }

    /// The exact bytes of an identity.
    pub fn identity(&self, digest: &Digest) -> PathBuf {
        self.identities().join(format!("{}.json", digest.hex()))
    }

    /// All pins.
    pub fn pins(&self) -> PathBuf {
        self.data.join("pins")
    }

    /// What the first `enter` of a task settled.
    pub fn pin(&self, store_key: &str, task: &str) -> PathBuf {
        self.pins().join(format!("{store_key}-{task}.json"))
    }

    /// All local copies of artifacts.
    pub fn artifacts(&self) -> PathBuf {
        self.data.join("artifacts")
    }

    /// The content of an artifact.
    pub fn artifact_content(&self, digest: &Digest) -> PathBuf {
        self.artifacts().join("content").join(digest.hex())
    }

    /// What is here of one identity's artifacts: a record of each, and folders
    /// of files.
    pub fn artifacts_of(&self, identity: &Digest) -> PathBuf {
        self.artifacts().join("identities").join(identity.hex())
    }

    /// The record of an artifact that is here.
    pub fn artifact_record(&self, identity: &Digest, key: &Digest) -> PathBuf {
        self.artifacts_of(identity).join(format!("{}.json", key.hex()))
    }

    /// The workspace that tasks of one branch share.
    pub fn branch_workspace(&self, repo_key: &str, branch: &str) -> PathBuf {
        self.workspaces().join(repo_key).join("branch").join(branch_key(branch))
    }

    /// The workspace that all tasks of a repository share.
    pub fn project_workspace(&self, repo_key: &str) -> PathBuf {
        self.workspaces().join(repo_key).join("project")
    }

    /// Lists of copies of sealed trees.
    pub fn all_copies(&self) -> PathBuf {
        self.data.join("copies")
    }

    /// What of a workspace is a copy of a sealed tree.
    pub fn copies(&self, workspace: &Path) -> PathBuf {
        // Without a slash at its end.
        let workspace: PathBuf = workspace.components().collect();
        let key = Digest::of(workspace.as_os_str().as_encoded_bytes());
        self.all_copies().join(format!("{}.json", &key.hex()[..32]))
    }

    /// What was published from checkouts of this machine that are no workspaces.
    pub fn all_publications(&self) -> PathBuf {
        self.data.join("published")
    }

    /// What a checkout published last as a task.
    pub fn publication(&self, checkout: &Path, task: &str) -> PathBuf {
        let checkout: PathBuf = checkout.components().collect();
        let key = [checkout.as_os_str().as_encoded_bytes(), b"\0", task.as_bytes()].concat();
        self.all_publications().join(format!("{}.json", &Digest::of(&key).hex()[..32]))
    }

    /// Workspaces that were set aside before anything unsaved could be lost.
    pub fn recovery(&self) -> PathBuf {
        self.data.join("recovery")
    }

    /// What is known of those workspaces.
    pub fn salvages(&self) -> PathBuf {
        self.data.join("salvages")
    }

    /// The record of one of them.
    pub fn salvage(&self, id: &str) -> PathBuf {
        self.salvages().join(format!("{id}.json"))
    }

    /// Work that is known to be elsewhere, and is not removed yet; on the same
    /// file system as workspaces.
    pub fn data_trash(&self) -> PathBuf {
        self.data.join("trash")
    }

    /// What was seen of branches on their remotes.
    pub fn sightings(&self) -> PathBuf {
        self.state.join("branches.json")
    }

    /// What stores were last seen to have of the tasks that are here.
    pub fn looks(&self) -> PathBuf {
        self.state.join("looks.json")
    }

    /// Notes on tasks that were brought before anybody entered them.
    pub fn all_brought(&self) -> PathBuf {
        self.cache.join("brought")
    }

    /// Which identity a task had when it was brought.
    pub fn brought(&self, task: &str) -> PathBuf {
        self.all_brought().join(Digest::of(task.as_bytes()).hex())
    }

    /// All leases.
    pub fn leases(&self) -> PathBuf {
        self.state.join("leases")
    }

    /// One lease.
    pub fn lease(&self, id: &str) -> PathBuf {
        self.leases().join(format!("{id}.json"))
    }

    /// All live runtimes, a locked folder each.
    pub fn runtimes(&self) -> PathBuf {
        self.state.join("runtimes")
    }

    /// The folder whose lock says that a lease's owner lives.
    pub fn runtime(&self, lease: &str) -> PathBuf {
        self.runtimes().join(lease)
    }

    /// What the command of a detached runtime prints.
    pub fn log(&self, slug: &str) -> PathBuf {
        self.logs().join(format!("{slug}.log"))
    }

    /// The receipt of a reset.
    pub fn receipt(&self, lease: &str) -> PathBuf {
        self.receipts().join(format!("{lease}.json"))
    }

    /// All receipts.
    pub fn receipts(&self) -> PathBuf {
        self.state.join("receipts")
    }

    /// How fast things were on this machine.
    pub fn rates(&self) -> PathBuf {
        self.state.join("rates.json")
    }

    /// What a watch over a store has brought.
    pub fn watch(&self, store_key: &str) -> PathBuf {
        self.state.join("watch").join(format!("{store_key}.json"))
    }

    /// All logs.
    pub fn logs(&self) -> PathBuf {
        self.state.join("logs")
    }

    /// What other machines know this one by.
    pub fn machine(&self) -> PathBuf {
        self.state.join("machine.json")
    }

    /// The line of each lease that has ended.
    pub fn ledger(&self) -> PathBuf {
        self.state.join("ledger.jsonl")
    }

    /// The same, of earlier ones.
    pub fn old_ledger(&self) -> PathBuf {
        self.state.join("ledger.1.jsonl")
    }

    /// What collections took away, a line each.
    pub fn sweeps(&self) -> PathBuf {
        self.state.join("swept.jsonl")
    }

    /// The same, of earlier ones.
    pub fn old_sweeps(&self) -> PathBuf {
        self.state.join("swept.1.jsonl")
    }

    /// What of it nobody was told yet.
    pub fn sweep_news(&self) -> PathBuf {
        self.state.join("swept-news.jsonl")
    }

    /// What is older still, a line for each day and task.
    pub fn folded_ledger(&self) -> PathBuf {
        self.state.join("ledger.folded.jsonl")
    }

    /// Its time says when the last collection was.
    pub fn gc_mark(&self) -> PathBuf {
        self.state.join("last-gc")
    }

    /// All mirrors.
    pub fn repos(&self) -> PathBuf {
        self.data.join("repos")
    }

    /// All workspaces.
    pub fn workspaces(&self) -> PathBuf {
        self.data.join("workspaces")
    }

    /// What was thrown away and is not removed yet.
    pub fn trash(&self) -> PathBuf {
        self.cache.join("trash")
    }

    /// Damaged entries of the caches.
    pub fn quarantine(&self) -> PathBuf {
        self.cache.join("quarantine")
    }

    /// Where lock files lie.
    pub fn locks(&self) -> [PathBuf; 2] {
        [&self.data, &self.cache].map(|root| root.join("locks"))
    }

    /// A lock file below the data root.
    pub fn data_lock(&self, name: &str) -> PathBuf {
        self.data.join("locks").join(name)
    }

    /// The lock on the places of trees in a workspace: whoever makes or removes
    /// the folders over which trees are mounted has it. The path is canonical.
    pub fn places_lock(&self, workspace: &Path) -> PathBuf {
        self.data_lock(&format!("trees-{}", Digest::of(workspace.as_os_str().as_encoded_bytes()).short()))
    }

    /// A lock file below the cache root.
    pub fn cache_lock(&self, name: &str) -> PathBuf {
        self.cache.join("locks").join(name)
    }
}

/// A folder's name for a branch, whatever it is called: readable, and a hash.
fn branch_key(branch: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
    let readable: String = branch.chars().map(plain).take(60).collect();
    let readable = readable.trim_start_matches(['.', '-']);
    let readable = if readable.is_empty() { "branch" } else { readable };
    format!("{readable}-{}", Digest::of(branch.as_bytes()).short())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xdg_wins_over_home_and_something_is_needed() {
        let env = Env { home: Some("/h".into()), xdg_cache_home: Some("/c".into()), ..Env::default() };
        let paths = Paths::new(&env).unwrap();
        assert_eq!(paths.cache(), Path::new("/c/envctl"));
        assert_eq!(paths.data(), Path::new("/h/.local/share/envctl"));
        assert!(Paths::new(&Env::default()).is_err());
    }

    #[test]
    fn case_26_a_branch_names_one_folder_and_chooses_none() {
        let env = Env { home: Some("/h".into()), ..Env::default() };
        let paths = Paths::new(&env).unwrap();
        let parent = paths.workspaces().join("shop-1/branch");
        let long = "x".repeat(5000);
        let names = [
            "agent/fix",
            "agent-fix",
            "../../../etc",
            "..",
            ".",
            "",
            "a\0b",
            "/abs",
            ".git",
            "é",
            "-",
            "--force",
            &long,
        ];
        let places: Vec<_> = names.iter().map(|name| paths.branch_workspace("shop-1", name)).collect();
        for place in &places {
            assert_eq!(place.parent(), Some(parent.as_path()), "{}", place.display());
            let name = place.file_name().unwrap().to_str().unwrap();
            assert!(name.len() < 100 && !name.starts_with(['.', '-']), "{name}");
        }
        assert_eq!(places.iter().collect::<std::collections::HashSet<_>>().len(), names.len());
    }
}
