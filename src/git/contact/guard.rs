//! What stands between envctl and a git that speaks with a remote. It ends git
//! and everything that git started when envctl is gone, when nothing comes any
//! more, and when too much comes: words, refs, or bytes into the folder of a fetch.
//! The kernel keeps the memory and the files of each program within bounds. What
//! has made itself a session of its own meanwhile, as a connection that ssh shares
//! or a cache of passwords does, is the developer's and stays.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Resource, Rlimit};

use super::super::{MAX_WORDS, bounds};
use super::coming::PrintedWords;
use super::order::{Order, tell};
use crate::descendants::{below, end_all};
use crate::ui::human_bytes;

/// How it ends when the remote was silent.
const SILENT: i32 = 213;
/// And when it talked without end.
const TALKATIVE: i32 = 214;
/// When envctl went away.
const ALONE: i32 = 215;
/// When more came than may.
const TOO_MUCH: i32 = 216;
/// When it named refs without end.
const TOO_MANY_REFS: i32 = 217;

/// Why git was ended, as far as it is the remote's doing.
pub(super) const REASONS: [i32; 4] = [SILENT, TALKATIVE, TOO_MUCH, TOO_MANY_REFS];

/// The same in words.
pub(super) fn reason(code: i32, order: &Order) -> String {
    match code {
        SILENT => format!("no answer within {} s", order.patience_ms / 1000),
        TALKATIVE => "it sends messages without end".into(),
        TOO_MANY_REFS => "it lists refs without end".into(),
        _ => format!("more than {} come; [workspace] max_fetch in config.toml allows more", human_bytes(order.most)),
    }
}

/// So much may be said beside what is fetched.
const MAX_TALK: u64 = 64 << 20;

/// So much memory git may want before anything has come: for refs. In bytes.
const MAX_REFS: u64 = 512 << 20;

/// So many files may come into the folder of a fetch.
const MOST_FILES: u64 = 2_000_000;

/// The folders of single objects are looked at so many times less often.
const SELDOM: u32 = 10;

/// Longer than a day nobody is listened to.
const LONGEST: Duration = Duration::from_secs(86_400);

/// In so many times what a remote may be silent it has to say more than drops.
const DRIPPING: u32 = 20;

/// What counts as drops, in bytes.
const DROPS: u64 = 64 << 10;

/// How often it looks.
const TICK: Duration = Duration::from_millis(200);

/// So long a developer may think before they answer a question.
const THINKING: Duration = Duration::from_secs(600);

pub(super) fn run(order: &Order, args: &[&OsStr]) -> ExitCode {
    match guarded(order, args) {
        Ok(code) => ExitCode::from(u8::try_from(code).unwrap_or(1)),
        Err(why) => {
            tell(&format!("cannot watch git: {why}"));
            ExitCode::FAILURE
        }
    }
}

