//! The images of an engine on this machine: docker or podman, through the HTTP
//! interface that both have on a unix socket, or the program `podman`, which needs
//! no service. Neither is asked for more than to show an image and to write it out.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use reqwest::{Client, Response, StatusCode};
use serde::Deserialize;
use tokio::runtime::Runtime;

use super::found::Counted;
use crate::digest::Digest;
use crate::error::{Fault, cut, failure, integrity, not_found, unreachable};
use crate::identity::EngineKind;
use crate::web::{self, read_capped};

/// Upper bound for what an engine says of an image in bytes.
const MAX_SHOWN: u64 = 4 << 20;

/// How long an engine may take to say something.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long it may take to begin with an image: it collects the layers first.
const COLLECTING: Duration = Duration::from_secs(900);

/// Where an engine may be.
#[derive(Clone, Debug, Default)]
pub struct EnginePlaces {
    /// Sockets, the first that is there counts.
    pub sockets: Vec<PathBuf>,
    /// A program that does the same.
    pub program: Option<PathBuf>,
    /// Where the developer's settings lead instead, which is not this machine.
    pub elsewhere: Option<String>,
}

/// An engine of this machine.
#[derive(Debug)]
pub struct Engine {
    kind: EngineKind,
    way: EngineAccess,
}

#[derive(Debug)]
enum EngineAccess {
    Socket { path: PathBuf, client: Client, runtime: Runtime },
    Program(PathBuf),
}

/// An image that an engine keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineImage {
    /// Its digest there: of its configuration, or of its manifest.
    pub id: Digest,
    /// Bytes, as the engine counts them.
    pub size: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    id: String,
    #[serde(default)]
    size: u64,
}

#[derive(Deserialize)]
struct Complaint {
    message: String,
}

impl Engine {
    /// The engine of that kind.
    ///
    /// # Errors
    /// [`crate::error::Kind::Unreachable`] when there is none.
    pub fn find(kind: EngineKind, places: &EnginePlaces) -> Result<Self> {
        if let Some(elsewhere) = &places.elsewhere {
            return Err(unreachable(format!("{kind} is not on this machine: its settings lead to {}", cut(elsewhere)))
                .hint(format!("write the image to a file there, and name that: {}", by_hand(kind)))
                .into());
        }
        let is_socket = |path: &&PathBuf| path.metadata().is_ok_and(|meta| meta.file_type().is_socket());
        if let Some(path) = places.sockets.iter().find(is_socket) {
            // A socket that nobody listens on stays behind; the program works all the same.
            if places.program.is_none() || std::os::unix::net::UnixStream::connect(path).is_ok() {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                let runtime = runtime.context("cannot prepare the connection to the engine")?;
                return Ok(Engine {
                    kind,
                    way: EngineAccess::Socket { path: path.clone(), client: web::on_socket(path)?, runtime },
                });
            }
        }
        if let Some(program) = &places.program {
            return Ok(Engine { kind, way: EngineAccess::Program(program.clone()) });
        }
        let looked: Vec<String> = places.sockets.iter().map(|path| path.display().to_string()).collect();
        Err(unreachable(format!("{kind} does not run here: there is no socket at {}", looked.join(" or ")))
            .hint(format!("start it; or name a file instead: {}", by_hand(kind)))
            .into())
    }

    /// Whether it answers at all.
    pub(super) fn answers(&self) -> bool {
        match &self.way {
            EngineAccess::Socket { path, .. } => std::os::unix::net::UnixStream::connect(path).is_ok(),
            EngineAccess::Program(_) => true,
        }
    }

    /// Its socket, if it is reached by one.
    pub(super) fn socket(&self) -> Option<&Path> {
        match &self.way {
            EngineAccess::Socket { path, .. } => Some(path),
            EngineAccess::Program(_) => None,
        }
    }

    /// What the engine knows of an image; `None` when it has none of that name.
    ///
    /// # Errors
    /// When it does not answer, or not as it should.
    pub fn image(&self, name: &str) -> Result<Option<EngineImage>> {
        let shown = match &self.way {
            EngineAccess::Socket { runtime, .. } => {
                let response = self.get(&format!("images/{name}/json"), PATIENCE)?;
                if response.status() == StatusCode::NOT_FOUND {
                    return Ok(None);
                }
                let what = format!("what {} says of {name}", self.kind);
                runtime.block_on(read_capped(self.accepted(response)?, MAX_SHOWN, &what, PATIENCE))?
            }
            EngineAccess::Program(program) => {
                let exists = command(program).args(["image", "exists", name]).output();
                if exists.with_context(|| format!("cannot start {}", program.display()))?.status.code() == Some(1) {
                    return Ok(None);
                }
                let format = r#"{"Id":"{{.Id}}","Size":{{.Size}}}"#;
                let output = command(program).args(["image", "inspect", "--format", format, name]).output()?;
                self.succeeded(output.status.success(), &output.stderr)?;
                output.stdout
            }
        };
        let inspected: Inspected = serde_json::from_slice(&shown)
            .map_err(|error| integrity(format!("{} describes {name} oddly: {}", self.kind, cut(&error.to_string()))))?;
        let id = inspected.id.strip_prefix("sha256:").unwrap_or(&inspected.id);
        Ok(Some(EngineImage { id: Digest::from_hex(id)?, size: inspected.size }))
    }

