//! What a run hands over: its checkout as it is by then, why it ended, and the
//! evidence of it. After the run, and while it goes on.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::disk::scratch::Scratch;
use crate::handoff::accounting::LedgerEntry;
use crate::handoff::app::App;
use crate::handoff::evidence::{Begun, Evidence, EvidencePath, Maker};
use crate::handoff::publish::{PublishOptions, Published, PublishedFrom, PublishedRun, publish_from, rehearse};
use crate::handoff::task::PublishedHere;
use crate::identity::{ArtifactType, Handoff, Outside, Status, TaskId, Workdir};
use crate::runtime::{Transcript, Written};

/// The end of a long log, in bytes: what comes along when somebody enters.
const END: u64 = 512 << 10;

/// A log that is longer has its end as a file of its own, in bytes.
const LONG: u64 = 1 << 20;

/// Paths outside the workspace that the identity names; the artifact names more.
const MOST_NAMED: usize = 20;

/// How a run is to be published.
#[derive(Clone, Debug, Default)]
pub struct Publishing {
    /// As this task; known where the run is one of a task.
    pub task: Option<TaskId>,
    /// The state of the work after a success.
    pub status: Status,
    /// What the one who enters should know.
    pub message: Option<String>,
    /// Leave files with credentials out instead of refusing.
    pub redact: bool,
    /// Also while it runs, this far apart.
    pub every: Option<Duration>,
}

/// How a run stands.
#[derive(Clone, Debug, Default)]
pub(crate) struct Standing {
    /// The command that failed, or the last one, and its exit code.
    pub(crate) command: Option<String>,
    pub(crate) exit_code: Option<u8>,
    /// In words, where the exit code does not say it.
    pub(crate) why: Option<String>,
    pub(crate) failed: bool,
    /// The last runtime, and when the first began, by the clock of the files.
    pub(crate) lease: Option<String>,
    pub(crate) begun: Option<Begun>,
    pub(crate) outside: Option<Written>,
    pub(crate) entries: Vec<LedgerEntry>,
}

/// Publishes one run, as often as it takes.
pub(crate) struct Publisher<'a> {
    app: &'a App,
    publishing: &'a Publishing,
    image: Option<String>,
    workdir: Option<Workdir>,
    agent: Option<String>,
    /// A runtime exists no longer than this.
    lasts: Duration,
    /// What the files go on from; each publish goes on from the one before.
    from: Mutex<PublishedFrom>,
    /// Whether that is the workspace that is published.
    own: bool,
}

/// The parts of a run's options that decide what is published.
pub(crate) struct Words<'a> {
    pub(crate) publishing: &'a Publishing,
    pub(crate) image: Option<String>,
    pub(crate) workdir: Option<Workdir>,
    pub(crate) agent: Option<String>,
    pub(crate) lasts: Duration,
}

impl<'a> Publisher<'a> {
    pub(crate) fn new(app: &'a App, words: Words<'a>, from: PublishedFrom, own: bool) -> Self {
        let Words { publishing, image, workdir, agent, lasts } = words;
        Publisher { app, publishing, image, workdir, agent, lasts, from: Mutex::new(from), own }
    }

    /// Finds out before the run what would stop the publish after it: `root`
    /// is what there is of its files by now.
    ///
    /// # Errors
    /// With that.
    pub(crate) fn rehearse(&self, root: &Path, command: &str) -> Result<()> {
        let from = PublishedFrom { root: root.to_owned(), ..self.from() };
        let handoff = Handoff {
            message: self.publishing.message.clone(),
            command: Some(command.to_owned()),
            ..Handoff::default()
        };
        rehearse(self.app, &self.options(handoff, None, &from), &from)
    }

    fn from(&self) -> PublishedFrom {
        self.from.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn options(&self, handoff: Handoff, run: Option<PublishedRun>, from: &PublishedFrom) -> PublishOptions {
        // Beside the task that the files go on from, unless it is that.
        let wanted = self.publishing.task.clone();
        let other = |wanted: &TaskId| from.origin.as_ref().is_some_and(|pin| pin.continues(wanted.as_str()).is_none());
        let fork = wanted.clone().filter(other);
        PublishOptions {
            checkout: None,
            task: if fork.is_some() { None } else { wanted },
            image: self.image.clone(),
            build: false,
            workdir: self.workdir.clone(),
            agent: self.agent.clone(),
            handoff,
            run,
            redact: self.publishing.redact,
            fork,
        }
    }

    /// Publishes what is there by now.
    ///
    /// # Errors
    /// As `publish`.
    pub(crate) fn publish(&self, log: &RunLog, standing: &Standing, over: bool) -> Result<Published> {
        let from = self.from();
        let handoff = self.handoff(standing, over);
        let evidence = log.evidence(standing, self.agent.as_deref())?;
        let run = PublishedRun { name: log.name(), lease: standing.lease.clone(), begun: standing.begun };
        let options = self.options(handoff, Some(run), &from);
        let (place, published) = publish_from(self.app, &options, &from, evidence, false)?;
        if self.own {
            from.note(self.app, &place);
        }
        let mut from = self.from.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pin) = from.origin.as_mut().filter(|pin| pin.store == place.store.to_string()) {
            let task = place.task.to_string();
            pin.published.retain(|published| published.task != task);
            pin.published.push(PublishedHere { task, identity: place.identity, state: Some(place.state.clone()) });
        }
        Ok(published)
    }

