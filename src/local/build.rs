//! Builds an image with the engine that is here: docker or podman, by their own
//! programs, so that the developer's settings, logins and builders count. Features are
//! added by the program `devcontainer`, which calls the engine.
//!
//! Invariants: the program gets words that were checked, and folders that are ours.
//! A secret reaches it as a variable of its environment and in no other way. It has a
//! time, and what is kept of what it says has a size.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::engine::{Engine, EnginePlaces};
use crate::error::{Detail, Fault, cut, failure};
use crate::identity::EngineKind;
use crate::secret::{Secret, hide};

/// How often whoever waits is told that it goes on.
const BEAT: Duration = Duration::from_millis(250);

/// Lines of an engine that are shown when it fails.
const LAST: usize = 15;

/// Bytes of one of its lines.
const MAX_LINE: u64 = 64 << 10;

/// Bytes of all that it says that are kept.
const MAX_LOG: u64 = 64 << 20;

/// How long podman may take to say where it keeps images.
const ANSWER: Duration = Duration::from_secs(30);

/// How long an engine that is asked to end may take before it is killed.
const GRACE: Duration = Duration::from_secs(10);

/// An engine that can build.
#[derive(Debug)]
pub struct Builder {
    kind: EngineKind,
    program: PathBuf,
    socket: Option<PathBuf>,
}

/// What is built.
#[derive(Clone, Debug)]
pub struct BuildOrder<'a> {
    /// The developer's home folder, with rules for images.
    pub home: Option<&'a Path>,
    /// The Dockerfile.
    pub dockerfile: &'a Path,
    /// The folder that it copies from.
    pub context: &'a Path,
    /// Values of its arguments.
    pub args: &'a BTreeMap<String, String>,
    /// The stage.
    pub target: Option<&'a str>,
    /// What it may mount.
    pub secrets: &'a [(String, Secret)],
    /// What the image is called in the engine.
    pub tag: &'a str,
}

/// What `devcontainer build` makes.
#[derive(Clone, Debug)]
pub struct FeatureOrder<'a> {
    /// The program.
    pub program: &'a Path,
    /// The folder that stands for the project.
    pub workspace: &'a Path,
    /// The `devcontainer.json`.
    pub config: &'a Path,
    /// What the image is called in the engine.
    pub tag: &'a str,
}

/// Told what the engine says; nothing, when time passes.
pub type Said<'a> = &'a mut dyn FnMut(Option<&str>);

impl Builder {
    /// docker, if it answers and its program is here; else podman.
    ///
    /// # Errors
    /// [`crate::error::Kind::Unreachable`] when there is neither.
    pub fn find(docker: (Option<PathBuf>, &EnginePlaces), podman: &EnginePlaces) -> Result<Self> {
        let (program, places) = docker;
        let found = Engine::find(EngineKind::Docker, places);
        let answers = found.as_ref().is_ok_and(Engine::answers);
        if let (Ok(engine), Some(program), true) = (&found, program, answers) {
            let socket = engine.socket().map(Path::to_owned);
            return Ok(Builder { kind: EngineKind::Docker, program, socket });
        }
        if let Some(program) = &podman.program {
            return Ok(Builder { kind: EngineKind::Podman, program: program.clone(), socket: None });
        }
        let why = match (&found, answers) {
            (Err(error), _) => cut(&error.to_string()),
            (Ok(_), false) => "docker does not answer".into(),
            (Ok(_), true) => "there is no program docker on the PATH".into(),
        };
        Err(crate::error::unreachable(format!(
            "nothing here can build the image: {why}, and there is no program podman"
        ))
        .hint("start docker, or install podman; or build the image elsewhere, and name it: --image")
        .into())
    }

    /// Which it is.
    pub fn kind(&self) -> EngineKind {
        self.kind
    }

    /// What is run, as people write it.
    pub fn line(&self, build: &BuildOrder<'_>) -> String {
        let words = self.words(build).into_iter().map(|word| word.to_string_lossy().into_owned());
        std::iter::once(self.kind.to_string()).chain(words).collect::<Vec<_>>().join(" ")
    }