    /// Writes an image to a file without a name in `scratch`, as `docker save` does.
    ///
    /// # Errors
    /// When the engine fails, or the disk is full.
    pub fn save(&self, image: &EngineImage, scratch: &Path, counted: Counted<'_>) -> Result<File> {
        let mut file = tempfile::tempfile_in(scratch).context("cannot make a temporary file")?;
        let id = image.id.hex();
        match &self.way {
            EngineAccess::Socket { runtime, .. } => {
                let mut response = self.accepted(self.get(&format!("images/{id}/get"), COLLECTING)?)?;
                let broken = |error: reqwest::Error| {
                    let why = error.without_url();
                    unreachable(format!("{} stopped in the middle of the image: {why}", self.kind))
                };
                let silent = || unreachable(format!("{} stopped in the middle of the image", self.kind));
                loop {
                    let chunk = async { tokio::time::timeout(COLLECTING, response.chunk()).await };
                    let chunk = runtime.block_on(chunk).map_err(|_| silent())?.map_err(broken)?;
                    let Some(chunk) = chunk else { break };
                    file.write_all(&chunk).context("cannot write the image to the disk")?;
                    counted(chunk.len() as u64);
                }
            }
            EngineAccess::Program(program) => {
                let mut child = command(program)
                    .args(["image", "save", "--quiet", "--format", "docker-archive", &id])
                    .stdout(Stdio::piped())
                    .spawn()
                    .with_context(|| format!("cannot start {}", program.display()))?;
                let stdout = child.stdout.take().context("a program has an output")?;
                let copied = copy(stdout, &mut file, counted);
                let output = child.wait_with_output()?;
                self.succeeded(output.status.success(), &output.stderr)?;
                copied.context("cannot write the image to the disk")?;
            }
        }
        file.seek(SeekFrom::Start(0))?;
        Ok(file)
    }

    fn get(&self, path: &str, patience: Duration) -> Result<Response> {
        let EngineAccess::Socket { path: socket, client, runtime } = &self.way else {
            return Err(failure("a program has no socket").into());
        };
        let request = client.get(format!("http://engine/{path}"));
        let answer = runtime.block_on(async { tokio::time::timeout(patience, request.send()).await });
        let shown = socket.display();
        match answer {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => {
                let why = web::why(&error);
                let hint = if why.contains("Permission denied") {
                    format!("you may not use it: see `ls -l {shown}`; or name a file instead: {}", by_hand(self.kind))
                } else {
                    format!("start it; or name a file instead: {}", by_hand(self.kind))
                };
                Err(unreachable(format!("{} does not answer on {shown}: {why}", self.kind)).hint(hint).into())
            }
            Err(_) => Err(unreachable(format!("{} does not answer on {shown} in time", self.kind)).into()),
        }
    }

    /// The answer, unless it is a complaint.
    fn accepted(&self, response: Response) -> Result<Response> {
        let EngineAccess::Socket { runtime, .. } = &self.way else { return Ok(response) };
        let status = response.status();
        if status == StatusCode::OK {
            return Ok(response);
        }
        let body = runtime.block_on(read_capped(response, 64 << 10, "the complaint", PATIENCE)).unwrap_or_default();
        let said = serde_json::from_slice::<Complaint>(&body).map(|complaint| complaint.message);
        let said = said.unwrap_or_else(|_| "it does not say why".into());
        let fault: fn(String) -> Fault = if status == StatusCode::NOT_FOUND { not_found } else { failure };
        Err(fault(format!("{} answers {}: {}", self.kind, status.as_u16(), cut(&said))).into())
    }

    fn succeeded(&self, success: bool, stderr: &[u8]) -> Result<()> {
        if success {
            return Ok(());
        }
        let said = String::from_utf8_lossy(stderr);
        Err(failure(format!("{} fails: {}", self.kind, cut(said.trim()))).into())
    }
}

fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Copies all that there is, and counts it.
pub(super) fn copy(mut from: impl Read, to: &mut impl Write, counted: Counted<'_>) -> io::Result<()> {
    let mut buffer = vec![0; 256 << 10];
    loop {
        let count = from.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        to.write_all(&buffer[..count])?;
        counted(count as u64);
    }
}

/// How people get an image out of an engine themselves.
fn by_hand(kind: EngineKind) -> String {
    format!("{kind} save NAME -o image.tar, then docker-archive:image.tar")
}
