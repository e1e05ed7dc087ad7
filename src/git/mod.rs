//! How envctl runs the `git` program: never with a repository's own hooks,
//! monitors or remote helpers, and with nothing of the caller's `GIT_*`
//! environment (a hook that runs envctl must not redirect it).
//!
//! Towards remotes, to which only a [`Contact`] leads, the user's own
//! configuration stays in force: credential
//! helpers, ssh and proxies work as they set them up. Where a task's files are
//! read or written it does not: a filter of theirs would run on them.

mod agent;
mod author;
mod bounds;
mod contact;
mod create;
mod ignored;
mod inflate;
pub mod lfs;
mod pointer;
mod settings;
mod sizes;
mod strategy;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use anyhow::{Context, Result};

use crate::env::Env;
use crate::error::{Fault, failure, of_thread};
use crate::secret;
use crate::web::Proxies;

pub use crate::identity::check_entry_name;
pub use agent::{Agent, AgentHost, NoAgent};
pub use author::Author;
pub use bounds::bound_library;
pub use contact::{Coming, Contact, ContactOutcome, Heard, Judge, Loan, Logins, Manner, Way, serve, this_program};
pub use create::{create_bare, create_repository};
pub use ignored::{IgnoreLists, odd_lists};
pub use pointer::{has_blanks, without_line_end};
pub use settings::{add_settings, with_settings};
pub use sizes::{MAX_INDEX, large_file, large_ref};
pub use strategy::is_strategy;

/// The lines of `info/exclude` around the rules for files that came with a task.
pub const CAME_ALONG: &str = "# envctl: ignored files that came with the task";
/// See [`CAME_ALONG`].
pub const CAME_ALONG_END: &str = "# envctl: end";

/// More settings than anybody has in the environment.
const MOST_SETTINGS: usize = 1000;

/// So much of what git says is kept, in bytes.
const MAX_WORDS: u64 = 64 << 10;

/// Settings that name programs, forced off for every call. Git LFS's filter is
/// envctl's own business: see [`lfs`].
const FORCED: [&str; 12] = [
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.untrackedCache=false",
    "protocol.ext.allow=never",
    "submodule.recurse=false",
    "fetch.recurseSubmodules=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "filter.lfs.clean=",
    "filter.lfs.smudge=",
    "filter.lfs.process=",
    "filter.lfs.required=false",
];

/// Settings that name files with patterns, which files of a task are still
/// compared with.
const LISTS: [&str; 2] = ["core.excludesFile", "core.attributesFile"];

/// The variables of a caller that git gets: where the developer's configuration
/// is, how remotes are reached, who commits, and what is traced. All other
/// `GIT_*` belong to a repository, or to a call of git that runs envctl.
const KEPT: [&str; 16] = [
    "GIT_CONFIG_GLOBAL",
    "GIT_CONFIG_SYSTEM",
    "GIT_CONFIG_NOSYSTEM",
    "GIT_SSH",
    "GIT_SSH_COMMAND",
    "GIT_SSH_VARIANT",
    "GIT_ASKPASS",
    "GIT_TERMINAL_PROMPT",
    "GIT_EXEC_PATH",
    "GIT_PROXY_COMMAND",
    "GIT_SSL_*",
    "GIT_HTTP_*",
    "GIT_TRACE*",
    "GIT_CURL_*",
    "GIT_AUTHOR_*",
    "GIT_COMMITTER_*",
];