    fn words(&self, build: &BuildOrder<'_>) -> Vec<OsString> {
        let mut words: Vec<OsString> = Vec::new();
        if let Some(socket) = &self.socket {
            words.extend(["--host".into(), format!("unix://{}", socket.display()).into()]);
        }
        words.extend(["build".into(), "--file".into(), build.dockerfile.into(), "--tag".into(), build.tag.into()]);
        for (name, value) in build.args {
            words.extend(["--build-arg".into(), format!("{name}={value}").into()]);
        }
        if let Some(target) = build.target {
            words.extend(["--target".into(), target.into()]);
        }
        let form = if self.kind == EngineKind::Podman { "type=env,env" } else { "env" };
        for (name, _) in build.secrets {
            words.extend(["--secret".into(), format!("id={name},{form}={}", variable(name)).into()]);
        }
        words.push(build.context.into());
        words
    }

    /// Builds for as long as `time`. All that the engine says goes to `said`, and the
    /// beginning of it to `log`.
    ///
    /// # Errors
    /// With its last words.
    pub fn build(&self, build: &BuildOrder<'_>, time: Duration, log: &mut dyn Write, said: Said<'_>) -> Result<()> {
        let mut command = Command::new(&self.program);
        let mut words = self.words(build);
        // It lives as long as the build.
        let _policy = match self.kind {
            EngineKind::Docker => None,
            EngineKind::Podman => {
                let file = policy(build.home, self.graph_root().as_deref())?;
                words.splice(1..1, ["--signature-policy".into(), file.path().into()]);
                Some(file)
            }
        };
        command.args(words);
        if self.kind == EngineKind::Docker && !build.secrets.is_empty() {
            // The older builder knows no secrets.
            command.env("DOCKER_BUILDKIT", "1");
        }
        command.envs(build.secrets.iter().map(|(name, value)| (variable(name), value.expose())));
        self.run(command, time, log, said)
    }

    /// Where podman keeps images: when it has made each step before, it copies the image
    /// from there.
    fn graph_root(&self) -> Option<String> {
        let mut command = Command::new(&self.program);
        command.args(["info", "--format", "{{.Store.GraphRoot}}"]);
        let mut root = None;
        let mut said =
            |line: Option<&str>| root = line.filter(|line| line.starts_with('/')).map(str::to_owned).or(root.take());
        self.run(command, ANSWER, &mut std::io::sink(), &mut said).ok()?;
        root
    }

    /// What is run to add features, as people write it.
    pub fn feature_line(&self, order: &FeatureOrder<'_>) -> String {
        let words = self.feature_words(order).into_iter().map(|word| word.to_string_lossy().into_owned());
        std::iter::once("devcontainer".to_owned()).chain(words).collect::<Vec<_>>().join(" ")
    }

    fn feature_words(&self, order: &FeatureOrder<'_>) -> Vec<OsString> {
        let mut words: Vec<OsString> = vec!["build".into(), "--workspace-folder".into(), order.workspace.into()];
        words.extend(["--config".into(), order.config.into(), "--image-name".into(), order.tag.into()]);
        words.extend(["--docker-path".into(), self.program.clone().into(), "--log-format".into(), "text".into()]);
        words
    }

    /// Adds features. It is told as [`Builder::build`] tells.
    ///
    /// # Errors
    /// With the last words of the program.
    pub fn add_features(
        &self,
        order: &FeatureOrder<'_>,
        time: Duration,
        log: &mut dyn Write,
        said: Said<'_>,
    ) -> Result<()> {
        let mut command = Command::new(order.program);
        command.args(self.feature_words(order));
        if let Some(socket) = &self.socket {
            command.env("DOCKER_HOST", format!("unix://{}", socket.display()));
        }
        self.run(command, time, log, said)
    }

    fn run(&self, mut command: Command, time: Duration, log: &mut dyn Write, said: Said<'_>) -> Result<()> {
        let program = command.get_program().to_owned();
        let (reader, writer) = std::io::pipe().context("cannot make a pipe")?;
        command.stdin(Stdio::null());
        // Lines instead of a drawing, and an image instead of an index with evidence
        // about it.
        command.env("BUILDKIT_PROGRESS", "plain").env("BUILDX_NO_DEFAULT_ATTESTATIONS", "1");
        command.env("DOCKER_CLI_HINTS", "false");
        // The client would ask git about the context, and git obeys what lies there: a
        // stranger's files.
        command.env("BUILDX_GIT_INFO", "false").env("BUILDX_GIT_LABELS", "false").env("GIT_DIR", "/dev/null");
        command.env("GIT_CONFIG_COUNT", "1").env("GIT_CONFIG_KEY_0", "safe.bareRepository");
        command.env("GIT_CONFIG_VALUE_0", "explicit").current_dir("/");
        command.stdout(writer.try_clone()?).stderr(writer);
        let mut child = command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
        // It holds the other end of the pipe.
        drop(command);
        let end = Instant::now().checked_add(time);
        let (last, in_time) = match follow(reader, (end, MAX_LOG), log, said) {
            Ok(followed) => followed,
            Err(error) => {
                end_of(&mut child);
                return Err(error);
            }
        };
        if !in_time {
            end_of(&mut child);
            let took = format!("it took longer than {} s", time.as_secs());
            return Err(self.failed(&took, &last).hint("build.timeout in config.toml gives it more time").into());
        }
        let status = child.wait()?;
        if status.success() {
            return Ok(());
        }
        Err(self.failed(&status.to_string(), &last).into())
    }

