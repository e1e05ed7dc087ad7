//! The life of pid 1: it starts processes on request, reaps, and is the one
//! thing whose death ends everything inside.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::SocketFlags;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};

use super::ends::{Deadline, EndVerdict, Idle, Signs};
use super::forward::Forwarder;
use super::inside::Inside;
use super::places::Places;
use super::{process, services};
use crate::crash;
use crate::runtime::deadline::{monotonic_now, until};
use crate::runtime::limits::{Memory, OutOfMemory, exact_memory_of, memory_of, name_of, together};
use crate::runtime::ports::{PublishedPort, port_variable};
use crate::runtime::token::Token;
use crate::runtime::wire::{Ended, EndedService, Hello, Reply, Request, Run, Soon, Tell};
use crate::runtime::{IDLE, TIMED_OUT, sys, wire};

/// Milliseconds that a process whose client is gone may take to end by itself.
const GRACE: u64 = 2_000;

/// Milliseconds at a deadline until who does not heed the request to end is
/// told that the terminal is gone, which an interactive shell does heed, and
/// until it is over.
const SECOND_GRACE: u64 = 2_000;
const LAST_GRACE: u64 = 5_000;

/// Milliseconds between two looks at the memory in use.
const WATCH: u64 = 200;
/// The same while nobody asked for a limit, and no more than half of it is in use.
const SELDOM: u64 = 1_000;

/// What pid 1 lives with.
pub(crate) struct Pid1 {
    /// To the owner; its hang-up is the end.
    pub(crate) owner: OwnedFd,
    /// Where others join.
    pub(crate) listener: OwnedFd,
    /// What those who join have to know.
    pub(crate) token: Token,
    /// Where the death of children is told.
    pub(crate) signals: OwnedFd,
    pub(crate) context: process::Context,
    pub(crate) inside: Inside,
    /// Holds the lock of the runtime's folder as long as this process lives.
    pub(crate) lock: OwnedFd,
    pub(crate) forwarder: Option<Forwarder>,
    /// The process that gives the network its outside.
    pub(crate) pasta: Option<Pid>,
    /// What runs beside the command.
    pub(crate) services: Vec<services::RunningService>,
    /// When it has to end, on the monotonic clock.
    pub(crate) deadline: Option<u64>,
    /// How long nothing may be done in it.
    pub(crate) idle: Option<Duration>,
    /// Bytes of memory that it may use, where nobody else keeps watch, and whether
    /// somebody asked for that limit.
    pub(crate) memory: Option<(u64, bool)>,
    /// What is written outside the workspace, where the owner wants to know.
    pub(crate) upper: Option<OwnedFd>,
    /// What programs ask about.
    pub(crate) places: Places,
}

/// Somebody who runs a process here; the owner is the first.
struct Client {
    socket: OwnedFd,
    /// It has shown the token.
    known: bool,
    process: Option<Pid>,
}

struct Init {
    context: process::Context,
    inside: Inside,
    token: Token,
    clients: Vec<Client>,
    /// Process groups whose client is gone, and until when they may go on.
    doomed: Vec<(Pid, u64)>,
    forwarder: Option<Forwarder>,
    pasta: Option<Pid>,
    services: Vec<services::RunningService>,
    deadline: Option<Deadline>,
    idle: Option<Idle>,
    /// The deadline has passed.
    ending: Option<Ending>,
    memory: Option<MemoryWatch>,
    upper: Option<OwnedFd>,
    places: Places,
    /// The owner's command is all that it wants.
    last: bool,
    /// How many mounts there are: nobody inside can make one.
    mounts: u32,
}

/// The limit of memory.
struct MemoryWatch {
    limit: u64,
    asked: bool,
    /// When it is looked at next.
    at: u64,
    /// What was ended for it.
    ended: Option<OutOfMemory>,
}

/// The end at a deadline, or at the owner's word.
struct Ending {
    why: Why,
    /// The signal that comes next, and when; none when it is over.
    next: Option<Signal>,
    at: u64,
    /// When it is over.
    over: u64,
}

/// Why everything has to end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Why {
    Deadline,
    Idle,
    /// The owner asked for it.
    Asked,
}

const OWNER: usize = 0;

