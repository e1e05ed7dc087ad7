//! The one way to a remote. Before git is started it is asked where it would go,
//! with the developer's own rules, and that place has to be allowed. While it
//! runs, the place is compared once more where the contact is made: ssh is
//! started by us (see `ssh`), a credential helper of ours answers for this
//! place only and asks the developer's (see `credential`), and redirects
//! are not followed by git but judged here. Whatever git starts is watched, and
//! ends with us (see `guard`).

mod credential;
mod guard;
mod home;
mod lfs;
mod order;
mod own;
mod redirect;
mod ssh;

use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::{Call, Git, MAX_WORDS, complaint};
use crate::env::Env;
use crate::error::unreachable;
use crate::identity::{RepoUrl, Scheme, Site};
use order::Order;
use own::Own;

/// No answer of a remote that is read whole is longer, in bytes.
const MAX_OUTPUT: u64 = 64 << 20;

/// So often a remote may send git on.
const MAX_REDIRECTS: usize = 2;

/// How a remote is spoken with.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// Git, ssh and helpers may ask the developer.
    pub interactive: bool,
    /// How long a remote may be silent.
    pub patience: Duration,
    /// Nothing goes on without it.
    pub needed: bool,
}

/// Where git would go.
#[derive(Clone, Debug)]
pub struct Way {
    /// The address that was asked for.
    pub asked: RepoUrl,
    /// Where git goes for it, after the developer's own `insteadOf`.
    pub real: RepoUrl,
    /// The site of `real` is named by that rule, and so by the developer.
    pub settled: bool,
    /// The remote itself sent us there.
    pub redirected: bool,
    /// Nothing goes on without it; else it is not worth a question.
    pub needed: bool,
}

/// Who says where git may go.
pub trait Judge {
    /// Whether git may go there, and be given the developer's credentials.
    ///
    /// # Errors
    /// When it may not.
    fn allow(&self, way: &Way) -> Result<()>;

    /// Whether a site beside the way is one that the developer approved.
    fn knows(&self, site: &Site) -> bool;
}

/// An allowed way to a remote.
#[derive(Debug)]
pub struct Contact<'a> {
    git: &'a Git,
    order: Order,
    /// What git is told, and makes [`Way::real`] of.
    target: String,
    scheme: Scheme,
    ssh_variant: String,
}

/// What came of it.
#[derive(Debug)]
pub struct Answer {
    /// Whether git did it.
    pub ok: bool,
    /// What it printed, up to a bound.
    pub stdout: Vec<u8>,
    /// Why it did not, on one line.
    pub complaint: String,
    /// It was ended, because nothing came or too much was said.
    pub given_up: bool,
    /// Where the remote sent it on to.
    onward: Option<RepoUrl>,
}

impl Git {
    /// Has the way to `url` judged, and goes there with `work`; where the remote
    /// sends us on, that way is judged as well. `git_dir` is any repository of
    /// ours.
    ///
    /// # Errors
    /// The judge's, or that git cannot be started.
    pub fn reach(
        &self,
        git_dir: &Path,
        url: &RepoUrl,
        manner: Manner,
        judge: &dyn Judge,
        work: &dyn Fn(&Contact<'_>) -> Result<Answer>,
    ) -> Result<Answer> {
        let mut url = url.clone();
        for hop in 0..=MAX_REDIRECTS {
            let own = Own::read(self, git_dir)?;
            let (real, settled) = own.way(self, git_dir, &url)?;
            let way = Way { asked: url.clone(), real, settled, redirected: hop > 0, needed: manner.needed };
            judge.allow(&way)?;
            let mut order = Order::new(&way.real, manner, &own, &self.own)?;
            // Large files of a repository that comes by ssh are asked for with TLS.
            let beside = way.real.site().map(|site| site.with_tls()).filter(|site| judge.knows(site));
            order.beside = beside.into_iter().chain(own.large_files()).map(|site| site.to_string()).collect();
            let contact = Contact {
                git: self,
                order,
                target: url.to_string(),
                scheme: way.real.scheme(),
                ssh_variant: own.variant(),
            };
            let answer = work(&contact)?;
            match answer.onward {
                Some(onward) if onward != way.real => url = onward,
                _ => return Ok(answer),
            }
        }
        Err(unreachable(format!("{url} sends git on and on")).into())
    }

    /// The way to a folder that the developer stands in; nobody else named it.
    pub fn beside(&self, folder: &str) -> Result<Contact<'_>> {
        let manner = Manner { interactive: false, patience: Duration::from_secs(3600), needed: true };
        let order = Order::folder(manner, &self.own)?;
        Ok(Contact { git: self, order, target: folder.to_owned(), scheme: Scheme::File, ssh_variant: "ssh".into() })
    }
}

