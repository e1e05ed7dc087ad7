//! Programs that run beside the command: started by pid 1 before anything
//! else, in order, each when the one before is ready, and ended in the
//! opposite order.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions};

use super::inside::Inside;
use super::process;
use super::rootfs::{OwnImage, ServiceRoot};
use crate::error::failure;
use crate::runtime::deadline::monotonic_now;
use crate::runtime::wire::{EndedService, Run, Word};

/// Where the logs are, below `/run` inside.
const LOGS: [&str; 2] = ["envctl", "services"];

/// Milliseconds between two looks.
const LOOK: u64 = 5;

/// Bytes of a log that an error shows.
const TAIL: u64 = 2048;

/// A service of a runtime.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceSpec {
    /// Its name.
    pub name: String,
    /// Program and arguments.
    pub command: Vec<String>,
    /// The image that it has of its own.
    pub image: Option<OwnImage>,
    /// Variables of it.
    pub env: Vec<(String, String)>,
    /// When it is ready; without, as soon as it runs.
    pub ready: Option<ReadyCheck>,
    /// How long that may take.
    pub timeout: Duration,
    /// How long it may take to end by itself.
    pub stop: Option<Duration>,
}

/// When a service is ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadyCheck {
    /// Something listens on this port.
    Tcp(u16),
    /// This file exists.
    File(String),
    /// This shell command succeeds.
    Command(String),
}

/// A service that runs.
pub(crate) struct RunningService {
    pub(crate) pid: Pid,
    name: String,
    stop: Option<Duration>,
    log: File,
}

impl RunningService {
    /// That it ended, and how.
    pub(crate) fn ended(&mut self, code: u8) -> EndedService {
        EndedService { name: self.name.clone(), code, said: tail(&mut self.log) }
    }
}

/// What services write to and read from, made before anything runs inside: a
/// service could lay a link where the log of the next one is to be.
pub(crate) struct ServiceStreams {
    logs: Vec<File>,
    null: OwnedFd,
}

impl ServiceStreams {
    /// Makes the logs.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(crate) fn make(inside: &Inside, wanted: &[ServiceSpec]) -> Result<Self> {
        let null = inside.open(Path::new("/dev/null"), OFlags::RDWR)?;
        let logs = if wanted.is_empty() {
            Vec::new()
        } else {
            make_logs(inside, wanted).context("cannot make the logs of services")?
        };
        Ok(ServiceStreams { logs, null })
    }

    pub(crate) fn raw_fds(&self) -> Vec<RawFd> {
        self.logs.iter().map(AsRawFd::as_raw_fd).chain([self.null.as_raw_fd()]).collect()
    }
}