    fn failed(&self, how: &str, last: &[String]) -> Fault {
        let detail = |line: &String| Detail { text: line.clone(), data: line.clone().into() };
        failure(format!("{} cannot build the image ({how})", self.kind)).details(last.iter().map(detail).collect())
    }
}

/// Asks a program to end, so that it can take along what it started, and then ends it.
fn end_of(child: &mut Child) {
    let pid = rustix::process::Pid::from_child(child);
    let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    let until = Instant::now() + GRACE;
    while Instant::now() < until {
        if !matches!(child.try_wait(), Ok(None)) {
            return;
        }
        std::thread::sleep(BEAT);
    }
    let _ = child.kill();
    let _ = child.wait();
}

/// A variable that means nothing to the engine, whatever the project calls its secret.
fn variable(secret: &str) -> String {
    format!("ENVCTL_SECRET_{secret}")
}

/// Passes lines on until there are no more, or it is `end`; the last of them, and whether
/// it was in time. Of all that is said `most` bytes are kept.
fn follow(
    reader: impl Read + Send + 'static,
    (end, most): (Option<Instant>, u64),
    log: &mut dyn Write,
    said: Said<'_>,
) -> Result<(Vec<String>, bool)> {
    let (mut last, mut kept): (Vec<String>, u64) = (Vec::new(), 0);
    let (send, lines) = mpsc::sync_channel::<String>(64);
    // It ends with the pipe, which what an engine started may keep open after it.
    std::thread::spawn(move || {
        let mut reader = BufReader::new(reader);
        let mut line = Vec::new();
        while reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            line.clear();
            if send.send(text).is_err() {
                break;
            }
        }
    });
    loop {
        if end.is_some_and(|end| Instant::now() >= end) {
            return Ok((last, false));
        }
        match lines.recv_timeout(BEAT) {
            Ok(line) => {
                let line = hide(&line);
                let before = kept;
                kept = kept.saturating_add(line.len() as u64 + 1);
                let wrote = match (kept <= most, before <= most) {
                    (true, _) => writeln!(log, "{line}"),
                    (false, true) => writeln!(log, "(what was said after this is not kept)"),
                    (false, false) => Ok(()),
                };
                wrote.context("cannot write the log of the build")?;
                if line.trim().is_empty() {
                    continue;
                }
                said(Some(&line));
                last.push(line.to_string());
                if last.len() > LAST {
                    last.remove(0);
                }
            }
            Err(RecvTimeoutError::Timeout) => said(None),
            Err(RecvTimeoutError::Disconnected) => return Ok((last, true)),
        }
    }
}

/// What podman may build on: images of registries, by the rules of this machine, and no
/// folder or archive that a Dockerfile names (`containers-policy.json(5)`). Of its own
/// images it takes what it has just built; a Dockerfile that names one is refused before.
fn policy(home: Option<&Path>, graph_root: Option<&str>) -> Result<tempfile::NamedTempFile> {
    let own = home.map(|home| home.join(".config/containers/policy.json"));
    let places = own.into_iter().chain([PathBuf::from("/etc/containers/policy.json")]);
    let text = places.filter_map(|place| std::fs::read(place).ok()).next();
    let mut file = tempfile::Builder::new().prefix(".envctl-policy-").tempfile().context("cannot make a file")?;
    let rules = registries_alone(text.as_deref(), graph_root);
    file.write_all(rules.to_string().as_bytes()).context("cannot write a file")?;
    Ok(file)
}