impl Contact<'_> {
    /// What stands for the remote among the arguments.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Fetches or lists: runs git in `git_dir` with these arguments, which name
    /// [`Contact::target`].
    ///
    /// # Errors
    /// When git cannot be started.
    pub fn run(&self, git_dir: &Path, env: &[(&str, &Path)], args: &[&str]) -> Result<Answer> {
        let trace = tempfile::NamedTempFile::new().context("cannot create a temporary file")?;
        let mut call = self.call(git_dir).args(args);
        if matches!(self.scheme, Scheme::Http | Scheme::Https) {
            call = call.env("GIT_TRACE_CURL", trace.path()).env("GIT_TRACE_CURL_NO_DATA", "1");
        }
        for (name, value) in env {
            call = call.env(name, value);
        }
        let mut answer = self.supervise(call)?;
        if !answer.ok {
            answer.onward = redirect::found(trace.as_file(), &self.order)?;
        }
        Ok(answer)
    }

    /// Runs git in a repository that it finds by its folder, for `git lfs`.
    ///
    /// # Errors
    /// When git cannot be started.
    pub fn run_in(&self, folder: &Path, args: &[&str]) -> Result<Answer> {
        let mut call = self.call(folder).by_folder(folder);
        for setting in lfs::settings(&self.order) {
            call = call.args(["-c", &setting]);
        }
        let home = home::of(self.git, folder, &self.order)?;
        if let Some((home, settings)) = &home {
            call = call.env("HOME", home.path()).env("GIT_CONFIG_GLOBAL", settings).env("GIT_CONFIG_NOSYSTEM", "1");
        }
        self.supervise(call.args(args))
    }

    fn call(&self, git_dir: &Path) -> Call {
        let ours = format!("!{}", order::shell(&self.order.program, "git-credential"));
        let narrow = format!("http.{}.followRedirects=false", self.target);
        let narrow_real = format!("http.{}.followRedirects=false", self.order.real);
        let mut call = self.git.at(git_dir);
        for setting in [
            "protocol.version=2",
            "http.followRedirects=false",
            &narrow,
            &narrow_real,
            "fetch.uriProtocols=",
            "transfer.bundleURI=false",
            "fetch.writeCommitGraph=false",
            "fetch.unpackLimit=1",
            "core.askPass=",
            // What was there before is asked by ours.
            "credential.helper=",
            &format!("credential.helper={ours}"),
        ] {
            call = call.args(["-c", setting]);
        }
        call.env("GIT_ALLOW_PROTOCOL", self.scheme.as_str())
            .env("GIT_SSH_COMMAND", order::shell(&self.order.program, "git-ssh"))
            .env("GIT_SSH_VARIANT", &self.ssh_variant)
            // Only our helper asks: it knows for whom.
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_ASKPASS", "")
            .env("SSH_ASKPASS_REQUIRE", if self.order.interactive { "" } else { "never" })
    }

    /// Runs a call below a guard.
    fn supervise(&self, call: Call) -> Result<Answer> {
        let mut command = Command::new(&self.order.program);
        command.arg("git-guard").arg(call.command.get_program()).args(call.command.get_args());
        for (name, value) in call.command.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        if !self.order.interactive {
            command.env_remove("SSH_ASKPASS");
        }
        command
            .env(order::VARIABLE, self.order.to_text()?)
            .current_dir(call.command.get_current_dir().unwrap_or(Path::new("/")));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let name = call.name();
        let mut child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let (stdout, stderr) = std::thread::scope(|scope| {
            let read = |pipe: &mut dyn Read, most| {
                let mut bytes = Vec::new();
                pipe.take(most).read_to_end(&mut bytes).map(|_| bytes).unwrap_or_default()
            };
            let words = scope.spawn(move || stderr.map(|mut pipe| read(&mut pipe, MAX_WORDS)).unwrap_or_default());
            (stdout.map(|mut pipe| read(&mut pipe, MAX_OUTPUT)).unwrap_or_default(), words.join().unwrap_or_default())
        });
        let status = child.wait().with_context(|| format!("cannot wait for {name}"))?;
        let complaint = match status.code() {
            Some(guard::SILENT) => format!("no answer within {} s", self.order.patience_ms / 1000),
            Some(guard::TALKATIVE) => "it talks without end".into(),
            _ => complaint(&stderr),
        };
        let given_up = matches!(status.code(), Some(guard::SILENT | guard::TALKATIVE));
        Ok(Answer { ok: status.success(), stdout, complaint, given_up, onward: None })
    }
}

/// What this program is when git starts it, or when it starts git; `None` when it
/// is called by somebody else.
pub fn serve(env: &Env, words: &[OsString]) -> Option<ExitCode> {
    let verb = words.get(1)?.to_str()?;
    if !["git-guard", "git-ssh", "git-credential"].contains(&verb) {
        return None;
    }
    let order = env.contact.as_deref().and_then(Order::from_text)?;
    let rest: Vec<&OsStr> = words.iter().skip(2).map(OsString::as_os_str).collect();
    Some(match verb {
        "git-guard" => guard::run(&order, &rest),
        "git-ssh" => ssh::run(&order, &rest),
        _ => credential::run(&order, &rest),
    })
}

/// A sign of life on stderr, from a program that git started.
fn tell(text: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "envctl: {text}");
}

/// This program.
fn program() -> Result<PathBuf> {
    let path = std::env::current_exe().context("cannot find the program envctl")?;
    // One that was replaced meanwhile may read orders in another way.
    if path.exists() { Ok(path) } else { Ok(PathBuf::from(format!("/proc/{}/exe", std::process::id()))) }
}