fn make_logs(inside: &Inside, wanted: &[ServiceSpec]) -> Result<Vec<File>> {
    let mut folder = inside.run.try_clone()?;
    for name in LOGS {
        match rustix::fs::mkdirat(&folder, name, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        folder = rustix::fs::openat2(&folder, name, flags, Mode::empty(), resolve)?;
    }
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::APPEND | OFlags::RDWR | OFlags::CLOEXEC;
    let make = |spec: &ServiceSpec| {
        let name = format!("{}.log", spec.name);
        Ok(rustix::fs::openat(&folder, name, flags, Mode::from_raw_mode(0o644))?.into())
    };
    wanted.iter().map(make).collect()
}

/// Starts all of them.
///
/// # Errors
/// When one does not start, ends, or is not ready in time: with the end of its
/// log.
pub(crate) fn start(
    context: &process::Context,
    inside: &Inside,
    wanted: &[ServiceSpec],
    streams: ServiceStreams,
    beside: Vec<Option<ServiceRoot>>,
) -> Result<Vec<RunningService>> {
    let mut running = Vec::new();
    for ((spec, mut log), beside) in wanted.iter().zip(streams.logs).zip(beside) {
        let own = spec.image.as_ref().map(|own| process::Context {
            account: own.account.clone(),
            env: own.env.clone(),
            workdir: own.workdir.clone(),
            ..context.clone()
        });
        let context = own.as_ref().unwrap_or(context);
        let streams = |out: &dyn AsFd| -> Result<Vec<OwnedFd>> {
            let out = || out.as_fd().try_clone_to_owned();
            Ok(vec![streams.null.try_clone()?, out()?, out()?])
        };
        let run = run_of(&spec.command, &spec.env);
        let started = match &beside {
            None => spawn(context, inside, &run, streams(&log)?).map(|pid| (pid, None)),
            Some(files) => process::start_beside(context, files, &run, streams(&log)?)
                .map(|(pid, first)| (pid, Some(first)))
                .map_err(why),
        };
        let (pid, first) = started
            .map_err(|error| failure(format!("cannot start the service {}: {error:#}", spec.name)).hint(WITHOUT))?;
        let view = beside.as_ref().map(ServiceRoot::look).transpose()?;
        let look = |ready: &ReadyCheck, until| {
            let null = || inside.open(Path::new("/dev/null"), OFlags::RDWR).map_err(anyhow::Error::from);
            let ask = |command: &[String]| {
                let run = run_of(command, &[]);
                match &first {
                    None => spawn(context, inside, &run, streams(&null()?)?),
                    Some(first) => process::start_with(context, first.as_fd(), &run, streams(&null()?)?).map_err(why),
                }
            };
            is_ready(context, view.as_ref().unwrap_or(inside), (ready, until), ask)
        };
        await_ready(spec, pid, look).map_err(|why| {
            let text = tail(&mut log);
            let what = format!("the service {} {why}", spec.name);
            let fault = match text.is_empty() {
                true => failure(what),
                false => failure(format!("{what}; it said: {text}")),
            };
            fault.hint(WITHOUT)
        })?;
        running.push(RunningService { pid, name: spec.name.clone(), stop: spec.stop, log });
    }
    Ok(running)
}

/// What helps when one does not start.
const WITHOUT: &str =
    "to look at it from inside, go on without services: --no-services; [[service]] in envctl.toml says how it starts";

/// Ends services, last first, as far as they may take time for it.
pub(crate) fn stop(services: &[RunningService]) {
    for service in services.iter().rev() {
        let Some(most) = service.stop else { continue };
        let _ = rustix::process::kill_process(service.pid, Signal::TERM);
        let until = monotonic_now() + most.as_millis() as u64;
        while monotonic_now() < until && !ended(service.pid) {
            std::thread::sleep(Duration::from_millis(LOOK));
        }
        let _ = rustix::process::kill_process(service.pid, Signal::KILL);
    }
}

fn spawn(context: &process::Context, inside: &Inside, run: &Run, streams: Vec<OwnedFd>) -> Result<Pid> {
    // Nobody would answer it: pid 1 waits until it is ready.
    process::start(context, inside, run, streams, false).map(|started| started.pid).map_err(why)
}

fn run_of(command: &[String], env: &[(String, String)]) -> Run {
    Run { command: command.iter().map(|word| Word(word.into())).collect(), env: env.to_vec(), ..Run::default() }
}

fn why(why: process::NotStarted) -> anyhow::Error {
    anyhow::anyhow!("{}: {}", why.program, std::io::Error::from_raw_os_error(why.errno))
}

fn await_ready(spec: &ServiceSpec, pid: Pid, is_ready: impl Fn(&ReadyCheck, u64) -> bool) -> Result<(), String> {
    let Some(ready) = &spec.ready else { return Ok(()) };
    let until = monotonic_now() + spec.timeout.as_millis() as u64;
    loop {
        if is_ready(ready, until) {
            return Ok(());
        }
        if ended(pid) {
            return Err("ended before it was ready".into());
        }
        if monotonic_now() >= until {
            return Err(format!("was not ready after {}", crate::quantity::human_duration(spec.timeout)));
        }
        std::thread::sleep(Duration::from_millis(LOOK));
    }
}

fn is_ready(
    context: &process::Context,
    inside: &Inside,
    (ready, until): (&ReadyCheck, u64),
    run: impl Fn(&[String]) -> Result<Pid>,
) -> bool {
    match ready {
        ReadyCheck::Tcp(port) => {
            let addresses = [SocketAddr::from((Ipv4Addr::LOCALHOST, *port)), (Ipv6Addr::LOCALHOST, *port).into()];
            addresses.iter().any(|address| TcpStream::connect_timeout(address, Duration::from_secs(1)).is_ok())
        }
        ReadyCheck::File(path) => inside.exists(&Path::new(&context.workdir).join(path)),
        ReadyCheck::Command(command) => {
            let started = run(&["/bin/sh".to_owned(), "-c".to_owned(), command.clone()]);
            started.is_ok_and(|pid| succeeds(pid, until))
        }
    }
}

/// Whether a command ends well. One that never ends, or that others inside have
/// stopped, is killed when the time is over.
fn succeeds(pid: Pid, until: u64) -> bool {
    let mut pause = Duration::from_millis(1);
    loop {
        match rustix::process::waitpid(Some(pid), WaitOptions::NOHANG) {
            Ok(None) if monotonic_now() < until => {}
            Ok(None) => {
                let _ = rustix::process::kill_process(pid, Signal::KILL);
                let _ = rustix::process::waitpid(Some(pid), WaitOptions::empty());
                return false;
            }
            other => return other.ok().flatten().is_some_and(|(_, status)| status.exit_status() == Some(0)),
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(LOOK));
    }
}

/// Whether a process has ended; it is reaped then.
fn ended(pid: Pid) -> bool {
    !matches!(rustix::process::waitpid(Some(pid), WaitOptions::NOHANG), Ok(None))
}

fn tail(log: &mut File) -> String {
    let length = log.metadata().map_or(0, |meta| meta.len());
    let mut bytes = Vec::new();
    if log.seek(SeekFrom::Start(length.saturating_sub(TAIL))).is_ok() {
        let _ = log.take(TAIL).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_never_says_whether_a_service_is_ready_is_ended() {
        let run = |command: &str, until: u64| {
            let mut child = std::process::Command::new("sh").args(["-c", command]).spawn().unwrap();
            let ended = succeeds(Pid::from_raw(child.id() as i32).unwrap(), until);
            // It has been waited for.
            assert!(child.wait().is_err());
            ended
        };
        assert!(!run("exec sleep 1000", monotonic_now()));
        assert!(run("exit 0", monotonic_now() + 60_000));
        assert!(!run("exit 1", monotonic_now() + 60_000));
    }
}
