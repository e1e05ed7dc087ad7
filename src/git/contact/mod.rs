//! The one way to a remote. Before git is started it is asked where it would go,
//! with the developer's own rules, and that place has to be allowed. While it
//! runs, the place is compared once more where the contact is made: ssh is
//! started by us (see `ssh`), a credential helper of ours answers for this
//! place only and asks the developer's (see `credential`), and redirects
//! are not followed by git but judged here. Whatever git starts is watched, and
//! ends with us (see `guard`).

mod coming;
mod credential;
mod guard;
mod lend;
mod lfs;
mod login;
mod netrc;
mod order;
mod own;
mod redirect;
mod ssh;
mod way;

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::lfs::Pointer;
use super::{Call, Git, MAX_WORDS, complaint};
use crate::env::Env;
use crate::error::{of_thread, unreachable};
use crate::identity::{RepoUrl, Scheme};
use crate::web::Proxies;
use order::Order;
use own::Own;
use way::WebSettings;

pub use coming::{Coming, Heard};
pub use lend::{Loan, Logins};
pub use order::{Manner, this_program};
pub use way::{Contact, ContactOutcome, Judge, Way};

/// No answer of a remote that is read whole is longer, in bytes.
const MAX_OUTPUT: u64 = 64 << 20;

/// So often a remote may send git on.
const MAX_REDIRECTS: usize = 2;

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
        work: &dyn Fn(&Contact<'_>) -> Result<ContactOutcome>,
    ) -> Result<ContactOutcome> {
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
            login::remember_what_git_finds(&own, &way.real, order.home());
            let contact = Contact {
                git: self,
                order,
                target: url.to_string(),
                scheme: way.real.scheme(),
                ssh_variant: own.variant(),
                own: Some(own),
                ground: git_dir.to_owned(),
            };
            let answer = work(&contact)?;
            match answer.onward {
                Some(onward) if onward != way.real => url = onward,
                _ => return Ok(answer),
            }
        }
        Err(unreachable(format!("{url} redirects git again and again")).into())
    }

    /// The way to a folder that the developer stands in; nobody else named it.
    pub fn beside(&self, folder: &str) -> Result<Contact<'_>> {
        let manner = Manner { interactive: false, patience: Duration::from_secs(3600), most: u64::MAX, needed: true };
        let (order, target) = (Order::folder(manner, &self.own)?, folder.to_owned());
        let (ssh_variant, ground) = ("ssh".into(), PathBuf::from("/"));
        Ok(Contact { git: self, order, target, scheme: Scheme::File, ssh_variant, own: None, ground })
    }
}