/// The `git` program.
#[derive(Clone, Debug)]
pub struct Git {
    program: PathBuf,
    /// Where the environment says that connections go through.
    proxies: Proxies,
    /// Variables of the caller that git does not get.
    foreign: Vec<OsString>,
    /// How the developer has remotes reached.
    own: Vec<(String, String)>,
    /// Where the user's configuration is, if not in the usual places.
    config: Option<PathBuf>,
    /// What it says about [`LISTS`].
    lists: Arc<OnceLock<Vec<(&'static str, String)>>>,
    /// Where programs keep their settings: `$XDG_CONFIG_HOME`.
    settings: Option<PathBuf>,
}

impl Git {
    /// Finds git on the `PATH`.
    ///
    /// # Errors
    /// When there is none.
    pub fn find(env: &Env) -> Result<Self, Fault> {
        let program = crate::disk::find_program(env.path.as_deref(), "git")
            .ok_or_else(|| failure("the git program was not found on the PATH").hint("install git"))?;
        let proxies =
            Proxies { https: env.https_proxy.clone(), http: env.http_proxy.clone(), none: env.no_proxy.clone() };
        let foreign = env.git.iter().map(|(name, _)| name.clone()).filter(|name| is_foreign(name)).collect();
        let text = |(name, value): &(OsString, OsString)| Some((name.to_str()?.into(), value.to_str()?.into()));
        let home = env.home.as_ref().and_then(|home| Some(("HOME".into(), home.to_str()?.into())));
        let own = env.git.iter().filter_map(text).chain(home).collect();
        let usual = || env.home.as_ref().map(|home| home.join(".config"));
        let settings = env.xdg_config_home.clone().or_else(usual);
        Ok(Git {
            program,
            proxies,
            foreign,
            own,
            config: env.git_config_global.clone(),
            lists: Arc::default(),
            settings,
        })
    }

    /// A call with `git_dir` as its repository.
    pub fn at(&self, git_dir: &Path) -> Call {
        let mut command = Command::new(&self.program);
        for name in &self.foreign {
            command.env_remove(name);
        }
        for setting in FORCED {
            command.arg("-c").arg(setting);
        }
        command.env("GIT_DIR", git_dir).env("LC_ALL", "C.UTF-8").env("GIT_OPTIONAL_LOCKS", "0");
        command.env("GIT_NO_REPLACE_OBJECTS", "1").env("GIT_NO_LAZY_FETCH", "1");
        // Whoever goes to a remote does so through a `Contact`.
        command.env("GIT_ALLOW_PROTOCOL", "none");
        command.current_dir("/");
        Call { command }
    }

    /// The same for files of a task: without any settings of the user and the
    /// machine, but for their lists of ignored files and of attributes.
    pub fn aside(&self, git_dir: &Path) -> Call {
        let mut call = self.at(git_dir).env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
        for (key, path) in self.lists() {
            call = call.arg("-c").arg(&format!("{key}={path}"));
        }
        call
    }

    /// The same without those lists: what comes of it is the same on every machine.
    pub fn alone(&self, git_dir: &Path) -> Call {
        let call = self.at(git_dir).env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
        call.env("GIT_ATTR_NOSYSTEM", "1").args(["-c", "core.attributesFile=/dev/null"])
    }