    fn handoff(&self, standing: &Standing, over: bool) -> Handoff {
        let status = match (over, standing.failed) {
            (false, _) => Status::Working,
            (true, true) => Status::NeedsHuman,
            (true, false) => self.publishing.status,
        };
        let message = match (&self.publishing.message, &standing.why) {
            (Some(message), Some(why)) => Some(format!("{message} ({why})")),
            (None, None) if standing.failed => standing
                .exit_code
                .map(|code| format!("its command ended with exit code {code}; what it printed is attached as run.log")),
            (message, why) => message.clone().or_else(|| why.clone()),
        };
        let outside = standing.outside.as_ref().filter(|written| !written.is_empty()).map(|written| Outside {
            files: written.files,
            removed: written.removed,
            paths: written.paths.iter().take(MOST_NAMED).cloned().collect(),
        });
        let exit_code = standing.exit_code.map(i32::from);
        // Whoever is killed before the next publish says so by this.
        let ends_at = if over { None } else { self.app.clock.now().checked_add(self.lasts).ok() };
        let (command, extra) = (standing.command.clone(), Default::default());
        Handoff { status, message, command, exit_code, ends_at, outside, extra }
    }

    /// Publishes every now and then until `stop` says that it is over. A
    /// failure is told, and the next time may be better.
    pub(crate) fn keep_publishing(&self, log: &RunLog, standing: &Standing, stop: &Stop, next: &mut Instant) {
        let Some(every) = self.publishing.every else { return };
        while !stop.wait_until(*next) {
            match self.publish(log, standing, false) {
                Ok(published) => self.app.ui.status("Published", &format!("{} so far", published.task)),
                Err(error) => self.app.ui.warn(&format!("could not publish what there is so far: {error:#}")),
            }
            *next = Instant::now() + every;
        }
    }
}

/// Says that something is over.
#[derive(Default)]
pub(crate) struct Stop(Mutex<bool>, Condvar);

impl Stop {
    pub(crate) fn say(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.1.notify_all();
    }

    /// Whether it is over by then.
    fn wait_until(&self, at: Instant) -> bool {
        let mut over = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let left = at.saturating_duration_since(Instant::now());
            if *over || left.is_zero() {
                return *over;
            }
            over = self.1.wait_timeout(over, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// What a run printed, and a place for the files that prove what it did.
pub(crate) struct RunLog {
    pub(crate) transcript: Transcript,
    /// Where it stays on this machine.
    pub(crate) path: PathBuf,
    folder: Scratch,
}

impl RunLog {
    /// Begins one.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn begin(app: &App, name: &str) -> Result<Self> {
        let path = app.log_file(&format!("run-{name}"));
        Ok(RunLog { transcript: Transcript::create(&path)?, folder: Scratch::create(app.paths.state())?, path })
    }

    /// Puts a log that was cut in order.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn finish(&self) -> Result<()> {
        let ordered = self.path.with_extension("ordered");
        if self.transcript.copy_to(&ordered)? == 0 {
            return Ok(fs::remove_file(&ordered)?);
        }
        fs::rename(&ordered, &self.path).with_context(|| format!("cannot write {}", self.path.display()))
    }

    /// What the run is called.
    pub(crate) fn name(&self) -> String {
        self.path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// What made the files of the run.
    pub(crate) fn maker(&self, standing: &Standing, agent: Option<&str>) -> Maker {
        Maker {
            command: standing.command.clone(),
            exit_code: standing.exit_code.map(i32::from),
            agent: agent.map(str::to_owned),
            run: Some(self.name()),
            lease: standing.lease.clone(),
        }
    }

    /// The files that prove what the run did so far.
    pub(crate) fn evidence(&self, standing: &Standing, agent: Option<&str>) -> Result<Vec<Evidence>> {
        let folder = self.folder.path();
        let mut files = vec![folder.join("run.log")];
        self.transcript.copy_to(&files[0])?;
        if fs::metadata(&files[0])?.len() > LONG {
            files.push(folder.join("run-end.log"));
            end_of(&files[0], &files[1])?;
        }
        if !standing.entries.is_empty() {
            files.push(folder.join("costs.jsonl"));
            let lines = standing.entries.iter().map(serde_json::to_string).collect::<Result<Vec<_>, _>>()?;
            write(&files[files.len() - 1], &lines, false)?;
        }
        if let Some(written) = standing.outside.as_ref().filter(|written| !written.is_empty()) {
            files.push(folder.join("outside-workspace.txt"));
            write(&files[files.len() - 1], &written.paths, written.cut)?;
        }
        let evidence = |path| Evidence {
            place: EvidencePath::Own(path),
            artifact_type: ArtifactType::Logs,
            maker: self.maker(standing, agent),
        };
        Ok(files.into_iter().map(evidence).collect())
    }
}

fn write(path: &Path, lines: &[String], cut: bool) -> Result<()> {
    let more = if cut { "... and more\n" } else { "" };
    // One line each, whatever the names hold.
    let lines: String = lines.iter().map(|line| crate::ui::escape(line) + "\n").collect();
    fs::write(path, lines + more).with_context(|| format!("cannot write {}", path.display()))
}

fn end_of(from: &Path, to: &Path) -> Result<()> {
    let mut source = File::open(from)?;
    source.seek(SeekFrom::End(-(END as i64)))?;
    let mut bytes = Vec::new();
    source.read_to_end(&mut bytes)?;
    // From the beginning of a line on.
    let start = bytes.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    File::create(to)?.write_all(&bytes[start..]).with_context(|| format!("cannot write {}", to.display()))
}