impl Contact<'_> {
    /// What stands for the remote among the arguments.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Lists: runs git in `git_dir` with these arguments, which name
    /// [`Contact::target`].
    ///
    /// # Errors
    /// When git cannot be started.
    pub fn list(&self, git_dir: &Path, args: &[&str]) -> Result<ContactOutcome> {
        self.run(git_dir, self.order.clone(), &[], args, &|_| {})
    }

    /// Fetches into `git_dir`, a repository in which nothing is yet; `heard` is told
    /// how far it has come, if the arguments ask for `--progress`.
    ///
    /// # Errors
    /// When git cannot be started.
    pub fn fetch(
        &self,
        git_dir: &Path,
        env: &[(&str, &Path)],
        args: &[&str],
        heard: Heard<'_>,
    ) -> Result<ContactOutcome> {
        let order = Order { into: Some(git_dir.join("objects")), ..self.order.clone() };
        self.run(git_dir, order, env, args, heard)
    }

    fn run(
        &self,
        git_dir: &Path,
        order: Order,
        env: &[(&str, &Path)],
        args: &[&str],
        heard: Heard<'_>,
    ) -> Result<ContactOutcome> {
        let trace = tempfile::NamedTempFile::new().context("cannot create a temporary file")?;
        let mut call = self.call(git_dir).args(args);
        if matches!(self.scheme, Scheme::Http | Scheme::Https) {
            call = call.env("GIT_TRACE_CURL", trace.path()).env("GIT_TRACE_CURL_NO_DATA", "1");
        }
        for (name, value) in env {
            call = call.env(name, value);
        }
        let mut answer = self.supervise(call, order, heard)?;
        if !answer.ok {
            answer.onward = redirect::found(trace.as_file(), &self.order)?;
        }
        Ok(answer)
    }

    /// Gets contents of large files and has each of them kept; what cannot be had
    /// is the answer's complaint.
    ///
    /// # Errors
    /// None at present: whatever fails is told.
    pub fn contents(
        &self,
        wanted: &[&Pointer],
        keep: &(dyn Fn(&Pointer, &mut dyn Read) -> Result<()> + Sync),
    ) -> Result<ContactOutcome> {
        let fetched = lfs::fetch(self, wanted, keep);
        let complaint = fetched.as_ref().err().map(|error| format!("{error:#}")).unwrap_or_default();
        Ok(ContactOutcome { ok: fetched.is_ok(), stdout: Vec::new(), complaint, given_up: false, onward: None })
    }

    /// The folder of a repository on this machine.
    fn folder(&self) -> Result<PathBuf> {
        match self.order.address() {
            Some(address) => Ok(address.path().context("the folder's name is not valid UTF-8")?.into()),
            None => Ok(self.target.clone().into()),
        }
    }

    /// What git would do for an address: its proxy, certificates and headers.
    fn web_settings(&self, url: &reqwest::Url) -> Result<WebSettings> {
        let mut settings = WebSettings { proxies: self.git.proxies.clone(), ..WebSettings::default() };
        let call = self.git.at(&self.ground).args(["config", "--null", "--get-urlmatch", "http", url.as_str()]);
        let listed = call.output(b"")?.stdout;
        for entry in String::from_utf8_lossy(&listed).split('\0') {
            let Some((key, value)) = entry.split_once('\n') else { continue };
            match key.rsplit('.').next().unwrap_or_default() {
                "proxy" if value.is_empty() => settings.proxies = Proxies::default(),
                "proxy" => {
                    let none = settings.proxies.none.take();
                    settings.proxies = Proxies { https: Some(value.into()), http: Some(value.into()), none };
                }
                "sslcainfo" => settings.ca = Some(self.at_home(value)),
                "extraheader" => settings.headers.extend(header(value)),
                _ => {}
            }
        }
        let variable = self.own.as_ref().and_then(|own| own.variable("GIT_SSL_CAINFO"));
        settings.ca = variable.map(PathBuf::from).or(settings.ca);
        Ok(settings)
    }

    fn at_home(&self, path: &str) -> PathBuf {
        match (path.strip_prefix("~/"), self.order.home()) {
            (Some(rest), Some(home)) => home.join(rest),
            _ => path.into(),
        }
    }

    fn call(&self, git_dir: &Path) -> Call {
        let ours = format!("!{}", order::shell(&self.order.program, "git-credential"));
        let mut call = self.git.at(git_dir);
        // The narrowest settings win. On a command line a name would end at the
        // first `=`, which an address may have.
        for (n, url) in [&self.target, &self.order.real].into_iter().enumerate() {
            call = call.env(&format!("GIT_CONFIG_KEY_{n}"), format!("http.{url}.followRedirects"));
            call = call.env(&format!("GIT_CONFIG_VALUE_{n}"), "false").env("GIT_CONFIG_COUNT", (n + 1).to_string());
        }
        for setting in [
            "protocol.version=2",
            "http.followRedirects=false",
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
    fn supervise(&self, call: Call, order: Order, heard: Heard<'_>) -> Result<ContactOutcome> {
        let mut command = self.guarded();
        command.arg(call.command.get_program()).args(call.command.get_args());
        for (name, value) in call.command.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.current_dir(call.command.get_current_dir().unwrap_or(Path::new("/")));
        self.wait(command, order, (&call.name(), b""), heard)
    }

    /// Runs a program that is none of git's own below a guard: what git would
    /// start for it.
    fn started(&self, program: &Path, words: &[&str], input: &[u8]) -> Result<ContactOutcome> {
        let mut command = self.guarded();
        command.arg(program).args(words).current_dir("/");
        for name in &self.git.foreign {
            command.env_remove(name);
        }
        self.wait(command, self.order.clone(), (words.first().unwrap_or(&"a program"), input), &|_| {})
    }

    fn guarded(&self) -> Command {
        let mut command = Command::new(&self.order.program);
        command.arg("git-guard");
        if !self.order.interactive {
            command.env_remove("SSH_ASKPASS");
        }
        command
    }

    fn wait(
        &self,
        mut command: Command,
        mut order: Order,
        (name, input): (&str, &[u8]),
        heard: Heard<'_>,
    ) -> Result<ContactOutcome> {
        let ears = rustix::fs::memfd_create("envctl-passwords", rustix::fs::MemfdFlags::CLOEXEC);
        let mut ears = File::from(ears.context("cannot make room for what must not be printed")?);
        let place = format!("/proc/{}/fd/{}", std::process::id(), ears.as_raw_fd());
        order.ears = Some(place.into());
        command.env(order::VARIABLE, order.to_text()?);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let begun = Instant::now();
        let mut child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (stdout, stderr) = std::thread::scope(|scope| {
            let read = |pipe: &mut dyn Read, most| {
                let mut bytes = Vec::new();
                pipe.take(most).read_to_end(&mut bytes).map(|_| bytes).unwrap_or_default()
            };
            // Who does not want it may have gone.
            scope.spawn(move || stdin.map(|mut pipe| pipe.write_all(input)));
            let answer = scope.spawn(move || stdout.map(|mut pipe| read(&mut pipe, MAX_OUTPUT)).unwrap_or_default());
            let words = stderr.map(|pipe| coming::listen(pipe, MAX_WORDS, heard)).unwrap_or_default();
            (of_thread(answer.join(), "the thread that reads what git answers"), words)
        });
        let (status, stdout) = (child.wait().with_context(|| format!("cannot wait for {name}"))?, stdout?);
        let ms = begun.elapsed().as_millis() as u64;
        tracing::debug!(ms, code = status.code(), "{name} goes to {}", self.target);
        let mut passwords = String::new();
        if ears.rewind().and_then(|()| ears.read_to_string(&mut passwords)).is_ok() {
            login::remember_words(&passwords);
        }
        let code = status.code().filter(|code| guard::REASONS.contains(code));
        let complaint = code.map_or_else(|| complaint(&stderr), |code| guard::reason(code, &order));
        Ok(ContactOutcome { ok: status.success(), stdout, complaint, given_up: code.is_some(), onward: None })
    }
}

/// The name and the value of a header that a setting holds.
fn header(text: &str) -> Option<(String, String)> {
    let (name, value) = text.split_once(':')?;
    Some((name.trim().to_owned(), value.trim().to_owned()))
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