    fn lists(&self) -> &[(&'static str, String)] {
        self.lists.get_or_init(|| lists(self.config.as_deref()).unwrap_or_default())
    }

    /// Where attributes of the developer and of the machine may be, which git goes by
    /// in every repository (`gitattributes(5)`).
    pub fn own_attributes(&self) -> Vec<PathBuf> {
        let home = self.variable("HOME").map(PathBuf::from);
        let named = self.lists().iter().find(|(key, _)| *key == LISTS[1]).map(|(_, path)| path);
        let named = named.map(|path| match path.strip_prefix("~/").zip(home.as_ref()) {
            Some((below, home)) => home.join(below),
            // `~SOMEBODY/` is no path to anything here.
            None => Path::new("/").join(path),
        });
        let usual = || Some(self.settings.clone()?.join("git/attributes"));
        named.or_else(usual).into_iter().chain([PathBuf::from("/etc/gitattributes")]).collect()
    }

    /// What `GIT_CONFIG_COUNT` and its like in the environment say of a setting.
    pub fn set_by_environment(&self, key: &str) -> Option<&str> {
        let count: usize = self.variable("GIT_CONFIG_COUNT")?.parse().ok()?;
        let of = |name: &str, n: usize| self.variable(&format!("GIT_CONFIG_{name}_{n}"));
        let last =
            (0..count.min(MOST_SETTINGS)).rev().find(|n| of("KEY", *n).is_some_and(|k| k.eq_ignore_ascii_case(key)));
        last.and_then(|n| of("VALUE", n))
    }

    /// Whether the environment says where git's configuration is, or more than that has.
    pub fn is_configured_by_environment(&self) -> bool {
        const SET: [&str; 5] = [
            "GIT_CONFIG_COUNT",
            "GIT_CONFIG_GLOBAL",
            "GIT_CONFIG_NOSYSTEM",
            "GIT_CONFIG_PARAMETERS",
            "GIT_CONFIG_SYSTEM",
        ];
        SET.iter().any(|name| self.variable(name).is_some())
    }

    /// All settings that git obeys in a repository, in the environment of the caller: the
    /// last of each, whose name is in small letters but for its middle.
    ///
    /// # Errors
    /// When git cannot read its configuration.
    pub fn settings(&self, git_dir: &Path) -> Result<BTreeMap<String, String>> {
        let mut call = self.at(git_dir);
        for (name, value) in self.own.iter().filter(|(name, _)| name.starts_with("GIT_CONFIG")) {
            call = call.env(name, value);
        }
        let printed = call.args(["config", "-z", "--includes", "--list"]).run(b"")?;
        let printed = String::from_utf8_lossy(&printed);
        // A setting without a value is one that is on.
        let settings = printed.split_terminator('\0').map(|entry| entry.split_once('\n').unwrap_or((entry, "true")));
        Ok(settings.map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
    }

    fn variable(&self, name: &str) -> Option<&str> {
        self.own.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

fn is_foreign(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    let kept = |known: &str| match known.strip_suffix('*') {
        Some(start) => name.starts_with(start.as_bytes()),
        None => name == known.as_bytes(),
    };
    name.starts_with(b"GIT_") && !KEPT.iter().any(|known| kept(known))
}

/// Only paths that do not depend on the folder: that would be the task's.
fn lists(config: Option<&Path>) -> Result<Vec<(&'static str, String)>, git2::Error> {
    let config =
        config.map_or_else(git2::Config::open_default, git2::Config::open).and_then(|mut all| all.snapshot())?;
    let set = LISTS.iter().filter_map(|key| Some((*key, config.get_str(key).ok()?)));
    let plain = set.filter(|(_, path)| path.starts_with('/') || path.starts_with('~'));
    Ok(plain.map(|(key, path)| (key, path.to_owned())).collect())
}

/// One call of git.
#[derive(Debug)]
pub struct Call {
    command: Command,
}

impl Call {
    /// Adds arguments.
    #[must_use]
    pub fn args<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(mut self, args: I) -> Self {
        self.command.args(args);
        self
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(self, arg: &str) -> Self {
        self.args([arg])
    }

    /// Sets a variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Sets the folder in which it runs.
    #[must_use]
    pub fn cwd(mut self, dir: &Path) -> Self {
        self.command.current_dir(dir);
        self
    }

    /// Runs it with `input` on stdin and returns what it printed.
    ///
    /// # Errors
    /// When it fails; git's own words are the cause.
    pub fn run(self, input: &[u8]) -> Result<Vec<u8>> {
        let name = self.name();
        let output = self.output(input)?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        Err(anyhow::Error::new(failure(complaint(&output.stderr)))
            .context(format!("{name} failed ({})", output.status)))
    }

    /// Runs it and returns the exit status and both outputs.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn output(mut self, input: &[u8]) -> Result<Output> {
        let (name, begun) = (self.name(), Instant::now());
        let mut child = self.spawn_piped(&name)?;
        let (stdin, stderr) = (child.stdin.take(), child.stderr.take());
        std::thread::scope(|scope| {
            scope.spawn(move || {
                // git may stop reading early; its exit status tells why.
                stdin.map(|mut pipe| pipe.write_all(input))
            });
            let words = scope.spawn(move || stderr.map(words).unwrap_or_default());
            let mut output = child.wait_with_output().with_context(|| format!("cannot wait for {name}"))?;
            note(&name, begun, output.status);
            output.stderr = of_thread(words.join(), "the thread that reads what git says")?;
            Ok(output)
        })
    }

    /// Runs it and hands its stdout to `consume` while it runs.
    ///
    /// # Errors
    /// The consumer's, or git's own.
    pub fn stream<T>(mut self, input: &[u8], consume: impl FnOnce(&mut dyn Read) -> Result<T>) -> Result<T> {
        let (name, begun) = (self.name(), Instant::now());
        let mut child = self.spawn_piped(&name)?;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        std::thread::scope(|scope| {
            scope.spawn(move || stdin.map(|mut pipe| pipe.write_all(input)));
            let words = scope.spawn(move || stderr.map(words).unwrap_or_default());
            let consumed = match stdout {
                Some(mut pipe) => consume(&mut pipe),
                None => Err(anyhow::anyhow!("{name} has no stdout")),
            };
            let status = child.wait().with_context(|| format!("cannot wait for {name}"))?;
            note(&name, begun, status);
            let words = of_thread(words.join(), "the thread that reads what git says")?;
            // The consumer's failure comes first: git then dies of a closed pipe.
            let consumed = consumed?;
            if !status.success() {
                return Err(anyhow::Error::new(failure(complaint(&words))).context(format!("{name} failed ({status})")));
            }
            Ok(consumed)
        })
    }

    fn spawn_piped(&mut self, name: &str) -> Result<Child> {
        self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        bounds::bound(&mut self.command);
        self.command.spawn().with_context(|| format!("cannot start {name}"))
    }

    fn name(&self) -> String {
        let mut args = self.command.get_args();
        let mut verb = args.next();
        while verb.is_some_and(|arg| arg == "-c") {
            verb = args.nth(1);
        }
        format!("git {}", verb.unwrap_or_default().to_string_lossy())
    }
}

/// Tells of a call that has ended. Its arguments may hold addresses with passwords.
fn note(name: &str, begun: Instant, status: ExitStatus) {
    tracing::debug!(ms = begun.elapsed().as_millis() as u64, code = status.code(), "{name}");
}

/// The beginning of what git says; the rest is read, and dropped.
fn words(mut pipe: impl Read) -> Vec<u8> {
    let mut text = Vec::new();
    let _ = pipe.by_ref().take(MAX_WORDS).read_to_end(&mut text);
    let _ = std::io::copy(&mut pipe, &mut std::io::sink());
    text
}

/// What git said, on one line.
pub fn complaint(stderr: &[u8]) -> String {
    // What was cut may end within a password.
    let is_cut = stderr.len() as u64 >= MAX_WORDS;
    let whole = if is_cut { secret::hide_in(stderr.to_vec()).0 } else { stderr.to_vec() };
    let text = secret::hide(&String::from_utf8_lossy(&whole));
    let lines: Vec<&str> =
        text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("hint:")).collect();
    let text = lines.join("; ");
    if text.is_empty() { "git gave no reason".into() } else { secret::beginning(&text, 2000) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_are_one_line() {
        assert_eq!(complaint(b"fatal: x\nhint: y\n\nerror: z\n"), "fatal: x; error: z");
        assert_eq!(complaint(b""), "git gave no reason");
    }

    #[test]
    fn words_without_end_are_read_and_dropped() {
        let mut talk = std::io::repeat(b'a').take(100 << 20);
        assert_eq!(words(&mut talk).len() as u64, MAX_WORDS);
        assert_eq!(talk.limit(), 0);
    }

    #[test]
    fn what_is_local_to_a_repository_never_reaches_git() {
        let local = Command::new("git").args(["rev-parse", "--local-env-vars"]).output().unwrap().stdout;
        let local = String::from_utf8(local).unwrap();
        assert!(local.lines().count() > 10, "{local}");
        for name in local.lines().chain(["GIT_NAMESPACE", "GIT_QUARANTINE_PATH", "GIT_EXTERNAL_DIFF"]) {
            assert!(is_foreign(name.as_ref()), "{name}");
        }
        for name in ["GIT_SSH_COMMAND", "GIT_SSL_CAINFO", "GIT_CONFIG_GLOBAL", "SSH_ASKPASS", "GIT_TRACE"] {
            assert!(!is_foreign(name.as_ref()), "{name}");
        }
    }
}