/// The rules of a machine, for registries alone.
fn registries_alone(rules: Option<&[u8]>, graph_root: Option<&str>) -> serde_json::Value {
    let rules: serde_json::Value = rules.and_then(|text| serde_json::from_slice(text).ok()).unwrap_or_default();
    let anything = serde_json::json!([{ "type": "insecureAcceptAnything" }]);
    let usual = rules.get("default").cloned().unwrap_or_else(|| anything.clone());
    let mut docker = serde_json::Map::from_iter([(String::new(), usual)]);
    docker.extend(rules["transports"]["docker"].as_object().cloned().unwrap_or_default());
    let own = graph_root.map(|root| (format!("[{root}]"), anything));
    let own: serde_json::Map<_, _> = own.into_iter().collect();
    serde_json::json!({
        "default": [{ "type": "reject" }],
        "transports": { "docker": docker, "containers-storage": own },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn podman_builds_by_the_rules_of_this_machine_and_on_registries_alone() {
        let reject = serde_json::json!([{ "type": "reject" }]);
        assert_eq!(registries_alone(None, None)["default"], reject);
        assert_eq!(registries_alone(None, None)["transports"]["docker"][""][0]["type"], "insecureAcceptAnything");
        let own = br#"{"default":[{"type":"reject"}],"transports":{"docker":{"r.example":[{"type":"signedBy"}]},"oci":{"":[]}}}"#;
        let rules = registries_alone(Some(own), Some("/graph"));
        assert_eq!((&rules["default"], &rules["transports"]["docker"][""]), (&reject, &reject));
        assert_eq!(rules["transports"]["docker"]["r.example"][0]["type"], "signedBy");
        assert!(rules["transports"].get("oci").is_none());
        assert_eq!(rules["transports"]["containers-storage"]["[/graph]"][0]["type"], "insecureAcceptAnything");
    }

    #[test]
    fn an_engine_gets_words_and_no_values_of_secrets() {
        let args = BTreeMap::from([("A".to_owned(), "1 2".to_owned())]);
        let secrets = [("NPM_TOKEN".to_owned(), Secret::new("a-value-that-is-secret".into()))];
        let order = BuildOrder {
            home: None,
            dockerfile: Path::new("/x/Dockerfile"),
            context: Path::new("/x/context"),
            args: &args,
            target: Some("dev"),
            secrets: &secrets,
            tag: "envctl-build:1",
        };
        let builder = |kind, socket| Builder { kind, program: "/bin/true".into(), socket };
        assert_eq!(
            builder(EngineKind::Docker, Some("/run/d.sock".into())).line(&order),
            "docker --host unix:///run/d.sock build --file /x/Dockerfile --tag envctl-build:1 --build-arg A=1 2 \
             --target dev --secret id=NPM_TOKEN,env=ENVCTL_SECRET_NPM_TOKEN /x/context"
        );
        assert_eq!(
            builder(EngineKind::Podman, None).line(&order),
            "podman build --file /x/Dockerfile --tag envctl-build:1 --build-arg A=1 2 \
             --target dev --secret id=NPM_TOKEN,type=env,env=ENVCTL_SECRET_NPM_TOKEN /x/context"
        );
    }

    #[test]
    fn what_an_engine_says_last_is_kept() {
        let text: String = (0..100).map(|n| format!("line {n}\r\n\n")).collect();
        let (mut log, mut count) = (Vec::new(), 0);
        let mut said = |line: Option<&str>| count += usize::from(line.is_some());
        let (last, in_time) = follow(std::io::Cursor::new(text), (None, MAX_LOG), &mut log, &mut said).unwrap();
        assert_eq!((last.len(), last[LAST - 1].as_str(), count, in_time), (LAST, "line 99", 100, true));
        assert_eq!(String::from_utf8(log).unwrap().lines().count(), 200);
    }

    #[test]
    fn what_is_kept_of_a_log_has_a_bound_and_a_build_has_a_time() {
        let line = format!("{}\n", "x".repeat(1 << 12));
        let (text, most, mut log) = (line.repeat(164), 1 << 18, Vec::new());
        let (last, _) = follow(std::io::Cursor::new(text), (None, most), &mut log, &mut |_| {}).unwrap();
        assert!(last.len() == LAST && log.len() as u64 <= most + 100, "{}", log.len());
        assert!(log.ends_with(b"(what was said after this is not kept)\n"));
        let builder = Builder { kind: EngineKind::Podman, program: "/bin/sh".into(), socket: None };
        let mut command = Command::new("sh");
        command.args(["-c", "echo begun; sleep 1000"]);
        let error = builder.run(command, Duration::from_millis(300), &mut Vec::new(), &mut |_| {}).unwrap_err();
        let details = crate::error::details_of(&error);
        assert!(format!("{error:#}").contains("took longer") && details[0].text == "begun", "{error:#}");
    }
}
