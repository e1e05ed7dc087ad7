//! How envctl runs the `git` program: never with a repository's own hooks,
//! monitors or remote helpers, and with nothing of the caller's `GIT_*`
//! environment (a hook that runs envctl must not redirect it).
//!
//! Towards remotes the user's own configuration stays in force: credential
//! helpers, ssh and proxies work as they set them up. Where a task's files are
//! read or written it does not: a filter of theirs would run on them.

pub mod lfs;
mod tree;

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal};

use crate::env::Env;
use crate::error::{Fault, failure};

pub use tree::check_entry_name;

/// No answer of a remote that is read whole is longer, in bytes.
const MAX_OUTPUT: u64 = 64 << 20;

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

/// The variables by which a caller could redirect git.
const REDIRECTING: [&str; 12] = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_NAMESPACE",
    "GIT_PREFIX",
    "GIT_CONFIG_PARAMETERS",
    "GIT_CONFIG_COUNT",
    "GIT_EXTERNAL_DIFF",
    "GIT_QUARANTINE_PATH",
];

/// The `git` program.
#[derive(Clone, Debug)]
pub struct Git {
    program: PathBuf,
    lfs: bool,
    /// Where the user's configuration is, if not in the usual places.
    config: Option<PathBuf>,
    /// What it says about [`LISTS`].
    lists: Arc<OnceLock<Vec<String>>>,
}

impl Git {
    /// Finds git on the `PATH`.
    ///
    /// # Errors
    /// When there is none.
    pub fn find(env: &Env) -> Result<Self, Fault> {
        let program = crate::disk::find_program(env.path.as_deref(), "git")
            .ok_or_else(|| failure("the git program was not found on the PATH").hint("install git"))?;
        let lfs = crate::disk::find_program(env.path.as_deref(), "git-lfs").is_some();
        Ok(Git { program, lfs, config: env.git_config_global.clone(), lists: Arc::default() })
    }

    /// Whether `git lfs` is installed.
    pub fn has_lfs(&self) -> bool {
        self.lfs
    }

    /// A call with `git_dir` as its repository.
    pub fn at(&self, git_dir: &Path) -> Call {
        let mut command = Command::new(&self.program);
        for name in REDIRECTING {
            command.env_remove(name);
        }
        for setting in FORCED {
            command.arg("-c").arg(setting);
        }
        command.env("GIT_DIR", git_dir).env("LC_ALL", "C.UTF-8").env("GIT_OPTIONAL_LOCKS", "0");
        command.env("GIT_NO_REPLACE_OBJECTS", "1").env("GIT_NO_LAZY_FETCH", "1");
        command.current_dir("/");
        Call { command }
    }

    /// The same for files of a task: without any settings of the user and the
    /// machine, but for their lists of ignored files and of attributes.
    pub fn aside(&self, git_dir: &Path) -> Call {
        let mut call = self.at(git_dir).env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
        for list in self.lists.get_or_init(|| lists(self.config.as_deref()).unwrap_or_default()) {
            call = call.args(["-c", list]);
        }
        call
    }
}

/// Only paths that do not depend on the folder: that would be the task's.
fn lists(config: Option<&Path>) -> Result<Vec<String>, git2::Error> {
    let config =
        config.map_or_else(git2::Config::open_default, git2::Config::open).and_then(|mut all| all.snapshot())?;
    let set = LISTS.iter().filter_map(|key| Some((key, config.get_str(key).ok()?)));
    let plain = set.filter(|(_, path)| path.starts_with('/') || path.starts_with('~'));
    Ok(plain.map(|(key, path)| format!("{key}={path}")).collect())
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

    /// Lets git find its repository by the folder in which it runs: what it
    /// starts may look into another one, and must not be told of this.
    #[must_use]
    pub fn by_folder(mut self, dir: &Path) -> Self {
        self.command.env_remove("GIT_DIR").current_dir(dir);
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
        let name = self.name();
        let mut child = self.spawn_piped(&name)?;
        let stdin = child.stdin.take();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                // git may stop reading early; its exit status tells why.
                stdin.map(|mut pipe| pipe.write_all(input))
            });
            child.wait_with_output().with_context(|| format!("cannot wait for {name}"))
        })
    }

    /// Runs it without input; `None` when it was ended because it took longer
    /// than `patience`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn output_within(mut self, patience: Duration) -> Result<Option<Output>> {
        let name = self.name();
        // A group of its own: what it starts for the transport ends with it.
        self.command.process_group(0);
        let mut child = self.spawn_piped(&name)?;
        drop(child.stdin.take());
        let (mut stdout, mut stderr) = (child.stdout.take(), child.stderr.take());
        std::thread::scope(|scope| {
            let read = |pipe: &mut dyn Read| {
                let mut bytes = Vec::new();
                pipe.take(MAX_OUTPUT).read_to_end(&mut bytes).map(|_| bytes).unwrap_or_default()
            };
            let out = scope.spawn(move || stdout.as_mut().map(|pipe| read(pipe)).unwrap_or_default());
            let words = scope.spawn(move || stderr.as_mut().map(|pipe| read(pipe)).unwrap_or_default());
            let deadline = Instant::now() + patience;
            let mut late = false;
            let status = loop {
                if let Some(status) = child.try_wait().with_context(|| format!("cannot wait for {name}"))? {
                    break status;
                }
                if !late && Instant::now() >= deadline {
                    late = true;
                    let group = Pid::from_child(&child);
                    let _ = rustix::process::kill_process_group(group, Signal::KILL);
                }
                std::thread::sleep(Duration::from_millis(10));
            };
            let (stdout, stderr) = (out.join().unwrap_or_default(), words.join().unwrap_or_default());
            Ok((!late).then_some(Output { status, stdout, stderr }))
        })
    }

    /// Runs it and hands its stdout to `consume` while it runs.
    ///
    /// # Errors
    /// The consumer's, or git's own.
    pub fn stream<T>(mut self, input: &[u8], consume: impl FnOnce(&mut dyn Read) -> Result<T>) -> Result<T> {
        let name = self.name();
        let mut child = self.spawn_piped(&name)?;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        std::thread::scope(|scope| {
            scope.spawn(move || stdin.map(|mut pipe| pipe.write_all(input)));
            let words = scope.spawn(move || {
                let mut text = Vec::new();
                stderr.map(|pipe| pipe.take(64 << 10).read_to_end(&mut text));
                text
            });
            let consumed = match stdout {
                Some(mut pipe) => consume(&mut pipe),
                None => Err(anyhow::anyhow!("{name} has no stdout")),
            };
            let status = child.wait().with_context(|| format!("cannot wait for {name}"))?;
            let words = words.join().unwrap_or_default();
            // The consumer's failure comes first: git then dies of a closed pipe.
            let consumed = consumed?;
            if !status.success() {
                return Err(anyhow::Error::new(failure(complaint(&words))).context(format!("{name} failed ({status})")));
            }
            Ok(consumed)
        })
    }

    fn spawn_piped(&mut self, name: &str) -> Result<Child> {
        self.command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {name}"))
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

/// What git said, on one line.
pub fn complaint(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let lines: Vec<&str> =
        text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("hint:")).collect();
    let text = lines.join("; ");
    if text.is_empty() { "git gave no reason".into() } else { text.chars().take(2000).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_are_one_line() {
        assert_eq!(complaint(b"fatal: x\nhint: y\n\nerror: z\n"), "fatal: x; error: z");
        assert_eq!(complaint(b""), "git gave no reason");
    }
}