fn guarded(order: &Order, args: &[&OsStr]) -> std::io::Result<i32> {
    let owner = Pid::from_raw(order.owner.cast_signed()).ok_or(std::io::ErrorKind::InvalidInput)?;
    let owner_fd = rustix::process::pidfd_open(owner, PidfdFlags::empty())?;
    if rustix::process::getppid() != Some(owner) {
        return Ok(ALONE);
    }
    let until = match order.until.map(|pid| Pid::from_raw(pid.cast_signed())) {
        None => None,
        Some(pid) => {
            let open = |pid| rustix::process::pidfd_open(pid, PidfdFlags::empty());
            let Some(Ok(fd)) = pid.map(open) else { return Ok(ALONE) };
            Some(fd)
        }
    };
    // Whoever loses their parent below becomes a child of this.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    if !order.interactive {
        // Without a terminal nothing can be asked on one.
        let _ = rustix::process::setsid();
    }
    let (program, args) = args.split_first().ok_or(std::io::ErrorKind::InvalidInput)?;
    bound(order);
    let mut child = Command::new(program).args(args).stderr(Stdio::piped()).spawn()?;
    let said = Arc::new(AtomicU64::new(0));
    let words = child.stderr.take().map(|pipe| {
        let said = Arc::clone(&said);
        std::thread::spawn(move || pass_on(pipe, &said))
    });
    let ended = watch(order, (&owner_fd, until.as_ref()), &mut child, &said).unwrap_or_else(|why| {
        tell(&format!("cannot watch git: {why}"));
        Err(ALONE)
    });
    if ended.is_err() {
        end_all(&mut child);
    } else if let Some(words) = words {
        // What stays behind may hold the pipe open.
        let patience = Instant::now() + Duration::from_secs(1);
        while !words.is_finished() && Instant::now() < patience {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    Ok(ended.unwrap_or_else(|reason| reason))
}

/// Waits for git; its exit code, or why it has to end.
fn watch(
    order: &Order,
    (owner, until): (&rustix::fd::OwnedFd, Option<&rustix::fd::OwnedFd>),
    child: &mut Child,
    said: &AtomicU64,
) -> std::io::Result<Result<i32, i32>> {
    let git = rustix::process::pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
    let patience = Duration::from_millis(order.patience_ms);
    let patience = if order.interactive { patience.max(THINKING) } else { patience };
    let (mut progress, mut arriving, began) = (Progress::default(), Arriving::default(), Instant::now());
    let (mut heard, mut far) = (Instant::now(), (Instant::now(), progress.clone()));
    let tick = Timespec { tv_sec: 0, tv_nsec: TICK.as_nanos().try_into().unwrap_or(0) };
    loop {
        // Whoever is not there is the owner once more.
        let until = until.unwrap_or(owner);
        let mut all = [&git, owner, until].map(|fd| PollFd::new(fd, PollFlags::IN));
        match poll(&mut all, Some(&tick)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(why) => return Err(why.into()),
        }
        if all[1..].iter().any(|fd| !fd.revents().is_empty()) {
            return Ok(Err(ALONE));
        }
        if !all[0].revents().is_empty() {
            let status = child.wait()?;
            // The kernel may have stopped it at the very byte.
            let came = arriving.all(order);
            let full = came.is_too_much(order) || (!status.success() && came.bytes >= order.most);
            return Ok(if full { Err(TOO_MUCH) } else { Ok(status.code().unwrap_or(128)) });
        }
        if said.load(Ordering::Relaxed) > MAX_TALK {
            return Ok(Err(TALKATIVE));
        }
        if arriving.look(order).is_too_much(order) {
            return Ok(Err(TOO_MUCH));
        }
        if progress.moved() {
            heard = Instant::now();
        } else if heard.elapsed() > patience {
            return Ok(Err(SILENT));
        }
        if began.elapsed() > LONGEST {
            return Ok(Err(SILENT));
        }
        if arriving.bytes == 0 && progress.memory > MAX_REFS {
            return Ok(Err(TOO_MANY_REFS));
        }
        if far.0.elapsed() > patience.saturating_mul(DRIPPING) {
            if progress.is_near(&far.1) {
                return Ok(Err(SILENT));
            }
            far = (Instant::now(), progress.clone());
        }
    }
}

/// Bounds that the kernel keeps, for this and all that it starts.
fn bound(order: &Order) {
    let limit = |resource, most| {
        let hard = rustix::process::getrlimit(resource).maximum;
        let most = Some(hard.map_or(most, |hard| hard.min(most)));
        let _ = rustix::process::setrlimit(resource, Rlimit { current: most, maximum: most });
    };
    limit(Resource::Data, bounds::of_a_program());
    // What git notes of a server's answers is a file, too.
    limit(Resource::Fsize, if order.into.is_some() { order.most } else { order.most.min(MAX_TALK) });
}

/// What has come into the folder of a fetch.
#[derive(Debug, Default)]
struct Arriving {
    bytes: u64,
    files: u64,
    /// Of the folders of single objects, when they were last looked at.
    single: (u64, u64),
    looks: u32,
}

impl Arriving {
    /// All of it, now.
    fn all(&mut self, order: &Order) -> &Self {
        self.looks = 0;
        self.look(order)
    }

    /// The same, with the folders of single objects as they were a while ago.
    fn look(&mut self, order: &Order) -> &Self {
        let Some(into) = &order.into else { return self };
        let packs = weigh(&into.join("pack"));
        if self.looks.is_multiple_of(SELDOM) {
            let folders = std::fs::read_dir(into).into_iter().flatten().flatten();
            let single = folders.filter(|entry| entry.file_name().len() == 2).map(|entry| weigh(&entry.path()));
            self.single = single.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        }
        self.looks = self.looks.wrapping_add(1);
        (self.bytes, self.files) = (packs.0 + self.single.0, packs.1 + self.single.1);
        self
    }

    fn is_too_much(&self, order: &Order) -> bool {
        self.bytes > order.most || self.files > MOST_FILES
    }
}

/// The bytes of the files in a folder, and how many there are.
fn weigh(folder: &Path) -> (u64, u64) {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let sizes = files.filter_map(|entry| entry.metadata().ok()).map(|meta| meta.len());
    sizes.fold((0, 0), |(bytes, files), size| (bytes + size, files + 1))
}

/// The beginning of what git says, and its news; the rest is only counted.
fn pass_on(mut pipe: impl Read, said: &AtomicU64) {
    let (mut words, mut told) = (PrintedWords::default(), 0);
    let mut buffer = vec![0; 64 << 10];
    let mut tell = |words: &mut PrintedWords, bytes: &[u8]| {
        let mut stderr = std::io::stderr().lock();
        words.take(bytes, MAX_WORDS, &mut |news| {
            let _ = stderr.write_all(news);
        });
        let _ = stderr.write_all(&words.kept[told..]);
        told = words.kept.len();
    };
    while let Ok(count @ 1..) = pipe.read(&mut buffer) {
        said.fetch_add(count as u64, Ordering::Relaxed);
        tell(&mut words, &buffer[..count]);
    }
    words.keep(MAX_WORDS);
    tell(&mut words, b"");
}

/// How far git and what it started have come.
#[derive(Clone, Debug, Default)]
struct Progress {
    bytes: u64,
    ticks: u64,
    /// What git holds in memory now, in bytes, but for files.
    memory: u64,
}

impl Progress {
    /// Whether it is hardly further than it was: drops, and no work on them.
    fn is_near(&self, before: &Self) -> bool {
        self.bytes.abs_diff(before.bytes) < DROPS && self.ticks.abs_diff(before.ticks) < 100
    }

    /// Whether something came, or was worked on, since the last time. What ssh
    /// hears is no progress: it keeps a connection alive on which nothing comes.
    fn moved(&mut self) -> bool {
        let (mut bytes, mut ticks) = (0, 0);
        self.memory = 0;
        for (pid, process) in below(std::process::id()) {
            if process.name.starts_with("git") {
                bytes += read_bytes(pid);
                ticks += process.ticks;
                self.memory += held_bytes(pid);
            }
        }
        let moved = bytes != self.bytes || ticks > self.ticks + 4;
        if moved {
            (self.bytes, self.ticks) = (bytes, ticks);
        }
        moved
    }
}

fn read_bytes(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
    let count = text.lines().find_map(|line| line.strip_prefix("rchar: "));
    count.and_then(|count| count.parse().ok()).unwrap_or(0)
}

fn held_bytes(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
    let mut pages = text.split(' ').skip(1).map_while(|count| count.parse::<u64>().ok());
    let (resident, shared) = (pages.next().unwrap_or(0), pages.next().unwrap_or(0));
    resident.saturating_sub(shared) * rustix::param::page_size() as u64
}