pub(crate) fn serve(service: Pid1) -> ! {
    let Pid1 { owner, listener, token, signals, context, inside, lock: _lock, forwarder, .. } = service;
    let Pid1 { pasta, services, deadline, idle, memory, upper, places, .. } = service;
    let clients = vec![Client { socket: owner, known: true, process: None }];
    let mut init = Init {
        context,
        inside,
        token,
        clients,
        doomed: Vec::new(),
        forwarder,
        pasta,
        services,
        deadline: deadline.map(Deadline::new),
        idle: idle.map(Idle::new),
        ending: None,
        memory: memory.map(|(limit, asked)| MemoryWatch { limit, asked, at: monotonic_now() + WATCH, ended: None }),
        upper,
        places,
        last: false,
        mounts: 0,
    };
    loop {
        let mut fds = vec![PollFd::new(&signals, PollFlags::IN), PollFd::new(&listener, PollFlags::IN)];
        fds.extend(init.clients.iter().map(|client| PollFd::new(&client.socket, PollFlags::IN)));
        fds.extend(init.places.asking().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        if let Err(error) = poll(&mut fds, init.timeout().as_ref())
            && error != rustix::io::Errno::INTR
        {
            sys::exit_now(1)
        }
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        let asking = init.clients.len() + 2;
        drop(fds);
        if ready[0] {
            while sys::read_signal(signals.as_fd()).is_some() {}
            init.reap();
        }
        // From the end, so that removing a client moves no other that is due.
        for index in (0..init.clients.len()).rev().filter(|index| ready[index + 2]) {
            init.hear(index);
        }
        if ready[1] {
            init.accept(&listener);
        }
        init.places.answer(&ready[asking..], &init.inside, &init.context);
        init.finish_doomed();
        init.mind_the_idle_time();
        init.mind_the_deadline();
        init.mind_the_memory();
        if init.mounts == 0 && init.clients[OWNER].process.is_some() {
            // While the command runs: at its end somebody waits.
            init.mounts = mounts();
        }
    }
}

impl Init {
    /// Until the next thing that happens by itself.
    fn timeout(&self) -> Option<Timespec> {
        let doomed = self.doomed.first().map(|(_, at)| *at);
        let memory = self.memory.as_ref().map(|memory| memory.at);
        let ending = self.ending.as_ref().map(|ending| ending.at);
        let deadline = ending.or(self.deadline.as_ref().map(Deadline::next));
        let idle = self.idle.as_ref().filter(|_| ending.is_none()).map(Idle::next);
        let next = [doomed, deadline, memory, idle].into_iter().flatten().min()?;
        let left = until(next);
        Some(Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() })
    }

    fn accept(&mut self, listener: &OwnedFd) {
        let Ok(socket) = rustix::net::accept_with(listener, SocketFlags::CLOEXEC) else { return };
        // The address lies in a folder of the developer's that is visible in no
        // runtime. Whoever is inside has a process ID here, all the same; who
        // they are does not count: to this namespace all strangers are one.
        if sys::peer(&socket).is_ok_and(|(pid, _)| pid == 0) {
            self.clients.push(Client { socket, known: false, process: None });
        }
    }

    fn hear(&mut self, index: usize) {
        let client = &mut self.clients[index];
        let gone = match client.process {
            None if !client.known => match wire::receive::<Hello>(&client.socket) {
                Ok(Some((hello, _))) if hello.token.opens(self.token) => {
                    client.known = true;
                    false
                }
                _ => true,
            },
            None => match wire::receive::<Request>(&client.socket) {
                Ok(Some((request, fds))) => {
                    let (answer, terminal) = self.answer(index, request, fds);
                    let terminal: Vec<_> = terminal.iter().map(AsFd::as_fd).collect();
                    wire::send(&self.clients[index].socket, &answer, &terminal).is_err()
                }
                _ => true,
            },
            Some(process) => match wire::receive::<Tell>(&client.socket) {
                Ok(Some((Tell::Signal(signal), _))) => {
                    if let Some(signal) = Signal::from_named_raw(signal) {
                        let _ = rustix::process::kill_process_group(process, signal);
                    }
                    false
                }
                Ok(Some((Tell::End, _))) if index == OWNER => {
                    self.end_soon();
                    false
                }
                _ => true,
            },
        };
        if gone {
            self.lose(index);
        }
    }

    fn answer(&mut self, index: usize, request: Request, fds: Vec<OwnedFd>) -> (Reply, Option<OwnedFd>) {
        crash::point("init.asked");
        match request {
            Request::Run(run) => match self.start(&run, fds) {
                Ok(started) => {
                    self.clients[index].process = Some(started.pid);
                    self.last |= run.last && index == OWNER;
                    (Reply::Started, started.terminal)
                }
                Err(error) => (Reply::Refused { program: error.program, errno: error.errno }, None),
            },
            Request::Ready => (Reply::Done, None),
            Request::Joined => (Reply::Joined(self.joined()), None),
            Request::StopServices => {
                services::stop(&self.services);
                (Reply::Done, None)
            }
            Request::Deadline(at) => {
                if self.ending.is_none() {
                    self.deadline = Some(Deadline::new(at));
                }
                (Reply::Done, None)
            }
            Request::Forward { port, host } => {
                let done = self.forward(PublishedPort { port, listeners: fds });
                if done.is_ok() {
                    self.context.env.push((port_variable(port), host.to_string()));
                }
                (of_forwarder(done), None)
            }
            Request::Withdraw(port) => (of_forwarder(self.withdraw(port)), None),
        }
    }

    /// The port is published no longer.
    fn withdraw(&mut self, port: u16) -> std::io::Result<()> {
        let name = port_variable(port);
        self.context.env.retain(|(known, _)| *known != name);
        self.forwarder
            .as_ref()
            .map_or(Ok(()), |forwarder| forwarder.add(&PublishedPort { port, listeners: Vec::new() }))
    }

    fn start(&mut self, run: &Run, fds: Vec<OwnedFd>) -> Result<process::Started, process::NotStarted> {
        let mut started = process::start(&self.context, &self.inside, run, fds, self.places.are_there())?;
        self.places.listen(started.asks.take());
        Ok(started)
    }

    fn forward(&mut self, published: PublishedPort) -> std::io::Result<()> {
        match &self.forwarder {
            Some(forwarder) => forwarder.add(&published),
            None => {
                self.forwarder = Some(Forwarder::start(&self.context, vec![published])?);
                Ok(())
            }
        }
    }

    fn lose(&mut self, index: usize) {
        if index == OWNER {
            sys::exit_now(0)
        }
        if let Some(process) = self.clients.remove(index).process {
            let _ = rustix::process::kill_process_group(process, Signal::HUP);
            let _ = rustix::process::kill_process_group(process, Signal::CONT);
            self.doomed.push((process, monotonic_now() + GRACE));
        }
    }

    fn finish_doomed(&mut self) {
        let now = monotonic_now();
        self.doomed.retain(|(process, at)| {
            if *at <= now {
                let _ = rustix::process::kill_process_group(*process, Signal::KILL);
            }
            *at > now
        });
    }

    /// The owner wants an end: its command has had a signal already, so the
    /// others are asked a moment later.
    fn end_soon(&mut self) {
        let now = monotonic_now();
        match &mut self.ending {
            Some(ending) => (ending.at, ending.over) = (now, now),
            None => {
                let (at, over) = (now + SECOND_GRACE, now + LAST_GRACE);
                self.ending = Some(Ending { why: Why::Asked, next: Some(Signal::TERM), at, over });
            }
        }
    }

    /// Ends a runtime in which nothing is done, and says so before.
    fn mind_the_idle_time(&mut self) {
        let now = monotonic_now();
        if self.ending.is_some() || self.idle.as_ref().is_none_or(|idle| idle.next() > now) {
            return;
        }
        let signs = Signs::of(&self.others(), &self.inside);
        match self.idle.as_mut().map_or(EndVerdict::Fine, |idle| idle.look(signs, now)) {
            EndVerdict::Fine => {}
            EndVerdict::Soon(left) => self.warn(Soon { left, idle: true }),
            EndVerdict::Over => {
                self.ending =
                    Some(Ending { why: Why::Idle, next: Some(Signal::TERM), at: now, over: now + LAST_GRACE });
            }
        }
    }

    fn warn(&self, soon: Soon) {
        for client in self.clients.iter().filter(|client| client.process.is_some()) {
            let _ = wire::send(&client.socket, &Reply::Soon(soon), &[]);
        }
    }

    /// At the deadline everybody is asked to end; a while later, or when all
    /// have, it is over. They are warned before.
    fn mind_the_deadline(&mut self) {
        let now = monotonic_now();
        if self.ending.is_none() {
            match self.deadline.as_mut().map_or(EndVerdict::Fine, |deadline| deadline.look(now)) {
                EndVerdict::Fine => {}
                EndVerdict::Soon(left) => self.warn(Soon { left, idle: false }),
                EndVerdict::Over => {
                    let over = now + LAST_GRACE;
                    self.ending = Some(Ending { why: Why::Deadline, next: Some(Signal::TERM), at: now, over });
                }
            }
        }
        let Some(ending) = &mut self.ending else { return };
        let due = (ending.at <= now).then(|| ending.next.take()).flatten();
        match due {
            Some(Signal::TERM) => (ending.next, ending.at) = (Some(Signal::HUP), now + SECOND_GRACE),
            _ => ending.at = if ending.next.is_some() { ending.at } else { ending.over },
        }
        let (over, why) = (ending.over <= now, ending.why);
        let others = self.others();
        if over || others.is_empty() {
            self.tell_what_happened();
            self.tell_the_end(|_| true);
            sys::exit_now(match why {
                Why::Deadline => TIMED_OUT,
                Why::Idle => IDLE,
                Why::Asked => 0,
            })
        }
        if let Some(signal) = due {
            for pid in others {
                let _ = rustix::process::kill_process(pid, signal);
                // A stopped process hears nothing.
                let _ = rustix::process::kill_process(pid, Signal::CONT);
            }
        }
    }

    /// Tells the owner, before the end of its command, what was ended for memory, and
    /// what was written, where it asked for that.
    fn tell_what_happened(&self) {
        if let Some(end) = self.memory.as_ref().and_then(|memory| memory.ended.as_ref())
            && self.clients[OWNER].process.is_some()
        {
            let _ = wire::send(&self.clients[OWNER].socket, &Reply::OutOfMemory(end.clone()), &[]);
        }
        if let Some(upper) = &self.upper
            && self.clients[OWNER].process.is_some()
        {
            let written = super::written::list(upper.as_fd());
            let _ = wire::send(&self.clients[OWNER].socket, &Reply::Written(written), &[]);
        }
    }

    /// Tells clients that what they run has ended at the deadline.
    fn tell_the_end(&self, which: impl Fn(usize) -> bool) {
        let ended = self.ended(128 + libc::SIGKILL as u8);
        // The owner last: it ends this process when it hears of it.
        for (_, client) in self.clients.iter().enumerate().rev().filter(|(index, _)| which(*index)) {
            if client.process.is_some() {
                let _ = wire::send(&client.socket, &Reply::Ended(ended), &[]);
            }
        }
    }

    /// Kills the largest process while all together use too much.
    fn mind_the_memory(&mut self) {
        let now = monotonic_now();
        let Some(MemoryWatch { limit, asked, .. }) = self.memory.as_ref().filter(|memory| memory.at <= now) else {
            return;
        };
        let (limit, asked) = (*limit, *asked);
        let (others, scratch) = (self.others(), self.scratch_bytes());
        // What is shared counts several times here: it is too much, or this is no concern.
        let rough = others.iter().map(|pid| memory_of(*pid).all()).sum::<u64>() + scratch;
        let mut sizes: Vec<(Memory, Pid)> = Vec::new();
        if rough > limit {
            sizes = others.into_iter().map(|pid| (exact_memory_of(pid), pid)).collect();
            sizes.sort_unstable_by_key(|(size, _)| size.all());
        }
        let mut total = together(sizes.iter().map(|(size, _)| *size), scratch);
        let mut ended = self.memory.as_mut().and_then(|memory| memory.ended.take());
        while total > limit
            && let Some((size, pid)) = sizes.pop()
        {
            let (program, bytes) = (name_of(pid), size.all());
            if rustix::process::kill_process(pid, Signal::KILL).is_ok() {
                let so_far = ended.take();
                let count = so_far.as_ref().map_or(0, |end| end.ended);
                let one = OutOfMemory {
                    limit,
                    assumed: !asked,
                    ended: 1,
                    program,
                    program_bytes: Some(bytes),
                    scratch_bytes: Some(scratch),
                };
                let largest = so_far.filter(|end| end.program_bytes > one.program_bytes).unwrap_or(one);
                ended = Some(OutOfMemory { ended: count + 1, ..largest });
            }
            total = together(sizes.iter().map(|(size, _)| *size), scratch);
        }
        let next = if asked || rough > limit / 2 { WATCH } else { SELDOM };
        self.memory = Some(MemoryWatch { limit, asked, at: now + next, ended });
    }

    fn reap(&mut self) {
        let mut ended = Vec::new();
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            if let Some(index) = self.clients.iter().position(|client| client.process == Some(pid)) {
                ended.push((index, exit_code(status)));
            } else if let Some(service) = self.services.iter_mut().find(|service| service.pid == pid) {
                let ended = service.ended(exit_code(status));
                self.tell_of_service(ended);
            } else if self.forwarder.as_ref().is_some_and(|forwarder| forwarder.pid == pid) {
                // Somebody inside killed it; the next port gets a new one.
                self.forwarder = None;
            }
        }
        // From the end, as in serve.
        ended.sort_unstable_by(|a, b| b.cmp(a));
        for (index, code) in ended {
            if index == OWNER && self.ending.is_some() {
                // The owner ends the runtime now; those who joined are to know why.
                self.tell_the_end(|index| index != OWNER);
            }
            if index == OWNER {
                self.tell_what_happened();
            }
            let mut end = self.ended(code);
            end.alone = index == OWNER && self.last && end.others == 0 && self.is_alone();
            let _ = wire::send(&self.clients[index].socket, &Reply::Ended(end), &[]);
            if end.alone {
                // Not to be killed first saves waking up twice.
                sys::exit_now(0)
            }
            if index == OWNER {
                // Its process ID may be given to another process now.
                self.clients[index].process = None;
            } else {
                self.clients.remove(index);
            }
        }
    }

    /// Tells the owner, whose command may need it, unless everything ends.
    fn tell_of_service(&self, service: EndedService) {
        if self.ending.is_none() && self.clients[OWNER].process.is_some() {
            let _ = wire::send(&self.clients[OWNER].socket, &Reply::Service(service), &[]);
        }
    }

    /// Whether there is nothing here but the owner.
    fn is_alone(&self) -> bool {
        let parts = self.forwarder.is_none() && self.pasta.is_none() && self.services.is_empty();
        parts && self.clients.len() == 1 && self.ending.is_none()
    }

    fn ended(&self, code: u8) -> Ended {
        let why = self.ending.as_ref().map(|ending| ending.why);
        let others = self.others().len() as u32;
        let mounts = if self.mounts > 0 { self.mounts } else { mounts() };
        Ended {
            code,
            others,
            joined: self.joined(),
            alone: false,
            mounts,
            scratch_bytes: self.scratch_bytes(),
            timed_out: why == Some(Why::Deadline),
            idle: why == Some(Why::Idle),
        }
    }

    /// How many of those who joined run something.
    fn joined(&self) -> u32 {
        self.clients.iter().skip(OWNER + 1).filter(|client| client.process.is_some()).count() as u32
    }

    fn scratch_bytes(&self) -> u64 {
        let stat = rustix::fs::fstatvfs(&self.inside.run);
        stat.map_or(0, |stat| stat.f_blocks.saturating_sub(stat.f_bfree) * stat.f_frsize)
    }

    /// Processes inside besides our own.
    fn others(&self) -> Vec<Pid> {
        let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        let own = [self.forwarder.as_ref().map(|forwarder| forwarder.pid), self.pasta];
        numbers.filter(|pid| *pid != 1).filter_map(Pid::from_raw).filter(|pid| !own.contains(&Some(*pid))).collect()
    }
}

fn exit_code(status: WaitStatus) -> u8 {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => code as u8,
        (None, Some(signal)) => 128_u8.wrapping_add(signal as u8),
        (None, None) => 1,
    }
}

fn mounts() -> u32 {
    let table = std::fs::read("/proc/self/mountinfo").unwrap_or_default();
    table.iter().filter(|byte| **byte == b'\n').count() as u32
}

/// What the forwarder of ports made of a request.
fn of_forwarder(done: std::io::Result<()>) -> Reply {
    match done {
        Ok(()) => Reply::Done,
        Err(error) => {
            let errno = error.raw_os_error().unwrap_or(libc::EIO);
            Reply::Refused { program: "the forwarder of ports".into(), errno }
        }
    }
}
