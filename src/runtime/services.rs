//! Programs that run beside the command: started by pid 1 before anything
//! else, in order, each when the one before is ready, and ended in the
//! opposite order.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal, WaitOptions};

use super::deadline::monotonic_now;
use super::process;
use super::wire::Run;
use crate::error::failure;

/// Where the logs are, inside.
const LOGS: &str = "/run/envctl/services";

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
    /// Variables of it.
    pub env: Vec<(String, String)>,
    /// When it is ready; without, as soon as it runs.
    pub ready: Option<Ready>,
    /// How long that may take.
    pub timeout: Duration,
    /// How long it may take to end by itself.
    pub stop: Option<Duration>,
}

/// When a service is ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ready {
    /// Something listens on this port.
    Tcp(u16),
    /// This file exists.
    File(String),
    /// This shell command succeeds.
    Command(String),
}

/// A service that runs.
pub(super) struct Service {
    pub(super) pid: Pid,
    stop: Option<Duration>,
}

/// Starts all of them.
///
/// # Errors
/// When one does not start, ends, or is not ready in time: with the end of its
/// log.
pub(super) fn start(context: &process::Context, wanted: &[ServiceSpec]) -> Result<Vec<Service>> {
    let mut running = Vec::new();
    if !wanted.is_empty() {
        fs::create_dir_all(LOGS).with_context(|| format!("cannot create {LOGS}"))?;
    }
    for spec in wanted {
        let path = format!("{LOGS}/{}.log", spec.name);
        let mut log = OpenOptions::new().create(true).append(true).read(true).mode(0o644).open(&path)?;
        let pid = spawn(context, &spec.command, &spec.env, &log)
            .with_context(|| format!("cannot start the service {}", spec.name))?;
        await_ready(context, spec, pid).map_err(|why| {
            let text = tail(&mut log);
            let what = format!("the service {} {why}", spec.name);
            let fault = match text.is_empty() {
                true => failure(what),
                false => failure(format!("{what}; it said: {text}")),
            };
            fault.hint("to look at it from inside: envctl enter TASK --no-services; its file is envctl.toml")
        })?;
        running.push(Service { pid, stop: spec.stop });
    }
    Ok(running)
}

/// Ends services, last first, as far as they may take time for it.
pub(super) fn stop(services: &[Service]) {
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

fn spawn(context: &process::Context, command: &[String], env: &[(String, String)], log: &File) -> Result<Pid> {
    let null = rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let run = Run { command: command.to_vec(), env: env.to_vec(), terminal: None, last: false };
    let streams = vec![null, OwnedFd::from(log.try_clone()?), OwnedFd::from(log.try_clone()?)];
    let started = process::start(context, &run, streams)
        .map_err(|why| anyhow::anyhow!("{}: {}", why.program, std::io::Error::from_raw_os_error(why.errno)))?;
    Ok(started.pid)
}

fn await_ready(context: &process::Context, spec: &ServiceSpec, pid: Pid) -> Result<(), String> {
    let Some(ready) = &spec.ready else { return Ok(()) };
    let until = monotonic_now() + spec.timeout.as_millis() as u64;
    loop {
        if is_ready(context, ready) {
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

fn is_ready(context: &process::Context, ready: &Ready) -> bool {
    match ready {
        Ready::Tcp(port) => {
            let addresses = [SocketAddr::from((Ipv4Addr::LOCALHOST, *port)), (Ipv6Addr::LOCALHOST, *port).into()];
            addresses.iter().any(|address| TcpStream::connect_timeout(address, Duration::from_secs(1)).is_ok())
        }
        Ready::File(path) => Path::new(path).exists(),
        Ready::Command(command) => {
            let null = OpenOptions::new().write(true).open("/dev/null");
            let words = ["/bin/sh".to_owned(), "-c".to_owned(), command.clone()];
            let started = null.map_err(Into::into).and_then(|null| spawn(context, &words, &[], &null));
            let status = started.ok().and_then(|pid| rustix::process::waitpid(Some(pid), WaitOptions::empty()).ok());
            status.flatten().is_some_and(|(_, status)| status.exit_status() == Some(0))
        }
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
